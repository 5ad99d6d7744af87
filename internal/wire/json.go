package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"claviger"
)

// The bounds of a JSON text. They are far above any request of ours and far below
// what costs time.
const (
	maxDepth  = 32
	maxNodes  = 10_000
	maxNumber = 64 // characters
)

var errJSON = errors.New("not strict JSON")

// CheckJSON accepts one JSON value (RFC 8259) that can be read in one way only:
// UTF-8 without NUL or lone surrogates, no key twice in an object (encoding/json
// lets the last one win), at most 32 levels and 10,000 values and keys, numbers
// that fit a float64, nothing after it. The error is 400 and quotes nothing.
//
// Keys that differ in case alone are not its concern: the schema, which knows the
// names, compares them exactly.
func CheckJSON(data []byte) error { return checkJSON(data, maxNodes) }

func checkJSON(data []byte, most int) error {
	if !utf8.Valid(data) {
		return unreadableJSON("It is not UTF-8")
	}
	if !wholeSurrogates(data) {
		return unreadableJSON("It holds half a surrogate pair or a NUL")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	c := checker{dec: dec, most: most}
	if why := c.document(); why != "" {
		return unreadableJSON(why)
	}
	return nil
}

func unreadableJSON(why string) error {
	return claviger.Errorf(claviger.KindUnreadable, "invalid_json", "The body is not JSON that claviger accepts. %s.", why).With(errJSON)
}

// checker walks the tokens of one text.
type checker struct {
	dec   *json.Decoder
	nodes int
	most  int // of them
	open  []level
}

// level is one open object or array. Only objects have keys.
type level struct {
	keys    map[string]struct{}
	atValue bool // in an object: the next token is a value
}

func (c *checker) document() (why string) {
	for {
		tok, err := c.dec.Token()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return "It is incomplete"
			}
			return "Its syntax is wrong"
		}
		if why := c.token(tok); why != "" {
			return why
		}
		if len(c.open) == 0 {
			break
		}
	}
	if _, err := c.dec.Token(); !errors.Is(err, io.EOF) {
		return "Something follows the value"
	}
	return ""
}

func (c *checker) token(tok json.Token) (why string) {
	if d, ok := tok.(json.Delim); ok && (d == '}' || d == ']') {
		c.open = c.open[:len(c.open)-1]
		c.valueDone()
		return ""
	}
	if c.nodes++; c.nodes > c.most {
		return fmt.Sprintf("It has more than %d values", c.most)
	}
	if top := c.top(); top != nil && top.keys != nil && !top.atValue {
		key, _ := tok.(string)
		if _, twice := top.keys[key]; twice {
			return "An object has the same key twice"
		}
		top.keys[key] = struct{}{}
		top.atValue = true
		return ""
	}
	switch v := tok.(type) {
	case json.Delim:
		if len(c.open) == maxDepth {
			return "It is nested deeper than 32 levels"
		}
		next := level{}
		if v == '{' {
			next.keys = map[string]struct{}{}
		}
		c.open = append(c.open, next)
		return ""
	case json.Number:
		if len(v) > maxNumber {
			return "A number is too long"
		}
		if _, err := strconv.ParseFloat(string(v), 64); err != nil {
			return "A number is out of range"
		}
	}
	c.valueDone()
	return ""
}

func (c *checker) top() *level {
	if len(c.open) == 0 {
		return nil
	}
	return &c.open[len(c.open)-1]
}

func (c *checker) valueDone() {
	if top := c.top(); top != nil {
		top.atValue = false
	}
}

// wholeSurrogates reports whether every \uD800-\uDBFF escape is followed by its
// other half and no escape stands for NUL. encoding/json would put U+FFFD in the
// place of half a pair, so that two different texts became the same value. A
// backslash occurs in strings only, so the grammar need not be known here.
func wholeSurrogates(data []byte) bool {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		i++ // past the escaped character, which may be a backslash itself
		if i >= len(data) || data[i] != 'u' {
			continue
		}
		r, ok := hex4(data, i+1)
		if !ok {
			return true // a fault of syntax, which the decoder reports
		}
		i += 4
		switch {
		case r == 0, r >= 0xDC00 && r <= 0xDFFF:
			return false
		case r >= 0xD800 && r <= 0xDBFF:
			if i+2 >= len(data) || data[i+1] != '\\' || data[i+2] != 'u' {
				return false
			}
			low, ok := hex4(data, i+3)
			if !ok || low < 0xDC00 || low > 0xDFFF {
				return false
			}
			i += 6
		}
	}
	return true
}

func hex4(data []byte, at int) (rune, bool) {
	if at+4 > len(data) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(data[at:at+4]), 16, 32)
	return rune(v), err == nil
}
