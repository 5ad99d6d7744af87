package clavigertest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

func TestConnect_FromConsentToCall(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newConsent(t, clavigertest.Options{Engine: engine}, oauthserver.Policy{})
		conn := x.begin("mine")
		if conn.Status != "pending" || !strings.HasPrefix(conn.AuthorizeURL, x.URL+"/oauth/start/flow_") || conn.ExpiresAt == nil {
			t.Fatalf("a connection without credentials is %+v", conn)
		}
		_, err := x.api.RunAction(t.Context(), api.RunAction{ActionIdentifier: "acme.whoami", ConnectionID: conn.ID})
		refused(t, err, 409, "connection_pending")

		b := x.browser()
		authorize := b.leave(conn.AuthorizeURL)
		q := query(t, authorize)
		if q.Get("code_challenge_method") != "S256" || q.Get("redirect_uri") == "" || q.Get("scope") != "contacts.read contacts.write" {
			t.Errorf("the vendor was asked %v", q)
		}
		done := b.get(x.callback(authorize))
		code := shownCode(t, done)
		if !strings.Contains(done.Body, "Ada") {
			t.Errorf("the page does not show whose account it is: %s", done.Body)
		}
		waiting, err := x.api.Connection(t.Context(), conn.ID)
		if err != nil || waiting.Status != "pending" || len(waiting.Credentials) != 0 {
			t.Errorf("before the finish the connection is %+v, %v", waiting, err)
		}
		_, err = x.api.RunAction(t.Context(), api.RunAction{ActionIdentifier: "acme.whoami", ConnectionID: conn.ID})
		refused(t, err, 409, "connection_pending")

		finished, err := x.api.FinishConnection(t.Context(), conn.ID, strings.ToLower(code))
		if err != nil {
			t.Fatal(err)
		}
		if finished.Status != "active" || finished.HealthStatus != "healthy" || finished.Account != (api.Account{ID: "user-1", Name: "Ada"}) ||
			strings.Join(finished.GrantedScopes, " ") != "contacts.read contacts.write" || finished.ExpiresAt == nil || finished.Credentials["accessToken"] != api.RedactedMark {
			t.Errorf("the finished connection is %+v", finished)
		}
		run, err := x.api.RunAction(t.Context(), api.RunAction{ActionIdentifier: "acme.whoami", ConnectionID: conn.ID})
		if err != nil || run.Status != "succeeded" || !strings.Contains(string(run.Output), "user-1") {
			t.Errorf("the action answered %+v, %v", run, err)
		}
		_, err = x.api.FinishConnection(t.Context(), conn.ID, code)
		refused(t, err, 409, "nothing_to_finish")
		test, err := x.api.TestConnection(t.Context(), conn.ID)
		if err != nil || test.Status != "passed" {
			t.Errorf("the test found %+v, %v", test, err)
		}
		token := "at_of-somebody-else"
		_, err = x.api.UpdateConnection(t.Context(), conn.ID, api.UpdateConnection{Credentials: map[string]*string{"accessToken": &token}})
		refused(t, err, 422, "reconnect_required")
	})
}

func TestConnect_AServiceGetsItsOwnTokens(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	document := strings.NewReplacer(`"grant":"authorizationCode"`, `"grant":"clientCredentials"`, `"authorizeUrl":"`+x.vendor.URL+`/authorize",`, "").
		Replace(string(vendorDocument(x.vendor, "service")))
	if _, err := x.api.PutConnector(t.Context(), "service", []byte(document)); err != nil {
		t.Fatal(err)
	}
	in := api.CreateConnection{Connector: "service", AuthMethod: "oauth", Name: "service"}
	_, err := x.api.CreateConnection(t.Context(), in)
	refused(t, err, 409, "oauth_client_missing")
	wrong := api.PutOAuthClient{ClientID: x.vendor.Client.ID, ClientSecret: "wrong"}
	if _, err = x.api.PutOAuthClient(t.Context(), "service", wrong); err != nil {
		t.Fatal(err)
	}
	if conn, err := x.api.CreateConnection(t.Context(), in); err == nil {
		t.Errorf("with a wrong secret it is connected: %+v", conn)
	}
	wrong.ClientSecret = reveal(x.vendor.Client.Secret)
	if _, err = x.api.PutOAuthClient(t.Context(), "service", wrong); err != nil {
		t.Fatal(err)
	}
	conn, err := x.api.CreateConnection(t.Context(), in)
	if err != nil || conn.Status != "active" || conn.HealthStatus != "healthy" || conn.AuthorizeURL != "" {
		t.Fatalf("connected: %+v, %v", conn, err)
	}
	run, err := x.api.RunAction(t.Context(), api.RunAction{ActionIdentifier: "service.whoami", ConnectionID: conn.ID})
	if err != nil || run.Status != "succeeded" {
		t.Errorf("the action answered %+v, %v", run, err)
	}
}

