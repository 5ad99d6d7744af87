package catalog_test

import (
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/internal/catalog"
)

// acmeOAuth is an oauth2 method that uses most of the section; tests change one thing.
const acmeOAuth = `  - key: oauth
    type: oauth2
    label: Sign in with Acme
    oauth2:
      grant: authorizationCode
      authorizeUrl: https://auth.acme.example/authorize
      tokenUrl: https://${subdomain}.acme.example/token/
      refreshUrl: https://auth.acme.example/refresh
      revokeUrl: https://auth.acme.example/revoke
      introspectUrl: https://auth.acme.example/introspect
      userinfoUrl: https://auth.acme.example/userinfo
      parUrl: https://auth.acme.example/par
      jwksUrl: https://auth.acme.example/keys
      issuer: https://auth.acme.example
      discoveryHosts: [keys.acme.example, "*.auth.acme.example"]
      scopes: [contacts.read, offline_access]
      scopeParam: user_scope
      scopeSeparator: ","
      clientAuth: client_secret_basic
      clientIdParam: app_id
      clientSecretParam: app_secret
      pkce: S256
      authorizeParams: {access_type: offline, tenant: "${tenant}", force: true}
      tokenParams: {audience: acme}
      tokenHeaders: {X-Tenant: "${tenant}"}
      tokenRequest: {format: json}
      tokenResponse:
        format: json
        accessToken: $.authed_user.access_token
        refreshToken: $.tokens[0]
        expiresIn: $.ttl
        expiresInUnit: ms
        ok: $.ok
        error: $.error
        errors: {bad_refresh_token: invalid_grant, "400": invalid_request}
      tokenBytes: 65536
      refresh: {rotates: true, grace: 30s, idleLimit: 720h, lifetime: 2160h, timeout: 5m, defaultLifetime: 1h30m}
      revoke: {method: DELETE, tokenParam: access_token, tokenIn: body, clientAuth: client_secret_post, bodyFormat: json, params: {all: "1"}}
      dpop: true
      par: true
      resource: ["https://${subdomain}.acme.example/"]
      checkIssuer: true
      oidc: {nonce: true, idToken: true}
      assertionAudience: https://auth.acme.example
    test: {method: GET, path: /me, expectStatus: [200]}
    permissions: {from: token, required: [contacts.read], forActions: {create-contact: [contacts.write]}}
`

// withOAuth answers acme with the oauth2 method as a second one, the first
// occurrence of old in the method replaced.
func withOAuth(t testing.TB, old, replacement string) []byte {
	t.Helper()
	if !strings.Contains(acmeOAuth, old) {
		t.Fatalf("the method has no %q", old)
	}
	return change(t, "actions:\n", strings.Replace(acmeOAuth, old, replacement, 1)+"actions:\n")
}

