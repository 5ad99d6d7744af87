package clavigertest_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
	"claviger/client"
)

// untouched fails the test unless the vendor was asked for nothing and the connection
// still waits.
func (x *consent) untouched(exchanges int, id string) {
	x.t.Helper()
	if n := x.exchanges(); n != exchanges {
		x.t.Errorf("%d codes were sent to the vendor, want %d", n, exchanges)
	}
	conn, err := x.api.Connection(x.t.Context(), id)
	if err != nil || conn.Status != "pending" {
		x.t.Errorf("the connection is %s, %v", conn.Status, err)
	}
}

// recorded fails the test unless the ledger has a denial of this code.
func (x *consent) recorded(code string) {
	x.t.Helper()
	eventually(x.t, "the ledger has the denial "+code, func() bool {
		for e, err := range x.api.Audit(x.t.Context(), client.AuditQuery{Outcome: "denied"}) {
			if err != nil {
				x.t.Fatal(err)
			}
			if e.Code == code {
				return true
			}
		}
		return false
	})
}

func wants(t *testing.T, p page, status int, code string) {
	t.Helper()
	if p.Status != status || p.Header.Get("Claviger-Error") != code || p.Location != "" {
		t.Errorf("answered %d %q to %q, want %d %q: %s", p.Status, p.Header.Get("Claviger-Error"), p.Location, status, code, p.Body)
	}
}

func TestAbuse_046_TheStateOfACallback(t *testing.T) {
	clock := &clock{at: time.Now()}
	x := newConsent(t, clavigertest.Options{Now: clock.now}, oauthserver.Policy{})
	conn, b := x.begin("one"), x.browser()
	good := x.callback(b.leave(conn.AuthorizeURL))
	q, path := query(t, good), strings.SplitN(good, "?", 2)[0]
	with := func(change func(url.Values)) string {
		v := url.Values{"code": q["code"], "state": q["state"]}
		change(v)
		return path + "?" + v.Encode()
	}
	for name, address := range map[string]string{
		"none":    with(func(v url.Values) { v.Del("state") }),
		"empty":   with(func(v url.Values) { v.Set("state", "") }),
		"twice":   with(func(v url.Values) { v.Add("state", q.Get("state")) }),
		"unknown": with(func(v url.Values) { v.Set("state", strings.Repeat("A", 43)) }),
		"long":    with(func(v url.Values) { v.Set("state", strings.Repeat("A", 15<<10)) }),
		"huge":    with(func(v url.Values) { v.Set("state", strings.Repeat("A", 1<<20)) }),
	} {
		t.Run(name, func(t *testing.T) {
			p := b.get(address)
			if refused := p.Status == http.StatusBadRequest || name == "huge" && p.Status == http.StatusRequestHeaderFieldsTooLarge; !refused || p.Location != "" {
				t.Errorf("answered %d: %s", p.Status, p.Body)
			}
			x.untouched(0, conn.ID)
		})
	}
	x.recorded("unknown_state")
	ledger := x.Do(call{Token: x.Key, Method: "GET", Path: "/v1/audit?limit=100"})
	if strings.Contains(x.Logs.String()+string(ledger.Body), q.Get("code")) || !strings.Contains(string(ledger.Body), "unknown_state") {
		t.Error("the log or the ledger holds the code")
	}
	t.Run("expired", func(t *testing.T) {
		clock.move(11 * time.Minute)
		wants(t, b.get(good), http.StatusBadRequest, "state_expired")
		x.untouched(0, conn.ID)
		x.recorded("state_expired")
	})
}

func TestAbuse_046_AStateIsUsedOnce(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newConsent(t, clavigertest.Options{Engine: engine}, oauthserver.Policy{})
		conn, b := x.begin("one"), x.browser()
		back := x.callback(b.leave(conn.AuthorizeURL))
		const at = 8
		pages := make([]page, at)
		var all sync.WaitGroup
		for i := range pages {
			all.Go(func() { pages[i] = b.get(back) })
		}
		all.Wait()
		through := 0
		for _, p := range pages {
			if p.Status == http.StatusOK {
				through++
				continue
			}
			wants(t, p, http.StatusBadRequest, "state_used")
		}
		if through != 1 || x.exchanges() != 1 {
			t.Errorf("%d of %d callbacks at once got through, %d codes were sent", through, at, x.exchanges())
		}
		x.recorded("state_used")
		// A newer departure makes the older one's state worthless.
		conn = x.begin("two")
		older := x.callback(b.leave(conn.AuthorizeURL))
		b.leave(conn.AuthorizeURL)
		wants(t, b.get(older), http.StatusBadRequest, "unknown_state")
		x.untouched(1, conn.ID)
	})
}

