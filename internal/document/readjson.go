package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// json reads the document as one JSON value. encoding/json's tokens give the exact
// spelling of keys; its Unmarshal would match them without case and keep the last
// of two.
func (r *reader) json() *Node {
	dec := json.NewDecoder(bytes.NewReader(r.data))
	dec.UseNumber()
	root := r.jsonValue(dec, 1)
	if r.fault != nil {
		return nil
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		line, column := r.place(r.next(dec))
		r.fail(line, column, CodeSyntax, "text follows the document", "")
	}
	return root
}

// next answers the offset at which the next token starts.
func (r *reader) next(dec *json.Decoder) int {
	i := int(dec.InputOffset())
	for i < len(r.data) && strings.IndexByte(" \t\r\n,:", r.data[i]) >= 0 {
		i++
	}
	return i
}

func (r *reader) jsonToken(dec *json.Decoder) (tok json.Token, line, column int) {
	line, column = r.place(r.next(dec))
	tok, err := dec.Token()
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		line, column = r.place(min(int(syntax.Offset), len(r.data)))
		r.fail(line, column, CodeSyntax, "the JSON is not well-formed", "")
	case err != nil:
		r.fail(line, column, CodeSyntax, "the JSON ends too early", "")
	}
	if s, ok := tok.(string); ok && strings.ContainsRune(s, utf8.RuneError) {
		r.fail(line, column, CodeSyntax, "the string is not valid Unicode", "")
	}
	return tok, line, column
}

func (r *reader) jsonValue(dec *json.Decoder, depth int) *Node {
	tok, line, column := r.jsonToken(dec)
	if !r.enter(line, column, depth) {
		return nil
	}
	n := &Node{Line: line, Column: column}
	switch v := tok.(type) {
	case json.Delim:
		if v == '{' {
			n.Kind = Object
			r.jsonObject(dec, n, depth)
		} else {
			n.Kind = Array
			for r.fault == nil && dec.More() {
				n.Items = append(n.Items, r.jsonValue(dec, depth+1))
			}
		}
		if r.fault == nil {
			r.jsonToken(dec) // the closing bracket
		}
	case string:
		n.Kind, n.Text = String, v
		r.visible(n)
	case json.Number:
		if !n.number(v.String()) {
			r.fail(line, column, CodeValue, "the number is too large", "")
		}
	case bool:
		n.Kind, n.Text = Bool, "false"
		if v {
			n.Text = "true"
		}
	default:
		n.Kind, n.Text = Null, "null"
	}
	return n
}

func (r *reader) jsonObject(dec *json.Decoder, n *Node, depth int) {
	for r.fault == nil && dec.More() {
		tok, line, column := r.jsonToken(dec)
		key, ok := tok.(string)
		if r.fault != nil || !ok {
			return
		}
		value := r.jsonValue(dec, depth+1)
		r.addMember(n, Member{Key: key, Line: line, Column: column, Value: value})
	}
}

// visible refuses control characters that escapes put into a string; line breaks
// and tabs are text.
func (r *reader) visible(n *Node) {
	for _, c := range n.Text {
		if c < 0x20 && c != '\n' && c != '\t' || c >= 0x7f && c < 0xa0 {
			r.fail(n.Line, n.Column, CodeSyntax, "the string has a control character", "")
			return
		}
	}
}
