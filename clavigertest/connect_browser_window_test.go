package clavigertest_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	chromium "claviger/clavigertest/browser"
	"claviger/clavigertest/oauthserver"
)

// shop is an application with sessions for its popups.
type shop struct {
	*consent
	*application
	browser *chromium.Browser
}

func newShop(t *testing.T) *shop {
	t.Helper()
	x := &shop{consent: newConsent(t, clavigertest.Options{}, oauthserver.Policy{}), application: newApplication(t), browser: chromium.Start(t)}
	x.finish = func(id, code string) (api.Connection, error) {
		return x.api.FinishConnectSession(t.Context(), id, code)
	}
	return x
}

// popup is a session whose code goes to the application's origin.
func (x *shop) popup() api.ConnectSessionMade {
	x.t.Helper()
	return x.session(api.CreateConnectSession{ReturnURL: x.application.URL + "/back", Delivery: "popup"})
}

// at is a page of the application, at its own or another origin, that can open the session.
func at(origin string, s api.ConnectSessionMade) string {
	return origin + "/?" + url.Values{"connect": {s.ConnectURL}}.Encode()
}

// consents is what a person does in the window.
func consents(w *chromium.Page) {
	w.Click("link", "Acme CRM Token")
	w.See("Connect Acme CRM")
	w.Fill("Token", "at_a-good-token")
	w.Click("button", "Connect Acme CRM")
}

func TestConnect_AWindowLosesNothing(t *testing.T) {
	x := newShop(t)
	t.Run("told and closed", func(t *testing.T) {
		p, s := x.browser.Open(t, chromium.Desktop()), x.popup()
		p.Goto(at(x.application.URL, s))
		w := p.Popup("button", "Connect an account")
		consents(w)
		w.Gone()
		p.See(x.consent.URL + " claviger.connected connected acme as")
		p.Quiet(x.application.URL, x.consent.URL)
	})
	t.Run("through the vendor", func(t *testing.T) {
		p, s := x.browser.Open(t, chromium.Desktop()), x.popup()
		p.Goto(at(x.application.URL, s))
		w := p.Popup("button", "Connect an account")
		w.Goto(s.ConnectURL + "/acme/oauth")
		w.Click("button", "Continue to Acme CRM")
		w.Gone()
		p.See("connected acme as user-1")
	})
	t.Run("the opener is gone", func(t *testing.T) {
		p, s := x.browser.Open(t, chromium.Desktop()), x.popup()
		p.Goto(at(x.application.URL, s))
		w := p.Popup("button", "Connect an account")
		p.Close()
		consents(w)
		w.Click("link", "Back to the application")
		w.At(x.application.URL + "/back?")
		w.See("connected acme as")
	})
	t.Run("the window is closed too early", func(t *testing.T) {
		p, s := x.browser.Open(t, chromium.Desktop()), x.popup()
		p.Goto(at(x.application.URL, s))
		p.Popup("button", "Connect an account").Close()
		w := p.Popup("button", "Connect an account")
		consents(w)
		w.Gone()
		p.See("connected acme as")
	})
	t.Run("without scripts", func(t *testing.T) {
		p, s := x.browser.Open(t, chromium.View{Width: 360, Height: 740, NoScript: true}), x.popup()
		p.Goto(s.ConnectURL + "/acme/token")
		p.Fill("Token", "wrong")
		p.Click("button", "Connect Acme CRM")
		p.See("This does not have the format")
		p.Fill("Token", "at_a-good-token")
		p.Click("button", "Connect Acme CRM")
		p.Click("link", "Back to the application")
		p.See("connected acme as")
	})
	t.Run("a form, and back by itself", func(t *testing.T) {
		p, s := x.browser.Open(t, chromium.Phone()), x.session(api.CreateConnectSession{ReturnURL: x.application.URL + "/back"})
		p.Goto(s.ConnectURL)
		consents(p)
		p.At(x.application.URL + "/back?")
		p.See("connected acme as")
		p.Quiet(x.application.URL, x.consent.URL)
	})
	t.Run("by code, waiting for it", func(t *testing.T) {
		p, s := x.browser.Open(t, chromium.Phone()), x.session(api.CreateConnectSession{})
		p.Goto(s.ConnectURL + "/acme/oauth")
		p.Click("button", "Continue to Acme CRM")
		p.See("Your code")
		state, err := x.api.ConnectSession(t.Context(), s.ID)
		if err != nil || state.Status != "awaiting_finish" {
			t.Fatalf("the session stands at %+v, %v", state, err)
		}
		var code string
		p.Eval(`document.getElementById("code").textContent`, &code)
		if _, err := x.finish(s.ID, code); err != nil {
			t.Fatal(err)
		}
		state, err = x.api.ConnectSession(t.Context(), s.ID)
		if err != nil || state.Status != "completed" {
			t.Errorf("the session stands at %+v, %v", state, err)
		}
	})
}