func TestAbuse_047_ACallbackInAnotherBrowser(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn, attacker, victim := x.begin("one"), x.browser(), x.browser()
	back := x.callback(attacker.leave(conn.AuthorizeURL))
	wants(t, victim.get(back), http.StatusBadRequest, "browser_mismatch")
	other := x.begin("the victim's own")
	victim.leave(other.AuthorizeURL) // has a cookie now, but another
	wants(t, victim.get(back), http.StatusBadRequest, "browser_mismatch")
	x.untouched(0, conn.ID)
	x.recorded("browser_mismatch")
}

func TestAbuse_048_SomebodyElseConsents(t *testing.T) {
	clock := &clock{at: time.Now()}
	x := newConsent(t, clavigertest.Options{Now: clock.now}, oauthserver.Policy{Now: clock.now})
	conn, bob := x.begin("mallory's"), x.browser()
	shownCode(t, bob.get(x.callback(bob.leave(conn.AuthorizeURL)))) // stays in Bob's browser
	live := x.vendor.Live()
	for range 4 {
		_, err := x.api.FinishConnection(t.Context(), conn.ID, "AAAA-AAAA")
		refused(t, err, 422, "wrong_code")
	}
	x.untouched(1, conn.ID)
	clock.move(11 * time.Minute)
	_, err := x.api.FinishConnection(t.Context(), conn.ID, "AAAA-AAAA")
	refused(t, err, 409, "nothing_to_finish")
	x.App.Sweep(t.Context())
	if live != 1 {
		t.Errorf("%d refresh tokens were alive at the vendor", live)
	}
	eventually(t, "none is after the sweep", func() bool { return x.vendor.Live() == 0 })
	x.untouched(1, conn.ID)
}

func TestAbuse_048_WrongCodesWipe(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn, bob := x.begin("mallory's"), x.browser()
	code := shownCode(t, bob.get(x.callback(bob.leave(conn.AuthorizeURL))))
	for range 5 {
		_, err := x.api.FinishConnection(t.Context(), conn.ID, "AAAA-AAAA")
		refused(t, err, 422, "wrong_code")
	}
	_, err := x.api.FinishConnection(t.Context(), conn.ID, code)
	refused(t, err, 409, "nothing_to_finish")
	eventually(t, "no refresh token lives on at the vendor", func() bool { return x.vendor.Live() == 0 })
	x.recorded("wrong_code")
	// A session is closed by it.
	s := x.session(api.CreateConnectSession{})
	shownCode(t, bob.post(strings.TrimPrefix(s.ConnectURL, x.URL)+"/acme/token", url.Values{"credential.token": {"at_of-bob"}}))
	for range 5 {
		_, err := x.api.FinishConnectSession(t.Context(), s.ID, "AAAA-AAAA")
		refused(t, err, 422, "wrong_code")
	}
	state, err := x.api.ConnectSession(t.Context(), s.ID)
	if err != nil || state.Status != "failed" || state.Error == nil || state.Error.Code != "too_many_codes" {
		t.Errorf("the session stands at %+v, %v", state, err)
	}
}

func TestAbuse_048_OnlyTheInitiatorFinishes(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn, bob := x.begin("mine"), x.browser()
	code := shownCode(t, bob.get(x.callback(bob.leave(conn.AuthorizeURL))))
	application := x.operator()
	_, err := x.Client(application).FinishConnection(t.Context(), conn.ID, code)
	refused(t, err, 403, "not_initiator")
	if _, err := x.api.FinishConnection(t.Context(), conn.ID, code); err != nil {
		t.Error(err)
	}
}

