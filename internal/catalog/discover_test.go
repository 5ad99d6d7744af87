package catalog_test

import (
	"errors"
	"maps"
	"net/url"
	"strings"
	"testing"

	"claviger"
	"claviger/internal/catalog"
)

// finder learns four variables from a consent.
const finder = `key: finder
name: Finder
kind: http
baseUrl: https://${host}/v1/${company}
variables:
  - {key: host, type: hostname, methods: [oauth]}
  - {key: company, type: pathSegment, pattern: "^[a-z0-9]+$", methods: [oauth]}
  - {key: region, type: enum, values: [eu.finder.example, us.finder.example], methods: [oauth]}
  - {key: tenant, type: uuid, methods: [oauth]}
  - {key: site, type: hostLabel, required: true, methods: [key]}
allowedHosts: ["*.finder.example"]
auth:
  - key: oauth
    type: oauth2
    oauth2:
      grant: authorizationCode
      authorizeUrl: https://auth.finder.example/authorize
      tokenUrl: https://auth.finder.example/token
      clientAuth: client_secret_post
      discover:
        - {variable: company, from: callback, param: realm}
        - {variable: host, from: token, path: $.instance_url}
        - {variable: region, from: token, path: $.region}
        - {variable: tenant, from: request, url: "https://auth.finder.example/t/${company}", path: "$[*].id", scheme: OAuth}
  - key: key
    type: apiKey
    baseUrl: https://${site}.finder.example/v1
    fields: [{key: apiKey, secret: true}]
    inject: [{in: header, name: X-Key, value: "${apiKey}"}]
`

const (
	tenantA = "0190c0de-0000-7000-8000-00000000000a"
	tenantB = "0190c0de-0000-7000-8000-00000000000b"
)

func parsed(t *testing.T, text string) *claviger.Connector {
	t.Helper()
	conn, faults := catalog.Parse("finder.yaml", []byte(text), catalog.Options{})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return conn
}

// told is what a well-behaved vendor tells.
func told() (token map[string]any, callback url.Values, tenants []any) {
	return map[string]any{"instance_url": "https://ACME.finder.example/", "region": "https://us.finder.example"}, url.Values{"realm": {"c1"}},
		[]any{map[string]any{"id": tenantA}, map[string]any{"id": strings.ToUpper(tenantB)}}
}

