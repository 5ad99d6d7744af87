package clavigertest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger"
	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/clavigertest/postgres"
	"claviger/clavigertest/soak"
	"claviger/internal/app"
	"claviger/internal/seal"
)

// held is a server, as a process, with many organizations, whose master key is replaced
// again and again.
type held struct {
	program  clavigertest.Program
	vendor   *acme.Vendor
	settings app.Settings
	env      []string
	tenants  []clavigertest.Tenant
	keysets  map[string]uint32 // the primary key of each keyset, which no replacement touches

	calls, good atomic.Int64
	mu          sync.Mutex
	wrong       []string // answers that must not be
}

// idle is how many organizations have keys and do nothing.
const idle = 1_500

func newHeld(t *testing.T, program clavigertest.Program, engine clavigertest.Engine, master string) *held {
	t.Helper()
	h := &held{program: program, vendor: acme.Start(t, "ak_held_secret"), keysets: map[string]uint32{}}
	h.settings.Data = filepath.Join(t.TempDir(), "data")
	h.settings.DatabaseURL = "sqlite:" + filepath.Join(h.settings.Data, "claviger.db")
	if engine == clavigertest.PostgreSQL {
		h.settings.DatabaseURL = postgres.URL(t)
	}
	h.env = []string{"CLAVIGER_DATA=" + h.settings.Data, "CLAVIGER_EGRESS_ALLOW=" + h.vendor.Addr(), "CLAVIGER_DATABASE_URL=" + h.settings.DatabaseURL}
	child := h.start(t, master, "", "")
	s := child.As(t)
	for n := range 8 {
		made, err := s.Client(s.Key).CreateOrganization(t.Context(), api.CreateOrganization{Name: fmt.Sprintf("Tenant %d", n)})
		if err != nil {
			t.Fatal(err)
		}
		c := s.Client(made.APIKey)
		if _, err := c.PutConnector(t.Context(), "acme", h.vendor.Document("acme")); err != nil {
			t.Fatal(err)
		}
		conn, err := c.CreateConnection(t.Context(), api.CreateConnection{Connector: "acme", AuthMethod: "key", Name: "held", Credentials: map[string]string{"apiKey": "ak_held_secret"}})
		if err != nil {
			t.Fatal(err)
		}
		h.tenants = append(h.tenants, clavigertest.Tenant{ID: made.ID, Owner: made.APIKey, Connections: []string{conn.ID}})
	}
	child.Kill()
	h.crowd(t, master)
	h.vendor.Behave(func(w http.ResponseWriter, r *http.Request) {
		if acme.SecretOf(r) != "ak_held_secret" {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	return h
}

// crowd adds the keysets of organizations that do nothing.
func (h *held) crowd(t *testing.T, master string) {
	t.Helper()
	kek, db := kekOf(t, master), database(t, &clavigertest.Server{Settings: h.settings})
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	source := rand.NewChaCha8([32]byte{})
	for n := range idle {
		id := claviger.OrganizationID(fmt.Sprintf("org_idle_%05d", n))
		k, err := seal.NewKeyset(source)
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := k.Wrap(t.Context(), kek, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO keysets (organization, wrapped, version, updated_at, seals, master) VALUES ($1, $2, 1, 0, 0, $3)", string(id), wrapped, kek.ID()); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	h.look(t, func(organization string, k *seal.Keyset, _ string) { h.keysets[organization] = k.PrimaryID() }, master)
}

// kekOf answers the master key that a URL holds.
func kekOf(t *testing.T, url string) seal.KEK {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(url, "base64key:"))
	if err != nil {
		t.Fatal(err)
	}
	kek, err := seal.LocalKEK(claviger.NewSecret(key))
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

// start starts the process with a master key and the one before; nil if it ended at once.
func (h *held) start(t *testing.T, master, previous, failpoint string) *clavigertest.Child {
	t.Helper()
	env := append([]string{"CLAVIGER_MASTER_KEY=" + master, "CLAVIGER_FAILPOINT=" + failpoint}, h.env...)
	if previous != "" {
		env = append(env, "CLAVIGER_MASTER_KEY_PREVIOUS="+previous)
	}
	child := h.program.Serve(t, env)
	if child == nil && failpoint == "" {
		t.Fatal("the server did not start")
	}
	return child
}

// look opens every keyset with exactly the one of the master keys that its row names.
func (h *held) look(t *testing.T, f func(organization string, k *seal.Keyset, master string), masters ...string) {
	t.Helper()
	keks := map[string]seal.KEK{}
	for _, m := range masters {
		kek := kekOf(t, m)
		keks[kek.ID()] = kek
	}
	db := database(t, &clavigertest.Server{Settings: h.settings})
	rows, err := db.QueryContext(t.Context(), "SELECT organization, wrapped, master FROM keysets")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	n := 0
	for rows.Next() {
		var organization, master string
		var wrapped []byte
		if err := rows.Scan(&organization, &wrapped, &master); err != nil {
			t.Fatal(err)
		}
		if keks[master] == nil {
			t.Fatalf("the keys of %q are under the unknown master key %q", organization, master)
		}
		k, err := seal.OpenKeyset(t.Context(), keks[master], claviger.OrganizationID(organization), wrapped)
		if err != nil {
			t.Fatalf("the keys of %q do not open: %v", organization, err)
		}
		f(organization, k, master)
		n++
	}
	if err := rows.Err(); err != nil || n < idle {
		t.Fatalf("%d keysets: %v", n, err)
	}
}

// under answers how many keysets each of two master keys wraps, and that none has changed.
func (h *held) under(t *testing.T, now, before string) (fresh, former int) {
	t.Helper()
	id := kekOf(t, now).ID()
	h.look(t, func(organization string, k *seal.Keyset, master string) {
		if want, known := h.keysets[organization]; known && want != k.PrimaryID() {
			t.Errorf("the keys of %q are others than before", organization)
		}
		if master == id {
			fresh++
		} else {
			former++
		}
	}, now, before)
	return fresh, former
}

// load uses the connections of all tenants until ctx ends, and keeps every answer that is
// not the vendor's. cut says that answers may be missing: the database is cut off.
func (h *held) load(ctx context.Context, t *testing.T, child *clavigertest.Child, cut bool) (wait func()) {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	client := &http.Client{Transport: transport, Timeout: longest}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := worker; ctx.Err() == nil; n++ {
				tenant := &h.tenants[n%len(h.tenants)]
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, child.URL+proxy(tenant.Connections[0], "/x"), nil)
				if err != nil {
					return
				}
				req.Header.Set("Authorization", "Bearer "+tenant.Owner)
				resp, err := client.Do(req)
				if err != nil {
					continue // the process is dead, or the round is over
				}
				text, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				h.calls.Add(1)
				code := resp.Header.Get("Claviger-Error")
				switch {
				case resp.StatusCode == http.StatusOK && code == "":
					h.good.Add(1)
				case cut && (resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusGatewayTimeout):
				case ctx.Err() != nil:
				default:
					h.mu.Lock()
					h.wrong = append(h.wrong, fmt.Sprintf("%d %s %s", resp.StatusCode, code, text))
					h.mu.Unlock()
				}
			}
		})
	}
	return func() { wg.Wait(); transport.CloseIdleConnections() }
}

// finished waits until nothing is under the former master key.
func (h *held) finished(t *testing.T, child *clavigertest.Child) {
	t.Helper()
	s := child.As(t)
	done := regexp.MustCompile(`(?m)^claviger_master_key_former_keysets 0$`)
	eventually(t, "the master key is replaced", func() bool { return done.Match(s.Admin("/metrics").Body) })
}

// TestAbuse_193_AReplacedMasterKeyIsNeededUntilTheEnd dies in the middle of the replacement
// and looks at who may start then.
func TestAbuse_193_AReplacedMasterKeyIsNeededUntilTheEnd(t *testing.T) {
	program := clavigertest.Build(t, "failpoints")
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		old, next := randomKey(), randomKey()
		h := newHeld(t, program, engine, old)
		if child := h.start(t, next, old, "masters.batch.after@3"); child != nil {
			<-child.Ended()
		}
		fresh, former := h.under(t, next, old)
		if fresh == 0 || former == 0 {
			t.Fatalf("it did not die in the middle: %d and %d", fresh, former)
		}
		refused := func(master, previous, want string) {
			t.Helper()
			o := clavigertest.Options{Data: h.settings.Data, DatabaseURL: h.settings.DatabaseURL, MasterKey: master, Previous: previous}
			if err := clavigertest.TryStart(t, o); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("started without a key that is needed: %v", err)
			} else if strings.Contains(err.Error(), strings.TrimPrefix(old, "base64key:")) {
				t.Errorf("the refusal holds a key: %v", err)
			}
			if f, g := h.under(t, next, old); f != fresh || g != former {
				t.Errorf("the refused start changed something: %d and %d", f, g)
			}
		}
		for _, only := range []string{old, next} {
			want := "still wrapped under a master key that is not configured"
			if _, err := seal.OpenKeyset(t.Context(), kekOf(t, only), "", instanceKeyset(t, h)); err != nil {
				want = "not the key that the database was sealed under" // not even the instance's own
			}
			refused(only, "", want)
			refused(only, only, want)
			refused(only, randomKey(), want)
		}
		child := h.start(t, next, old, "")
		h.finished(t, child)
		eventually(t, "it says so", func() bool { return strings.Contains(child.Stderr.String(), "the one before is no longer needed") })
		child.Kill()
		if _, former := h.under(t, next, old); former != 0 {
			t.Errorf("%d keysets are left behind", former)
		}
		child = h.start(t, next, "", "")
		for _, tenant := range h.tenants {
			if a := child.As(t).Do(call{Token: tenant.Owner, Method: "GET", Path: proxy(tenant.Connections[0], "/x")}); a.Status != 200 {
				t.Errorf("under the new key alone: %d %s", a.Status, a.Body)
			}
		}
		child.Kill()
		fresh, former = h.under(t, next, old)
		refused(old, "", "not the key that the database was sealed under")
	})
}

