package clavigertest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/authenticator"
	chromium "claviger/clavigertest/browser"
	"claviger/clavigertest/oauthserver"
	"claviger/client"
)

// What a person does with one browser ends the other at its next request, on every node.
func TestConsole_EndingASessionIsSeenByAllNodes(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{Engine: clavigertest.PostgreSQL})
	b := owner(t, s)
	twin := clavigertest.Start(t, s.Options())
	there := visitor(t, twin)
	if p := there.signIn(ownerEmail, ownerPassword); p.Status != http.StatusSeeOther || !there.in() {
		t.Fatalf("signing in at the other node answered %d", p.Status)
	}
	ids := regexp.MustCompile(`/console/account/sessions/(ses_\w+)/end`).FindAllStringSubmatch(b.get("/console/account").Body, -1)
	if len(ids) != 2 {
		t.Fatalf("%d sessions are listed, want 2", len(ids))
	}
	if p := b.post("/console/account/sessions/"+ids[0][1]+"/end", b.own(url.Values{})); p.Status != http.StatusSeeOther { // the newest
		t.Fatalf("ending it answered %d: %s", p.Status, p.Body)
	}
	if there.in() || !b.in() {
		t.Error("the session that was ended still opens the console, or the other one does not")
	}
}

func TestConsole_ASecondFactorCountsOnce(t *testing.T) {
	c := &clock{at: time.Now()}
	s := clavigertest.Start(t, clavigertest.Options{Now: c.now})
	b := owner(t, s)
	page := b.get("/console/account/factor")
	m := regexp.MustCompile(`name="secret" value="([A-Z2-7]+)"`).FindStringSubmatch(page.Body)
	if m == nil {
		t.Fatalf("no key is offered: %s", page.Body)
	}
	added := b.post("/console/account/factor", b.own(url.Values{"secret": {m[1]}, "code": {authenticator.Code(t, m[1], c.now())}}))
	codes := regexp.MustCompile(`<code>([0-9A-Z]{5}-[0-9A-Z]{5})</code>`).FindAllStringSubmatch(added.Body, -1)
	if added.Status != http.StatusOK || len(codes) != 10 {
		t.Fatalf("adding the app answered %d: %s", added.Status, added.Body)
	}
	enter := func(code string) page2 {
		t.Helper()
		half := visitor(t, s)
		if p := half.signIn(ownerEmail, ownerPassword); p.Location != "/console/sign-in/code" {
			t.Fatalf("the password alone led to %q", p.Location)
		}
		if half.in() {
			t.Error("half a sign-in opens the console")
		}
		before := half.session()
		form := formToken.FindStringSubmatch(half.get("/console/sign-in/code").Body)
		p := half.post("/console/sign-in/code", url.Values{"code": {code}, "form": {form[1]}})
		return page2{p, half.in(), half.session() != before}
	}
	used := authenticator.Code(t, m[1], c.now())
	if got := enter(used); got.in {
		t.Error("the code that added the app let somebody in")
	}
	c.move(30 * time.Second)
	next := authenticator.Code(t, m[1], c.now())
	if got := enter(next); !got.in || !got.renewed {
		t.Errorf("the next code: %+v", got)
	}
	if got := enter(next); got.in {
		t.Error("a code let somebody in twice")
	}
	if got := enter(strings.ToLower(codes[0][1])); !got.in {
		t.Errorf("a recovery code answered %d: %s", got.Status, got.Body)
	}
	if got := enter(codes[0][1]); got.in {
		t.Error("a recovery code let somebody in twice")
	}
	slow := 0
	for range 6 {
		if enter("000000").Header.Get("Claviger-Error") == "too_many_attempts" {
			slow++
		}
	}
	if slow == 0 {
		t.Error("codes can be guessed without end")
	}
}

// page2 is what became of a second factor.
type page2 struct {
	page
	in, renewed bool
}

func TestConsole_SessionsEndByThemselves(t *testing.T) {
	c := &clock{at: time.Now()}
	s := clavigertest.Start(t, clavigertest.Options{Now: c.now})
	b := owner(t, s)
	for range 13 { // used twice a day, it lives a week
		c.move(11 * time.Hour)
		if !b.in() {
			t.Fatal("a session that is in use ended")
		}
	}
	if wrong := b.post("/console/account/password", b.own(url.Values{"password": {"another good password"}})); wrong.Header.Get("Claviger-Error") != "sign_in_again" {
		t.Errorf("an old session changed the password: %d", wrong.Status)
	}
	c.move(11 * time.Hour)
	c.move(11 * time.Hour)
	c.move(11 * time.Hour)
	if b.in() {
		t.Error("a session lives longer than a week")
	}
	b.signIn(ownerEmail, ownerPassword)
	c.move(12 * time.Hour)
	if b.in() {
		t.Error("a session that nobody used for 12 hours opens the console")
	}
}

// TestConsole_ConnectsASlotsAccount: a slot whose system signs people in gets its client
// from its secrets and its account from the person at the page.
func TestConsole_ConnectsASlotsAccount(t *testing.T) {
	vendor := oauthserver.Start(t, oauthserver.Policy{})
	u, err := url.Parse(vendor.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := clavigertest.Start(t, clavigertest.Options{EgressAllow: u.Host, RootCAs: vendor.Roots()})
	c := s.Client(s.Key)
	document := strings.ReplaceAll(`{"key": "crm", "displayName": "CRM", "description": "A CRM.", "type": "custom",
		"authentications": [{"key": "default", "usage": "api", "authType": "credential", "credential": {"method": "oauth2",
		"variables": {"baseUrl": "BASE", "tokenUrl": "BASE/token", "grantType": "authorization_code", "scope": "contacts.read", "testEndpoint": "/userinfo"},
		"security": {"clientId": "kv://crm/clientId", "clientSecret": "kv://crm/clientSecret"}}}]}`, "BASE", vendor.URL)
	if _, err := c.PutSystem(t.Context(), "crm", api.SystemUpload{System: json.RawMessage(document)}); err != nil {
		t.Fatal(err)
	}
	p := chromium.Start(t).Open(t, chromium.Desktop())
	settleIn(t, s, p)
	p.Goto(s.URL + "/console/systems/crm?tab=authentication")
	p.Fill("Client ID", vendor.Client.ID)
	p.Fill("Client secret", reveal(vendor.Client.Secret))
	p.Click("button", "Save and test")
	p.SeeRole("button", "Connect an account for the slot default")
	looksGood(t, p, "authentication-oauth")
	p.Click("button", "Connect an account for the slot default")
	p.Click("button", "Continue to CRM")
	p.See("The account is connected") // by itself, in the browser that began
	if got := slotsOfSystem(t, c, "crm")[0]; got.Status != "active" {
		t.Errorf("the slot is %+v", got)
	}
	p.Click("button", "Test")
	p.See("The connection works")
	neverShown(t, s, p, reveal(vendor.Client.Secret))
}

func slotsOfSystem(t *testing.T, c *client.Client, key string) []api.Slot {
	t.Helper()
	slots, err := c.Slots(t.Context(), key)
	if err != nil || len(slots) == 0 {
		t.Fatal(slots, err)
	}
	return slots
}
