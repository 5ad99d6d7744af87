package store

import (
	"strings"

	"claviger"
)

// An entry's texts that are rarely asked for stand in one column, because each value of
// a row costs as much to hand to the database as to keep. The column has a line for
// each text that is not empty, "name=value", between line feeds:
//
//	"\nactor_kind=api_key\nactor_id=key_01h...\nhost=api.acme.example\n"
//
// A text in it is found by looking for its whole line. One form for one set of values:
// what is in any other form was written by somebody else.

// fact is one of the texts.
type fact struct {
	name  string
	value *string
}

// factsOf answers the texts of an entry in the order of their lines.
func factsOf(e *claviger.Entry) [11]fact {
	return [...]fact{
		{"actor_kind", (*string)(&e.ActorKind)},
		{"actor_id", &e.ActorID},
		{"resource_type", &e.ResourceType},
		{"resource_id", &e.ResourceID},
		{"connector", &e.Connector},
		{"host", &e.Host},
		{"code", &e.Code},
		{"address", &e.Address},
		{"usage", (*string)(&e.Usage)},
		{"slot", &e.Slot},
		{"action", &e.Action},
	}
}

// appendFacts writes the column.
func appendFacts(dst []byte, e *claviger.Entry) []byte {
	dst = append(dst, '\n')
	for _, f := range factsOf(e) {
		if *f.value != "" {
			dst = appendFact(dst, f.name, *f.value)
			dst = append(dst, '\n')
		}
	}
	return dst
}

// appendFact writes one line without its ends. A value's own line feeds and backslashes
// are escaped.
func appendFact(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), '=')
	if strings.IndexByte(value, '\n') < 0 && strings.IndexByte(value, '\\') < 0 {
		return append(dst, value...)
	}
	for _, c := range []byte(value) {
		switch c {
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\\':
			dst = append(dst, '\\', '\\')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// factLine answers what to look for in the column.
func factLine(name, value string) string {
	return string(append(appendFact([]byte{'\n'}, name, value), '\n'))
}

// entryDamaged is the code of an entry whose facts are not as claviger writes them. No
// entry is written with it, so the verification of the ledger finds such a one edited.
const entryDamaged = "entry_damaged"

// readFacts puts the column's texts in their places.
func readFacts(e *claviger.Entry, column string) {
	rest, ok := strings.CutPrefix(column, "\n")
	for _, f := range factsOf(e) {
		if !strings.HasPrefix(rest, f.name) || len(rest) == len(f.name) || rest[len(f.name)] != '=' {
			continue
		}
		var line string
		var ended bool
		line, rest, ended = strings.Cut(rest[len(f.name)+1:], "\n")
		value, plain := unescapeFact(line)
		ok = ok && ended && plain && value != ""
		*f.value = value
	}
	if !ok || rest != "" {
		e.Code = entryDamaged
	}
}

// unescapeFact is the inverse of appendFact's escaping; false for what it never writes.
func unescapeFact(s string) (string, bool) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		switch {
		case i < len(s) && s[i] == 'n':
			out = append(out, '\n')
		case i < len(s) && s[i] == '\\':
			out = append(out, '\\')
		default:
			return s, false
		}
	}
	return string(out), true
}
