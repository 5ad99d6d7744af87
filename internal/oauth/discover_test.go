package oauth_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/oauth"
)

func discovering(o *claviger.OAuth) { o.Endpoints = claviger.OAuthEndpoints{} }

func TestDiscover(t *testing.T) {
	k := newKit(t, oauthserver.Policy{}, discovering)
	m, err := k.Discover(t.Context(), k.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !m.S256 || !m.IssuerParam || !slices.Equal(m.ClientAuth, []string{"client_secret_basic"}) {
		t.Errorf("%v %v %v", m.S256, m.IssuerParam, m.ClientAuth)
	}
	k.cfg = k.cfg.WithMetadata(m)
	k.parsed(t, k.Exchange(t.Context(), k.cfg, k.reg, k.code(t, k.newFlow(t)), nil))

	own := newKit(t, oauthserver.Policy{}, nil)
	own.cfg = own.cfg.WithMetadata(oauth.Metadata{Endpoints: oauth.Endpoints{Token: "https://evil.example"}})
	if own.cfg.Endpoints.Token != own.server.URL+"/token" {
		t.Error("metadata replaced an address of the document")
	}
}

func TestDiscover_BothPlaces(t *testing.T) {
	k := newKit(t, oauthserver.Policy{}, func(o *claviger.OAuth) {
		o.Issuer = claviger.MustTemplate(o.Issuer.String() + "/tenant/1/")
		discovering(o)
	})
	if _, err := k.Discover(t.Context(), k.cfg); code(t, err) != "upstream_unavailable" {
		t.Errorf("%v", err)
	}
	var paths []string
	for _, r := range k.server.Received("") {
		paths = append(paths, r.Path)
	}
	if want := []string{"/tenant/1/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/tenant/1"}; !slices.Equal(paths, want) {
		t.Errorf("asked at %v", paths)
	}
}

// TestAbuse_067_HostileMetadata: another issuer's document, and endpoints that are
// somewhere else or nothing that may be opened.
func TestAbuse_067_HostileMetadata(t *testing.T) {
	k := newKit(t, oauthserver.Policy{}, func(o *claviger.OAuth) {
		discovering(o)
		o.DiscoveryHosts = []string{"login.acme.example", "*.cdn.acme.example"}
	})
	try := func(change map[string]any) error {
		k.server.Next(oauthserver.Fault{Change: change})
		_, err := k.Discover(t.Context(), k.cfg)
		return err
	}
	for _, issuer := range []any{nil, "", "https://evil.example", k.server.URL + "/", strings.ToUpper(k.server.URL), []string{k.server.URL}} {
		if err := try(map[string]any{"issuer": issuer}); code(t, err) != "invalid_metadata" {
			t.Errorf("issuer %v: %v", issuer, err)
		}
	}
	plain := "http://" + strings.TrimPrefix(k.server.URL, "https://")
	for _, address := range []any{
		plain + "/token", "https://evil.example/token", "http://login.acme.example/token", "https://169.254.169.254/latest", "https://127.0.0.1:1/token", "https://[::1]/token",
		"https://cdn.acme.example/token", "https://xcdn.acme.example/t", "https://login.acme.example.evil.example/t", "https://login.acme.example@evil.example/t",
		"https://login.acme.example:8443/token", "//login.acme.example/t", "javascript:alert(1)", "file:///etc/passwd", "$(calc)", "--flag", "", 7,
		[]string{"x"},
		"https://login.acme.example/t#x", "https://login.acme.example/ t",
	} {
		for _, name := range []string{"token_endpoint", "authorization_endpoint", "jwks_uri", "revocation_endpoint", "pushed_authorization_request_endpoint"} {
			if err := try(map[string]any{name: address}); code(t, err) != "invalid_metadata" {
				t.Errorf("%s %v: %v", name, address, err)
			}
		}
	}
	if err := try(map[string]any{"token_endpoint": nil}); code(t, err) != "invalid_metadata" {
		t.Errorf("without a token endpoint: %v", err)
	}
	for _, address := range []string{"https://login.acme.example/token", "https://eu.cdn.acme.example/token"} {
		if err := try(map[string]any{"token_endpoint": address}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	k.server.Next(oauthserver.Fault{Status: http.StatusFound, Header: http.Header{"Location": {k.server.URL + "/.well-known/openid-configuration"}}})
	if _, err := k.Discover(t.Context(), k.cfg); err == nil {
		t.Error("metadata were taken from a redirect")
	}
}
