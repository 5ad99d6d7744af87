package clavigertest_test

import (
	"strings"
	"testing"

	"claviger/clavigertest"
	chromium "claviger/clavigertest/browser"
)

// passkeyOwner opens the owner's link in a browser with a device and chooses a passkey.
func passkeyOwner(t *testing.T, s *clavigertest.Server) *chromium.Page {
	t.Helper()
	p := chromium.Start(t).Open(t, chromium.Desktop())
	p.Device()
	p.Goto(ownerLink(t, s))
	p.Fill("Your name", ownerName)
	p.Fill("E-mail address", ownerEmail)
	p.Click("button", "Use a passkey instead")
	p.SeeRole("heading", "Home")
	return p
}

// TestConsole_APasskeyInPlaceOfAPassword is the way of an owner who never has a password:
// the link, signing in with the device, a second device, and removing the first.
func TestConsole_APasskeyInPlaceOfAPassword(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{Localhost: true})
	p := passkeyOwner(t, s)
	p.Click("button", "Sign out")
	p.SeeRole("heading", "Sign in")
	looksGood(t, p, "sign-in-passkey")
	p.Present(false)
	p.Click("button", "Use a passkey")
	p.SeeRole("heading", "Use your passkey")
	p.See("Your device asks you now")
	looksGood(t, p, "passkey")
	p.Present(true)
	p.Click("button", "Ask my device")
	p.SeeRole("heading", "Home")

	p.Goto(s.URL + "/console/account")
	p.See("by passkey")
	p.Click("button", "Remove the passkey Passkey")
	p.See("you could not sign in any more")
	p.Fill("New password", ownerPassword)
	p.Click("button", "Choose a password")
	p.See("Your password was changed")
	looksGood(t, p, "account-passkey")
	p.Click("button", "Remove the passkey Passkey")
	p.See("The passkey was removed")
	p.Click("button", "Sign out")
	p.Click("button", "Use a passkey")
	p.See("is not one of anybody")
	p.Quiet(s.URL)
}

// TestConsole_PasskeysBesideAPassword: several of them with names, from the account's page.
func TestConsole_PasskeysBesideAPassword(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{Localhost: true})
	p := chromium.Start(t).Open(t, chromium.Desktop())
	p.Device()
	settleIn(t, s, p)
	p.Goto(s.URL + "/console/account")
	p.Fill("Name of a new passkey", "My laptop")
	p.Click("button", "Add a passkey")
	p.See("The passkey was added")
	p.See("My laptop")
	p.Fill("Name of a new passkey", "The same laptop")
	p.Click("button", "Add a passkey")
	p.See("has a passkey of yours already")
	p.Click("link", "Back")
	p.SeeRole("heading", "Your account")
	p.Click("button", "Sign out")

	p.Goto(s.URL + "/console/connections")
	p.Click("button", "Use a passkey")
	p.At(s.URL + "/console/connections")
	p.SeeRole("heading", "Connections")
	p.Click("button", "Sign out")
	p.Recognizes(false)
	p.Click("button", "Use a passkey")
	p.See("Nothing was chosen")
	p.Quiet(s.URL)
}

// TestConsole_ACopiedPasskeyIsShut: two devices with one key count apart, and neither lets
// anybody in from then on.
func TestConsole_ACopiedPasskeyIsShut(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{Localhost: true})
	p := passkeyOwner(t, s)
	p.Goto(s.URL + "/console/account")
	p.Fill("New password", ownerPassword)
	p.Click("button", "Choose a password")
	p.See("Your password was changed")
	p.Click("button", "Sign out")
	if n := p.Counter(50); n != 1 {
		t.Fatalf("the device has %d passkeys", n)
	}
	p.Click("button", "Use a passkey")
	p.SeeRole("heading", "Home")
	p.Click("button", "Sign out")
	p.Counter(10)
	p.Click("button", "Use a passkey")
	p.See("lets nobody in any more")
	p.Counter(90)
	p.Click("button", "Use a passkey")
	p.See("lets nobody in any more")
	p.Fill("E-mail address", ownerEmail)
	p.Fill("Password", ownerPassword)
	p.Click("button", "Sign in")
	p.SeeRole("heading", "Home")
	p.Goto(s.URL + "/console/account")
	p.See("it may have been copied")
	looksGood(t, p, "account-copied")
}

// Where the public URL has no name there are no passkeys, and nothing offers them.
func TestConsole_NoPasskeysAtAnAddress(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	b := visitor(t, s)
	if page := b.get("/console/sign-in"); strings.Contains(page.Body, "passkey") {
		t.Error("a passkey is offered at an address")
	}
	if page := b.post("/console/sign-in/passkey/begin", nil); page.Header.Get("Claviger-Error") != "passkeys_need_a_name" {
		t.Errorf("beginning answered %d: %s", page.Status, page.Body)
	}
}
