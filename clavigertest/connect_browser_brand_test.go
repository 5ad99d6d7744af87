package clavigertest_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"net/http"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// picture encodes an image of a size.
func picture(t *testing.T, width, height int, encode func(*bytes.Buffer, image.Image) error) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = byte(i*i/7 + i/13)
	}
	var b bytes.Buffer
	if err := encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asPNG(b *bytes.Buffer, img image.Image) error  { return png.Encode(b, img) }
func asJPEG(b *bytes.Buffer, img image.Image) error { return jpeg.Encode(b, img, nil) }
func asGIF(b *bytes.Buffer, img image.Image) error  { return gif.Encode(b, img, nil) }

// chunk is a chunk of a PNG.
func chunk(kind, body string) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	out = append(out, kind+body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE([]byte(kind+body)))
}

const payload = "<script>alert(1)</script>"

func TestAbuse_261_Logos(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	good := picture(t, 40, 40, asPNG)
	kept, err := x.api.PutBranding(t.Context(), api.Branding{Name: "Acme", Color: "#0B57D0", Logo: good})
	if err != nil || kept.Color != "#0b57d0" {
		t.Fatalf("kept %+v, %v", kept, err)
	}
	// The header of a bomb says what it would unfold to: 2^16 pixels each way.
	bomb := bytes.Clone(good[:33])
	copy(bomb[8:], chunk("IHDR", "\x00\x01\x00\x00\x00\x01\x00\x00\x08\x06\x00\x00\x00"))
	for name, bad := range map[string][]byte{
		"SVG": []byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`), "HTML": []byte("<!doctype html>" + payload), "GIF": picture(t, 8, 8, asGIF),
		"an address": []byte("https://evil.example/logo.png"), "half a PNG": good[:len(good)/2], "a bomb": bomb, "wide": picture(t, 513, 1, asPNG), "tall": picture(t, 1, 513, asJPEG),
		"many bytes": append(bytes.Clone(good), make([]byte, 64<<10)...), "many bytes as PNG": picture(t, 500, 500, asJPEG), "no pixels": append(bytes.Clone(good[:8]), chunk("IHDR", strings.Repeat("\x00", 13))...),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := x.api.PutBranding(t.Context(), api.Branding{Name: "Changed", Logo: bad})
			if err == nil || !strings.Contains(err.Error(), "logo") || strings.Contains(err.Error(), "alert(1)") {
				t.Errorf("answered %v", err)
			}
			now, err := x.api.Branding(t.Context())
			if err != nil || now.Name != "Acme" || !bytes.Equal(now.Logo, kept.Logo) {
				t.Errorf("a refusal changed something: %q, %v", now.Name, err)
			}
		})
	}
	for name, odd := range map[string][]byte{
		"with a script behind it": append(bytes.Clone(good), payload...), "with a text in it": append(append(bytes.Clone(good[:33]), chunk("tEXt", "Comment\x00"+payload)...), good[33:]...),
		"JPEG": append(picture(t, 40, 40, asJPEG), payload...),
	} {
		t.Run(name, func(t *testing.T) {
			now, err := x.api.PutBranding(t.Context(), api.Branding{Name: "Acme", Logo: odd})
			if err != nil || bytes.Contains(now.Logo, []byte("script")) || !bytes.HasPrefix(now.Logo, []byte("\x89PNG\r\n")) {
				t.Errorf("it is kept as %d bytes, %v", len(now.Logo), err)
			}
		})
	}
	for name, bad := range map[string]api.Branding{
		"a style": {Color: "#fff}*{}"}, "a name of a color": {Color: "crimson"}, "too short": {Color: "#fff"}, "no hash": {Color: "0b57d0a"}, "a hidden character": {Name: "Ac\u202eme"}, "a line": {Name: "Acme\nx"},
		"a long name": {Name: strings.Repeat("a", 81)}, "spaces": {Name: " Acme"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := x.api.PutBranding(t.Context(), bad); err == nil {
				t.Error("it was taken")
			}
		})
	}
	logo := x.browser().get("/connect-assets/logo/" + x.Do(call{Token: x.Key, Method: "GET", Path: "/v1/whoami"}).Field("organizationId"))
	if logo.Status != http.StatusOK || logo.Header.Get("Content-Type") != "image/png" || logo.Header.Get("X-Content-Type-Options") != "nosniff" ||
		logo.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" || !strings.Contains(logo.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("it is answered with %d %v", logo.Status, logo.Header)
	}
	if _, err := png.Decode(strings.NewReader(logo.Body)); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/connect-assets/logo/org_x", "/connect-assets/logo/org_01jd5z8k4xe3vbmt0q6y2r9whc", "/connect-assets/logo/..%2f..%2fx", "/connect-assets/accent/fff%7d"} {
		if p := x.browser().get(path); p.Status != http.StatusNotFound && p.Status != http.StatusBadRequest {
			t.Errorf("%s: %d", path, p.Status)
		}
	}
}
