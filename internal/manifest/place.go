package manifest

import (
	"fmt"
	"strconv"
	"strings"

	"claviger/internal/document"
)

// place is a value in one of the files, or where it would stand.
type place struct {
	file         string
	pointer      string
	line, column int
	node         *document.Node // nil where there is no value
}

func (f *file) place() place {
	return place{file: f.name, line: f.root.Line, column: f.root.Column, node: f.root}
}

// get answers the value of a key. Where there is none, the place is that of the
// object that lacks it.
func (p place) get(key string) place {
	child := p
	child.pointer += "/" + strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
	if child.node = p.node.Get(key); child.node != nil {
		child.line, child.column = child.node.Line, child.node.Column
	}
	return child
}

// item answers an entry of a list.
func (p place) item(i int) place {
	child := p
	child.pointer += "/" + strconv.Itoa(i)
	child.node = p.node.Items[i]
	child.line, child.column = child.node.Line, child.node.Column
	return child
}

// items answers the entries of a list; none for anything else.
func (p place) items() []place {
	if p.node == nil {
		return nil
	}
	out := make([]place, len(p.node.Items))
	for i := range out {
		out[i] = p.item(i)
	}
	return out
}

// member answers the value of one key of an object, at the place of the key.
func (p place) member(m document.Member) place {
	child := p.get(m.Key)
	child.line, child.column = m.Line, m.Column
	return child
}

func (p place) has(key string) bool { return p.node.Get(key) != nil }

// text answers a string, or "".
func (p place) text() string {
	if p.node == nil || p.node.Kind != document.String {
		return ""
	}
	return p.node.Text
}

// checker gathers faults.
type checker struct {
	faults []Fault
	tidy   map[*document.Node]bool // values that a literal secret was found in, and are not looked at again

	references func(p place, ref string) (path string) // checks one reference
}

// fail notes an error, warn a warning. repair may be empty.
func (c *checker) fail(p place, code, hint, repair, format string, args ...any) {
	c.note(p, Error, code, hint, repair, format, args...)
}

func (c *checker) warn(p place, code, hint, repair, format string, args ...any) {
	c.note(p, Warning, code, hint, repair, format, args...)
}

func (c *checker) note(p place, s Severity, code, hint, repair, format string, args ...any) {
	if len(c.faults) < maxFaults && !c.tidy[p.node] {
		c.faults = append(c.faults, Fault{
			File: p.file, Line: p.line, Column: p.column, Pointer: p.pointer, Code: code,
			Message: fmt.Sprintf(format, args...), Hint: hint, Severity: s, Repair: repair,
		})
	}
}