func TestDiscover(t *testing.T) {
	conn := parsed(t, finder)
	m, _ := conn.Method("oauth")
	for _, c := range []struct {
		name     string
		settings map[string]string
		change   func(token map[string]any, callback url.Values, tenants []any)
		want     string // the tenant, or the code of the refusal
	}{
		{"all told", nil, nil, tenantA},
		{"one chosen", map[string]string{"tenant": tenantB}, nil, tenantB},
		{"another chosen", map[string]string{"tenant": "0190c0de-0000-7000-8000-00000000000c"}, nil, "account_mismatch"},
		{"the same company again", map[string]string{"company": "c1"}, nil, tenantA},
		{"another company again", map[string]string{"company": "c2"}, nil, "account_mismatch"},
		{"a host of another", nil, func(token map[string]any, _ url.Values, _ []any) { token["instance_url"] = "https://acme.evil.example" }, "undiscovered"},
		{"the bare suffix", nil, func(token map[string]any, _ url.Values, _ []any) { token["instance_url"] = "https://finder.example" }, "undiscovered"},
		{"plain http", nil, func(token map[string]any, _ url.Values, _ []any) {
			token["instance_url"] = "http://acme.finder.example"
		}, "undiscovered"},
		{"a path", nil, func(token map[string]any, _ url.Values, _ []any) {
			token["instance_url"] = "https://acme.finder.example/x"
		}, "undiscovered"},
		{"a user", nil, func(token map[string]any, _ url.Values, _ []any) {
			token["instance_url"] = "https://acme.finder.example@evil.example"
		}, "undiscovered"},
		{"a port", nil, func(token map[string]any, _ url.Values, _ []any) {
			token["instance_url"] = "https://acme.finder.example:8443"
		}, "undiscovered"},
		{"no text", nil, func(token map[string]any, _ url.Values, _ []any) { token["instance_url"] = []any{"x"} }, "undiscovered"},
		{"another region", nil, func(token map[string]any, _ url.Values, _ []any) { token["region"] = "https://cn.finder.example" }, "undiscovered"},
		{"a way up", nil, func(_ map[string]any, callback url.Values, _ []any) { callback["realm"] = []string{".."} }, "undiscovered"},
		{"told twice", nil, func(_ map[string]any, callback url.Values, _ []any) { callback["realm"] = []string{"c1", "c2"} }, "undiscovered"},
		{"no tenants", nil, func(_ map[string]any, _ url.Values, tenants []any) { clear(tenants) }, "undiscovered"},
	} {
		token, callback, tenants := told()
		if c.change != nil {
			c.change(token, callback, tenants)
		}
		before := maps.Clone(c.settings)
		got, err := catalog.Discover(conn, m, c.settings, catalog.Sources{Token: token, Callback: callback, Ask: func(d *claviger.Discovery, address string) (any, error) {
			if address != "https://auth.finder.example/t/c1" || d.Scheme != "OAuth" {
				t.Errorf("%s: asked %s by %s", c.name, address, d.Scheme)
			}
			return tenants, nil
		}})
		if !maps.Equal(c.settings, before) {
			t.Errorf("%s: the settings were changed", c.name)
		}
		if err != nil {
			if code := claviger.AsError(err).Code; code != c.want || strings.Contains(claviger.AsError(err).Message, "evil") {
				t.Errorf("%s: %v, want %s", c.name, err, c.want)
			}
			continue
		}
		if got["tenant"] != c.want || got["host"] != "acme.finder.example" || got["region"] != "us.finder.example" || got["company"] != "c1" {
			t.Errorf("%s: %v", c.name, got)
		}
		base, err := catalog.Base(conn.For("oauth"), got)
		if err != nil || base.String() != "https://acme.finder.example/v1/c1" {
			t.Errorf("%s: %v, %v", c.name, base, err)
		}
	}
	fault := errors.New("unreachable")
	token, callback, _ := told()
	if _, err := catalog.Discover(conn, m, nil, catalog.Sources{Token: token, Callback: callback, Ask: func(*claviger.Discovery, string) (any, error) { return nil, fault }}); !errors.Is(err, fault) {
		t.Errorf("%v", err)
	}
}

