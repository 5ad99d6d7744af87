package wire_test

import (
	"bytes"
	"fmt"
	"testing"

	"claviger"
	"claviger/internal/wire"
)

func TestAbuse_006_Cursors(t *testing.T) {
	c, err := wire.NewCursors(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	a := claviger.Caller{Scope: claviger.Authenticated("org_a", "")}
	b := claviger.Caller{Scope: claviger.Authenticated("org_b", "")}
	bound := claviger.Caller{Scope: claviger.Authenticated("org_a", "ws_1")}
	cursor := c.Seal(a, "listConnections", "tag=x", "conn_1")
	if after, err := c.Open(a, "listConnections", "tag=x", cursor); err != nil || after != "conn_1" {
		t.Fatalf("own cursor: %q %v", after, err)
	}
	refused := func(name string, caller claviger.Caller, route, filter, cursor string) {
		t.Helper()
		_, err := c.Open(caller, route, filter, cursor)
		if e := claviger.AsError(err); e == nil || e.Kind != claviger.KindInvalid || e.Code != "invalid_cursor" {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("other organization", b, "listConnections", "tag=x", cursor)
	refused("other workspace", bound, "listConnections", "tag=x", cursor)
	refused("other route", a, "listSecrets", "tag=x", cursor)
	refused("other filter", a, "listConnections", "tag=y", cursor)
	refused("not base64", a, "listConnections", "tag=x", "!"+cursor)
	refused("too short", a, "listConnections", "tag=x", cursor[:8])
	for i := range len(cursor) {
		for _, r := range "AbZ0_" {
			flipped := cursor[:i] + string(r) + cursor[i+1:]
			if flipped != cursor {
				refused(fmt.Sprintf("flipped at %d", i), a, "listConnections", "tag=x", flipped)
			}
		}
	}
}
