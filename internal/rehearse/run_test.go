package rehearse

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/connectors"
	"claviger/internal/catalog"
	"claviger/internal/catalog/simulate"
)

// summary is what TestEveryConnector counted. It is printed after the tests, as the
// package's own line, so that "make test" shows it although the tests passed.
var summary string

func TestMain(m *testing.M) {
	code := m.Run()
	if summary != "" {
		fmt.Println(summary)
	}
	os.Exit(code)
}

// open answers a world that ends with the test.
func open(t *testing.T) *World {
	t.Helper()
	w, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// TestEveryConnector runs every built-in connector. A count of connectors means:
// passed this run.
func TestEveryConnector(t *testing.T) {
	c, err := catalog.Load(connectors.Files, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := open(t)
	all := c.List(catalog.Filter{})
	passed, calls, none := 0, 0, map[string]int{}
	for _, conn := range all {
		report, err := w.Run(t.Context(), conn)
		if err = errors.Join(err, report.Err()); err != nil {
			t.Error(err)
			continue
		}
		passed++
		for _, s := range report.Steps {
			calls += s.Calls
			if s.Outcome == None {
				none[s.Name]++
			}
		}
	}
	var declared []string
	for step, n := range none {
		declared = append(declared, fmt.Sprintf("%s %d", step, n))
	}
	slices.Sort(declared)
	summary = fmt.Sprintf("connectors: %d files, %d passed simulated run in %d calls, steps declared none: %s", len(all), passed, calls, strings.Join(declared, ", "))
	if len(all) < 200 || calls < 10*len(all) {
		t.Errorf("%d connectors and %d calls are too few to be all", len(all), calls)
	}
}

// acme uses each part of a document once; the vendor is made from it as it stands.
const acme = `key: acme
name: Acme
kind: http
categories: [crm]
docsUrl: https://docs.acme.example/
baseUrl: https://${region}.acme.example/v2
variables: [{key: region, type: hostLabel, required: true}, {key: tenant, type: pathSegment, pattern: "^t[0-9]{3}$"}]
allowedHosts: ["*.acme.example"]
headers: {X-Version: "7"}
auth:
  - key: key
    type: custom
    fields:
      - {key: apiKey, secret: true, required: true, pattern: "^ak_[a-z0-9]{8,}$"}
      - {key: user, required: true, pattern: "^[^@]+@[^@]+\\.example$"}
    inject:
      - {in: header, name: X-Key, value: "key ${apiKey}"}
      - {in: query, name: user, value: "${user}"}
    test: {method: GET, path: "/t/${tenant}/me", query: {fields: all}, expectStatus: [203], expectBody: {path: $.state, equals: live}, account: {id: "$.user.id", name: "$.user.names[0]"}}
    permissions: {from: header, name: X-Scopes, separator: ",", required: [contacts.read]}
  - key: oauth
    type: oauth2
    oauth2:
      grant: authorizationCode
      authorizeUrl: https://auth.acme.example/authorize
      tokenUrl: https://auth.acme.example/token
      revokeUrl: https://auth.acme.example/revoke
      scopes: [contacts.read, contacts.write]
      scopeSeparator: ","
      clientAuth: client_secret_basic
      pkce: S256
      authorizeParams: {audience: "${tenant}"}
      tokenParams: {resource_set: crm}
      tokenRequest: {format: json}
      tokenResponse: {format: json, accessToken: $.data.token, expiresAt: $.data.until, error: $.problem, errors: {gone: invalid_grant}}
      refresh: {rotates: true}
      revoke: {tokenIn: query, clientAuth: none}
    test: {method: GET, path: /whoami, expectStatus: [200], account: {id: $.me}, expectBody: {path: $.me, notNull: true}}
    permissions: {from: token}
actions:
  - key: list
    name: List
    readOnly: true
    input: {type: object, additionalProperties: false, properties: {cursor: {type: string}, limit: {type: integer, minimum: 3}}}
    request: {method: GET, path: /contacts, query: {cursor: "${input.cursor}", limit: "${input.limit}"}}
    pagination: {type: cursor, param: cursor, next: $.meta.next}
  - key: create
    name: Create
    input: {type: object, additionalProperties: false, required: [name], properties: {name: {type: string, pattern: "^[A-Z][a-z]{2}$"}, mail: {type: string, format: email}}}
    request: {method: POST, path: "/contacts/${input.name}", body: {mail: "${input.mail}"}, bodyFormat: form}
expiry: [{status: 401}, {status: 200, path: $.error, equals: expired}]
rateLimit: {status: [403, 429], remainingHeader: X-Left, resetHeader: X-Reset, resetFormat: epochMilliseconds}
`

func parse(t *testing.T, text string) *claviger.Connector {
	t.Helper()
	conn, faults := catalog.Parse("acme.yaml", []byte(text), catalog.Options{})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return conn
}

// TestDifferencesAreFound: a vendor that differs from the document in any one thing
// fails the run. The vendor stays; the document under test changes.
func TestDifferencesAreFound(t *testing.T) {
	w := open(t)
	run := func(text string) error {
		v, err := simulate.New(parse(t, acme), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return w.against(t.Context(), parse(t, text), v).Err()
	}
	if err := run(acme); err != nil {
		t.Fatalf("the document against its own vendor: %v", err)
	}
	for _, c := range []struct{ old, new string }{
		{"name: X-Key", "name: X-Token"},
		{"value: \"key ${apiKey}\"", "value: \"${apiKey}\""},
		{"in: query, name: user", "in: header, name: user"},
		{`headers: {X-Version: "7"}`, `headers: {X-Version: "8"}`},
		{`path: "/t/${tenant}/me"`, `path: "/t/me"`},
		{"query: {fields: all}", "query: {fields: some}"},
		{"expectStatus: [203]", "expectStatus: [200]"},
		{"equals: live", "equals: dead"},
		{"id: \"$.user.id\"", "id: \"$.account.id\""},
		{"from: header, name: X-Scopes", "from: header, name: X-Granted"},
		{"separator: \",\", required: [contacts.read]", "separator: \",\", required: [contacts.all]"},
		{"https://${region}.acme.example/v2", "https://${region}.acme.example/v3"},
		{"https://auth.acme.example/authorize", "https://auth.acme.example/consent"},
		{"https://auth.acme.example/token", "https://auth.acme.example/tokens"},
		{"https://auth.acme.example/revoke", "https://auth.acme.example/end"},
		{"scopes: [contacts.read, contacts.write]", "scopes: [contacts.read]"},
		{`scopeSeparator: ","`, `scopeSeparator: " "`},
		{"clientAuth: client_secret_basic", "clientAuth: client_secret_post"},
		{"pkce: S256", `pkce: "off"`},
		{`authorizeParams: {audience: "${tenant}"}`, "authorizeParams: {audience: other}"},
		{"tokenParams: {resource_set: crm}", "tokenParams: {}"},
		{"tokenRequest: {format: json}", "tokenRequest: {format: form}"},
		{"accessToken: $.data.token", "accessToken: $.token"},
		{"expiresAt: $.data.until, ", ""},
		{"errors: {gone: invalid_grant}", "errors: {}"},
		{"refresh: {rotates: true}", "refresh: {rotates: false}"},
		{"tokenIn: query", "tokenIn: body"},
		{"revoke: {tokenIn: query, clientAuth: none}", "revoke: {tokenIn: query, clientAuth: client_secret_basic}"},
		{"request: {method: GET, path: /contacts,", "request: {method: GET, path: /people,"},
		{"next: $.meta.next", "next: $.next"},
		{"bodyFormat: form", "bodyFormat: json"},
		{"request: {method: POST", "request: {method: PUT"},
		{"expiry: [{status: 401}, {status: 200, path: $.error, equals: expired}]", "expiry: [{status: 403}]"},
		{"resetFormat: epochMilliseconds", "resetFormat: epochSeconds"},
		{"remainingHeader: X-Left", "remainingHeader: X-Remaining"},
	} {
		if !strings.Contains(acme, c.old) {
			t.Fatalf("the document has no %q", c.old)
		}
		if err := run(strings.Replace(acme, c.old, c.new, 1)); err == nil {
			t.Errorf("not found: %s instead of %s", c.new, c.old)
		}
	}
}

// TestFaultsWithinOneDocument: a document that contradicts itself fails against its
// own vendor.
func TestFaultsWithinOneDocument(t *testing.T) {
	w := open(t)
	for _, c := range []struct{ old, new, why string }{
		{`"^ak_[a-z0-9]{8,}$"`, `"^ak$x"`, "a made-up credential is refused"},
		{`"^t[0-9]{3}$"`, `"^/+$"`, "made-up settings"},
		{"      - {in: query, name: user, value: \"${user}\"}\n", "", "the field user goes nowhere"},
		{"name: \"$.user.names[0]\"", "name: \"$.user.id.name\"", "the account is"},
		{"query: {cursor: \"${input.cursor}\", limit: \"${input.limit}\"}", "query: {limit: \"${input.limit}\"}", "no input takes the position"},
		{"pattern: \"^[A-Z][a-z]{2}$\"", "pattern: \"^[A-Z][a-z]{2}$\", maxLength: 2", "a made-up input"},
		{"expiry: [{status: 401}, {status: 200, path: $.error, equals: expired}]", "expiry: []", "accepted"},
		{"accessToken: $.data.token, expiresAt: $.data.until", "accessToken: $.data, expiresAt: $.data.until", "first tokens"},
	} {
		if !strings.Contains(acme, c.old) {
			t.Fatalf("the document has no %q", c.old)
		}
		report, err := w.Run(t.Context(), parse(t, strings.Replace(acme, c.old, c.new, 1)))
		if err = errors.Join(err, report.Err()); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", c.new, err, c.why)
		}
	}
}
