package gate

import (
	"encoding/binary"

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
