package store_test

import (
	"context"

	"claviger"
	"claviger/internal/store"
)

// systemMethods are those of [scopedMethods] that concern connected systems.
var systemMethods = map[string]scopedMethod{
	"DB.System": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.System(ctx, s, "crm"))
	}},
	"DB.Systems": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.Systems(ctx, s, store.Page{}))
	}},
	"DB.Policy": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		p, err := f.Policy(ctx, s)
		if !p.SyncFallback {
			return 0, err
		}
		return 1, err
	}},
	"Tx.PutPolicy": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		if s.Organization() != v.org.ID {
			return 0, tx.PutPolicy(ctx, s, claviger.Policy{}) // one's own
		}
		return hit(tx.PutPolicy(ctx, s, claviger.Policy{}))
	}},
	"DB.Slots": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.Slots(ctx, s, &v.system))
	}},
	"DB.Manifest": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.Manifest(ctx, s, &v.system, 1))
	}},
	"DB.Manifests": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.Manifests(ctx, s, &v.system, 0, 1))
	}},
	"DB.Certificate": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.Certificate(ctx, s, &v.system))
	}},
	"Tx.PutCertificate": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.PutCertificate(ctx, s, &v.system, store.Certificate{Level: "BRONZE"}))
	}},
	"DB.SlotOf": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.SlotOf(ctx, s, v.connection))
	}},
	"Tx.SettleSlots": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(tx.SettleSlots(ctx, s, victimsSecret))
	}},
	"Tx.PutSystem": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.PutSystem(ctx, s, "crm", func(old claviger.System, _ []claviger.Slot) (store.SystemVersion, error) {
			if old.ID == "" {
				return store.SystemVersion{}, store.ErrNotFound // another tenant's is not there to be changed
			}
			return store.SystemVersion{System: old}, nil
		}))
	}},
	"Tx.DeleteSystem": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.DeleteSystem(ctx, s, "crm"))
	}},
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
