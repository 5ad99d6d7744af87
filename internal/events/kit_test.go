package events_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/leaks"
	"claviger/clavigertest/postgres"
	"claviger/internal/egress"
	"claviger/internal/events"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/seal"
	"claviger/internal/store"
	"claviger/internal/vault"
)

func TestMain(m *testing.M) { os.Exit(leaks.Run(m)) }

// patience bounds every wait of these tests; nothing takes nearly as long.
const patience = 2 * time.Minute

// onEngines runs a test in a room on an empty database of each engine.
func onEngines(t *testing.T, test func(t *testing.T, r *room)) {
	t.Helper()
	t.Parallel()
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "events.db") },
		"postgres": func(t *testing.T) string { return postgres.URL(t) },
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, newRoom(t, url(t))) })
	}
}

// room is an organization with endpoints and all that sends its events.
type room struct {
	t      *testing.T
	url    string
	at     atomic.Int64
	db     *store.DB
	gate   *gate.Gate
	vault  *vault.Vault
	events *events.Events
	queue  *jobs.Queue
	caller claviger.Caller
	ws     claviger.WorkspaceID
	roots  *x509.CertPool
	dialed atomic.Int64
	allow  string
	limit  time.Duration // of an attempt
}

func (r *room) now() time.Time       { return time.UnixMilli(r.at.Load()).UTC() }
func (r *room) pass(d time.Duration) { r.at.Add(d.Milliseconds()) }

func newRoom(t *testing.T, url string) *room {
	t.Helper()
	r := &room{t: t, url: url, roots: x509.NewCertPool(), allow: "127.0.0.1", limit: patience}
	r.at.Store(time.Now().UnixMilli())
	var err error
	if r.db, err = store.Open(t.Context(), store.Config{URL: url, Now: r.now}); err != nil {
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
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	kek, err := seal.LocalKEK(claviger.NewSecret(key))
	if err != nil {
		t.Fatal(err)
	}
	if r.vault, err = vault.Open(t.Context(), vault.Config{Store: r.db, KEK: kek}); err != nil {
		t.Fatal(err)
	}
	r.found()
	return r
}

// found makes the organization, its workspace and the person who makes endpoints.
func (r *room) found() {
	r.t.Helper()
	org := claviger.OrganizationID(r.id(claviger.PrefixOrganization))
	user := claviger.UserID(r.id(claviger.PrefixUser))
	r.ws = claviger.WorkspaceID(r.id(claviger.PrefixWorkspace))
	r.caller = claviger.Caller{
		Kind: claviger.CallerAPIKey, ID: "key_test", User: user, Scope: claviger.Authenticated(org, ""), Permissions: claviger.RoleOwner.Permissions(),
	}
	r.in(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(
			tx.CreateOrganization(ctx, claviger.Organization{ID: org, Name: "a", CreatedAt: r.now()}),
			tx.CreateWorkspace(ctx, r.caller.Scope, claviger.Workspace{
				ID: r.ws, Organization: org, Name: "default", Canonical: "default", Region: claviger.DefaultRegion, CreatedAt: r.now(), UpdatedAt: r.now(),
			}),
			tx.CreateUser(ctx, r.caller.Scope, claviger.User{
				ID: user, Organization: org, Name: "O", Email: "o@example.com", Role: claviger.RoleOwner, Version: 1, CreatedAt: r.now(), UpdatedAt: r.now(),
			}))
	})
	if err := r.vault.Prepare(r.t.Context(), org); err != nil {
		r.t.Fatal(err)
	}
}

func (r *room) id(prefix string) string {
	r.t.Helper()
	id, err := claviger.NewID(prefix, r.now(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

func (r *room) in(fn func(context.Context, *store.Tx) error) {
	r.t.Helper()
	if err := r.db.InTx(r.t.Context(), "", func(tx *store.Tx) error { return fn(r.t.Context(), tx) }); err != nil {
		r.t.Fatal(err)
	}
}

// start makes the queue and lets it work.
func (r *room) start() {
	r.t.Helper()
	allow, err := egress.ParseAllow(r.allow)
	if err != nil {
		r.t.Fatal(err)
	}
	client := egress.New(egress.Config{Allow: allow, RootCAs: r.roots, OnDial: func(string, string) { r.dialed.Add(1) }})
	r.t.Cleanup(client.Close)
	var queue *jobs.Queue
	r.events = events.New(events.Config{
		Store: r.db, Secrets: r.vault, Egress: client, Now: r.now, Timeout: r.limit,
		Insert: func(ctx context.Context, tx *store.Tx, kind string, args any, o jobs.Options) error {
			return queue.Insert(ctx, tx, kind, args, o)
		},
	})
	if queue, err = jobs.New(jobs.Config{
		Store: r.db, Kinds: r.events.Kinds(), Now: r.now, Poll: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(r.t.Output(), nil)),
	}); err != nil {
		r.t.Fatal(err)
	}
	r.queue = queue
	if err := queue.Start(context.WithoutCancel(r.t.Context())); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.stop(queue) })
}

func (r *room) stop(q *jobs.Queue) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := q.Abort(ctx); err != nil {
		r.t.Error(err)
	}
}

