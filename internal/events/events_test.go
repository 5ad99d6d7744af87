package events_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"claviger"
	"claviger/internal/events"
	"claviger/internal/jobs"
	"claviger/internal/store"
)

// verify checks a request by the reference library and by a second, independent
// computation.
func verify(t *testing.T, got received, secret string) {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := hook.VerifyIgnoringTimestamp(got.body, got.header); err != nil {
		t.Errorf("the reference library: %v", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) != 32 {
		t.Fatalf("the secret has %d bytes: %v", len(key), err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(got.header.Get("webhook-id") + "." + got.header.Get("webhook-timestamp") + "." + string(got.body)))
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if !strings.Contains(" "+got.header.Get("webhook-signature")+" ", " "+want+" ") {
		t.Errorf("signature %s, want %s", got.header.Get("webhook-signature"), want)
	}
}

func TestAnEventIsSignedAndDelivered(t *testing.T) {
	onEngines(t, func(t *testing.T, r *room) {
		rec := r.newReceiver()
		e, secret := r.endpoint(rec.URL + "/hooks/claviger")
		r.start()
		r.emit(claviger.EventConnectionCreated)
		d := r.delivery(e, status(claviger.DeliverySucceeded))
		if d.Attempts != 1 || d.StatusCode != 204 || d.Code != "" || !d.NextAt.IsZero() {
			t.Errorf("%d attempts, %d %q", d.Attempts, d.StatusCode, d.Code)
		}
		all := rec.requests()
		if len(all) != 1 {
			t.Fatalf("%d requests", len(all))
		}
		got := all[0]
		verify(t, got, secret)
		if hook, err := standardwebhooks.NewWebhook(secret); err != nil || hook.Verify(got.body, got.header) != nil {
			t.Error("the reference library does not accept the time")
		}
		var body struct {
			Type      string
			Timestamp time.Time
			Data      map[string]string
		}
		if err := json.Unmarshal(got.body, &body); err != nil || body.Type != "connection.created" || body.Timestamp.IsZero() || body.Data["id"] != "conn_1" {
			t.Errorf("%s %v", got.body, err)
		}
		if got.path != "/hooks/claviger" || got.header.Get("Content-Type") != "application/json" || got.header.Get("webhook-id") != string(d.Event) {
			t.Errorf("%s %v", got.path, got.header)
		}
	})
}

func TestAnEventIsThereOnlyWithItsChange(t *testing.T) {
	onEngines(t, func(t *testing.T, r *room) {
		rec := r.newReceiver()
		e, _ := r.endpoint(rec.URL)
		r.start()
		refused := errors.New("the change is refused")
		err := r.db.InTx(t.Context(), "", func(tx *store.Tx) error {
			ctx := t.Context()
			return errors.Join(r.events.Emit(ctx, tx, r.caller.Scope.Organization(), r.ws, claviger.EventConnectionRevoked, "x"), refused)
		})
		if !errors.Is(err, refused) {
			t.Fatal(err)
		}
		r.emit(claviger.EventConnectionUpdated)
		r.delivery(e, status(claviger.DeliverySucceeded))
		if all := rec.requests(); len(all) != 1 || !strings.Contains(string(all[0].body), "connection.updated") {
			t.Errorf("%d requests", len(all))
		}
	})
}

func TestOnlyWantedEventsAreSent(t *testing.T) {
	onEngines(t, func(t *testing.T, r *room) {
		rec := r.newReceiver()
		e, _ := r.endpoint(rec.URL)
		r.in(func(ctx context.Context, tx *store.Tx) error {
			return tx.DeleteEventEndpoint(ctx, r.caller.Scope, e.ID)
		})
		e.ID, e.Events = claviger.EndpointID(r.id(claviger.PrefixEndpoint)), []claviger.EventType{claviger.EventConnectionRevoked}
		r.in(func(ctx context.Context, tx *store.Tx) error {
			return tx.CreateEventEndpoint(ctx, r.caller.Scope, e, claviger.Sealed("x"))
		})
		r.start()
		r.emit(claviger.EventConnectionUpdated)
		if all, err := r.db.EventDeliveries(t.Context(), r.caller.Scope, e.ID, store.Page{}); err != nil || len(all) != 0 {
			t.Errorf("%d deliveries, %v", len(all), err)
		}
		r.emit(claviger.EventConnectionRevoked)
		if all, err := r.db.EventDeliveries(t.Context(), r.caller.Scope, e.ID, store.Page{}); err != nil || len(all) != 1 {
			t.Errorf("%d deliveries, %v", len(all), err)
		}
	})
}

// An endpoint that is down for twenty hours gets its event when it comes back.
func TestDownForTwentyHours(t *testing.T) {
	onEngines(t, func(t *testing.T, r *room) {
		rec, e, secret := r.told(code(http.StatusServiceUnavailable))
		first := r.delivery(e, attempts(1))
		if first.Status != claviger.DeliveryPending || first.StatusCode != 503 || first.Code != "unexpected_status" || first.NextAt.Sub(first.LastAt) != 5*time.Second {
			t.Errorf("%s %d %q, next in %v", first.Status, first.StatusCode, first.Code, first.NextAt.Sub(first.LastAt))
		}
		r.pass(19 * time.Hour)
		r.delivery(e, attempts(2))
		rec.answers(code(http.StatusOK))
		r.pass(time.Hour)
		last := r.delivery(e, status(claviger.DeliverySucceeded))
		if last.Attempts != 3 {
			t.Errorf("%d attempts", last.Attempts)
		}
		ids := map[string]bool{}
		for _, got := range rec.requests() {
			verify(t, got, secret)
			ids[got.header.Get("webhook-id")] = true
		}
		if len(ids) != 1 {
			t.Errorf("the event had the ids %v", ids)
		}
	})
}

func TestGivenUpAfterADayAndReplayed(t *testing.T) {
	onEngines(t, func(t *testing.T, r *room) {
		rec, e, _ := r.told(code(http.StatusInternalServerError))
		pending := r.delivery(e, attempts(1))
		err := r.db.InTx(t.Context(), "", func(tx *store.Tx) error {
			_, err := r.events.Replay(t.Context(), tx, r.caller.Scope, e.ID, pending.ID)
			return err
		})
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("a pending delivery was replayed: %v", err)
		}
		r.pass(25 * time.Hour)
		failed := r.delivery(e, status(claviger.DeliveryFailed))
		if failed.Attempts != 2 || !failed.NextAt.IsZero() {
			t.Errorf("%d attempts, next %v", failed.Attempts, failed.NextAt)
		}
		rec.answers(code(http.StatusAccepted))
		r.in(func(ctx context.Context, tx *store.Tx) error {
			_, err := r.events.Replay(ctx, tx, r.caller.Scope, e.ID, failed.ID)
			return err
		})
		again := r.delivery(e, status(claviger.DeliverySucceeded))
		if again.ID != failed.ID || again.Event != failed.Event || again.Attempts != 3 {
			t.Errorf("%s %s after %d attempts", again.ID, again.Event, again.Attempts)
		}
	})
}

func TestRotationSignsWithBothSecretsForADay(t *testing.T) {
	onEngines(t, func(t *testing.T, r *room) {
		rec := r.newReceiver()
		e, old := r.endpoint(rec.URL)
		fresh := r.rotate(&e)
		if old == fresh {
			t.Fatal("the secret did not change")
		}
		r.start()
		r.emit(claviger.EventConnectionUpdated)
		r.delivery(e, status(claviger.DeliverySucceeded))
		got := rec.requests()[0]
		verify(t, got, old)
		verify(t, got, fresh)
		if n := len(strings.Fields(got.header.Get("webhook-signature"))); n != 2 {
			t.Errorf("%d signatures", n)
		}
		r.pass(24 * time.Hour)
		r.emit(claviger.EventConnectionUpdated)
		r.delivery(e, status(claviger.DeliverySucceeded))
		got = rec.requests()[1]
		verify(t, got, fresh)
		if n := len(strings.Fields(got.header.Get("webhook-signature"))); n != 1 {
			t.Errorf("%d signatures after a day", n)
		}
	})
}

// Claviger is cut off while an endpoint is thinking; after the restart every event
// arrives, and each under the id that it had.
func TestAbuse_230_StoppedWithoutGraceLosesNoEvent(t *testing.T) {
	onEngines(t, func(t *testing.T, r *room) {
		const total = 5
		rec := r.newReceiver()
		thinking, cut := make(chan struct{}, 10*total), make(chan struct{})
		rec.answers(func(_ http.ResponseWriter, q *http.Request) {
			thinking <- struct{}{}
			select {
			case <-q.Context().Done():
			case <-cut:
			}
		})
		e, secret := r.endpoint(rec.URL)
		r.start()
		for range total {
			r.emit(claviger.EventConnectionUpdated)
		}
		for range total {
			select {
			case <-thinking:
			case <-time.After(patience):
				t.Fatal("the events did not leave")
			}
		}
		r.stop(r.queue)
		close(cut)
		before := len(rec.requests())
		rec.answers(code(http.StatusOK))
		r.start()
		sent := map[string]int{}
		r.delivery(e, func(claviger.EventDelivery) bool {
			all, err := r.db.EventDeliveries(t.Context(), r.caller.Scope, e.ID, store.Page{})
			done := 0
			for _, d := range all {
				if d.Status == claviger.DeliverySucceeded {
					done++
				}
			}
			return err == nil && done == total
		})
		for _, got := range rec.requests()[before:] {
			verify(t, got, secret)
			sent[got.header.Get("webhook-id")]++
		}
		if len(sent) != total {
			t.Errorf("%d events arrived", len(sent))
		}
		for id, n := range sent {
			if n != 1 {
				t.Errorf("%s was accepted %d times", id, n)
			}
		}
	})
}

func TestOldDeliveriesAreForgotten(t *testing.T) {
	onEngines(t, func(t *testing.T, r *room) {
		rec := r.newReceiver()
		e, _ := r.endpoint(rec.URL)
		r.start()
		r.emit(claviger.EventConnectionUpdated)
		r.delivery(e, status(claviger.DeliverySucceeded))
		r.pass(events.Keep)
		if err := r.events.Kinds()["event.purge"].Run(t.Context(), jobs.Job{}); err != nil {
			t.Fatal(err)
		}
		if all, err := r.db.EventDeliveries(t.Context(), r.caller.Scope, e.ID, store.Page{}); err != nil || len(all) != 1 {
			t.Errorf("%d deliveries are left on the last day, %v", len(all), err)
		}
		r.pass(time.Second)
		if err := r.events.Kinds()["event.purge"].Run(t.Context(), jobs.Job{}); err != nil {
			t.Fatal(err)
		}
		if all, err := r.db.EventDeliveries(t.Context(), r.caller.Scope, e.ID, store.Page{}); err != nil || len(all) != 0 {
			t.Errorf("%d deliveries are left, %v", len(all), err)
		}
	})
}
