package clavigertest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// register stores the vendor's client as the organization's.
func (x *consent) register() {
	x.t.Helper()
	_, err := x.api.PutOAuthClient(x.t.Context(), "acme", api.PutOAuthClient{ClientID: x.vendor.Client.ID, ClientSecret: reveal(x.vendor.Client.Secret)})
	if err != nil {
		x.t.Fatal(err)
	}
}

// later moves the clock, and the API's own token with it.
func (x *consent) later(c *clock, d time.Duration) {
	c.move(d)
	x.api = x.Client(x.Key)
}

// choose takes the one method of a session's page, and answers where its flow starts.
func (b *browser) choose(s api.ConnectSessionMade) string {
	b.t.Helper()
	page := b.post("/connect/"+s.Token+"/acme/oauth", nil)
	_, flow, found := strings.Cut(page.Location, "/go/")
	if !found {
		b.t.Fatalf("the page answered %d: %s", page.Status, page.Body)
	}
	return "/oauth/start/" + strings.Trim(flow, "/")
}

const codeGrant = `"grant":"authorizationCode","authorizeUrl":"%[1]s/authorize","tokenUrl":"%[1]s/token","scopes":["contacts.read"]`

// Tokens that are bound to a key: from consent over each call to the refresh, with a
// vendor that wants its nonce and changes it.
func TestGrants_DPoP(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{at: time.Now()}
		x := newGrant(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{DPoP: true, Rotates: true, RevokeFamily: true, Now: c.now},
			`"oauth2":{`+codeGrant+`,"clientAuth":"client_secret_basic","dpop":true}`)
		x.register()
		conn := x.connect("mine")
		if conn.Status != "active" || conn.HealthStatus != "healthy" || conn.Credentials["proofKey"] != "***REDACTED***" {
			t.Fatalf("%+v", conn)
		}
		calls := func() int { return len(x.vendor.Received("/userinfo")) }
		before := calls()
		x.works(conn.ID)
		if n := calls() - before; n != 1 {
			t.Errorf("%d calls although the nonce is known", n)
		}
		x.vendor.RotateNonce()
		before = calls()
		if a := x.Do(call{Token: x.Key, Method: "GET", Path: proxy(conn.ID, "/userinfo?page=2"), Header: http.Header{"Dpop": {"the caller's own"}}}); a.Status != 200 {
			t.Errorf("a new nonce: %d %s", a.Status, a.Body)
		}
		if n := calls() - before; n != 2 {
			t.Errorf("%d calls for one nonce", n)
		}
		x.vendor.RotateNonce()
		x.later(c, 2*time.Hour)
		x.works(conn.ID)
		if rotations, reuses := x.vendor.Refreshed(); rotations != 1 || reuses != 0 {
			t.Errorf("%d rotations, %d reuses: a refusal for want of a nonce burnt a token", rotations, reuses)
		}
		last := x.vendor.Received("/userinfo")
		token := strings.TrimPrefix(last[len(last)-1].Header.Get("Authorization"), "DPoP ")
		if at := x.vendor.Ask(t, "Bearer "+token); at == http.StatusOK {
			t.Error("the token works without its key")
		}
		x.later(c, 2*time.Hour) // a lost answer after the nonce was refused counts as one sending
		x.vendor.RotateNonce()
		x.vendor.Next(oauthserver.Fault{}, oauthserver.Fault{Skip: true, Status: 400, Body: `{"error":"invalid_grant"}`})
		_, err := x.whoami(conn.ID)
		refused(t, err, 424, "reauthorization_required")
		if now, err := x.api.Connection(t.Context(), conn.ID); err != nil || now.LastError == nil || now.LastError.Code != "invalid_grant" {
			t.Errorf("%+v, %v", now.LastError, err)
		}
	})
}

