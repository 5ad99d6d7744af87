package authn

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

func TestAPIKeyStandsForItsPerson(t *testing.T) {
	e := start(t)
	c := e.owner(t)
	if c.Kind != claviger.CallerAPIKey || c.User != e.first.User || c.Role != claviger.RoleOwner || !c.InstanceAdmin ||
		c.Scope != e.scope || c.Permissions != claviger.RoleOwner.Permissions() || c.From != here {
		t.Errorf("caller %+v", c)
	}
	narrow, _ := claviger.PermissionsOf(claviger.ConnectionsRead, claviger.UsersDelete)
	token, _ := e.key(t, func(k *claviger.APIKey) { k.Permissions = narrow })
	if c, err := e.AuthenticateToken(t.Context(), token, here); err != nil || c.Permissions != narrow {
		t.Errorf("scopes: %v %v", c.Permissions.Verbs(), err)
	}
	bound, _ := e.key(t, func(k *claviger.APIKey) { k.Workspace = e.first.Workspace })
	if c, err := e.AuthenticateToken(t.Context(), bound, here); err != nil || c.Scope.Workspace() != e.first.Workspace || c.InstanceAdmin {
		t.Errorf("a key of one workspace: %+v %v", c, err)
	}
	if used := e.TakeUsed(); len(used) != 3 {
		t.Errorf("%d keys used", len(used))
	}
	if used := e.TakeUsed(); len(used) != 0 {
		t.Errorf("%d keys used since", len(used))
	}
}

