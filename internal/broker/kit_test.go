package broker_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/catalog"
	"claviger/internal/egress"
	"claviger/internal/gate"
	"claviger/internal/seal"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// room is the core over a real database, ledger and vault, with a vendor on loopback.
type room struct {
	t      *testing.T
	db     *store.DB
	gate   *gate.Gate
	vault  *vault.Vault
	broker *broker.Broker
	vendor *vendor
	owner  claviger.Caller
	ws     claviger.WorkspaceID
	closed bool

	mu    sync.Mutex
	clock time.Time
	waits []time.Duration
}

func newRoom(t *testing.T) *room {
	t.Helper()
	return newRoomWith(t, nil, nil)
}

// newRoomWith is newRoom with further regions, each a database by its URL, and another
// configuration of the core.
func newRoomWith(t *testing.T, regions map[claviger.RegionID]string, change func(*room, *broker.Config)) *room {
	t.Helper()
	r := &room{t: t, vendor: newVendor(t), clock: time.Now()}
	var err error
	if r.db, err = store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "core.db"), Regions: regions, Now: r.now}); err != nil {
		t.Fatal(err)
	}
	chain := must(seal.NewChain(claviger.NewSecret(make([]byte, 32))))(t)
	r.gate = must(gate.Open(t.Context(), gate.Config{Store: r.db, Chain: chain, Mode: gate.ModeRelaxed, Now: r.now}))(t)
	t.Cleanup(r.close)
	kek := must(seal.LocalKEK(claviger.NewSecret(make([]byte, 32))))(t)
	r.vault = must(vault.Open(t.Context(), vault.Config{Store: r.db, KEK: kek, Now: r.now}))(t)
	allow := must(egress.ParseAllow("127.0.0.1"))(t)
	roots := x509.NewCertPool()
	roots.AddCert(r.vendor.Certificate())
	config := broker.Config{
		Store: r.db, Gate: r.gate, Vault: r.vault, Catalog: must(catalog.Load(fstest.MapFS{}, catalog.Options{}))(t),
		Egress: egress.New(egress.Config{Allow: allow, RootCAs: roots}), PlainHTTP: allow.PlainHTTP, PublicURL: "https://claviger.example",
		Now: r.now, Wait: r.wait,
	}
	if change != nil {
		change(r, &config)
	}
	r.broker = broker.New(config)
	r.found()
	return r
}

// close flushes the ledger, so that everything can be read from the database.
func (r *room) close() {
	if r.closed {
		return
	}
	r.closed = true
	if err := r.gate.Close(context.Background()); err != nil {
		r.t.Error(err)
	}
	r.t.Cleanup(func() { _ = r.db.Close() })
}

func (r *room) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clock
}

// wait lets the time pass instead of waiting.
func (r *room) wait(_ context.Context, d time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = r.clock.Add(d)
	r.waits = append(r.waits, d)
	return nil
}

