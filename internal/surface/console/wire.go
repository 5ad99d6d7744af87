package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"claviger"
	"claviger/internal/authn"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

// maxForm bounds what a page sends.
const maxForm = 512 << 10

// The console's own cookies.
const (
	sessionCookie = "claviger_session"
	atCookie      = "claviger_at"    // the organization whose provider the browser signed in by
	begunCookie   = "claviger_begun" // what the browser has begun and must end itself
)

// cookie answers the session's value.
func (s *surface) cookie(r *http.Request) string { return s.cookies.Get(r, sessionCookie) }

// seat gives the browser its new session.
func (s *surface) seat(w http.ResponseWriter, in authn.SignedIn) {
	in.Token.Use(func(b []byte) {
		s.cookies.Set(w, sessionCookie, string(b), int(in.Session.ExpiresAt.Sub(in.Session.CreatedAt)/time.Second))
	})
}

// unseat takes the cookie away, with the attributes that it was given with.
func (s *surface) unseat(w http.ResponseWriter) { s.cookies.Set(w, sessionCookie, "", -1) }

// atLife is how long a browser remembers its organization, in seconds: a year.
const atLife = 365 * 24 * 60 * 60

// remember has the sign-in page of this browser show an organization's button from now on:
// on a server of many, nobody else names it.
func (s *surface) remember(w http.ResponseWriter, organization claviger.OrganizationID) {
	s.cookies.Set(w, atCookie, string(organization), atLife)
}

// begunLife is how long a browser keeps the cookie of what it has begun, in seconds; the
// server forgets that no later.
const begunLife = 600

// begin gives the browser the cookie by which it ends what it begins.
func (s *surface) begin(w http.ResponseWriter, cookie claviger.Secret) {
	cookie.Use(func(b []byte) { s.cookies.Set(w, begunCookie, string(b), begunLife) })
}

// begun answers that cookie's value and takes it away: it counts once.
func (s *surface) begun(w http.ResponseWriter, r *http.Request) string {
	s.cookies.Set(w, begunCookie, "", -1)
	return s.cookies.Get(r, begunCookie)
}

// visit is where a person signs in from.
func (s *surface) visit(r *http.Request) authn.Visit {
	return authn.Visit{From: wire.From(r), Agent: r.UserAgent(), Cookie: s.cookie(r)}
}

// formToken answers what the forms of a session carry. It says nothing of the cookie that
// it is made from, and nobody can make it without.
func formToken(cookie string) string {
	sum := sha256.Sum256([]byte("claviger console form\x00" + cookie))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

// formOf answers the token of a session that was made just now.
func formOf(in authn.SignedIn) (token string) {
	in.Token.Use(func(b []byte) { token = formToken(string(b)) })
	return token
}

// pageOf answers the address of the page of a connect session that was made just now.
func pageOf(made broker.ConnectSessionMade) (address string) {
	made.Token.Use(func(b []byte) { address = made.PageURL + string(b) })
	return address
}

func tokenFits(given, cookie string) bool {
	return subtle.ConstantTimeCompare([]byte(given), []byte(formToken(cookie))) == 1
}

// readForm reads a page's own form.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, claviger.Errorf(claviger.KindUnreadable, "bad_form", "This is not the form of the page.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return nil, claviger.Errorf(claviger.KindTooLarge, "form_too_large", "The form has at most %d KiB.", maxForm>>10)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, claviger.Errorf(claviger.KindUnreadable, "bad_form", "The form cannot be read.")
	}
	return form, nil
}

// within answers an address of the console's own pages, the home page for any other: a
// person is led nowhere else after signing in.
func within(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || u.Fragment != "" || strings.ContainsAny(next, "\\\r\n\t") {
		return "/console/"
	}
	if clean := path.Clean(u.Path); !strings.HasPrefix(u.Path, "/console/") || clean != strings.TrimSuffix(u.Path, "/") || strings.HasPrefix(clean, signInPath) {
		return "/console/"
	}
	return u.RequestURI()
}

// goTo answers a form with the page that follows.
func goTo(w http.ResponseWriter, address string) {
	w.Header().Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
}

// onward answers an address with the page that comes after it.
func onward(address, next string) string {
	if next == "/console/" {
		return address
	}
	return address + "?" + url.Values{"next": {next}}.Encode()
}