func TestOAuthSection(t *testing.T) {
	conn := parse(t, withOAuth(t, "", ""))
	m, _ := conn.Method("oauth")
	o := m.OAuth
	if m.Type != claviger.AuthOAuth2 || o == nil {
		t.Fatalf("%+v", m)
	}
	if first, _ := conn.Method("key"); first.OAuth != nil {
		t.Error("a method of another type has an oauth2 section")
	}
	for what, ok := range map[string]bool{
		"grant":           o.Grant == claviger.GrantAuthorizationCode,
		"token":           o.Endpoints.Token.String() == "https://${subdomain}.acme.example/token/",
		"keys":            o.Endpoints.Keys.String() == "https://auth.acme.example/keys",
		"par":             o.PAR && o.Endpoints.PushedAuthorization.String() == "https://auth.acme.example/par",
		"userinfo":        o.Endpoints.Userinfo.String() == "https://auth.acme.example/userinfo",
		"discovery":       o.Issuer.String() == "https://auth.acme.example" && len(o.DiscoveryHosts) == 2,
		"scopes":          len(o.Scopes) == 2 && o.ScopeParam == "user_scope" && o.ScopeSeparator == ",",
		"client":          o.ClientAuth == claviger.ClientSecretBasic && o.ClientIDParam == "app_id" && o.ClientSecretParam == "app_secret",
		"pkce":            o.PKCE == claviger.PKCES256,
		"authorizeParams": len(o.AuthorizeParams) == 3 && o.AuthorizeParams[1].Name == "force" && o.AuthorizeParams[1].Value.String() == "true",
		"tokenParams":     len(o.TokenParams) == 1 && len(o.TokenHeaders) == 1 && o.TokenRequestFormat == "json",
		"response":        o.TokenResponse.AccessToken == "$.authed_user.access_token" && o.TokenResponse.ExpiresInUnit == "ms" && o.TokenResponse.OK == "$.ok",
		"errors":          o.TokenResponse.Errors["bad_refresh_token"] == "invalid_grant" && o.TokenResponse.Errors["400"] == "invalid_request",
		"bytes":           o.TokenBytes == 65536,
		"refresh":         o.Refresh == claviger.OAuthRefresh{Rotates: true, Grace: 30 * time.Second, IdleLimit: 720 * time.Hour, Lifetime: 2160 * time.Hour, Timeout: 5 * time.Minute, DefaultLifetime: 90 * time.Minute},
		"revoke":          o.Revoke.Method == "DELETE" && o.Revoke.TokenParam == "access_token" && o.Revoke.ClientAuth == claviger.ClientSecretPost && len(o.Revoke.Params) == 1,
		"dpop":            o.DPoP && o.CheckIssuer && o.OIDC.Nonce && o.OIDC.IDToken && len(o.Resource) == 1,
		"audience":        o.AssertionAudience.String() == "https://auth.acme.example",
		"injection":       len(m.Inject) == 1 && m.Inject[0].Name == "Authorization" && m.Inject[0].Value.String() == "DPoP ${accessToken}",
		"permissions":     m.Permissions.From == "token" && m.Permissions.Required[0] == "contacts.read",
	} {
		if !ok {
			t.Errorf("%s is not as declared: %+v", what, o)
		}
	}
	if s := published(t); !fits(t, s, conn.Document) {
		t.Error("the document does not fit the schema")
	}
}

func TestOAuthDefaults(t *testing.T) {
	const least = `  - key: oauth
    type: oauth2
    oauth2: {grant: authorizationCode, authorizeUrl: "https://a.acme.example/", tokenUrl: "https://a.acme.example/t", clientAuth: none}
`
	conn := parse(t, change(t, "actions:\n", least+"actions:\n"))
	m, _ := conn.Method("oauth")
	if m.OAuth.PKCE != claviger.PKCES256 {
		t.Error("PKCE is off although nobody said so")
	}
	if len(m.Inject) != 1 || m.Inject[0].Value.String() != "Bearer ${accessToken}" {
		t.Errorf("%+v", m.Inject)
	}
	for text, rotates := range map[string]bool{"refresh: none": false, "refresh: {rotates: unknown}": true, "refresh: {rotates: false}": false} {
		conn := parse(t, change(t, "actions:\n", strings.Replace(least, "clientAuth: none", "clientAuth: none, revoke: none, "+text, 1)+"actions:\n"))
		if m, _ := conn.Method("oauth"); m.OAuth.Refresh.Rotates != rotates {
			t.Errorf("%s: rotates %v", text, m.OAuth.Refresh.Rotates)
		}
	}
}