func (r *room) found() {
	org := claviger.OrganizationID(newID(r.t, claviger.PrefixOrganization))
	r.ws = claviger.WorkspaceID(newID(r.t, claviger.PrefixWorkspace))
	r.owner = claviger.Caller{
		Kind: claviger.CallerAPIKey, ID: "key_owner", User: "usr_owner", Role: claviger.RoleOwner,
		Scope: claviger.Authenticated(org, ""), Permissions: claviger.RoleOwner.Permissions(),
	}
	err := r.db.InTx(r.t.Context(), "", func(tx *store.Tx) error {
		return errors.Join(
			tx.CreateOrganization(r.t.Context(), claviger.Organization{ID: org, Name: "a", CreatedAt: r.now()}),
			tx.CreateWorkspace(r.t.Context(), r.owner.Scope, claviger.Workspace{
				ID: r.ws, Organization: org, Name: "default", Canonical: "default", Region: claviger.DefaultRegion, Version: 1,
				CreatedAt: r.now(), UpdatedAt: r.now(),
			}))
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// developer is somebody else of the same organization, who does not administer users.
func (r *room) developer() claviger.Caller {
	return claviger.Caller{
		Kind: claviger.CallerAPIKey, ID: "key_dev", User: "usr_dev", Role: claviger.RoleDeveloper,
		Scope: r.owner.Scope, Permissions: claviger.RoleDeveloper.Permissions(),
	}
}

// publish stores a connector "acme" for the vendor, with changes over the usual document.
func (r *room) publish(changes map[string]any) {
	r.t.Helper()
	doc := map[string]any{
		"key": "acme", "name": "Acme", "kind": "http", "allowedHosts": []string{"127.0.0.1", "example.com"},
		"baseUrl":   "https://${host}:" + r.vendor.port(r.t) + "/v2",
		"variables": []any{map[string]any{"key": "host", "label": "Host", "type": "enum", "values": []string{"127.0.0.1", "example.com"}, "required": true}},
		"auth": []any{map[string]any{
			"key": "key", "type": "custom", "label": "Key",
			"fields": []any{
				map[string]any{"key": "apiKey", "label": "API key", "secret": true, "required": true, "pattern": "^ak_[a-z0-9]+$"},
				map[string]any{"key": "extra", "label": "Extra", "secret": true},
			},
			"inject": []any{
				map[string]any{"in": "header", "name": "X-API-Key", "value": "${apiKey}"},
				map[string]any{"in": "header", "name": "X-Extra", "value": "${extra}"},
			},
			"test":        map[string]any{"method": "GET", "path": "/me", "expectStatus": []int{200}, "account": map[string]any{"id": "$.id", "name": "$.name"}},
			"permissions": map[string]any{"from": "header", "name": "X-Scopes", "separator": ",", "required": []string{"read"}},
		}},
		"actions": []any{
			map[string]any{
				"key": "list", "name": "List", "readOnly": true,
				"input":   map[string]any{"type": "object", "properties": map[string]any{"limit": map[string]any{"type": "integer", "minimum": 1}}, "additionalProperties": false},
				"request": map[string]any{"method": "GET", "path": "/things", "query": map[string]any{"limit": "${input.limit}"}},
			},
		},
		"expiry": []any{map[string]any{"status": 401}},
	}
	for k, v := range changes {
		doc[k] = v
	}
	if _, err := r.broker.PutConnector(r.t.Context(), r.owner, "acme", must(json.Marshal(doc))(r.t)); err != nil {
		r.t.Fatal(err)
	}
}

// connect makes a connection of c's that holds apiKey.
func (r *room) connect(c claviger.Caller, name, apiKey string, change func(*broker.NewConnection)) claviger.Connection {
	r.t.Helper()
	in := broker.NewConnection{
		Connector: "acme", AuthMethod: "key", Name: name, Credentials: secrets("apiKey", apiKey), Settings: map[string]string{"host": "127.0.0.1"},
	}
	if change != nil {
		change(&in)
	}
	out, err := r.broker.CreateConnection(r.t.Context(), c, in)
	if err != nil {
		r.t.Fatal(err)
	}
	return out.Connection
}

// run runs the action list.
func (r *room) run(id claviger.ConnectionID) (broker.ActionResult, error) {
	return r.broker.RunAction(r.t.Context(), r.owner, broker.ActionRun{Identifier: "acme.list", Connection: id})
}

// entries closes the ledger and answers what it has of a connection, newest first.
func (r *room) entries(f store.LedgerFilter) []claviger.Entry {
	r.t.Helper()
	r.close()
	return must(r.db.Ledger(r.t.Context(), r.owner.Scope, f, store.Page{Limit: 100}))(r.t)
}

func secrets(pairs ...string) claviger.Credentials {
	out := claviger.Credentials{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = claviger.NewSecretString(pairs[i+1])
	}
	return out
}

func newID(t *testing.T, prefix string) string {
	t.Helper()
	return must(claviger.NewID(prefix, time.Now(), rand.Reader))(t)
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// code answers an error's fine code and the field that it names.
func code(err error) string {
	if err == nil {
		return ""
	}
	e := claviger.AsError(err)
	if e.Param == "" {
		return e.FineCode()
	}
	return e.FineCode() + " " + e.Param
}

// vendor is a small API that knows its customers by their key.
type vendor struct {
	*httptest.Server
	mu     sync.Mutex
	last   http.Header
	calls  int
	status []int // of the next answers to /things, before it is 200 again
}

// account says whose a key is, and what it may do.
func account(key string) (id, scopes string, status int) {
	switch {
	case key == "ak_bad":
		return "", "", 401
	case key == "ak_slow":
		return "", "", 429
	case key == "ak_down":
		return "", "", 503
	case key == "ak_narrow":
		return "1", "write", 200
	case key == "ak_other":
		return "2", "read", 200
	}
	return "1", "read", 200
}

func newVendor(t *testing.T) *vendor {
	t.Helper()
	v := &vendor{}
	v.Server = httptest.NewTLSServer(v)
	t.Cleanup(v.Close)
	return v
}

func (v *vendor) port(t *testing.T) string {
	t.Helper()
	u := must(http.NewRequest(http.MethodGet, v.URL, nil))(t).URL
	return u.Port()
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	v.mu.Lock()
	v.last = q.Header.Clone()
	v.calls++
	status := 200
	if len(v.status) > 0 && q.URL.Path == "/v2/things" {
		status, v.status = v.status[0], v.status[1:]
	}
	v.mu.Unlock()
	id, scopes, known := account(q.Header.Get("X-Api-Key"))
	if known != 200 {
		status = known
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Scopes", scopes)
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"id":%q,"name":"n","echo":%q}`, id, q.Header.Get("X-Api-Key"))
}

// header answers a header of the last request, and how many there were.
func (v *vendor) header(name string) (string, int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last.Get(name), v.calls
}
