package inject

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"claviger"
)

// Apply answers a copy of req that carries the credentials of one revision as the
// auth method declares. The copy has its own Header and URL; its context is req's.
// Templates may name the method's fields (from creds) and the connector's variables
// (from settings).
//
// An injection whose optional field has no value is left out. Errors are *Error:
//   - bad_credential_value (KindInvalid, Param "credentials.<field>"): the value
//     does not fit the place
//   - secret_missing (KindReauthorize): a required field has no value
//   - body_injection_unsupported (KindInvalid): the body cannot be rewritten,
//     because it is streamed or of another kind than JSON object and form
func Apply(req *http.Request, m *claviger.AuthMethod, creds claviger.Credentials, settings map[string]string) (*http.Request, error) {
	out := req.WithContext(req.Context())
	out.Header = maps.Clone(req.Header)
	if out.Header == nil {
		out.Header = make(http.Header, 2)
	}
	u := *req.URL
	out.URL = &u
	switch m.Type {
	case claviger.AuthNone:
		return out, nil
	case claviger.AuthInbound:
		return nil, claviger.Errorf(claviger.KindConflict, "inbound_only", "This credential checks what comes in. No call can be made with it.")
	}
	r := renderer{method: m, creds: creds, settings: settings}
	var cookies []byte
	for i := range m.Inject {
		in := &m.Inject[i]
		if r.absent(in) {
			continue
		}
		var err error
		switch in.In {
		case "header":
			err = r.header(out, in)
		case "query":
			err = r.query(out, in)
		case "cookie":
			cookies, err = r.cookie(cookies, in)
		case "basic":
			err = r.basic(out, in)
		case "body":
			err = r.body(out, in)
		default:
			err = claviger.Errorf(claviger.KindInternal, "", "The connector injects at an unknown place.")
		}
		if err != nil {
			return nil, err
		}
	}
	if cookies != nil {
		setHeader(out.Header, "Cookie", string(cookies))
	}
	return out, nil
}

// renderer fills templates of one method with the values of one revision.
type renderer struct {
	method   *claviger.AuthMethod
	creds    claviger.Credentials
	settings map[string]string
	scratch  []byte // the value handed to the template; overwritten by the next
}

// value is the lookup of templates. It calls [claviger.Secret.Use]
// and answers a copy, because bytes may not leave Use.
func (r *renderer) value(name string) ([]byte, bool) {
	if secret, ok := r.creds[name]; ok {
		secret.Use(func(b []byte) { r.scratch = append(r.scratch[:0], b...) })
		return r.scratch, true
	}
	if v, ok := r.settings[name]; ok {
		return []byte(v), true
	}
	f, ok := r.method.Field(name)
	return nil, ok && !f.Required
}

// has reports whether a hole has a value that is not empty.
func (r *renderer) has(name string) bool {
	if secret, ok := r.creds[name]; ok {
		return !secret.Empty()
	}
	return r.settings[name] != ""
}

// absent reports whether an injection is to be left out: it has holes, and none of
// them has a value although all of them may go without. A user name alone, with an
// optional password, is still sent.
func (r *renderer) absent(in *claviger.Injection) bool {
	if !slices.ContainsFunc(r.method.Fields, func(f claviger.Field) bool { return !f.Required }) {
		return false
	}
	names := in.Value.Names()
	if in.In == "basic" {
		names = append(in.Username.Names(), in.Password.Names()...)
	}
	optional, filled := 0, 0
	for _, name := range names {
		if r.has(name) {
			filled++
		} else if f, ok := r.method.Field(name); ok && !f.Required {
			optional++
		}
	}
	return optional > 0 && filled == 0
}

// render appends a template's text onto dst.
func (r *renderer) render(dst []byte, t claviger.Template, escape func([]byte) []byte) ([]byte, error) {
	out, err := t.Append(dst, r.value, escape)
	if err != nil {
		e := claviger.Errorf(claviger.KindReauthorize, "secret_missing", "The connection lacks a value that its connector needs. Enter its credentials again.")
		e.Param = r.param(t)
		return nil, e
	}
	return out, nil
}

// param names the field that a template takes its value from.
func (r *renderer) param(t claviger.Template) string {
	for _, name := range t.Names() {
		if _, ok := r.method.Field(name); ok {
			return "credentials." + name
		}
	}
	for _, name := range t.Names() {
		return "settings." + name
	}
	return ""
}

func (r *renderer) refuse(t claviger.Template, format string, args ...any) error {
	return claviger.Invalid(r.param(t), "bad_credential_value", format, args...)
}

func (r *renderer) header(req *http.Request, in *claviger.Injection) error {
	v, err := r.render(make([]byte, 0, 96), in.Value, nil)
	if err != nil {
		return err
	}
	if !visible(v) {
		return r.refuse(in.Value, "The value has a line break or another control character, which a header cannot carry. Paste it again without it.")
	}
	setHeader(req.Header, in.Name, string(v))
	return nil
}

func (r *renderer) basic(req *http.Request, in *claviger.Injection) error {
	pair, err := r.render(make([]byte, 0, 96), in.Username, nil)
	if err != nil {
		return err
	}
	if !visible(pair) {
		return r.refuse(in.Username, "The user name has a control character. Paste it again without it.")
	}
	for _, c := range pair {
		if c == ':' { // RFC 7617, section 2: the first colon ends the user name
			return r.refuse(in.Username, "The user name has a colon, which basic authentication cannot carry.")
		}
	}
	user := len(pair)
	if pair, err = r.render(append(pair, ':'), in.Password, nil); err != nil {
		return err
	}
	if !visible(pair[user:]) {
		return r.refuse(in.Password, "The password has a control character. Paste it again without it.")
	}
	const scheme = "Basic "
	v := make([]byte, len(scheme), len(scheme)+base64.StdEncoding.EncodedLen(len(pair)))
	copy(v, scheme)
	setHeader(req.Header, "Authorization", string(base64.StdEncoding.AppendEncode(v, pair)))
	return nil
}

// cookie appends one pair to the request's only Cookie line. The caller's cookies
// never reach a vendor, so the line holds nothing else.
func (r *renderer) cookie(line []byte, in *claviger.Injection) ([]byte, error) {
	if line != nil {
		line = append(line, "; "...)
	}
	line = append(append(line, in.Name...), '=')
	start := len(line)
	line, err := r.render(line, in.Value, nil)
	if err != nil {
		return nil, err
	}
	for _, c := range line[start:] {
		if !cookieOctet(c) {
			return nil, r.refuse(in.Value, "The value has a character that a cookie cannot carry, such as a space, a comma, a semicolon or a quotation mark.")
		}
	}
	return line, nil
}

// cookieOctet is the grammar of RFC 6265, section 4.1.1.
func cookieOctet(c byte) bool {
	return c > 0x20 && c < 0x7f && c != '"' && c != ',' && c != ';' && c != '\\'
}

// visible reports whether v has no control character. Bytes above ASCII pass, as
// RFC 9110, section 5.5 has them.
func visible(v []byte) bool {
	for _, c := range v {
		if c < 0x20 || c == 0x7f {
			return false
		}
	}
	return true
}

// setHeader replaces every spelling of the header with one line.
func setHeader(h http.Header, name, value string) {
	key := textproto.CanonicalMIMEHeaderKey(name)
	for k := range h {
		if len(k) == len(key) && k != key && strings.EqualFold(k, key) {
			delete(h, k)
		}
	}
	h[key] = []string{value}
}
