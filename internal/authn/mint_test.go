package authn

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

func TestAbuse_037_BootstrapHasOneWinner(t *testing.T) {
	c := &clock{t: time.Now()}
	path := filepath.Join(t.TempDir(), "claviger.db")
	const racers = 20
	dbs := []*store.DB{openStore(t, path, c), openStore(t, path, c), openStore(t, path, c)}
	var wg sync.WaitGroup
	results := make([]*Bootstrapped, racers)
	for i := range racers {
		wg.Go(func() {
			db := dbs[i%len(dbs)]
			var err error
			if results[i], err = Bootstrap(t.Context(), db, &book{db: db}, BootstrapConfig{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var won []*Bootstrapped
	for _, r := range results {
		if r != nil {
			won = append(won, r)
		}
	}
	if len(won) != 1 {
		t.Fatalf("%d winners", len(won))
	}
	again, err := Bootstrap(t.Context(), openStore(t, path, c), &book{db: dbs[0]}, BootstrapConfig{})
	if again != nil || err != nil {
		t.Errorf("after a restart: %v %v", again, err)
	}
	orgs, err := dbs[1].Organizations(t.Context(), store.Page{Limit: 10})
	if err != nil || len(orgs) != 1 || orgs[0].Name != "default" || !orgs[0].Instance {
		t.Errorf("%+v %v", orgs, err)
	}
	ws, err := dbs[1].WorkspaceByName(t.Context(), claviger.Authenticated(orgs[0].ID, ""), "default")
	if err != nil || ws.ID != won[0].Workspace {
		t.Errorf("%+v %v", ws, err)
	}
}

func TestBootstrapWithFixedClient(t *testing.T) {
	c := &clock{t: time.Now()}
	db := openStore(t, filepath.Join(t.TempDir(), "claviger.db"), c)
	l := &book{db: db}
	for name, cfg := range map[string]BootstrapConfig{
		"short":     {ClientID: "ci", ClientSecret: claviger.NewSecretString(strings.Repeat("s", 31))},
		"no id":     {ClientSecret: claviger.NewSecretString(strings.Repeat("s", 32))},
		"no secret": {ClientID: "ci"},
	} {
		if b, err := Bootstrap(t.Context(), db, l, cfg); b != nil || !claviger.IsKind(err, claviger.KindInvalid) {
			t.Errorf("%s: %v %v", name, b, err)
		}
	}
	b, err := Bootstrap(t.Context(), db, l, BootstrapConfig{ClientID: "ci", ClientSecret: claviger.NewSecretString(strings.Repeat("s", 32))})
	if err != nil || b.ClientID != "ci" || text(b.ClientSecret) != strings.Repeat("s", 32) {
		t.Fatalf("%+v %v", b, err)
	}
}

func TestClientSecretsCannotBeGuessed(t *testing.T) {
	e := start(t)
	wrong := claviger.NewSecretString(strings.Repeat("w", 40))
	for _, id := range []string{"nobody", "", strings.Repeat("x", 300)} {
		_, err := e.MintOperator(t.Context(), id, e.first.ClientSecret, here)
		is401(t, "client "+id, err)
	}
	_, err := e.MintOperator(t.Context(), e.first.ClientID, claviger.Secret{}, here)
	is401(t, "no secret", err)
	for range 10 {
		_, err := e.MintOperator(t.Context(), e.first.ClientID, wrong, here)
		is401(t, "wrong secret", err)
	}
	if got := e.ledger.last(t); got.Code != "invalid_client" || got.ActorID != string(e.first.Application) || got.Organization != e.first.Organization {
		t.Errorf("entry %+v", got)
	}
	var limited *claviger.Error
	if _, err = e.MintOperator(t.Context(), e.first.ClientID, e.first.ClientSecret, here); !errors.As(err, &limited) || limited.Kind != claviger.KindRateLimited || limited.RetryAfter <= 0 {
		t.Fatalf("the eleventh: %v", err)
	}
	elsewhere := claviger.Request{Address: netip.MustParseAddr("198.51.100.1")}
	if _, err := e.MintOperator(t.Context(), e.first.ClientID, e.first.ClientSecret, elsewhere); err != nil {
		t.Errorf("others are locked out: %v", err)
	}
	e.clock.pass(limited.RetryAfter + time.Millisecond)
	if _, err := e.MintOperator(t.Context(), e.first.ClientID, e.first.ClientSecret, here); err != nil {
		t.Errorf("after waiting: %v", err)
	}
}

func TestSourcesOfIPv6AreNetworks(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8:1:2::1"), netip.MustParseAddr("2001:db8:1:2:ffff::9")
	if source(a) != source(b) || source(a) == source(netip.MustParseAddr("2001:db8:1:3::1")) {
		t.Error("an IPv6 client can escape within its /64")
	}
	if source(netip.MustParseAddr("::ffff:192.0.2.1")) != source(netip.MustParseAddr("192.0.2.1")) {
		t.Error("one IPv4 address has two names")
	}
}

func TestAbuse_018_Names(t *testing.T) {
	same := []string{"Acme", "acme", "Acme ", "\u00a0ACME", " acme\t"}
	for _, n := range same {
		if _, canonical, err := CanonicalName("name", n); err != nil || canonical != "acme" {
			t.Errorf("%q: %q %v", n, canonical, err)
		}
	}
	_, nfc, err1 := CanonicalName("name", "caf\u00e9")
	_, nfd, err2 := CanonicalName("name", "cafe\u0301")
	if nfc != nfd || err1 != nil || err2 != nil {
		t.Errorf("%q %q", nfc, nfd)
	}
	for n, code := range map[string]string{
		"\u0410cme": "confusable_name", "pаypal": "confusable_name", "αcme": "confusable_name", "a\u200dcme": "invalid_name", "a\u200bcme": "invalid_name",
		"a\x00b": "invalid_name", "a\nb": "invalid_name", "a\u202eb": "invalid_name", "a\ufeffb": "invalid_name", "\xff": "invalid_name",
		"": "required", "  ": "required", strings.Repeat("a", 256): "invalid_name", strings.Repeat("a", 1<<20): "invalid_name", "a\u00a0b": "invalid_name",
		"a\ufe0fb": "invalid_name", "a\u3164b": "invalid_name",
	} {
		_, _, err := CanonicalName("name", n)
		var e *claviger.Error
		if !errors.As(err, &e) || e.Code != code || e.Param != "name" {
			t.Errorf("%.20q: %v", n, err)
		}
	}
	for _, n := range []string{"../x", "customer_workspace_123", "Ünïcödé", "Акме", "株式会社アクメ", "Acme 株式会社", "한국 ABC", strings.Repeat("a", 255), "naïve-co. (EU)", "عميل"} {
		if _, canonical, err := CanonicalName("name", n); err != nil {
			t.Errorf("%q: %v", n, err)
		} else if _, again, err := CanonicalName("name", canonical); err != nil || again != canonical {
			t.Errorf("%q: canonical twice is %q, not %q (%v)", n, again, canonical, err)
		}
	}
}

func TestAbuse_018_OneWorkspaceUnder100Creates(t *testing.T) {
	e := start(t)
	_, caller := e.operator(t)
	names := []string{"Acme", "acme", "Acme ", "ACME"}
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[claviger.WorkspaceID]int{}
	for i := range 100 {
		wg.Go(func() {
			m, err := e.MintScoped(t.Context(), caller, names[i%len(names)], "")
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			seen[m.Workspace]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(seen) != 1 {
		t.Errorf("workspaces %v", seen)
	}
	if list, err := e.db.Workspaces(t.Context(), e.scope, store.Page{Limit: 100}); err != nil || len(list) != 2 {
		t.Errorf("%d workspaces besides the default: %v", len(list)-1, err)
	}
}

func TestAbuse_032_NoEscalationAtMint(t *testing.T) {
	e := start(t)
	_, operator := e.operator(t)
	m, err := e.MintScoped(t.Context(), operator, "acme", "")
	if err != nil {
		t.Fatal(err)
	}
	scoped, err := e.AuthenticateToken(t.Context(), text(m.Token), here)
	if err != nil {
		t.Fatal(err)
	}
	denied := func(name string, c claviger.Caller) {
		t.Helper()
		if _, err := e.MintScoped(t.Context(), c, "victim", ""); !claviger.IsKind(err, claviger.KindDenied) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := e.db.WorkspaceByName(t.Context(), e.scope, "victim"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: the workspace was made", name)
		}
	}
	denied("scoped", scoped)
	only, _ := claviger.PermissionsOf(claviger.TokensMint, claviger.WorkspacesCreate)
	token, _ := e.key(t, func(k *claviger.APIKey) { k.Permissions = only })
	narrow, err := e.AuthenticateToken(t.Context(), token, here)
	if err != nil {
		t.Fatal(err)
	}
	denied("a key that may only mint", narrow)
	token, _ = e.key(t, func(k *claviger.APIKey) { k.Workspace = e.first.Workspace })
	bound, err := e.AuthenticateToken(t.Context(), token, here)
	if err != nil {
		t.Fatal(err)
	}
	denied("a key of another workspace", bound)
	token, _ = e.key(t, func(k *claviger.APIKey) { k.ExpiresAt = e.clock.now().Add(5 * time.Minute) })
	short, err := e.AuthenticateToken(t.Context(), token, here)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := e.MintScoped(t.Context(), short, "acme", ""); err != nil || m.ExpiresIn > 5*time.Minute {
		t.Errorf("a token outlives the key that made it: %v %v", m.ExpiresIn, err)
	}
	if _, err := e.MintScoped(t.Context(), operator, "acme", "00000000-0000-0000-0000-000000000000"); !claviger.IsKind(err, claviger.KindInvalid) {
		t.Errorf("an unknown region: %v", err)
	}
}

func TestKeySetRotates(t *testing.T) {
	e := start(t)
	old, _ := e.operator(t)
	published := func() map[string]bool {
		w := httptest.NewRecorder()
		if err := e.KeySet(w, httptest.NewRequest("GET", "/.well-known/jwks.json", nil)); err != nil {
			t.Fatal(err)
		}
		var set struct {
			Keys []map[string]string `json:"keys"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for _, k := range set.Keys {
			if k["kty"] != "OKP" || k["crv"] != "Ed25519" || k["alg"] != "EdDSA" || k["use"] != "sig" || k["d"] != "" {
				t.Errorf("key %v", k)
			}
			ids[k["kid"]] = true
		}
		if w.Header().Get("Cache-Control") != "public, max-age=30" {
			t.Errorf("Cache-Control %q", w.Header().Get("Cache-Control"))
		}
		return ids
	}
	kid := func(token string) string {
		h, _ := parts(t, token)
		var m map[string]string
		if err := json.Unmarshal([]byte(h), &m); err != nil {
			t.Fatal(err)
		}
		return m["kid"]
	}
	first := published()
	if err := e.RotateSigningKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if both := published(); len(first) != 1 || len(both) != 2 {
		t.Fatalf("published %v, then %v", first, both)
	}
	if token, _ := e.operator(t); kid(token) != kid(old) {
		t.Error("the new key signs before everybody can know it")
	}
	e.clock.pass(publishFirst)
	fresh, _ := e.operator(t)
	if kid(fresh) == kid(old) {
		t.Error("the new key does not sign")
	}
	elsewhere := e.node(t, openStore(t, e.path, e.clock))
	for name, token := range map[string]string{"old": old, "new": fresh} {
		if _, err := elsewhere.AuthenticateToken(t.Context(), token, here); err != nil {
			t.Errorf("%s token on another node: %v", name, err)
		}
	}
	e.clock.pass(longestLife + maxSkew)
	if now := published(); len(now) != 1 || now[kid(old)] {
		t.Errorf("the old key is still published: %v", now)
	}
	header, payload := parts(t, old)
	if keys, err := e.ring.read(t.Context()); err != nil || keys.find(kid(old), e.clock.now()) != nil {
		t.Errorf("a retired key still verifies (%v)", err)
	}
	e.refused(t, e.Authority, "a token of the retired key", e.forge(t, header, payload))
}

func TestNodesShareTheFirstKey(t *testing.T) {
	e := start(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			a, err := New(t.Context(), Config{Store: e.db, Ledger: e.ledger, Sealer: e.box, PublicURL: "https://claviger.example", Now: e.clock.now})
			if err != nil {
				t.Error(err)
				return
			}
			if len(a.ring.set) != 1 || a.ring.set[0].ID != e.ring.set[0].ID {
				t.Error("a node has a key of its own")
			}
		})
	}
	wg.Wait()
}

func TestNewAPIKeyIsWellFormed(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		s, hash, hint, err := NewAPIKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k := text(s)
		if len(k) != 57 || !wellFormed(keyPrefix, k) || seen[k] || string(hash) != string(HashToken(k)) || !strings.HasSuffix(k, hint) || len(hint) != 4 {
			t.Fatalf("key of %d characters, hint %q", len(k), hint)
		}
		seen[k] = true
		if fmt.Sprint(s) != claviger.Redacted {
			t.Fatal("a key prints itself")
		}
	}
}
