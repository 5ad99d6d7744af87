package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

// subscribe gives the victim an endpoint with a delivery that has ended.
func (v *victim) subscribe() {
	v.f.t.Helper()
	v.endpoint, v.delivered = claviger.EndpointID(v.f.id(claviger.PrefixEndpoint)), claviger.DeliveryID(v.f.id(claviger.PrefixDelivery))
	v.f.do(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(
			tx.CreateEventEndpoint(ctx, v.scope, claviger.EventEndpoint{
				ID: v.endpoint, Organization: v.org.ID, URL: "https://hooks.example.com/", Events: claviger.EventTypes(), Owner: string(v.user), Version: 1,
			}, claviger.Sealed("s")),
			tx.AddEventDelivery(ctx, claviger.EventDelivery{
				ID: v.delivered, Organization: v.org.ID, Workspace: v.workspace.ID, Endpoint: v.endpoint, Event: "msg_1",
				Type: claviger.EventConnectionCreated, Body: []byte("{}"), Status: claviger.DeliverySucceeded, CreatedAt: v.f.time(),
			}))
	})
}

func TestEventEndpointsAreBounded(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		tenant := f.tenant("many")
		add := func(i int) error {
			return f.try("", func(ctx context.Context, tx *store.Tx) error {
				return tx.CreateEventEndpoint(ctx, tenant.scope, claviger.EventEndpoint{
					ID: claviger.EndpointID(fmt.Sprint("ep_", i)), Organization: tenant.org.ID, Version: 1,
				}, claviger.Sealed("s"))
			})
		}
		for i := range store.MaxEndpoints {
			wants(t, add(i), nil)
		}
		conflict(t, add(store.MaxEndpoints), "eventEndpoints")
	})
}

func TestAnAttemptIsStoredOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("one")
		f.do(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.ReplayEventDelivery(ctx, v.scope, v.endpoint, v.delivered, f.time())
			return err
		})
		save := func(before int) error {
			return f.try("", func(ctx context.Context, tx *store.Tx) error {
				return tx.SaveEventDelivery(ctx, claviger.EventDelivery{
					ID: v.delivered, Organization: v.org.ID, Status: claviger.DeliveryPending, Attempts: before + 1, LastAt: f.time(),
				}, before)
			})
		}
		wants(t, save(0), nil)
		wants(t, save(0), store.ErrNotFound) // another run of the same job
		wants(t, save(1), nil)
		d := ok(f.EventDelivery(t.Context(), v.scope, v.endpoint, v.delivered))(t)
		same(t, 2, d.Attempts)
	})
}

func TestWhoseEndpointsMayBeCalled(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("owner")
		for name, c := range map[string]struct {
			owner  string
			remove func(context.Context, *store.Tx) error
		}{
			"person": {string(v.user), func(ctx context.Context, tx *store.Tx) error { return tx.DeleteUser(ctx, v.scope, v.user) }},
			"application": {string(v.application), func(ctx context.Context, tx *store.Tx) error {
				return tx.DeleteApplication(ctx, v.scope, v.application)
			}},
			"key": {string(v.key), func(ctx context.Context, tx *store.Tx) error { return tx.RevokeAPIKey(ctx, v.scope, v.key) }},
		} {
			id := claviger.EndpointID(f.id(claviger.PrefixEndpoint))
			f.do(func(ctx context.Context, tx *store.Tx) error {
				return tx.CreateEventEndpoint(ctx, v.scope, claviger.EventEndpoint{ID: id, Organization: v.org.ID, Owner: c.owner, Version: 1}, claviger.Sealed("s"))
			})
			for _, want := range []bool{true, false} {
				_, _, living, err := f.EndpointToCall(t.Context(), v.org.ID, id)
				if err != nil || living != want {
					t.Errorf("%s: living %v, want %v, %v", name, living, want, err)
				}
				if want {
					f.do(c.remove)
				}
			}
		}
	})
}

// A delivery lives in the region of what it speaks of and is found from anywhere.
func TestDeliveriesOfAnotherRegion(t *testing.T) {
	f, _, _ := twoRegions(t)
	far := f.tenantIn("far", regionB)
	id := claviger.EndpointID(f.id(claviger.PrefixEndpoint))
	f.do(func(ctx context.Context, tx *store.Tx) error {
		return tx.CreateEventEndpoint(ctx, far.scope, claviger.EventEndpoint{
			ID: id, Organization: far.org.ID, Events: claviger.EventTypes(), Version: 1,
		}, claviger.Sealed("s"))
	})
	delivery := claviger.DeliveryID(f.id(claviger.PrefixDelivery))
	f.in(regionB, func(ctx context.Context, tx *store.Tx) error {
		who, err := tx.Subscribed(ctx, far.org.ID, claviger.EventConnectionCreated)
		same(t, []claviger.EndpointID{id}, who)
		return errors.Join(err, tx.AddEventDelivery(ctx, claviger.EventDelivery{
			ID: delivery, Organization: far.org.ID, Endpoint: id, Status: claviger.DeliverySucceeded, CreatedAt: f.time(),
		}))
	})
	found := ok(f.EventDelivery(t.Context(), far.scope, id, delivery))(t)
	same(t, regionB, found.Region)
	same(t, 1, len(ok(f.EventDeliveries(t.Context(), far.scope, id, store.Page{}))(t)))
	same(t, int64(1), ok(f.PurgeEventDeliveries(t.Context(), f.time().Add(time.Hour)))(t))
}
