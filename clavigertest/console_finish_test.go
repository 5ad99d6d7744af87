package clavigertest_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	chromium "claviger/clavigertest/browser"
	"claviger/clavigertest/oauthserver"
)

// fromConsole begins to connect an account in a person's console and answers where the
// browser leaves for the vendor.
func (b *browser) fromConsole(id string) string {
	b.t.Helper()
	_, token, ok := strings.Cut(b.post("/console/connections/"+id+"/connect", b.own(url.Values{})).Location, "/connect/")
	if !ok {
		b.t.Fatal("the console leads to no connect page")
	}
	return b.choose(api.ConnectSessionMade{Token: token})
}

// comesBack takes a browser to the vendor and answers the console's address that it comes
// back with.
func (x *consent) comesBack(b *browser, start string) string {
	x.t.Helper()
	p := b.get(x.callback(b.leave(start)))
	if p.Status != http.StatusSeeOther || !strings.Contains(p.Location, "/console/connected/") {
		x.t.Fatalf("the callback answered %d to %s: %s", p.Status, p.Location, p.Body)
	}
	return p.Location
}

// holding answers a browser with those cookies of others that have one of the names.
func (x *consent) holding(from map[string]*browser) *browser {
	x.t.Helper()
	u, err := url.Parse(x.URL)
	if err != nil {
		x.t.Fatal(err)
	}
	b := x.browser()
	for name, other := range from {
		for _, c := range other.http.Jar.(*cookiejar.Jar).Cookies(u) {
			if c.Name == name {
				b.http.Jar.SetCookies(u, []*http.Cookie{c})
			}
		}
	}
	return b
}

func (x *consent) status(id string) string {
	x.t.Helper()
	conn, err := x.api.Connection(x.t.Context(), id)
	if err != nil {
		x.t.Fatal(err)
	}
	return conn.Status
}