// endpoint keeps an endpoint for events of all types and answers its secret.
func (r *room) endpoint(url string) (claviger.EventEndpoint, string) {
	r.t.Helper()
	e := claviger.EventEndpoint{
		ID: claviger.EndpointID(r.id(claviger.PrefixEndpoint)), Organization: r.caller.Scope.Organization(), URL: url, Events: claviger.EventTypes(),
		Owner: string(r.caller.User), Version: 1, CreatedAt: r.now(), UpdatedAt: r.now(),
	}
	secret := r.sealed(&e, func(tx *store.Tx, sealed func(*claviger.EventEndpoint) (claviger.Sealed, error)) error {
		first, err := sealed(&e)
		return errors.Join(err, tx.CreateEventEndpoint(r.t.Context(), r.caller.Scope, e, first))
	})
	return e, secret
}

// rotate gives the endpoint another secret and answers it.
func (r *room) rotate(e *claviger.EventEndpoint) string {
	r.t.Helper()
	return r.sealed(e, func(tx *store.Tx, sealed func(*claviger.EventEndpoint) (claviger.Sealed, error)) error {
		_, err := tx.RotateEventEndpoint(r.t.Context(), r.caller.Scope, e.ID, r.now().Add(events.Overlap), func(next claviger.EventEndpoint) (claviger.Sealed, error) {
			return sealed(&next)
		})
		return err
	})
}

func (r *room) sealed(e *claviger.EventEndpoint, fn func(*store.Tx, func(*claviger.EventEndpoint) (claviger.Sealed, error)) error) (text string) {
	r.t.Helper()
	secret, err := events.NewSecret(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	resource := claviger.Resource{Type: "event_endpoint", ID: string(e.ID), Organization: e.Organization}
	err = r.gate.Change(r.t.Context(), r.caller, claviger.EventEndpointsWrite, resource, func(tx *store.Tx, ticket *gate.Ticket) error {
		return fn(tx, func(next *claviger.EventEndpoint) (claviger.Sealed, error) {
			return r.vault.SealEventSecret(r.t.Context(), ticket, next, secret)
		})
	})
	if err != nil {
		r.t.Fatal(err)
	}
	secret.Use(func(b []byte) { text = string(b) })
	return text
}

// emit tells of a connection in a transaction of its own.
func (r *room) emit(t claviger.EventType) {
	r.t.Helper()
	r.in(func(ctx context.Context, tx *store.Tx) error {
		return r.events.Emit(ctx, tx, r.caller.Scope.Organization(), r.ws, t, map[string]string{"id": "conn_1"})
	})
}

// told starts a receiver that answers so, subscribes it and sends it one event.
func (r *room) told(answer http.HandlerFunc) (*receiver, claviger.EventEndpoint, string) {
	r.t.Helper()
	rec := r.newReceiver()
	rec.answers(answer)
	e, secret := r.endpoint(rec.URL)
	r.start()
	r.emit(claviger.EventConnectionUpdated)
	return rec, e, secret
}

// delivery waits until the newest delivery of an endpoint is as wanted.
func (r *room) delivery(e claviger.EventEndpoint, wanted func(claviger.EventDelivery) bool) claviger.EventDelivery {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var all []claviger.EventDelivery
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		var err error
		if all, err = r.db.EventDeliveries(r.t.Context(), r.caller.Scope, e.ID, store.Page{}); err != nil {
			r.t.Fatal(err)
		}
		if len(all) > 0 && wanted(all[0]) {
			return all[0]
		}
	}
	if len(all) == 0 {
		r.t.Fatal("there is no delivery")
	}
	d := all[0]
	r.t.Fatalf("the delivery is %s after %d attempts, %d %s, next %v", d.Status, d.Attempts, d.StatusCode, d.Code, d.NextAt)
	return d
}

func status(want claviger.DeliveryStatus) func(claviger.EventDelivery) bool {
	return func(d claviger.EventDelivery) bool { return d.Status == want }
}

func attempts(want int) func(claviger.EventDelivery) bool {
	return func(d claviger.EventDelivery) bool { return d.Attempts == want }
}

// received is a request as an endpoint got it.
type received struct {
	header http.Header
	body   []byte
	path   string
}

// receiver is an organization's endpoint, whose answer can be changed.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	answer http.HandlerFunc
	got    []received
}

// newReceiver starts one that the room's egress trusts and that answers 204.
func (r *room) newReceiver() *receiver {
	rec := &receiver{answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }}
	rec.Server = httptest.NewUnstartedServer(http.HandlerFunc(rec.serve))
	rec.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	rec.StartTLS()
	r.t.Cleanup(rec.Close)
	r.roots.AddCert(rec.Certificate())
	return rec
}

func (rec *receiver) serve(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	rec.mu.Lock()
	rec.got = append(rec.got, received{q.Header.Clone(), body, q.URL.Path})
	answer := rec.answer
	rec.mu.Unlock()
	answer(w, q)
}

func (rec *receiver) answers(h http.HandlerFunc) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.answer = h
}

func (rec *receiver) requests() []received {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return slices.Clone(rec.got)
}

// code answers with a status and a text that must not be kept.
func code(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.Repeat("the subscriber's own text ", 10))
	}
}
