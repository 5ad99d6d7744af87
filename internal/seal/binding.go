package seal

import (
	"encoding/binary"

	"claviger"
)

// formatV1 is the first byte of every sealed value and of its associated data.
// A later format gets another number; values of this one open for ever.
const formatV1 = 1

// appendBinding appends the associated data of a value at place b, in the given
// format. The encoding is injective: each text is preceded by its length in four
// bytes and the revision has a fixed width, so no two places share an encoding.
//
//	format | len purpose | len organization | len id | revision | len destination
//
// The deployment is not part of it: two deployments never share an organization's
// keyset, which is random and itself bound to the organization's random id.
func appendBinding(dst []byte, format byte, b claviger.Binding) []byte {
	dst = append(dst, format)
	dst = appendText(dst, b.Purpose)
	dst = appendText(dst, string(b.Organization))
	dst = appendText(dst, b.ID)
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.Revision))
	return appendText(dst, b.Destination)
}

func appendText(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}
