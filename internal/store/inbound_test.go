package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

// delivery is an event of the tenant's system "crm" with a body and a vendor's id.
func (t *tenant) delivery(body, vendorID, batch string) store.NewInbound {
	key := sha256.Sum256([]byte(body))
	return store.NewInbound{Body: claviger.Sealed(body), InboundEvent: claviger.InboundEvent{
		ID: claviger.InboundID(t.f.id(claviger.PrefixInbound)), Organization: t.org.ID, Workspace: t.workspace.ID, System: "crm",
		Connection: claviger.ConnectionID("conn_of_" + t.org.ID), Slot: "webhook", ReplayKey: key[:], Delivery: vendorID, Type: "created",
		Size: len(body), Batch: batch, Status: claviger.InboundReceived, ReceivedAt: t.f.time(),
	}}
}

func (f *fixture) receive(batch ...store.NewInbound) (kept []store.KeptInbound) {
	f.t.Helper()
	f.do(func(ctx context.Context, tx *store.Tx) (err error) {
		kept, err = tx.AddInbound(ctx, batch)
		return err
	})
	return kept
}

func TestInboundKeepsEachDeliveryOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		mine, other := f.tenant("mine"), f.tenant("other")
		first := mine.delivery("one", "d1", "b1")
		if kept := f.receive(first); kept[0] != (store.KeptInbound{ID: first.ID}) {
			t.Fatalf("a new delivery: %+v", kept)
		}
		again, fresh, forged := mine.delivery("one", "d1", "b2"), mine.delivery("two", "d2", "b2"), mine.delivery("three", "d1", "b2")
		kept := f.receive(again, fresh, forged, other.delivery("one", "d1", "b2"))
		if kept[0] != (store.KeptInbound{ID: first.ID, Copy: true}) || kept[1] != (store.KeptInbound{ID: fresh.ID}) {
			t.Errorf("a copy and another one: %+v", kept[:2])
		}
		if !kept[2].Reused || kept[2].Copy || kept[3].Copy || kept[3].Reused {
			t.Errorf("an id used again, and another tenant's: %+v", kept[2:])
		}
		together := []store.NewInbound{mine.delivery("four", "d4", "b2"), mine.delivery("five", "d4", "b2")}
		if kept := f.receive(together...); kept[0] != (store.KeptInbound{ID: together[0].ID}) || kept[1] != (store.KeptInbound{ID: together[1].ID, Reused: true}) {
			t.Errorf("an id twice in one batch: %+v", kept)
		}
		many := make([]store.NewInbound, 500)
		for i := range many {
			many[i] = mine.delivery(string(rune('A'+i)), "", "b3")
		}
		f.receive(many...)
		if open := ok(f.OpenInbound(t.Context(), "", "b3", 1000))(t); len(open) != 500 {
			t.Errorf("%d of 500 are open", len(open))
		}
		if list := ok(f.InboundEvents(t.Context(), other.scope, store.InboundFilter{}, store.Page{}))(t); len(list) != 1 {
			t.Errorf("the other tenant sees %d", len(list))
		}
		if _, _, err := f.InboundEvent(t.Context(), other.scope, first.ID); err == nil {
			t.Error("another tenant reads it")
		}
		e, body, err := f.InboundEvent(t.Context(), mine.bound, first.ID)
		if err != nil || !bytes.Equal(body, first.Body) || e.Delivery != "d1" || e.Size != 3 || !e.ReceivedAt.Equal(f.time()) {
			t.Errorf("read back %+v %q %v", e, body, err)
		}
	})
}

