package gate

import (
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf8"

	"claviger"
)

// The first byte of what is MACed keeps the kinds of content apart.
const (
	labelEntry      = 'E'
	labelHead       = 'H'
	labelGenesis    = 'G'
	labelCheckpoint = 'C'
)

// appendEntry writes an entry's canonical form: a label, a version and every field
// with its length, so that no two entries share a form. It covers all columns; one
// that is edited in the database no longer matches its MAC.
func appendEntry(dst []byte, e *claviger.Entry) []byte {
	dst = append(dst, labelEntry, 1)
	for _, s := range [...]string{
		e.Stream, string(e.ID), string(e.Organization), string(e.Workspace), string(e.ActorKind), e.ActorID,
		string(e.Verb), e.ResourceType, e.ResourceID, string(e.Connection), e.Connector, e.Host,
		string(e.Outcome), e.Code, e.RequestID, e.Address, string(e.Usage), e.Slot, e.Action,
	} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	dst = binary.AppendVarint(dst, e.Sequence)
	dst = binary.AppendVarint(dst, e.Time.UnixMilli())
	dst = binary.AppendVarint(dst, int64(e.StatusCode))
	return binary.AppendVarint(dst, int64(e.Duration))
}

// maxText bounds what an entry keeps of a text that a caller chose.
const maxText = 256

// tidy makes the texts that a caller may have chosen fit for a record: an id that was
// asked for and does not exist can be anything, and one entry that the database refuses
// would hold up all others of its batch.
func tidy(e *claviger.Entry) {
	for _, s := range []*string{&e.ResourceID, &e.ActorID, &e.Connector, &e.Host, &e.Slot, &e.Action, &e.Code, (*string)(&e.Connection)} {
		if len(*s) > maxText {
			*s = (*s)[:maxText]
		}
		*s = strings.Map(func(r rune) rune {
			if r == utf8.RuneError || unicode.IsControl(r) {
				return '?'
			}
			return r
		}, *s)
	}
}

// noName stands in a denial for what was asked for and has not the form of a name.
const noName = "?"

// longestWord bounds the words of a name: what is longer may be a secret.
const longestWord = 20

// plainName answers the name of something that a caller asked for and was denied, if it
// has the form of an id or of a name that people give, else [noName]: who pastes a key in
// the place of its id must not find it in the ledger.
func plainName(asked string) string {
	if asked == "" || isID(asked) {
		return asked
	}
	word := 0
	for _, c := range []byte(asked) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			if word++; word > longestWord {
				return noName
			}
		case c == '-', c == '_', c == '.', c == '/':
			word = 0
		default:
			return noName
		}
	}
	return asked
}

// isID reports whether a text is an identifier, of whatever prefix.
func isID(text string) bool {
	prefix, _, _ := strings.Cut(text, "_")
	return len(prefix) <= 8 && claviger.ValidID(prefix, text)
}

// appendHead writes the canonical form of a stream's head.
func appendHead(dst []byte, stream string, sequence int64, mac []byte) []byte {
	dst = append(dst, labelHead, 1)
	dst = binary.AppendUvarint(dst, uint64(len(stream)))
	dst = append(dst, stream...)
	dst = binary.AppendVarint(dst, sequence)
	return append(dst, mac...)
}

// genesis is what a stream's first entry is linked to.
func genesis(c Chain, stream string) []byte {
	return c.Link(nil, append([]byte{labelGenesis, 1}, stream...))
}
