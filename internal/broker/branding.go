package broker

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"image"
	"image/jpeg"
	"image/png"
	"strings"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

const (
	// maxBrandName bounds the name on pages, in bytes.
	maxBrandName = 80
	// maxLogo bounds a logo, as it comes and as it is kept, in bytes.
	maxLogo = 64 << 10
	// maxLogoSide bounds a logo's width and height, in pixels: what a small file may
	// unfold to is known before it is decoded.
	maxLogoSide = 512
)

// Branding answers how the caller's organization shows itself on connect pages.
func (b *Broker) Branding(ctx context.Context, c claviger.Caller) (claviger.Branding, error) {
	if err := b.gate.Check(ctx, c, claviger.ConnectorsRead, orgWide(c, "branding", "")); err != nil {
		return claviger.Branding{}, err
	}
	return b.db.Branding(ctx, c.Scope.Organization())
}

// PutBranding replaces it: what is empty is claviger's own from then on. A logo is read
// as PNG or JPEG and written anew, so that what browsers get is an image and nothing
// that was hidden in one.
//
// Errors: KindInvalid with Param name, color or logo.
func (b *Broker) PutBranding(ctx context.Context, c claviger.Caller, in claviger.Branding) (claviger.Branding, error) {
	r := orgWide(c, "branding", "")
	if err := b.gate.Check(ctx, c, claviger.ConnectorsWrite, r); err != nil {
		return in, err
	}
	if len(in.Name) > maxBrandName || !printable(in.Name) || strings.TrimSpace(in.Name) != in.Name {
		return in, claviger.Invalid("name", "invalid_format", "A name has at most %d bytes of printable text, without spaces at its ends.", maxBrandName)
	}
	in.Color = strings.ToLower(in.Color)
	if digits, err := hex.DecodeString(strings.TrimPrefix(in.Color, "#")); in.Color != "" && (err != nil || len(digits) != 3 || len(in.Color) != 7) {
		return in, claviger.Invalid("color", "invalid_format", "Write a color as # and six hexadecimal digits, for example #0b57d0.")
	}
	var err error
	if in.Logo, err = cleanLogo(in.Logo); err != nil {
		return in, err
	}
	err = b.gate.Change(ctx, c, claviger.ConnectorsWrite, r, func(tx *store.Tx, _ *gate.Ticket) error {
		return tx.PutBranding(ctx, c.Scope, in)
	})
	if err != nil {
		return in, err
	}
	return b.db.Branding(ctx, c.Scope.Organization())
}

// Logo answers an organization's logo as PNG, to anybody: it stands on pages for people
// who are signed in nowhere. Whether an organization exists is not told.
func (b *Broker) Logo(ctx context.Context, id claviger.OrganizationID) ([]byte, error) {
	x, err := b.db.Branding(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && len(x.Logo) == 0 {
		return nil, claviger.NotFound("page")
	}
	return x.Logo, err
}

// Brand answers how any organization shows itself, for a page that is shown in any case,
// if need be without.
func (b *Broker) Brand(ctx context.Context, id claviger.OrganizationID) claviger.Branding {
	x, err := b.db.Branding(ctx, id)
	if err != nil {
		b.log.WarnContext(ctx, "a page is shown without its branding", "organization", string(id), "error", err)
	}
	return x
}

// cleanLogo decodes an image and encodes it as PNG.
func cleanLogo(raw []byte) ([]byte, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	refuse := func(code, why string) ([]byte, error) {
		return nil, claviger.Invalid("logo", code, "A logo is a PNG or JPEG image of at most %d KiB and %d x %d pixels: %s.", maxLogo>>10, maxLogoSide, maxLogoSide, why)
	}
	if len(raw) > maxLogo {
		return refuse("logo_too_large", "this one has more bytes")
	}
	size, read := png.DecodeConfig, png.Decode
	if bytes.HasPrefix(raw, []byte{0xff, 0xd8}) {
		size, read = jpeg.DecodeConfig, jpeg.Decode
	}
	config, err := size(bytes.NewReader(raw))
	if err != nil {
		return refuse("invalid_format", "this is neither")
	}
	if config.Width > maxLogoSide || config.Height > maxLogoSide {
		return refuse("logo_too_large", "this one has more pixels")
	}
	var img image.Image
	if img, err = read(bytes.NewReader(raw)); err != nil {
		return refuse("invalid_format", "this one is damaged")
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return refuse("invalid_format", "this one has no pixels")
	}
	if out.Len() > maxLogo {
		return refuse("logo_too_large", "as PNG, which is how it is kept, this one has more bytes")
	}
	return out.Bytes(), nil
}
