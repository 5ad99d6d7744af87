package claviger

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"time"
)

// Identifiers are UUIDv7 (RFC 9562, section 5.7) written as TypeIDs: a prefix that
// names the kind, an underscore and the 128 bits in Crockford's base 32, lower
// case, 26 characters. They are random, ordered by time and never used twice.
type (
	// OrganizationID names a tenant: org_...
	OrganizationID string
	// WorkspaceID names an isolated part of an organization: ws_...
	WorkspaceID string
	// UserID names a person: usr_...
	UserID string
	// ApplicationID names an OAuth client of the organization: app_...
	ApplicationID string
	// KeyID names an API key, not its value: key_...
	KeyID string
	// ConnectionID names a connection: conn_...
	ConnectionID string
	// EntryID names a ledger entry: evt_...
	EntryID string
	// TokenID names a minted short-lived token, its "jti": tok_...
	TokenID string
	// RegionID names a region by its UUID.
	RegionID string
)

// The prefixes of identifiers.
const (
	PrefixOrganization = "org"
	PrefixWorkspace    = "ws"
	PrefixUser         = "usr"
	PrefixApplication  = "app"
	PrefixKey          = "key"
	PrefixConnection   = "conn"
	PrefixEntry        = "evt"
	PrefixToken        = "tok"
)

const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

var errBadID = errors.New("claviger: not an identifier")

// NewID makes an identifier of the given prefix from a time and 10 random bytes.
// It fails only if random does.
func NewID(prefix string, now time.Time, random io.Reader) (string, error) {
	var u [16]byte
	if _, err := io.ReadFull(random, u[6:]); err != nil {
		return "", err
	}
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6] = u[6]&0x0f | 0x70 // version 7
	u[8] = u[8]&0x3f | 0x80 // RFC variant
	return encodeID(prefix, u), nil
}

// ValidID reports whether s is a well-formed identifier of the given prefix.
func ValidID(prefix, s string) bool {
	_, err := decodeID(prefix, s)
	return err == nil
}

// UUID answers the RFC 9562 text form of an identifier of the given prefix.
func UUID(prefix, s string) (string, error) {
	u, err := decodeID(prefix, s)
	if err != nil {
		return "", err
	}
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], nil
}

// FromUUID answers the identifier of the given prefix for a UUID's text form.
func FromUUID(prefix, uuid string) (string, error) {
	if len(uuid) != 36 || uuid[8] != '-' || uuid[13] != '-' || uuid[18] != '-' || uuid[23] != '-' {
		return "", errBadID
	}
	b, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil || len(b) != 16 {
		return "", errBadID
	}
	return encodeID(prefix, [16]byte(b)), nil
}

func encodeID(prefix string, u [16]byte) string {
	high, low := binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])
	out := make([]byte, len(prefix)+27)
	digits := out[copy(out, prefix)+1:]
	out[len(prefix)] = '_'
	// 128 bits in 26 characters of 5, the last first: the first has the top 3 bits only.
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = crockford[low&31]
		low, high = low>>5|high<<59, high>>5
	}
	return string(out)
}

func decodeID(prefix, s string) (u [16]byte, err error) {
	rest, ok := strings.CutPrefix(s, prefix+"_")
	if !ok || len(rest) != 26 || rest[0] > '7' {
		return u, errBadID
	}
	for i := range 26 {
		v := strings.IndexByte(crockford, rest[i])
		if v < 0 {
			return u, errBadID
		}
		for bit := range 5 {
			if v>>bit&1 == 1 {
				p := 125 - 5*i + bit
				u[15-p/8] |= 1 << (p % 8)
			}
		}
	}
	return u, nil
}
