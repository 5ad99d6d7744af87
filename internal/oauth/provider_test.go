package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger"
	"claviger/clavigertest/oidcprovider"
	"claviger/internal/egress"
	"claviger/internal/oauth"
)

const (
	redirectURI    = "https://claviger.example/oauth/callback/org_1/acme"
	providerSecret = "s/cr+t%3A:&=~!" // every character that some encoding forgets
)

// certified is a client of the certified provider.
type certified struct {
	*oauth.Client
	provider *oidcprovider.Provider
	cfg      oauth.Config
	reg      claviger.OAuthClient
}

// providerClients are the registrations, by their way of authentication and what else
// they insist on.
func providerClients(t testing.TB) (clients []oidcprovider.Client, registrations map[string]claviger.OAuthClient) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk := jose.JSONWebKey{Key: key, KeyID: "k1", Algorithm: "ES256", Use: "sig"}
	private, err := jwk.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	registrations = map[string]claviger.OAuthClient{}
	add := func(id string, auth claviger.ClientAuth, more oidcprovider.Client) {
		client := oidcprovider.Client{
			"client_id": id, "token_endpoint_auth_method": auth, "redirect_uris": []string{redirectURI}, "response_types": []string{"code"},
			"grant_types": []string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"},
		}
		reg := claviger.OAuthClient{ID: id}
		switch auth {
		case claviger.PrivateKeyJWT:
			reg.PrivateKey = claviger.NewSecret(private)
			client["jwks"] = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk.Public()}}
			client["token_endpoint_auth_signing_alg"] = "ES256"
		case claviger.ClientAuthNone:
		default:
			reg.Secret = claviger.NewSecretString(providerSecret)
			client["client_secret"] = providerSecret
		}
		if auth != claviger.ClientAuthNone {
			client["grant_types"] = append(client["grant_types"].([]string), "client_credentials")
		}
		for name, value := range more {
			client[name] = value
		}
		clients = append(clients, client)
		registrations[id] = reg
	}
	add("client_secret_basic", claviger.ClientSecretBasic, nil)
	add("client_secret_post", claviger.ClientSecretPost, nil)
	add("private_key_jwt", claviger.PrivateKeyJWT, nil)
	add("none", claviger.ClientAuthNone, nil)
	add("dpop", claviger.ClientSecretBasic, oidcprovider.Client{"dpop_bound_access_tokens": true})
	add("par", claviger.PrivateKeyJWT, oidcprovider.Client{"require_pushed_authorization_requests": true})
	return clients, registrations
}