func TestInboundGoesThroughItsStates(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		mine := f.tenant("mine")
		a, b, c := mine.delivery("a", "", "b1"), mine.delivery("b", "", "b1"), mine.delivery("c", "", "b1")
		f.receive(a, b, c)
		parked := b.InboundEvent
		parked.Status, parked.Attempts, parked.Code, parked.ProcessedAt = claviger.InboundParked, 1, "missing_slot", f.time()
		f.do(func(ctx context.Context, tx *store.Tx) error {
			if err := tx.SettleInbound(ctx, parked, claviger.InboundReceived, 0); err != nil {
				return err
			}
			return tx.PassInbound(ctx, "b1", max(a.ID, b.ID, c.ID), f.time())
		})
		wants(t, f.try("", func(ctx context.Context, tx *store.Tx) error {
			return tx.SettleInbound(ctx, parked, claviger.InboundReceived, 0)
		}), store.ErrNotFound)
		if open := ok(f.OpenInbound(t.Context(), "", "b1", 10))(t); len(open) != 0 {
			t.Errorf("open: %+v", open)
		}
		if done := ok(f.InboundEvents(t.Context(), mine.scope, store.InboundFilter{System: "crm", Status: claviger.InboundProcessed}, store.Page{}))(t); len(done) != 2 || done[0].Attempts != 1 {
			t.Errorf("processed: %+v", done)
		}
		waiting := ok(f.ParkedInbound(t.Context(), ""))(t)
		if len(waiting) != 1 || waiting[0].ID != b.ID || waiting[0].Code != "missing_slot" {
			t.Fatalf("parked: %+v", waiting)
		}
		f.do(func(ctx context.Context, tx *store.Tx) error {
			n, err := tx.UnparkInbound(ctx, mine.org.ID, "crm", "b2")
			if n != 1 {
				t.Errorf("%d went on", n)
			}
			return err
		})
		if open := ok(f.OpenInbound(t.Context(), "", "b2", 10))(t); len(open) != 1 || open[0].Attempts != 0 || open[0].Code != "" {
			t.Errorf("after the wait: %+v", open)
		}
		f.do(func(ctx context.Context, tx *store.Tx) error {
			e, err := tx.ReplayInbound(ctx, mine.scope, a.ID, "b3")
			if e.Status != claviger.InboundReceived || e.Batch != "b3" {
				t.Errorf("replayed: %+v", e)
			}
			return err
		})
		conflict(t, f.try("", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.ReplayInbound(ctx, mine.scope, a.ID, "b4")
			return err
		}), "status")
		f.pass(time.Hour)
		if err := f.PurgeInbound(t.Context(), f.time()); err != nil {
			t.Fatal(err)
		}
		if left := ok(f.InboundEvents(t.Context(), mine.scope, store.InboundFilter{}, store.Page{}))(t); len(left) != 0 {
			t.Errorf("left: %+v", left)
		}
	})
}

func TestAReplacedSecretIsKeptForWebhookSlotsAlone(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		mine := f.tenant("mine")
		mine.upload("{}", claviger.Slot{Key: "webhook", Usage: claviger.UsageWebhookInbound, Connection: "conn_1", Paths: map[string]string{"apiKey": "crm/hook"}})
		put := func(path, value string) {
			f.do(func(ctx context.Context, tx *store.Tx) error {
				if err := tx.KeepSecret(ctx, mine.scope, path, f.time().Add(time.Hour)); err != nil {
					return err
				}
				_, err := tx.PutSecret(ctx, mine.scope, path, func(int64) (claviger.Sealed, error) { return claviger.Sealed(value), nil })
				return err
			})
		}
		values := func(path string) (out []string) {
			for _, v := range ok(f.SecretVersions(t.Context(), mine.scope, path))(t) {
				out = append(out, string(v.Sealed))
			}
			return out
		}
		for _, v := range []string{"one", "two", "three"} {
			put("crm/hook", v)
			put("crm/api", v)
		}
		if got := values("crm/hook"); !slices.Equal(got, []string{"three", "two"}) {
			t.Errorf("the webhook's values: %q", got)
		}
		if got := values("crm/api"); !slices.Equal(got, []string{"three"}) {
			t.Errorf("another slot's values: %q", got)
		}
		f.pass(time.Hour)
		if got := values("crm/hook"); !slices.Equal(got, []string{"three"}) {
			t.Errorf("after the window: %q", got)
		}
		put("crm/hook", "four")
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteSecret(ctx, mine.scope, "crm/hook") })
		_, err := f.SecretVersions(t.Context(), mine.scope, "crm/hook")
		wants(t, err, store.ErrNotFound)
	})
}

func TestAHandshakeIsTakenOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		mine := f.tenant("mine")
		take := func() error {
			return f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.TakeHandshake(ctx, mine.scope, "conn_1") })
		}
		wants(t, take(), store.ErrNotFound)
		await := func(ctx context.Context, tx *store.Tx) error {
			return tx.AwaitHandshake(ctx, mine.scope, "conn_1", f.time().Add(time.Minute))
		}
		f.do(await)
		wants(t, take(), nil)
		wants(t, take(), store.ErrNotFound)
		f.do(await)
		f.pass(time.Minute)
		wants(t, take(), store.ErrNotFound)
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.PurgePrevious(ctx, f.time()) })
	})
}
