package seal

import (
	"encoding/binary"
	"maps"
	"slices"

	"claviger"
)

// The caps of one set of credentials.
const (
	maxFields    = 256
	maxFieldName = 255
	maxFieldSize = 1 << 20
)

// SealCredentials seals a connection's values together, so that one revision's user
// name can never meet another's password.
func SealCredentials(k *Keyset, b claviger.Binding, c claviger.Credentials) (claviger.Sealed, error) {
	plain, err := encodeCredentials(c)
	defer clear(plain)
	if err != nil {
		return nil, err
	}
	return k.Seal(b, plain)
}

// OpenCredentials opens what SealCredentials made. Every failure is [ErrOpen].
func OpenCredentials(k *Keyset, b claviger.Binding, s claviger.Sealed) (claviger.Credentials, error) {
	plain, err := k.Open(b, s)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	c, ok := decodeCredentials(plain)
	if !ok {
		return nil, ErrOpen
	}
	return c, nil
}

// encodeCredentials writes the fields in the order of their names:
//
//	formatV1 | count (2) | { length (1) name | length (4) value }...
func encodeCredentials(c claviger.Credentials) ([]byte, error) {
	if len(c) > maxFields {
		return nil, claviger.Invalid("credentials", "too_many", "At most %d credential fields.", maxFields)
	}
	size := 3
	for name, value := range c {
		if len(name) == 0 || len(name) > maxFieldName {
			return nil, claviger.Invalid("credentials", "invalid_format", "A credential field's name has 1 to %d bytes.", maxFieldName)
		}
		value.Use(func(b []byte) { size += 5 + len(name) + len(b) })
	}
	out := make([]byte, 0, size)
	out = append(out, formatV1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(c)))
	for _, name := range slices.Sorted(maps.Keys(c)) {
		out = append(append(out, byte(len(name))), name...)
		tooLong := false
		c[name].Use(func(b []byte) {
			if tooLong = len(b) > maxFieldSize; tooLong {
				return
			}
			out = append(binary.BigEndian.AppendUint32(out, uint32(len(b))), b...)
		})
		if tooLong {
			return out, claviger.Invalid("credentials."+name, "too_large", "A credential value has at most %d bytes.", maxFieldSize)
		}
	}
	return out, nil
}

// decodeCredentials accepts exactly what encodeCredentials writes: names sorted and
// distinct, nothing left over.
func decodeCredentials(b []byte) (claviger.Credentials, bool) {
	if len(b) < 3 || b[0] != formatV1 {
		return nil, false
	}
	count := int(binary.BigEndian.Uint16(b[1:]))
	if count > maxFields {
		return nil, false
	}
	b = b[3:]
	c := make(claviger.Credentials, count)
	last := ""
	for range count {
		if len(b) < 1 || b[0] == 0 || len(b) < 5+int(b[0]) {
			return nil, false
		}
		end := 1 + int(b[0])
		name := string(b[1:end])
		b = b[end:]
		size := binary.BigEndian.Uint32(b)
		b = b[4:]
		if name <= last || size > maxFieldSize || uint64(size) > uint64(len(b)) {
			return nil, false
		}
		c[name] = claviger.NewSecret(b[:size])
		b, last = b[size:], name
	}
	return c, len(b) == 0
}
