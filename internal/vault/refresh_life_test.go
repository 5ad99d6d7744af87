package vault_test

import (
	"context"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/gate"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// changeMidway changes a new connection while its token is on the way to the vendor, and
// answers what became of the use that sent it.
func (n *node) changeMidway(change func(*claviger.Connection)) (claviger.ConnectionID, error) {
	s := n.stand
	id, _ := s.connect(time.Hour)
	s.pass(2 * time.Hour)
	reached, hold := make(chan struct{}, 1), make(chan struct{})
	s.server.Next(oauthserver.Fault{Reached: reached, Hold: hold})
	ended := make(chan error)
	go func() {
		_, err := n.use(s.t.Context(), id)
		ended <- err
	}()
	<-reached
	n.change(id, change)
	close(hold)
	return id, <-ended
}

// Deleting wins over a refresh on its way, and what the vendor issued is revoked.
func TestAbuse_090_DeletedWhileRefreshing(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		s := newStand(t, url, strict, 1, nil)
		n := s.nodes[0]
		id, err := n.changeMidway(func(c *claviger.Connection) { c.Status = claviger.StatusRevoked })
		if code(err) != "connection_revoked" {
			t.Errorf("who waited: %v", err)
		}
		if live := s.server.Live(); live != 0 || len(s.server.Received("/revoke")) != 2 {
			t.Errorf("%d refresh tokens live after %d revocations", live, len(s.server.Received("/revoke")))
		}
		if conn, sealed := n.row(id); conn.Status != claviger.StatusRevoked || sealed != nil {
			t.Errorf("status %s, %d bytes", conn.Status, len(sealed))
		}
	})
}

// Switching off stops the use, not the storing: the old token is used up already.
func TestDisabledWhileRefreshing(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		s := newStand(t, url, strict, 1, nil)
		n := s.nodes[0]
		id, err := n.changeMidway(func(c *claviger.Connection) { c.Status = claviger.StatusDisabled })
		if code(err) != "connection_disabled" {
			t.Errorf("who waited: %v", err)
		}
		s.pass(2 * time.Hour)
		if _, err := n.use(t.Context(), id); code(err) != "connection_disabled" || s.sent() != 1 {
			t.Errorf("switched off: %v after %d requests", err, s.sent())
		}
		n.change(id, func(c *claviger.Connection) { c.Status = claviger.StatusActive })
		if token := n.must(id); token == "at_first" || s.sent() != 2 {
			t.Errorf("switched on: %q after %d requests", token, s.sent())
		}
	})
}

// Another row's client, put in the place of this one, does not open, and nothing is
// sent.
func TestAbuse_097_SwappedClientRow(t *testing.T) {
	s := newStand(t, sqlite(t), strict, 1, nil)
	id, _ := s.connect(time.Hour)
	n := s.nodes[0]
	resource := claviger.Resource{Type: "oauth_client", ID: "other", Connector: "other", Organization: s.caller.Scope.Organization()}
	err := n.gate.Change(t.Context(), s.caller, claviger.ConnectorsWrite, resource, func(tx *store.Tx, ticket *gate.Ticket) error {
		var foreign claviger.Sealed
		_, err := tx.PutOAuthClient(t.Context(), s.caller.Scope, "other", "oauth", func(next store.OAuthClient, _ claviger.Sealed) (store.OAuthClient, claviger.Sealed, error) {
			var err error
			next.ClientID = "other"
			foreign, err = n.vault.SealClient(t.Context(), ticket, next, claviger.Credentials{vault.ClientSecret: claviger.NewSecretString("other")})
			return next, foreign, err
		})
		if err != nil {
			return err
		}
		_, err = tx.PutOAuthClient(t.Context(), s.caller.Scope, "acme", "oauth", func(next store.OAuthClient, _ claviger.Sealed) (store.OAuthClient, claviger.Sealed, error) {
			return next, foreign, nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.pass(2 * time.Hour)
	if _, err := n.use(t.Context(), id); code(err) != "credential_unreadable" || s.sent() != 0 {
		t.Errorf("%v after %d requests", err, s.sent())
	}
}

func TestClientCredentialsAreMintedAnew(t *testing.T) {
	s := newStand(t, sqlite(t), oauthserver.Policy{}, 1, func(o *claviger.OAuth) { o.Grant = claviger.GrantClientCredentials })
	n := s.nodes[0]
	id := s.store(claviger.Tokens{Access: claviger.NewSecretString("at_first"), Type: "Bearer", IssuedAt: s.now(), ExpiresAt: s.now().Add(time.Hour)})
	s.pass(2 * time.Hour)
	s.server.Next(oauthserver.Fault{Reset: true})
	if token := n.must(id); token == "at_first" {
		t.Error("the old token")
	}
	requests := s.server.Received("/token")
	if last := requests[len(requests)-1].Form; len(requests) != 2 || last.Get("grant_type") != "client_credentials" || last.Get("scope") != "contacts.read contacts.write" {
		t.Errorf("%d requests, the last %v", len(requests), last)
	}
}

func TestNoRefreshToken(t *testing.T) {
	s := newStand(t, sqlite(t), strict, 1, nil)
	n := s.nodes[0]
	id := s.store(claviger.Tokens{Access: claviger.NewSecretString("at_first"), Type: "Bearer", IssuedAt: s.now(), ExpiresAt: s.now().Add(time.Hour)})
	s.pass(59 * time.Minute)
	if token := n.must(id); token != "at_first" {
		t.Errorf("%q", token)
	}
	s.pass(2 * time.Minute)
	if _, err := n.use(t.Context(), id); code(err) != "reauthorization_required" || s.sent() != 0 {
		t.Errorf("%v after %d requests", err, s.sent())
	}
	n.dead(id, "no_refresh_token")
}

// Tokens that die of idleness are refreshed in the background, others are left alone.
func TestTokensThatDieOfIdleness(t *testing.T) {
	s := newStand(t, sqlite(t), strict, 1, func(o *claviger.OAuth) { o.Refresh.IdleLimit = 30 * 24 * time.Hour })
	n := s.nodes[0]
	id, _ := s.connect(time.Hour)
	for day := 1; day <= 3; day++ {
		s.pass(24 * time.Hour)
		due, err := n.db.DueGrants(t.Context(), s.now(), 10)
		if err != nil || len(due) != 1 || due[0].Connection != id {
			t.Fatalf("day %d: %+v, %v", day, due, err)
		}
		if err := n.vault.Tend(t.Context(), due[0]); err != nil {
			t.Fatal(err)
		}
		if due, _ := n.db.DueGrants(t.Context(), s.now(), 10); len(due) != 0 || s.sent() != day {
			t.Errorf("day %d: still due %+v after %d requests", day, due, s.sent())
		}
	}
	n.change(id, func(c *claviger.Connection) { c.Status = claviger.StatusDisabled })
	s.pass(24 * time.Hour)
	for range 2 {
		due, err := n.db.DueGrants(t.Context(), s.now(), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range due {
			if err := n.vault.Tend(context.WithoutCancel(t.Context()), g); err != nil {
				t.Fatal(err)
			}
		}
	}
	if due, _ := n.db.DueGrants(t.Context(), s.now(), 10); len(due) != 0 || s.sent() != 3 {
		t.Errorf("switched off: %+v after %d requests", due, s.sent())
	}
}
