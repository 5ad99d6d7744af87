package clavigertest_test

import (
	"net/http"
	"testing"
	"time"

	"claviger"
	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// What a session would not honour is refused when it is asked for, not on its page.
func TestConnect_ASessionPromisesNothingThatItDoesNotKeep(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn := x.connect("mine")
	other, err := x.api.CreateWorkspace(t.Context(), api.CreateWorkspace{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.api.PutConnector(t.Context(), "robot", robotDocument(x.vendor)); err != nil {
		t.Fatal(err)
	}
	u := api.ConnectUser{ID: "user-42"}
	for _, c := range []struct {
		name        string
		in          api.CreateConnectSession
		code, param string
	}{
		{"a setting of nobody", api.CreateConnectSession{AllowedConnectors: []string{"acme", "zendesk"}, Settings: map[string]string{"subdomian": "x"}}, "unknown_setting", "settings"},
		{"a setting that does not fit", api.CreateConnectSession{AllowedConnectors: []string{"acme", "zendesk"}, Settings: map[string]string{"subdomain": "evil.example/"}}, "invalid_format", "settings.subdomain"},
		{"what nobody connects", api.CreateConnectSession{AllowedConnectors: []string{"acme", "robot"}}, "nobody_connects", "allowedConnectors.1"},
		{"other settings", api.CreateConnectSession{ConnectionID: conn.ID, Settings: map[string]string{"subdomain": "x"}}, "settings_stay", "settings"},
		{"other tags", api.CreateConnectSession{ConnectionID: conn.ID, Tags: map[string]string{"team": "x"}}, "tags_stay", "tags"},
		{"another workspace", api.CreateConnectSession{ConnectionID: conn.ID, WorkspaceID: other.ID}, "workspace_mismatch", "workspaceId"},
		{"another connector", api.CreateConnectSession{ConnectionID: conn.ID, AllowedConnectors: []string{"zendesk"}}, "connector_mismatch", "allowedConnectors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.User = u
			a := x.Do(call{Token: x.Key, Method: "POST", Path: "/v1/connect/sessions", Body: c.in})
			if f := a.Fault(); a.Status != 422 || f.Code != c.code || f.Param != c.param {
				t.Errorf("%d %s, want %s of %s", a.Status, a.Body, c.code, c.param)
			}
		})
	}
	x.session(api.CreateConnectSession{AllowedConnectors: []string{"acme", "zendesk"}, Settings: map[string]string{"subdomain": "Northwind"}})
	x.session(api.CreateConnectSession{ConnectionID: conn.ID, WorkspaceID: conn.WorkspaceID, AllowedConnectors: []string{"acme"}})
}

// robotDocument is a connector that services alone connect.
func robotDocument(v *oauthserver.Server) []byte {
	return []byte(`{"key":"robot","name":"Robot","kind":"http","baseUrl":"` + v.URL + `","allowedHosts":["127.0.0.1"],"auth":[{"key":"oauth","type":"oauth2","test":"none","permissions":"none",
		"oauth2":{"grant":"clientCredentials","clientAuth":"client_secret_basic","tokenUrl":"` + v.URL + `/token"}}]}`)
}

// A code that the vendor does not take is no grant that has ended.
func TestConnect_ACodeThatTheVendorDoesNotTake(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn, b := x.begin("mine"), x.browser()
	back := x.callback(b.leave(conn.AuthorizeURL))
	x.vendor.Next(oauthserver.Fault{Skip: true, Status: 400, Body: `{"error":"invalid_grant"}`})
	wants(t, b.get(back), http.StatusBadGateway, "oauth_code_refused")
	now, err := x.api.Connection(t.Context(), conn.ID)
	if err != nil || now.Status != "pending" || now.LastError == nil || now.LastError.Code != "oauth_code_refused" {
		t.Errorf("%+v, %v", now, err)
	}
}

// Whoever deletes what waits to be finished does not wait for its ten minutes to be over.
func TestAbuse_091_DeletedBeforeItWasFinished(t *testing.T) {
	for name, remove := range map[string]func(x *revoker, id string){
		"alone": func(x *revoker, id string) { x.remove(id) },
		"among many": func(x *revoker, _ string) {
			x.begin("another")
			if _, err := x.api.RevokeConnections(x.t.Context(), api.RevokeConnections{Connector: "acme"}); err != nil {
				x.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
				x := newRevoker(t, engine, oauthserver.Policy{})
				b := x.browser()
				waits, left := x.begin("waits"), x.begin("left")
				code := shownCode(t, b.get(x.callback(b.leave(waits.AuthorizeURL))))
				back := x.callback(b.leave(left.AuthorizeURL))
				exchanges := x.exchanges()
				remove(x, waits.ID)
				if name == "alone" {
					x.remove(left.ID)
				}
				eventually(t, "both tokens are revoked", func() bool { return len(x.vendor.Received("/revoke")) == 2 && x.vendor.Live() == 0 })
				_, err := x.api.FinishConnection(t.Context(), waits.ID, code)
				refused(t, err, 409, "nothing_to_finish")

				wants(t, b.get(back), http.StatusConflict, "connection_revoked")
				wants(t, b.get(left.AuthorizeURL), http.StatusConflict, "flow_ended")
				if x.exchanges() != exchanges {
					t.Error("a code was redeemed for a deleted connection")
				}
			})
		})
	}
}