func instanceKeyset(t *testing.T, h *held) (wrapped []byte) {
	t.Helper()
	db := database(t, &clavigertest.Server{Settings: h.settings})
	if err := db.QueryRowContext(t.Context(), "SELECT wrapped FROM keysets WHERE organization = ''").Scan(&wrapped); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(wrapped)
}

// TestAbuse_193_KilledWhileTheMasterKeyIsReplaced replaces the master key under load, over
// and over, while the process is killed at any moment and PostgreSQL cuts its connections.
// 200 kills in `make soak`, else 20.
func TestAbuse_193_KilledWhileTheMasterKeyIsReplaced(t *testing.T) {
	kills := 20
	if soak.Document() != "" {
		kills = 200
	}
	program := clavigertest.Build(t, "")
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		now := randomKey()
		h := newHeld(t, program, engine, now)
		began, killed, midway, replaced := time.Now(), 0, 0, 0
		for killed < kills {
			before := now
			now = randomKey()
			for left := 1; left > 0; killed++ {
				child := h.start(t, now, before, "")
				ctx, cancel := context.WithCancel(t.Context())
				cut := engine == clavigertest.PostgreSQL && killed%4 == 3
				wait := h.load(ctx, t, child, cut)
				if cut {
					db := database(t, &clavigertest.Server{Settings: h.settings})
					if _, err := db.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
						t.Error(err)
					}
				}
				moment := time.NewTimer(time.Duration(rand.Int64N(int64(200 * time.Millisecond))))
				<-moment.C
				child.Kill()
				cancel()
				wait()
				var fresh int
				if fresh, left = h.under(t, now, before); fresh > 0 && left > 0 {
					midway++
				}
			}
			replaced++
		}
		// The last one is the only one that is needed.
		child := h.start(t, now, "", "")
		ctx, cancel := context.WithCancel(t.Context())
		good := h.good.Load()
		wait := h.load(ctx, t, child, false)
		eventually(t, "everybody is served", func() bool { return h.good.Load() > good+200 })
		cancel()
		wait()
		child.Kill()
		for _, w := range h.wrong {
			t.Errorf("answered %s", w)
		}
		t.Logf("%s: %d kills, %d of them in the middle, %d replacements, %d calls of which %d were answered by the vendor, %.0f a second over all",
			engine, killed, midway, replaced, h.calls.Load(), h.good.Load(), float64(h.calls.Load())/time.Since(began).Seconds())
		if h.good.Load() < int64(kills) {
			t.Errorf("only %d calls were answered", h.good.Load())
		}
	})
}
