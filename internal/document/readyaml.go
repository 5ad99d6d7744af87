package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// yaml reads the document in a subset of YAML in which a text has one meaning:
// block and flow collections, strings, JSON's numbers, true, false and null. What
// YAML versions read in two ways (no, on, 0x10, 1_000, dates) must be quoted.
func (r *reader) yaml() *Node {
	if n := bytes.Count(r.data, []byte("\n")) + bytes.Count(r.data, []byte(",")) + bytes.Count(r.data, []byte("[")) + bytes.Count(r.data, []byte("{")) + bytes.Count(r.data, []byte("- ")); n > 4*r.most { // before the library allocates a node for each
		r.fail(1, 1, CodeLimit, fmt.Sprintf("the document has more than %d values", r.most), "")
		return nil
	}
	if bytes.HasPrefix(r.data, []byte("%")) || bytes.Contains(r.data, []byte("\n%")) {
		r.fail(1, 1, CodeSyntax, "YAML directives are not read here", "remove the line that starts with %")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(r.data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		r.yamlError(err)
		return nil
	}
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			r.yamlError(err)
			return nil
		}
		r.fail(max(second.Line, 1), max(second.Column, 1), CodeSyntax, "the file holds more than one document", "one file, one document")
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		r.fail(1, 1, CodeSyntax, "the document is empty", "")
		return nil
	}
	return r.yamlValue(doc.Content[0], 1)
}

var yamlLine = regexp.MustCompile(`line ([0-9]+)`)

// yamlError keeps the line of the library's message but not its words, which may
// quote a value.
func (r *reader) yamlError(err error) {
	line := 1
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
	}
	if errors.Is(err, io.EOF) {
		r.fail(1, 1, CodeSyntax, "the document is empty", "")
		return
	}
	r.fail(max(line, 1), 1, CodeSyntax, "the YAML is not well-formed", "check the indentation, brackets and quotation marks near this line")
}

func (r *reader) yamlValue(y *yaml.Node, depth int) *Node {
	if !r.enter(y.Line, y.Column, depth) {
		return nil
	}
	n := &Node{Line: y.Line, Column: y.Column}
	if !r.yamlPlain(y) {
		return nil
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.Kind = Object
		for i := 0; i+1 < len(y.Content) && r.fault == nil; i += 2 {
			key := y.Content[i]
			name := r.yamlValue(key, depth+1)
			if r.fault != nil {
				return nil
			}
			if name.Kind != String {
				r.fail(key.Line, key.Column, CodeType, "a key must be a string", "put it in quotation marks")
				return nil
			}
			r.addMember(n, Member{Key: name.Text, Line: key.Line, Column: key.Column, Value: r.yamlValue(y.Content[i+1], depth+1)})
		}
	case yaml.SequenceNode:
		n.Kind = Array
		for _, item := range y.Content {
			if r.fault != nil {
				return nil
			}
			n.Items = append(n.Items, r.yamlValue(item, depth+1))
		}
	default:
		r.yamlScalar(y, n)
	}
	return n
}

// yamlPlain refuses the features that make a text mean more than it shows.
func (r *reader) yamlPlain(y *yaml.Node) bool {
	mark := byte(0)
	if y.Line >= 1 && y.Line <= len(r.lines) {
		if at := r.lines[y.Line-1] + y.Column - 1; at < len(r.data) {
			mark = r.data[at]
		}
	}
	switch {
	case y.Kind == yaml.AliasNode || y.Anchor != "" || mark == '&' || mark == '*' && y.Style == 0:
		r.fail(y.Line, y.Column, CodeSyntax, "anchors and aliases are not read here", "write the value out")
	case y.Style&yaml.TaggedStyle != 0 || mark == '!':
		r.fail(y.Line, y.Column, CodeSyntax, "tags are not read here", "put the value in quotation marks if it is a string")
	case y.Tag == "!!merge":
		r.fail(y.Line, y.Column, CodeSyntax, "merge keys are not read here", "write the keys out")
	}
	return r.fault == nil
}

// ambiguous are plain words and numbers that YAML 1.1, YAML 1.2 and JSON read
// differently. The word off is not among them: connectors say it ("pkce: off"), and
// where a truth is asked for, it is refused as the string that it is.
var ambiguous = regexp.MustCompile(`^(?:~|=|(?i:y|n|yes|no|on|true|false|null)|O(?:ff|FF)|[-+]?\.(?i:inf|nan)|[-+]?\.[0-9_]+` +
	`|[-+]?[0-9][0-9_,]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|[-+]?0[xob][0-9a-fA-F_]+|[-+]?[0-9]+(?::[0-9]+)+(?:\.[0-9]*)?|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*)$`)

func (r *reader) yamlScalar(y *yaml.Node, n *Node) {
	n.Kind, n.Text = String, y.Value
	if y.Style != 0 { // quoted or a block: always a string
		r.visible(n)
		return
	}
	switch {
	case y.Value == "true" || y.Value == "false":
		n.Kind = Bool
	case y.Value == "null":
		n.Kind = Null
	case y.Value == "":
		r.fail(y.Line, y.Column, CodeValue, "the value is missing", `write "" for an empty string`)
	case numberText.MatchString(y.Value):
		if !n.number(y.Value) {
			r.fail(y.Line, y.Column, CodeValue, "the number is too large", "")
		}
	case ambiguous.MatchString(y.Value):
		r.fail(y.Line, y.Column, CodeType, fmt.Sprintf("%s can be read in more than one way", Quote(y.Value)), "put it in quotation marks, or write true, false, null or a decimal number")
	default:
		r.visible(n)
	}
}
