package catalog

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"claviger"
)

// filler renders the templates of one request.
type filler struct {
	conn     *claviger.Connector
	settings map[string]string
	input    map[string]any
}

// value answers what a hole names. present is false for an input that is absent or
// null and for a variable without a value.
func (f *filler) value(name string) (v any, present bool) {
	if rest, ok := strings.CutPrefix(name, "input."); ok {
		var at any = f.input
		for key := range strings.SplitSeq(rest, ".") {
			members, _ := at.(map[string]any)
			if at, ok = members[key]; !ok {
				return nil, false
			}
		}
		return at, at != nil
	}
	if s := f.settings[name]; s != "" {
		return s, true
	}
	for i := range f.conn.Variables {
		if f.conn.Variables[i].Key == name {
			return f.conn.Variables[i].Default, f.conn.Variables[i].Default != ""
		}
	}
	return nil, false
}

// param names the place that a hole's value came from.
func param(name string) string {
	if strings.HasPrefix(name, "input.") {
		return name
	}
	return "settings." + name
}

// text renders a template of plain values. present is false if any hole has no
// value: half a value is none.
func (f *filler) text(t claviger.Template, escape func(string) string) (s string, present bool, err error) {
	present = true
	s, rerr := t.Render(func(name string) (string, bool) {
		v, ok := f.value(name)
		if !ok {
			present = false
			return "", true
		}
		str, ok := scalarText(v)
		switch {
		case !ok && err == nil:
			err = claviger.Invalid(param(name), "invalid_format", "%s must be a single value here.", param(name))
		case controls(str) && err == nil:
			err = claviger.Invalid(param(name), "invalid_format", "%s has a line break or another control character, which is not accepted here.", param(name))
		}
		return str, true
	}, escape)
	if rerr != nil && err == nil {
		err = claviger.Invalid("input", "invalid_format", "The request cannot be built.").With(rerr)
	}
	return s, present, err
}

func controls(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// scalarText writes a string, number or boolean as text.
func scalarText(v any) (string, bool) {
	switch x := v.(type) {
	case string:
		return x, true
	case json.Number:
		return x.String(), true
	case bool:
		return strconv.FormatBool(x), true
	case float64:
		if x == math.Trunc(x) && math.Abs(x) < 1e15 {
			return strconv.FormatInt(int64(x), 10), true
		}
		return strconv.FormatFloat(x, 'g', -1, 64), true
	case int:
		return strconv.Itoa(x), true
	case int64:
		return strconv.FormatInt(x, 10), true
	}
	return "", false
}

// path renders a path. Each value is escaped as one segment and may not make a
// segment empty or a dot segment, because servers and proxies fold those away.
func (f *filler) path(t claviger.Template) (string, error) {
	for _, name := range t.Names() {
		v, ok := f.value(name)
		s, _ := scalarText(v)
		if !ok || s == "" {
			return "", claviger.Invalid(param(name), "invalid_format", "%s is required: it is part of the address.", param(name))
		}
		if s == "." || s == ".." {
			return "", claviger.Invalid(param(name), "invalid_format", "%s must not be a dot segment.", param(name))
		}
	}
	s, _, err := f.text(t, escapeSegment)
	if err != nil {
		return "", err
	}
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "." || segment == ".." {
			return "", claviger.Invalid("input", "invalid_format", "The input makes a dot segment in the address.")
		}
	}
	return s, nil
}

// escapeSegment escapes all but the unreserved characters: url.PathEscape leaves
// characters such as ; and : that some servers read as more than text.
func escapeSegment(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if unreserved(s[i]) {
			b.WriteByte(s[i])
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[s[i]>>4])
		b.WriteByte(hexDigits[s[i]&15])
	}
	return b.String()
}

