package vault_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// storm lets every node's callers use the connection at once and answers the tokens they
// got, failing the test for each error.
func (s *stand) storm(id claviger.ConnectionID, callers int) map[string]int {
	s.t.Helper()
	var mu sync.Mutex
	tokens := map[string]int{}
	start := make(chan struct{})
	var wg sync.WaitGroup
	for _, n := range s.nodes {
		conn, sealed := n.row(id) // every node remembers the row from before
		for range callers {
			wg.Go(func() {
				<-start
				token, err := n.useRow(s.t.Context(), conn, sealed)
				if err != nil {
					s.t.Errorf("a caller saw: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				tokens[token]++
			})
		}
	}
	close(start)
	wg.Wait()
	return tokens
}

func TestAbuse_071_OneRefreshPerRotation(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		const rounds, callers = 10, 50
		s := newStand(t, url, oauthserver.Policy{Rotates: true, RevokeFamily: true}, 3, nil)
		id, _ := s.connect(time.Hour)
		for round := 1; round <= rounds; round++ {
			s.pass(2 * time.Hour)
			hold := make(chan struct{})
			s.server.Next(oauthserver.Fault{Hold: hold})
			time.AfterFunc(10*time.Millisecond, func() { close(hold) })
			tokens := s.storm(id, callers)
			if len(tokens) != 1 || tokens["at_first"] != 0 {
				t.Fatalf("round %d: the callers used %d tokens", round, len(tokens))
			}
			rotations, reuses := s.server.Refreshed()
			if sent := len(s.server.Received("/token")); rotations != round || reuses != 0 || sent != round {
				t.Fatalf("round %d: %d rotations, %d reuses, %d requests", round, rotations, reuses, sent)
			}
		}
		if g := s.nodes[0].grant(id); g.Generation != rounds || g.State != store.GrantIdle || !g.Rotates {
			t.Errorf("afterwards: %+v", g)
		}
		if s.server.Live() != 1 {
			t.Errorf("%d refresh tokens are alive", s.server.Live())
		}
	})
}

// A vendor that is slower than the lease: the heartbeat keeps it.
func TestAbuse_072_SlowerThanTheLease(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		const lease = 2 * time.Second
		s := newStand(t, url, oauthserver.Policy{Rotates: true, RevokeFamily: true}, 0, nil)
		for range 3 {
			s.open(vault.Refresh{Lease: lease})
		}
		s.found()
		id, _ := s.connect(time.Hour)
		s.pass(2 * time.Hour)
		reached, hold := make(chan struct{}, 1), make(chan struct{})
		s.server.Next(oauthserver.Fault{Reached: reached, Hold: hold})
		stormed := make(chan map[string]int, 1)
		go func() { stormed <- s.storm(id, 20) }()
		<-reached
		begin := s.nodes[0].grant(id).LeaseUntil
		until(t, "the lease lasts once more as long", func() bool { return !s.nodes[0].grant(id).LeaseUntil.Before(begin.Add(lease)) })
		close(hold)
		if tokens := <-stormed; len(tokens) != 1 {
			t.Fatalf("%d tokens", len(tokens))
		}
		if rotations, reuses := s.server.Refreshed(); rotations != 1 || reuses != 0 {
			t.Fatalf("%d rotations, %d reuses", rotations, reuses)
		}
		if g := s.nodes[0].grant(id); g.Fence > 2 {
			t.Errorf("the lease changed hands %d times for one refresh", g.Fence)
		}
	})
}

// While the old token lives nobody waits, and one refresh runs in the background.
func TestDueTokensAreRefreshedInTheBackground(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		s := newStand(t, url, oauthserver.Policy{Rotates: true}, 1, nil)
		id, _ := s.connect(time.Hour)
		n := s.nodes[0]
		s.pass(50 * time.Minute)
		if token := n.must(id); token != "at_first" || len(s.server.Received("/token")) != 0 {
			t.Fatalf("not due: %q and %d requests", token, len(s.server.Received("/token")))
		}
		s.pass(5 * time.Minute)
		reached, hold := make(chan struct{}, 1), make(chan struct{})
		s.server.Next(oauthserver.Fault{Reached: reached, Hold: hold})
		if token := n.must(id); token != "at_first" {
			t.Fatalf("due: %q", token)
		}
		<-reached
		if token := n.must(id); token != "at_first" {
			t.Fatalf("on the way: %q", token)
		}
		close(hold)
		n.settled(id)
		if token := n.must(id); token == "at_first" || len(s.server.Received("/token")) != 1 {
			t.Fatalf("afterwards: %q and %d requests", token, len(s.server.Received("/token")))
		}
		conn, _ := n.row(id)
		if conn.Revision != 2 || !conn.ExpiresAt.After(s.now().Add(59*time.Minute)) || !conn.RefreshAt.Equal(conn.ExpiresAt.Add(-6*time.Minute)) {
			t.Errorf("the row: revision %d, expires %s, due %s", conn.Revision, conn.ExpiresAt, conn.RefreshAt)
		}
	})
}

