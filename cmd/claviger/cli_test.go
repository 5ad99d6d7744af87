package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const testKey = "clv_key_0123456789"

// shell is a person's machine: its environment, its configuration folder, and the
// program on it.
type shell struct {
	t   *testing.T
	dir string
	env map[string]string

	browse func(ctx context.Context, address string) error
	pause  func(ctx context.Context, d time.Duration) error
}

func newShell(t *testing.T) *shell {
	return &shell{
		t: t, dir: t.TempDir(), env: map[string]string{},
		browse: func(context.Context, string) error { return errors.New("there is no browser") },
		pause:  func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
}

// printed is what a program prints.
type printed struct{ out, errs bytes.Buffer }

// program answers the program on this machine, and what it is going to print.
func (s *shell) program(stdin string) (*program, *printed) {
	out := new(printed)
	return &program{
		stdin: strings.NewReader(stdin), stdout: &out.out, stderr: &out.errs,
		getenv:    func(k string) string { return s.env[k] },
		configDir: func() (string, error) { return s.dir, nil },
		browse:    s.browse, pause: s.pause,
	}, out
}

// run runs one command and answers its exit code and what it printed.
func (s *shell) run(stdin string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	p, out := s.program(stdin)
	code = p.execute(s.t.Context(), args)
	return code, out.out.String(), out.errs.String()
}

// want runs a command and checks its exit code.
func (s *shell) want(code int, stdin string, args ...string) (stdout, stderr string) {
	s.t.Helper()
	got, stdout, stderr := s.run(stdin, args...)
	if got != code {
		s.t.Errorf("claviger %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, code, stdout, stderr)
	}
	return stdout, stderr
}

// canned is a server that answers each "METHOD /path" with a fixed status and body,
// and remembers what it was asked.
type canned struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]string // "METHOD /path" -> "200 {...}"
	asked   []string          // "METHOD /path?query body"
}

func newCanned(t *testing.T, answers map[string]string) *canned {
	t.Helper()
	c := &canned{answers: answers}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *canned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	c.asked = append(c.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	answer, ok := c.answers[r.Method+" "+r.URL.Path]
	c.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+testKey {
		answer, ok = `401 {"error":{"message":"The token is not valid.","code":"invalid_token","requestId":"req_9"}}`, true
	}
	if !ok {
		answer = `404 {"error":{"message":"No such thing.","code":"not_found"}}`
	}
	status, text, _ := strings.Cut(answer, " ")
	code := 0
	_ = json.Unmarshal([]byte(status), &code)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text)
}

// last answers what the server was asked last.
func (c *canned) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked) == 0 {
		return ""
	}
	return c.asked[len(c.asked)-1]
}

// at answers a shell that is logged in to a server of these answers by its
// environment.
func at(t *testing.T, answers map[string]string) (*shell, *canned) {
	t.Helper()
	s, c := newShell(t), newCanned(t, answers)
	s.env["CLAVIGER_URL"], s.env["CLAVIGER_API_KEY"] = c.URL, testKey
	return s, c
}

func TestExitCodes(t *testing.T) {
	refusal := func(status, code string) string {
		return status + ` {"error":{"message":"Said so.","code":"` + code + `","param":"credentials.apiKey","requestId":"req_1"}}`
	}
	for name, tc := range map[string]struct {
		answer string
		code   int
	}{
		"200": {`200 {"object":"caller","kind":"api_key"}`, exitOK},
		"400": {refusal("400", "unreadable"), exitRefused},
		"401": {refusal("401", "invalid_token"), exitLogin},
		"403": {refusal("403", "denied"), exitRefused},
		"404": {refusal("404", "not_found"), exitNotFound},
		"409": {refusal("409", "conflict"), exitRefused},
		"422": {refusal("422", "invalid_format"), exitRefused},
		"424": {refusal("424", "reauthorization_required"), exitRefused},
		"429": {refusal("429", "rate_limited"), exitRefused},
		"500": {refusal("500", "internal"), exitServer},
		"502": {refusal("502", "upstream"), exitServer},
		"504": {refusal("504", "timeout"), exitServer},
		"bad": {"200 <html>", exitServer},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := at(t, map[string]string{"GET /v1/whoami": tc.answer})
			_, stderr := s.want(tc.code, "", "whoami")
			if strings.Contains(tc.answer, "Said so.") {
				for _, want := range []string{"claviger: Said so.", "field: credentials.apiKey", "request: req_1", "code: "} {
					if !strings.Contains(stderr, want) {
						t.Errorf("no %q in %s", want, stderr)
					}
				}
			}
			_, stderr = s.want(tc.code, "", "whoami", "--json")
			if tc.code != exitOK {
				var shape struct{ Error serverError }
				if err := json.Unmarshal([]byte(stderr), &shape); err != nil || shape.Error.Message == "" {
					t.Errorf("%v in %s", err, stderr)
				}
			}
		})
	}
}

