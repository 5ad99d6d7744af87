package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"

	"claviger"
)

// Paging are the query parameters of every list; embed it in an input.
type Paging struct {
	Limit int    `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"How many items, at most"`
	After string `query:"after" maxLength:"512" doc:"The nextCursor of the page before"`
}

// List is the envelope of every list of the native surface.
type List[T any] struct {
	Object     string `json:"object" enum:"list"`
	Data       []T    `json:"data"`
	HasMore    bool   `json:"hasMore" doc:"Whether another page follows"`
	NextCursor string `json:"nextCursor,omitempty" doc:"Give it as after to get the next page"`
}

// NewList makes a list. next is the cursor of the next page, empty on the last.
func NewList[T any](items []T, next string) List[T] {
	if items == nil {
		items = []T{} // never null
	}
	return List[T]{Object: "list", Data: items, HasMore: next != "", NextCursor: next}
}

// Cursors makes and reads positions in lists. A cursor is opaque to its holder and
// is bound to the caller's reach, the route and the filter: changed, carried to
// another tenant or to another list it is refused instead of pointing somewhere.
type Cursors struct{ key []byte }

// NewCursors takes a secret key of at least 16 bytes, the same on all nodes.
func NewCursors(key []byte) (*Cursors, error) {
	if len(key) < 16 {
		return nil, errors.New("wire: the cursor key is shorter than 16 bytes")
	}
	return &Cursors{key: append([]byte(nil), key...)}, nil
}

const macSize = 16

// Seal makes the cursor that stands after the item of the given id. filter is any
// text that two requests share exactly if they list the same things.
func (c *Cursors) Seal(caller claviger.Caller, route, filter, after string) string {
	return base64.RawURLEncoding.EncodeToString(append(c.mac(caller, route, filter, after), after...))
}

// Open answers the id that a cursor stands after; "" for an empty cursor. Anything
// but a cursor of this caller's reach, route and filter is 422 invalid_cursor.
func (c *Cursors) Open(caller claviger.Caller, route, filter, cursor string) (after string, err error) {
	if cursor == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) <= macSize || !hmac.Equal(b[:macSize], c.mac(caller, route, filter, string(b[macSize:]))) {
		return "", claviger.Invalid("after", "invalid_cursor", "This is not a cursor of this list. Start again without it.")
	}
	return string(b[macSize:]), nil
}

// mac covers length-prefixed parts, so that no two lists of parts read the same.
func (c *Cursors) mac(caller claviger.Caller, route, filter, after string) []byte {
	h := hmac.New(sha256.New, c.key)
	parts := []string{string(caller.Scope.Organization()), string(caller.Scope.Workspace()), route, filter, after}
	for _, p := range parts {
		_ = binary.Write(h, binary.BigEndian, uint32(len(p)))
		_, _ = io.WriteString(h, p)
	}
	return h.Sum(nil)[:macSize]
}
