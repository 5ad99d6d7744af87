package oauth_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/oauth"
)

func TestRevoke(t *testing.T) {
	k := newKit(t, oauthserver.Policy{Rotates: true}, nil)
	token := k.server.Grant("a")
	for range 2 { // the second time it is gone already, which is as good
		if r := k.Revoke(t.Context(), k.cfg, k.reg, claviger.NewSecretString(token), oauth.HintRefresh); r.Verdict != oauth.Revoked {
			t.Fatalf("%s: %s", r.Verdict, r.Reason)
		}
	}
	if k.server.Live() != 0 {
		t.Error("it is alive")
	}
	if got := k.server.Received("/revoke")[0].Form; got.Get("token") != token || got.Get("token_type_hint") != "refresh_token" {
		t.Errorf("hint %q", got.Get("token_type_hint"))
	}
	for _, c := range []struct {
		name  string
		fault oauthserver.Fault
		want  string
		retry bool
	}{
		{"Google's word for gone", oauthserver.Fault{Skip: true, Status: 400, Body: `{"error":"invalid_token"}`}, oauth.Revoked, false},
		{"dead grant", oauthserver.Fault{Skip: true, Status: 400, Body: `{"error":"invalid_grant"}`}, oauth.Revoked, false},
		{"kind not supported", oauthserver.Fault{Skip: true, Status: 400, Body: `{"error":"unsupported_token_type"}`}, oauth.NotSupported, false},
		{"failing server", oauthserver.Fault{Skip: true, Status: 503, Body: `{"error":"invalid_token"}`}, oauth.NotRevoked, true},
		{"limit", oauthserver.Fault{Skip: true, Status: 429}, oauth.NotRevoked, true},
		{"wrong client", oauthserver.Fault{Skip: true, Status: 401, Body: `{"error":"invalid_client"}`}, oauth.NotRevoked, false},
		{"200 that says no", oauthserver.Fault{Skip: true, Status: 200, Body: `{"ok":false,"error":"not_authed"}`}, oauth.NotRevoked, false},
		{"page", oauthserver.Fault{Skip: true, Status: 200, Body: `<html>`}, oauth.NotRevoked, true},
		{"redirect", oauthserver.Fault{Skip: true, Status: 302}, oauth.NotRevoked, true},
		{"cut", oauthserver.Fault{Reset: true}, oauth.NotRevoked, true},
	} {
		k.server.Next(c.fault)
		r := k.Revoke(t.Context(), k.cfg, k.reg, claviger.NewSecretString(token), oauth.HintRefresh)
		if r.Verdict != c.want || r.Retry != c.retry || (r.Reason == "") != (c.want != oauth.NotRevoked) {
			t.Errorf("%s: %s (%s), retry %v", c.name, r.Verdict, r.Reason, r.Retry)
		}
	}
	k.cfg.Endpoints.Revoke = ""
	if r := k.Revoke(t.Context(), k.cfg, k.reg, claviger.NewSecretString(token), ""); r.Verdict != oauth.NotSupported {
		t.Errorf("without an address: %s", r.Verdict)
	}
}

// The vendors' own ways, as the server receives them.
func TestRevoke_VendorsOwnWays(t *testing.T) {
	for name, c := range map[string]struct {
		rules claviger.OAuthRevoke
		want  func(r oauthserver.Received) bool
	}{
		"query": {claviger.OAuthRevoke{TokenIn: "query", ClientAuth: claviger.ClientAuthNone}, func(r oauthserver.Received) bool {
			return r.Form.Get("token") == "tok/en" && r.Body == "" && r.Header.Get("Authorization") == ""
		}},
		"bearer": {claviger.OAuthRevoke{TokenIn: "bearer"}, func(r oauthserver.Received) bool {
			return r.Header.Get("Authorization") == "Bearer tok/en" && r.Body == ""
		}},
		"delete, path": {claviger.OAuthRevoke{Method: "DELETE", TokenIn: "path", ClientAuth: claviger.ClientSecretBasic}, func(r oauthserver.Received) bool {
			return r.Method == "DELETE" && strings.HasPrefix(r.Header.Get("Authorization"), "Basic ") && r.Path == "/revoke/tok/en"
		}},
		"delete, JSON": {claviger.OAuthRevoke{Method: "DELETE", TokenParam: "access_token", BodyFormat: "json", ClientAuth: claviger.ClientSecretBasic}, func(r oauthserver.Received) bool {
			return r.Method == "DELETE" && r.Body == `{"access_token":"tok/en"}`
		}},
		"further parameters": {claviger.OAuthRevoke{Params: []claviger.OAuthParam{{Name: "account", Value: claviger.MustTemplate("7")}}, ClientAuth: claviger.ClientSecretPost}, func(r oauthserver.Received) bool {
			return r.Form.Get("account") == "7" && r.Form.Has("client_secret") && r.Form.Get("token") == "tok/en"
		}},
	} {
		k := newKit(t, oauthserver.Policy{}, func(o *claviger.OAuth) { o.Revoke = c.rules })
		k.Revoke(t.Context(), k.cfg, k.reg, claviger.NewSecretString("tok/en"), oauth.HintAccess)
		if got := k.server.Received(""); len(got) != 1 || !c.want(got[0]) {
			t.Errorf("%s: %s %s, %d requests", name, got[0].Method, got[0].Path, len(got))
		}
	}
}

func TestIntrospect(t *testing.T) {
	k := newKit(t, oauthserver.Policy{Rotates: true}, nil)
	token := k.server.Grant("a", "b")
	got, err := k.Introspect(t.Context(), k.cfg, k.reg, claviger.NewSecretString(token), oauth.HintRefresh)
	if err != nil || !got.Active || !slices.Equal(got.Scopes, []string{"a", "b"}) || got.Subject != "user-1" || time.Until(got.ExpiresAt) < 59*time.Minute {
		t.Errorf("%v %v %v", got.Active, got.Scopes, err)
	}
	k.server.RevokeAll()
	if got, err = k.Introspect(t.Context(), k.cfg, k.reg, claviger.NewSecretString(token), ""); err != nil || got.Active || got.Subject != "" {
		t.Errorf("%v %v", got.Active, err)
	}
	k.server.Next(oauthserver.Fault{Skip: true, Status: 200, Body: `{"Active":true}`})
	if _, err = k.Introspect(t.Context(), k.cfg, k.reg, claviger.NewSecretString(token), ""); code(t, err) != "bad_token_response" {
		t.Errorf("another name: %v", err)
	}
}