// A service whose credentials the vendor withdrew works again once they are put right: the
// way that its errors name is one.
func TestGrants_AServiceComesBack(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{}
		x := newGrant(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{Now: c.now}, minting(claviger.ClientSecretBasic, ""))
		x.register()
		conn, err := x.create("service", nil)
		if err != nil {
			t.Fatal(err)
		}
		x.later(c, 2*time.Hour)
		x.vendor.Next(oauthserver.Fault{Skip: true, Status: 400, Body: `{"error":"invalid_grant"}`})
		for range 2 {
			_, err = x.whoami(conn.ID)
			refused(t, err, 424, "reauthorization_required")
		}
		if _, err := x.api.TestConnection(t.Context(), conn.ID); err != nil {
			t.Fatal(err)
		}
		now, err := x.api.Connection(t.Context(), conn.ID)
		if err != nil || now.LastError == nil || now.LastError.Code != "invalid_grant" {
			t.Errorf("a test forgets the cause: %+v, %v", now.LastError, err)
		}
		_, err = x.api.CreateConnectSession(t.Context(), api.CreateConnectSession{User: api.ConnectUser{ID: "u"}, ConnectionID: conn.ID})
		refused(t, err, 422, "nobody_consents")
		if now, err = x.api.EnableConnection(t.Context(), conn.ID); err != nil || now.Status != "active" {
			t.Fatalf("%+v, %v", now, err)
		}
		x.works(conn.ID)
		if now, err = x.api.Connection(t.Context(), conn.ID); err != nil || now.Status != "active" || now.LastError != nil {
			t.Errorf("%+v, %v", now, err)
		}
	})
}

// A refresh token that the vendor has refused is not tried again by way of the switch.
func TestAbuse_077_ADeadGrantIsNotSwitchedOnAgain(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{}
		x := newConsent(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{Rotates: true, Now: c.now})
		conn := x.connect("mine")
		x.vendor.RevokeAll()
		x.later(c, 2*time.Hour)
		_, err := x.whoami(conn.ID)
		refused(t, err, 424, "reauthorization_required")
		a := x.Do(call{Token: x.Key, Method: "POST", Path: "/v1/connections/" + conn.ID + "/enable"})
		if f := a.Fault(); a.Status != 424 || f.ReconnectURL == "" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if _, err := x.api.DisableConnection(t.Context(), conn.ID); err != nil {
			t.Fatal(err)
		}
		now, err := x.api.EnableConnection(t.Context(), conn.ID)
		if err != nil || now.Status != "reauthorization_required" || now.LastError == nil || now.LastError.Code != "invalid_grant" {
			t.Errorf("%+v, %v", now, err)
		}
		_, err = x.whoami(conn.ID)
		refused(t, err, 424, "reauthorization_required")
		if n := x.refreshes(); n != 1 {
			t.Errorf("the vendor was sent %d refresh tokens", n)
		}
	})
}

// Fewer scopes at a refresh count as they do at the consent.
func TestAbuse_064_NarrowedAtARefresh(t *testing.T) {
	c := &clock{}
	x := newConsent(t, clavigertest.Options{Now: c.now}, oauthserver.Policy{Now: c.now})
	conn := x.connect("mine")
	refreshed := func(scope string) api.Connection {
		t.Helper()
		x.later(c, 2*time.Hour)
		x.vendor.Next(oauthserver.Fault{Change: map[string]any{"scope": scope}})
		x.works(conn.ID)
		now, err := x.api.Connection(t.Context(), conn.ID)
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	for range 2 { // and it stays known
		now := refreshed("contacts.read")
		if f := now.LastError; sorted(now.GrantedScopes) != "contacts.read" || now.HealthStatus != "unhealthy" || f == nil || f.Code != "insufficient_scope" {
			t.Errorf("%v, %s, %+v", now.GrantedScopes, now.HealthStatus, f)
		}
	}
	if now := refreshed("contacts.read contacts.write"); now.HealthStatus == "unhealthy" || now.LastError != nil {
		t.Errorf("%v, %s, %+v", now.GrantedScopes, now.HealthStatus, now.LastError)
	}
	if now := refreshed("contacts.read contacts.write admin"); now.LastError != nil {
		t.Errorf("%v, %s, %+v", now.GrantedScopes, now.HealthStatus, now.LastError)
	}
	if now := refreshed("contacts.read contacts.write"); now.LastError != nil {
		t.Errorf("what nobody asked for is missed: %+v", now.LastError)
	}
}

// A workspace that is not there stops nothing, and says so: an alarm must not sound done.
func TestRevoke_AMistypedWorkspace(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn := x.connect("mine")
	for _, id := range []string{"default", "ws_01jd5z8k4xe3vbmt0q6y2r9whc"} {
		_, err := x.api.RevokeConnections(t.Context(), api.RevokeConnections{WorkspaceID: id})
		refused(t, err, 404, "not_found")
		_, err = x.api.DisableConnections(t.Context(), api.DisableConnections{WorkspaceID: id})
		refused(t, err, 404, "not_found")
	}
	endpoint, err := x.api.CreateEventEndpoint(t.Context(), api.CreateEventEndpoint{URL: "https://events.invalid/", Events: []string{"connection.updated"}})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := x.api.DisableConnections(t.Context(), api.DisableConnections{WorkspaceID: conn.WorkspaceID}); err != nil || n.Disabled != 1 {
		t.Fatalf("%+v, %v", n, err)
	}
	told := 0
	for _, err := range x.api.EventDeliveries(t.Context(), endpoint.ID) {
		if told++; err != nil {
			t.Fatal(err)
		}
	}
	if told != 1 {
		t.Errorf("%d events tell of it", told)
	}
}
