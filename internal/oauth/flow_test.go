package oauth_test

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/oauth"
)

func TestCodeFlow(t *testing.T) {
	for _, style := range []oauthserver.Style{"", oauthserver.GitHub, oauthserver.Slack, oauthserver.Salesforce} {
		for _, auth := range []claviger.ClientAuth{claviger.ClientSecretBasic, claviger.ClientSecretPost, claviger.ClientAuthNone} {
			t.Run(string(style)+" "+string(auth), func(t *testing.T) {
				k := newKit(t, oauthserver.Policy{Style: style, ClientAuth: auth, Rotates: true}, func(o *claviger.OAuth) {
					o.CheckIssuer = true
					if style == oauthserver.Slack {
						o.TokenResponse = claviger.OAuthTokenResponse{
							AccessToken: "$.authed_user.access_token", RefreshToken: "$.authed_user['refresh_token']", OK: "$.ok",
							Scope: "$.authed_user.scope", ExpiresIn: "$.authed_user.expires_in", TokenType: "$.authed_user.token_type",
						}
					}
				})
				f := k.newFlow(t)
				redeem := k.code(t, f)
				before := time.Now()
				tokens := k.parsed(t, k.Exchange(t.Context(), k.cfg, k.reg, redeem, nil))
				if tokens.Type != "Bearer" || !slices.Equal(tokens.Scopes, []string{"contacts.read", "contacts.write"}) ||
					tokens.ExpiresAt.Before(before.Add(59*time.Minute)) || tokens.ExpiresAt.After(time.Now().Add(time.Hour)) {
					t.Errorf("type %s, scopes %v, expires %v", tokens.Type, tokens.Scopes, tokens.ExpiresAt)
				}
				again := k.Exchange(t.Context(), k.cfg, k.reg, redeem, nil)
				if class := oauth.Classify(k.cfg, again.Raw); !class.Dead() {
					t.Errorf("a second use of the code: %s", class.Verdict)
				}
				if n := len(k.server.Received("/token")); n != 2 {
					t.Errorf("%d token requests for two exchanges", n)
				}
			})
		}
	}
}

func TestRefresh(t *testing.T) {
	k := newKit(t, oauthserver.Policy{Rotates: true, RevokeFamily: true}, nil)
	first := k.server.Grant("contacts.read", "contacts.write")
	second := k.parsed(t, k.refreshWith(t, first))
	third := k.parsed(t, k.refreshWith(t, show(second.Refresh)))
	if k.server.Live() != 1 || !k.server.Alive(show(third.Refresh)) {
		t.Fatalf("%d refresh tokens are alive", k.server.Live())
	}
	narrowed := k.Refresh(t.Context(), k.cfg, k.reg, third.Refresh, []string{"contacts.read"}, nil)
	if tokens := k.parsed(t, narrowed); !slices.Equal(tokens.Scopes, []string{"contacts.read"}) {
		t.Errorf("scopes %v after narrowing", tokens.Scopes)
	}
	if class := oauth.Classify(k.cfg, k.refreshWith(t, first).Raw); !class.Dead() || k.server.Live() != 0 {
		t.Errorf("reuse is %s and left %d alive", class.Verdict, k.server.Live())
	}
	if a := k.Refresh(t.Context(), k.cfg, k.reg, claviger.Secret{}, nil, nil); a.Outcome != oauth.NotSent || code(t, a.Err) != "reauthorization_required" {
		t.Errorf("without a refresh token: %s %v", a.Outcome, a.Err)
	}
}

// The vendors' renamed parameters, their own ones, and JSON bodies.
func TestRefresh_VendorsOwnWords(t *testing.T) {
	k := newKit(t, oauthserver.Policy{ClientAuth: claviger.ClientSecretPost}, func(o *claviger.OAuth) {
		o.TokenRequestFormat = "json"
		o.TokenParams = []claviger.OAuthParam{{Name: "audience", Value: claviger.MustTemplate("api.acme.example")}}
		o.TokenHeaders = []claviger.Header{{Name: "acme-version", Value: claviger.MustTemplate("2")}}
		o.Endpoints.Refresh = o.Endpoints.Token
	})
	k.cfg.Endpoints.Token = "https://nowhere.example/token"
	k.parsed(t, k.refreshWith(t, k.server.Grant("a")))
	got := k.server.Received("/token")[0]
	if got.Header.Get("Acme-Version") != "2" || got.Header.Get("Content-Type") != "application/json" || !strings.Contains(got.Body, `"audience":"api.acme.example"`) {
		t.Errorf("header %v", got.Header)
	}
}

