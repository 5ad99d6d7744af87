package clavigertest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// discovering is a connector that learns from a consent where its API is: the company
// from the browser's query, which is a part of the address, the person from a call, and
// the kind of token from the token answer.
func discovering(v *oauthserver.Server) []byte {
	return fmt.Appendf(nil, `{"key":"finder","name":"Finder","kind":"http","baseUrl":"https://elsewhere.example","allowedHosts":["127.0.0.1","elsewhere.example"],
		"variables":[{"key":"company","type":"pathSegment","methods":["oauth"]},{"key":"person","type":"pathSegment","methods":["oauth"]},{"key":"word","type":"pathSegment","methods":["oauth"]},
		{"key":"site","type":"hostLabel","required":true,"methods":["token"]}],
		"headers":{"X-Person":"${person}","X-Word":"${word}"},"auth":[{"key":"oauth","type":"oauth2","baseUrl":"%[1]s/${company}",
		"oauth2":{"grant":"authorizationCode","clientAuth":"client_secret_basic","authorizeUrl":"%[1]s/authorize","tokenUrl":"%[1]s/token","revokeUrl":"%[1]s/revoke","scopes":["contacts.read"],
		"revoke":{"token":"access","params":{"person":"${person}","app":"${clientId}"}},
		"discover":[{"variable":"company","from":"callback","param":"realm"},{"variable":"person","from":"request","url":"%[1]s/userinfo","path":"$.sub"},{"variable":"word","from":"token","path":"$.token_type"}]},
		"inject":[{"in":"header","name":"Authorization","value":"Bearer ${accessToken}"},{"in":"header","name":"X-App","value":"${clientId}"}],
		"test":{"method":"GET","path":"/","expectStatus":[200],"account":{"id":"$.sub"}},"permissions":"none"},
		{"key":"token","type":"bearer","fields":[{"key":"token","secret":true,"required":true}],"inject":[{"in":"header","name":"Authorization","value":"Bearer ${token}"}],"test":"none","permissions":"none"}],
		"actions":[{"key":"whoami","name":"Who am I","readOnly":true,"request":{"method":"GET","path":"/"}}]}`, v.URL)
}

// TestDiscover_FromConsentToRevocation: what a vendor tells after a consent leads every
// later call, the revocation included.
func TestDiscover_FromConsentToRevocation(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newConsent(t, clavigertest.Options{Engine: engine}, oauthserver.Policy{})
		if _, err := x.api.PutConnector(t.Context(), "finder", discovering(x.vendor)); err != nil {
			t.Fatal(err)
		}
		if _, err := x.api.PutOAuthClient(t.Context(), "finder", api.PutOAuthClient{ClientID: x.vendor.Client.ID, ClientSecret: reveal(x.vendor.Client.Secret)}); err != nil {
			t.Fatal(err)
		}
		start := func(name string, settings map[string]string) (api.Connection, *browser, string) {
			conn, err := x.api.CreateConnection(t.Context(), api.CreateConnection{Connector: "finder", AuthMethod: "oauth", Name: name, Settings: settings})
			if err != nil {
				t.Fatal(err)
			}
			b := x.browser()
			return conn, b, x.callback(b.leave(conn.AuthorizeURL))
		}
		conn, b, back := start("found", nil)
		code := shownCode(t, b.get(back+"&realm=userinfo"))
		done, err := x.api.FinishConnection(t.Context(), conn.ID, code)
		if err != nil || done.Settings["company"] != "userinfo" || done.Settings["person"] != "user-1" || done.Settings["word"] != "bearer" || done.Account.ID != "user-1" {
			t.Fatalf("%+v, %v", done, err)
		}
		run, err := x.api.RunAction(t.Context(), api.RunAction{ActionIdentifier: "finder.whoami", ConnectionID: conn.ID})
		if err != nil || run.Status != "succeeded" {
			t.Fatalf("the action answered %+v, %v", run, err)
		}
		calls := x.vendor.Received("/userinfo")
		if last := calls[len(calls)-1]; last.Header.Get("X-Person") != "user-1" || last.Header.Get("X-Word") != "bearer" || last.Header.Get("X-App") != x.vendor.Client.ID {
			t.Errorf("the call carries %q, %q and %q", last.Header.Get("X-Person"), last.Header.Get("X-Word"), last.Header.Get("X-App"))
		}
		again := func(realm string) page {
			s := x.session(api.CreateConnectSession{ConnectionID: conn.ID})
			b := x.browser()
			sent := b.post(strings.TrimPrefix(s.ConnectURL, x.URL)+"/finder/oauth", url.Values{})
			_, start, _ := strings.Cut(b.get(sent.Location).Header.Get("Refresh"), "url=")
			return b.get(x.callback(b.leave(start)) + "&realm=" + realm)
		}
		wants(t, again("other"), http.StatusConflict, "account_mismatch")
		if seen, err := x.api.Connection(t.Context(), conn.ID); err != nil || seen.Status != "active" || seen.Settings["company"] != "userinfo" {
			t.Errorf("after a reconnect to another company it is %+v, %v", seen, err)
		}
		shownCode(t, again("userinfo"))
		if seen, err := x.api.Explain(t.Context(), api.ExplainCall{ConnectionID: conn.ID, ActionIdentifier: "finder.whoami"}); err != nil {
			t.Errorf("explaining answered %+v, %v", seen, err)
		}
		if _, err := x.api.DeleteConnection(t.Context(), conn.ID, false); err != nil {
			t.Fatal(err)
		}
		// The other company's tokens were only forgotten: they may be of the grant that this
		// connection lived on. Those that wait for their finish end with it.
		eventually(t, "the vendor is asked to revoke", func() bool { return len(x.vendor.Received("/revoke")) == 2 })
		tokens := map[string]bool{}
		for _, r := range x.vendor.Received("/revoke") {
			tokens[r.Form.Get("token")] = true
			if r.Form.Get("person") != "user-1" || r.Form.Get("app") != x.vendor.Client.ID || r.Form.Get("token_type_hint") != "access_token" {
				t.Errorf("the vendor was asked to revoke by %v", r.Form)
			}
		}
		if len(tokens) != 2 {
			t.Errorf("the vendor was asked about %d tokens, want both", len(tokens))
		}

		for why, query := range map[string]string{"told nothing": "", "told a way out": "&realm=" + url.QueryEscape("../admin"), "told another": "&realm=other"} {
			name := strings.ReplaceAll(why, " ", "-")
			conn, b, back := start(name, map[string]string{"company": "userinfo"})
			before := len(x.vendor.Received("/userinfo"))
			if p := b.get(back + query); strings.Contains(p.Body, `class="code"`) || strings.Contains(p.Body, "admin") {
				t.Errorf("%s: %s", why, p.Body)
			}
			if seen, err := x.api.Connection(t.Context(), conn.ID); err != nil || seen.Status != "pending" || seen.LastError == nil {
				t.Errorf("%s: %+v, %v", why, seen, err)
			}
			if after := len(x.vendor.Received("/userinfo")); after != before {
				t.Errorf("%s: the token was used %d times", why, after-before)
			}
		}
		_, err = x.api.CreateConnection(t.Context(), api.CreateConnection{Connector: "finder", AuthMethod: "oauth", Name: "foreign", Settings: map[string]string{"site": "acme"}})
		refused(t, err, 422, "unknown_setting")
		_, err = x.api.CreateConnection(t.Context(), api.CreateConnection{Connector: "finder", AuthMethod: "other", Name: "no-method"})
		refused(t, err, 422, "unknown_auth_method")
	})
}
