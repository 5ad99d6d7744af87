package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"claviger/internal/document"
)

// The tree that repairs edit is YAML's in both formats: it keeps the order of keys
// and, from YAML, comments and quotes.

// editable answers the tree of a well-formed document.
func editable(name string, data []byte) (*yaml.Node, error) {
	root, fault := document.Read(name, data)
	if fault != nil {
		return nil, errors.New("manifest: " + fault.String())
	}
	if isJSON(name, data) {
		return fromDocument(root), nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	return doc.Content[0], nil
}

func isJSON(name string, data []byte) bool {
	ext := path.Ext(name)
	return ext == ".json" || ext != ".yaml" && ext != ".yml" && bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{"))
}

var scalarTags = map[document.Kind]string{
	document.String: "!!str", document.Integer: "!!int", document.Number: "!!float", document.Bool: "!!bool", document.Null: "!!null",
}

func fromDocument(n *document.Node) *yaml.Node {
	switch n.Kind {
	case document.Object:
		out := mapping()
		for _, m := range n.Members {
			out.Content = append(out.Content, scalar(m.Key), fromDocument(m.Value))
		}
		return out
	case document.Array:
		out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range n.Items {
			out.Content = append(out.Content, fromDocument(item))
		}
		return out
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: scalarTags[n.Kind], Value: n.Text}
	}
}

func mapping(pairs ...string) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i+1 < len(pairs); i += 2 {
		out.Content = append(out.Content, scalar(pairs[i]), scalar(pairs[i+1]))
	}
	return out
}

func scalar(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

// value answers the value of a key, nil if there is none.
func value(m *yaml.Node, key string) *yaml.Node {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

func textOf(m *yaml.Node, key string) string {
	if v := value(m, key); v != nil && v.Kind == yaml.ScalarNode && v.Tag == "!!str" {
		return v.Value
	}
	return ""
}

// set puts a value at a key, in its place if it is there, else at the end.
func set(m *yaml.Node, key string, v *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content[i+1] = v
			return
		}
	}
	m.Content = append(m.Content, scalar(key), v)
}

func remove(m *yaml.Node, key string) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content = slices.Delete(m.Content, i, i+2)
			return
		}
	}
}

// rewrite answers the text of a document whose authentications became slots, all
// else as it was: the one member is replaced in the text where the text allows it,
// else the whole document is written anew from the tree.
func rewrite(name string, data []byte, root, slots *yaml.Node) ([]byte, error) {
	member := mapping()
	set(member, "authentications", slots)
	remade := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: root.Style, HeadComment: root.HeadComment, FootComment: root.FootComment}
	placed := false
	for i := 0; i+1 < len(root.Content); i += 2 {
		switch key := root.Content[i]; {
		case key.Value != "authentication" && key.Value != "authentications":
			remade.Content = append(remade.Content, key, root.Content[i+1])
		case !placed:
			placed = true
			name := *key
			name.Value = "authentications"
			remade.Content = append(remade.Content, &name, slots)
		}
	}
	if !placed {
		remade.Content = append(remade.Content, member.Content...)
	}
	spliced, whole := spliceYAML, encodeYAML
	if isJSON(name, data) {
		spliced, whole = spliceJSON, encodeJSON
	}
	want, err := canonicalOf(remade)
	if err != nil {
		return nil, err
	}
	if out, ok := spliced(data, root, slots); ok {
		if out = withLineEnds(data, out); sameDocument(name, out, want) {
			return out, nil
		}
	}
	out, err := whole(remade)
	if out = withLineEnds(data, out); err == nil && !sameDocument(name, out, want) {
		err = errors.New("manifest: the document cannot be written again as it was read")
	}
	return out, err
}

