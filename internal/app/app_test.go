package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claviger"
	"claviger/internal/gate"
)

// open opens an instance in a folder; the test closes it.
func open(t *testing.T, data string, change func(*Config)) *App {
	t.Helper()
	c := Config{Settings: Settings{Data: data, EgressAllow: "127.0.0.1", LedgerMode: "relaxed"}}
	if change != nil {
		change(&c)
	}
	a, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return a
}

// ownersKey answers the API key of a first start.
func (a *App) ownersKey(t *testing.T) (key string) {
	t.Helper()
	if a.FirstStart() == nil {
		t.Fatal("this was no first start")
	}
	a.FirstStart().APIKey.Use(func(b []byte) { key = string(b) })
	return key
}

// ask sends a request to the API and answers the status and the body.
func (a *App) ask(t *testing.T, key, method, path string, body any) (int, map[string]any) {
	t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	q := httptest.NewRequest(method, path, bytes.NewReader(text))
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	q.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, q)
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("%s %s: %d %q", method, path, w.Code, w.Body)
	}
	return w.Code, out
}

// A setting that stops the start must not use up the first start, whose secrets are
// shown once.
func TestBadSettingDoesNotUseUpTheFirstStart(t *testing.T) {
	data := t.TempDir()
	for name, change := range map[string]func(*Settings){
		"egress":     func(s *Settings) { s.EgressAllow = ";;" },
		"connectors": func(s *Settings) { s.ConnectorsDir = filepath.Join(data, "none") },
		"secrets":    func(s *Settings) { s.Secrets = "vault:x" },
	} {
		s := Settings{Data: data}
		change(&s)
		if _, err := Open(t.Context(), Config{Settings: s}); err == nil {
			t.Errorf("%s: started", name)
		}
	}
	a := open(t, data, nil)
	if status, _ := a.ask(t, a.ownersKey(t), "GET", "/v1/whoami", nil); status != 200 {
		t.Errorf("status %d", status)
	}
}

// vendor answers every path with its own name, to whoever has the key.
func vendor(t *testing.T) *httptest.Server {
	t.Helper()
	v := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("X-Api-Key") != "ak_right" {
			w.WriteHeader(401)
		}
		_, _ = fmt.Fprintf(w, `{"path":%q}`, q.URL.Path)
	}))
	t.Cleanup(v.Close)
	return v
}

func document(v *httptest.Server, path string) string {
	return fmt.Sprintf(`
key: acme
name: Acme
kind: http
baseUrl: %s
auth:
  - {key: key, type: apiKey, label: Key, fields: [{key: apiKey, label: Key, secret: true, required: true}],
     inject: [{in: header, name: X-API-Key, value: "${apiKey}"}], test: {method: GET, path: /me, expectStatus: [200]}}
actions:
  - {key: get, name: Get, readOnly: true, request: {method: GET, path: %s}}
`, v.URL, path)
}

func connection(value string) map[string]any {
	return map[string]any{"connector": "acme", "authMethod": "key", "name": "one", "credentials": map[string]string{"apiKey": value}}
}

// An external store works from the first start on, which is when the instance's own
// organization, whose paths it holds, is made.
func TestExternalSecretsFromTheFirstStart(t *testing.T) {
	v, data, folder := vendor(t), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "acme.yaml"), []byte(document(v, "/a")), 0o600); err != nil {
		t.Fatal(err)
	}
	a := open(t, data, func(c *Config) {
		c.Secrets, c.ConnectorsDir = "env:", folder
		c.LookupEnv = func(name string) (string, bool) { return "ak_right", name == "CLAVIGER_SECRET_SHARED__KEY" }
	})
	key := a.ownersKey(t)
	if status, body := a.ask(t, key, "POST", "/v1/connections", connection("kv://shared/key")); status != 201 {
		t.Errorf("%d %v", status, body)
	}
	status, body := a.ask(t, key, "POST", "/v1/connections", connection("kv://shared/none"))
	if e, _ := body["error"].(map[string]any); status != 424 || e["code"] != "secret_missing" || e["path"] != "shared/none" {
		t.Errorf("%d %v", status, body)
	}
	status, body = a.ask(t, key, "PUT", "/v1/secrets/shared/key", map[string]string{"value": "x"})
	if e, _ := body["error"].(map[string]any); status != 409 || e["code"] != "external_secret_store" {
		t.Errorf("%d %v", status, body)
	}
}