// TestMethodsHaveTheirOwn: each method has its own address and variables, and nobody is
// asked for what is found out.
func TestMethodsHaveTheirOwn(t *testing.T) {
	conn := parsed(t, finder)
	settings, err := catalog.CheckSettings(conn.For("oauth"), nil)
	if err != nil || len(settings) != 0 {
		t.Fatalf("%v, %v", settings, err)
	}
	if base, err := catalog.Base(conn.For("oauth"), settings); err != nil || base.Host != "" {
		t.Errorf("before the consent the address is %v, %v", base, err)
	}
	if _, err := catalog.CheckSettings(conn.For("oauth"), map[string]string{"site": "acme"}); claviger.AsError(err).Code != "unknown_setting" {
		t.Errorf("%v", err)
	}
	if _, err := catalog.CheckSettings(conn.For("key"), nil); claviger.AsError(err).Param != "settings.site" {
		t.Errorf("%v", err)
	}
	settings, err = catalog.CheckSettings(conn.For("key"), map[string]string{"site": "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if base, err := catalog.Base(conn.For("key"), settings); err != nil || base.String() != "https://acme.finder.example/v1" {
		t.Errorf("%v, %v", base, err)
	}
	if plain := parsed(t, "key: plain\nname: Plain\nkind: http\nbaseUrl: https://api.plain.example\nauth: [{key: none, type: none}]\n"); plain.For("none") != plain {
		t.Error("a view is made where nothing differs")
	}
}

// TestAbuse_275_DiscoveryIsChecked: a document cannot let a vendor's answer, or a call
// after the consent, lead anywhere else.
func TestAbuse_275_DiscoveryIsChecked(t *testing.T) {
	for _, c := range []struct{ old, new, code string }{
		{`allowedHosts: ["*.finder.example"]`, "allowedHosts: []", catalog.CodeHost},
		{"https://auth.finder.example/t/", "https://evil.example/t/", catalog.CodeHost},
		{"url: \"https://auth.finder.example/t/${company}\"", "url: \"https://${host}/t\"", catalog.CodeHost},
		{"https://auth.finder.example/token", "https://${region}/token", catalog.CodeTemplate},
		{"variable: region", "variable: nowhere", catalog.CodeUnknown},
		{"variable: region", "variable: host", catalog.CodeDuplicate},
		{"from: callback, param: realm", "from: callback, path: $.realm", catalog.CodeMissing},
		{"from: token, path: $.region", "from: token, param: region", catalog.CodeMissing},
		{", scheme: OAuth", ", scheme: \"OAuth x\"", catalog.CodeValue},
		{"methods: [key]", "methods: [none]", catalog.CodeUnknown},
		{"baseUrl: https://${site}.finder.example/v1", "docsUrl: https://finder.example/", catalog.CodeTemplate},
		{"baseUrl: https://${site}.finder.example/v1", "baseUrl: https://${site}.evil.example/v1", catalog.CodeHost},
		{"      discover:", "      revokeUrl: https://auth.finder.example/r/${clientId}\n      revoke: {authorization: Client abc}\n      discover:", catalog.CodeLiteralSecret},
		{"      discover:", "      revokeUrl: https://auth.finder.example/r/${clientSecret}\n      discover:", catalog.CodeTemplate},
		{"      discover:", "      revokeUrl: https://auth.finder.example/r\n      revoke: {tokenIn: header}\n      discover:", catalog.CodeMissing},
		{"      discover:", "      revokeUrl: https://auth.finder.example/r\n      revoke: {tokenIn: none}\n      discover:", catalog.CodeMissing},
		{"      discover:", "      revokeUrl: https://auth.finder.example/r\n      revoke: {authorization: \"Client ${clientSecret}\", clientAuth: none}\n      discover:", catalog.CodeValue},
	} {
		if !strings.Contains(finder, c.old) {
			t.Fatalf("the document has no %q", c.old)
		}
		_, faults := catalog.Parse("finder.yaml", []byte(strings.Replace(finder, c.old, c.new, 1)), catalog.Options{})
		found := false
		for _, f := range faults {
			found = found || f.Code == c.code
		}
		if !found {
			t.Errorf("%s: %v, want %s", c.new, faults, c.code)
		}
	}
}

// TestAbuse_275_HostsAreExact: the lint wants no host that no address needs, and no
// wildcard where a name would do.
func TestAbuse_275_HostsAreExact(t *testing.T) {
	wide := func(text string) bool {
		for _, f := range catalog.Lint("finder.yaml", []byte(text), catalog.Options{}) {
			if strings.HasPrefix(f.Path, "allowedHosts") {
				return true
			}
		}
		return false
	}
	if wide(finder) {
		t.Error("the example is too wide")
	}
	plain := "key: plain\nname: Plain\nkind: http\nbaseUrl: https://%\nallowedHosts: [@]\nvariables: [{key: site, type: hostLabel, required: true}, {key: env, type: enum, values: [a.plain.example, b.plain.example], default: a.plain.example}]\nauth: [{key: none, type: none}]\n"
	for _, c := range []struct {
		base, hosts string
		wide        bool
	}{
		{"api.plain.example", "api.plain.example", false},
		{"api.plain.example/v1", "api.plain.example", false},
		{"api.plain.example", `"*.plain.example"`, true},
		{"api.plain.example", `api.plain.example, www.plain.example`, true},
		{"${site}.plain.example", `"*.plain.example"`, false},
		{"eu.${site}.plain.example", `"*.plain.example"`, false},
		{"${env}", "a.plain.example, b.plain.example", false},
		{"${env}", `a.plain.example, b.plain.example, "*.plain.example"`, true},
	} {
		if got := wide(strings.NewReplacer("%", c.base, "@", c.hosts).Replace(plain)); got != c.wide {
			t.Errorf("%s in [%s]: too wide is %v", c.base, c.hosts, got)
		}
	}
}