// badOAuth are sections that are refused; shape tells that the schema sees it too.
var badOAuth = []struct {
	name, old, new, code string
	shape                bool
}{
	{"unknown key", "pkce: S256", "pkcs: S256", catalog.CodeUnknown, true},
	{"unknown grant", "grant: authorizationCode", "grant: implicit", catalog.CodeValue, true},
	{"no grant", "      grant: authorizationCode\n", "", catalog.CodeMissing, true},
	{"no client authentication", "      clientAuth: client_secret_basic\n", "", catalog.CodeMissing, true},
	{"unknown client authentication", "clientAuth: client_secret_basic", "clientAuth: client_secret_jwt", catalog.CodeValue, true},
	{"plain PKCE", "pkce: S256", "pkce: plain", catalog.CodeValue, true},
	{"section of another type", "type: oauth2", "type: bearer", catalog.CodeValue, true},
	{"query in an address", "https://auth.acme.example/authorize", "https://auth.acme.example/authorize?prompt=none", catalog.CodeValue, true},
	{"protocol parameter", "access_type: offline", "state: fixed", catalog.CodeValue, false},
	{"redirect parameter", "access_type: offline", `redirect_uri: "https://evil.example/"`, catalog.CodeValue, false},
	{"scope as a parameter", "access_type: offline", "user_scope: everything", catalog.CodeValue, false},
	{"token parameter", "audience: acme", "refresh_token: x", catalog.CodeValue, false},
	{"renamed client parameter", "audience: acme", "app_secret: x", catalog.CodeValue, false},
	{"token header", "tokenHeaders: {X-Tenant:", "tokenHeaders: {Authorization:", catalog.CodeLiteralSecret, false},
	{"proof header", "tokenHeaders: {X-Tenant:", "tokenHeaders: {DPoP:", catalog.CodeValue, false},
	{"wildcard in a token answer", "$.tokens[0]", "$.tokens[*]", catalog.CodeValue, false},
	{"index from the end", "$.tokens[0]", "$.tokens[-1]", catalog.CodeValue, false},
	{"translated into nothing known", "bad_refresh_token: invalid_grant", "bad_refresh_token: gone", catalog.CodeValue, true},
	{"duration without a unit", "grace: 30s", `grace: "30"`, catalog.CodeValue, true},
	{"duration in days", "idleLimit: 720h", "idleLimit: 30d", catalog.CodeValue, true},
	{"slow refresh", "timeout: 5m", "timeout: 10m", catalog.CodeValue, false},
	{"rotates maybe", "rotates: true", "rotates: maybe", catalog.CodeType, true},
	{"revoke none and an address", "revoke: {method: DELETE, tokenParam: access_token, tokenIn: body, clientAuth: client_secret_post, bodyFormat: json, params: {all: \"1\"}}", "revoke: none", catalog.CodeValue, false},
	{"a field in a parameter", "audience: acme", `audience: "${apiKey}"`, catalog.CodeTemplate, false},
	{"a token in a parameter", "audience: acme", `audience: "${accessToken}"`, catalog.CodeTemplate, false},
	{"client secret injected", "    test:", "    inject: [{in: header, name: X-Secret, value: \"${clientSecret}\"}]\n    test:", catalog.CodeTemplate, false},
	{"no token injected", "    test:", "    inject: [{in: header, name: X-Secret, value: fixed}]\n    test:", catalog.CodeLiteralSecret, false},
	{"a field that is no client's", "    oauth2:", "    fields: [{key: password, secret: true}]\n    oauth2:", catalog.CodeValue, false},
	{"a public client secret", "    oauth2:", "    fields: [{key: clientId}, {key: clientSecret}]\n    oauth2:", catalog.CodeValue, false},
	{"a secret without its client", "    oauth2:", "    fields: [{key: clientSecret, secret: true}]\n    oauth2:", catalog.CodeMissing, false},
	{"consent for a service", "grant: authorizationCode", "grant: clientCredentials", catalog.CodeValue, false},
	{"a grant's word for people", "tokenRequest: {format: json}", "tokenRequest: {grantType: account_credentials}", catalog.CodeValue, false},
	{"nonce without id token", "oidc: {nonce: true, idToken: true}", "oidc: {nonce: true}", catalog.CodeValue, false},
	{"issuer check without issuer", "      issuer: https://auth.acme.example\n      discoveryHosts: [keys.acme.example, \"*.auth.acme.example\"]\n", "", catalog.CodeMissing, false},
	{"scopes from an answer of no test", "from: token, required", "from: token, path: $.scope, required", catalog.CodeValue, false},
	{"an endless token", "tokenBytes: 65536", "tokenBytes: 1000000", catalog.CodeValue, true},
}