func TestConnect_ThePageOfASession(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	const back = "https://app.example/done?tab=1"
	if _, err := x.api.PutReturnURLs(t.Context(), []string{back}); err != nil {
		t.Fatal(err)
	}
	s := x.session(api.CreateConnectSession{User: api.ConnectUser{ID: "user-42", Name: "Grace <b>H</b>"}, ReturnURL: back, Tags: map[string]string{"team": "sales"}})
	path := strings.TrimPrefix(s.ConnectURL, x.URL)
	b := x.browser()
	choose := b.get(s.ConnectURL)
	for _, want := range []string{"default", "Grace &lt;b&gt;H&lt;/b&gt;", "https://app.example", path + "/acme/oauth", path + "/acme/token"} {
		if choose.Status != 200 || !strings.Contains(choose.Body, want) {
			t.Errorf("the page (%d) does not show %q: %s", choose.Status, want, choose.Body)
		}
	}
	consentPage := b.get(path + "/acme/oauth")
	for _, want := range []string{x.vendor.URL, "contacts.read", "Continue to Acme CRM"} {
		if !strings.Contains(consentPage.Body, want) {
			t.Errorf("the consent page does not show %q: %s", want, consentPage.Body)
		}
	}
	sent := b.post(path+"/acme/oauth", url.Values{})
	if sent.Status != http.StatusSeeOther {
		t.Fatalf("the form answered %d: %s", sent.Status, sent.Body)
	}
	onward := b.get(sent.Location)
	_, start, ok := strings.Cut(onward.Header.Get("Refresh"), "url=")
	if !ok || !strings.HasPrefix(start, "/oauth/start/flow_") {
		t.Fatalf("the page leads nowhere: %v %s", onward.Header, onward.Body)
	}
	arrived := b.get(x.callback(b.leave(start)))
	if arrived.Status != http.StatusSeeOther || !strings.HasPrefix(arrived.Location, back+"&") {
		t.Fatalf("the callback answered %d to %q: %s", arrived.Status, arrived.Location, arrived.Body)
	}
	q := query(t, arrived.Location)
	if q.Get("sessionId") != s.ID || len(q.Get("finishCode")) != 43 || len(q) != 3 {
		t.Errorf("the application is told %v", q)
	}
	state, err := x.api.ConnectSession(t.Context(), s.ID)
	if err != nil || state.Status != "awaiting_finish" || state.ConnectionID != "" {
		t.Errorf("the session stands at %+v, %v", state, err)
	}
	conn, err := x.api.FinishConnectSession(t.Context(), s.ID, q.Get("finishCode"))
	if err != nil || conn.Status != "active" || conn.OwnerID != "user-42" || conn.Tags["team"] != "sales" {
		t.Fatalf("finished: %+v, %v", conn, err)
	}
	if state, err = x.api.ConnectSession(t.Context(), s.ID); err != nil || state.Status != "completed" || state.ConnectionID != conn.ID {
		t.Errorf("the session ended as %+v, %v", state, err)
	}
	if again := b.get(s.ConnectURL); again.Status != http.StatusConflict || !strings.Contains(again.Body, "used already") {
		t.Errorf("the page of an ended session answered %d: %s", again.Status, again.Body)
	}
}

func TestConnect_AKeyIsCheckedAndNeverShownAgain(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	s := x.session(api.CreateConnectSession{})
	path := strings.TrimPrefix(s.ConnectURL, x.URL) + "/acme/token"
	b := x.browser()
	const wrong, right = "wr0ng-secret-value", "at_right-secret-value"
	hint := b.post(path+"/check", url.Values{"credential.token": {wrong}})
	if hint.Status != 200 || !strings.Contains(hint.Body, "does not have the format") {
		t.Errorf("the hint is %d %s", hint.Status, hint.Body)
	}
	if ok := b.post(path+"/check", url.Values{"credential.token": {right}}); !strings.Contains(ok.Body, `"message":""`) {
		t.Errorf("a good value has the hint %s", ok.Body)
	}
	refusal := b.post(path, url.Values{"credential.token": {wrong}})
	if refusal.Status != http.StatusUnprocessableEntity || strings.Contains(refusal.Body, wrong) || !strings.Contains(refusal.Body, `aria-invalid="true"`) {
		t.Errorf("a wrong value is answered with %d: %s", refusal.Status, refusal.Body)
	}
	if stolen := b.post(path, url.Values{"credential.token": {"kv://shared/acme"}}); stolen.Status != http.StatusUnprocessableEntity || !strings.Contains(stolen.Body, "Enter the value itself") {
		t.Errorf("a reference to the organization's secrets is answered with %d: %s", stolen.Status, stolen.Body)
	}
	done := b.post(path, url.Values{"credential.token": {right}})
	if strings.Contains(done.Body, right) {
		t.Error("the value is shown again")
	}
	conn, err := x.api.FinishConnectSession(t.Context(), s.ID, shownCode(t, done))
	if err != nil || conn.Status != "active" || conn.AuthMethod != "token" {
		t.Errorf("finished: %+v, %v", conn, err)
	}
	if logs := x.Logs.String(); strings.Contains(logs, right) || strings.Contains(logs, wrong) || strings.Contains(logs, s.Token) {
		t.Error("the log holds what was entered, or the session's token")
	}
}

