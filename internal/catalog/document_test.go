package catalog_test

import (
	"fmt"
	"strings"
	"testing"

	"claviger"
	"claviger/internal/catalog"
)

// acme is a valid document that uses most of the format; tests change one thing.
const acme = `key: acme
name: Acme CRM
kind: http
docsUrl: https://docs.acme.example/api
categories: [crm]
baseUrl: https://${subdomain}.acme.example/v2
variables:
  - {key: subdomain, label: Subdomain, type: hostLabel, required: true}
  - {key: tenant, type: pathSegment}
allowedHosts: ["*.acme.example"]
headers: {X-Tenant: "${tenant}", Accept: application/json}
auth:
  - key: key
    type: apiKey
    label: API key
    fields:
      - {key: apiKey, label: API key, secret: true, required: true, pattern: "^ak_[a-z0-9]{8,}$", hint: "Settings, API"}
    inject:
      - {in: header, name: X-API-Key, value: "${apiKey}"}
    test: {method: GET, path: /me, expectStatus: [200], account: {id: "$.id", name: "$.name"}}
    permissions: {from: header, name: X-Scopes, separator: ",", required: [contacts.read]}
actions:
  - key: list-contacts
    name: List contacts
    description: Lists contacts.
    readOnly: true
    input: {type: object, properties: {limit: {type: integer, minimum: 1}}, additionalProperties: false}
    request: {method: GET, path: /contacts, query: {limit: "${input.limit}"}}
    pagination: {type: cursor, param: cursor, next: "$.next"}
  - key: create-contact
    name: Create a contact
    description: Adds a contact.
    input:
      type: object
      required: [name]
      properties:
        name: {type: string, minLength: 1, maxLength: 20}
        age: {type: integer}
        tags: {type: array, items: {type: string}}
        owner: {type: object, properties: {id: {type: string}}}
      additionalProperties: false
    request:
      method: POST
      path: /contacts/${input.owner.id}/x
      body: {name: "${input.name}", age: "${input.age}", greeting: "Hello ${input.name}", tags: "${input.tags}", fixed: [1, true, null], owner: {id: "${input.owner.id}"}}
expiry: [{status: 401}, {status: 200, path: "$.error", equals: token_expired}]
rateLimit: {requestsPerSecond: 5, burst: 10}
`

// change answers acme with the first occurrence of old replaced.
func change(t testing.TB, old, replacement string) []byte {
	t.Helper()
	if !strings.Contains(acme, old) {
		t.Fatalf("the document has no %q", old)
	}
	return []byte(strings.Replace(acme, old, replacement, 1))
}

func parse(t testing.TB, data []byte) *claviger.Connector {
	t.Helper()
	conn, faults := catalog.Parse("acme.yaml", data, catalog.Options{})
	if len(faults) > 0 {
		t.Fatalf("%v", faults)
	}
	return conn
}

// refuses asserts that a document is refused with a fault of the code, and answers
// the faults.
func refuses(t *testing.T, data []byte, code string) []catalog.Fault {
	t.Helper()
	conn, faults := catalog.Parse("acme.yaml", data, catalog.Options{})
	if conn != nil || len(faults) == 0 {
		t.Fatalf("accepted:\n%.400s", data)
	}
	for _, f := range faults {
		if f.Line < 1 || f.Column < 1 || f.Message == "" {
			t.Errorf("fault without a place or a message: %+v", f)
		}
		if f.Code == code {
			return faults
		}
	}
	t.Fatalf("no fault is %q: %v", code, faults)
	return nil
}

func TestParse(t *testing.T) {
	conn := parse(t, []byte(acme))
	if conn.Key != "acme" || len(conn.Actions) != 2 || conn.Auth[0].Test.ScopesHeader != "X-Scopes" || conn.Version != 1 {
		t.Errorf("%+v", conn)
	}
	fromJSON, faults := catalog.Parse("acme.json", conn.Document, catalog.Options{})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if string(fromJSON.Document) != string(conn.Document) || catalog.Digest(fromJSON) != catalog.Digest(conn) {
		t.Error("the canonical document is not stable")
	}
	asJSON, faults := catalog.Parse("", conn.Document, catalog.Options{})
	if len(faults) > 0 || string(asJSON.Document) != string(conn.Document) {
		t.Errorf("without a name: %v", faults)
	}
}

func TestFaultsTellThePlace(t *testing.T) {
	faults := refuses(t, change(t, "expectStatus: [200]", "expectStatsu: [200]"), catalog.CodeUnknown)
	f := faults[0]
	if f.Line != 20 || f.Path != `auth[0].test."expectStatsu"` || f.Hint != "did you mean expectStatus?" {
		t.Errorf("%+v", f)
	}
	e := catalog.Refusal(faults)
	if e.Kind != claviger.KindInvalid || e.Code != "invalid_connector" || e.Param != f.Path {
		t.Errorf("%+v", e)
	}
	if catalog.Refusal(nil) != nil {
		t.Error("a refusal without faults")
	}
	conn, faults := catalog.Parse("x.json", []byte("{\n \"key\": 7,\n \"key\": 8}"), catalog.Options{})
	if conn != nil || faults[0].Line != 3 || faults[0].Column != 2 || faults[0].Code != catalog.CodeDuplicate {
		t.Errorf("%+v", faults)
	}
}

