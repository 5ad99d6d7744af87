package clavigertest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/client"
)

// letIn is a server on a movable clock, and a command line that has no token.
type letIn struct {
	*clavigertest.Server
	clock *clock
	nobody,
	owner *client.Client
}

func newLetIn(t *testing.T, engine clavigertest.Engine) *letIn {
	t.Helper()
	c := &clock{at: time.Now()}
	s := clavigertest.Start(t, clavigertest.Options{Engine: engine, Now: c.now})
	nobody, err := client.New(s.URL, "", client.Anonymous())
	if err != nil {
		t.Fatal(err)
	}
	return &letIn{s, c, nobody, s.Client(s.Key)}
}

func (l *letIn) begin(t *testing.T) api.DeviceLogin {
	t.Helper()
	d, err := l.nobody.BeginLogin(t.Context(), "ada-laptop")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// poll asks once, in time.
func (l *letIn) poll(t *testing.T, d api.DeviceLogin) (api.NewAPIKey, error) {
	t.Helper()
	l.clock.move(time.Minute)
	return l.nobody.RedeemLogin(t.Context(), api.RedeemLogin{DeviceCode: d.DeviceCode})
}

func refusedWith(t *testing.T, err error, code string) {
	t.Helper()
	if !client.HasCode(err, code) {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestLoginByDeviceCode(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		l := newLetIn(t, engine)
		d := l.begin(t)
		_, err := l.poll(t, d)
		refusedWith(t, err, "authorization_pending")
		asked, err := l.owner.LookUpLogin(t.Context(), d.UserCode)
		if err != nil || asked.Host != "ada-laptop" || asked.Address != "127.0.0.1" || asked.Status != "pending" {
			t.Errorf("%+v %v", asked, err)
		}
		// Typed by a person.
		if done, err := l.owner.DecideLogin(t.Context(), strings.ToLower(strings.Replace(d.UserCode, "-", " ", 1)), true); err != nil || done.Status != "approved" {
			t.Fatal(done, err)
		}
		l.clock.move(time.Minute)
		var wg sync.WaitGroup
		keys := make([]api.NewAPIKey, 4)
		for i := range keys {
			wg.Go(func() { keys[i], _ = l.nobody.RedeemLogin(t.Context(), api.RedeemLogin{DeviceCode: d.DeviceCode}) })
		}
		wg.Wait()
		keys = withKey(keys)
		if len(keys) != 1 {
			t.Fatalf("%d keys were given for one approval", len(keys))
		}
		_, err = l.poll(t, d)
		refusedWith(t, err, "expired_token")
		key := keys[0]
		mine, err := l.Client(key.Key).Whoami(t.Context())
		theirs, theirErr := l.owner.Whoami(t.Context())
		if err != nil || theirErr != nil || mine.UserID != theirs.UserID || mine.Role != "owner" || mine.ID != key.ID {
			t.Errorf("%+v %v, %+v %v", mine, err, theirs, theirErr)
		}
		if !strings.HasPrefix(key.Name, "ada-laptop 20") || key.ExpiresAt == nil || key.ExpiresAt.After(l.clock.now().Add(90*24*time.Hour)) {
			t.Errorf("%+v", key)
		}
		for verb, id := range map[string]string{"api-keys:create": asked.ID, "tokens:mint": key.ID} {
			entries, err := client.Collect(l.owner.Audit(t.Context(), client.AuditQuery{Verb: verb, ResourceID: id}), 10)
			if err != nil || len(entries) != 1 || entries[0].Outcome != "succeeded" || entries[0].Address != "127.0.0.1" {
				t.Errorf("%s: %+v %v", verb, entries, err)
			}
		}
		if _, err := l.Client(key.Key).RevokeAPIKey(t.Context(), key.ID); err != nil {
			t.Error(err)
		}
		_, err = l.Client(key.Key).Whoami(t.Context())
		refusedWith(t, err, "invalid_token")
	})
}

func withKey(keys []api.NewAPIKey) (out []api.NewAPIKey) {
	for _, k := range keys {
		if k.Key != "" {
			out = append(out, k)
		}
	}
	return out
}

func TestAbuse_065_DeviceCodes(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		l := newLetIn(t, engine)
		t.Run("paced", func(t *testing.T) {
			d := l.begin(t)
			_, err := l.poll(t, d)
			refusedWith(t, err, "authorization_pending")
			for want := 10; want <= 15; want += 5 {
				a := l.Do(clavigertest.Call{Method: "POST", Path: "/v1/cli/token", Body: api.RedeemLogin{DeviceCode: d.DeviceCode}})
				if a.Status != 429 || a.Fault().Code != "slow_down" || a.Header.Get("Retry-After") == "" {
					t.Errorf("%d %s %v, want slower by %d", a.Status, a.Body, a.Header, want)
				}
			}
			l.clock.move(14 * time.Second) // as slow as asked twice is 15
			_, err = l.nobody.RedeemLogin(t.Context(), api.RedeemLogin{DeviceCode: d.DeviceCode})
			refusedWith(t, err, "slow_down")
			_, err = l.poll(t, d)
			refusedWith(t, err, "authorization_pending")
		})
		t.Run("over", func(t *testing.T) {
			d := l.begin(t)
			l.clock.move(time.Duration(d.ExpiresIn) * time.Second)
			_, err := l.poll(t, d)
			refusedWith(t, err, "expired_token")
			_, err = l.owner.DecideLogin(t.Context(), d.UserCode, true)
			refusedWith(t, err, "not_found")
		})
		t.Run("refused", func(t *testing.T) {
			d := l.begin(t)
			if _, err := l.owner.DecideLogin(t.Context(), d.UserCode, false); err != nil {
				t.Fatal(err)
			}
			_, err := l.poll(t, d)
			refusedWith(t, err, "access_denied")
			eventually(t, "the refusal is in the ledger", func() bool {
				entries, err := client.Collect(l.owner.Audit(t.Context(), client.AuditQuery{ResourceType: "login", Outcome: "denied", Code: "access_denied"}), 10)
				return err == nil && len(entries) == 1
			})
			_, err = l.owner.DecideLogin(t.Context(), d.UserCode, true)
			refusedWith(t, err, "not_found")
		})
		t.Run("strong and kept as hashes", func(t *testing.T) {
			// 8 characters of 32: 40 bits.
			code := regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$`)
			a, b := l.begin(t), l.begin(t)
			if !code.MatchString(a.UserCode) || a.UserCode == b.UserCode || a.DeviceCode == b.DeviceCode || len(a.DeviceCode) < 43 {
				t.Errorf("%+v %+v", a, b)
			}
			for name, content := range l.Files() {
				for _, secret := range []string{a.DeviceCode, a.UserCode, strings.Replace(a.UserCode, "-", "", 1)} {
					if bytes.Contains(content, []byte(secret)) {
						t.Errorf("%s holds a code", name)
					}
				}
			}
		})
		t.Run("guessed", func(t *testing.T) {
			l.clock.move(5 * time.Minute)
			d := l.begin(t)
			for range 10 {
				_, err := l.owner.DecideLogin(t.Context(), "0000-0000", true)
				refusedWith(t, err, "not_found")
			}
			_, err := l.owner.DecideLogin(t.Context(), d.UserCode, true)
			refusedWith(t, err, "too_many_attempts")
			l.clock.move(7 * time.Second)
			if _, err := l.owner.DecideLogin(t.Context(), d.UserCode, true); err != nil {
				t.Error(err)
			}
		})
		t.Run("asked for in a flood", func(t *testing.T) {
			l.clock.move(5 * time.Minute)
			for range 10 {
				l.begin(t)
			}
			_, err := l.nobody.BeginLogin(t.Context(), "ada-laptop")
			refusedWith(t, err, "too_many_attempts")
		})
		t.Run("a name that hides itself", func(t *testing.T) {
			l.clock.move(5 * time.Minute)
			_, err := l.nobody.BeginLogin(t.Context(), "safe\u202egnp")
			refusedWith(t, err, "invalid_format")
		})
	})
}

func TestAbuse_021_CodesAreNoTokens(t *testing.T) {
	l := newLetIn(t, clavigertest.SQLite)
	d := l.begin(t)
	for _, code := range []string{d.DeviceCode, d.UserCode, "clv_key_" + d.DeviceCode} {
		if a := l.Do(clavigertest.Call{Token: code, Method: "GET", Path: "/v1/whoami"}); a.Status != 401 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	// And the other way round.
	for _, token := range []string{l.Key, l.ClientSecret} {
		_, err := l.nobody.RedeemLogin(t.Context(), api.RedeemLogin{DeviceCode: token})
		refusedWith(t, err, "expired_token")
	}
}

func TestAbuse_032_ALoginIsNoWiderThanWhoApproves(t *testing.T) {
	w := clavigertest.NewTwins(t, clavigertest.Options{})
	nobody, err := client.New(w.URL, "", client.Anonymous())
	if err != nil {
		t.Fatal(err)
	}
	d, err := nobody.BeginLogin(t.Context(), "ada-laptop")
	if err != nil {
		t.Fatal(err)
	}
	for name, approver := range map[string]struct{ token, code string }{
		"an application":            {w.A.Operator, "person_required"},
		"a scoped token":            {w.ScopedA1, "wrong_token_kind"},
		"who makes no keys":         {w.Viewer, "permission_denied"},
		"a key of one workspace":    {w.ProxyOnly, "permission_denied"},
		"a key that was taken back": {w.Revoked, "invalid_token"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Client(approver.token).DecideLogin(t.Context(), d.UserCode, true)
			refusedWith(t, err, approver.code)
			_, err = w.Client(approver.token).GrantLogin(t.Context(), api.GrantLogin{
				Host: "h", State: "s", RedirectURI: "http://127.0.0.1:1/", CodeChallenge: challenge("v"),
			})
			refusedWith(t, err, approver.code)
		})
	}
	until := time.Now().Add(time.Hour)
	narrow, _ := w.APIKey(t, w.A, api.CreateAPIKey{Name: "narrow", Scopes: []string{"connections:read", "api-keys:create"}, ExpiresAt: &until})
	if _, err := w.Client(narrow).DecideLogin(t.Context(), d.UserCode, true); err != nil {
		t.Fatal(err)
	}
	key, err := nobody.RedeemLogin(t.Context(), api.RedeemLogin{DeviceCode: d.DeviceCode})
	if err != nil || strings.Join(key.Scopes, " ") != "api-keys:create connections:read" || key.ExpiresAt.After(until) {
		t.Errorf("%+v %v", key, err)
	}
	_, err = client.Collect(w.Client(key.Key).Secrets(t.Context(), ""), 1)
	refusedWith(t, err, "permission_denied")
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func TestLoginByLoopback(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		l := newLetIn(t, engine)
		grant := func(to string) (string, error) {
			g, err := l.owner.GrantLogin(t.Context(), api.GrantLogin{Host: "ada-laptop", State: "s&t", RedirectURI: to, CodeChallenge: challenge("proof")})
			u, parseErr := url.Parse(g.Location)
			if err == nil && (parseErr != nil || u.Query().Get("state") != "s&t" || !strings.HasPrefix(g.Location, to+"?")) {
				t.Errorf("%s %v", g.Location, parseErr)
			}
			return u.Query().Get("code"), err
		}
		for _, to := range []string{
			"https://127.0.0.1:1/", "http://127.0.0.1/", "http://localhost:1/", "http://127.0.0.1.evil.example:1/", "http://10.0.0.1:1/", "http://u@127.0.0.1:1/",
			"http://127.0.0.1:1/?x=1", "http://127.0.0.1:1/#x", "javascript:alert(1)", "",
		} {
			_, err := grant(to)
			refusedWith(t, err, "invalid_format")
		}
		redeem := func(code, verifier string) (api.NewAPIKey, error) {
			return l.nobody.RedeemLogin(t.Context(), api.RedeemLogin{Code: code, CodeVerifier: verifier})
		}
		code, err := grant("http://127.0.0.1:1/callback")
		if err != nil {
			t.Fatal(err)
		}
		key, err := redeem(code, "proof")
		if who, whoErr := l.Client(key.Key).Whoami(t.Context()); err != nil || whoErr != nil || who.Role != "owner" {
			t.Error(who, err, whoErr)
		}
		_, err = redeem(code, "proof")
		refusedWith(t, err, "expired_token")

		// Whoever caught the code has no proof, and has spoilt it.
		caught, err := grant("http://[::1]:1/callback")
		if err != nil {
			t.Fatal(err)
		}
		for _, proof := range []string{"", "guess", "proof"} {
			_, err = redeem(caught, proof)
			if !client.HasCode(err, "expired_token") && !client.HasCode(err, "access_denied") {
				t.Errorf("%q: %v", proof, err)
			}
		}
		late, err := grant("http://127.0.0.1:1/callback")
		if err != nil {
			t.Fatal(err)
		}
		l.clock.move(2 * time.Minute)
		_, err = redeem(late, "proof")
		refusedWith(t, err, "expired_token")
	})
}