func TestConnect_PopupHandsOverToTheExactOrigin(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	const back = "https://app.example:8443/done"
	if _, err := x.api.PutReturnURLs(t.Context(), []string{back}); err != nil {
		t.Fatal(err)
	}
	s := x.session(api.CreateConnectSession{ReturnURL: back, Delivery: "popup"})
	b := x.browser()
	sent := b.post(strings.TrimPrefix(s.ConnectURL, x.URL)+"/acme/oauth", url.Values{})
	_, start, _ := strings.Cut(b.get(sent.Location).Header.Get("Refresh"), "url=")
	done := b.get(x.callback(b.leave(start)))
	for _, want := range []string{`data-origin="https://app.example:8443"`, `data-session="` + s.ID + `"`, `data-code="`, "Back to the application"} {
		if !strings.Contains(done.Body, want) {
			t.Errorf("the popup lacks %s: %s", want, done.Body)
		}
	}
	script := b.get("/connect-assets/page.js")
	if !strings.Contains(script.Body, "postMessage(") || strings.Contains(script.Body, `"*"`) || strings.Contains(script.Body, "addEventListener(\"message\"") {
		t.Error("the script posts to anybody, or listens")
	}
}

func TestConnect_OnTheLoopbackForCommandLines(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	const back = "http://127.0.0.1:39999/back"
	s := x.session(api.CreateConnectSession{ReturnURL: back})
	b := x.browser()
	sent := b.post(strings.TrimPrefix(s.ConnectURL, x.URL)+"/acme/oauth", url.Values{})
	_, start, _ := strings.Cut(b.get(sent.Location).Header.Get("Refresh"), "url=")
	arrived := b.get(x.callback(b.leave(start)))
	if !strings.HasPrefix(arrived.Location, back+"?") {
		t.Fatalf("the browser goes to %q", arrived.Location)
	}
	if _, err := x.api.FinishConnectSession(t.Context(), s.ID, query(t, arrived.Location).Get("finishCode")); err != nil {
		t.Error(err)
	}
}

func TestConnect_TheClientIsWriteOnly(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	seen, err := x.api.OAuthClient(t.Context(), "acme", "")
	if err != nil || seen.ClientID != x.vendor.Client.ID || len(seen.Secrets) != 1 || seen.Secrets[0] != "clientSecret" || !strings.HasSuffix(seen.RedirectURI, "/acme") {
		t.Errorf("the client is seen as %+v, %v", seen, err)
	}
	// Without a secret the old one stays, for the same client id only.
	if _, err = x.api.PutOAuthClient(t.Context(), "acme", api.PutOAuthClient{ClientID: x.vendor.Client.ID}); err != nil {
		t.Error(err)
	}
	_, err = x.api.PutOAuthClient(t.Context(), "acme", api.PutOAuthClient{ClientID: "another"})
	refused(t, err, 422, "required")
	// GitHub's other method is an app, whose key comes with each connection.
	if seen, err := x.api.PutOAuthClient(t.Context(), "github", api.PutOAuthClient{ClientID: "ours", ClientSecret: "a-secret"}); err != nil || seen.AuthMethod != "oauth" {
		t.Errorf("GitHub's client is %+v, %v", seen, err)
	}
	_, err = x.api.PutOAuthClient(t.Context(), "github", api.PutOAuthClient{ClientID: "ours", ClientSecret: "a-secret", AuthMethod: "app"})
	refused(t, err, 422, "own_client")
	_, err = x.api.OAuthClient(t.Context(), "acme", "token")
	refused(t, err, 422, "unknown_auth_method")
	x.connect("with the kept secret")
}
