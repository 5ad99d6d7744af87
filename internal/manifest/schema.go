package manifest

import (
	_ "embed" // for the schemas
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"claviger/internal/document"
)

//go:embed schema/system.json
var systemSchemaText []byte

//go:embed schema/datasource.json
var dataSourceSchemaText []byte

// SystemSchema answers the JSON Schema (draft 2020-12) of a system's document.
func SystemSchema() []byte { return slices.Clone(systemSchemaText) }

// DataSourceSchema answers the JSON Schema (draft 2020-12) of a data source.
func DataSourceSchema() []byte { return slices.Clone(dataSourceSchemaText) }

// schema is a JSON Schema in the subset that the two files use: $ref into $defs,
// type, enum, const, oneOf of different types, anyOf of required, and the bounds of
// strings, numbers, lists and objects. A keyword that is not known here fails a test.
type schema struct {
	root, node *document.Node
	name       string // of the definition that the node came from
	patterns   map[string]*regexp.Regexp
}

var systemSchema = sync.OnceValue(func() schema { return compileSchema(systemSchemaText) })

var dataSourceSchema = sync.OnceValue(func() schema { return compileSchema(dataSourceSchemaText) })

func compileSchema(text []byte) schema {
	root, fault := document.Read("schema.json", text)
	if fault != nil {
		panic("manifest: embedded schema: " + fault.String())
	}
	s := schema{root: root, node: root, patterns: map[string]*regexp.Regexp{}}
	s.compilePatterns(root)
	return s
}

func (s schema) compilePatterns(n *document.Node) {
	for _, m := range n.Members {
		if m.Key == "pattern" && m.Value.Kind == document.String {
			s.patterns[m.Value.Text] = regexp.MustCompile(m.Value.Text)
		}
		s.compilePatterns(m.Value)
	}
	for _, item := range n.Items {
		s.compilePatterns(item)
	}
}

// resolve follows references.
func (s schema) resolve(n *document.Node) schema {
	s.node = n
	for ref := n.Get("$ref"); ref != nil; ref = s.node.Get("$ref") {
		s.name = strings.TrimPrefix(ref.Text, "#/$defs/")
		s.node = s.root.Get("$defs").Get(s.name)
	}
	return s
}

func (s schema) number(key string) (int, bool) {
	n := s.node.Get(key)
	if n == nil {
		return 0, false
	}
	v, err := strconv.Atoi(n.Text)
	return v, err == nil
}

// check walks a value and its schema side by side.
func (c *checker) check(s schema, p place) {
	if s.name == "reference" {
		c.references(p, p.text())
		return
	}
	if one := s.node.Get("oneOf"); one != nil {
		if s = s.branch(one, p.node); s.node == nil {
			c.fail(p, CodeType, "", "", "must be %s", strings.Join(kindsOf(s, one), " or "))
			return
		}
	}
	if t := s.node.Get("type"); t != nil && !typeFits(t, p.node) {
		c.fail(p, CodeType, "", "", "must be %s, not %s", strings.Join(typeWords(t), " or "), p.node.Kind)
		return
	}
	if values := s.node.Get("enum"); values != nil {
		c.oneOf(p, values.Items)
	}
	if want := s.node.Get("const"); want != nil {
		c.oneOf(p, []*document.Node{want})
	}
	switch p.node.Kind {
	case document.Object:
		c.checkObject(s, p)
	case document.Array:
		c.checkList(s, p)
	case document.String:
		c.checkString(s, p)
	case document.Integer, document.Number:
		c.checkNumber(s, p)
	}
}

// branch answers the alternative whose type is that of the value.
func (s schema) branch(one, value *document.Node) schema {
	for _, item := range one.Items {
		if b := s.resolve(item); typeFits(b.node.Get("type"), value) {
			return b
		}
	}
	return schema{root: s.root}
}

func kindsOf(s schema, one *document.Node) (out []string) {
	for _, item := range one.Items {
		out = append(out, typeWords(s.resolve(item).node.Get("type"))...)
	}
	return out
}

var typeKinds = map[string][]document.Kind{
	"object": {document.Object}, "array": {document.Array}, "string": {document.String}, "integer": {document.Integer},
	"number": {document.Number, document.Integer}, "boolean": {document.Bool}, "null": {document.Null},
}

// typeFits takes an alternative without a type for one of strings: an enumeration.
func typeFits(t, value *document.Node) bool {
	if t == nil {
		return value.Kind == document.String
	}
	return slices.ContainsFunc(typeNames(t), func(name string) bool { return slices.Contains(typeKinds[name], value.Kind) })
}

func typeNames(t *document.Node) []string {
	if t == nil {
		return []string{"string"}
	}
	if t.Kind == document.String {
		return []string{t.Text}
	}
	var out []string
	for _, item := range t.Items {
		out = append(out, item.Text)
	}
	return out
}

func typeWords(t *document.Node) []string {
	var out []string
	for _, name := range typeNames(t) {
		out = append(out, string(typeKinds[name][0]))
	}
	return out
}

// oneOf refuses a value that is none of those listed. It repeats the value only if
// it is as short as a word.
func (c *checker) oneOf(p place, values []*document.Node) {
	var known []string
	for _, v := range values {
		if v.Kind == p.node.Kind && v.Text == p.node.Text {
			return
		}
		known = append(known, v.Text)
	}
	shown := "the value"
	if len(p.node.Text) <= 24 && p.node.Kind == document.String {
		shown = document.Quote(p.node.Text)
	}
	c.fail(p, CodeValue, nearestOr(p.node.Text, known, "one of "+strings.Join(known, ", ")), "", "%s is not accepted here", shown)
}

