package events_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/signers"
	"claviger/internal/store"
)

// lower answers headers as the libraries want them.
func lower(h http.Header) map[string]string {
	out := map[string]string{}
	for name := range h {
		out[strings.ToLower(name)] = h.Get(name)
	}
	return out
}

// all waits until every delivery of an endpoint is as wanted.
func (r *room) all(e claviger.EventEndpoint, count int, wanted func(claviger.EventDelivery) bool) []claviger.EventDelivery {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		list, err := r.db.EventDeliveries(r.t.Context(), r.caller.Scope, e.ID, store.Page{Limit: store.MaxPage})
		if err != nil || len(list) != count {
			r.t.Fatalf("%d deliveries, %v", len(list), err)
		}
		left := slices.IndexFunc(list, func(d claviger.EventDelivery) bool { return !wanted(d) })
		if left < 0 {
			return list
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("still: %+v", list[left])
		}
	}
}

// An endpoint is down for twenty hours while much happens. Afterwards it has every event,
// each accepted once, can tell repetitions by their id, and can put them in order.
func TestEverythingOfTwentyHoursArrives(t *testing.T) {
	onEngines(t, func(t *testing.T, r *room) {
		const batches, each = 4, 6
		const count = batches * each
		rec := r.newReceiver()
		rec.answers(code(http.StatusServiceUnavailable))
		e, secret := r.endpoint(rec.URL)
		r.start()
		tried := func(d claviger.EventDelivery) bool {
			return d.Status == claviger.DeliveryPending && d.Attempts > 0 && d.NextAt.After(r.now())
		}
		for i := range count {
			r.in(func(ctx context.Context, tx *store.Tx) error {
				return r.events.Emit(ctx, tx, r.caller.Scope.Organization(), r.ws, claviger.EventConnectionUpdated, map[string]int{"number": i})
			})
			r.pass(time.Second)
			if (i+1)%each == 0 {
				r.all(e, i+1, tried)
				r.pass(5*time.Hour - each*time.Second)
			}
		}
		r.all(e, count, tried)
		refused := len(rec.requests())
		rec.answers(code(http.StatusOK))
		r.pass(6 * time.Hour) // the longest pause
		done := r.all(e, count, status(claviger.DeliverySucceeded))
		attempts := 0
		for _, d := range done {
			attempts += d.Attempts
		}
		if n := len(rec.requests()); attempts != n || n-refused != count {
			t.Errorf("%d attempts, %d requests, %d of them refused", attempts, n, refused)
		}
		r.inOrder(rec.requests(), secret, count)
	})
}

// inOrder does what a receiver does: drop what it knows by the id, and sort.
func (r *room) inOrder(all []received, secret string, count int) {
	r.t.Helper()
	type event struct {
		Timestamp time.Time
		Data      struct{ Number int }
	}
	known := map[string]string{}
	var events []event
	for _, got := range all {
		id := got.header.Get("webhook-id")
		if before, ok := known[id]; ok {
			if before != string(got.body) {
				r.t.Errorf("%s came with another body", id)
			}
			continue
		}
		known[id] = string(got.body)
		verify(r.t, got, secret)
		var x event
		if err := json.Unmarshal(got.body, &x); err != nil {
			r.t.Fatal(err)
		}
		events = append(events, x)
	}
	slices.SortFunc(events, func(a, b event) int { return a.Timestamp.Compare(b.Timestamp) })
	for i, x := range events {
		if x.Data.Number != i {
			r.t.Fatalf("event %d stands at %d", x.Data.Number, i)
		}
	}
	if len(events) != count {
		r.t.Errorf("%d events", len(events))
	}
}

// The libraries that receivers use in Node.js accept what is sent, before and after a
// rotation, and nothing else.
func TestReceiversLibrariesAcceptIt(t *testing.T) {
	onEngines(t, func(t *testing.T, r *room) {
		node := signers.Start(t)
		rec := r.newReceiver()
		e, old := r.endpoint(rec.URL)
		r.start()
		r.emit(claviger.EventConnectionCreated)
		r.delivery(e, status(claviger.DeliverySucceeded))
		fresh := r.rotate(&e)
		r.pass(time.Second)
		r.emit(claviger.EventConnectionUpdated)
		r.all(e, 2, status(claviger.DeliverySucceeded))
		got := rec.requests()
		if len(got) != 2 {
			t.Fatalf("%d requests", len(got))
		}
		for _, library := range []string{signers.StandardWebhooks, signers.Svix} {
			for i, c := range []struct {
				secret, change string
				accepted       bool
			}{{old, "", true}, {old, " ", false}, {fresh, "", false}, {fresh, "", true}, {old, "", true}, {fresh, " ", false}} {
				sent := got[i/3]
				err := node.Verify(t, library, c.secret, lower(sent.header), []byte(string(sent.body)+c.change))
				if (err == nil) != c.accepted {
					t.Errorf("%s, case %d: %v", library, i, err)
				}
			}
			headers := lower(got[1].header)
			headers["webhook-timestamp"] = fmt.Sprint(r.now().Add(-6 * time.Minute).Unix())
			if err := node.Verify(t, library, fresh, headers, got[1].body); err == nil {
				t.Errorf("%s: another time is accepted", library)
			}
		}
	})
}
