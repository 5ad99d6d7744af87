package clavigertest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	chromium "claviger/clavigertest/browser"
	"claviger/clavigertest/oauthserver"
)

// The page of a device flow asks in the background and stays as it is until there is a way
// on: focus and place are kept. Without scripts it loads again by itself.
func TestConnect_ADevicesPageStaysUntilTheVendorSaysYes(t *testing.T) {
	b := chromium.Start(t)
	for name, view := range map[string]chromium.View{
		"script": chromium.Phone(), "dark": chromium.Dark(), "without scripts": {Width: 1280, Height: 800, NoScript: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits for the queue to look for what was put off
			c := &clock{at: time.Now()}
			x := newGrant(t, clavigertest.Options{Now: c.now}, oauthserver.Policy{Now: c.now}, deviceGrant)
			x.register()
			p, s := b.Open(t, view), x.session(api.CreateConnectSession{})
			p.Goto(s.ConnectURL)
			p.Click("button", "Continue to Acme CRM")
			p.See("WDJB-MJHT")
			if !view.NoScript {
				p.Accessible()
				for p.Focus().Name != "Copy the code" {
					p.Press("Tab")
				}
				eventually(t, "the page asks", func() bool {
					return slices.ContainsFunc(p.Requests(), func(r string) bool { return strings.HasSuffix(r, "/over") })
				})
				if now := p.Focus(); now.Name != "Copy the code" || !now.Ring {
					t.Errorf("the focus is on %+v", now)
				}
			}
			x.later(c, 6*time.Second)
			eventually(t, "the vendor has said yes", func() bool {
				now, err := x.api.ConnectSession(t.Context(), s.ID)
				return err == nil && now.Status == "awaiting_finish"
			})
			p.See("Enter this code in the application")
			var code string
			if p.Eval(`document.getElementById("code").textContent`, &code); !view.NoScript {
				p.Accessible()
			}
			if conn, err := x.api.FinishConnectSession(t.Context(), s.ID, code); err != nil || conn.Status != "active" {
				t.Errorf("%+v, %v", conn, err)
			}
			p.Quiet(x.URL)
		})
	}
}

// Whether there is a way on is told to the browser that shows the code, and to no other;
// asking changes nothing and leaves no entry in the ledger.
func TestAbuse_048_065_AskingForADevice(t *testing.T) {
	c := &clock{at: time.Now()}
	x := newGrant(t, clavigertest.Options{Now: c.now}, oauthserver.Policy{Now: c.now}, deviceGrant)
	x.register()
	s, b, other := x.session(api.CreateConnectSession{}), x.browser(), x.browser()
	start := b.choose(s)
	wants(t, b.get(start+"/over"), http.StatusNotFound, "not_found") // it shows nothing yet
	b.get(start)
	wants(t, other.get(start+"/over"), http.StatusNotFound, "not_found")
	wants(t, b.get("/oauth/start/flow_x/over"), http.StatusNotFound, "unknown_flow")
	before := x.entries()
	for range 3 {
		if p := b.get(start + "/over"); p.Body != `{"over":false}`+"\n" {
			t.Fatalf("%d %s", p.Status, p.Body)
		}
		b.get(start)
	}
	if n := x.entries() - before; n != 0 {
		t.Errorf("%d entries of the ledger for looking", n)
	}
	x.later(c, 6*time.Second)
	eventually(t, "there is a way on", func() bool { return strings.Contains(b.get(start+"/over").Body, "true") })
	code := shownCode(t, b.get(start))
	b.get(start + "/over")
	if _, err := x.api.FinishConnectSession(t.Context(), s.ID, code); err != nil {
		t.Error("asking made another code:", err)
	}
	wants(t, x.browser().get(start+"/over"), http.StatusNotFound, "not_found")
}
