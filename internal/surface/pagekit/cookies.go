package pagekit

import "net/http"

// BrowserCookie names the cookie that binds a connect flow to the browser that left for
// the vendor. The connect surface gives it; the console asks whether it came back.
const BrowserCookie = "claviger_browser"

// Cookies are those of this server. Over TLS their names have the prefix by which browsers
// insist on it, on this very host and on all of its paths; plain http, which is for the
// loopback alone, cannot have it.
type Cookies struct{ Secure bool }

func (c Cookies) name(short string) string {
	if c.Secure {
		return "__Host-" + short
	}
	return short
}

// Get answers a cookie's value; "" if there is none, or more than one, which only somebody
// else could have planted.
func (c Cookies) Get(r *http.Request, short string) string {
	found := r.CookiesNamed(c.name(short))
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}

// Set gives a cookie for some seconds; less than none takes it away.
func (c Cookies) Set(w http.ResponseWriter, short, value string, life int) {
	http.SetCookie(w, &http.Cookie{
		Name: c.name(short), Value: value, Path: "/", MaxAge: life, Secure: c.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