// bad are changes that a document does not survive. shape tells whether the JSON
// Schema sees it too.
var bad = []struct {
	name, old, new, code string
	shape                bool
}{
	{"no key", "key: acme\n", "", catalog.CodeMissing, true},
	{"key with capitals", "key: acme\n", "key: Acme\n", catalog.CodeValue, true},
	{"key with double hyphen", "key: acme\n", "key: a--b\n", catalog.CodeValue, true},
	{"name as number", "name: Acme CRM", "name: 7", catalog.CodeType, true},
	{"unknown kind", "kind: http", "kind: gopher", catalog.CodeValue, true},
	{"kind of other case", "kind: http", "kind: HTTP", catalog.CodeValue, true},
	{"required as string", "required: true}\n  - {key: tenant", "required: \"true\"}\n  - {key: tenant", catalog.CodeType, true},
	{"no auth", "type: apiKey", "type: token", catalog.CodeValue, true},
	{"status as string", "expectStatus: [200]", `expectStatus: ["200"]`, catalog.CodeType, true},
	{"status out of range", "expectStatus: [200]", "expectStatus: [20]", catalog.CodeValue, true},
	{"long pattern", `pattern: "^ak_`, `pattern: "` + strings.Repeat("a", 600), catalog.CodeLimit, true},
	{"pattern with look-ahead", `pattern: "^ak_`, `pattern: "(?=a)^ak_`, catalog.CodeValue, false},
	{"injection elsewhere", "in: header", "in: path", catalog.CodeValue, true},
	{"injection with extra key", "name: X-API-Key, ", "name: X-API-Key, encode: true, ", catalog.CodeUnknown, true},
	{"injection of Host", "name: X-API-Key", "name: Host", catalog.CodeValue, false},
	{"injection with bad header name", "name: X-API-Key", `name: "X API"`, catalog.CodeValue, false},
	{"template of unknown name", `value: "${apiKey}"`, `value: "${apikey}"`, catalog.CodeTemplate, false},
	{"template of unknown function", `value: "${apiKey}"`, `value: "${hex(apiKey)}"`, catalog.CodeTemplate, false},
	{"constant injection", `value: "${apiKey}"`, `value: "fixed"`, catalog.CodeLiteralSecret, false},
	{"field in a path", "path: /me", `path: "/me/${apiKey}"`, catalog.CodeTemplate, false},
	{"field in a default header", "${tenant}", "${apiKey}", catalog.CodeTemplate, false},
	{"fixed authorization", "X-Tenant:", "Authorization:", catalog.CodeLiteralSecret, false},
	{"header twice", "{X-Tenant:", `{x-tenant: "a", X-Tenant:`, catalog.CodeDuplicate, false},
	{"undeclared input", "${input.limit}", "${input.size}", catalog.CodeTemplate, false},
	{"relative path", "path: /me", "path: me", catalog.CodeValue, true},
	{"dot segment", "path: /me", "path: /a/../me", catalog.CodeValue, false},
	{"encoded dot segment", "path: /me", "path: /a/%2e%2e/me", catalog.CodeValue, false},
	{"query in a path", "path: /me", `path: "/me?x=1"`, catalog.CodeValue, false},
	{"empty segment", "path: /me", "path: /a//me", catalog.CodeValue, false},
	{"descendants", `id: "$.id"`, `id: "$..id"`, catalog.CodeValue, false},
	{"filter", `id: "$.id"`, `id: "$[?@.a]"`, catalog.CodeValue, false},
	{"body on GET", "query: {limit:", "body: {a: 1}, query: {limit:", catalog.CodeValue, false},
	{"schema with reference", "{type: integer, minimum: 1}", `{$ref: "file:///etc/passwd"}`, catalog.CodeUnknown, false},
	{"schema of another type", "input: {type: object", "input: {type: array", catalog.CodeValue, true},
	{"schema that is none", "type: integer, minimum: 1", "type: integer, minimum: low", catalog.CodeValue, false},
	{"scopes without a test", "test: {method: GET, path: /me, expectStatus: [200], account: {id: \"$.id\", name: \"$.name\"}}", "test: none", catalog.CodeMissing, false},
	{"negative rate", "requestsPerSecond: 5", "requestsPerSecond: -5", catalog.CodeValue, true},
	{"empty signal", "{status: 401}", "{}", catalog.CodeMissing, true},
	{"method TRACE", "request: {method: GET", "request: {method: TRACE", catalog.CodeValue, true},
	{"duplicate action", "key: create-contact", "key: list-contacts", catalog.CodeDuplicate, false},
	{"javascript link", "docsUrl: https://docs.acme.example/api", `docsUrl: "javascript:alert(1)"`, catalog.CodeValue, true},
	{"actions as object", "actions:\n  - key: list", "actions:\n  x:\n  - key: list", catalog.CodeType, true},
}