// A message goes to the origin that the organization registered, and to no other: not to
// an opener that has gone elsewhere, nor to one that got hold of the address.
func TestAbuse_250_MessagesGoToTheExactOrigin(t *testing.T) {
	x := newShop(t)
	for name, leave := range map[string]bool{"an opener of another origin": false, "an opener that went elsewhere": true} {
		t.Run(name, func(t *testing.T) {
			p, s := x.browser.Open(t, chromium.Desktop()), x.popup()
			start := x.elsewhere()
			if leave {
				start = x.application.URL
			}
			p.Goto(at(start, s))
			w := p.Popup("button", "Connect an account")
			if leave {
				p.Goto(at(x.elsewhere(), s))
			}
			consents(w)
			w.See("If this window stays open, go back with the button.")
			if said := p.Text(); !strings.Contains(said, "nothing yet") {
				t.Errorf("the other origin was told: %s", said)
			}
			w.Click("link", "Back to the application")
			w.See("connected acme as")
		})
	}
	t.Run("it listens to nobody", func(t *testing.T) {
		p, s := x.browser.Open(t, chromium.Desktop()), x.popup()
		p.Goto(at(x.application.URL, s))
		w := p.Popup("button", "Connect an account")
		w.Goto(s.ConnectURL + "/acme/token")
		w.See("Connect Acme CRM")
		before := w.Text()
		var sent bool
		p.Eval(`(() => { const w = open("", "connect");
			for (const m of ["x", null, { type: "claviger.token" }, JSON.parse('{"__proto__":{"polluted":true},"type":"claviger.connected"}')]) w.postMessage(m, "*");
			return true; })()`, &sent)
		var polluted bool
		w.Eval("({}).polluted === true", &polluted)
		if after := w.Text(); polluted || after != before || !sent {
			t.Errorf("the page took a message: %s", after)
		}
		w.Quiet(x.application.URL, x.consent.URL)
	})
}

// Whoever frames a page gets none, and binds nothing; the same flow in a window that the
// frame opens goes its whole way, with a cookie of the first party.
func TestAbuse_070_AFramesFlowRunsInAWindow(t *testing.T) {
	x := newShop(t)
	framed := func(t *testing.T, src string) *chromium.Page {
		p := x.browser.Open(t, chromium.Desktop())
		p.Goto(x.elsewhere() + "/frame?" + url.Values{"src": {src}}.Encode())
		return p
	}
	s := x.popup()
	conn := x.begin("framed")
	for name, src := range map[string]string{"the page": s.ConnectURL, "a form": s.ConnectURL + "/acme/oauth", "the departure": conn.AuthorizeURL} {
		t.Run(name, func(t *testing.T) {
			p := framed(t, src)
			p.Until("document.readyState === 'complete'")
			if tree := p.Tree(); strings.Contains(tree, "Acme CRM") {
				t.Errorf("it is shown in a frame: %s", tree)
			}
			if c := p.Cookies(); len(c) > 0 {
				t.Errorf("a frame got the cookies %+v", c)
			}
		})
	}
	if n := len(x.vendor.Received("/authorize")); n > 0 {
		t.Errorf("%d frames were sent to the vendor", n)
	}
	t.Run("in a window", func(t *testing.T) {
		p := framed(t, at(x.application.URL, s))
		w := p.Frame("iframe").Popup("button", "Connect an account")
		w.Goto(s.ConnectURL + "/acme/oauth")
		w.Click("button", "Continue to Acme CRM")
		w.Gone()
		p.Frame("iframe").See("connected acme as user-1")
		state, err := x.api.ConnectSession(t.Context(), s.ID)
		if err != nil || state.Status != "completed" {
			t.Errorf("the session stands at %+v, %v", state, err)
		}
	})
	for name, header := range map[string]map[string]string{
		"a frame": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, "our own frame": {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "frame"},
		"an object": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "object"},
	} {
		t.Run(name, func(t *testing.T) {
			b := x.consent.browser()
			answer := b.do(http.MethodGet, conn.AuthorizeURL, "", header)
			wants(t, answer, http.StatusForbidden, "cross_origin")
			if answer.Header.Get("Set-Cookie") != "" {
				t.Error("a frame got a cookie")
			}
		})
	}
}

