package claviger

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
)

// Template is a string with holes: ${name} or ${fn(name)}, fn being base64,
// urlencode or lower. There are no expressions, no nesting and no other syntax, so
// that a hostile document can do no more than name values it already has.
type Template struct {
	parts []part
	text  string
}

// part is literal text, or a hole if name is set.
type part struct{ literal, fn, name string }

// ParseTemplate reads a template. A hole without an end, an unknown function or an
// ill-formed name is an error that quotes the hole. A "$" that no "{" follows is
// text, as GraphQL and OData need it.
func ParseTemplate(s string) (Template, error) {
	t := Template{text: s}
	for rest := s; rest != ""; {
		i := strings.Index(rest, "${")
		if i < 0 {
			t.parts = append(t.parts, part{literal: rest})
			break
		}
		if i > 0 {
			t.parts = append(t.parts, part{literal: rest[:i]})
		}
		end := strings.IndexByte(rest[i:], '}')
		if end < 0 {
			return Template{}, fmt.Errorf("%q has no closing }", rest[i:])
		}
		hole := rest[i+2 : i+end]
		p := part{name: hole}
		if fn, arg, ok := strings.Cut(hole, "("); ok {
			p = part{fn: fn, name: strings.TrimSuffix(arg, ")")}
			if !strings.HasSuffix(arg, ")") || fn != "base64" && fn != "urlencode" && fn != "lower" {
				return Template{}, fmt.Errorf("${%s}: use ${name} or ${fn(name)} with fn one of base64, urlencode, lower", hole)
			}
		}
		if !templateName(p.name) {
			return Template{}, fmt.Errorf("${%s}: use ${name} or ${fn(name)}; a name has letters, digits, _ and, after \"input\", dots", hole)
		}
		t.parts = append(t.parts, p)
		rest = rest[i+end+1:]
	}
	return t, nil
}

// MustTemplate is [ParseTemplate] for text that the program itself holds.
func MustTemplate(s string) Template {
	t, err := ParseTemplate(s)
	if err != nil {
		panic(err)
	}
	return t
}

func templateName(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c == '_' || c == '-' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
			return false
		}
	}
	return true
}

// Names answers the names of the holes, in order, with repeats.
func (t Template) Names() []string {
	var out []string
	for _, p := range t.parts {
		if p.name != "" {
			out = append(out, p.name)
		}
	}
	return out
}

// String answers the template as it was written.
func (t Template) String() string { return t.text }

// Empty reports whether the template is the empty string.
func (t Template) Empty() bool { return t.text == "" }

// Hole answers the name if the template is one bare hole and nothing else, so that
// a value of any JSON type may stand in for it.
func (t Template) Hole() (name string, ok bool) {
	if len(t.parts) == 1 && t.parts[0].name != "" && t.parts[0].fn == "" {
		return t.parts[0].name, true
	}
	return "", false
}

// Append renders the template onto dst. lookup answers a hole's value, which is
// used before the next call; escape, if not nil, is applied to each value (after
// its function) to fit the place. A name that lookup does not know is an error.
func (t Template) Append(dst []byte, lookup func(name string) ([]byte, bool), escape func([]byte) []byte) ([]byte, error) {
	for _, p := range t.parts {
		if p.name == "" {
			dst = append(dst, p.literal...)
			continue
		}
		v, ok := lookup(p.name)
		if !ok {
			return dst, fmt.Errorf("claviger: no value for ${%s}", p.name)
		}
		switch p.fn {
		case "base64":
			v = base64.StdEncoding.AppendEncode(nil, v)
		case "urlencode":
			v = []byte(url.QueryEscape(string(v)))
		case "lower":
			v = []byte(strings.ToLower(string(v)))
		}
		if escape != nil {
			v = escape(v)
		}
		dst = append(dst, v...)
	}
	return dst, nil
}

// Render is [Template.Append] for values that are plain strings.
func (t Template) Render(lookup func(name string) (string, bool), escape func(string) string) (string, error) {
	var esc func([]byte) []byte
	if escape != nil {
		esc = func(b []byte) []byte { return []byte(escape(string(b))) }
	}
	out, err := t.Append(nil, func(name string) ([]byte, bool) {
		v, ok := lookup(name)
		return []byte(v), ok
	}, esc)
	return string(out), err
}