func TestUsageErrors(t *testing.T) {
	s := newShell(t)
	for _, args := range [][]string{
		{"nosuch"},
		{"connection", "crate"},
		{"connection", "show"},
		{"connection", "show", "a", "b"},
		{"connection", "list", "--nosuch"},
		{"connection", "list", "--limit", "many"},
		{"connection", "create"},
		{"connection", "create", "--connector", "a", "--name", "n", "--setting", "novalue"},
		{"action", "run", "a.b"},
		{"action", "run", "a.b", "--connection", "c", "--input", "[1]"},
		{"action", "run", "a.b", "--connection", "c", "--input", "@/nonexistent/file"},
		{"audit", "list", "--from", "yesterday"},
		{"key", "create", "n", "--expires-in", "-1h"},
		{"connector", "put", "/nonexistent/file"},
		{"login", "--url", "ftp://x"},
	} {
		if _, stderr := s.want(exitUsage, "", args...); !strings.HasPrefix(stderr, "claviger: ") {
			t.Errorf("%v: %s", args, stderr)
		}
	}
	s.want(exitLogin, "", "whoami")
	if stdout, _ := s.want(exitOK, "", "connection"); !strings.Contains(stdout, "Available Commands:") {
		t.Error(stdout)
	}
	s.want(exitOK, "", "--help")
	s.want(exitOK, "", "version")
}

func TestUnreachable(t *testing.T) {
	s, c := at(t, nil)
	c.Close()
	_, stderr := s.want(exitServer, "", "whoami")
	if !strings.Contains(stderr, "hint: Check the address") {
		t.Error(stderr)
	}
}

