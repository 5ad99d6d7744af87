package store_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

// lease takes the lease of a connection's refresh.
func (t *tenant) lease(id claviger.ConnectionID, owner string, ttl time.Duration) (g store.Grant, err error) {
	err = t.f.try(t.workspace.Region, func(ctx context.Context, tx *store.Tx) (err error) {
		g, err = tx.LeaseGrant(ctx, t.scope, id, owner, ttl)
		return err
	})
	return g, err
}

// write changes a grant under a fence.
func (t *tenant) write(id claviger.ConnectionID, fence int64, change func(*store.Grant, time.Time)) error {
	return t.f.try(t.workspace.Region, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.UpdateGrant(ctx, t.scope, id, fence, change)
		return err
	})
}

func (t *tenant) extend(id claviger.ConnectionID, fence int64) error {
	return t.f.try(t.workspace.Region, func(ctx context.Context, tx *store.Tx) error {
		return tx.ExtendGrant(ctx, t.scope, id, fence, time.Minute)
	})
}

func (t *tenant) release(id claviger.ConnectionID, fence int64) error {
	return t.f.try(t.workspace.Region, func(ctx context.Context, tx *store.Tx) error {
		return tx.ReleaseGrant(ctx, t.scope, id, fence)
	})
}

func sending(g *store.Grant, now time.Time) {
	g.State, g.SentRevision, g.Sends, g.IntentAt = store.GrantSending, 1, 1, now
}

func TestLeasesAreFenced(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("A")
		id := a.connect(a.connection("leased")).ID
		// A lease that ended before it began stands for a holder that was paused: the
		// clock of PostgreSQL cannot be moved.
		paused := ok(a.lease(id, "one", -time.Second))(t)
		if paused.Fence != 1 || paused.State != store.GrantIdle || paused.Generation != 0 {
			t.Fatalf("a new grant: %+v", paused)
		}
		if err := a.write(id, paused.Fence, sending); err != nil {
			t.Fatalf("an ended lease that nobody took is still its holder's: %v", err)
		}
		next := ok(a.lease(id, "two", time.Minute))(t)
		if next.Fence != 2 || next.State != store.GrantSending || next.Sends != 1 || next.IntentAt.IsZero() {
			t.Fatalf("what was left behind: %+v", next)
		}
		_, err := a.lease(id, "three", time.Minute)
		wants(t, err, store.ErrLeased)
		wants(t, a.write(id, paused.Fence, func(g *store.Grant, _ time.Time) { g.Cause = "stale" }), store.ErrFenced)
		wants(t, a.extend(id, paused.Fence), store.ErrFenced)
		wants(t, a.release(id, paused.Fence), store.ErrFenced)
		_, err = a.lease(id, "three", time.Minute)
		wants(t, err, store.ErrLeased)
		if err := a.extend(id, next.Fence); err != nil {
			t.Fatal(err)
		}
		g := ok(f.Grant(t.Context(), a.scope, id))(t)
		if g.Cause != "" || g.Owner != "two" || g.Fence != 2 {
			t.Fatalf("afterwards: %+v", g)
		}
		wants(t, a.release(id, next.Fence), nil)
		wants(t, a.write(id, next.Fence, sending), store.ErrFenced)
		if again := ok(a.lease(id, "three", time.Minute))(t); again.Fence != 3 {
			t.Fatalf("a fence was used twice: %+v", again)
		}
	})
}

func TestOneOfManyGetsTheLease(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("A")
		id := a.connect(a.connection("wanted")).ID
		var got, held atomic.Int64
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				switch _, err := a.lease(id, fmt.Sprint("node ", i), time.Minute); {
				case err == nil:
					got.Add(1)
				case errors.Is(err, store.ErrLeased):
					held.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got.Load() != 1 || held.Load() != 19 {
			t.Errorf("%d got it, %d were refused", got.Load(), held.Load())
		}
	})
}