func TestAbuse_049_050_ContextOfTheCallback(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	honest := x.connector("honest")
	hostile := x.connector("hostile")
	if honest.RedirectURI == hostile.RedirectURI {
		t.Fatal("two connectors share a redirect URI")
	}
	organization := x.Do(call{Token: x.Key, Method: "POST", Path: "/v1/organizations", Body: map[string]string{"name": "other"}}).Field("id")
	own := strings.Split(honest.RedirectURI, "/")[5]
	// The hostile connector's page bounced the browser to the honest vendor with the
	// honest redirect URI and our state for the hostile flow.
	conn, err := x.api.CreateConnection(t.Context(), api.CreateConnection{Connector: "hostile", AuthMethod: "oauth", Name: "trap"})
	if err != nil {
		t.Fatal(err)
	}
	b := x.browser()
	back := x.callback(b.leave(conn.AuthorizeURL))
	for name, address := range map[string]string{
		"049 another connector's redirect URI": strings.Replace(back, "/hostile?", "/honest?", 1),
		"050 an unknown connector":             strings.Replace(back, "/hostile?", "/nothing?", 1),
		"050 another organization":             strings.Replace(back, own, organization, 1),
	} {
		t.Run(name, func(t *testing.T) {
			wants(t, b.get(address), http.StatusBadRequest, "context_mismatch")
			x.untouched(0, conn.ID)
		})
	}
	x.recorded("context_mismatch")
}

func TestAbuse_051_ClientsAreNotShared(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	other := x.Do(call{Token: x.Key, Method: "POST", Path: "/v1/organizations", Body: map[string]string{"name": "other"}}).Field("apiKey")
	c := x.Client(other)
	if _, err := c.PutConnector(t.Context(), "acme", vendorDocument(x.vendor, "acme")); err != nil {
		t.Fatal(err)
	}
	seen, err := c.OAuthClient(t.Context(), "acme", "")
	if err != nil || seen.ClientID != "" || len(seen.Secrets) != 0 {
		t.Errorf("another tenant sees %+v, %v", seen, err)
	}
	_, err = c.CreateConnection(t.Context(), api.CreateConnection{Connector: "acme", AuthMethod: "oauth", Name: "x"})
	refused(t, err, 409, "oauth_client_missing")
}

func TestAbuse_053_ACodeOfAnotherSession(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn, b := x.begin("victim's"), x.browser()
	other, thief := x.begin("attacker's"), x.browser()
	theirs := query(t, x.callback(thief.leave(other.AuthorizeURL)))
	path := strings.SplitN(query(t, b.leave(conn.AuthorizeURL)).Get("redirect_uri"), "?", 2)[0]
	departed := query(t, b.leave(conn.AuthorizeURL))
	injected := b.get(path + "?" + url.Values{"state": departed["state"], "code": theirs["code"]}.Encode())
	if injected.Status < 400 || injected.Location != "" {
		t.Errorf("a foreign code was answered with %d: %s", injected.Status, injected.Body)
	}
	x.untouched(1, conn.ID) // sent once, refused for its verifier, and not again
}

func TestAbuse_057_NoTokenInAnAddress(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	s := x.session(api.CreateConnectSession{ReturnURL: "http://127.0.0.1:39999/back"})
	b := x.browser()
	sent := b.post(strings.TrimPrefix(s.ConnectURL, x.URL)+"/acme/oauth", url.Values{})
	_, start, _ := strings.Cut(b.get(sent.Location).Header.Get("Refresh"), "url=")
	authorize := b.leave(start)
	arrived := b.get(x.callback(authorize))
	q := query(t, arrived.Location)
	if len(q) != 2 || q.Get("sessionId") != s.ID || strings.Contains(arrived.Location, "#") {
		t.Errorf("the application's address is %s", arrived.Location)
	}
	if _, err := x.api.FinishConnectSession(t.Context(), s.ID, q.Get("finishCode")); err != nil {
		t.Fatal(err)
	}
	for _, r := range x.vendor.Received("/token") {
		verifier := r.Form.Get("code_verifier")
		if verifier == "" || strings.Contains(authorize+arrived.Location+x.Logs.String(), verifier) {
			t.Error("the verifier left the server")
		}
	}
	for _, secret := range []string{q.Get("finishCode"), query(t, authorize).Get("state"), s.Token} {
		if strings.Contains(x.Logs.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}
