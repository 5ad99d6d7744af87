package inject

import (
	"net/http"
	"net/url"
	"strings"

	"claviger"
)

// query sets one parameter of the URL, exactly once.
func (r *renderer) query(req *http.Request, in *claviger.Injection) error {
	v, err := r.render(nil, in.Value, nil)
	if err != nil {
		return err
	}
	if !visible(v) {
		return r.refuse(in.Value, "The value has a line break or another control character. Paste it again without it.")
	}
	raw := WithoutParameter(req.URL.RawQuery, in.Name)
	if raw != "" {
		raw += "&"
	}
	req.URL.RawQuery = raw + url.QueryEscape(in.Name) + "=" + url.QueryEscape(string(v))
	return nil
}

// WithoutParameter removes every parameter of the given name from a raw query and
// leaves the bytes of all others as they are: a vendor that signs or caches by the
// raw text sees what the caller wrote. Names are compared decoded and without case,
// and a semicolon ends a parameter as well as an ampersand does, because servers
// differ on both and a second value in any reading would shadow the credential.
func WithoutParameter(raw, name string) string {
	if raw == "" {
		return ""
	}
	var b strings.Builder
	b.Grow(len(raw))
	for start := 0; start <= len(raw); {
		end := start
		for end < len(raw) && raw[end] != '&' && raw[end] != ';' {
			end++
		}
		if !names(raw[start:end], name) {
			if b.Len() > 0 {
				b.WriteByte(raw[start-1])
			}
			b.WriteString(raw[start:end])
		}
		start = end + 1
	}
	return b.String()
}

// names reports whether one piece of a query sets the parameter.
func names(piece, name string) bool {
	key, _, _ := strings.Cut(piece, "=")
	if strings.ContainsAny(key, "%+") {
		decoded, err := url.QueryUnescape(key)
		if err != nil {
			return false
		}
		key = decoded
	}
	return strings.EqualFold(key, name)
}