// A body that is streamed cannot be sent again; the vendor's refusal stands.
func TestGrants_DPoPWithABody(t *testing.T) {
	x := newGrant(t, clavigertest.Options{}, oauthserver.Policy{DPoP: true}, `"oauth2":{`+codeGrant+`,"clientAuth":"client_secret_basic","dpop":true}`)
	x.register()
	conn := x.connect("mine")
	x.vendor.Next(oauthserver.Fault{Skip: true, Status: 401, Body: "{}", Header: http.Header{
		"Www-Authenticate": {`DPoP error="use_dpop_nonce"`}, "Dpop-Nonce": {"another"},
	}})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, x.URL+proxy(conn.ID, "/revoke"), io.NopCloser(strings.NewReader("a=b")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+x.Key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if n := len(x.vendor.Received("/revoke")); res.StatusCode != http.StatusUnauthorized || n != 1 {
		t.Errorf("%d after %d requests", res.StatusCode, n)
	}
}

// A person consents to a connection that brings its own client, and connects it again.
func TestGrants_ConsentWithAnOwnClient(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{at: time.Now()}
		x := newGrant(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{ClientAuth: claviger.ClientSecretPost, Rotates: true, Now: c.now},
			`"fields":[`+ownClient+`],"oauth2":{`+codeGrant+`,"clientAuth":"client_secret_post","revokeUrl":"%[1]s/revoke"}`)
		credentials := map[string]string{"clientId": x.vendor.Client.ID, "clientSecret": reveal(x.vendor.Client.Secret)}
		conn, err := x.create("mine", credentials)
		if err != nil || conn.Status != "pending" {
			t.Fatalf("%+v, %v", conn, err)
		}
		b := x.browser()
		code := shownCode(t, b.get(x.callback(b.leave(conn.AuthorizeURL))))
		if conn, err = x.api.FinishConnection(t.Context(), conn.ID, code); err != nil || conn.Credentials["clientSecret"] != "***REDACTED***" {
			t.Fatalf("%+v, %v", conn, err)
		}
		x.lives(c, conn.ID)
		x.vendor.RevokeAll()
		x.later(c, 2*time.Hour)
		_, err = x.whoami(conn.ID)
		refused(t, err, 424, "reauthorization_required")
		s := x.session(api.CreateConnectSession{ConnectionID: conn.ID})
		code = shownCode(t, b.get(x.callback(b.leave(b.choose(s)))))
		if _, err := x.api.FinishConnectSession(t.Context(), s.ID, code); err != nil {
			t.Fatal(err)
		}
		x.works(conn.ID)
		gone, err := x.api.DeleteConnection(t.Context(), conn.ID, false)
		if err != nil || gone.Status != "revoked" {
			t.Fatalf("%+v, %v", gone, err)
		}
		eventually(t, "the tokens are revoked with the connection's own client", func() bool {
			now, err := x.api.Connection(t.Context(), conn.ID)
			return err == nil && len(now.Revocations) == 2 && now.Revocations[0].Verdict == "revoked" && now.Revocations[1].Verdict == "revoked"
		})
	})
}

const deviceGrant = `"oauth2":{"grant":"device","clientAuth":"client_secret_basic","deviceUrl":"%[1]s/device","tokenUrl":"%[1]s/token","revokeUrl":"%[1]s/revoke","scopes":["contacts.read"]}`

// polls answers how often the vendor was asked whether somebody has decided.
func (x *consent) polls() int { return len(x.vendor.Received("/token")) }

// A connection from a command line: the vendor is asked no faster than it wants, and the
// connection is there when the person has said yes.
func TestAbuse_065_DeviceConnection(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{at: time.Now()}
		x := newGrant(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{Rotates: true, Now: c.now}, deviceGrant)
		_, err := x.create("without a client", nil)
		refused(t, err, 409, "oauth_client_missing")
		x.register()
		conn, err := x.create("laptop", nil)
		if err != nil || conn.Status != "pending" || conn.UserCode != "WDJB-MJHT" || conn.VerificationURI != x.vendor.URL+"/activate" ||
			!strings.HasSuffix(conn.VerificationURIComplete, "WDJB-MJHT") || conn.Interval != 5 || conn.ExpiresAt == nil || conn.AuthorizeURL != "" {
			t.Fatalf("%+v, %v", conn, err)
		}
		_, err = x.whoami(conn.ID)
		refused(t, err, 409, "connection_pending")
		x.vendor.Next(oauthserver.Fault{Skip: true, Status: 400, Body: `{"error":"slow_down"}`})
		eventually(t, "the connection is active", func() bool {
			c.move(100 * time.Millisecond)
			now, err := x.api.Connection(t.Context(), conn.ID)
			return err == nil && now.Status == "active" && now.Account.ID == "user-1" && now.UserCode == ""
		})
		asked := []time.Time{x.vendor.Received("/device")[0].At}
		for _, r := range x.vendor.Received("/token") {
			asked = append(asked, r.At)
		}
		for i, least := range []time.Duration{5 * time.Second, 10 * time.Second} {
			if len(asked) != 3 || asked[i+1].Sub(asked[i]) < least {
				t.Fatalf("asked at %v, want %s before question %d", asked, least, i+1)
			}
		}
		x.lives(c, conn.ID)
	})
}

