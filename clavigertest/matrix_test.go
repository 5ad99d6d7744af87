package clavigertest_test

import (
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/wire"
)

// The authorization matrix has a row for every route of the running program and a column
// for every kind of caller, each cell the class of the answer to a request about an
// object of organization A, workspace a1. It is checked in, so that a change of who may
// do what is seen in review, and written anew with
//
//	go test ./clavigertest -run TestAbuse_001 -update
//
// Whoever reviews a change of it asks four things, which TestMatrixHolds asks too: does
// a stranger (none, expired) get anything but 401, does another tenant's operator ever
// get 2xx on something of A's, does a token of a2 reach what is in a1, and do the two
// narrow keys reach more than their scopes say.
var update = flag.Bool("update", false, "write docs/authorization-matrix.tsv anew")

var matrixFile = filepath.Join("..", "docs", "authorization-matrix.tsv")

// principals are the matrix's columns.
var principals = []string{"none", "expired", "operator A", "scoped A/a1", "scoped A/a2", "proxy-only key A/a1", "viewer key A", "operator B"}

func (m *matrix) token(principal string) string {
	return map[string]string{
		"expired": m.expired, "operator A": m.A.Operator, "scoped A/a1": m.ScopedA1, "scoped A/a2": m.ScopedA2,
		"proxy-only key A/a1": m.ProxyOnly, "viewer key A": m.Viewer, "operator B": m.B.Operator,
	}[principal]
}

// matrix makes, for each cell, a fresh object to ask about.
type matrix struct {
	*clavigertest.Twins
	expired string // a key of A
	t       *testing.T
	n       int
	issuer  string // of an OpenID provider
}

func (m *matrix) name() string { m.n++; return fmt.Sprintf("fresh-%d", m.n) }

// made answers the id of what a request of A's owner makes.
func (m *matrix) made(method, path string, body any) *clavigertest.Answer {
	m.t.Helper()
	a := m.Do(call{Token: m.A.Owner, Method: method, Path: path, Body: body})
	if a.Status/100 != 2 {
		m.t.Fatalf("%s %s: %d %s", method, path, a.Status, a.Body)
	}
	return a
}

func (m *matrix) connection() string {
	no := false
	return m.made("POST", "/v1/connections", api.CreateConnection{
		Connector: "acme", AuthMethod: "key", Name: m.name(), WorkspaceID: m.A.Workspaces[0], Credentials: map[string]string{"apiKey": m.A.Secret}, Validate: &no,
	}).Field("id")
}

// endpoint answers the id of A's only event endpoint, made anew: their number is bounded.
func (m *matrix) endpoint() string {
	m.t.Helper()
	var list api.List[api.EventEndpoint]
	if a := m.made("GET", "/v1/event-endpoints", nil); json.Unmarshal(a.Body, &list) != nil {
		m.t.Fatalf("%s", a.Body)
	}
	for _, e := range list.Data {
		m.made("DELETE", "/v1/event-endpoints/"+e.ID, nil)
	}
	return m.made("POST", "/v1/event-endpoints", endpointBody()).Field("id")
}

// delivered answers the id of an event of a system of A/a1, which has been acted upon.
func (m *matrix) delivered() string {
	m.t.Helper()
	key := m.name()
	m.made("PUT", "/v1/systems/"+key, api.SystemUpload{System: hookSystem(key, githubSlot(key)), WorkspaceID: m.A.Workspaces[0]})
	m.made("PUT", "/v1/secrets/"+key+"/hook", map[string]string{"value": hookSecret})
	h := &hooked{Server: m.Server, Client: m.Server.Client(m.A.Owner), t: m.t}
	h.path = h.address(key)
	id := h.accept(`{"of":"`+key+`"}`, key)
	h.settled(id)
	return id
}

func endpointBody() any {
	return api.CreateEventEndpoint{URL: "https://events.invalid/", Events: []string{"connection.created"}}
}

// session answers a connect session's body, for A/a1.
func (m *matrix) session() any {
	return api.CreateConnectSession{User: api.ConnectUser{ID: "user-42"}, AllowedConnectors: []string{"acme"}, WorkspaceID: m.A.Workspaces[0]}
}

func (m *matrix) signOn() any { return api.PutSingleSignOn{Issuer: m.issuer, ClientID: "console"} }

