// Package pagekit is what the surfaces for browsers share: how an organization shows itself,
// the colours that can be read, the small drawings, and the defences that every answer to
// a browser carries. A page of one surface and a page of another look and refuse alike.
//
// It decides nothing and looks nothing up: what it is given is escaped by the templates
// that use it, and no style, script or picture comes from anywhere but this server.
package pagekit

import (
	"bytes"
	"cmp"
	_ "embed" // the drawings
	"hash/fnv"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"unicode"

	"claviger"
)

// Parts are templates that pages of all surfaces use: the mark of a [Brand], a [Tile] and
// the drawings.
//
//go:embed assets/parts.html
var Parts string

// Brand is how the organization shows itself. Owner is its own name, where the page
// carries another one. All is empty on pages that belong to nobody known.
type Brand struct{ Name, Owner, Logo, Letters, Color string }

// BrandOf answers what pages show of a branding. The logo is the connect surface's.
func BrandOf(x claviger.Branding) Brand {
	b := Brand{Name: cmp.Or(x.Name, x.Owner), Color: cmp.Or(strings.TrimPrefix(x.Color, "#"), OwnColor)}
	if b.Name != x.Owner {
		b.Owner = x.Owner
	}
	if len(x.Logo) > 0 {
		b.Logo = "/connect-assets/logo/" + string(x.Organization)
	}
	b.Letters = initials(b.Name)
	return b
}

// Tile stands where there is no logo: initials, in one of six colours.
type Tile struct {
	Letters string
	Tint    uint32
}

// TileOf answers the tile of a name; the same key has the same colour everywhere.
func TileOf(key, name string) Tile {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return Tile{initials(name), h.Sum32() % 6}
}

// initials answers the first letters of a name's first two words.
func initials(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
	var out []rune
	for _, w := range words[:min(len(words), 2)] {
		out = append(out, unicode.ToUpper([]rune(w)[0]))
	}
	return string(out)
}

// Write answers a page. It is rendered whole first, so that a fault in a template is
// never half a page.
func Write(w http.ResponseWriter, log *slog.Logger, set *template.Template, status int, name string, data any) {
	var b bytes.Buffer
	if err := set.ExecuteTemplate(&b, name, data); err != nil {
		log.Error("a page could not be rendered", "page", name, "error", err)
		http.Error(w, "Something went wrong on our side.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// Give answers a style, a script or a picture, the same for everybody.
func Give(w http.ResponseWriter, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(body)
}

// Defend sets what every answer to a browser carries. A form may lead nowhere but to this
// server itself: where a browser goes from there is a navigation of its own.
func Defend(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		header.Set("X-Frame-Options", "DENY")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
		header.Set("Cache-Control", "no-store")
		header.Set("Referrer-Policy", "no-referrer")
		h.ServeHTTP(w, r)
	})
}

// Refuse answers the page of a request that is refused before anything is looked up.
type Refuse func(http.ResponseWriter, *http.Request, error)

// Alone lets other sites lead a person here in a window, and nothing else: what they
// frame, embed, fetch or send is refused before anything is looked up, so that no answer,
// no error and no time it takes tells them what exists (https://xsleaks.dev).
func Alone(next http.Handler, refuse Refuse) http.Handler {
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, claviger.Errorf(claviger.KindDenied, "cross_origin", "This form was sent from another site. Open the page again and fill it in there."))
	}))
	guarded := guard.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, mode, kind := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
		window := mode == "navigate" && kind == "document" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
		framed := mode == "navigate" && kind != "document" && kind != ""
		if framed || (from == "cross-site" || from == "same-site") && !window {
			refuse(w, r, claviger.Errorf(claviger.KindDenied, "cross_origin", "This page opens in a window of its own, and takes nothing from other sites. Open its address there."))
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// Status answers the status of a page that tells of an error.
func Status(k claviger.Kind) int {
	switch k {
	case claviger.KindUnreadable:
		return http.StatusBadRequest
	case claviger.KindInvalid:
		return http.StatusUnprocessableEntity
	case claviger.KindUnauthenticated, claviger.KindNotFound:
		return http.StatusNotFound
	case claviger.KindDenied:
		return http.StatusForbidden
	case claviger.KindConflict, claviger.KindReauthorize:
		return http.StatusConflict
	case claviger.KindRateLimited:
		return http.StatusTooManyRequests
	case claviger.KindTooLarge:
		return http.StatusRequestEntityTooLarge
	case claviger.KindUpstream:
		return http.StatusBadGateway
	case claviger.KindTimeout:
		return http.StatusGatewayTimeout
	case claviger.KindUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
