package catalog

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kind is the JSON type of a node.
type kind string

const (
	kindObject  kind = "an object"
	kindArray   kind = "a list"
	kindString  kind = "a string"
	kindInteger kind = "an integer"
	kindNumber  kind = "a number"
	kindBool    kind = "true or false"
	kindNull    kind = "null"
)

// node is a value of the document with its place.
type node struct {
	kind         kind
	line, column int
	text         string          // of a string, number or boolean, in canonical form
	members      []member        // of an object, sorted by key after reading
	items        []*node         // of an array
	seen         map[string]bool // keys of a large object while it is read
}

// member is one key of an object with its value.
type member struct {
	key          string
	line, column int
	value        *node
}

// get answers the value of a key, or nil.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i := range n.members {
		if n.members[i].key == key {
			return n.members[i].value
		}
	}
	return nil
}

// sortMembers puts the keys of every object in order, so that documents that differ
// in layout alone compile to the same connector.
func (n *node) sortMembers() {
	slices.SortStableFunc(n.members, func(a, b member) int { return strings.Compare(a.key, b.key) })
	for i := range n.members {
		n.members[i].value.sortMembers()
	}
	for _, item := range n.items {
		item.sortMembers()
	}
}

// appendJSON writes the canonical JSON of the node: sorted keys, no white space, no
// escapes that JSON does not demand.
func (n *node) appendJSON(dst []byte) []byte {
	switch n.kind {
	case kindObject:
		dst = append(dst, '{')
		for i := range n.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, n.members[i].key), ':')
			dst = n.members[i].value.appendJSON(dst)
		}
		return append(dst, '}')
	case kindArray:
		dst = append(dst, '[')
		for i, item := range n.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item.appendJSON(dst)
		}
		return append(dst, ']')
	case kindString:
		return appendString(dst, n.text)
	default:
		return append(dst, n.text...)
	}
}

func appendString(dst []byte, s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string in memory always encodes
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// tree answers the node as encoding/json would decode it with UseNumber.
func (n *node) tree() any {
	switch n.kind {
	case kindObject:
		out := make(map[string]any, len(n.members))
		for i := range n.members {
			out[n.members[i].key] = n.members[i].value.tree()
		}
		return out
	case kindArray:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			out[i] = item.tree()
		}
		return out
	case kindString:
		return n.text
	case kindInteger, kindNumber:
		return json.Number(n.text)
	case kindBool:
		return n.text == "true"
	default:
		return nil
	}
}

var (
	integerText = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	numberText  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
)

// number reads the text of a JSON number into n in canonical form: an integer that
// a float64 holds exactly, or the shortest text of a finite float64.
func (n *node) number(text string) bool {
	const exact = 1<<53 - 1
	if integerText.MatchString(text) {
		v, err := strconv.ParseInt(text, 10, 64)
		n.kind, n.text = kindInteger, strconv.FormatInt(v, 10)
		return err == nil && v >= -exact && v <= exact
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) || !numberText.MatchString(text) {
		return false
	}
	out, err := json.Marshal(v)
	n.kind, n.text = kindNumber, string(out)
	if integerText.MatchString(n.text) {
		n.kind = kindInteger
		if n.text == "-0" {
			n.text = "0"
		}
		return v >= -exact && v <= exact
	}
	return err == nil
}