func TestClientCredentials(t *testing.T) {
	k := newKit(t, oauthserver.Policy{}, nil)
	tokens := k.parsed(t, k.ClientCredentials(t.Context(), k.cfg, k.reg, []string{"sync"}, nil))
	if !tokens.Refresh.Empty() || !slices.Equal(tokens.Scopes, []string{"sync"}) {
		t.Errorf("scopes %v, refresh token %v", tokens.Scopes, !tokens.Refresh.Empty())
	}
}

// TestAbuse_054_PKCEIsNeverWeaker: S256 is sent whatever the server says, only the
// connector's own exception leaves it out, and there is no "plain".
func TestAbuse_054_PKCEIsNeverWeaker(t *testing.T) {
	for name, announced := range map[string]any{"plain alone": []string{"plain"}, "nothing": nil, "both": []string{"plain", "S256"}} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, oauthserver.Policy{}, nil)
			k.server.Next(oauthserver.Fault{Change: map[string]any{"code_challenge_methods_supported": announced}})
			m, err := k.Discover(t.Context(), k.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if m.S256 != (name == "both") {
				t.Errorf("S256 announced: %v", m.S256)
			}
			k.cfg = k.cfg.WithMetadata(m)
			f := k.newFlow(t)
			address, err := oauth.AuthorizeURL(k.cfg, k.reg, k.authorization(f))
			if err != nil {
				t.Fatal(err)
			}
			q := query(t, address)
			if q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") != oauth.Challenge(f.verifier) {
				t.Errorf("challenge %q by %q", q.Get("code_challenge"), q.Get("code_challenge_method"))
			}
			k.parsed(t, k.Exchange(t.Context(), k.cfg, k.reg, k.code(t, f), nil))
		})
	}
	t.Run("no verifier", func(t *testing.T) {
		k := newKit(t, oauthserver.Policy{}, nil)
		f := k.newFlow(t)
		f.verifier = claviger.Secret{}
		if _, err := oauth.AuthorizeURL(k.cfg, k.reg, k.authorization(f)); err == nil {
			t.Error("an authorization without a challenge was made")
		}
		a := k.Exchange(t.Context(), k.cfg, k.reg, oauth.Code{Code: claviger.NewSecretString("c")}, nil)
		if a.Outcome != oauth.NotSent || len(k.server.Received("/token")) != 0 {
			t.Errorf("a code without a verifier: %s", a.Outcome)
		}
	})
	t.Run("settings", func(t *testing.T) {
		for setting, fine := range map[claviger.PKCE]bool{"": true, "S256": true, "off": true, "plain": false, "s256": false} {
			rules := oauthserver.Start(t, oauthserver.Policy{}).Rules()
			rules.PKCE = setting
			if _, err := oauth.Resolve(&rules, "p", nil); (err == nil) != fine {
				t.Errorf("pkce %q: %v", setting, err)
			}
		}
	})
	t.Run("exception", func(t *testing.T) {
		k := newKit(t, oauthserver.Policy{}, func(o *claviger.OAuth) { o.PKCE = claviger.PKCEOff })
		address, err := oauth.AuthorizeURL(k.cfg, k.reg, k.authorization(k.newFlow(t)))
		if q := query(t, address); err != nil || q.Has("code_challenge") || q.Has("code_challenge_method") {
			t.Errorf("%v, challenge %q", err, q.Get("code_challenge"))
		}
	})
	t.Run("smuggled", func(t *testing.T) {
		k := newKit(t, oauthserver.Policy{}, nil)
		a := k.authorization(k.newFlow(t))
		for _, name := range []string{"code_challenge_method", "state", "redirect_uri", "client_id", "request", "nonce"} {
			a.Extra = []oauth.Param{{Name: name, Value: "plain"}}
			if _, err := oauth.AuthorizeURL(k.cfg, k.reg, a); code(t, err) != "invalid_parameter" {
				t.Errorf("%s was accepted: %v", name, err)
			}
		}
	})
}