func (f *filler) query(params []claviger.QueryParam) (string, error) {
	var b strings.Builder
	add := func(name, value string) {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(name) + "=" + url.QueryEscape(value))
	}
	for _, q := range params {
		if name, whole := q.Value.Hole(); whole {
			if list, ok := f.list(name); ok {
				for _, item := range list {
					s, ok := scalarText(item)
					if !ok || controls(s) {
						return "", claviger.Invalid(param(name), "invalid_format", "%s must be a list of single values without control characters.", param(name))
					}
					add(q.Name, s)
				}
				continue
			}
		}
		s, present, err := f.text(q.Value, nil)
		if err != nil {
			return "", err
		}
		if present {
			add(q.Name, s)
		}
	}
	return b.String(), nil
}

func (f *filler) list(name string) ([]any, bool) {
	v, _ := f.value(name)
	list, ok := v.([]any)
	return list, ok
}

func (f *filler) headers(h http.Header, headers []claviger.Header) error {
	for _, x := range headers {
		s, present, err := f.text(x.Value, nil)
		if err != nil {
			return err
		}
		if present {
			h.Set(x.Name, s)
		}
	}
	return nil
}

// tree fills the templates of a body. present is false for a value whose input is
// absent; such members and items are left out.
func (f *filler) tree(v any) (out any, present bool, err error) {
	switch x := v.(type) {
	case claviger.Template:
		if name, whole := x.Hole(); whole {
			v, ok := f.value(name)
			return v, ok, nil
		}
		return f.bodyText(x)
	case map[string]any:
		m := make(map[string]any, len(x))
		for key, value := range x {
			filled, ok, err := f.tree(value)
			if err != nil {
				return nil, false, err
			}
			if ok {
				m[key] = filled
			}
		}
		// An object of inputs that are all absent is absent as a whole.
		return m, len(m) > 0 || len(x) == 0, nil
	case []any:
		list := make([]any, 0, len(x))
		for _, item := range x {
			filled, ok, err := f.tree(item)
			if err != nil {
				return nil, false, err
			}
			if ok {
				list = append(list, filled)
			}
		}
		return list, len(list) > 0 || len(x) == 0, nil
	}
	return v, true, nil
}

// bodyText renders a template inside a body, where line breaks are text: the
// encoder writes them as escapes.
func (f *filler) bodyText(t claviger.Template) (any, bool, error) {
	present := true
	var bad error
	s, err := t.Render(func(name string) (string, bool) {
		v, ok := f.value(name)
		if !ok {
			present = false
			return "", true
		}
		str, ok := scalarText(v)
		if !ok && bad == nil {
			bad = claviger.Invalid(param(name), "invalid_format", "%s must be a single value here.", param(name))
		}
		return str, true
	}, nil)
	if err != nil && bad == nil {
		bad = claviger.Invalid("input", "invalid_format", "The request cannot be built.").With(err)
	}
	return s, present, bad
}

// encodeForm writes members as a form in the order of their names; nested ones in
// brackets: a[b]=1, a[0][b]=1.
func encodeForm(members map[string]any) (string, error) {
	var b strings.Builder
	err := formMembers(&b, "", members)
	return b.String(), err
}

func formMembers(b *strings.Builder, prefix string, members map[string]any) error {
	keys := make([]string, 0, len(members))
	for key := range members {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		name := key
		if prefix != "" {
			name = prefix + "[" + key + "]"
		}
		if err := formValue(b, name, members[key]); err != nil {
			return err
		}
	}
	return nil
}

func formValue(b *strings.Builder, name string, v any) error {
	switch x := v.(type) {
	case map[string]any:
		return formMembers(b, name, x)
	case []any:
		for i, item := range x {
			if err := formValue(b, name+"["+strconv.Itoa(i)+"]", item); err != nil {
				return err
			}
		}
		return nil
	}
	s, ok := scalarText(v)
	if !ok && v != nil {
		return claviger.Invalid("input", "invalid_format", "The input has a value that a form cannot carry.")
	}
	if b.Len() > 0 {
		b.WriteByte('&')
	}
	b.WriteString(url.QueryEscape(name) + "=" + url.QueryEscape(s))
	return nil
}