func TestBadDocuments(t *testing.T) {
	for _, c := range bad {
		t.Run(c.name, func(t *testing.T) { refuses(t, change(t, c.old, c.new), c.code) })
	}
}

func TestPlainHTTPOnlyWhereOpened(t *testing.T) {
	data := []byte(strings.NewReplacer("https://${subdomain}.acme.example/v2", "http://127.0.0.1:9000", `allowedHosts: ["*.acme.example"]`, "allowedHosts: [127.0.0.1]").Replace(acme))
	refuses(t, data, catalog.CodeHost)
	asked := ""
	conn, faults := catalog.Parse("", data, catalog.Options{AllowPlain: func(host string) bool { asked = host; return true }})
	if len(faults) > 0 || asked != "127.0.0.1" {
		t.Fatalf("%v, asked for %q", faults, asked)
	}
	u, err := catalog.Base(conn, map[string]string{"subdomain": "x"})
	if err != nil || u.String() != "http://127.0.0.1:9000" {
		t.Errorf("%v %v", u, err)
	}
}

func TestHosts(t *testing.T) {
	good := []struct{ base, hosts string }{
		{"https://api.acme.example", ""},
		{"https://api.acme.example:8443/v1/", "[api.acme.example]"},
		{"https://${subdomain}.eu.acme.example", `["*.acme.example"]`},
		{"https://192.0.2.7", ""},
		{"https://[2001:db8::1]:8443", ""},
		{"https://api.acme.example/${tenant}/v1", ""},
	}
	for _, c := range good {
		if conn, faults := catalog.Parse("", withHost(c.base, c.hosts), catalog.Options{}); conn == nil {
			t.Errorf("%s %s: %v", c.base, c.hosts, faults)
		}
	}
	for _, c := range []struct{ base, hosts string }{
		{"https://${subdomain}", ""},
		{"https://${tenant}", ""},
		{"https://${subdomain}.com", `["*.com"]`},
		{"https://${subdomain}.co.uk", `["*.co.uk"]`},
		{"https://${subdomain}.acme.example", `[api.acme.example]`},
		{"https://${subdomain}.acme.example", `[x.acme.example]`},
		{"https://a${subdomain}.acme.example", `["*.acme.example"]`},
		{"https://${subdomain}${subdomain}.acme.example", `["*.acme.example"]`},
		{"https://${lower(subdomain)}.acme.example", `["*.acme.example"]`},
		{"https://${tenant}.acme.example", `["*.acme.example"]`},
		{"https://acme.${subdomain}.example", `["*.example"]`},
		{"https://api.acme.${subdomain}", `["*.acme.example"]`},
		{"https://api.acme.example", "[other.example]"},
		{"https://acme.example", `["*.acme.example"]`},
		{"https://API.acme.example", ""},
		{"https://user@api.acme.example", ""},
		{"https://user:pw@api.acme.example", ""},
		{"https://api.acme.example:${tenant}", ""},
		{"https://api.acme.example:", ""},
		{"https://api.acme.example:0443", ""},
		{"https://api.acme.example:70000", ""},
		{"https://api.acme.example?x=1", ""},
		{"https://api.acme.example#x", ""},
		{`https://api.acme.example\x`, ""},
		{"https://api.acme.example/../x", ""},
		{"https://0x7f000001", ""},
		{"https://2130706433", ""},
		{"https://127.1", ""},
		{"https://localhost", ""},
		{"https://аpple.example", ""},
		{"https://api.acme.example.", ""},
		{"https://[::ffff:127.0.0.1]", ""},
		{"https://", ""},
		{"//api.acme.example", ""},
		{"ftp://api.acme.example", ""},
		{"HTTPS://api.acme.example", ""},
		{"${tenant}://api.acme.example", ""},
		{"https:api.acme.example", ""},
		{"http://api.acme.example", ""},
		{"https://api.acme.example", `["*"]`},
		{"https://api.acme.example", `["*.*.example", api.acme.example]`},
		{"https://api.acme.example", `["api.*.example", api.acme.example]`},
		{"https://api.acme.example", `["*.github.io", api.acme.example]`},
		{"https://api.acme.example", `["api.acme.example:443", api.acme.example]`},
	} {
		if conn, faults := catalog.Parse("", withHost(c.base, c.hosts), catalog.Options{}); conn != nil {
			t.Errorf("%s %s is accepted", c.base, c.hosts)
		} else if !strings.Contains(fmt.Sprint(faults), "baseUrl") && !strings.Contains(fmt.Sprint(faults), "allowedHosts") {
			t.Errorf("%s %s: %v", c.base, c.hosts, faults)
		}
	}
}

func withHost(base, hosts string) []byte {
	list := ""
	if hosts != "" {
		list = "allowedHosts: " + hosts
	}
	return []byte(strings.NewReplacer("https://${subdomain}.acme.example/v2", "'"+base+"'", `allowedHosts: ["*.acme.example"]`, list).Replace(acme))
}