// systemBody answers an upload of a system with one slot, whose secret nobody has set.
func systemBody(key, name string) any {
	return api.SystemUpload{
		System: json.RawMessage(fmt.Sprintf(`{"key":%q,"displayName":%q,"description":"d","type":"custom","authentications":[
		{"key":"default","usage":"api","authType":"credential","credential":{"method":"apikey","variables":{"baseUrl":"https://crm.example"},"security":{"apiKey":"kv://%s/key"}}}]}`, key, name, key)),
		DataSources: []json.RawMessage{json.RawMessage(fmt.Sprintf(`{"key":"people","displayName":"People","systemKey":%q,"entityType":"recordStorage","resourceType":"person",
		"primaryKey":["id"],"externalId":"id","fieldMappings":{"attributes":{"id":{"expression":"{{raw.id}}","type":"string","indexed":true}}},
		"capabilities":{"list":{"method":"GET","path":"/people"}}}`, key))},
	}
}

// target fills a route's holes with something of A/a1.
func (m *matrix) target(r wire.Route) string {
	path, id := r.Path, ""
	switch {
	case strings.HasPrefix(path, "/v1/connections/{id}"):
		id = m.connection()
	case strings.HasPrefix(path, "/v1/organizations/{id}"):
		id = m.A.ID
	case strings.HasPrefix(path, "/v1/workspaces/{id}"):
		id = m.A.Workspaces[0]
	case strings.HasPrefix(path, "/v1/users/{id}"):
		id = m.made("POST", "/v1/users", map[string]string{"name": "n", "email": m.name() + "@acme.example", "role": "viewer"}).Field("id")
	case strings.HasPrefix(path, "/v1/applications/{id}"):
		id = m.made("POST", "/v1/applications", map[string]string{"name": m.name()}).Field("id")
	case strings.HasPrefix(path, "/v1/api-keys/{id}"):
		id = m.made("POST", "/v1/api-keys", map[string]string{"name": m.name()}).Field("id")
	case strings.HasPrefix(path, "/v1/event-endpoints/{id}"):
		id = m.endpoint()
		if strings.Contains(path, "{delivery}") {
			m.connection() // announced to the endpoint
			var list api.List[api.EventDelivery]
			if a := m.made("GET", "/v1/event-endpoints/"+id+"/deliveries", nil); json.Unmarshal(a.Body, &list) != nil || len(list.Data) == 0 {
				m.t.Fatalf("no delivery: %s", a.Body)
			}
			path = strings.Replace(path, "{delivery}", list.Data[0].ID, 1)
		}
	case strings.HasPrefix(path, "/v1/revocations/{id}"):
		id = m.made("POST", "/v1/connections/revoke", map[string]string{"tag": "team:nobody"}).Field("id")
	case strings.HasPrefix(path, "/v1/events/{id}"):
		id = m.delivered()
	case r.Name == "receiveWebhook" || r.Name == "answerWebhook":
		return "/webhooks/nobody"
	case r.Name == "awaitHandshake":
		key := m.name()
		m.made("PUT", "/v1/systems/"+key, api.SystemUpload{System: hookSystem(key, githubSlot(key))})
		return strings.Replace(path, "{systemKey}", key, 1)
	case strings.HasPrefix(path, "/v1/systems/{systemKey}"):
		key := m.name()
		for _, name := range []string{"first", "second"} { // versions
			m.made("PUT", "/v1/systems/"+key, systemBody(key, name))
		}
		if strings.HasSuffix(path, "/certificate") {
			m.made("POST", "/v1/systems/"+key+"/verify-trust", nil)
		}
		return strings.NewReplacer("{systemKey}", key, "{dataSource}", "people").Replace(path)
	case path == "/v1/connectors/{key}":
		key := m.name()
		m.made("PUT", "/v1/connectors/"+key, string(m.Vendor.Document(key)))
		return "/v1/connectors/" + key
	case path == "/v1/connectors/{key}/client":
		key := m.name()
		m.made("PUT", "/v1/connectors/"+key, fmt.Sprintf(`{"key":%q,"name":"N","kind":"http","baseUrl":"https://crm.example","allowedHosts":["crm.example"],
			"auth":[{"key":"oauth","type":"oauth2","label":"Sign in","test":"none","permissions":"none","oauth2":{"grant":"authorizationCode",
			"clientAuth":"client_secret_basic","authorizeUrl":"https://crm.example/authorize","tokenUrl":"https://crm.example/token"}}]}`, key))
		return "/v1/connectors/" + key + "/client"
	case path == "/v1/sso":
		m.made("PUT", path, m.signOn())
	case strings.HasPrefix(path, "/v1/connect/sessions/{id}"):
		id = m.made("POST", "/v1/connect/sessions", m.session()).Field("id")
	case path == "/v1/secrets/{path...}":
		where := "/v1/secrets/shared/" + m.name()
		m.made("PUT", where, map[string]string{"value": "v"})
		return where
	}
	path = strings.Replace(strings.Replace(path, "{id}", id, 1), "{path...}", "contacts", 1)
	if strings.ContainsAny(path, "{}") {
		m.t.Fatalf("%s %s is new: say in target what of A/a1 stands in it", r.Method, r.Path)
	}
	return path
}

