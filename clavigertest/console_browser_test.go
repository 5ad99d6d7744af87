package clavigertest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"claviger/clavigertest"
	"claviger/clavigertest/authenticator"
	chromium "claviger/clavigertest/browser"
)

// The first owner, as they name themselves at their link.
const (
	ownerName     = "Ada Lovelace"
	ownerEmail    = "ada@example.com"
	ownerPassword = "analytical engines weave"
)

// ownerLink answers the address that the first start printed.
func ownerLink(t *testing.T, s *clavigertest.Server) string {
	t.Helper()
	first := s.App.FirstStart()
	if first == nil {
		t.Fatal("this was no first start")
	}
	return s.App.SetupLink(first.OwnerLink)
}

// settleIn opens the owner's link and chooses a password.
func settleIn(t *testing.T, s *clavigertest.Server, p *chromium.Page) {
	t.Helper()
	p.Goto(ownerLink(t, s))
	p.Fill("Your name", ownerName)
	p.Fill("E-mail address", ownerEmail)
	p.Fill("New password", ownerPassword)
	p.Click("button", "Continue")
	p.SeeRole("heading", "Add an authenticator app")
}

// looksGood has axe look at a page in both themes and on a telephone, and keeps pictures.
func looksGood(t *testing.T, p *chromium.Page, name string) {
	t.Helper()
	for view, how := range map[string]chromium.View{"light": chromium.Desktop(), "dark": chromium.Dark(), "phone": chromium.Phone()} {
		p.Look(how)
		p.Accessible()
		p.Screenshot(fmt.Sprintf("console-%s-%s", name, view))
	}
	p.Look(chromium.Desktop())
}

// TestConsole_FromTheLinkToAHealthySlot is the way of a first owner: the printed link, a
// password, a second factor, signing in with both, and a system's secret, which turns its
// slot healthy and is never seen again.
func TestConsole_FromTheLinkToAHealthySlot(t *testing.T) {
	s, vendor, _ := crmServer(t, clavigertest.SQLite)
	b := chromium.Start(t)
	p := b.Open(t, chromium.Desktop())
	p.Goto(s.URL + "/console/systems/example-crm?tab=authentication")
	p.SeeRole("heading", "Sign in")
	looksGood(t, p, "sign-in")
	p.Goto(ownerLink(t, s))
	looksGood(t, p, "setup")
	settleIn(t, s, p)
	looksGood(t, p, "factor")
	var key string
	p.Eval(`document.getElementById("factor-key").textContent`, &key)
	p.Fill("Enter the code that the app shows", authenticator.Code(t, key, time.Now()))
	p.Click("button", "Add the app")
	p.SeeRole("heading", "Keep your recovery codes")
	looksGood(t, p, "codes")
	p.Click("link", "I have kept them")
	p.SeeRole("heading", "Home")
	looksGood(t, p, "home")
	p.Click("button", "Sign out")
	p.SeeRole("heading", "Sign in")

	p.Goto(s.URL + "/console/systems/example-crm?tab=authentication")
	p.Fill("E-mail address", ownerEmail)
	p.Fill("Password", "not the password")
	p.Click("button", "Sign in")
	p.See("is wrong")
	p.Fill("Password", ownerPassword)
	p.Click("button", "Sign in")
	p.SeeRole("heading", "Enter your code")
	looksGood(t, p, "code")
	p.Fill("Code", authenticator.Code(t, key, time.Now().Add(30*time.Second))) // the one before was used
	p.Click("button", "Sign in")
	p.At(s.URL + "/console/systems/example-crm?tab=authentication")
	p.SeeRole("heading", "default")
	looksGood(t, p, "authentication")

	fillSlot(p, "default", crmAPIKey)
	p.See("accepted its credential")
	looksGood(t, p, "authentication-set")
	var health string
	p.Eval(`document.querySelector("#slot-default .badges").innerText`, &health)
	if !strings.Contains(health, "healthy") {
		t.Errorf("the slot's card says %q", health)
	}
	if got := vendor.Received(); len(got) != 1 || got[0].Header.Get("X-Api-Key") != crmAPIKey {
		t.Errorf("the vendor saw %d requests", len(got))
	}
	neverShown(t, s, p, crmAPIKey)
	p.Click("link", "example-crm/default")
	p.SeeRole("heading", "example-crm/default")
	looksGood(t, p, "connection")
	p.Click("button", "Test")
	p.See("The connection works")
	p.Click("button", "Disable example-crm/default")
	p.See("Nothing can use it")
	p.Click("button", "Enable")
	p.See("was enabled")
	p.Goto(s.URL + "/console/connections")
	p.SeeRole("heading", "Connections")
	looksGood(t, p, "connections")
	p.Click("link", "Systems")
	p.SeeRole("heading", "Systems")
	looksGood(t, p, "systems")
	p.Goto(s.URL + "/console/systems/example-crm")
	looksGood(t, p, "system")
	p.Goto(s.URL + "/console/account")
	p.See("Where you are signed in")
	looksGood(t, p, "account")
	p.Quiet(s.URL)
}

// fillSlot enters the one value of a slot and sends it.
func fillSlot(p *chromium.Page, slot, value string) {
	var ok bool
	p.Eval(fmt.Sprintf(`(() => { document.querySelector("#slot-%s input[type=password]").focus(); return true })()`, slot), &ok)
	p.Type(value)
	p.Press("Enter")
}

// neverShown looks for a value in the page's source, its fields and the log.
func neverShown(t *testing.T, s *clavigertest.Server, p *chromium.Page, value string) {
	t.Helper()
	var source string
	p.Eval(`document.documentElement.outerHTML + [...document.querySelectorAll("input")].map((x) => x.type === "hidden" ? "" : x.value).join()`, &source)
	if strings.Contains(source, value) {
		t.Error("the page has the value")
	}
	if strings.Contains(s.Logs.String(), value) {
		t.Error("the log has the value")
	}
}
