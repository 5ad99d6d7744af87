package clavigertest_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

func TestAbuse_056_258_ReturnAddresses(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	const good = "https://app.example/done"
	if _, err := x.api.PutReturnURLs(t.Context(), []string{good}); err != nil {
		t.Fatal(err)
	}
	session := func(raw string) error {
		_, err := x.api.CreateConnectSession(t.Context(), api.CreateConnectSession{
			User: api.ConnectUser{ID: "u"}, AllowedConnectors: []string{"acme"}, ReturnURL: raw,
		})
		return err
	}
	if err := session(good); err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{
		"https://evil.example/done", "https://app.example", "https://app.example/", "https://app.example/done/", "https://app.example/done?x=1",
		"https://app.example:443/done", "https://app.example:8443/done", "https://sub.app.example/done", "https://app.example.evil.example/done", "http://app.example/done",
		"HTTPS://app.example/done", "https://APP.example/done", "https://app.example/Done", "https://app.example/x/../done", "https://app.example/./done", "https://app.example//done",
		"https://app.example/%2e%2e/done", "https://app.example/%64one", "https://app.example/done%5c", "https://app.example/done%2f", "https://app.example\\done", "https://app.example/done#f",
		"https://app@evil.example/done", "https://app.example@evil.example/done", "https://app.example%40evil.example/done", "//app.example/done", "/\\app.example/done", "https:app.example/done",
		"https:/app.example/done", "https:///app.example/done", "javascript:alert(1)", "data:text/html,x", "https://app.example/done\r\nX: y", "https://app.example/do ne", "https://аpp.example/done",
		"https://xn--pp-ya.example/done", "http://127.0.0.1.evil.example/x", "http://127.0.0.2/x", "http://user@127.0.0.1/x", "http://localhost.evil.example/", "http://[::2]/",
		"https://app.example/done?finishCode=x", "https://app.example/" + strings.Repeat("a", 2100), " https://app.example/done", "https://app.example/done ",
	} {
		err := session(raw)
		if err == nil {
			t.Errorf("%q was accepted", raw)
		}
	}
	for _, raw := range []string{"http://127.0.0.1:1234/cb", "http://[::1]:1234/cb", "http://localhost/cb?x=1"} {
		if err := session(raw); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
	}
	for _, raw := range []string{
		"http://app.example/done", "https://app.example/x/../y", "https://user@app.example/", "javascript:alert(1)",
		"https://*.example/done", "https://app.example:0/done", "https://app.example:65536/done", "https://app.example:123456/done", "https://app.example;evil.example/",
	} {
		_, err := x.api.PutReturnURLs(t.Context(), []string{raw})
		refused(t, err, 422, "invalid_return_url")
	}
	// Nothing in a browser's request chooses where it goes next.
	s := x.session(api.CreateConnectSession{})
	for _, name := range []string{"returnUrl", "return_to", "redirect_uri", "next", "url"} {
		p := x.browser().get(s.ConnectURL + "?" + name + "=https://evil.example/")
		if strings.Contains(p.Body+p.Location+p.Header.Get("Refresh"), "evil.example") {
			t.Errorf("%s was taken from the request", name)
		}
	}
}

func TestAbuse_058_WhatTheVendorSaysIsText(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	const back = "http://127.0.0.1:39999/back"
	s := x.session(api.CreateConnectSession{ReturnURL: back})
	path := strings.TrimPrefix(s.ConnectURL, x.URL) + "/acme/oauth"
	b := x.browser()
	for name, q := range map[string]url.Values{
		"markup":  {"error": {"<script>alert(1)</script>"}, "error_description": {"<img src=x onerror=alert(1)>"}, "error_uri": {"javascript:alert(1)"}},
		"control": {"error": {"access_denied"}, "error_description": {"no\x1b[31m\u202e\r\nlevel=error msg=forged"}},
		"long":    {"error": {"access_denied"}, "error_description": {strings.Repeat("A", 10<<10)}},
		"huge":    {"error": {"access_denied"}, "error_description": {strings.Repeat("A", 100<<10)}},
	} {
		t.Run(name, func(t *testing.T) {
			sent := b.post(path, url.Values{})
			_, start, _ := strings.Cut(b.get(sent.Location).Header.Get("Refresh"), "url=")
			authorize := query(t, b.leave(start))
			q.Set("state", authorize.Get("state"))
			p := b.get(authorize.Get("redirect_uri") + "?" + q.Encode())
			if p.Status < 400 || p.Location != "" || strings.Contains(p.Body, back) == (name == "huge") { // which is not even read
				t.Errorf("answered %d to %q", p.Status, p.Location)
			}
			for _, raw := range []string{"<script>alert", "<img src=x", "javascript:", "\x1b", "\u202e", strings.Repeat("A", 600)} {
				if strings.Contains(p.Body, raw) || strings.Contains(x.Logs.String(), raw) {
					t.Errorf("%q is on the page or in the log", raw)
				}
			}
			state, err := x.api.ConnectSession(t.Context(), s.ID)
			if err != nil || state.Status != "open" || state.Error == nil && name != "huge" || state.Error != nil && strings.Contains(state.Error.Message, "AAAA") {
				t.Errorf("the session stands at %+v, %v", state, err)
			}
		})
	}
	if strings.Contains(x.Logs.String(), "forged") {
		t.Error("the vendor's words are in the log")
	}
}