func TestAbuse_098_TheCallerLeavesAndTheRefreshGoesOn(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		s := newStand(t, url, oauthserver.Policy{Rotates: true, RevokeFamily: true}, 1, nil)
		id, refresh := s.connect(time.Hour)
		n := s.nodes[0]
		s.pass(2 * time.Hour)
		reached, hold := make(chan struct{}, 1), make(chan struct{})
		s.server.Next(oauthserver.Fault{Reached: reached, Hold: hold})
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := n.use(ctx, id)
			left <- err
		}()
		<-reached
		leave()
		if err := <-left; code(err) != "refresh_in_progress" || !errors.Is(err, context.Canceled) {
			t.Fatalf("who left: %v", err)
		}
		close(hold)
		if token := n.must(id); token == "at_first" {
			t.Fatal("the old token")
		}
		if s.server.Alive(refresh) || s.server.Live() != 1 || len(s.server.Received("/token")) != 1 {
			t.Errorf("%d live, %d requests", s.server.Live(), len(s.server.Received("/token")))
		}
	})
}

func TestCallersWaitNoLongerThanTheyMay(t *testing.T) {
	s := newStand(t, "sqlite:"+t.TempDir()+"/vault.db", oauthserver.Policy{Rotates: true}, 0, nil)
	n := s.open(vault.Refresh{Wait: 50 * time.Millisecond})
	s.found()
	id, _ := s.connect(time.Hour)
	s.pass(2 * time.Hour)
	hold := make(chan struct{})
	s.server.Next(oauthserver.Fault{Hold: hold})
	_, err := n.use(t.Context(), id)
	if e := claviger.AsError(err); e.FineCode() != "refresh_in_progress" || e.Kind != claviger.KindTimeout || e.RetryAfter == 0 {
		t.Fatalf("%v", err)
	}
	close(hold)
	var token string
	until(t, "the tokens are there", func() bool { token, err = n.use(t.Context(), id); return err == nil })
	if token == "at_first" || len(s.server.Received("/token")) != 1 {
		t.Errorf("%q after %d requests", token, len(s.server.Received("/token")))
	}
}

// A caller that read the row before another node's refresh gets the new token and sends
// nothing.
func TestAbuse_099_TheRowIsReadAgain(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		s := newStand(t, url, oauthserver.Policy{Rotates: true, RevokeFamily: true}, 2, nil)
		id, _ := s.connect(time.Hour)
		one, two := s.nodes[0], s.nodes[1]
		conn, sealed := two.row(id)
		s.pass(2 * time.Hour)
		fresh := one.must(id)
		if token, err := two.useRow(t.Context(), conn, sealed); err != nil || token != fresh {
			t.Fatalf("%q, %v; the other node got %q", token, err, fresh)
		}
		if err := two.renew(t.Context(), conn); err != nil {
			t.Fatalf("a refused token that was replaced already: %v", err)
		}
		if sent := len(s.server.Received("/token")); sent != 1 {
			t.Errorf("%d requests", sent)
		}
	})
}

// What the vendor refuses although it has not expired is renewed, once for each
// revision, and not when it was issued a moment ago.
func TestAbuse_088_OneForcedRefreshPerRevision(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		s := newStand(t, url, oauthserver.Policy{Rotates: true, RevokeFamily: true}, 2, nil)
		id, _ := s.connect(time.Hour)
		s.pass(10 * time.Minute)
		conn, _ := s.nodes[0].row(id)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if err := s.nodes[i%2].renew(t.Context(), conn); err != nil {
					t.Errorf("renewing: %v", err)
				}
			})
		}
		wg.Wait()
		if sent := len(s.server.Received("/token")); sent != 1 {
			t.Fatalf("%d requests", sent)
		}
		young, _ := s.nodes[0].row(id)
		if err := s.nodes[0].renew(t.Context(), young); code(err) != "refresh_useless" {
			t.Errorf("a young token: %v", err)
		}
		if sent := len(s.server.Received("/token")); sent != 1 || young.Revision != 2 {
			t.Errorf("%d requests, revision %d", sent, young.Revision)
		}
	})
}

func TestEveryRefreshIsInTheLedger(t *testing.T) {
	s := newStand(t, "sqlite:"+t.TempDir()+"/vault.db", oauthserver.Policy{Rotates: true}, 1, nil)
	id, _ := s.connect(time.Hour)
	n := s.nodes[0]
	n.change(id, func(c *claviger.Connection) { c.Visibility = claviger.VisibilityPersonal })
	conn, _ := n.row(id)
	s.pass(2 * time.Hour)
	if err := n.vault.Tend(t.Context(), store.DueGrant{Organization: conn.Organization, Connection: id}); err != nil {
		t.Fatalf("somebody's personal connection: %v", err)
	}
	list := n.flushed(id)
	if len(list) == 0 {
		t.Fatal("no entry")
	}
	for _, e := range list {
		if e.ActorKind != claviger.CallerSystem || e.Outcome == claviger.OutcomeFailed {
			t.Errorf("%+v", e)
		}
	}
	if last := list[0]; last.StatusCode != http.StatusOK || last.Host == "" {
		t.Errorf("the end: status %d, host %q", last.StatusCode, last.Host)
	}
}