// TestAbuse_048_062_TheConsoleFinishesForItsOwnSession: who began in the console is asked
// nothing in the session and browser that they began in. Everybody else is, they
// themselves in another browser included, because an address that was sent to a person
// must not connect an account to what is theirs.
func TestAbuse_048_062_TheConsoleFinishesForItsOwnSession(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	b := owner(t, x.Server)
	elsewhere, grace, stranger := x.browser(), another(t, x.Server, "admin"), x.browser()
	elsewhere.signIn(ownerEmail, ownerPassword)
	const session, departure = "claviger_session", "claviger_browser"
	asks := func(t *testing.T, who *browser, address, id string) {
		t.Helper()
		if p := who.get(address); p.Status != http.StatusOK || !strings.Contains(p.Body, "Use this account") {
			t.Errorf("the page answered %d to %q: %s", p.Status, p.Location, p.Body)
		}
		if s := x.status(id); s != "pending" {
			t.Errorf("the connection is %s", s)
		}
	}
	finishes := func(t *testing.T, who *browser, address, id string) {
		t.Helper()
		if p := who.get(address); p.Status != http.StatusSeeOther || p.Location != "/console/connections/"+id+"?done=connected" {
			t.Errorf("the page answered %d to %q: %s", p.Status, p.Location, p.Body)
		}
		if s := x.status(id); s != "active" {
			t.Errorf("the connection is %s", s)
		}
	}

	conn := x.begin("mine")
	back := x.comesBack(b, b.fromConsole(conn.ID))
	for name, who := range map[string]*browser{
		"another session of the same person":           elsewhere,
		"another session, with the departure's cookie": x.holding(map[string]*browser{session: elsewhere, departure: b}),
		"another person": grace,
		"another person, with the departure's cookie":     x.holding(map[string]*browser{session: grace, departure: b}),
		"the same session without the departure's cookie": x.holding(map[string]*browser{session: b}),
	} {
		t.Run(name, func(t *testing.T) { asks(t, who, back, conn.ID) })
	}
	t.Run("another code", func(t *testing.T) {
		for range 6 { // and none of them counts as a try
			asks(t, b, strings.Replace(back, "finishCode=", "finishCode=x", 1), conn.ID)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		if p := stranger.get(back); p.Status != http.StatusSeeOther || !strings.HasPrefix(p.Location, "/console/sign-in") || x.status(conn.ID) != "pending" {
			t.Errorf("answered %d to %q", p.Status, p.Location)
		}
	})
	t.Run("the one who began", func(t *testing.T) {
		finishes(t, b, back, conn.ID)
		if p := b.get(back); p.Status != http.StatusOK {
			t.Errorf("the second time it answered %d", p.Status)
		}
	})
	t.Run("a departure from somebody else's browser", func(t *testing.T) {
		conn := x.begin("another")
		start := b.fromConsole(conn.ID)
		b.leave(start)
		asks(t, b, x.comesBack(stranger, start), conn.ID)
	})
	t.Run("a link that was sent on", func(t *testing.T) {
		conn := x.begin("grace's")
		back := x.comesBack(b, grace.fromConsole(conn.ID))
		asks(t, b, back, conn.ID)
		asks(t, grace, back, conn.ID)
	})
	t.Run("begun by a program", func(t *testing.T) {
		conn := x.begin("a program's")
		made := x.session(api.CreateConnectSession{ConnectionID: conn.ID, ReturnURL: x.URL + "/console/connected/" + conn.ID})
		asks(t, b, x.comesBack(b, b.choose(made)), conn.ID)
	})
	t.Run("signed in anew on the way", func(t *testing.T) {
		conn := x.begin("later")
		back := x.comesBack(b, b.fromConsole(conn.ID))
		b.post("/console/sign-out", b.own(url.Values{}))
		b.signIn(ownerEmail, ownerPassword)
		asks(t, b, back, conn.ID)
		q := query(t, back)
		p := b.post("/console/connected/"+conn.ID, b.own(url.Values{"session": {q.Get("sessionId")}, "code": {q.Get("finishCode")}}))
		if p.Status != http.StatusSeeOther || x.status(conn.ID) != "active" {
			t.Errorf("their word answered %d: %s", p.Status, p.Body)
		}
	})
}

// A device's code may have been typed by anybody, so the person is asked whose account it is.
func TestAbuse_048_065_TheConsoleAsksAfterADevice(t *testing.T) {
	c := &clock{at: time.Now()}
	x := newGrant(t, clavigertest.Options{Now: c.now}, oauthserver.Policy{Now: c.now}, deviceGrant)
	x.register()
	conn, err := x.create("mine", nil)
	if err != nil {
		t.Fatal(err)
	}
	x.later(c, 6*time.Second)
	eventually(t, "it is connected a first time", func() bool { return x.status(conn.ID) == "active" })
	b := owner(t, x.Server)
	start := b.fromConsole(conn.ID)
	if p := b.get(start); p.Status != http.StatusOK {
		t.Fatalf("the page of the code answered %d: %s", p.Status, p.Body)
	}
	x.later(c, 6*time.Second)
	var back string
	eventually(t, "there is a way on", func() bool {
		back = b.get(start).Location
		return back != ""
	})
	if p := b.get(back); p.Status != http.StatusOK || !strings.Contains(p.Body, "Use this account") {
		t.Fatalf("%s answered %d to %q", back, p.Status, p.Location)
	}
	q := query(t, back)
	p := b.post("/console/connected/"+conn.ID, b.own(url.Values{"session": {q.Get("sessionId")}, "code": {q.Get("finishCode")}}))
	if p.Status != http.StatusSeeOther {
		t.Errorf("their word answered %d: %s", p.Status, p.Body)
	}
}

// TestConsole_AsksInAnotherSession: who signed in anew on the way says the last word.
func TestConsole_AsksInAnotherSession(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn := x.begin("mine")
	p := chromium.Start(t).Open(t, chromium.Desktop())
	settleIn(t, x.Server, p)
	p.Goto(x.URL + "/console/connections/" + conn.ID)
	p.Click("button", "Connect an account")
	p.SeeRole("button", "Continue to Acme CRM")
	leaves := p.URL()
	p.Goto(x.URL + "/console/account")
	p.Click("button", "Sign out")
	p.Goto(x.URL + "/console/sign-in")
	p.Fill("E-mail address", ownerEmail)
	p.Fill("Password", ownerPassword)
	p.Click("button", "Sign in")
	p.SeeRole("heading", "Home")
	p.Goto(leaves)
	p.Click("button", "Continue to Acme CRM")
	p.SeeRole("heading", "Almost done")
	looksGood(t, p, "connected")
	p.Click("button", "Use this account")
	p.See("The account is connected")
}