func TestAbuse_060_TheCallbackOnAnotherNode(t *testing.T) {
	clock := &clock{at: time.Now()}
	x := newConsent(t, clavigertest.Options{Engine: clavigertest.PostgreSQL, Now: clock.now}, oauthserver.Policy{Now: clock.now})
	conn, b := x.begin("one"), x.browser()
	back := x.callback(b.leave(conn.AuthorizeURL))
	o := x.Options()
	o.Now, o.RootCAs, o.MasterKey, o.Data = clock.now, x.vendor.Roots(), "file:"+filepath.Join(o.Data, "master.key"), t.TempDir()
	second := clavigertest.Start(t, o)
	if a := x.Do(call{Token: x.Key, Method: "POST", Path: "/v1/encryption/rotate"}); a.Status >= 300 {
		t.Fatalf("the rotation answered %d %s", a.Status, a.Body)
	}
	clock.move(10*time.Minute - 500*time.Millisecond)
	code := shownCode(t, b.get(strings.Replace(back, x.URL, second.URL, 1)))
	x.Stop()
	third := clavigertest.Start(t, o)
	done, err := third.Client(x.Key).FinishConnection(t.Context(), conn.ID, code)
	if err != nil || done.Status != "active" {
		t.Errorf("finished on a third node: %+v, %v", done, err)
	}
}

func TestAbuse_061_OnlyACodeByGET(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn, b := x.begin("one"), x.browser()
	back := x.callback(b.leave(conn.AuthorizeURL))
	path, raw, _ := strings.Cut(back, "?")
	posted := b.do(http.MethodPost, path, raw, map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "cross-site"})
	if posted.Status != http.StatusForbidden && posted.Status != http.StatusBadRequest {
		t.Errorf("a posted callback answered %d", posted.Status)
	}
	unguarded := b.do(http.MethodPost, back, "", nil)
	if unguarded.Status != http.StatusBadRequest {
		t.Errorf("a posted callback answered %d", unguarded.Status)
	}
	q := query(t, back)
	implicit := b.get(path + "?" + url.Values{"state": q["state"], "access_token": {"at_x"}, "token_type": {"Bearer"}}.Encode())
	if implicit.Status != http.StatusBadRequest {
		t.Errorf("an implicit answer was answered with %d", implicit.Status)
	}
	x.untouched(0, conn.ID)
}

// reconnect goes through a session for an existing connection and answers where the
// callback left the browser.
func (x *consent) reconnect(id string, allow bool) (api.ConnectSessionMade, page) {
	x.t.Helper()
	s := x.session(api.CreateConnectSession{ConnectionID: id, AllowAccountChange: allow})
	b := x.browser()
	sent := b.post(strings.TrimPrefix(s.ConnectURL, x.URL)+"/acme/oauth", url.Values{})
	_, start, _ := strings.Cut(b.get(sent.Location).Header.Get("Refresh"), "url=")
	return s, b.get(x.callback(b.leave(start)))
}

func TestAbuse_062_ParallelFlows(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn := x.connect("one")
	older, olderPage := x.reconnect(conn.ID, false)
	newer, newerPage := x.reconnect(conn.ID, false)
	done, err := x.api.FinishConnectSession(t.Context(), newer.ID, shownCode(t, newerPage))
	if err != nil || done.ID != conn.ID {
		t.Fatalf("the newer: %+v, %v", done, err)
	}
	_, err = x.api.FinishConnectSession(t.Context(), older.ID, shownCode(t, olderPage))
	refused(t, err, 409, "superseded")
	if n := len(x.vendor.Received("/revoke")); n != 0 {
		t.Errorf("%d revocations would have ended the newer one's grant at many vendors", n)
	}
	// Codes are not exchangeable between sessions either.
	one, onePage := x.reconnect(conn.ID, false)
	two, _ := x.reconnect(conn.ID, false)
	_, err = x.api.FinishConnectSession(t.Context(), two.ID, shownCode(t, onePage))
	refused(t, err, 422, "wrong_code")
	if _, err = x.api.FinishConnectSession(t.Context(), one.ID, shownCode(t, onePage)); err != nil {
		t.Error(err)
	}
	run, err := x.api.RunAction(t.Context(), api.RunAction{ActionIdentifier: "acme.whoami", ConnectionID: conn.ID})
	if err != nil || run.Status != "succeeded" {
		t.Errorf("the action answered %+v, %v", run, err)
	}
}

