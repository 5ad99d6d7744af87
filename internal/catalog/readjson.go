package catalog

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
func (r *reader) json() *node {
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

func (r *reader) jsonValue(dec *json.Decoder, depth int) *node {
	tok, line, column := r.jsonToken(dec)
	if !r.enter(line, column, depth) {
		return nil
	}
	n := &node{line: line, column: column}
	switch v := tok.(type) {
	case json.Delim:
		if v == '{' {
			n.kind = kindObject
			r.jsonObject(dec, n, depth)
		} else {
			n.kind = kindArray
			for r.fault == nil && dec.More() {
				n.items = append(n.items, r.jsonValue(dec, depth+1))
			}
		}
		if r.fault == nil {
			r.jsonToken(dec) // the closing bracket
		}
	case string:
		n.kind, n.text = kindString, v
		r.visible(n)
	case json.Number:
		if !n.number(v.String()) {
			r.fail(line, column, CodeValue, "the number is too large", "")
		}
	case bool:
		n.kind, n.text = kindBool, "false"
		if v {
			n.text = "true"
		}
	default:
		n.kind, n.text = kindNull, "null"
	}
	return n
}

func (r *reader) jsonObject(dec *json.Decoder, n *node, depth int) {
	for r.fault == nil && dec.More() {
		tok, line, column := r.jsonToken(dec)
		key, ok := tok.(string)
		if r.fault != nil || !ok {
			return
		}
		value := r.jsonValue(dec, depth+1)
		r.addMember(n, member{key: key, line: line, column: column, value: value})
	}
}

// visible refuses control characters that escapes put into a string; line breaks
// and tabs are text.
func (r *reader) visible(n *node) {
	for _, c := range n.text {
		if c < 0x20 && c != '\n' && c != '\t' || c >= 0x7f && c < 0xa0 {
			r.fail(n.line, n.column, CodeSyntax, "the string has a control character", "")
			return
		}
	}
}
