package vault_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/clavigertest/postgres"
	"claviger/internal/gate"
	"claviger/internal/oauth"
	"claviger/internal/seal"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// onEngines runs a test on an empty database of each engine.
func onEngines(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "vault.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, postgres.URL(t)) })
}

// stand is one organization's connection at a scripted vendor, and the nodes that use it.
type stand struct {
	t         *testing.T
	url       string
	server    *oauthserver.Server
	method    *claviger.AuthMethod
	kek       seal.KEK
	masterKey []byte
	moved     atomic.Int64 // the clock's distance from the real one
	caller    claviger.Caller
	system    claviger.Caller
	ws        claviger.WorkspaceID
	nodes     []*node
	events    []claviger.EventType
	mu        sync.Mutex
}

// node is one process's share: its own store, gate and vault.
type node struct {
	*stand
	db    *store.DB
	gate  *gate.Gate
	vault *vault.Vault
}

// newStand starts a vendor of the policy and opens count nodes on the database. change,
// if not nil, edits the connector's oauth2 section.
func newStand(t *testing.T, url string, policy oauthserver.Policy, count int, change func(*claviger.OAuth)) *stand {
	t.Helper()
	s := &stand{t: t, url: url, masterKey: make([]byte, 32)}
	_, _ = rand.Read(s.masterKey) // never fails
	kek, err := seal.LocalKEK(claviger.NewSecret(s.masterKey))
	if err != nil {
		t.Fatal(err)
	}
	s.kek = kek
	policy.Now = s.now
	s.server = oauthserver.Start(t, policy)
	rules := s.server.Rules()
	if change != nil {
		change(&rules)
	}
	s.method = &claviger.AuthMethod{Key: "oauth", Type: claviger.AuthOAuth2, OAuth: &rules}
	for range count {
		s.open(vault.Refresh{})
	}
	if count > 0 {
		s.found()
	}
	return s
}

func (s *stand) now() time.Time { return time.Now().Add(time.Duration(s.moved.Load())) }

// pass moves the clock of the nodes and of the vendor.
func (s *stand) pass(d time.Duration) { s.moved.Add(int64(d)) }

// open opens one more node. Of r, what is set is used.
func (s *stand) open(r vault.Refresh) *node {
	s.t.Helper()
	return s.openSkewed(r, 0)
}

// openSkewed opens a node whose clock is ahead of the others'.
func (s *stand) openSkewed(r vault.Refresh, ahead time.Duration) *node {
	s.t.Helper()
	now := func() time.Time { return s.now().Add(ahead) }
	n := &node{stand: s}
	var err error
	if n.db, err = store.Open(s.t.Context(), store.Config{URL: s.url, Now: now}); err != nil {
		s.t.Fatal(err)
	}
	chain, err := seal.NewChain(claviger.NewSecret(make([]byte, 32)))
	if err != nil {
		s.t.Fatal(err)
	}
	if n.gate, err = gate.Open(s.t.Context(), gate.Config{Store: n.db, Chain: chain, Mode: gate.ModeRelaxed}); err != nil {
		s.t.Fatal(err)
	}
	if n.vault, err = vault.Open(s.t.Context(), vault.Config{Store: n.db, KEK: s.kek, Now: now}); err != nil {
		s.t.Fatal(err)
	}
	r.Gate, r.OAuth = n.gate, &oauth.Client{Egress: s.server.Egress(s.t, nil), Now: now, Random: rand.Reader}
	r.Caller = func(claviger.OrganizationID) claviger.Caller { return s.system }
	r.Method = func(context.Context, claviger.Scope, *claviger.Connection) (*claviger.AuthMethod, error) {
		return s.method, nil
	}
	r.Announce = func(_ context.Context, _ *store.Tx, event claviger.EventType, _ *claviger.Connection) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, event)
		return nil
	}
	if err := n.vault.KeepFresh(r); err != nil {
		s.t.Fatal(err)
	}
	s.nodes = append(s.nodes, n)
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(n.vault.Close(ctx), n.gate.Close(ctx), n.db.Close()); err != nil {
			s.t.Error(err)
		}
	})
	return n
}

