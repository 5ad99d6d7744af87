package oauth_test

import (
	"strings"
	"testing"

	"claviger"
	"claviger/internal/oauth"
)

func TestResolve_Refuses(t *testing.T) {
	tmpl := claviger.MustTemplate
	for field, change := range map[string]func(*claviger.OAuth){
		"tokenUrl":                    func(o *claviger.OAuth) { o.Endpoints.Token = tmpl("https://user:pw@auth.acme.example/") },
		"authorizeUrl":                func(o *claviger.OAuth) { o.Endpoints.Authorize = tmpl("javascript:alert(1)") },
		"revokeUrl":                   func(o *claviger.OAuth) { o.Endpoints.Revoke = tmpl("https://auth.acme.example/#f") },
		"deviceUrl":                   func(o *claviger.OAuth) { o.Endpoints.Device = tmpl("https://127.1/") },
		"refreshUrl":                  func(o *claviger.OAuth) { o.Endpoints.Refresh = tmpl("/token") },
		"issuer":                      func(o *claviger.OAuth) { o.CheckIssuer = true },
		"clientAuth":                  func(o *claviger.OAuth) { o.ClientAuth = "auto" },
		"authorizeParams.state":       func(o *claviger.OAuth) { o.AuthorizeParams = []claviger.OAuthParam{{Name: "state"}} },
		"tokenParams.grant_type":      func(o *claviger.OAuth) { o.TokenParams = []claviger.OAuthParam{{Name: "grant_type"}} },
		"tokenHeaders.Authorization":  func(o *claviger.OAuth) { o.TokenHeaders = []claviger.Header{{Name: "authorization"}} },
		"tokenResponse.accessToken":   func(o *claviger.OAuth) { o.TokenResponse.AccessToken = "$..token" },
		"tokenResponse.scope":         func(o *claviger.OAuth) { o.TokenResponse.Scope = "scope" },
		"tokenResponse.format":        func(o *claviger.OAuth) { o.TokenResponse.Format = "xml" },
		"tokenRequest.format":         func(o *claviger.OAuth) { o.TokenRequestFormat = "yaml" },
		"tokenResponse.expiresInUnit": func(o *claviger.OAuth) { o.TokenResponse.ExpiresInUnit = "h" },
		"userinfoUrl":                 func(o *claviger.OAuth) { o.Endpoints.Userinfo = tmpl("https://${region}.acme.example/me") },
	} {
		rules := &claviger.OAuth{ClientAuth: claviger.ClientAuthNone}
		change(rules)
		_, err := oauth.Resolve(rules, "p", nil)
		if code(t, err) != "invalid_connector" || claviger.AsError(err).Param != "oauth2."+field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// A setting cannot reach past the place that the document gives it.
func TestResolve_SettingsStayInPlace(t *testing.T) {
	rules := &claviger.OAuth{ClientAuth: claviger.ClientAuthNone, Endpoints: claviger.OAuthEndpoints{Token: claviger.MustTemplate("https://auth.acme.example/${tenant}/token")}}
	for _, value := range []string{"a", "a/../..", "..%2f", "a?x=", "a#", "@evil.example", "a b", "ä"} {
		cfg, err := oauth.Resolve(rules, "p", func(string) (string, bool) { return value, true })
		if err == nil && (!strings.HasPrefix(cfg.Endpoints.Token, "https://auth.acme.example/") || strings.Count(cfg.Endpoints.Token, "/") != 4 || strings.ContainsAny(cfg.Endpoints.Token, "?# ")) {
			t.Errorf("%q makes %s", value, cfg.Endpoints.Token)
		}
	}
}

func TestEndpointsThatAreMissing(t *testing.T) {
	k := newClient(nil)
	cfg := plainConfig(t, nil)
	client := claviger.OAuthClient{ID: "id", Secret: claviger.NewSecretString("s")}
	if _, err := k.StartDevice(t.Context(), cfg, client, nil); code(t, err) != "invalid_connector" {
		t.Errorf("device: %v", err)
	}
	if _, err := k.Keys(t.Context(), cfg); code(t, err) != "invalid_connector" {
		t.Errorf("keys: %v", err)
	}
	if _, err := oauth.AuthorizeURL(cfg, client, oauth.Authorization{Verifier: claviger.NewSecretString("v")}); code(t, err) != "invalid_connector" {
		t.Errorf("authorize: %v", err)
	}
	if _, err := k.Discover(t.Context(), cfg); code(t, err) != "invalid_connector" {
		t.Errorf("discover: %v", err)
	}
}