// body answers a valid body for a route that takes one.
func (m *matrix) body(r wire.Route, path string) any {
	ws := m.A.Workspaces[0]
	bodies := map[string]func() any{
		"createOrganization": func() any { return map[string]string{"name": m.name()} },
		"createWorkspace":    func() any { return map[string]string{"name": m.name()} },
		"updateWorkspace":    func() any { return map[string]string{"name": "a1"} },
		"createUser": func() any {
			return map[string]string{"name": "n", "email": m.name() + "@acme.example", "role": "viewer"}
		},
		"updateUser":        func() any { return map[string]string{"name": "other"} },
		"createApplication": func() any { return map[string]string{"name": m.name()} },
		"createAPIKey":      func() any { return map[string]string{"name": m.name(), "workspaceId": ws} },
		"revokeTokens": func() any {
			who := m.Do(call{Token: m.Scoped(m.t, m.A.Operator, "a1"), Method: "GET", Path: "/v1/whoami"})
			return map[string]string{"tokenId": who.Field("tokenId")}
		},
		"putConnector": func() any { return string(m.Vendor.Document(strings.TrimPrefix(path, "/v1/connectors/"))) },
		"createConnection": func() any {
			return api.CreateConnection{Connector: "acme", AuthMethod: "key", Name: m.name(), WorkspaceID: ws, Credentials: map[string]string{"apiKey": m.A.Secret}}
		},
		"updateConnection":   func() any { return map[string]string{"name": m.name()} },
		"revokeConnections":  func() any { return map[string]string{"workspaceId": ws, "tag": "team:nobody"} },
		"disableConnections": func() any { return map[string]string{"workspaceId": ws, "tag": "team:nobody"} },
		"runAction": func() any {
			return map[string]any{"actionIdentifier": "acme.list-contacts", "connectionId": m.connection()}
		},
		"explain":              func() any { return map[string]any{"connectionId": m.connection(), "method": "GET", "path": "/x"} },
		"createEventEndpoint":  endpointBody,
		"createConnectSession": m.session,
		"finishConnectSession": func() any { return map[string]string{"finishCode": "ABCD-EFGH"} },
		"finishConnection":     func() any { return map[string]string{"finishCode": "ABCD-EFGH"} },
		"putOAuthClient":       func() any { return map[string]string{"clientId": "id", "clientSecret": "s3cret"} },
		"putReturnURLs":        func() any { return map[string][]string{"urls": {"https://app.example/done"}} },
		"putBranding":          func() any { return map[string]string{"name": "Acme", "color": "#0b57d0"} },
		"putSecret":            func() any { return map[string]string{"value": "other"} },
		"putPolicy":            func() any { return api.Policy{} },
		"putSingleSignOn":      func() any { return m.signOn() },
		"putSystem":            func() any { return systemBody(path[strings.LastIndexByte(path, '/')+1:], "third") },
		"validateSystem":       func() any { return api.SystemDocuments{} },
		"rollbackSystem":       func() any { return api.SystemRollback{Version: 1} },
		"awaitHandshake":       func() any { return api.AwaitHandshake{} },
		"beginLogin":           func() any { return map[string]string{"host": "laptop"} },
		"redeemLogin":          func() any { return map[string]string{"deviceCode": "unknown"} },
		"lookUpLogin":          func() any { return map[string]string{"userCode": "0000-0000"} },
		"decideLogin":          func() any { return map[string]any{"userCode": "0000-0000", "allow": true} },
		"grantLogin": func() any {
			return api.GrantLogin{Host: "laptop", State: "s", RedirectURI: "http://127.0.0.1:1/", CodeChallenge: challenge("proof")}
		},
		"builder":             func() any { return initialize },
		"createOperatorToken": func() any { return map[string]string{"client_id": m.A.ClientID, "client_secret": m.A.ClientSecret} },
		"createScopedToken":   func() any { return map[string]string{"workspace_name": "a1"} },
		"createCustomerToken": func() any { return map[string]string{"customer_name": "a1"} },
	}
	if f, ok := bodies[r.Name]; ok {
		return f()
	}
	empty := []string{"testConnection", "disableConnection", "enableConnection", "rotateEncryption", "proxy", "rotateEventEndpointSecret", "replayEventDelivery", "testEndToEnd", "verifyTrust", "testIntegration", "replayEvent", "receiveWebhook", "setUpLink"}
	if (r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH") && !slices.Contains(empty, r.Name) {
		m.t.Fatalf("%s %s is new: say in body what it takes", r.Method, r.Path)
	}
	return nil
}

