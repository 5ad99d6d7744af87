package oauth_test

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/egress"
	"claviger/internal/oauth"
)

// kit is a client of this package before a scripted server.
type kit struct {
	*oauth.Client
	server   *oauthserver.Server
	cfg      oauth.Config
	reg      claviger.OAuthClient
	redirect string
}

// newKit starts a server. change, if not nil, edits the connector's section.
func newKit(t testing.TB, policy oauthserver.Policy, change func(*claviger.OAuth)) *kit {
	t.Helper()
	server := oauthserver.Start(t, policy)
	rules := server.Rules()
	if change != nil {
		change(&rules)
	}
	return &kit{
		Client: newClient(server.Egress(t, nil)), server: server, cfg: resolve(t, &rules), reg: server.Client,
		redirect: "https://claviger.example/oauth/callback/org_1/acme",
	}
}

func newClient(e *egress.Client) *oauth.Client {
	return &oauth.Client{Egress: e, Now: time.Now, Random: rand.Reader}
}

func resolve(t testing.TB, rules *claviger.OAuth) oauth.Config {
	t.Helper()
	cfg, err := oauth.Resolve(rules, "org_1/acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// flow is an authorization under way.
type flow struct {
	state, nonce string
	verifier     claviger.Secret
}

func (k *kit) newFlow(t testing.TB) flow {
	t.Helper()
	state, err := k.NewState()
	if err != nil {
		t.Fatal(err)
	}
	nonce, err := k.NewState()
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := k.NewVerifier()
	if err != nil {
		t.Fatal(err)
	}
	return flow{state, nonce, verifier}
}

func (k *kit) authorization(f flow) oauth.Authorization {
	return oauth.Authorization{State: f.state, Nonce: f.nonce, Verifier: f.verifier, RedirectURI: k.redirect}
}

// code consents and answers what redeems it.
func (k *kit) code(t testing.TB, f flow) oauth.Code {
	t.Helper()
	address, err := oauth.AuthorizeURL(k.cfg, k.reg, k.authorization(f))
	if err != nil {
		t.Fatal(err)
	}
	back, err := oauth.ParseCallback(k.cfg, f.state, http.MethodGet, k.server.Approve(t, address))
	if err != nil {
		t.Fatal(err)
	}
	return oauth.Code{Code: back.Code, Verifier: f.verifier, RedirectURI: k.redirect}
}

// refreshWith sends a refresh token.
func (k *kit) refreshWith(t testing.TB, token string) oauth.Attempt {
	t.Helper()
	return k.Refresh(t.Context(), k.cfg, k.reg, claviger.NewSecretString(token), nil, nil)
}

// parsed reads an attempt that must have been answered with tokens.
func (k *kit) parsed(t testing.TB, a oauth.Attempt) claviger.Tokens {
	t.Helper()
	if a.Outcome != oauth.Answered {
		t.Fatalf("%s: %v", a.Outcome, a.Err)
	}
	tokens, err := oauth.Parse(k.cfg, k.reg, a.Raw)
	if err != nil {
		t.Fatalf("status %d: %v", a.Raw.Status, err)
	}
	return tokens
}

// show answers a secret's text, for a test's comparison.
func show(s claviger.Secret) (text string) {
	s.Use(func(b []byte) { text = string(b) })
	return text
}

// code answers the code of an *Error, and fails the test for any other error.
func code(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *claviger.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T) is no *claviger.Error", err, err)
	}
	return e.FineCode()
}

func query(t testing.TB, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// answer makes a raw answer that arrived at a fixed time.
func answer(status int, contentType, body string) oauth.Raw {
	return oauth.Raw{Status: status, ContentType: contentType, Received: arrival(), Body: claviger.NewSecretString(body)}
}

func arrival() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// plainConfig is a configuration for answers that no server gave.
func plainConfig(t testing.TB, change func(*claviger.OAuth)) oauth.Config {
	t.Helper()
	rules := &claviger.OAuth{
		ClientAuth: claviger.ClientSecretBasic, Endpoints: claviger.OAuthEndpoints{Token: claviger.MustTemplate("https://auth.acme.example/token")},
	}
	if change != nil {
		change(rules)
	}
	return resolve(t, rules)
}
