package store_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

func TestLogins(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		rights, _ := claviger.PermissionsOf(claviger.ConnectionsRead, claviger.APIKeysCreate)
		l := claviger.Login{
			ID: claviger.LoginID(f.id(claviger.PrefixLogin)), Status: claviger.LoginPending, CodeHash: []byte("code"), UserHash: []byte("user"),
			Host: "ada-laptop", Address: "192.0.2.7", Interval: 5 * time.Second, CreatedAt: f.time(), ExpiresAt: f.time().Add(time.Minute),
		}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateLogin(ctx, l) })
		same(t, l, ok(f.LoginByUserCode(t.Context(), []byte("user")))(t))
		change := func(next func(claviger.Login) (claviger.Login, error)) error {
			return f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.UpdateLogin(ctx, l.ID, next) })
		}
		stop := errors.New("stop")
		wants(t, change(func(now claviger.Login) (claviger.Login, error) { return now, stop }), stop)
		l.Status, l.PolledAt, l.Interval = claviger.LoginApproved, f.time(), 10*time.Second
		l.Key = claviger.APIKey{
			ID: "key_1", Organization: "org_1", User: "usr_1", Name: "ada-laptop", Permissions: rights, CreatedAt: f.time(),
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, ExpiresAt: f.time().Add(time.Hour),
		}
		if err := change(func(claviger.Login) (claviger.Login, error) { return l, nil }); err != nil {
			t.Fatal(err)
		}
		same(t, l, ok(f.LoginByCode(t.Context(), []byte("code")))(t))
		_, err := f.LoginByUserCode(t.Context(), []byte("user")) // no longer waits
		wants(t, err, store.ErrNotFound)
		_, err = f.LoginByUserCode(t.Context(), nil)
		wants(t, err, store.ErrNotFound)
		for _, left := range []int64{0, 1} {
			f.pass(12*time.Hour + time.Minute)
			f.do(func(ctx context.Context, tx *store.Tx) error {
				n, err := tx.PurgeExpired(ctx, f.time())
				if n != left {
					t.Errorf("purged %d, want %d", n, left)
				}
				return err
			})
		}
		_, err = f.LoginByCode(t.Context(), []byte("code"))
		wants(t, err, store.ErrNotFound)
	})
}

func TestInspect(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			url := e.url(t)
			_, _, err := store.Inspect(t.Context(), url)
			wants(t, err, store.ErrNotFound)
			if path, lite := strings.CutPrefix(url, "sqlite:"); lite {
				if _, err := os.Stat(path); !os.IsNotExist(err) {
					t.Error("looking made the file:", err)
				}
			}
			open(t, store.Config{URL: url})
			if applied, known, err := store.Inspect(t.Context(), url); applied != known || known == 0 || err != nil {
				t.Errorf("%d of %d: %v", applied, known, err)
			}
		})
	}
	if _, _, err := store.Inspect(t.Context(), "mysql:x"); !claviger.IsKind(err, claviger.KindInvalid) {
		t.Error(err)
	}
}
