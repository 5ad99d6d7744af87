package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"claviger"
	"claviger/internal/document"
)

// checker walks the tree, gathers faults and compiles as it goes.
type checker struct {
	opts      Options
	faults    []Fault
	variables map[string]*claviger.Variable
}

// fault notes one thing wrong at a node.
func (c *checker) fault(n *document.Node, path, code, hint, format string, args ...any) {
	if len(c.faults) >= maxFaults {
		return
	}
	f := Fault{Path: path, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	if n != nil {
		f.Line, f.Column = n.Line, n.Column
	}
	c.faults = append(c.faults, f)
}

// object is a node that is to be read key by key; what is not asked for is unknown.
type object struct {
	c    *checker
	n    *document.Node
	path string
}

// object answers the node as an object with the given keys, or ok false.
func (c *checker) object(n *document.Node, path string, keys ...string) (o object, ok bool) {
	o = object{c: c, n: n, path: path}
	if n == nil || !c.is(n, path, document.Object) {
		return o, false
	}
	for _, m := range n.Members {
		if slices.Contains(keys, m.Key) || len(c.faults) >= maxFaults {
			continue
		}
		hint := "known keys: " + strings.Join(keys, ", ")
		if near := document.Nearest(m.Key, keys); near != "" {
			hint = "did you mean " + near + "?"
		}
		c.fault(&document.Node{Line: m.Line, Column: m.Column}, join(path, document.Quote(m.Key)), CodeUnknown, hint, "unknown key %s", document.Quote(m.Key))
	}
	return o, true
}

// is checks the type of a node.
func (c *checker) is(n *document.Node, path string, want ...document.Kind) bool {
	if slices.Contains(want, n.Kind) {
		return true
	}
	c.fault(n, path, CodeType, "", "must be %s, not %s", want[0], n.Kind)
	return false
}

func (o object) at(key string) string { return join(o.path, key) }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// need answers the node of a required key.
func (o object) need(key string) *document.Node {
	n := o.n.Get(key)
	if n == nil {
		o.c.fault(o.n, o.at(key), CodeMissing, "", "%s is required", key)
	}
	return n
}

// text answers a string, bounded and free of template syntax.
func (o object) text(key string, limit int) string {
	n := o.n.Get(key)
	if n == nil || !o.c.is(n, o.at(key), document.String) {
		return ""
	}
	o.c.plain(n, o.at(key))
	if len(n.Text) > limit {
		o.c.fault(n, o.at(key), CodeLimit, "", "is longer than %d bytes", limit)
	}
	return n.Text
}

// needText is text for a required string that is not empty.
func (o object) needText(key string, limit int) string {
	n := o.need(key)
	if n != nil && n.Kind == document.String && n.Text == "" {
		o.c.fault(n, o.at(key), CodeValue, "", "must not be empty")
	}
	return o.text(key, limit)
}

func (o object) bool(key string) bool {
	n := o.n.Get(key)
	return n != nil && o.c.is(n, o.at(key), document.Bool) && n.Text == "true"
}

// integer answers an integer within bounds, 0 if absent.
func (o object) integer(key string, low, high int) int {
	n := o.n.Get(key)
	if n == nil || !o.c.is(n, o.at(key), document.Integer) {
		return 0
	}
	v, _ := strconv.Atoi(n.Text)
	if v < low || v > high {
		o.c.fault(n, o.at(key), CodeValue, "", "must be between %d and %d", low, high)
	}
	return v
}

// choice answers one of a fixed set of strings.
func (o object) choice(key string, required bool, values ...string) string {
	n := o.n.Get(key)
	if n == nil {
		if required {
			o.need(key)
		}
		return ""
	}
	if !o.c.is(n, o.at(key), document.String) {
		return ""
	}
	if !slices.Contains(values, n.Text) {
		hint := "one of " + strings.Join(values, ", ")
		if near := document.Nearest(n.Text, values); near != "" {
			hint = "did you mean " + near + "?"
		}
		o.c.fault(n, o.at(key), CodeValue, hint, "%s is not accepted here", document.Quote(n.Text))
		return ""
	}
	return n.Text
}

// link answers an https URL.
func (o object) link(key string) string {
	s := o.text(key, 2048)
	if s != "" && !safeLink(s) {
		o.c.fault(o.n.Get(key), o.at(key), CodeValue, "write a complete https:// address", "must be an https link")
	}
	return s
}

// list answers the items of an array, bounded.
func (o object) list(key string, limit int) []*document.Node {
	n := o.n.Get(key)
	if n == nil || !o.c.is(n, o.at(key), document.Array) {
		return nil
	}
	if len(n.Items) > limit {
		o.c.fault(n, o.at(key), CodeLimit, "", "has more than %d entries", limit)
		return n.Items[:limit]
	}
	return n.Items
}

// texts answers a list of distinct strings.
func (o object) texts(key string, limit int) []string {
	var out []string
	for i, item := range o.list(key, limit) {
		path := index(o.at(key), i)
		if !o.c.is(item, path, document.String) {
			continue
		}
		o.c.plain(item, path)
		if item.Text == "" || len(item.Text) > 256 {
			o.c.fault(item, path, CodeValue, "", "must have 1 to 256 bytes")
		}
		if slices.Contains(out, item.Text) {
			o.c.fault(item, path, CodeDuplicate, "", "is there twice")
		}
		out = append(out, item.Text)
	}
	return out
}

// pattern answers a compiled RE2 pattern. RE2 runs in linear time; its size is
// bounded because each byte of it costs at every match.
func (o object) pattern(key string) *regexp.Regexp {
	n := o.n.Get(key)
	if n == nil || !o.c.is(n, o.at(key), document.String) {
		return nil
	}
	if len(n.Text) > maxPattern {
		o.c.fault(n, o.at(key), CodeLimit, "", "is longer than %d bytes", maxPattern)
		return nil
	}
	re, err := regexp.Compile(n.Text)
	if err != nil {
		o.c.fault(n, o.at(key), CodeValue, "RE2 syntax: no look-around and no back-references", "is not a valid pattern")
		return nil
	}
	return re
}

const maxPattern = 512

// plain refuses template syntax where no template is read, in the spellings of the
// engines that a document may pass through on its way to people and agents.
func (c *checker) plain(n *document.Node, path string) {
	if mark := foreign(n.Text, true); mark != "" {
		c.fault(n, path, CodeTemplate, "write plain text", "%s is not accepted here: this is no template", document.Quote(mark))
	}
}

func foreign(s string, dollar bool) string {
	for _, mark := range []string{"${", "{{", "{%", "<%", "#{", "$(", "`"} {
		if strings.Contains(s, mark) && (dollar || mark != "${") {
			return mark
		}
	}
	return ""
}

// template answers the template at a node whose holes are all allowed.
func (c *checker) template(n *document.Node, path string, allowed func(name string) string) claviger.Template {
	if n == nil || !c.is(n, path, document.String) {
		return claviger.Template{}
	}
	if len(n.Text) > maxTemplate {
		c.fault(n, path, CodeLimit, "", "is longer than %d bytes", maxTemplate)
		return claviger.Template{}
	}
	if mark := foreign(n.Text, false); mark != "" {
		c.fault(n, path, CodeTemplate, "use ${name} or ${fn(name)}", "%s is not template syntax here", document.Quote(mark))
	}
	t, err := claviger.ParseTemplate(n.Text)
	if err != nil {
		c.fault(n, path, CodeTemplate, "fn is one of base64, urlencode, lower", "the template is ill-formed: use ${name} or ${fn(name)}")
		return claviger.Template{}
	}
	for _, name := range t.Names() {
		if why := allowed(name); why != "" {
			c.fault(n, path, CodeTemplate, why, "${%s} is not known here", name)
		}
	}
	return t
}

const maxTemplate = 16 << 10

var (
	keyPattern  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	namePattern = regexp.MustCompile(`^[a-z][A-Za-z0-9]*$`)
	tokenChars  = regexp.MustCompile("^[!#$%&'*+.^_|~0-9A-Za-z-]+$") // RFC 9110, section 5.6.2, without the backtick
)

// key answers a required key of a connector, auth method or action.
func (o object) key(key string) string {
	s := o.needText(key, 256)
	if s != "" && (len(s) > 64 || !keyPattern.MatchString(s)) {
		o.c.fault(o.n.Get(key), o.at(key), CodeValue, "lower case letters and digits in groups joined by single hyphens, at most 64", "%s is not a valid key", document.Quote(s))
	}
	return s
}

// name answers the required name of a field or variable.
func (o object) name(key string) string {
	s := o.needText(key, 256)
	if s != "" && (len(s) > 64 || !namePattern.MatchString(s) || s == "input") {
		o.c.fault(o.n.Get(key), o.at(key), CodeValue, "camelCase: a lower case letter, then letters and digits, at most 64", "%s is not a valid name", document.Quote(s))
	}
	return s
}
