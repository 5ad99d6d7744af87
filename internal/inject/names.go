package inject

import (
	"encoding/base64"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"claviger"
)

// Places are the names that a method's injections occupy on a request: what a
// caller of the proxy may not set and what a log must not show.
type Places struct {
	Headers []string // canonical spelling; "Authorization" for basic, "Cookie" for cookies, "Dpop" for proofs
	Query   []string
	Cookies []string
	Body    []string
}

// Names answers the places that a method injects at, each once.
func Names(m *claviger.AuthMethod) Places {
	var p Places
	add := func(list *[]string, name string) {
		if !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	}
	for i := range m.Inject {
		in := &m.Inject[i]
		switch in.In {
		case "header":
			add(&p.Headers, textproto.CanonicalMIMEHeaderKey(in.Name))
		case "basic":
			add(&p.Headers, "Authorization")
		case "cookie":
			add(&p.Headers, "Cookie")
			add(&p.Cookies, in.Name)
		case "query":
			add(&p.Query, in.Name)
		case "body":
			add(&p.Body, in.Name)
		}
	}
	if m.OAuth != nil && m.OAuth.DPoP {
		add(&p.Headers, proofHeader)
	}
	return p
}

// The bounds of what [CallerKey] looks at.
const (
	maxCandidates = 8
	maxCandidate  = 8 << 10
)

// CallerKey answers the values that a vendor's own SDK, pointed at the proxy, would
// send as "its key": the credentials of any Authorization scheme, the user and the
// password of Basic, and the header and query parameter that the method injects.
// They are candidates for a claviger key, distinct, at most eight, in a fixed
// order; whether one of them is a key, and that there is exactly one, is for the
// caller of this function to decide. m may be nil.
func CallerKey(h http.Header, rawQuery string, m *claviger.AuthMethod) []string {
	var out []string
	add := func(v string) {
		v = strings.TrimSpace(v)
		if v != "" && len(v) <= maxCandidate && len(out) < maxCandidates && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	for _, v := range h["Authorization"] {
		addAuthorization(v, add)
	}
	if m == nil {
		return out
	}
	for i := range m.Inject {
		in := &m.Inject[i]
		switch in.In {
		case "header":
			for _, v := range h[textproto.CanonicalMIMEHeaderKey(in.Name)] {
				addAuthorization(v, add)
			}
		case "query":
			for piece := range strings.SplitSeq(rawQuery, "&") {
				if names(piece, in.Name) {
					_, v, _ := strings.Cut(piece, "=")
					if decoded, err := url.QueryUnescape(v); err == nil {
						add(decoded)
					}
				}
			}
		}
	}
	return out
}

// addAuthorization reads "scheme credentials" in the forms that SDKs use: the bare
// key, "Bearer key", "Token token=key" and "Basic base64(user:password)".
func addAuthorization(v string, add func(string)) {
	scheme, rest, found := strings.Cut(strings.TrimSpace(v), " ")
	if !found {
		add(scheme)
		return
	}
	rest = strings.TrimSpace(rest)
	if strings.EqualFold(scheme, "basic") {
		pair, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return
		}
		user, password, _ := strings.Cut(string(pair), ":")
		add(user)
		add(password)
		return
	}
	if token, ok := strings.CutPrefix(rest, "token="); ok {
		rest = strings.Trim(token, `"`)
	}
	add(rest)
}
