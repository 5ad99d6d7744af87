package store_test

import (
	"context"

	"claviger"
	"claviger/internal/store"
)

// trustMethods are those of the keys that certificates are signed with.
var trustMethods = map[string]scopedMethod{
	"DB.TrustKey": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, _ *victim) (int, error) {
		return hit1(f.TrustKey(ctx, s))
	}},
	"Tx.PutTrustKey": {true, func(ctx context.Context, _ *fixture, tx *store.Tx, s claviger.Scope, _ *victim) (int, error) {
		kept, err := tx.PutTrustKey(ctx, s, claviger.Sealed("another")) // a stranger's own
		if string(kept) != "key" {
			return 0, err
		}
		return 1, err
	}},
}

// keepTrustKey gives the victim a key of its own.
func (v *victim) keepTrustKey(ctx context.Context, tx *store.Tx) error {
	_, err := tx.PutTrustKey(ctx, v.scope, claviger.Sealed("key"))
	return err
}
