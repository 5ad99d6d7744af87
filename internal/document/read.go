package document

import (
	"bytes"
	"fmt"
	"path"
	"unicode"
	"unicode/utf8"
)

// The bounds of a document: its size, how deep it nests, how many values it holds.
const (
	MaxBytes = 256 << 10
	maxDepth = 32
	maxNodes = 10_000
)

// reader turns text into a tree of nodes and stops at the first fault: what follows
// a syntax error is guesswork.
type reader struct {
	data  []byte
	most  int   // nodes
	lines []int // offset of each line's first byte
	nodes int
	fault *Fault
}

// Read answers the tree of a document, its keys in the order of the text, or the one
// fault that stopped it. A name
// that ends in .yaml or .yml is read as YAML, one that ends in .json as JSON, any
// other by its first character.
func Read(name string, data []byte) (*Node, *Fault) { return read(name, data, 1) }

// ReadGenerated is [Read] for a document that the program made of others, each of which
// was read before: it may be much larger than one that people write.
func ReadGenerated(name string, data []byte) (*Node, *Fault) { return read(name, data, 16) }

func read(name string, data []byte, times int) (*Node, *Fault) {
	r := &reader{data: data, most: times * maxNodes}
	if most := times * MaxBytes; len(data) > most {
		return nil, &Fault{Line: 1, Column: 1, Code: CodeLimit, Message: fmt.Sprintf("the document has more than %d KiB", most>>10)}
	}
	if f := r.text(); f != nil {
		return nil, f
	}
	var root *Node
	ext := path.Ext(name)
	first := bytes.TrimLeft(data, " \t\r\n")
	if ext == ".json" || ext != ".yaml" && ext != ".yml" && bytes.HasPrefix(first, []byte("{")) {
		root = r.json()
	} else {
		root = r.yaml()
	}
	if r.fault != nil {
		return nil, r.fault
	}
	return root, nil
}

// text refuses what is not plain UTF-8: byte order marks, other encodings, control
// characters, and characters that are invisible or turn the direction of the text,
// which would show a reviewer something else than what is compiled.
func (r *reader) text() *Fault {
	r.lines = []int{0}
	for i := 0; i < len(r.data); {
		c, size := utf8.DecodeRune(r.data[i:])
		if c == '\n' {
			r.lines = append(r.lines, i+1)
		}
		switch {
		case c == utf8.RuneError && size <= 1:
			return r.textFault(i, "the document is not UTF-8")
		case c == '\uFEFF':
			return r.textFault(i, "the document has a byte order mark")
		case c < 0x20 && c != '\n' && c != '\r' && c != '\t', c >= 0x7f && c < 0xa0:
			return r.textFault(i, "the document has a control character")
		case c > 0x7f && (unicode.Is(unicode.Cf, c) || unicode.Is(unicode.Zl, c) || unicode.Is(unicode.Zp, c)):
			return r.textFault(i, "the document has an invisible or direction-changing character")
		}
		i += size
	}
	return nil
}

func (r *reader) textFault(offset int, message string) *Fault {
	line, column := r.place(offset)
	return &Fault{Line: line, Column: column, Code: CodeSyntax, Message: message, Hint: "save it as plain UTF-8 text"}
}

// place answers the line and column, from 1, of an offset.
func (r *reader) place(offset int) (line, column int) {
	lo, hi := 0, len(r.lines)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; r.lines[mid] <= offset {
			lo = mid
		} else {
			hi = mid
		}
	}
	if len(r.lines) == 0 {
		return 1, offset + 1
	}
	return lo + 1, offset - r.lines[lo] + 1
}

// fail keeps the first fault.
func (r *reader) fail(line, column int, code, message, hint string) {
	if r.fault == nil {
		r.fault = &Fault{Line: line, Column: column, Code: code, Message: message, Hint: hint}
	}
}

// enter counts a node and checks the bounds.
func (r *reader) enter(line, column, depth int) bool {
	r.nodes++
	if r.nodes > r.most {
		r.fail(line, column, CodeLimit, fmt.Sprintf("the document has more than %d values", r.most), "")
	}
	if depth > maxDepth {
		r.fail(line, column, CodeLimit, fmt.Sprintf("the document is nested deeper than %d", maxDepth), "")
	}
	return r.fault == nil
}

// addMember appends a key to an object unless it is there already. Large objects
// get a set, because looking through a list of thousands for each key is quadratic.
func (r *reader) addMember(n *Node, m Member) {
	const large = 32
	if len(n.Members) == large {
		n.seen = make(map[string]bool, 2*large)
		for _, old := range n.Members {
			n.seen[old.Key] = true
		}
	}
	if n.seen[m.Key] || len(n.Members) < large && n.Get(m.Key) != nil {
		r.fail(m.Line, m.Column, CodeDuplicate, fmt.Sprintf("the key %s is there twice", Quote(m.Key)), "keep one of them")
		return
	}
	if n.seen != nil {
		n.seen[m.Key] = true
	}
	n.Members = append(n.Members, m)
}
