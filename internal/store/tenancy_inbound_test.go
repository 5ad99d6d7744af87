package store_test

import (
	"context"
	"errors"
	"time"

	"claviger"
	"claviger/internal/store"
)

// receiveOne gives the victim a delivery that was acted upon, and a slot that waits for a
// handshake.
func (v *victim) receiveOne() {
	v.f.t.Helper()
	in := v.delivery("one", "d1", "b1")
	in.Status = claviger.InboundProcessed
	v.inbound = v.f.receive(in)[0].ID
	v.f.do(func(ctx context.Context, tx *store.Tx) error {
		return tx.AwaitHandshake(ctx, v.scope, v.connection, v.f.time().Add(time.Hour))
	})
}

// ofOwn counts what a method that writes under a name of the caller's own choice did to
// the victim: nothing under another organization's scope.
func ofOwn(s claviger.Scope, v *victim, err error) (int, error) {
	if s.Organization() != v.org.ID {
		return 0, err
	}
	return hit(err)
}

// inboundMethods are those of [scopedMethods] that concern what vendors send.
var inboundMethods = map[string]scopedMethod{
	"DB.AnySubscribed": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, _ *victim) (int, error) {
		found, err := f.AnySubscribed(ctx, s, claviger.EventConnectionCreated)
		if !found {
			return 0, err
		}
		return 1, err
	}},
	"DB.InboundEvents": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, _ *victim) (int, error) {
		all, err := f.InboundEvents(ctx, s, store.InboundFilter{}, store.Page{})
		named, err2 := f.InboundEvents(ctx, s, store.InboundFilter{System: "crm"}, store.Page{})
		return len(all) + len(named), errors.Join(err, err2)
	}},
	"DB.InboundEvent": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		_, _, err := f.InboundEvent(ctx, s, v.inbound)
		return hit(err)
	}},
	"Tx.ReplayInbound": {false, func(ctx context.Context, _ *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.ReplayInbound(ctx, s, v.inbound, "b2"))
	}},
	"DB.SecretVersions": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, _ *victim) (int, error) {
		return seen(f.SecretVersions(ctx, s, victimsSecret))
	}},
	"Tx.KeepSecret": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return ofOwn(s, v, tx.KeepSecret(ctx, s, victimsSecret, f.time().Add(time.Hour)))
	}},
	"Tx.AwaitHandshake": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return ofOwn(s, v, tx.AwaitHandshake(ctx, s, v.connection, f.time().Add(time.Hour)))
	}},
	"Tx.TakeHandshake": {true, func(ctx context.Context, _ *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.TakeHandshake(ctx, s, v.connection))
	}},
}