// TestAbuse_055_Entropy is bounded here: 200,000 samples of each kind.
func TestAbuse_055_Entropy(t *testing.T) {
	k := newClient(nil)
	const samples = 200_000
	seen := make(map[string]bool, 2*samples)
	for range samples {
		state, err := k.NewState()
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := k.NewVerifier()
		if err != nil {
			t.Fatal(err)
		}
		if text := show(verifier); len(state) < 43 || len(text) < 43 || seen[state] || seen[text] {
			t.Fatal("a value is short or stands twice")
		} else {
			seen[state], seen[text] = true, true
		}
	}
	t.Logf("%d values, all different, 256 bits each", len(seen))
	k.Random = bytes.NewReader(make([]byte, 10))
	if _, err := k.NewState(); !claviger.IsKind(err, claviger.KindUnavailable) {
		t.Errorf("without randomness: %v", err)
	}
	f := newKit(t, oauthserver.Policy{}, nil)
	fl := f.newFlow(t)
	address, err := oauth.AuthorizeURL(f.cfg, f.reg, f.authorization(fl))
	if err != nil || strings.Contains(address, show(fl.verifier)) {
		t.Errorf("%v; the verifier is in the address", err)
	}
}

// RFC 7636, appendix B.
func TestChallenge(t *testing.T) {
	if got := oauth.Challenge(claviger.NewSecretString("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")); got != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" {
		t.Errorf("challenge %s", got)
	}
}

func TestAuthorizeURL(t *testing.T) {
	lookup := func(name string) (string, bool) { return "eu1", name == "region" }
	rules := &claviger.OAuth{
		Endpoints: claviger.OAuthEndpoints{
			Authorize: claviger.MustTemplate("https://${region}.acme.example/authorize?tenant=1"),
			Token:     claviger.MustTemplate("https://${region}.acme.example/token"),
		},
		ClientAuth: claviger.ClientSecretPost, ClientIDParam: "client_key", Scopes: []string{"a", "b"}, ScopeSeparator: ",", ScopeParam: "user_scope",
		AuthorizeParams: []claviger.OAuthParam{{Name: "access_type", Value: claviger.MustTemplate("offline")}},
		Resource:        []claviger.Template{claviger.MustTemplate("https://api.acme.example"), claviger.MustTemplate("https://files.acme.example")},
		OIDC:            claviger.OAuthOIDC{Nonce: true},
	}
	cfg, err := oauth.Resolve(rules, "p", lookup)
	if err != nil {
		t.Fatal(err)
	}
	a := oauth.Authorization{
		State: "st", Nonce: "no", Verifier: claviger.NewSecretString("v"), RedirectURI: "https://us.example/cb?x=1",
		Extra: []oauth.Param{{Name: "login_hint", Value: "a&b=c"}},
	}
	for range 2 {
		got, err := oauth.AuthorizeURL(cfg, claviger.OAuthClient{ID: "id/1"}, a)
		if err != nil {
			t.Fatal(err)
		}
		want := url.Values{
			"tenant": {"1"}, "response_type": {"code"}, "client_key": {"id/1"}, "state": {"st"}, "nonce": {"no"}, "redirect_uri": {"https://us.example/cb?x=1"},
			"user_scope": {"a,b"}, "access_type": {"offline"}, "login_hint": {"a&b=c"}, "resource": {"https://api.acme.example", "https://files.acme.example"},
			"code_challenge": {oauth.Challenge(a.Verifier)}, "code_challenge_method": {"S256"},
		}
		if !strings.HasPrefix(got, "https://eu1.acme.example/authorize?tenant=1&") || query(t, got).Encode() != want.Encode() {
			t.Errorf("%s", got)
		}
	}
	if _, err := oauth.AuthorizeURL(cfg, claviger.OAuthClient{}, a); code(t, err) != "oauth_client_missing" {
		t.Errorf("without a client: %v", err)
	}
}