// ofAnother lists the routes without a hole in their path whose request names something
// of A's all the same.
var ofAnother = []string{"createAPIKey", "revokeTokens", "createConnection", "runAction", "explain", "createConnectSession"}

// namespaced lists the routes whose path is a name of the caller's own choice: another
// tenant that uses the same name gets a thing of its own.
var namespaced = []string{"putConnector", "putSecret", "putSystem"}

func class(status int) string {
	switch status {
	case 401, 403, 404:
		return fmt.Sprint(status)
	}
	return fmt.Sprintf("%dxx", status/100)
}

// expire makes a key of A that has expired.
func (m *matrix) expire(db *sql.DB) {
	m.t.Helper()
	later := time.Now().Add(time.Hour)
	key, id := m.APIKey(m.t, m.A, api.CreateAPIKey{Name: "expired", ExpiresAt: &later})
	exec(m.t, db, "UPDATE api_keys SET expires_at = $1 WHERE id = $2", time.Now().Add(-time.Hour).UnixMilli(), id)
	if status := m.Do(call{Token: key, Method: "GET", Path: "/v1/whoami"}).Status; status != 401 {
		m.t.Fatalf("an expired key: %d", status)
	}
	m.expired = key
}

// volatile are the columns that change by themselves.
var volatile = regexp.MustCompile("(last_used_at|last_checked_at|seals)=[^\x1f]*\x1f")

func TestAbuse_001_EveryRouteTimesEveryCaller(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		provider := oauthserver.Start(t, oauthserver.Policy{})
		m := &matrix{t: t, issuer: provider.URL}
		m.Twins = clavigertest.NewTwins(t, clavigertest.Options{Engine: engine, EgressAllow: "127.0.0.1", RootCAs: provider.Roots()})
		db := database(t, m.Server)
		m.expire(db)
		all := slices.DeleteFunc(tables(t, m.Server, db), func(name string) bool {
			return slices.Contains([]string{"ledger", "streams", "checkpoints", "changes", "call_usage", "goose_db_version", "idempotency", "event_deliveries", "workers"}, name) ||
				strings.HasPrefix(name, "river_") // the queue works by itself, and deliveries are tried by it
		})
		rows := func() (out []string) {
			for _, table := range all {
				for _, row := range contents(t, db, table) {
					out = append(out, table+": "+row)
				}
			}
			return out
		}
		want := readMatrix(t)
		var lines []string
		for _, r := range m.App.Routes() {
			method := r.Method
			if method == "" {
				method = "ANY"
			}
			line := []string{method, r.Path}
			for i, principal := range principals {
				got := m.cell(r, principal, rows)
				line = append(line, got)
				if cells, ok := want[method+" "+r.Path]; !*update && (!ok || cells[i] != got) {
					t.Errorf("%s %s as %s: %s, and the matrix says %v", method, r.Path, principal, got, cells)
				}
			}
			lines = append(lines, strings.Join(line, "\t"))
		}
		if !*update && len(want) != len(lines) {
			t.Errorf("the matrix has %d rows, the program %d routes", len(want), len(lines))
		}
		if *update && engine == clavigertest.SQLite {
			text := "method\tpath\t" + strings.Join(principals, "\t") + "\n" + strings.Join(lines, "\n") + "\n"
			if err := os.WriteFile(matrixFile, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d routes, %d cells", len(lines), len(lines)*len(principals))
	})
}