func TestCommandsAskWhatTheyShould(t *testing.T) {
	conn := `200 {"id":"conn_1","object":"connection","name":"n","connector":"acme","authMethod":"key","status":"active","revocations":[{"token":"credential","verdict":"revoked"}]}`
	empty := `200 {"object":"list","data":[],"hasMore":false}`
	s, c := at(t, map[string]string{
		"GET /v1/connections": empty, "GET /v1/connections/conn_1": conn, "PATCH /v1/connections/conn_1": conn, "DELETE /v1/connections/conn_1": conn,
		"POST /v1/connections/conn_1/disable": conn, "POST /v1/connections/conn_1/enable": conn,
		"GET /v1/connections/conn_1/references": empty, "GET /v1/connections/conn_1/usage": `200 {"period":"day","points":[{"start":"2026-01-01T00:00:00Z","calls":3}],"byAction":[{"action":"acme.list","calls":3}]}`,
		"GET /v1/connections/conn_1/events": empty, "GET /v1/actions": empty, "GET /v1/audit": empty, "GET /v1/api-keys": empty,
		"POST /v1/api-keys": `201 {"id":"key_2","name":"n","key":"clv_key_fresh"}`, "DELETE /v1/api-keys/key_2": `200 {"object":"api_key","id":"key_2","deleted":true}`,
		"GET /v1/encryption": `200 {"generation":7,"keys":2}`, "POST /v1/encryption/rotate": `200 {"generation":8,"keys":3}`,
		"PUT /v1/secrets/shared/a": `200 {"path":"shared/a","version":2}`, "GET /v1/secrets/shared/a": `200 {"path":"shared/a","version":2}`,
		"GET /v1/secrets": empty, "DELETE /v1/secrets/shared/a": `200 {"object":"secret","id":"shared/a","deleted":true}`,
		"POST /v1/explain":   `200 {"allowed":false,"code":"connection_disabled","message":"Off.","headers":{"Authorization":["***REDACTED***"]},"policy":["One."]}`,
		"GET /v1/connectors": empty, "DELETE /v1/connectors/acme": `200 {"object":"connector","id":"acme","deleted":true}`,
	})
	for _, tc := range []struct{ stdin, args, asked, prints string }{
		{"", "connection list --connector acme --tag team:sales", "GET /v1/connections?connector=acme&limit=100&tag=team%3Asales", "No connections."},
		{"", "connection show conn_1", "GET /v1/connections/conn_1", "acme v0 (key)"},
		{"", "connection update conn_1 --name m --tag a=b --remove-tag c", `PATCH /v1/connections/conn_1 {"name":"m","tags":{"a":"b","c":null}}`, "conn_1"},
		{`{"apiKey":"x","old":null}`, "connection update conn_1 --credentials-stdin", `PATCH /v1/connections/conn_1 {"credentials":{"apiKey":"x","old":null}}`, ""},
		{"", "connection update conn_1 --credential apiKey=kv://shared/a --no-validate", `PATCH /v1/connections/conn_1 {"credentials":{"apiKey":"kv://shared/a"},"validate":false}`, ""},
		{"", "connection delete conn_1 --force", "DELETE /v1/connections/conn_1?force=true", "revocation of the credential: revoked"},
		{"", "connection disable conn_1", "POST /v1/connections/conn_1/disable", ""},
		{"", "connection enable conn_1", "POST /v1/connections/conn_1/enable", ""},
		{"", "connection references conn_1", "GET /v1/connections/conn_1/references", "Nothing names it."},
		{"", "connection usage conn_1 --period day", "GET /v1/connections/conn_1/usage?period=day", "acme.list"},
		{"", "connection events conn_1", "GET /v1/connections/conn_1/events?limit=100", "No entries."},
		{"", "action list --connector acme", "GET /v1/actions?connector=acme&limit=100", "No actions."},
		{"", "audit list --verb connections:create --status 401", "GET /v1/audit?limit=100&statusCode=401&verb=connections%3Acreate", "No entries."},
		{"", "key list", "GET /v1/api-keys?limit=100", "No API keys."},
		{"", "key create n --scope connections:read --allow-ip 10.0.0.0/8", `POST /v1/api-keys {"name":"n","scopes":["connections:read"],"allowedIps":["10.0.0.0/8"]}`, "clv_key_fresh"},
		{"", "key revoke key_2", "DELETE /v1/api-keys/key_2", "Deleted key_2."},
		{"", "key encryption", "GET /v1/encryption", "7"},
		{"", "key rotate-encryption", "POST /v1/encryption/rotate", "8"},
		{"v\n", "secret set shared/a", `PUT /v1/secrets/shared/a {"value":"v"}`, "version 2"},
		{"", "secret get shared/a", "GET /v1/secrets/shared/a", "shared/a"},
		{"", "secret list --prefix shared/", "GET /v1/secrets?limit=100&prefix=shared%2F", "No secrets."},
		{"", "secret remove shared/a", "DELETE /v1/secrets/shared/a", "Deleted shared/a."},
		{"", "explain conn_1 --method GET --path /me", `POST /v1/explain {"connectionId":"conn_1","method":"GET","path":"/me"}`, "refused: connection_disabled Off."},
		{"", "connector list --search a", "GET /v1/connectors?limit=100&search=a", "No connectors."},
		{"", "connector delete acme", "DELETE /v1/connectors/acme", "Deleted acme."},
	} {
		t.Run(tc.args, func(t *testing.T) {
			s := &shell{t: t, dir: s.dir, env: s.env, browse: s.browse, pause: s.pause}
			stdout, _ := s.want(exitOK, tc.stdin, strings.Fields(tc.args)...)
			if c.last() != tc.asked {
				t.Errorf("asked %s\n want %s", c.last(), tc.asked)
			}
			if !strings.Contains(stdout, tc.prints) {
				t.Errorf("no %q in %s", tc.prints, stdout)
			}
			stdout, _ = s.want(exitOK, tc.stdin, append(strings.Fields(tc.args), "--json")...)
			if !json.Valid([]byte(stdout)) {
				t.Errorf("no JSON: %s", stdout)
			}
		})
	}
	if stdout, _ := s.want(exitOK, "", "secret", "get", "--exists", "shared/a"); stdout != "" {
		t.Error(stdout)
	}
	s.want(exitNotFound, "", "secret", "get", "--exists", "shared/b")
}
