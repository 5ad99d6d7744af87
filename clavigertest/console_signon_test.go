package clavigertest_test

import (
	"net/http"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	chromium "claviger/clavigertest/browser"
	"claviger/clavigertest/oidcprovider"
)

const signOnSecret = "a-secret-of-the-provider-test"

// providing is a server whose first organization signs in by a certified provider.
type providing struct {
	*clavigertest.Server
	t        *testing.T
	org      string
	provider *oidcprovider.Provider
}

// startProviding starts both. people are who has an account at the provider.
func startProviding(t *testing.T, o clavigertest.Options, role string, people oidcprovider.People) *providing {
	t.Helper()
	o.EgressAllow = "127.0.0.1"
	x := &providing{t: t, Server: clavigertest.Start(t, o)}
	x.org = x.Do(call{Token: x.Key, Method: http.MethodGet, Path: "/v1/whoami"}).Field("organizationId")
	x.provider = oidcprovider.StartFor(t, []oidcprovider.Client{{
		"client_id": "console", "client_secret": signOnSecret, "redirect_uris": []string{x.URL + "/console/sign-in/sso/" + x.org + "/callback"},
		"grant_types": []string{"authorization_code"}, "response_types": []string{"code"}, "token_endpoint_auth_method": "client_secret_basic",
	}}, []string{}, people)
	secret := signOnSecret
	set, err := x.Client(x.Key).PutSingleSignOn(t.Context(), api.PutSingleSignOn{
		Issuer: x.provider.Issuer, ClientID: "console", ClientSecret: &secret, AllowedDomains: []string{"example.com"}, DefaultRole: role,
	})
	if err != nil {
		t.Fatal(err)
	}
	if set.RedirectURI != x.URL+"/console/sign-in/sso/"+x.org+"/callback" || len(set.Secrets) != 1 {
		t.Fatalf("set to %+v", set)
	}
	return x
}

// logIn is what a person does at the provider.
func (x *providing) logIn(p *chromium.Page, name string) {
	x.t.Helper()
	p.At(x.provider.Issuer + "/interaction/")
	p.Fill("Enter any login", name)
	p.Fill("and password", "anything")
	p.Click("button", "Sign-in")
	p.See("Authorize")
	p.Click("button", "Continue")
}