// cell makes one request and answers its class; one that is refused must have changed
// nothing.
func (m *matrix) cell(r wire.Route, principal string, rows func() []string) string {
	m.t.Helper()
	path := m.target(r)
	c := call{Token: m.token(principal), Method: r.Method, Path: path, Body: m.body(r, path)}
	if c.Method == "" {
		c.Method = http.MethodGet
	}
	before := rows()
	m.Vendor.Forget()
	a := m.Do(c)
	if a.Status >= 400 {
		if after := rows(); !same(before, after) {
			m.t.Errorf("%s %s as %s was refused (%d) and changed rows:\n%s", c.Method, path, principal, a.Status, difference(before, after))
		}
		if n := len(m.Vendor.Received()); n != 0 {
			m.t.Errorf("%s %s as %s was refused (%d) and reached the vendor", c.Method, path, principal, a.Status)
		}
	}
	if principal == "operator B" && r.Name != "createOperatorToken" {
		if strings.Contains(string(a.Body), m.A.ID) && !strings.Contains(path, m.A.ID) {
			m.t.Errorf("%s %s shows another tenant: %s", c.Method, path, a.Body)
		}
		others := func(row string) bool { return !strings.Contains(row, m.A.ID) }
		if now := slices.DeleteFunc(rows(), others); !same(slices.DeleteFunc(slices.Clone(before), others), now) {
			m.t.Errorf("%s %s by another tenant changed A:\n%s", c.Method, path, difference(before, now))
		}
	}
	return class(a.Status)
}

// same reports whether rows are equal but for the columns that change by themselves.
func same(before, after []string) bool {
	return slices.EqualFunc(before, after, func(a, b string) bool {
		return a == b || volatile.ReplaceAllString(a, "") == volatile.ReplaceAllString(b, "")
	})
}

func difference(before, after []string) string {
	var b strings.Builder
	for _, row := range before {
		if !slices.Contains(after, row) {
			fmt.Fprintf(&b, "- %.300s\n", row)
		}
	}
	for _, row := range after {
		if !slices.Contains(before, row) {
			fmt.Fprintf(&b, "+ %.300s\n", row)
		}
	}
	return b.String()
}

func readMatrix(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(matrixFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		cells := strings.Split(line, "\t")
		if i == 0 || len(cells) != len(principals)+2 {
			continue
		}
		out[cells[0]+" "+cells[1]] = cells[2:]
	}
	return out
}

// TestMatrixHolds asks of the checked-in matrix what a reviewer asks.
func TestMatrixHolds(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	want := readMatrix(t)
	narrow := map[string][]string{
		"proxy-only key A/a1": {"whoami", "proxy", "runAction"},
		"viewer key A":        {"whoami", "listConnections", "getConnection", "listReferences", "explain", "getConnectSession", "listExpirations", "expirationsCalendar"},
	}
	for _, r := range s.App.Routes() {
		method := r.Method
		if method == "" {
			method = "ANY"
		}
		cells := want[method+" "+r.Path]
		if len(cells) != len(principals) {
			t.Errorf("%s %s has no row", method, r.Path)
			continue
		}
		if r.Public {
			continue
		}
		named := strings.Contains(r.Path, "{") && !slices.Contains(namespaced, r.Name) || slices.Contains(ofAnother, r.Name)
		for i, principal := range principals {
			ok := cells[i] == "2xx"
			switch {
			case (principal == "none" || principal == "expired") && cells[i] != "401",
				principal == "operator B" && named && ok,
				principal == "scoped A/a2" && ok && (strings.HasPrefix(r.Path, "/v1/connections/{id}") || slices.Contains(ofAnother, r.Name)),
				narrow[principal] != nil && ok && !slices.Contains(narrow[principal], r.Name):
				t.Errorf("%s %s: %s may not be %s", method, r.Path, principal, cells[i])
			}
		}
	}
}
