package document

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Kind is the JSON type of a node.
type Kind string

// The kinds.
const (
	Object  Kind = "an object"
	Array   Kind = "a list"
	String  Kind = "a string"
	Integer Kind = "an integer"
	Number  Kind = "a number"
	Bool    Kind = "true or false"
	Null    Kind = "null"
)

// Node is a value of the document with its place.
type Node struct {
	Kind         Kind
	Line, Column int
	Text         string          // of a string, number or boolean, in canonical form
	Members      []Member        // of an object, in the order of the text until sorted
	Items        []*Node         // of an array
	seen         map[string]bool // keys of a large object while it is read
}

// Member is one key of an object with its value.
type Member struct {
	Key          string
	Line, Column int
	Value        *Node
}

// Get answers the value of a key, or nil.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for i := range n.Members {
		if n.Members[i].Key == key {
			return n.Members[i].Value
		}
	}
	return nil
}

// Sort puts the keys of every object in order, so that documents that differ
// in layout alone are equal.
func (n *Node) Sort() {
	slices.SortStableFunc(n.Members, func(a, b Member) int { return strings.Compare(a.Key, b.Key) })
	for i := range n.Members {
		n.Members[i].Value.Sort()
	}
	for _, item := range n.Items {
		item.Sort()
	}
}

// AppendJSON writes the JSON of the node, without white space and without escapes
// that JSON does not demand. After [Node.Sort] that is the canonical form.
func (n *Node) AppendJSON(dst []byte) []byte {
	switch n.Kind {
	case Object:
		dst = append(dst, '{')
		for i := range n.Members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, n.Members[i].Key), ':')
			dst = n.Members[i].Value.AppendJSON(dst)
		}
		return append(dst, '}')
	case Array:
		dst = append(dst, '[')
		for i, item := range n.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item.AppendJSON(dst)
		}
		return append(dst, ']')
	case String:
		return appendString(dst, n.Text)
	default:
		return append(dst, n.Text...)
	}
}

func appendString(dst []byte, s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string in memory always encodes
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// Tree answers the node as encoding/json would decode it with UseNumber.
func (n *Node) Tree() any {
	switch n.Kind {
	case Object:
		out := make(map[string]any, len(n.Members))
		for i := range n.Members {
			out[n.Members[i].Key] = n.Members[i].Value.Tree()
		}
		return out
	case Array:
		out := make([]any, len(n.Items))
		for i, item := range n.Items {
			out[i] = item.Tree()
		}
		return out
	case String:
		return n.Text
	case Integer, Number:
		return json.Number(n.Text)
	case Bool:
		return n.Text == "true"
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
func (n *Node) number(text string) bool {
	const exact = 1<<53 - 1
	if integerText.MatchString(text) {
		v, err := strconv.ParseInt(text, 10, 64)
		n.Kind, n.Text = Integer, strconv.FormatInt(v, 10)
		return err == nil && v >= -exact && v <= exact
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) || !numberText.MatchString(text) {
		return false
	}
	out, err := json.Marshal(v)
	n.Kind, n.Text = Number, string(out)
	if integerText.MatchString(n.Text) {
		n.Kind = Integer
		if n.Text == "-0" {
			n.Text = "0"
		}
		return v >= -exact && v <= exact
	}
	return err == nil
}

// IsNumber reports whether s is written as a JSON number.
func IsNumber(s string) bool { return numberText.MatchString(s) }