// newCertified discovers the provider for one registration.
func newCertified(t *testing.T, p *oidcprovider.Provider, reg claviger.OAuthClient, auth claviger.ClientAuth, change func(*claviger.OAuth)) *certified {
	t.Helper()
	allow, err := egress.ParseAllow("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	client := egress.New(egress.Config{Allow: allow})
	t.Cleanup(client.Close)
	rules := &claviger.OAuth{
		Issuer: claviger.MustTemplate(p.Issuer), Scopes: []string{"openid", "offline_access", "contacts.read", "contacts.write"}, ClientAuth: auth,
		AuthorizeParams: []claviger.OAuthParam{{Name: "prompt", Value: claviger.MustTemplate("consent")}},
		CheckIssuer:     true, OIDC: claviger.OAuthOIDC{Nonce: true, IDToken: true},
	}
	if change != nil {
		change(rules)
	}
	c := &certified{Client: newClient(client), provider: p, reg: reg, cfg: resolve(t, rules)}
	m, err := c.Discover(t.Context(), c.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !m.S256 || !m.IssuerParam || !m.DPoP {
		t.Errorf("the provider announces S256 %v, iss %v, DPoP %v", m.S256, m.IssuerParam, m.DPoP)
	}
	c.cfg = c.cfg.WithMetadata(m)
	return c
}

// connect goes through the whole flow, id token included.
func (c *certified) connect(t *testing.T, key claviger.Secret) (tokens claviger.Tokens, subject string) {
	t.Helper()
	k := &kit{Client: c.Client, cfg: c.cfg, reg: c.reg, redirect: redirectURI}
	f := k.newFlow(t)
	a := k.authorization(f)
	a.ProofKey = key
	address, err := oauth.AuthorizeURL(c.cfg, c.reg, a)
	if c.cfg.Rules.PAR {
		var expires time.Time
		address, expires, err = c.Push(t.Context(), c.cfg, c.reg, a)
		if !expires.After(time.Now()) || strings.Contains(address, f.state) {
			t.Errorf("pushed: good until %v", expires)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	back, err := oauth.ParseCallback(c.cfg, f.state, http.MethodGet, c.provider.Consent(t, address, "ada"))
	if err != nil || back.Err() != nil {
		t.Fatal(err, back.Err())
	}
	var proof *oauth.Proof
	if !key.Empty() {
		proof = &oauth.Proof{Key: key}
	}
	redeemed := c.Exchange(t.Context(), c.cfg, c.reg, oauth.Code{Code: back.Code, Verifier: f.verifier, RedirectURI: redirectURI}, proof)
	tokens = k.parsed(t, redeemed)
	keys, err := c.Keys(t.Context(), c.cfg)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := c.VerifyIDToken(c.cfg, c.reg, keys, tokens.ID, f.nonce)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(tokens.Scopes, "contacts.read") || tokens.Refresh.Empty() || !tokens.ExpiresAt.After(time.Now()) {
		t.Fatalf("scopes %v, expires %v", tokens.Scopes, tokens.ExpiresAt)
	}
	return tokens, claims.Subject
}

func (c *certified) refreshed(t *testing.T, token claviger.Secret, proof *oauth.Proof) (claviger.Tokens, oauth.Class) {
	t.Helper()
	a := c.Refresh(t.Context(), c.cfg, c.reg, token, nil, proof)
	if a.Outcome != oauth.Answered {
		t.Fatalf("%s: %v", a.Outcome, a.Err)
	}
	class := oauth.Classify(c.cfg, a.Raw)
	tokens, err := oauth.Parse(c.cfg, c.reg, a.Raw)
	if (err == nil) != (class.Verdict == oauth.Granted) {
		t.Fatalf("%s, %v", class.Verdict, err)
	}
	return tokens, class
}

// The whole protocol with a certified server, by every way of client authentication
// that it knows without client certificates.
func TestCertifiedProvider(t *testing.T) {
	clients, registrations := providerClients(t)
	p := oidcprovider.Start(t, clients, []string{"contacts.read", "contacts.write"})
	for _, auth := range []claviger.ClientAuth{claviger.ClientSecretBasic, claviger.ClientSecretPost, claviger.PrivateKeyJWT, claviger.ClientAuthNone} {
		t.Run(string(auth), func(t *testing.T) {
			c := newCertified(t, p, registrations[string(auth)], auth, nil)
			first, subject := c.connect(t, claviger.Secret{})
			if account, err := c.Userinfo(t.Context(), c.cfg, first.Access, subject, nil); err != nil || account.ID != "ada" {
				t.Errorf("userinfo: %s, %v", account.ID, err)
			}
			second, class := c.refreshed(t, first.Refresh, nil)
			if class.Verdict != oauth.Granted || show(second.Refresh) == show(first.Refresh) {
				t.Fatalf("refresh: %s", class.Verdict)
			}
			if _, class = c.refreshed(t, first.Refresh, nil); !class.Dead() {
				t.Errorf("a refresh token was good twice: %s", class.Verdict)
			}
			if _, class = c.refreshed(t, second.Refresh, nil); !class.Dead() {
				t.Errorf("the provider did not end the family: %s", class.Verdict)
			}
			c.endings(t)
			c.device(t)
			if auth != claviger.ClientAuthNone {
				c.minted(t)
			}
		})
	}
	t.Run("DPoP", func(t *testing.T) { testCertifiedDPoP(t, p, registrations["dpop"]) })
	t.Run("PAR", func(t *testing.T) {
		c := newCertified(t, p, registrations["par"], claviger.PrivateKeyJWT, func(o *claviger.OAuth) { o.PAR = true })
		c.connect(t, claviger.Secret{})
		unpushed, err := oauth.AuthorizeURL(c.cfg, c.reg, oauth.Authorization{State: state, Nonce: state, Verifier: claviger.NewSecretString(state), RedirectURI: redirectURI})
		if err != nil {
			t.Fatal(err)
		}
		back, err := oauth.ParseCallback(c.cfg, state, http.MethodGet, p.Consent(t, unpushed, "ada"))
		if err != nil || back.Error != oauth.InvalidRequest || back.Description == "" {
			t.Errorf("a request that was not pushed: %q, %v", back.Error, err)
		}
	})
	t.Run("wrong secret", func(t *testing.T) {
		reg := registrations["client_secret_basic"]
		reg.Secret = claviger.NewSecretString("wrong")
		c := newCertified(t, p, reg, claviger.ClientSecretBasic, nil)
		a := c.ClientCredentials(t.Context(), c.cfg, c.reg, []string{"contacts.read"}, nil)
		if class := oauth.Classify(c.cfg, a.Raw); class.Verdict != oauth.InvalidClient {
			t.Errorf("%s", class.Verdict)
		}
	})
}

// endings introspects a grant's tokens, narrows its scopes and revokes it.
func (c *certified) endings(t *testing.T) {
	t.Helper()
	tokens, _ := c.connect(t, claviger.Secret{})
	narrowed := c.Refresh(t.Context(), c.cfg, c.reg, tokens.Refresh, []string{"contacts.read"}, nil)
	tokens, err := oauth.Parse(c.cfg, c.reg, narrowed.Raw)
	if err != nil || !slices.Equal(tokens.Scopes, []string{"contacts.read"}) {
		t.Fatalf("narrowed: %v, %v", tokens.Scopes, err)
	}
	if is, err := c.Introspect(t.Context(), c.cfg, c.reg, tokens.Refresh, oauth.HintRefresh); err != nil || !is.Active || is.ClientID != c.reg.ID {
		t.Errorf("introspection: %v %s %v", is.Active, is.ClientID, err)
	}
	for _, token := range []struct {
		value claviger.Secret
		hint  string
	}{{tokens.Access, oauth.HintAccess}, {tokens.Refresh, oauth.HintRefresh}, {tokens.Refresh, oauth.HintRefresh}} {
		if r := c.Revoke(t.Context(), c.cfg, c.reg, token.value, token.hint); r.Verdict != oauth.Revoked {
			t.Errorf("revocation of %s: %s %s", token.hint, r.Verdict, r.Reason)
		}
	}
	if is, err := c.Introspect(t.Context(), c.cfg, c.reg, tokens.Refresh, oauth.HintRefresh); err != nil || is.Active {
		t.Errorf("after revocation: %v %v", is.Active, err)
	}
	if _, class := c.refreshed(t, tokens.Refresh, nil); !class.Dead() {
		t.Errorf("a revoked token refreshes: %s", class.Verdict)
	}
}

// device connects by the device flow.
func (c *certified) device(t *testing.T) {
	t.Helper()
	d, err := c.StartDevice(t.Context(), c.cfg, c.reg, nil)
	if err != nil {
		t.Fatal(err)
	}
	poll := func() (oauth.Attempt, oauth.Class) {
		a := c.PollDevice(t.Context(), c.cfg, c.reg, d, nil)
		if a.Outcome != oauth.Answered {
			t.Fatalf("%s: %v", a.Outcome, a.Err)
		}
		return a, oauth.Classify(c.cfg, a.Raw)
	}
	if _, class := poll(); class.Verdict != oauth.Pending {
		t.Errorf("before consent: %s", class.Verdict)
	}
	c.provider.Consent(t, d.VerificationURIComplete, "ada")
	a, class := poll()
	if class.Verdict != oauth.Granted {
		t.Fatalf("after consent: %s", class.Verdict)
	}
	tokens, err := oauth.Parse(c.cfg, c.reg, a.Raw)
	if err != nil || tokens.Access.Empty() {
		t.Error(err)
	}
	if _, class := poll(); !class.Dead() {
		t.Errorf("a device code was good twice: %s", class.Verdict)
	}
}

// minted asks for tokens of the client's own.
func (c *certified) minted(t *testing.T) {
	t.Helper()
	for range 2 {
		a := c.ClientCredentials(t.Context(), c.cfg, c.reg, []string{"contacts.read"}, nil)
		tokens, err := oauth.Parse(c.cfg, c.reg, a.Raw)
		if err != nil || !tokens.Refresh.Empty() || !slices.Equal(tokens.Scopes, []string{"contacts.read"}) {
			t.Errorf("client credentials: %v, %v", tokens.Scopes, err)
		}
	}
}

// testCertifiedDPoP: the provider demands a nonce, so that each first proof is refused
// and the second one carries it; tokens are bound to the key.
func testCertifiedDPoP(t *testing.T, p *oidcprovider.Provider, reg claviger.OAuthClient) {
	c := newCertified(t, p, reg, claviger.ClientSecretBasic, func(o *claviger.OAuth) { o.DPoP = true })
	key, err := c.NewProofKey()
	if err != nil {
		t.Fatal(err)
	}
	tokens, subject := c.connect(t, key)
	if tokens.Type != "DPoP" {
		t.Fatalf("type %s", tokens.Type)
	}
	proof := &oauth.Proof{Key: key}
	if account, err := c.Userinfo(t.Context(), c.cfg, tokens.Access, subject, proof); err != nil || account.ID != "ada" {
		t.Errorf("userinfo: %s, %v", account.ID, err)
	}
	other, err := c.NewProofKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Userinfo(t.Context(), c.cfg, tokens.Access, subject, &oauth.Proof{Key: other}); err == nil {
		t.Error("another key may use the token")
	}
	a := c.Refresh(t.Context(), c.cfg, c.reg, tokens.Refresh, nil, proof)
	if fresh, err := oauth.Parse(c.cfg, c.reg, a.Raw); err != nil || fresh.Type != "DPoP" || a.Nonce == "" {
		t.Errorf("refresh: %v, nonce %q", err, a.Nonce)
	}
}