func TestAPIKeyFollowsItsPerson(t *testing.T) {
	e := start(t)
	id, err := claviger.NewID(claviger.PrefixUser, e.clock.now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	user := claviger.User{ID: claviger.UserID(id), Organization: e.first.Organization, Name: "A", Email: "a@example.com", Role: claviger.RoleAdmin, CreatedAt: e.clock.now(), UpdatedAt: e.clock.now()}
	e.tx(t, func(tx *store.Tx) error { return tx.CreateUser(t.Context(), e.scope, user) })
	token, _ := e.key(t, func(k *claviger.APIKey) { k.User = user.ID })
	set := func(change func(*claviger.User)) {
		e.tx(t, func(tx *store.Tx) error {
			_, err := tx.UpdateUser(t.Context(), e.scope, user.ID, func(u claviger.User) (claviger.User, error) { change(&u); return u, nil })
			return err
		})
		e.Evict("user", id)
	}
	if c, err := e.AuthenticateToken(t.Context(), token, here); err != nil || c.Permissions != claviger.RoleAdmin.Permissions() {
		t.Fatalf("%+v %v", c, err)
	}
	set(func(u *claviger.User) { u.Role = claviger.RoleViewer })
	if c, err := e.AuthenticateToken(t.Context(), token, here); err != nil || c.Permissions != claviger.RoleViewer.Permissions() || c.InstanceAdmin {
		t.Errorf("after the role was lowered: %v %v", c.Permissions.Verbs(), err)
	}
	set(func(u *claviger.User) { u.Disabled = true })
	e.refused(t, e.Authority, "disabled person", token)
}

func TestAPIKeyEnds(t *testing.T) {
	e := start(t)
	token, _ := e.key(t, func(k *claviger.APIKey) { k.ExpiresAt = e.clock.now().Add(3 * time.Second) })
	if _, err := e.AuthenticateToken(t.Context(), token, here); err != nil {
		t.Fatal(err)
	}
	e.clock.pass(3 * time.Second) // less than a verdict is remembered
	e.refused(t, e.Authority, "expired", token)

	token, id := e.key(t, nil)
	if _, err := e.AuthenticateToken(t.Context(), token, here); err != nil {
		t.Fatal(err)
	}
	elsewhere := e.node(t, openStore(t, e.path, e.clock))
	if _, err := elsewhere.AuthenticateToken(t.Context(), token, here); err != nil {
		t.Fatal(err)
	}
	e.tx(t, func(tx *store.Tx) error { return tx.RevokeAPIKey(t.Context(), e.scope, id) })
	e.Evict("api_key", string(id))
	e.refused(t, e.Authority, "revoked, here", token)
	e.clock.pass(remember)
	e.refused(t, elsewhere, "revoked, on a node that heard nothing", token)
	if got := e.ledger.last(t); got.Code != "revoked" || got.ActorID != string(id) || got.Organization != e.first.Organization || got.Verb != claviger.AuthenticationFail {
		t.Errorf("entry %+v", got)
	}
}

func TestAPIKeyAddresses(t *testing.T) {
	e := start(t)
	token, _ := e.key(t, func(k *claviger.APIKey) { k.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	for addr, ok := range map[string]bool{"192.0.2.77": true, "::ffff:192.0.2.77": true, "198.51.100.1": false, "2001:db8::1": false} {
		_, err := e.AuthenticateToken(t.Context(), token, claviger.Request{Address: netip.MustParseAddr(addr)})
		if (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if _, err := e.AuthenticateToken(t.Context(), token, claviger.Request{}); err == nil {
		t.Error("accepted from nowhere")
	}
}

func TestAbuse_027_MalformedKeysCostNoLookUp(t *testing.T) {
	e := start(t)
	good := text(e.first.APIKey)
	flip := func(s string, i int) string {
		c := byte('a')
		if s[i] == c {
			c = 'b'
		}
		return s[:i] + string(c) + s[i+1:]
	}
	if err := e.db.Close(); err != nil { // a look-up now would be a 503, not a 401
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"truncated": good[:len(good)-1], "extended": good + "a", "flipped last": flip(good, len(good)-1), "flipped first": flip(good, len(keyPrefix)),
		"wrong prefix": "clv_app_" + good[8:], "upper": strings.ToUpper(good), "lower": strings.ToLower(good), "newline": good + "\n",
		"space": good + " ", "leading space": " " + good, "NUL": good + "\x00", "unicode digit": good[:20] + "٣" + good[22:],
		"empty": "", "prefix": keyPrefix, "dots": "a.b", "long": keyPrefix + strings.Repeat("a", 1<<20), "many dots": strings.Repeat(".", 1_000_000),
	} {
		e.refused(t, e.Authority, name, token)
	}
	_, err := e.AuthenticateToken(t.Context(), good, here)
	if !claviger.IsKind(err, claviger.KindUnavailable) {
		t.Errorf("a well-formed key did not reach the database: %v", err)
	}
}

func TestAbuse_028_NearMissesAreIndistinguishable(t *testing.T) {
	e := start(t)
	good := text(e.first.APIKey)
	fastest := map[int]time.Duration{}
	for range 200 { // interleaved, so that the machine's moods hit all alike
		for _, shared := range []int{1, 16, 31, 42} {
			body := good[:len(keyPrefix)+shared]
			var b [64]byte
			if _, err := rand.Read(b[:]); err != nil {
				t.Fatal(err)
			}
			for i := 0; len(body) < len(keyPrefix)+keyRandom; i++ {
				body += string(base62[b[i]%62])
			}
			token := body + checksum(body)
			if token == good {
				continue
			}
			began := time.Now()
			_, err := e.verdict(t.Context(), token)
			took := time.Since(began)
			var r *refusedToken
			if !errors.As(err, &r) || r.code != "unknown_key" {
				t.Fatalf("%d shared: %v", shared, err)
			}
			if old, ok := fastest[shared]; !ok || took < old {
				fastest[shared] = took
			}
		}
	}
	for shared, took := range fastest {
		if took > 2*fastest[1] || fastest[1] > 2*took {
			t.Errorf("%d shared characters take %v, 1 takes %v", shared, took, fastest[1])
		}
	}
}

func TestAbuse_029_NoTokenIsStored(t *testing.T) {
	e := start(t)
	operator, caller := e.operator(t)
	scoped, err := e.MintScoped(t.Context(), caller, "acme", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.RotateSigningKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys, err := e.ring.keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	secrets := [][]byte{[]byte(text(e.first.APIKey)), []byte(text(e.first.ClientSecret)), []byte(operator), []byte(text(scoped.Token))}
	for _, k := range keys {
		secrets = append(secrets, k.Seed)
	}
	files, err := filepath.Glob(e.path + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	hint := false
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range secrets {
			if bytes.Contains(data, s) || bytes.Contains(data, s[:24]) {
				t.Errorf("secret %d is in %s", i, filepath.Base(f))
			}
		}
		hint = hint || bytes.Contains(data, HashToken(text(e.first.APIKey)))
	}
	if !hint {
		t.Error("the search does not even find the hash")
	}
}

func TestAbuse_030_HeaderForms(t *testing.T) {
	e := start(t)
	good := text(e.first.APIKey)
	operator, _ := e.operator(t)
	for _, h := range [][]string{{"Authorization", "Bearer " + good}, {"Authorization", "bearer " + good}, {"api-key", good}, {"Authorization", "Bearer " + operator}} {
		if _, err := e.Authenticate(request(t, h...), here); err != nil {
			t.Errorf("%s: %v", h[0], err)
		}
	}
	for name, h := range map[string][]string{
		"two spaces": {"Authorization", "Bearer  " + good}, "tab": {"Authorization", "Bearer\t" + good}, "inner tab": {"Authorization", "Bearer " + good + "\t"},
		"no scheme": {"Authorization", good}, "Basic": {"Authorization", "Basic " + good}, "Token": {"Authorization", "Token " + good},
		"two tokens": {"Authorization", "Bearer " + good + " " + good}, "comma": {"Authorization", "Bearer " + good + "," + good},
		"empty": {"Authorization", ""}, "scheme only": {"Authorization", "Bearer "}, "a JWT as api-key": {"api-key", operator}, "nothing": {},
		"cookie": {"Cookie", "Authorization=Bearer " + good},
	} {
		_, err := e.Authenticate(request(t, h...), here)
		is401(t, name, err)
	}
	for name, h := range map[string][]string{
		"twice": {"Authorization", "Bearer " + good, "Authorization", "Bearer " + good},
		"both":  {"Authorization", "Bearer " + good, "api-key", good},
		"keys":  {"api-key", good, "api-key", good},
	} {
		if _, err := e.Authenticate(request(t, h...), here); !claviger.IsKind(err, claviger.KindUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefusalsAreRecordedButCannotFloodTheLedger(t *testing.T) {
	e := start(t)
	before := len(e.ledger.entries)
	for range 500 {
		e.refused(t, e.Authority, "nonsense", "nonsense")
	}
	if got := len(e.ledger.entries) - before; got != 50 {
		t.Errorf("%d entries for 500 refusals at one moment", got)
	}
	if _, err := e.AuthenticateToken(t.Context(), text(e.first.APIKey), here); err != nil {
		t.Errorf("a good token from the same address: %v", err)
	}
}

func TestVerdictsAreBoundedAndEvictionWins(t *testing.T) {
	c := newVerdicts(3)
	now := time.Now()
	for i := range byte(10) {
		c.put(tokenHash{i}, &verdict{ids: []string{"a"}}, now, c.generation())
	}
	if c.order.Len() != 3 || len(c.byKey) != 3 || len(c.byID["a"]) != 3 || c.get(tokenHash{9}, now) == nil || c.get(tokenHash{0}, now) != nil {
		t.Errorf("%d remembered", c.order.Len())
	}
	read := c.generation()
	c.evict("a")
	if c.order.Len() != 0 || len(c.byID) != 0 {
		t.Errorf("%d remembered after the eviction", c.order.Len())
	}
	c.put(tokenHash{1}, &verdict{ids: []string{"a"}}, now, read)
	if c.order.Len() != 0 {
		t.Error("a verdict read before an eviction was remembered after it")
	}
	c.put(tokenHash{2}, &verdict{}, now, c.generation())
	if c.get(tokenHash{2}, now.Add(remember)) != nil {
		t.Error("a verdict is believed for too long")
	}
}

func FuzzAuthenticateToken(f *testing.F) {
	for _, s := range []string{"clv_key_", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", strings.Repeat(".", 9)} {
		f.Add(s)
	}
	e := start(f)
	f.Fuzz(func(t *testing.T, token string) { e.refused(t, e.Authority, "fuzz", token) })
}