func TestGrantsKeepWhatTheyAreGiven(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("A")
		id := a.connect(a.connection("kept")).ID
		now := f.time()
		want := store.Grant{
			Organization: a.org.ID, Connection: id, Fence: 1, State: store.GrantIdle, Rotates: true, IssuedAt: now,
			ExpiresAt: now.Add(time.Hour), RefreshExpiresAt: now.Add(24 * time.Hour), LastRefreshedAt: now,
			KeepAt: now.Add(20 * time.Hour), RequestedScopes: []string{"read", "a b"},
		}
		given := want
		given.Fence, given.Owner, given.State, given.Answer = 77, "somebody", store.GrantJournaled, claviger.Sealed("x")
		put := func(s claviger.Scope, g store.Grant) error {
			return f.try(a.workspace.Region, func(ctx context.Context, tx *store.Tx) error { return tx.PutGrant(ctx, s, g) })
		}
		if err := put(a.bound, given); err != nil {
			t.Fatal(err)
		}
		if got := ok(f.Grant(t.Context(), a.bound, id))(t); !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		leased := ok(a.lease(id, "one", time.Minute))(t)
		err := a.write(id, leased.Fence, func(g *store.Grant, at time.Time) {
			g.State, g.Answer, g.Cause, g.Failures, g.RetryAt, g.IntentAt = store.GrantJournaled, claviger.Sealed("sealed"), "rate_limited", 3, now, at
			g.Generation, g.SentRevision, g.Sends = 5, 4, 2
		})
		if err != nil {
			t.Fatal(err)
		}
		got := ok(f.Grant(t.Context(), a.scope, id))(t)
		if string(got.Answer) != "sealed" || got.Cause != "rate_limited" || got.Failures != 3 || got.Generation != 5 || got.SentRevision != 4 || got.Sends != 2 {
			t.Fatalf("written: %+v", got)
		}
		// Tokens that a person has just consented to end what a refresh was doing.
		if err := put(a.scope, given); err != nil {
			t.Fatal(err)
		}
		wants(t, a.write(id, leased.Fence, sending), store.ErrFenced)
		if got := ok(f.Grant(t.Context(), a.scope, id))(t); got.State != store.GrantIdle || got.Answer != nil || got.Generation != 5 {
			t.Fatalf("after new consent: %+v", got)
		}
		other := f.tenant("B")
		_, err = f.Grant(t.Context(), other.scope, id)
		wants(t, err, store.ErrNotFound)
		wants(t, put(other.scope, given), store.ErrNotFound)
		_, err = other.lease(id, "foreign", time.Minute)
		wants(t, err, store.ErrNotFound)
	})
}

func TestAbuse_090_DeletedConnectionsHaveNoGrant(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("A")
		id := a.connect(a.connection("deleted")).ID
		g := ok(a.lease(id, "one", time.Minute))(t)
		f.in(a.workspace.Region, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.UpdateConnection(ctx, a.scope, id, func(c claviger.Connection, s claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
				c.Status = claviger.StatusRevoked
				return c, s, nil
			})
			return err
		})
		wants(t, a.write(id, g.Fence, sending), store.ErrFenced)
		wants(t, a.extend(id, g.Fence), store.ErrFenced)
		_, err := a.lease(id, "two", time.Minute)
		wants(t, err, store.ErrNotFound)
	})
}

func TestDueGrants(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("A")
		connect := func(name string, keep time.Time) claviger.ConnectionID {
			c := a.connection(name)
			c.SecretPaths, c.Tags = nil, nil
			id := a.connect(c).ID
			f.in(a.workspace.Region, func(ctx context.Context, tx *store.Tx) error {
				return tx.PutGrant(ctx, a.scope, store.Grant{Connection: id, KeepAt: keep})
			})
			return id
		}
		now := f.time()
		idle := connect("idle", now.Add(-time.Minute))
		connect("later", now.Add(time.Minute))
		connect("never", time.Time{})
		for name, ttl := range map[string]time.Duration{"cut off": -time.Second, "running": time.Minute} {
			id := connect(name, time.Time{})
			g := ok(a.lease(id, "one", ttl))(t)
			if err := a.write(id, g.Fence, sending); err != nil {
				t.Fatal(err)
			}
		}
		due := ok(f.DueGrants(t.Context(), now, 10))(t)
		if len(due) != 2 || due[0].State != store.GrantSending || due[1].Connection != idle {
			t.Errorf("due: %+v", due)
		}
		if due := ok(f.DueGrants(t.Context(), now, 1))(t); len(due) != 1 {
			t.Errorf("a limit of one: %+v", due)
		}
	})
}

