package authn

import (
	"crypto/rand"
	"testing"

	"claviger"
)

func TestConnectTokens(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		token, hash, err := NewConnectToken(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		token.Use(func(b []byte) {
			if len(b) != len(connectPrefix)+keyRandom+keyChecksum || string(HashToken(string(b))) != string(hash) || seen[string(b)] {
				t.Fatalf("made %q", b)
			}
			seen[string(b)] = true
		})
	}
}

// TestAuthenticateConnect_Malformed: what is no token costs no look-up (the authority has
// no database here), and the answer says nothing.
func TestAuthenticateConnect_Malformed(t *testing.T) {
	token, _, err := NewConnectToken(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var good string
	token.Use(func(b []byte) { good = string(b) })
	for _, bad := range []string{"", "x", "clv_connect_", good[:len(good)-1], good + "0", "clv_key_" + good[len("clv_connect_"):], good[:20] + "!" + good[21:], good[:len(good)-6] + "000000"} {
		_, err := (&Authority{}).AuthenticateConnect(t.Context(), bad, claviger.Request{})
		if !claviger.IsKind(err, claviger.KindNotFound) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestConnecting_ReachesItsWorkspaceAlone(t *testing.T) {
	c := Connecting("org_1", "ws_1", "cs_1", claviger.Request{ID: "req_1"})
	if c.Kind != claviger.CallerConnect || c.ID != "cs_1" || c.From.ID != "req_1" || !c.Scope.Covers("org_1", "ws_1") || c.Scope.Covers("org_1", "ws_2") {
		t.Errorf("the caller is %+v", c)
	}
	for _, v := range claviger.Verbs() {
		want := v == claviger.ConnectorsRead || v == claviger.ConnectionsCreate || v == claviger.ConnectionsUpdate
		if c.May(v) != want {
			t.Errorf("%s: %v", v, c.May(v))
		}
	}
}