// TestConsole_SingleSignOn is the way of a person who was invited, through the provider's
// own pages, until the owner removes the provider.
func TestConsole_SingleSignOn(t *testing.T) {
	x := startProviding(t, clavigertest.Options{}, "", oidcprovider.People{
		"grace": {"email": "grace@example.com", "email_verified": true, "name": "Grace Hopper"},
		"eve":   {"email": "eve@example.com", "email_verified": true},
	})
	c := x.Client(x.Key)
	if _, err := c.CreateUser(t.Context(), api.CreateUser{Name: "Grace Hopper", Email: "grace@example.com", Role: "viewer"}); err != nil {
		t.Fatal(err)
	}
	b := chromium.Start(t)
	p := b.Open(t, chromium.Desktop())
	p.Goto(x.URL + "/console/connections")
	p.SeeRole("heading", "Sign in")
	looksGood(t, p, "sign-in-sso")
	p.Click("button", "Continue with single sign-on")
	x.logIn(p, "grace")
	p.At(x.URL + "/console/connections")
	p.SeeRole("heading", "Connections")
	p.Goto(x.URL + "/console/account")
	p.See("by single sign-on")
	p.See("Grace Hopper")
	looksGood(t, p, "account-sso")
	p.Click("button", "Unlink it")
	p.See("you could not sign in any more")

	stranger := b.Open(t, chromium.Desktop())
	stranger.Goto(x.URL + "/console/sign-in?organization=" + x.org)
	stranger.Click("button", "Continue with single sign-on")
	x.logIn(stranger, "eve")
	stranger.See("nobody has invited you here")
	looksGood(t, stranger, "not-invited")

	if _, err := c.DeleteSingleSignOn(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Goto(x.URL + "/console/account")
	p.SeeRole("heading", "Sign in")
	if text := p.Text(); strings.Contains(text, "single sign-on") {
		t.Error("a provider that was removed is offered")
	}
	if strings.Contains(x.Logs.String(), signOnSecret) {
		t.Error("the log has the client's secret")
	}
}

// TestConsole_ANewcomerGetsTheDefaultRole: an organization may let people in uninvited, by
// the domains of their addresses, as anything but owners.
func TestConsole_ANewcomerGetsTheDefaultRole(t *testing.T) {
	x := startProviding(t, clavigertest.Options{Engine: clavigertest.PostgreSQL}, "viewer", oidcprovider.People{
		"linus":   {"email": "Linus@Example.com", "email_verified": true, "name": "Linus"},
		"mallory": {"email": "mallory@example.org", "email_verified": true},
		"trudy":   {"email": "trudy@example.com", "email_verified": false},
	})
	come := func(name string) (*browser, page) {
		b := visitor(t, x.Server)
		away := b.post("/console/sign-in/sso/"+x.org, nil)
		_, onward, _ := strings.Cut(away.Header.Get("Refresh"), "url=")
		return b, b.get("/console/sign-in/sso/" + x.org + "/callback?" + x.provider.Consent(t, onward, name))
	}
	b, back := come("linus")
	if back.Location != "/console/" || !b.in() {
		t.Fatalf("a newcomer was answered %d: %s", back.Status, back.Body)
	}
	if page := b.get("/console/account").Body; !strings.Contains(page, "linus@example.com") || !strings.Contains(page, "viewer") {
		t.Errorf("the newcomer is %s", page)
	}
	if again, back := come("linus"); back.Location != "/console/" || !again.in() {
		t.Errorf("the second time answered %d: %s", back.Status, back.Body)
	}
	for name, code := range map[string]string{"mallory": "email_not_allowed", "trudy": "email_not_verified", "nobody": "email_not_verified"} {
		if b, back := come(name); b.in() || back.Header.Get("Claviger-Error") != code {
			t.Errorf("%s was answered %d %s, want %s", name, back.Status, back.Header.Get("Claviger-Error"), code)
		}
	}
	users := x.Do(call{Token: x.Key, Method: http.MethodGet, Path: "/v1/users"})
	if n := strings.Count(string(users.Body), `"object":"user"`); n != 2 {
		t.Errorf("there are %d people, want the owner and the newcomer: %s", n, users.Body)
	}
}

// TestConsole_APersonLinksTheirProvider: who has a password links the provider themselves.
func TestConsole_APersonLinksTheirProvider(t *testing.T) {
	x := startProviding(t, clavigertest.Options{}, "", oidcprovider.People{"ada": {"email": ownerEmail, "email_verified": true}})
	p := chromium.Start(t).Open(t, chromium.Desktop())
	settleIn(t, x.Server, p)
	p.Goto(x.URL + "/console/account")
	p.Click("button", "Link your account there")
	x.logIn(p, "ada")
	p.See("You can sign in by your organization's provider from now on")
	p.Click("button", "Sign out")
	p.Click("button", "Continue with single sign-on")
	p.SeeRole("heading", "Home") // the provider remembers
	p.Goto(x.URL + "/console/account")
	p.Click("button", "Unlink it")
	p.See("Sign in another way first")
	p.Click("button", "Sign out")
	p.Fill("E-mail address", ownerEmail)
	p.Fill("Password", ownerPassword)
	p.Click("button", "Sign in")
	p.SeeRole("heading", "Home")
	p.Goto(x.URL + "/console/account")
	p.Click("button", "Unlink it")
	p.See("opens nothing here any more")
	p.Click("button", "Sign out")
	p.Click("button", "Continue with single sign-on")
	p.See("sign in as before and link single sign-on")
}