// Another site learns nothing by asking: of what exists and what does not it gets the
// same answer, and its scripts can read neither.
func TestAbuse_256_ConnectPagesTellOtherSitesNothing(t *testing.T) {
	x := newShop(t)
	s := x.popup()
	conn := x.begin("probed")
	known := []string{s.ConnectURL, s.ConnectURL + "/acme/oauth", conn.AuthorizeURL, x.consent.URL + "/connect/" + conn.ID, x.consent.URL + "/connect-assets/page.css"}
	unknown := []string{
		x.consent.URL + "/connect/clv_connect_x", s.ConnectURL + "x", s.ConnectURL + "/nothing/oauth", x.consent.URL + "/oauth/start/flow_x", x.consent.URL + "/connect/conn_x",
		x.consent.URL + "/connect-assets/logo/org_x", x.consent.URL + "/oauth/callback/org_x/acme?state=x",
	}
	b := x.consent.browser()
	seen := map[string]bool{}
	for _, header := range []map[string]string{
		{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
		{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
		{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
	} {
		for _, address := range append(known, unknown...) {
			p := b.do(http.MethodGet, address, "", header)
			wants(t, p, http.StatusForbidden, "cross_origin")
			seen[strings.ReplaceAll(p.Body, p.Header.Get("Claviger-Request-Id"), "")] = true
		}
	}
	if len(seen) != 1 {
		t.Errorf("other sites get %d different answers", len(seen))
	}
	// One that may look is answered the same for what never was and what is not theirs.
	if one, two := b.get(unknown[0]), b.get(unknown[1]); one.Status != two.Status || one.Header.Get("Claviger-Error") != two.Header.Get("Claviger-Error") {
		t.Errorf("%d %d", one.Status, two.Status)
	}
	p := x.browser.Open(t, chromium.Desktop())
	p.Goto(x.elsewhere())
	probe := `(async () => {
		const read = (u, o) => fetch(u, o).then((r) => r.type + r.status, (e) => e.name);
		const load = (tag, u) => new Promise((done) => { const e = document.createElement(tag); e.onload = () => done("load"); e.onerror = () => done("error"); e.src = u; document.body.append(e); });
		const all = {};
		for (const u of ADDRESSES) all[u] = [await read(u), await read(u, { credentials: "include" }), await load("img", u), await load("script", u)].join(" ");
		return [...new Set(Object.values(all))];
	})()`
	var learned []string
	p.Eval(strings.Replace(probe, "ADDRESSES", `["`+strings.Join(append(known, unknown...), `","`)+`"]`, 1), &learned)
	if len(learned) != 1 || learned[0] != "TypeError TypeError error error" {
		t.Errorf("another site can tell apart %q", learned)
	}
	if c := p.Cookies(); len(c) > 0 {
		t.Errorf("it caused the cookies %+v", c)
	}
	// The person who follows a link from there is let in.
	w := p.Tab()
	w.Goto(at(x.elsewhere(), s))
	link := w.Popup("button", "Connect an account")
	link.See("Connect an account")
	var frames int
	if link.Eval("frames.length", &frames); frames != 0 {
		t.Error("frames can be counted")
	}
}

func TestConnect_ByKeyboardAlone(t *testing.T) {
	x := newShop(t)
	s := x.session(api.CreateConnectSession{AllowedConnectors: []string{"acme", "github"}})
	p := x.browser.Open(t, chromium.Phone())
	tab := func(tag, name string) {
		t.Helper()
		p.Press("Tab")
		if f := p.Focus(); f.Tag != tag || f.Name != name || !f.Ring {
			t.Errorf("the focus is on %+v, want %s %q with a ring", f, tag, name)
		}
	}
	p.Goto(s.ConnectURL)
	tab("a", "Skip to the content")
	p.Press("Enter")
	tab("a", "AC"+"Acme CRM Sign in at "+x.vendor.URL)
	tab("a", "AC"+"Acme CRM Token")
	p.Press("Enter")
	p.SeeRole("heading", "Connect Acme CRM")
	tab("a", "Skip to the content")
	tab("input", "Token")
	p.Type("wrong")
	p.Press("Enter")
	p.See("Please check what you entered")
	if f := p.Focus(); f.Tag != "input" || !f.Ring {
		t.Errorf("after an error the focus is on %+v", f)
	}
	if tree := p.Tree(); !strings.Contains(tree, "- banner") || !strings.Contains(tree, "- main") || !strings.Contains(tree, "- contentinfo") || !strings.Contains(tree, "- alert:\n    - paragraph: Please check what you entered.") {
		t.Errorf("a screen reader has:\n%s", tree)
	}
	var described string
	p.Eval(`document.activeElement.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id).textContent).join(" ")`, &described)
	if !strings.Contains(described, "This does not have the format of Token") || !strings.Contains(described, "Settings, Tokens") {
		t.Errorf("the field is described as %q", described)
	}
	p.Type("at_a-good-token")
	tab("button", "Connect Acme CRM")
	p.Press("Enter")
	p.SeeRole("status", "Your code")
	tab("a", "Skip to the content")
	tab("button", "Copy the code")
	p.Accessible()
}

// Over TLS the cookie has every guard that browsers know, and the flow works with it.
func TestAbuse_254_TheCookieInABrowser(t *testing.T) {
	front := httptest.NewUnstartedServer(nil)
	x := newConsent(t, clavigertest.Options{PublicURL: "https://" + front.Listener.Addr().String()}, oauthserver.Policy{})
	to, err := url.Parse(x.URL)
	if err != nil {
		t.Fatal(err)
	}
	front.Config.Handler = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = to.Host }}
	front.StartTLS()
	t.Cleanup(front.Close)
	p := chromium.Start(t).Open(t, chromium.Desktop())
	p.Goto(x.begin("one").AuthorizeURL)
	p.See("Your code")
	all := p.Cookies()
	if len(all) != 1 || all[0].Name != "__Host-claviger_browser" || !all[0].Secure || !all[0].HTTPOnly || all[0].SameSite != "Lax" || all[0].Path != "/" || all[0].Domain != "127.0.0.1" {
		t.Errorf("the cookies are %+v", all)
	}
	p.Quiet(front.URL, x.vendor.URL)
}
