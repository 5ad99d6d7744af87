package gate_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/seal"
	"claviger/internal/store"
)

// room is a gate over a real database of its own.
type room struct {
	db     *store.DB
	gate   *gate.Gate
	chain  *seal.Chain
	path   string
	anchor string
}

func newRoom(t *testing.T, mode gate.Mode) *room {
	t.Helper()
	dir := t.TempDir()
	chain, err := seal.NewChain(claviger.NewSecret(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	r := &room{chain: chain, path: filepath.Join(dir, "ledger.db"), anchor: filepath.Join(dir, "anchor.jsonl")}
	if r.db, err = store.Open(t.Context(), store.Config{URL: "sqlite:" + r.path, Now: clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.db.Close() })
	r.open(t, mode)
	return r
}

func (r *room) open(t *testing.T, mode gate.Mode) {
	t.Helper()
	g, err := gate.Open(t.Context(), gate.Config{Store: r.db, Chain: r.chain, Mode: mode, Anchor: gate.FileAnchor{Path: r.anchor}})
	if err != nil {
		t.Fatal(err)
	}
	r.gate = g
}

// close flushes the gate, so that everything written can be read.
func (r *room) close(t *testing.T) {
	t.Helper()
	if err := r.gate.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func (r *room) entries(t *testing.T, c claviger.Caller) []claviger.Entry {
	t.Helper()
	list, err := r.db.Ledger(t.Context(), c.Scope, store.LedgerFilter{}, store.Page{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// caller is somebody of an organization with a role's rights. Tests may make callers;
// in the program authentication alone does.
func caller(organization, workspace string, role claviger.Role) claviger.Caller {
	return claviger.Caller{
		Kind: claviger.CallerAPIKey, ID: "key_" + organization, User: claviger.UserID("usr_" + organization), Role: role,
		Scope:       claviger.Authenticated(claviger.OrganizationID(organization), claviger.WorkspaceID(workspace)),
		Permissions: role.Permissions(), From: claviger.Request{ID: "req_test"},
	}
}

// system is claviger itself, here with every right, so that only the rule on personal
// connections holds it back.
func system(organization string) claviger.Caller {
	c := caller(organization, "", claviger.RoleOwner)
	c.Kind, c.ID, c.User = claviger.CallerSystem, "system", ""
	return c
}

func connection(organization, workspace string) claviger.Resource {
	return claviger.Resource{
		Type: "connection", ID: "conn_1", Connection: "conn_1", Connector: "acme",
		Organization: claviger.OrganizationID(organization), Workspace: claviger.WorkspaceID(workspace),
		Usage: claviger.UsageAPI, Visibility: claviger.VisibilityWorkspace, Owner: "usr_other",
	}
}

func clock() time.Time { return time.Now() }
