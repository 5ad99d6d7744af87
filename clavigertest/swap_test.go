package clavigertest_test

import (
	"testing"

	"claviger/api"
	"claviger/clavigertest"
)

// TestAbuse_189 moves ciphertexts about in the database. Each is bound to its place, so
// every move must end in a refusal that the ledger names, with nothing sent.
func TestAbuse_189_SwappedCiphertextsDoNotOpen(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine})
		db := database(t, w.Server)
		sealed := func(id string) (out []byte) {
			t.Helper()
			if err := db.QueryRowContext(t.Context(), "SELECT sealed FROM connections WHERE id = $1", id).Scan(&out); err != nil || len(out) == 0 {
				t.Fatalf("%d bytes: %v", len(out), err)
			}
			return out
		}
		put := func(id string, value []byte) {
			exec(t, db, "UPDATE connections SET sealed = $1 WHERE id = $2", value, id)
		}
		a1, a2, b1 := w.A.Connections[0], w.A.Connections[1], w.B.Connections[0]
		was := map[string][]byte{a1: sealed(a1), a2: sealed(a2), b1: sealed(b1)}
		rotated := w.Do(call{Token: w.A.Owner, Method: "PATCH", Path: "/v1/connections/" + a1, Body: map[string]any{"credentials": map[string]string{"apiKey": w.A.Secret}}})
		if rotated.Status != 200 {
			t.Fatalf("%d %s", rotated.Status, rotated.Body)
		}
		now := sealed(a1)
		restart := func() *clavigertest.Server { return clavigertest.Start(t, w.Options()) }

		for name, swap := range map[string]struct {
			rows    map[string][]byte
			refused map[string]string // connection and who uses it
		}{
			"two rows":      {map[string][]byte{a1: was[a2], a2: now}, map[string]string{a1: w.A.Owner, a2: w.A.Owner}},
			"two tenants":   {map[string][]byte{a1: was[b1], b1: now}, map[string]string{a1: w.A.Owner, b1: w.B.Owner}},
			"two revisions": {map[string][]byte{a1: was[a1]}, map[string]string{a1: w.A.Owner}},
			"a changed bit": {map[string][]byte{a1: flipped(now)}, map[string]string{a1: w.A.Owner}},
			"cut short":     {map[string][]byte{a1: now[:len(now)-1]}, map[string]string{a1: w.A.Owner}},
			"nothing":       {map[string][]byte{a1: {}}, map[string]string{a1: w.A.Owner}},
		} {
			t.Run(name, func(t *testing.T) {
				for id, value := range swap.rows {
					put(id, value)
				}
				s := restart() // so that nothing is answered from memory
				defer s.Stop()
				w.Vendor.Forget()
				for id, token := range swap.refused {
					refusedUnreadable(t, s, token, id)
				}
				if n := len(w.Vendor.Received()); n != 0 {
					t.Errorf("%d requests left", n)
				}
				put(a1, now)
				put(a2, was[a2])
				put(b1, was[b1])
			})
		}
		s := restart()
		if a := s.Do(call{Token: w.A.Owner, Method: "GET", Path: proxy(a1, "/x")}); a.Status != 200 {
			t.Errorf("with everything in its place: %d %s", a.Status, a.Body)
		}
	})
}

func flipped(b []byte) []byte {
	out := append([]byte(nil), b...)
	out[len(out)-3] ^= 1
	return out
}

// refusedUnreadable uses a connection whose ciphertext does not open.
func refusedUnreadable(t *testing.T, s *clavigertest.Server, token, id string) {
	t.Helper()
	for _, c := range []call{
		{Token: token, Method: "GET", Path: proxy(id, "/x")},
		{Token: token, Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme.list-contacts", "connectionId": id}},
	} {
		if a := s.Do(c); a.Status != 500 || a.Fault().Code != "credential_unreadable" {
			t.Errorf("%s: %d %s", c.Path, a.Status, a.Body)
		}
	}
	var entries []api.Entry
	eventually(t, "the failures are in the ledger", func() bool {
		entries = s.Audit(t, token, "limit=100&outcome=failed&connectionId="+id)
		return len(entries) >= 2
	})
	for _, e := range entries {
		if e.Code != "credential_unreadable" {
			t.Errorf("%s failed with %s", e.Verb, e.Code)
		}
	}
}
