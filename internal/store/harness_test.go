package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/postgres"
	"claviger/internal/store"
)

// engines are what every suite runs on; open answers the URL of an empty database.
var engines = []struct {
	name string
	url  func(testing.TB) string
}{
	{"sqlite", func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "claviger.db") }},
	{"postgres", postgres.URL},
}

// onEngines runs a test on an empty database of each engine.
func onEngines(t *testing.T, test func(*testing.T, *fixture)) {
	t.Helper()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { test(t, open(t, store.Config{URL: e.url(t)})) })
	}
}

// fixture is a store with a clock that stands until it is moved.
type fixture struct {
	*store.DB
	t   testing.TB
	now atomic.Int64 // milliseconds
}

func open(t testing.TB, c store.Config) *fixture {
	t.Helper()
	f := &fixture{t: t}
	f.now.Store(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC).UnixMilli())
	c.Now = f.time
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	f.DB = db
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return f
}

func (f *fixture) time() time.Time { return time.UnixMilli(f.now.Load()).UTC() }

func (f *fixture) pass(d time.Duration) { f.now.Add(d.Milliseconds()) }

func newID(t testing.TB, prefix string, now time.Time) string {
	t.Helper()
	id, err := claviger.NewID(prefix, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (f *fixture) id(prefix string) string { return newID(f.t, prefix, f.time()) }

// in runs a transaction in a region that must succeed.
func (f *fixture) in(region claviger.RegionID, fn func(context.Context, *store.Tx) error) {
	f.t.Helper()
	if err := f.try(region, fn); err != nil {
		f.t.Fatalf("transaction: %v", err)
	}
}

// do is in the control database.
func (f *fixture) do(fn func(context.Context, *store.Tx) error) {
	f.t.Helper()
	f.in("", fn)
}

func (f *fixture) try(region claviger.RegionID, fn func(context.Context, *store.Tx) error) error {
	ctx := f.t.Context()
	return f.InTx(ctx, region, func(tx *store.Tx) error { return fn(ctx, tx) })
}

// wants fails the test unless err is the wanted one.
func wants(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// conflict fails the test unless err is a conflict on the field.
func conflict(t testing.TB, err error, field string) {
	t.Helper()
	var c *store.Conflict
	if !errors.As(err, &c) || !errors.Is(err, store.ErrConflict) {
		t.Fatalf("got error %v, want a conflict on %q", err, field)
	}
	if c.Field != field {
		t.Fatalf("conflict on %q, want %q", c.Field, field)
	}
}

func ok[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		return v
	}
}

// tenant is an organization with one workspace.
type tenant struct {
	f         *fixture
	org       claviger.Organization
	workspace claviger.Workspace
	scope     claviger.Scope // all of the organization
	bound     claviger.Scope // the workspace alone
}

func (f *fixture) tenant(name string) *tenant {
	f.t.Helper()
	return f.tenantIn(name, claviger.DefaultRegion)
}

func (f *fixture) tenantIn(name string, region claviger.RegionID) *tenant {
	f.t.Helper()
	t := &tenant{f: f, org: claviger.Organization{ID: claviger.OrganizationID(f.id("org")), Name: name, CreatedAt: f.time()}}
	t.scope = claviger.Authenticated(t.org.ID, "")
	f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateOrganization(ctx, t.org) })
	t.workspace = t.addWorkspace("default", region)
	t.bound = claviger.Authenticated(t.org.ID, t.workspace.ID)
	return t
}

func (t *tenant) addWorkspace(name string, region claviger.RegionID) claviger.Workspace {
	t.f.t.Helper()
	w := claviger.Workspace{
		ID: claviger.WorkspaceID(t.f.id("ws")), Organization: t.org.ID, Name: name, Canonical: name, Region: region,
		Version: 1, CreatedAt: t.f.time(), UpdatedAt: t.f.time(),
	}
	t.f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateWorkspace(ctx, t.scope, w) })
	return w
}

// connection answers a connection of the tenant that is in no database yet, with
// every field set.
func (t *tenant) connection(name string) claviger.Connection {
	now := t.f.time()
	return claviger.Connection{
		ID: claviger.ConnectionID(t.f.id("conn")), Organization: t.org.ID, Workspace: t.workspace.ID, Owner: "usr_owner",
		Connector: "acme", ConnectorVersion: 3, AuthMethod: "key", Name: name, Usage: claviger.UsageAPI, Visibility: claviger.VisibilityWorkspace,
		Status: claviger.StatusActive, Health: claviger.HealthHealthy, LastError: &claviger.Fault{Code: "unreachable", Message: "The vendor did not answer."},
		Account: claviger.Account{ID: "42", Name: "Ärger & Söhne"}, GrantedScopes: []string{"contacts.read", "a b"},
		Settings: map[string]string{"subdomain": "x"}, Metadata: map[string]string{"k": `"quoted" <&>`}, Tags: map[string]string{"env": "prod", "team": "a"},
		SecretKeys: []string{"apiKey"}, SecretPaths: []string{"shared/acme/key"}, Revision: 1, Destination: "https://x.acme.example",
		Version: 1, ExpiresAt: now.Add(time.Hour), RefreshAt: now.Add(time.Minute), LastUsedAt: now.Add(-time.Hour), LastCheckedAt: now, CreatedAt: now, UpdatedAt: now,
	}
}

// connect keeps a connection.
func (t *tenant) connect(c claviger.Connection) claviger.Connection {
	t.f.t.Helper()
	t.f.in(t.workspace.Region, func(ctx context.Context, tx *store.Tx) error {
		return tx.CreateConnection(ctx, t.scope, c, claviger.Sealed("sealed "+c.Name))
	})
	return c
}

func (t *tenant) update(id claviger.ConnectionID, change func(*claviger.Connection)) (claviger.Connection, error) {
	var out claviger.Connection
	err := t.f.try(t.workspace.Region, func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = tx.UpdateConnection(ctx, t.scope, id, func(old claviger.Connection, sealed claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
			change(&old)
			return old, sealed, nil
		})
		return err
	})
	return out, err
}