// A document that changes in the operator's folder reaches connections that are in use.
func TestChangedDocumentReachesConnections(t *testing.T) {
	v, folder := vendor(t), t.TempDir()
	write := func(path string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, "acme.yaml"), []byte(document(v, path)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("/first")
	a := open(t, t.TempDir(), func(c *Config) { c.ConnectorsDir = folder })
	key := a.ownersKey(t)
	_, made := a.ask(t, key, "POST", "/v1/connections", connection("ak_right"))
	for _, path := range []string{"/first", "/second-longer"} {
		write(path)
		a.reloadFolder(t.Context())
		_, got := a.ask(t, key, "POST", "/v1/actions/run", map[string]any{"actionIdentifier": "acme.get", "connectionId": made["id"]})
		if out, _ := got["output"].(map[string]any); out["path"] != path {
			t.Errorf("%v, want %s", got, path)
		}
	}
}

// A token that is nobody's is in the ledger of the instance's organization.
func TestUnknownTokenIsSeenByTheInstance(t *testing.T) {
	a := open(t, t.TempDir(), func(c *Config) { c.LedgerMode = "strict" })
	key := a.ownersKey(t)
	if status, _ := a.ask(t, "clv_key_unknown", "GET", "/v1/whoami", nil); status != 401 {
		t.Errorf("status %d", status)
	}
	home, err := a.home(t.Context())
	if err != nil || home != a.FirstStart().Organization {
		t.Fatalf("home is %s: %v", home, err)
	}
	// The ledger writes in the order of its queue, and this waits until it is written.
	system := claviger.Caller{Kind: claviger.CallerSystem, Scope: claviger.Authenticated(home, ""), Permissions: claviger.RoleOwner.Permissions()}
	ticket, err := a.gate.Admit(t.Context(), system, claviger.KeysRotate, claviger.Resource{Type: "keyset", Organization: home}, "")
	if err != nil {
		t.Fatal(err)
	}
	ticket.Done(gate.Ending{})
	_, list := a.ask(t, key, "GET", "/v1/audit?actorKind=nobody&outcome=denied", nil)
	text, err := json.Marshal(list["data"])
	if err != nil || !strings.Contains(string(text), "authentication:fail") || !strings.Contains(string(text), string(home)) {
		t.Errorf("%s %v", text, err)
	}
}

func TestListsAreNarrowedByEveryField(t *testing.T) {
	v, folder := vendor(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "acme.yaml"), []byte(document(v, "/a")), 0o600); err != nil {
		t.Fatal(err)
	}
	a := open(t, t.TempDir(), func(c *Config) { c.ConnectorsDir = folder })
	key, home, ws := a.ownersKey(t), string(a.FirstStart().Organization), string(a.FirstStart().Workspace)
	status, made := a.ask(t, key, "POST", "/v1/connections", connection("ak_right"))
	if status != 201 {
		t.Fatal(made)
	}
	a.ask(t, key, "POST", "/v1/connections/"+made["id"].(string)+"/disable", nil)
	for path, want := range map[string]int{
		"/v1/connections?workspace=" + ws:                                                   1,
		"/v1/connections?workspaceId=" + ws:                                                 1,
		"/v1/connections?workspace=" + home:                                                 0,
		"/v1/connections?status=disabled&connector=acme&healthStatus=healthy&search=ON":     1,
		"/v1/connections?tag=a:b":                                                           0,
		"/v1/audit?verb=connections:disable&organizationId=" + home:                         1,
		"/v1/audit?verb=connections:disable&organizationId=" + ws:                           0,
		"/v1/audit?verb=connections:disable&workspaceId=" + ws + "&resourceType=connection": 1,
		"/v1/audit?verb=connections:disable&maxDurationMs=60000&outcome=succeeded":          1,
		"/v1/audit?verb=connections:disable&minDurationMs=60000":                            0,
		"/v1/audit?verb=connections:disable&code=none":                                      0,
		"/v1/audit?verb=connections:disable&action=acme.get":                                0,
	} {
		status, list := a.ask(t, key, "GET", path, nil)
		if data, _ := list["data"].([]any); status != 200 || len(data) != want {
			t.Errorf("%s: %d, %d items, want %d", path, status, len(data), want)
		}
	}
	status, swept := a.ask(t, key, "POST", "/v1/connections/disable", map[string]string{"workspace": ws})
	if status != 200 || swept["disabled"] != 0.0 {
		t.Errorf("%d %v", status, swept)
	}
}