func TestAbuse_063_AnotherAccount(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn := x.connect("one")
	stranger := []oauthserver.Fault{{}, {Change: map[string]any{"sub": "user-2", "name": "Eve"}}}
	live := x.vendor.Live()
	x.vendor.Next(stranger...)
	s, p := x.reconnect(conn.ID, false)
	wants(t, p, http.StatusConflict, "account_mismatch")
	eventually(t, "the stranger's token does not live on", func() bool { return x.vendor.Live() == live && len(x.vendor.Received("/revoke")) == 2 })
	state, err := x.api.ConnectSession(t.Context(), s.ID)
	if err != nil || state.Error == nil || state.Error.Code != "account_mismatch" {
		t.Errorf("the session stands at %+v, %v", state, err)
	}
	same, err := x.api.Connection(t.Context(), conn.ID)
	if err != nil || same.Account.ID != "user-1" || same.Status != "active" {
		t.Errorf("the connection is %+v, %v", same, err)
	}
	x.vendor.Next(stranger...)
	s, p = x.reconnect(conn.ID, true)
	changed, err := x.api.FinishConnectSession(t.Context(), s.ID, shownCode(t, p))
	if err != nil || changed.ID != conn.ID || changed.Account.ID != "user-2" {
		t.Errorf("allowed: %+v, %v", changed, err)
	}
	eventually(t, "the tokens of the account that was left are revoked", func() bool { return x.vendor.Live() == live && len(x.vendor.Received("/revoke")) == 4 })
	run, err := x.api.RunAction(t.Context(), api.RunAction{ActionIdentifier: "acme.whoami", ConnectionID: conn.ID})
	if err != nil || run.Status != "succeeded" {
		t.Errorf("the action answered %+v, %v", run, err)
	}
}

func TestAbuse_064_GrantedScopesAreStored(t *testing.T) {
	for name, c := range map[string]struct {
		answer  any
		granted string
		health  string
	}{
		"other order": {"contacts.write contacts.read", "contacts.read contacts.write", "healthy"},
		"left out":    {nil, "contacts.read contacts.write", "healthy"},
		"fewer":       {"contacts.read", "contacts.read", "unhealthy"},
		"commas":      {"contacts.write,contacts.read", "contacts.read contacts.write", "healthy"},
		"a list":      {[]any{"contacts.write", "contacts.read"}, "contacts.read contacts.write", "healthy"},
		"more":        {"contacts.read contacts.write admin", "admin contacts.read contacts.write", "healthy"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
			x.vendor.Next(oauthserver.Fault{Change: map[string]any{"scope": c.answer}})
			conn := x.connect("one")
			if got := sorted(conn.GrantedScopes); got != c.granted || conn.HealthStatus != c.health {
				t.Errorf("granted %q, %s, want %q, %s", got, conn.HealthStatus, c.granted, c.health)
			}
			if c.health == "unhealthy" && (conn.LastError == nil || conn.LastError.Code != "insufficient_scope" || !strings.Contains(conn.LastError.Message, "contacts.write")) {
				t.Errorf("the fault is %+v", conn.LastError)
			}
			if name == "more" {
				x.noted("wider_scope")
			}
		})
	}
}

func TestConnect_APersonsConsentServesNoBackgroundPath(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	for _, usage := range []string{"syncExecution", "webhookInbound"} {
		_, err := x.api.CreateConnection(t.Context(), api.CreateConnection{Connector: "acme", AuthMethod: "oauth", Name: usage, Usage: usage})
		refused(t, err, 422, "user_delegated")
	}
}

func TestConnect_APageIsNoPlaceToTryKeys(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	s := x.session(api.CreateConnectSession{})
	b := x.browser()
	path := strings.TrimPrefix(s.ConnectURL, x.URL) + "/acme/oauth"
	for range 50 {
		if p := b.post(path, url.Values{}); p.Status != http.StatusSeeOther {
			t.Fatalf("answered %d: %s", p.Status, p.Body)
		}
	}
	wants(t, b.post(path, url.Values{}), http.StatusTooManyRequests, "too_many_attempts")
}

func TestConnect_AConnectionSaysWhyItStillWaits(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn, b := x.begin("one"), x.browser()
	q := query(t, b.leave(conn.AuthorizeURL))
	b.get(q.Get("redirect_uri") + "?" + url.Values{"state": q["state"], "error": {"access_denied"}}.Encode())
	waiting, err := x.api.Connection(t.Context(), conn.ID)
	if err != nil || waiting.Status != "pending" || waiting.LastError == nil || waiting.LastError.Code != "access_denied" {
		t.Errorf("the connection is %+v with %+v, %v", waiting, waiting.LastError, err)
	}
	// It can still be connected, by a session of its own.
	s, p := x.reconnect(conn.ID, false)
	done, err := x.api.FinishConnectSession(t.Context(), s.ID, shownCode(t, p))
	if err != nil || done.ID != conn.ID || done.Status != "active" || done.LastError != nil {
		t.Errorf("finished: %+v, %v", done, err)
	}
}