// found makes the organization and its OAuth client.
func (s *stand) found() {
	s.t.Helper()
	org := claviger.OrganizationID(newID(s.t, claviger.PrefixOrganization))
	s.ws = claviger.WorkspaceID(newID(s.t, claviger.PrefixWorkspace))
	s.caller = claviger.Caller{
		Kind: claviger.CallerAPIKey, ID: "key_test", User: "usr_test", Scope: claviger.Authenticated(org, ""),
		Permissions: claviger.RoleOwner.Permissions(),
	}
	rights, _ := claviger.PermissionsOf(claviger.ConnectionsRefresh)
	s.system = claviger.Caller{Kind: claviger.CallerSystem, ID: "system", Scope: s.caller.Scope, Permissions: rights}
	n := s.nodes[0]
	err := n.db.InTx(s.t.Context(), "", func(tx *store.Tx) error {
		if err := tx.CreateOrganization(s.t.Context(), claviger.Organization{ID: org, Name: "a", CreatedAt: s.now()}); err != nil {
			return err
		}
		return tx.CreateWorkspace(s.t.Context(), s.caller.Scope, claviger.Workspace{
			ID: s.ws, Organization: org, Name: "default", Canonical: "default", Region: claviger.DefaultRegion, CreatedAt: s.now(), UpdatedAt: s.now(),
		})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := n.vault.Prepare(s.t.Context(), org); err != nil {
		s.t.Fatal(err)
	}
	resource := claviger.Resource{Type: "oauth_client", ID: "acme", Connector: "acme", Organization: org}
	err = n.gate.Change(s.t.Context(), s.caller, claviger.ConnectorsWrite, resource, func(tx *store.Tx, ticket *gate.Ticket) error {
		_, err := tx.PutOAuthClient(s.t.Context(), s.caller.Scope, "acme", "oauth", func(next store.OAuthClient, _ claviger.Sealed) (store.OAuthClient, claviger.Sealed, error) {
			next.ClientID, next.Destination = s.server.Client.ID, vault.ClientPlaces(next, s.method)
			sealed, err := n.vault.SealClient(s.t.Context(), ticket, next, claviger.Credentials{vault.ClientSecret: s.server.Client.Secret})
			return next, sealed, err
		})
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// connect stores a connection whose first tokens were issued now and live for lifetime,
// and answers its id and its refresh token.
func (s *stand) connect(lifetime time.Duration) (claviger.ConnectionID, string) {
	s.t.Helper()
	refresh := s.server.Grant("contacts.read", "contacts.write")
	tokens := claviger.Tokens{
		Access: claviger.NewSecretString("at_first"), Refresh: claviger.NewSecretString(refresh), Type: "Bearer",
		IssuedAt: s.now(), ExpiresAt: s.now().Add(lifetime), Scopes: []string{"contacts.read", "contacts.write"},
	}
	return s.store(tokens), refresh
}

func (s *stand) store(tokens claviger.Tokens) claviger.ConnectionID {
	s.t.Helper()
	n := s.nodes[0]
	conn := &claviger.Connection{
		ID: claviger.ConnectionID(newID(s.t, claviger.PrefixConnection)), Organization: s.caller.Scope.Organization(), Workspace: s.ws,
		Owner: "usr_somebody", Connector: "acme", ConnectorVersion: 1, AuthMethod: "oauth", Usage: claviger.UsageAPI,
		Visibility: claviger.VisibilityWorkspace, Status: claviger.StatusActive, Health: claviger.HealthHealthy,
		Revision: 1, Version: 1, Destination: "acme https://acme.example", CreatedAt: s.now(), UpdatedAt: s.now(),
	}
	conn.Name = string(conn.ID)
	creds, grant := n.vault.Issued(conn, s.method.OAuth, tokens, []string{"contacts.read", "contacts.write"}, nil)
	err := n.gate.Change(s.t.Context(), s.caller, claviger.ConnectionsCreate, conn.Resource(), func(tx *store.Tx, ticket *gate.Ticket) error {
		sealed, err := n.vault.Seal(s.t.Context(), ticket, conn, creds)
		if err != nil {
			return err
		}
		if err := tx.CreateConnection(s.t.Context(), s.caller.Scope, *conn, sealed); err != nil {
			return err
		}
		return tx.PutGrant(s.t.Context(), s.caller.Scope, grant)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return conn.ID
}

// row reads a connection as it is stored.
func (n *node) row(id claviger.ConnectionID) (claviger.Connection, claviger.Sealed) {
	n.t.Helper()
	conn, sealed, err := n.db.Connection(n.t.Context(), n.caller.Scope, id)
	if err != nil {
		n.t.Error(err)
	}
	return conn, sealed
}

func (n *node) grant(id claviger.ConnectionID) store.Grant {
	n.t.Helper()
	g, err := n.db.Grant(n.t.Context(), n.caller.Scope, id)
	if err != nil {
		n.t.Error(err)
	}
	return g
}

// use opens the connection for a call and answers the access token.
func (n *node) use(ctx context.Context, id claviger.ConnectionID) (string, error) {
	conn, sealed := n.row(id)
	if refusal := conn.Status.Refusal(); refusal != nil {
		return "", refusal // as the core does, before it asks for a ticket
	}
	return n.useRow(ctx, conn, sealed)
}

// useRow is use for a node that remembers the row from before.
func (n *node) useRow(ctx context.Context, conn claviger.Connection, sealed claviger.Sealed) (string, error) {
	ticket, err := n.gate.Admit(ctx, n.caller, claviger.ConnectionsProxy, conn.Resource(), "")
	if err != nil {
		return "", err
	}
	defer ticket.Done(gate.Ending{})
	creds, err := n.vault.Fresh(ctx, ticket, &conn, sealed)
	if err != nil {
		return "", err
	}
	if _, ok := creds[vault.RefreshToken]; ok {
		n.t.Error("a call was handed the refresh token")
	}
	return reveal(creds[vault.AccessToken]), nil
}

// renew tells the vault that the vendor refused the token of a row.
func (n *node) renew(ctx context.Context, conn claviger.Connection) error {
	ticket, err := n.gate.Admit(ctx, n.caller, claviger.ConnectionsProxy, conn.Resource(), "")
	if err != nil {
		return err
	}
	defer ticket.Done(gate.Ending{})
	return n.vault.Renew(ctx, ticket, &conn)
}

// must is use that has to succeed.
func (n *node) must(id claviger.ConnectionID) string {
	n.t.Helper()
	token, err := n.use(n.t.Context(), id)
	if err != nil {
		n.t.Fatalf("using the connection: %v", err)
	}
	return token
}

// settled waits until no refresh of the node runs, by asking for one that has to wait
// for it.
func (n *node) settled(id claviger.ConnectionID) {
	n.t.Helper()
	due := store.DueGrant{Organization: n.caller.Scope.Organization(), Connection: id}
	if err := n.vault.Tend(n.t.Context(), due); err != nil {
		n.t.Logf("tending: %v", err)
	}
}

// change changes a connection's row as a person would.
func (n *node) change(id claviger.ConnectionID, change func(*claviger.Connection)) {
	n.t.Helper()
	err := n.db.InTx(n.t.Context(), claviger.DefaultRegion, func(tx *store.Tx) error {
		_, err := tx.UpdateConnection(n.t.Context(), n.caller.Scope, id, func(c claviger.Connection, s claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
			change(&c)
			return c, s, nil
		})
		return err
	})
	if err != nil {
		n.t.Error(err)
	}
}

func (s *stand) announced(event claviger.EventType) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.events, event)
}

// flushed answers the ledger's entries of refreshes, newest first, once the last has an
// end.
func (n *node) flushed(id claviger.ConnectionID) []claviger.Entry {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(gate.Window); ; {
		list, err := n.db.Ledger(ctx, n.caller.Scope, store.LedgerFilter{Connection: id, Verb: claviger.ConnectionsRefresh}, store.Page{Limit: 100})
		if err != nil {
			n.t.Fatal(err)
		}
		if len(list) > 0 && list[0].Outcome != claviger.OutcomeAllowed {
			tick.Stop()
			return list
		}
		<-tick.C
	}
}

func reveal(s claviger.Secret) (text string) {
	s.Use(func(b []byte) { text = string(b) })
	return text
}

// code answers the code of an *Error, "" for nil.
func code(err error) string {
	if err == nil {
		return ""
	}
	return claviger.AsError(err).FineCode()
}
