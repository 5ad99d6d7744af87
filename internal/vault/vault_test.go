package vault_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/seal"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// room is a vault over a real database with one organization.
type room struct {
	db     *store.DB
	gate   *gate.Gate
	vault  *vault.Vault
	kek    seal.KEK
	caller claviger.Caller
	ws     claviger.WorkspaceID
}

func newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{kek: newKEK(t)}
	var err error
	if r.db, err = store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "vault.db"), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	chain, err := seal.NewChain(claviger.NewSecret(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	if r.gate, err = gate.Open(t.Context(), gate.Config{Store: r.db, Chain: chain, Mode: gate.ModeRelaxed}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.gate.Close(context.Background()), r.db.Close()); err != nil {
			t.Error(err)
		}
	})
	if r.vault, err = vault.Open(t.Context(), vault.Config{Store: r.db, KEK: r.kek}); err != nil {
		t.Fatal(err)
	}
	r.found(t)
	return r
}

func newKEK(t *testing.T) seal.KEK {
	t.Helper()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	kek, err := seal.LocalKEK(claviger.NewSecret(key))
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

func newID(t *testing.T, prefix string) string {
	t.Helper()
	id, err := claviger.NewID(prefix, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (r *room) found(t *testing.T) {
	t.Helper()
	org := claviger.OrganizationID(newID(t, claviger.PrefixOrganization))
	r.ws = claviger.WorkspaceID(newID(t, claviger.PrefixWorkspace))
	r.caller = claviger.Caller{
		Kind: claviger.CallerAPIKey, ID: "key_test", User: "usr_test", Scope: claviger.Authenticated(org, ""),
		Permissions: claviger.RoleOwner.Permissions(),
	}
	err := r.db.InTx(t.Context(), "", func(tx *store.Tx) error {
		if err := tx.CreateOrganization(t.Context(), claviger.Organization{ID: org, Name: "a", CreatedAt: time.Now()}); err != nil {
			return err
		}
		return tx.CreateWorkspace(t.Context(), r.caller.Scope, claviger.Workspace{
			ID: r.ws, Organization: org, Name: "default", Canonical: "default", Region: claviger.DefaultRegion, CreatedAt: time.Now(), UpdatedAt: time.Now(),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// admit makes a ticket for a use of the connection.
func (r *room) admit(t *testing.T, conn *claviger.Connection) *gate.Ticket {
	t.Helper()
	ticket, err := r.gate.Admit(t.Context(), r.caller, claviger.ConnectionsProxy, conn.Resource(), "")
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// connect stores a connection whose only field holds value.
func (r *room) connect(t *testing.T, name, value string) *claviger.Connection {
	t.Helper()
	conn := &claviger.Connection{
		ID: claviger.ConnectionID(newID(t, claviger.PrefixConnection)), Organization: r.caller.Scope.Organization(), Workspace: r.ws,
		Owner: "usr_test", Connector: "acme", ConnectorVersion: 1, AuthMethod: "key", Name: name, Usage: claviger.UsageAPI,
		Visibility: claviger.VisibilityWorkspace, Status: claviger.StatusActive, Health: claviger.HealthUnknown,
		SecretKeys: []string{"apiKey"}, Revision: 1, Version: 1, Destination: "acme https://acme.example",
		CreatedAt: time.Now(), UpdatedAt: time.Now(),
	}
	if err := r.vault.Prepare(t.Context(), conn.Organization); err != nil {
		t.Fatal(err)
	}
	err := r.gate.Change(t.Context(), r.caller, claviger.ConnectionsCreate, conn.Resource(), func(tx *store.Tx, ticket *gate.Ticket) error {
		sealed, err := r.vault.Seal(t.Context(), ticket, conn, claviger.Credentials{"apiKey": claviger.NewSecretString(value)})
		if err != nil {
			return err
		}
		return tx.CreateConnection(t.Context(), r.caller.Scope, *conn, sealed)
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// value opens a connection as it is stored now.
func (r *room) value(t *testing.T, id claviger.ConnectionID) (value string, err error) {
	t.Helper()
	conn, sealed, err := r.db.Connection(t.Context(), r.caller.Scope, id)
	if err != nil {
		return "", err
	}
	ticket := r.admit(t, &conn)
	defer ticket.Done(gate.Ending{})
	creds, err := r.vault.Fresh(t.Context(), ticket, &conn, sealed)
	if err != nil {
		return "", err
	}
	creds["apiKey"].Use(func(b []byte) { value = string(b) })
	return value, nil
}

func TestNothingOpensWithoutTheRightTicket(t *testing.T) {
	r := newRoom(t)
	mine, other := r.connect(t, "mine", "secret-1"), r.connect(t, "other", "secret-2")
	conn, sealed, err := r.db.Connection(t.Context(), r.caller.Scope, mine.ID)
	if err != nil {
		t.Fatal(err)
	}
	ended := r.admit(t, mine)
	ended.Done(gate.Ending{})
	foreign := r.admit(t, other)
	defer foreign.Done(gate.Ending{})
	for name, ticket := range map[string]*gate.Ticket{"none": nil, "zero": {}, "ended": ended, "another connection's": foreign} {
		if _, err := r.vault.Fresh(t.Context(), ticket, &conn, sealed); !errors.Is(err, vault.ErrNoTicket) {
			t.Errorf("Fresh with %s ticket: %v", name, err)
		}
		if _, err := r.vault.Stored(t.Context(), ticket, &conn, sealed); !errors.Is(err, vault.ErrNoTicket) {
			t.Errorf("Stored with %s ticket: %v", name, err)
		}
		if _, err := r.vault.Seal(t.Context(), ticket, &conn, nil); !errors.Is(err, vault.ErrNoTicket) {
			t.Errorf("Seal with %s ticket: %v", name, err)
		}
	}
	for name, ticket := range map[string]*gate.Ticket{"none": nil, "zero": {}} {
		if err := r.vault.Reseal(t.Context(), ticket, func(claviger.ConnectionID) {}); !errors.Is(err, vault.ErrNoTicket) {
			t.Errorf("Reseal with %s ticket: %v", name, err)
		}
	}
}

func TestWrongMasterKeyIsRefusedAndChangesNothing(t *testing.T) {
	r := newRoom(t)
	conn := r.connect(t, "mine", "secret-1")
	if _, err := vault.Open(t.Context(), vault.Config{Store: r.db, KEK: newKEK(t)}); !errors.Is(err, seal.ErrWrongMasterKey) {
		t.Fatalf("another master key: %v", err)
	}
	if v, err := r.value(t, conn.ID); err != nil || v != "secret-1" {
		t.Fatalf("afterwards: %q, %v", v, err)
	}
}

// The organization's key is rotated while values are read, replaced and made: every
// read finds a value that was stored, and at the end nothing is under the old key.
func TestAbuse_194_RotationUnderConcurrentWrites(t *testing.T) {
	r := newRoom(t)
	const count = 12
	var conns []*claviger.Connection
	for i := range count {
		conns = append(conns, r.connect(t, fmt.Sprint("conn ", i), "first"))
	}
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if v, err := r.value(t, conns[i%count].ID); err != nil || v != "first" && v != "second" {
					t.Errorf("read %q, %v", v, err)
					return
				}
			}
		})
	}
	writers.Go(func() {
		for _, c := range conns {
			r.replace(t, c.ID, "second")
		}
	})
	for range 3 {
		r.rotate(t)
	}
	writers.Wait()
	r.rotate(t)
	close(stop)
	readers.Wait()
	status, err := r.vault.Status(t.Context(), r.caller.Scope)
	if err != nil || status.Outdated != 0 || status.Sealed != count || status.Keys != 5 {
		t.Fatalf("%+v, %v", status, err)
	}
	for _, c := range conns {
		if v, err := r.value(t, c.ID); err != nil || v != "second" {
			t.Errorf("at the end: %q, %v", v, err)
		}
	}
}

func (r *room) replace(t *testing.T, id claviger.ConnectionID, value string) {
	t.Helper()
	resource := claviger.Resource{Type: "connection", ID: string(id), Connection: id, Organization: r.caller.Scope.Organization(), Workspace: r.ws}
	err := r.gate.Change(t.Context(), r.caller, claviger.ConnectionsUpdate, resource, func(tx *store.Tx, ticket *gate.Ticket) error {
		_, err := tx.UpdateConnection(t.Context(), r.caller.Scope, id, func(c claviger.Connection, _ claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
			c.Revision++
			sealed, err := r.vault.Seal(t.Context(), ticket, &c, claviger.Credentials{"apiKey": claviger.NewSecretString(value)})
			return c, sealed, err
		})
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func (r *room) rotate(t *testing.T) { t.Helper(); rotateKeys(t, r.gate, r.vault, r.caller) }

// rotateKeys gives the caller's organization another key and seals everything anew.
func rotateKeys(t *testing.T, g *gate.Gate, v *vault.Vault, caller claviger.Caller) {
	t.Helper()
	resource := claviger.Resource{Type: "keyset", Organization: caller.Scope.Organization()}
	err := g.Change(t.Context(), caller, claviger.KeysRotate, resource, func(tx *store.Tx, ticket *gate.Ticket) error {
		return v.Rotate(t.Context(), ticket, tx)
	})
	if err != nil {
		t.Error(err)
		return
	}
	ticket, err := g.Admit(t.Context(), caller, claviger.KeysRotate, resource, "")
	if err != nil {
		t.Error(err)
		return
	}
	defer ticket.Done(gate.Ending{})
	if err := v.Reseal(t.Context(), ticket, func(claviger.ConnectionID) {}); err != nil {
		t.Error(err)
	}
}
