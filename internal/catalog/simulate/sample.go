package simulate

import (
	"encoding/json"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"claviger"
)

// sampler makes up texts; its letters go on from text to text, so that two samples of
// one pattern are rarely the same.
type sampler struct{ next int }

// matching answers a text that matches the pattern, or "" if none was found.
func (s *sampler) matching(re *regexp.Regexp) string {
	parsed, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return ""
	}
	var b strings.Builder
	s.write(&b, parsed)
	if text := b.String(); re.MatchString(text) {
		return text
	}
	return ""
}

func (s *sampler) write(b *strings.Builder, re *syntax.Regexp) {
	repeat := func(n int) {
		for range n {
			s.write(b, re.Sub[0])
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		b.WriteRune(s.letter(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('x')
	case syntax.OpCapture:
		repeat(1)
	case syntax.OpPlus:
		repeat(8)
	case syntax.OpRepeat:
		repeat(re.Min)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			s.write(b, sub)
		}
	case syntax.OpAlternate:
		s.write(b, re.Sub[0])
	}
}

// letter answers a member of a class, a plain letter or digit if it has one.
func (s *sampler) letter(ranges []rune) rune {
	const plain = "abcdefghijkmnpqrstuvwxyz23456789ABCDEFGHJKLMNPQRSTUVWXYZ01"
	for i := range len(plain) {
		c := rune(plain[(s.next+i)%len(plain)])
		for j := 0; j+1 < len(ranges); j += 2 {
			if ranges[j] <= c && c <= ranges[j+1] {
				s.next += i + 1
				return c
			}
		}
	}
	return max(ranges[0], '!')
}

// setting makes up the value of a variable.
func (s *sampler) setting(v *claviger.Variable, hosts []string) string {
	switch {
	case v.Default != "":
		return v.Default
	case v.Type == claviger.VariableEnum:
		return v.Values[0]
	case v.Type == claviger.VariableUUID:
		return "0190c0de-0000-7000-8000-000000000001"
	case v.Pattern != nil:
		return s.matching(v.Pattern)
	case v.Type == claviger.VariableHostname && len(hosts) > 0:
		return strings.Replace(hosts[0], "*", "acme", 1)
	case v.Type == claviger.VariableHostname:
		return "vendor.example.com"
	}
	return "acme"
}

// credential makes up the value of a field, in its usual format where it has one.
func (s *sampler) credential(f *claviger.Field) string {
	switch {
	case f.Type == "select":
		return f.Options[0]
	case f.Type == "json":
		return `{"sample":true}`
	case f.Type == "number":
		return "1"
	}
	if f.SoftPattern != nil {
		if text := s.matching(f.SoftPattern); f.Pattern == nil || f.Pattern.MatchString(text) {
			return text
		}
	}
	if f.Pattern != nil {
		return s.matching(f.Pattern)
	}
	return "sample-" + f.Key
}

// input makes up a value for a JSON Schema, with every property that it names.
func (s *sampler) input(schema map[string]any) any {
	if v, ok := schema["const"]; ok {
		return v
	}
	if values, ok := schema["enum"].([]any); ok && len(values) > 0 {
		return values[0]
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		if list, ok := schema[key].([]any); ok && len(list) > 0 {
			first, _ := list[0].(map[string]any)
			return s.input(first)
		}
	}
	kind, _ := schema["type"].(string)
	if list, ok := schema["type"].([]any); ok && len(list) > 0 {
		kind, _ = list[0].(string)
	}
	switch kind {
	case "object":
		out := map[string]any{}
		properties, _ := schema["properties"].(map[string]any)
		for _, name := range sorted(properties) {
			property, _ := properties[name].(map[string]any)
			out[name] = s.input(property)
		}
		if len(properties) == 0 && schema["additionalProperties"] != false {
			out["sample"] = "value"
		}
		return out
	case "array":
		items, ok := schema["items"].(map[string]any)
		if !ok {
			return []any{"sample"}
		}
		return []any{s.input(items)}
	case "integer", "number":
		if low, ok := schema["minimum"].(json.Number); ok {
			return low
		}
		return json.Number("1")
	case "boolean":
		return true
	}
	return s.text(schema)
}

func (s *sampler) text(schema map[string]any) string {
	if pattern, ok := schema["pattern"].(string); ok {
		if re, err := regexp.Compile(pattern); err == nil {
			return s.matching(re)
		}
	}
	switch schema["format"] {
	case "email":
		return "ada@example.com"
	case "uri", "url":
		return "https://example.com/"
	case "date":
		return "2025-01-31"
	case "date-time":
		return "2025-01-31T12:00:00Z"
	case "uuid":
		return "0190c0de-0000-7000-8000-000000000001"
	}
	text := "sample"
	if low, ok := schema["minLength"].(json.Number); ok {
		if n, err := low.Int64(); err == nil && n > int64(len(text)) {
			text += strings.Repeat("x", int(n)-len(text))
		}
	}
	if high, ok := schema["maxLength"].(json.Number); ok {
		if n, err := high.Int64(); err == nil && n < int64(len(text)) {
			text = text[:n]
		}
	}
	return text
}

func sorted[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