// withLineEnds ends the lines of a text as an older one does: with CRLF if its first line
// ends so.
func withLineEnds(old, text []byte) []byte {
	if i := bytes.IndexByte(old, '\n'); i < 1 || old[i-1] != '\r' {
		return text
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

func canonicalOf(n *yaml.Node) ([]byte, error) {
	text := renderJSON(nil, n, "", "")
	root, fault := document.Read("x.json", text)
	if fault != nil {
		return nil, errors.New("manifest: " + fault.String())
	}
	root.Sort()
	return root.AppendJSON(nil), nil
}

func sameDocument(name string, text, canonical []byte) bool {
	root, fault := document.Read(name, text)
	if fault != nil {
		return false
	}
	root.Sort()
	return bytes.Equal(root.AppendJSON(nil), canonical)
}

func encodeYAML(n *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if slots := value(n, "authentications"); slots != nil && slots.Column == 1 {
		enc.CompactSeqIndent() // as it was
	}
	err := errors.Join(enc.Encode(n), enc.Close())
	return out.Bytes(), err
}

func encodeJSON(n *yaml.Node) ([]byte, error) {
	return append(renderJSON(nil, n, "", "  "), '\n'), nil
}

// renderJSON writes a tree as JSON, each level on lines of its own behind prefix and
// one more indent; on one line if indent is empty.
func renderJSON(dst []byte, n *yaml.Node, prefix, indent string) []byte {
	inner := prefix + indent
	open := func(at string) {
		if indent != "" {
			dst = append(append(dst, '\n'), at...)
		}
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str":
		return (&document.Node{Kind: document.String, Text: n.Value}).AppendJSON(dst)
	case n.Kind == yaml.ScalarNode:
		return append(dst, n.Value...)
	case len(n.Content) == 0 && n.Kind == yaml.SequenceNode:
		return append(dst, "[]"...)
	case len(n.Content) == 0:
		return append(dst, "{}"...)
	}
	step, brackets := 2, "{}"
	if n.Kind == yaml.SequenceNode {
		step, brackets = 1, "[]"
	}
	dst = append(dst, brackets[0])
	for i := 0; i < len(n.Content); i += step {
		if i > 0 {
			dst = append(dst, ',')
		}
		open(inner)
		if step == 2 {
			dst = append((&document.Node{Kind: document.String, Text: n.Content[i].Value}).AppendJSON(dst), ": "[:1+min(1, len(indent))]...)
		}
		dst = renderJSON(dst, n.Content[i+step-1], inner, indent)
	}
	open(prefix)
	return append(dst, brackets[1])
}

// span is where a top-level member stands in a JSON text.
type span struct {
	key        string
	start, end int // of key and value together
}

// spliceJSON replaces the one member in the text.
func spliceJSON(data []byte, _, slots *yaml.Node) ([]byte, bool) {
	spans, closing := topLevel(data)
	if len(spans) == 0 {
		return nil, false
	}
	indent := indentation(data, spans[0].start)
	text := append([]byte(`"authentications": `), renderJSON(nil, slots, indent, indent)...)
	if indent == "" {
		text = append([]byte(`"authentications":`), renderJSON(nil, slots, "", "")...)
	}
	mine := slices.DeleteFunc(slices.Clone(spans), func(s span) bool { return s.key != "authentication" && s.key != "authentications" })
	switch len(mine) {
	case 0:
		last := spans[len(spans)-1]
		gap := ","
		if indent != "" {
			gap = ",\n" + indent
		}
		return slices.Concat(data[:last.end], []byte(gap), text, data[last.end:]), closing >= last.end
	case 1:
		return slices.Concat(data[:mine[0].start], text, data[mine[0].end:]), true
	default: // the second one goes, with the comma before it
		before := spans[slices.IndexFunc(spans, func(s span) bool { return s.start == mine[1].start })-1]
		return slices.Concat(data[:mine[0].start], text, data[mine[0].end:before.end], data[mine[1].end:]), true
	}
}

// topLevel answers the members of a JSON object and where it closes.
func topLevel(data []byte) (spans []span, closing int) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, 0
	}
	for dec.More() {
		tok, err := dec.Token()
		key, ok := tok.(string)
		if err != nil || !ok {
			return nil, 0
		}
		at := int(dec.InputOffset())
		quoted := bytes.LastIndexByte(data[:at-1], '"') // keys of the two members have no quotes inside
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, 0
		}
		spans = append(spans, span{key: key, start: quoted, end: int(dec.InputOffset())})
	}
	if _, err := dec.Token(); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0
	}
	return spans, int(dec.InputOffset())
}

// indentation answers the white space before the first member, if that has a line
// of its own.
func indentation(data []byte, at int) string {
	line := data[bytes.LastIndexByte(data[:at], '\n')+1 : at]
	if !bytes.Contains(data[:at], []byte("\n")) || len(bytes.TrimLeft(line, " \t")) > 0 {
		return ""
	}
	return string(line)
}

// spliceYAML replaces the lines of the one member of a block mapping.
func spliceYAML(data []byte, root, slots *yaml.Node) ([]byte, bool) {
	if root.Style&yaml.FlowStyle != 0 {
		return nil, false
	}
	text := lines(data)
	first, last := 0, 0 // lines from 1; last is exclusive
	for i := 0; i+1 < len(root.Content); i += 2 {
		key := root.Content[i]
		if key.Column != 1 || key.Line > len(text) {
			return nil, false
		}
		if key.Value != "authentication" && key.Value != "authentications" {
			continue
		}
		if first > 0 {
			return nil, false // both shapes: the whole document is written
		}
		first, last = key.Line, len(text)+1
		if i+2 < len(root.Content) {
			last = root.Content[i+2].Line
			for last-1 > first && blankOrComment(text[last-2]) {
				last-- // they belong to what follows
			}
		}
	}
	member := mapping()
	set(member, "authentications", slots)
	encoded, err := encodeYAML(member)
	if err != nil {
		return nil, false
	}
	if first == 0 {
		return slices.Concat(withNewline(data), encoded), true
	}
	head, tail := strings.Join(text[:first-1], ""), strings.Join(text[last-1:], "")
	return slices.Concat([]byte(head), encoded, []byte(tail)), true
}

func blankOrComment(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || line[0] == '#'
}

func withNewline(data []byte) []byte {
	if len(data) == 0 || data[len(data)-1] == '\n' {
		return data
	}
	return withLineEnds(data, append(slices.Clone(data), '\n'))
}
