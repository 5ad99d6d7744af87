package events_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/internal/events"
	"claviger/internal/store"
)

func TestAbuse_170_Subscribers(t *testing.T) {
	for name, test := range map[string]func(*testing.T, *room){
		"private address":  privateAddress,
		"redirect":         redirected,
		"slow":             slow,
		"gone":             gone,
		"owner removed":    ownerRemoved,
		"deleted":          deleted,
		"nothing is kept":  nothingIsKept,
		"secret in a list": secretInAList,
	} {
		t.Run(name, func(t *testing.T) { onEngines(t, test) })
	}
}

// privateAddress: without the operator's word, loopback and other addresses that are
// not public are not called at all.
func privateAddress(t *testing.T, r *room) {
	rec := r.newReceiver()
	r.allow = ""
	r.start()
	for _, url := range []string{rec.URL, "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data", "https://[::1]/", "https://localhost/"} {
		e, _ := r.endpoint(url)
		r.emit(claviger.EventConnectionUpdated)
		d := r.delivery(e, attempts(1))
		if d.Code != "destination_not_allowed" || d.Status != claviger.DeliveryPending {
			t.Errorf("%s: %s %q", url, d.Status, d.Code)
		}
		r.in(func(ctx context.Context, tx *store.Tx) error {
			return tx.DeleteEventEndpoint(ctx, r.caller.Scope, e.ID)
		})
	}
	if r.dialed.Load() != 0 || len(rec.requests()) != 0 {
		t.Errorf("%d sockets, %d requests", r.dialed.Load(), len(rec.requests()))
	}
}

func redirected(t *testing.T, r *room) {
	rec, other := r.newReceiver(), r.newReceiver()
	rec.answers(func(w http.ResponseWriter, q *http.Request) {
		http.Redirect(w, q, other.URL, http.StatusTemporaryRedirect)
	})
	e, _ := r.endpoint(rec.URL)
	r.start()
	r.emit(claviger.EventConnectionUpdated)
	d := r.delivery(e, attempts(1))
	if d.Code != "redirect_refused" || d.StatusCode != 307 || d.Status != claviger.DeliveryPending {
		t.Errorf("%s %d %q", d.Status, d.StatusCode, d.Code)
	}
	if n := len(other.requests()); n != 0 {
		t.Errorf("%d requests followed the redirect", n)
	}
}

// slow: an endpoint that never answers holds its own delivery up and no other.
func slow(t *testing.T, r *room) {
	rec, good := r.newReceiver(), r.newReceiver()
	rec.answers(func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() })
	hanging, _ := r.endpoint(rec.URL)
	working, _ := r.endpoint(good.URL)
	r.limit = 5 * time.Second // what works needs milliseconds
	r.start()
	r.emit(claviger.EventConnectionUpdated)
	r.delivery(working, status(claviger.DeliverySucceeded))
	if d := r.delivery(hanging, attempts(1)); d.Code != "upstream_timeout" || d.Status != claviger.DeliveryPending {
		t.Errorf("%s %q", d.Status, d.Code)
	}
}

func gone(t *testing.T, r *room) {
	_, e, _ := r.told(code(http.StatusGone))
	if d := r.delivery(e, status(claviger.DeliveryFailed)); d.Attempts != 1 || d.Code != "endpoint_gone" {
		t.Errorf("%d attempts, %q", d.Attempts, d.Code)
	}
	now, err := r.db.EventEndpoint(t.Context(), r.caller.Scope, e.ID)
	if err != nil || now.Disabled != events.Gone {
		t.Errorf("disabled: %q %v", now.Disabled, err)
	}
	r.emit(claviger.EventConnectionUpdated)
	if all, err := r.db.EventDeliveries(t.Context(), r.caller.Scope, e.ID, store.Page{}); err != nil || len(all) != 1 {
		t.Errorf("%d deliveries to an endpoint that is gone, %v", len(all), err)
	}
}

// ownerRemoved: what is on its way when its endpoint's owner is disabled does not leave.
func ownerRemoved(t *testing.T, r *room) {
	rec, e, _ := r.told(code(http.StatusBadGateway))
	r.delivery(e, attempts(1))
	r.in(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.UpdateUser(ctx, r.caller.Scope, r.caller.User, func(u claviger.User) (claviger.User, error) {
			u.Disabled = true
			return u, nil
		})
		return err
	})
	r.pass(time.Hour)
	if d := r.delivery(e, status(claviger.DeliveryCanceled)); d.Attempts != 1 || d.Code != "endpoint_disabled" {
		t.Errorf("%d attempts, %q", d.Attempts, d.Code)
	}
	now, err := r.db.EventEndpoint(t.Context(), r.caller.Scope, e.ID)
	if err != nil || now.Disabled != events.OwnerRemoved || len(rec.requests()) != 1 {
		t.Errorf("disabled: %q after %d requests, %v", now.Disabled, len(rec.requests()), err)
	}
}

func deleted(t *testing.T, r *room) {
	_, e, _ := r.told(code(http.StatusBadGateway))
	r.delivery(e, attempts(1))
	r.in(func(ctx context.Context, tx *store.Tx) error {
		return tx.DeleteEventEndpoint(ctx, r.caller.Scope, e.ID)
	})
	r.pass(time.Hour)
	if d := r.delivery(e, status(claviger.DeliveryCanceled)); d.Attempts != 1 || d.Code != "endpoint_deleted" {
		t.Errorf("%d attempts, %q", d.Attempts, d.Code)
	}
}

// nothingIsKept of what a subscriber answers but the status.
func nothingIsKept(t *testing.T, r *room) {
	_, e, _ := r.told(code(http.StatusTeapot))
	d := r.delivery(e, attempts(1))
	text, err := json.Marshal(d)
	if err != nil || strings.Contains(string(text), "subscriber") || d.StatusCode != http.StatusTeapot {
		t.Errorf("%s %v", text, err)
	}
}

// secretInAList: what lists and lookups answer has no member for a secret, nor is it
// stored in the clear.
func secretInAList(t *testing.T, r *room) {
	e, secret := r.endpoint("https://hooks.example.com/")
	all, err := r.db.EventEndpoints(t.Context(), r.caller.Scope, store.Page{})
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	_, sealed, _, err := r.db.EndpointToCall(t.Context(), e.Organization, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(all)
	if err != nil || strings.Contains(string(text), secret) || strings.Contains(string(sealed.Current), secret) {
		t.Errorf("the secret shows: %v", err)
	}
	moved := e
	moved.ID = "ep_other"
	if _, err := r.vault.OpenEventSecret(t.Context(), &moved, 1, sealed.Current); err == nil {
		t.Error("the ciphertext opens for another endpoint")
	}
	if _, err := r.vault.OpenEventSecret(t.Context(), &e, 2, sealed.Current); err == nil {
		t.Error("the ciphertext opens for another version")
	}
}