func TestBadOAuthSections(t *testing.T) {
	s := published(t)
	for _, c := range badOAuth {
		t.Run(c.name, func(t *testing.T) {
			data := withOAuth(t, c.old, c.new)
			refuses(t, data, c.code)
			raw, ok := catalog.ToJSON("bad.yaml", data)
			if !ok {
				t.Fatal("the document cannot be read")
			}
			if fits(t, s, raw) == c.shape {
				t.Errorf("the schema accepts: %v", !c.shape)
			}
		})
	}
}

// TestAbuse_067_EndpointAddresses: no address of an authorization server is plain
// http, of another scheme, inside the network, or of the maker of a connection.
func TestAbuse_067_EndpointAddresses(t *testing.T) {
	for _, key := range []string{"authorizeUrl: https://auth.acme.example/authorize", "refreshUrl: https://auth.acme.example/refresh", "issuer: https://auth.acme.example"} {
		name, _, _ := strings.Cut(key, ":")
		for _, address := range []string{
			"http://auth.acme.example/x", "http://169.254.169.254/latest", "https://169.254.169.254/latest", "https://127.0.0.1/x",
			"https://10.0.0.1/x", "https://[::1]/x", "https://[::ffff:127.0.0.1]/x", "https://192.0.2.7/x", "https://localhost/x",
			"https://2130706433/x", "https://0x7f000001/x", "javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "--flag",
			"$(calc)", "https://user:pw@auth.acme.example/x", "https://auth.acme.example/x#y", "https://auth.acme.example\\@evil.example/",
			"https://${tenant}.acme.example/x", "https://${subdomain}/x", "https://${subdomain}.example/x", "https://a${subdomain}.acme.example/x",
			"//auth.acme.example/x", "https://auth.acme.example/../x", "https://auth.acme.example:99999/x", "https://AUTH.acme.example/x", "https://",
		} {
			t.Run(name+" "+address, func(t *testing.T) {
				conn, faults := catalog.Parse("acme.yaml", withOAuth(t, key, name+": '"+address+"'"), catalog.Options{})
				if conn != nil {
					t.Fatal("accepted")
				}
				if !strings.Contains(faults[0].Path, "oauth2."+name) {
					t.Errorf("%v", faults)
				}
			})
		}
	}
	opened := catalog.Options{AllowPlain: func(host string) bool { return host == "127.0.0.1" }}
	for _, address := range []string{"http://127.0.0.1:9000/t", "https://127.0.0.1/t"} {
		if _, faults := catalog.Parse("acme.yaml", withOAuth(t, "https://auth.acme.example/refresh", address), opened); len(faults) > 0 {
			t.Errorf("%s is refused although the operator opened it: %v", address, faults)
		}
	}
}

func TestOAuthHostOfOnesOwn(t *testing.T) {
	const variables = "variables:\n"
	host := func(method string) []byte {
		data := string(withOAuth(t, "    oauth2:", method+"    oauth2:"))
		data = strings.Replace(data, variables, variables+"  - {key: server, type: hostname}\n  - {key: region, type: enum, values: [eu.acme.example, us.acme.example]}\n", 1)
		data = strings.Replace(data, "https://auth.acme.example/refresh", "https://${region}/refresh", 1)
		return []byte(strings.Replace(data, "https://auth.acme.example/revoke", "https://${server}/revoke", 1))
	}
	if faults := refuses(t, host(""), catalog.CodeHost); !strings.Contains(faults[0].Hint, "clientSecret") {
		t.Errorf("%v", faults)
	}
	conn := parse(t, host("    fields: [{key: clientId, required: true}, {key: clientSecret, secret: true, required: true}]\n"))
	if m, _ := conn.Method("oauth"); len(m.Fields) != 2 {
		t.Errorf("%+v", m)
	}
}