// A process has died with the lease, and the clock is set. PostgreSQL's own clock, which
// all nodes share, is not.
func TestAbuse_239_LeasesOutliveNoClock(t *testing.T) {
	for _, step := range []time.Duration{-time.Hour, -24 * time.Hour, time.Hour, 24 * time.Hour} {
		onEngines(t, func(t *testing.T, f *fixture) {
			a := f.tenant("A")
			id := a.connect(a.connection("crm")).ID
			g := ok(a.lease(id, "one", time.Minute))(t)
			err := a.write(id, g.Fence, func(g *store.Grant, _ time.Time) {
				g.State, g.RetryAt = store.GrantSending, f.time().Add(time.Minute)
			})
			if err != nil {
				t.Fatal(err)
			}
			f.pass(step)
			_, err = a.lease(id, "two", time.Minute)
			due := ok(f.DueGrants(t.Context(), f.time(), 10))(t)
			if f.Engine() == "postgres" {
				wants(t, err, store.ErrLeased)
				if len(due) != 0 {
					t.Errorf("%s: held, and due: %+v", step, due)
				}
				return
			}
			if err != nil {
				t.Errorf("%s: %v", step, err)
			}
			if err := a.release(id, g.Fence+1); err != nil {
				t.Errorf("%s: %v", step, err)
			}
			if due := ok(f.DueGrants(t.Context(), f.time(), 10))(t); len(due) != 1 {
				t.Errorf("%s: due: %+v", step, due)
			}
		})
	}
}

func TestOAuthClients(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a, b := f.tenant("A"), f.tenant("B")
		put := func(s claviger.Scope, sealed string) (c store.OAuthClient, err error) {
			err = f.try("", func(ctx context.Context, tx *store.Tx) (err error) {
				c, err = tx.PutOAuthClient(ctx, s, "acme", "oauth", func(next store.OAuthClient, _ claviger.Sealed) (store.OAuthClient, claviger.Sealed, error) {
					next.ClientID, next.SecretKeys, next.Certificate, next.KeyID = "client-1", []string{"clientSecret"}, []byte("PEM"), "kid"
					return next, claviger.Sealed(sealed), nil
				})
				return err
			})
			return c, err
		}
		first := ok(put(a.scope, "first"))(t)
		second := ok(put(a.scope, "second"))(t)
		if first.Version != 1 || second.Version != 2 || !second.CreatedAt.Equal(first.CreatedAt) {
			t.Errorf("%+v, %+v", first, second)
		}
		got, sealed, err := f.OAuthClient(t.Context(), a.bound, "acme", "oauth")
		if err != nil || string(sealed) != "second" || !reflect.DeepEqual(got, second) {
			t.Errorf("%+v %q %v", got, sealed, err)
		}
		_, err = put(a.bound, "third")
		wants(t, err, store.ErrNotFound)
		_, _, err = f.OAuthClient(t.Context(), b.scope, "acme", "oauth")
		wants(t, err, store.ErrNotFound)
		remove := func(s claviger.Scope) error {
			return f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.DeleteOAuthClient(ctx, s, "acme", "oauth") })
		}
		wants(t, remove(b.scope), store.ErrNotFound)
		if err := remove(a.scope); err != nil {
			t.Fatal(err)
		}
		wants(t, remove(a.scope), store.ErrNotFound)
		_, _, err = f.OAuthClient(t.Context(), a.scope, "acme", "oauth")
		wants(t, err, store.ErrNotFound)
		if again := ok(put(a.scope, "again"))(t); again.Version <= second.Version {
			t.Errorf("a version was used twice: %+v", again)
		}
	})
}
