package store_test

import (
	"context"
	"testing"

	"claviger"
	"claviger/internal/store"
)

func TestKeysetsByTheirMasterKey(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		put := func(k claviger.Keyset, expect int64) {
			t.Helper()
			f.do(func(ctx context.Context, tx *store.Tx) error { return tx.PutKeyset(ctx, k, expect) })
		}
		same(t, []string(nil), ok(f.Masters(t.Context()))(t))
		for organization, master := range map[claviger.OrganizationID]string{"": "bb", "org_a": "aa", "org_b": "cc", "org_c": "", "org_d": "bb"} {
			put(claviger.Keyset{Organization: organization, Wrapped: []byte{1}, Master: master}, 0)
		}
		same(t, []string{"", "aa", "bb", "cc"}, ok(f.Masters(t.Context()))(t))
		apart := func(master string, limit int) (out []string) {
			t.Helper()
			for _, k := range ok(f.KeysetsApart(t.Context(), master, limit))(t) {
				if k.Master == master {
					t.Errorf("%s is under %s", k.Organization, master)
				}
				out = append(out, string(k.Organization))
			}
			return out
		}
		if a, b := apart("bb", 10), apart("bb", 2); len(a) != 3 || len(b) != 2 {
			t.Errorf("apart: %v and %v", a, b)
		}
		if a := apart("dd", 10); len(a) != 5 {
			t.Errorf("with the instance's: %v", a)
		}
		rewrap := func(k claviger.Keyset, was string) {
			t.Helper()
			f.do(func(ctx context.Context, tx *store.Tx) error { return tx.Rewrap(ctx, k, was) })
		}
		other := claviger.Keyset{Organization: "org_a", Wrapped: []byte{2}, Version: 1, Master: "bb"}
		rewrap(other, "cc") // it is no longer under that one
		same(t, "aa", ok(f.Keyset(t.Context(), "org_a"))(t).Master)
		put(claviger.Keyset{Organization: "org_a", Wrapped: []byte{3}, Master: "aa"}, 1)
		rewrap(other, "aa") // rotated in between
		same(t, []byte{3}, ok(f.Keyset(t.Context(), "org_a"))(t).Wrapped)
		other.Version = 2
		rewrap(other, "aa")
		now := ok(f.Keyset(t.Context(), "org_a"))(t)
		if now.Master != "bb" || now.Version != 2 || now.Wrapped[0] != 2 {
			t.Errorf("rewrapped: %+v", now)
		}
	})
}