func nearestOr(word string, known []string, otherwise string) string {
	if near := document.Nearest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	return otherwise
}

func (c *checker) checkObject(s schema, p place) {
	properties := s.node.Get("properties")
	rest := s.node.Get("additionalProperties")
	for _, m := range p.node.Members {
		if known := properties.Get(m.Key); known != nil {
			c.check(s.resolve(known), p.get(m.Key))
			continue
		}
		c.checkName(s, p, m)
		switch {
		case rest != nil && rest.Kind == document.Object:
			c.check(s.resolve(rest), p.get(m.Key))
		case rest != nil:
			c.unknown(p, m, properties)
		}
	}
	if n, ok := s.number("maxProperties"); ok && len(p.node.Members) > n {
		c.fail(p, CodeLimit, "", "", "has more than %d keys", n)
	}
	c.checkRequired(s.node.Get("required"), p)
	if deps := s.node.Get("dependentRequired"); deps != nil {
		for _, m := range deps.Members {
			if p.has(m.Key) {
				c.checkRequired(m.Value, p)
			}
		}
	}
	if any := s.node.Get("anyOf"); any != nil && !slices.ContainsFunc(any.Items, func(n *document.Node) bool { return p.has(n.Get("required").Items[0].Text) }) {
		names := make([]string, len(any.Items))
		for i, item := range any.Items {
			names[i] = item.Get("required").Items[0].Text
		}
		c.fail(p, CodeMissing, "", "", "%s is required", strings.Join(names, " or "))
	}
}

func (c *checker) unknown(p place, m document.Member, properties *document.Node) {
	if document.KnownSecret(m.Key) || document.RandomRun(m.Key) {
		return // told as a literal secret, which is not repeated
	}
	known := make([]string, len(properties.Members))
	for i := range properties.Members {
		known[i] = properties.Members[i].Key
	}
	c.fail(p.member(m), CodeUnknown, nearestOr(m.Key, known, "known keys: "+strings.Join(known, ", ")), "", "unknown key %s", document.Quote(m.Key))
}

// checkName checks a key that the author chooses.
func (c *checker) checkName(s schema, p place, m document.Member) {
	if names := s.node.Get("propertyNames"); names != nil && !s.patterns[names.Get("pattern").Text].MatchString(m.Key) {
		c.fail(p.member(m), CodeValue, "letters, digits and _, a letter first", "", "the key is not a name")
	}
}

func (c *checker) checkRequired(required *document.Node, p place) {
	if required == nil {
		return
	}
	for _, name := range required.Items {
		if !p.has(name.Text) {
			c.fail(p.get(name.Text), CodeMissing, "", "", "%s is required", name.Text)
		}
	}
}

func (c *checker) checkList(s schema, p place) {
	if n, ok := s.number("maxItems"); ok && len(p.node.Items) > n {
		c.fail(p, CodeLimit, "", "", "has more than %d entries", n)
		return
	}
	if n, ok := s.number("minItems"); ok && len(p.node.Items) < n {
		c.fail(p, CodeValue, "", "", "needs at least %d entry", n)
	}
	unique := s.node.Get("uniqueItems") != nil
	seen := map[string]bool{}
	for i, item := range p.items() {
		if text := string(item.node.AppendJSON(nil)); unique && seen[text] {
			c.fail(p.item(i), CodeDuplicate, "keep one of them", "", "is there twice")
		} else {
			seen[text] = true
		}
		if items := s.node.Get("items"); items != nil {
			c.check(s.resolve(items), item)
		}
	}
}

func (c *checker) checkString(s schema, p place) {
	length := utf8.RuneCountInString(p.node.Text)
	if n, ok := s.number("maxLength"); ok && length > n {
		c.fail(p, CodeLimit, "", "", "is longer than %d characters", n)
		return
	}
	if n, ok := s.number("minLength"); ok && length < n {
		c.fail(p, CodeValue, "", "", "must not be empty")
	}
	if pattern := s.node.Get("pattern"); pattern != nil && !s.patterns[pattern.Text].MatchString(p.node.Text) {
		c.fail(p, CodeValue, grammar(s.name, pattern.Text), "", "is not of the right form")
	}
}

// grammar says in words what a pattern asks for.
func grammar(name, pattern string) string {
	words := map[string]string{
		"key":        "lower case letters and digits in groups joined by single hyphens",
		"base":       "a complete address such as https://api.example.com/v2, without user, query and fragment",
		"address":    "a complete address such as https://example.com/openapi.json, without user and fragment",
		"header":     "the name of a header, such as X-API-Key",
		"expression": "for example {{raw.name}} | trim",
		"path":       "for example $.items[*]",
		"urlPath":    "for example /companies/{id}",
		"attribute":  "letters, digits, _ and dots",
	}
	if w := words[name]; w != "" {
		return w
	}
	return fmt.Sprintf("the pattern is %s", pattern)
}

func (c *checker) checkNumber(s schema, p place) {
	v, err := strconv.ParseFloat(p.node.Text, 64)
	if err != nil {
		return // the reader lets no such number pass
	}
	low, hasLow := s.number("minimum")
	high, hasHigh := s.number("maximum")
	above, hasAbove := s.number("exclusiveMinimum")
	switch {
	case hasAbove && v <= float64(above):
		c.fail(p, CodeValue, "", "", "must be above %d", above)
	case hasLow && v < float64(low) || hasHigh && v > float64(high):
		if hasHigh {
			c.fail(p, CodeValue, "", "", "must be between %d and %d", low, high)
		} else {
			c.fail(p, CodeValue, "", "", "must be at least %d", low)
		}
	}
}