// What does not end well leaves its reason with the connection, and nothing else.
func TestAbuse_065_DeviceRefusals(t *testing.T) {
	c := &clock{at: time.Now()}
	for word, want := range map[string]string{"access_denied": "access_denied", "expired_token": "flow_expired"} {
		t.Run(word, func(t *testing.T) {
			x := newGrant(t, clavigertest.Options{Now: c.now}, oauthserver.Policy{DeviceWord: word, Now: c.now}, deviceGrant)
			x.register()
			conn, err := x.create("laptop", nil)
			if err != nil {
				t.Fatal(err)
			}
			x.later(c, 6*time.Second)
			eventually(t, "the reason", func() bool {
				now, err := x.api.Connection(t.Context(), conn.ID)
				return err == nil && now.Status == "pending" && now.LastError != nil && now.LastError.Code == want
			})
			x.later(c, time.Hour)
			if n := x.polls(); n != 1 {
				t.Errorf("%d questions", n)
			}
		})
	}
}

// On the connect page the code is shown to one browser, and the finish code comes to that
// one alone: who is sent somebody else's page learns nothing, and what was connected
// without that person's word is given up.
func TestAbuse_048_065_DevicePage(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{at: time.Now()}
		x := newGrant(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{DevicePolls: 0, Now: c.now}, deviceGrant)
		x.register()
		s := x.session(api.CreateConnectSession{})
		b, other := x.browser(), x.browser()
		start := b.choose(s)
		shown := b.get(start)
		if shown.Status != 200 || !strings.Contains(shown.Body, "WDJB-MJHT") || !strings.Contains(shown.Body, "Acme CRM") || !strings.Contains(shown.Body, `<noscript><meta http-equiv="refresh" content="5">`) {
			t.Fatalf("%d %s", shown.Status, shown.Body)
		}
		if p := other.get(start); p.Status != 400 || strings.Contains(p.Body, "WDJB") {
			t.Errorf("another browser: %d %s", p.Status, p.Body)
		}
		x.later(c, 6*time.Second)
		eventually(t, "the vendor has said yes", func() bool {
			now, err := x.api.ConnectSession(t.Context(), s.ID)
			return err == nil && now.Status == "awaiting_finish"
		})
		if p := other.get(start); p.Status != 400 {
			t.Errorf("another browser, afterwards: %d", p.Status)
		}
		_, err := x.api.FinishConnectSession(t.Context(), s.ID, "AAAA-AAAA")
		refused(t, err, 422, "wrong_code")
		conn, err := x.api.FinishConnectSession(t.Context(), s.ID, shownCode(t, b.get(start)))
		if err != nil || conn.Status != "active" || conn.OwnerID != "user-42" {
			t.Fatalf("%+v, %v", conn, err)
		}
		x.works(conn.ID)
		again := x.session(api.CreateConnectSession{})
		b.get(b.choose(again))
		x.later(c, 6*time.Second)
		eventually(t, "the vendor has said yes again", func() bool {
			now, err := x.api.ConnectSession(t.Context(), again.ID)
			return err == nil && now.Status == "awaiting_finish"
		})
		if n := len(x.vendor.Received("/revoke")); n != 0 {
			t.Errorf("%d revocations", n)
		}
	})
}