// TestAbuse_270_OAuthDiff: what widens or weakens a grant is relevant to security.
func TestAbuse_270_OAuthDiff(t *testing.T) {
	before := parse(t, withOAuth(t, "", ""))
	for _, c := range []struct{ old, new string }{
		{"https://${subdomain}.acme.example/token/", "https://${subdomain}.acme.example/other"},
		{"scopes: [contacts.read, offline_access]", "scopes: [contacts.read, contacts.write, offline_access]"},
		{"pkce: S256", "pkce: off"},
		{"      pkce: S256\n", ""},
		{"clientAuth: client_secret_basic", "clientAuth: none"},
		{"checkIssuer: true", "checkIssuer: false"},
		{"dpop: true", "dpop: false"},
		{"access_type: offline", "name: offline"},
		{"discoveryHosts: [keys.acme.example, \"*.auth.acme.example\"]", "discoveryHosts: [keys.acme.example]"},
		{"required: [contacts.read]", "required: []"},
	} {
		changes := catalog.Diff(before, parse(t, withOAuth(t, c.old, c.new)))
		if len(changes) == 0 {
			t.Errorf("%s: no change is seen", c.new)
		}
		for _, change := range changes {
			if !change.Security {
				t.Errorf("%s: %+v counts as harmless", c.new, change)
			}
		}
	}
	reordered := parse(t, withOAuth(t, "scopes: [contacts.read, offline_access]", "scopes: [offline_access, contacts.read]"))
	if changes := catalog.Diff(before, reordered); len(changes) > 0 {
		t.Errorf("the order of scopes counts: %+v", changes)
	}
	label := parse(t, withOAuth(t, "label: Sign in with Acme", "label: Sign in"))
	if changes := catalog.Diff(before, label); len(changes) != 1 || changes[0].Security {
		t.Errorf("a label: %+v", changes)
	}
}

// TestAbuse_275_OAuthPractice: each thing that a built-in method must say is asked for.
func TestAbuse_275_OAuthPractice(t *testing.T) {
	lint := func(old, replacement string) string {
		var out strings.Builder
		for _, f := range catalog.Lint("acme.yaml", withOAuth(t, old, replacement), catalog.Options{AllowPlain: func(string) bool { return true }}) {
			if strings.HasPrefix(f.Path, "auth[1]") {
				out.WriteString(f.String() + "\n")
			}
		}
		return out.String()
	}
	if faults := lint("", ""); faults != "" {
		t.Fatalf("the example fails: %s", faults)
	}
	for _, c := range []struct{ old, new, path string }{
		{"      pkce: S256\n", "", "oauth2.pkce"},
		{"      scopes: [contacts.read, offline_access]\n", "", "oauth2.scopes"},
		{"scopes: [contacts.read, offline_access]", "scopes: [a, b, c, d, e, f, g, h, i]", "oauth2.scopes"},
		{"scopes: [contacts.read, offline_access]", "scopes: [full_access]", "oauth2.scopes"},
		{"rotates: true, ", "", "oauth2.refresh.rotates"},
		{"      refresh: {rotates: true, grace: 30s, idleLimit: 720h, lifetime: 2160h, timeout: 5m, defaultLifetime: 1h30m}\n", "", "oauth2.refresh"},
		{"        format: json\n", "", "oauth2.tokenResponse.format"},
		{"https://auth.acme.example/authorize", "http://auth.acme.example/authorize", "oauth2.authorizeUrl"},
		{"    permissions: {from: token, required: [contacts.read], forActions: {create-contact: [contacts.write]}}\n", "", "permissions"},
	} {
		if faults := lint(c.old, c.new); !strings.Contains(faults, c.path) {
			t.Errorf("%s is not asked for: %q", c.path, faults)
		}
	}
	const silent = `  - key: oauth
    type: oauth2
    oauth2: {grant: clientCredentials, tokenUrl: "https://a.acme.example/t", clientAuth: client_secret_post}
`
	faults := catalog.Lint("acme.yaml", change(t, "actions:\n", silent+"actions:\n"), catalog.Options{})
	text := ""
	for _, f := range faults {
		text += f.Path + " "
	}
	for _, want := range []string{"oauth2.revoke", "oauth2.tokenResponse", "oauth2.scopes"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not asked for: %s", want, text)
		}
	}
}
