package authn

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/internal/seal"
	"claviger/internal/store"
)

// book is a Ledger on the real store: it decides by permission, runs the change in a
// transaction and keeps the entries in memory.
type book struct {
	db      *store.DB
	mu      sync.Mutex
	entries []claviger.Entry
}

func (b *book) Record(_ context.Context, e claviger.Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, e)
	return nil
}

func (b *book) Check(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource) error {
	if c.May(v) && c.Scope.Covers(r.Organization, r.Workspace) {
		return nil
	}
	_ = b.Record(ctx, claviger.Entry{ActorKind: c.Kind, ActorID: c.ID, Verb: v, Outcome: claviger.OutcomeDenied})
	return claviger.Errorf(claviger.KindDenied, "permission_denied", "This needs %s.", v)
}

func (b *book) Change(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource, fn func(*store.Tx) error) error {
	if err := b.Check(ctx, c, v, r); err != nil {
		return err
	}
	if err := b.db.InTx(ctx, "", fn); err != nil {
		return err
	}
	return b.Record(ctx, claviger.Entry{ActorKind: c.Kind, ActorID: c.ID, Verb: v, ResourceID: r.ID, Outcome: claviger.OutcomeSucceeded})
}

func (b *book) last(t *testing.T) claviger.Entry {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.entries) == 0 {
		t.Fatal("the ledger is empty")
	}
	return b.entries[len(b.entries)-1]
}

// box seals with a real keyset.
type box struct{ keys *seal.Keyset }

func (b box) binding(name string) claviger.Binding {
	return claviger.Binding{Purpose: "instance", ID: name}
}

func (b box) SealInstance(name string, plaintext []byte) ([]byte, error) {
	return b.keys.Seal(b.binding(name), plaintext)
}

func (b box) OpenInstance(name string, sealed []byte) ([]byte, error) {
	return b.keys.Open(b.binding(name), sealed)
}

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// env is a first-started instance.
type env struct {
	*Authority
	db     *store.DB
	path   string
	ledger *book
	box    box
	clock  *clock
	first  *Bootstrapped
	scope  claviger.Scope
}

var here = claviger.Request{ID: "req_test", Address: netip.MustParseAddr("192.0.2.1")}

func start(t testing.TB) *env {
	t.Helper()
	e := &env{path: filepath.Join(t.TempDir(), "claviger.db"), clock: &clock{t: time.Now()}}
	e.db = openStore(t, e.path, e.clock)
	keys, err := seal.NewKeyset(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e.box, e.ledger = box{keys}, &book{db: e.db}
	if e.first, err = Bootstrap(t.Context(), e.db, e.ledger, BootstrapConfig{Now: e.clock.now}); err != nil {
		t.Fatal(err)
	}
	e.scope = claviger.Authenticated(e.first.Organization, "")
	e.Authority = e.node(t, e.db)
	return e
}

func openStore(t testing.TB, path string, c *clock) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + path, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // a test that has closed it takes no part
		if db.Ready(context.Background()) == nil {
			_ = db.Close()
		}
	})
	return db
}

// node is one more process on the same database.
func (e *env) node(t testing.TB, db *store.DB) *Authority {
	t.Helper()
	a, err := New(t.Context(), Config{Store: db, Ledger: e.ledger, Sealer: e.box, PublicURL: "https://claviger.example/", Now: e.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func text(s claviger.Secret) string {
	var out string
	s.Use(func(b []byte) { out = string(b) })
	return out
}

func (e *env) owner(t *testing.T) claviger.Caller {
	t.Helper()
	c, err := e.AuthenticateToken(t.Context(), text(e.first.APIKey), here)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (e *env) operator(t *testing.T) (string, claviger.Caller) {
	t.Helper()
	m, err := e.MintOperator(t.Context(), e.first.ClientID, e.first.ClientSecret, here)
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.AuthenticateToken(t.Context(), text(m.Token), here)
	if err != nil {
		t.Fatal(err)
	}
	return text(m.Token), c
}

// key stores an API key of the owner, changed by the caller of key.
func (e *env) key(t *testing.T, change func(*claviger.APIKey)) (token string, id claviger.KeyID) {
	t.Helper()
	secret, hash, hint, err := NewAPIKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name, err := claviger.NewID(claviger.PrefixKey, e.clock.now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := claviger.APIKey{
		ID: claviger.KeyID(name), Organization: e.first.Organization, User: e.first.User, CreatedBy: string(e.first.User),
		Name: name, Hash: hash, Hint: hint, Permissions: claviger.RoleOwner.Permissions(), CreatedAt: e.clock.now(),
	}
	if change != nil {
		change(&k)
	}
	e.tx(t, func(tx *store.Tx) error { return tx.CreateAPIKey(t.Context(), e.scope, k) })
	return text(secret), k.ID
}

func (e *env) tx(t *testing.T, fn func(*store.Tx) error) {
	t.Helper()
	if err := e.db.InTx(t.Context(), "", fn); err != nil {
		t.Fatal(err)
	}
}

// refused asserts that a token gets the one 401 there is.
func (e *env) refused(t testing.TB, a *Authority, name, token string) {
	t.Helper()
	_, err := a.AuthenticateToken(t.Context(), token, here)
	is401(t, name, err)
}

func is401(t testing.TB, name string, err error) {
	t.Helper()
	var c *claviger.Error
	if !errors.As(err, &c) || c.Kind != claviger.KindUnauthenticated {
		t.Errorf("%s: %v", name, err)
	}
}

func request(t *testing.T, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}
