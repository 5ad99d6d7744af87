package store_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"claviger"
	"claviger/internal/store"
)

// upload keeps the next version of the tenant's system "crm" with one slot.
func (t *tenant) upload(document string, slot claviger.Slot) claviger.System {
	t.f.t.Helper()
	var out claviger.System
	t.f.do(func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = tx.PutSystem(ctx, t.scope, "crm", func(old claviger.System, _ []claviger.Slot) (store.SystemVersion, error) {
			if old.ID == "" {
				old = claviger.System{ID: claviger.SystemID(t.f.id(claviger.PrefixSystem)), Workspace: t.workspace.ID, Hook: claviger.HookID(t.f.id(claviger.PrefixHook)), Enabled: true}
			}
			old.Hash = claviger.Contract{byte(old.Version + 1)}
			return store.SystemVersion{System: old, Slots: []claviger.Slot{slot}, Document: []byte(document), Connector: []byte("{}"), Uploader: "usr_1"}, nil
		})
		return err
	})
	return out
}

func TestSystemsAreKeptInVersions(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		mine, other := f.tenant("mine"), f.tenant("other")
		other.upload("{}", claviger.Slot{Key: "default"})
		slot := claviger.Slot{
			Key: "default", Usage: claviger.UsageAPI, Default: true, Auth: claviger.SlotCredential, Method: "apikey",
			Connection: "conn_1", Paths: map[string]string{"apiKey": "crm/key"},
		}
		mine.upload(`{"v":1}`, slot)
		slot.Awaiting = []string{"crm/key", "crm/other"}
		second := mine.upload(`{"v":2}`, slot)
		if second.Version != 2 || second.Connector != 2 {
			t.Errorf("version %d of the system has version %d of the connector, want 2 and 2", second.Version, second.Connector)
		}
		got := ok(f.System(t.Context(), mine.bound, "crm"))(t)
		if got != second {
			t.Errorf("read back %+v, want %+v", got, second)
		}
		if first := ok(f.Manifest(t.Context(), mine.bound, &got, 1))(t); string(first.Document) != `{"v":1}` || first.Hash != (claviger.Contract{1}) {
			t.Errorf("the first manifest is %+v", first)
		}
		if all := ok(f.Manifests(t.Context(), mine.scope, &got, 2, 10))(t); len(all) != 1 || all[0].Version != 1 || all[0].Document != nil {
			t.Errorf("the versions below 2 are %+v", all)
		}
		place := ok(f.SlotOf(t.Context(), mine.scope, "conn_1"))(t)
		if place.System != got || !slices.Equal(place.Slot.Awaiting, slot.Awaiting) || !maps.Equal(place.Slot.Paths, slot.Paths) {
			t.Errorf("the slot is %+v", place)
		}
		settle := func(path string) (waiting []store.SlotPlace) {
			f.do(func(ctx context.Context, tx *store.Tx) (err error) {
				waiting, err = tx.SettleSlots(ctx, mine.scope, path)
				return err
			})
			return waiting
		}
		if waiting := settle("crm/ke"); len(waiting) != 0 {
			t.Errorf("a part of a path finds %+v", waiting)
		}
		if waiting := settle("crm/key"); len(waiting) != 1 || !slices.Equal(waiting[0].Slot.Awaiting, []string{"crm/other"}) {
			t.Errorf("a value settles %+v", waiting)
		}
		if waiting := settle("crm/key"); len(waiting) != 0 {
			t.Errorf("after the value was given %+v wait for it", waiting)
		}
	})
}

func TestAWebhookAddressFindsItsSystem(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		mine := f.tenant("mine")
		want := mine.upload("{}", claviger.Slot{Key: "default"})
		if got := ok(f.SystemAt(t.Context(), want.Hook, "crm"))(t); got != want {
			t.Errorf("got %+v", got)
		}
		_, err := f.SystemAt(t.Context(), want.Hook, "other")
		wants(t, err, store.ErrNotFound)
		_, err = f.SystemAt(t.Context(), "", "crm") // the tenant is not the instance's first
		wants(t, err, store.ErrNotFound)
	})
}

func TestADeletedSystemLeavesNothingButItsConnectorsVersions(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		mine := f.tenant("mine")
		old := mine.upload("{}", claviger.Slot{Key: "default"})
		f.do(func(ctx context.Context, tx *store.Tx) error {
			return tx.PutCertificate(ctx, mine.scope, &old, store.Certificate{Hash: old.Hash, Level: "GOLD", Document: []byte("{}")})
		})
		if c := ok(f.Certificate(t.Context(), mine.scope, &old))(t); c.Level != "GOLD" || c.Hash != old.Hash {
			t.Errorf("the certificate is %+v", c)
		}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteSystem(ctx, mine.scope, "crm") })
		_, err := f.System(t.Context(), mine.scope, "crm")
		wants(t, err, store.ErrNotFound)
		_, err = f.Certificate(t.Context(), mine.scope, &old)
		wants(t, err, store.ErrNotFound)
		again := mine.upload("{}", claviger.Slot{Key: "default"})
		if again.ID == old.ID || again.Version != 1 || again.Connector != 2 {
			t.Errorf("the system that took its key is %+v", again)
		}
	})
}
