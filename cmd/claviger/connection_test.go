package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const acmeAnswer = `200 {"key":"acme","version":1,"auth":[{"key":"key","fields":[{"key":"apiKey","label":"API key","secret":true,"required":true},{"key":"region","label":"Region"}]}]}`

func TestCreateAConnection(t *testing.T) {
	s, c := at(t, map[string]string{
		"GET /v1/connectors/acme": acmeAnswer,
		"POST /v1/connections":    `201 {"id":"conn_1","credentials":{"apiKey":"***REDACTED***"},"warnings":["Looks short."]}`,
	})
	stdout, _ := s.want(exitOK, `{"apiKey":"ak_secret"}`, "connection", "create", "--connector", "acme", "--name", "n", "--credentials-stdin",
		"--setting", "subdomain=x=y", "--metadata", "a=b", "--tag", "team=sales")
	var sent map[string]any
	body, _ := strings.CutPrefix(c.last(), "POST /v1/connections ")
	if err := json.Unmarshal([]byte(body), &sent); err != nil {
		t.Fatal(err, c.last())
	}
	b, _ := json.Marshal(sent)
	want := `{"authMethod":"key","connector":"acme","credentials":{"apiKey":"ak_secret"},"metadata":{"a":"b"},"name":"n","settings":{"subdomain":"x=y"},"tags":{"team":"sales"}}`
	if string(b) != want {
		t.Errorf("sent %s\nwant %s", b, want)
	}
	if !strings.Contains(stdout, "conn_1") || !strings.Contains(stdout, "warning: Looks short.") || strings.Contains(stdout, "ak_secret") {
		t.Error(stdout)
	}
}

func TestCreateWithoutATerminalNamesTheFlag(t *testing.T) {
	s, c := at(t, map[string]string{"GET /v1/connectors/acme": acmeAnswer})
	_, stderr := s.want(exitUsage, "", "connection", "create", "--connector", "acme", "--name", "n")
	if !strings.Contains(stderr, "--credentials-stdin") || strings.HasPrefix(c.last(), "POST") {
		t.Error(stderr, c.last())
	}
	_, stderr = s.want(exitUsage, "", "connection", "create", "--connector", "acme", "--name", "n", "--auth-method", "other", "--credentials-stdin")
	if stderr == "" {
		t.Error("an auth method that does not exist was accepted")
	}
}

func TestCredentialsOnStandardInput(t *testing.T) {
	for name, tc := range map[string]struct {
		stdin     string
		allowNull bool
		want      string // sorted JSON; "" for a refusal
	}{
		"object":        {`{"a":"1","b":""}`, false, `{"a":"1","b":""}`},
		"null allowed":  {`{"a":null}`, true, `{"a":null}`},
		"null refused":  {`{"a":null}`, false, ""},
		"empty object":  {`{}`, false, `{}`},
		"empty":         {``, false, ""},
		"array":         {`["a"]`, false, ""},
		"number":        {`{"a":1}`, false, ""},
		"nested":        {`{"a":{"b":"c"}}`, false, ""},
		"twice":         {`{"a":"1","a":"2"}`, false, ""},
		"trailing":      {`{"a":"1"} x`, false, ""},
		"two objects":   {`{"a":"1"}{"b":"2"}`, false, ""},
		"cut short":     {`{"a":"1"`, false, ""},
		"marked secret": {`sk_live_marked`, false, ""},
		"too large":     {`{"a":"` + strings.Repeat("x", maxInput) + `"}`, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := &program{stdin: strings.NewReader(tc.stdin)}
			got, err := p.readCredentials(tc.allowNull)
			if tc.want == "" {
				if err == nil || strings.Contains(err.Error(), "marked") {
					t.Errorf("%v %v", got, err)
				}
				return
			}
			b, _ := json.Marshal(got)
			if err != nil || string(b) != tc.want {
				t.Errorf("%s %v", b, err)
			}
		})
	}
}

func TestFailedChecksHaveAnExitCode(t *testing.T) {
	s, _ := at(t, map[string]string{
		"POST /v1/connections/conn_1/test": `200 {"status":"failed","steps":[{"name":"format","status":"passed"},{"name":"live","status":"failed","code":"invalid_credentials","statusCode":401,"missing":["x"]}]}`,
		"POST /v1/actions/run":             `200 {"status":"failed","statusCode":404,"output":{"error":"no"}}`,
	})
	stdout, _ := s.want(exitFailure, "", "connection", "test", "conn_1")
	if !strings.Contains(stdout, "invalid_credentials") || !strings.Contains(stdout, "Missing: x") {
		t.Error(stdout)
	}
	stdout, stderr := s.want(exitFailure, "", "action", "run", "acme.get", "--connection", "conn_1")
	if !strings.Contains(stdout, `"error": "no"`) || !strings.Contains(stderr, "404") {
		t.Error(stdout, stderr)
	}
}

func TestActionInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "in.json")
	if err := os.WriteFile(file, []byte(`{"from":"file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, c := at(t, map[string]string{"POST /v1/actions/run": `200 {"status":"succeeded","output":{"n":1}}`})
	for arg, input := range map[string]string{`{"n":5}`: `,"input":{"n":5}`, "@" + file: `,"input":{"from":"file"}`, "-": `,"input":{"from":"stdin"}`, "": ""} {
		s.want(exitOK, `{"from":"stdin"}`, "action", "run", "acme.get", "--connection", "conn_1", "--input", arg)
		if want := `POST /v1/actions/run {"actionIdentifier":"acme.get","connectionId":"conn_1"` + input + `}`; c.last() != want {
			t.Errorf("%q: %s", arg, c.last())
		}
	}
	s.want(exitOK, "", "action", "run", "crm.list", "--system", "crm")
	if want := `POST /v1/actions/run {"actionIdentifier":"crm.list","systemKey":"crm"}`; c.last() != want {
		t.Errorf("through a system's slot: %s", c.last())
	}
	s.want(exitUsage, "", "action", "run", "crm.list", "--system", "crm", "--connection", "c")
	if stdout, _ := s.want(exitOK, "", "action", "run", "acme.get", "--connection", "c", "--raw"); stdout != "{\"n\":1}\n" {
		t.Errorf("%q", stdout)
	}
}

func TestLint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(file, []byte("key: acme\nname: Acme\nnosuch: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newShell(t) // no server, no login
	_, stderr := s.want(exitFailure, "", "connector", "lint", file)
	if !strings.Contains(stderr, file+":3:1: ") {
		t.Error(stderr)
	}
	stdout, _ := s.want(exitFailure, "", "connector", "lint", file, "--json")
	var faults []struct {
		File         string
		Line, Column int
		Message      string
	}
	if err := json.Unmarshal([]byte(stdout), &faults); err != nil || len(faults) == 0 || faults[0].File != file || faults[0].Message == "" {
		t.Error(err, stdout)
	}
	s.want(exitFailure, "", "connector", "put", file) // nothing is sent
}

func TestCompletion(t *testing.T) {
	s, c := at(t, map[string]string{
		"GET /v1/connections": `200 {"data":[{"id":"conn_1","name":"crm","connector":"acme"},{"id":"other"},{"id":"conn_\u001b[31m"}]}`,
		"GET /v1/connectors":  `200 {"data":[{"key":"acme","name":"Acme"}]}`,
		"GET /v1/secrets":     `200 {"data":[{"path":"shared/a"}]}`,
		"GET /v1/api-keys":    `200 {"data":[{"id":"key_1","name":"ci"}]}`,
		"GET /v1/actions":     `200 {"data":[{"actionIdentifier":"acme.list","name":"List"}]}`,
		"GET /v1/systems":     `200 {"data":[{"key":"crm","displayName":"The CRM"}]}`,
		"GET /v1/systems/crm": `200 {"key":"crm","system":{"key":"crm"},"dataSources":[{"key":"orders","displayName":"Orders"}]}`,
		"GET /v1/events":      `200 {"data":[{"id":"evt_1","systemKey":"crm","status":"failed"}]}`,
	})
	folder := filepath.Join(s.dir, "claviger")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(folder, "profile-second.yaml"), "", 0o600)
	for _, tc := range []struct{ args, want string }{
		{"connection show conn_", "conn_1\tacme crm\n"},
		{"connection create --connector a", "acme\tAcme\n"},
		{"action run acme.", "acme.list\tList\n"},
		{"action run x --connection conn_", "conn_1\tacme crm\n"},
		{"secret get sha", "shared/a\n"},
		{"key revoke key_", "key_1\tci\n"},
		{"connection list --health h", "healthy\nunhealthy\nunknown\n"},
		{"connection list --profile s", "second\n"},
		{"key create n", ""},                 // no files
		{"connection show conn_1 conn_", ""}, // one is enough
		{"validate a", ""},
		{"datasource test-e2e --app crm ord", "orders\tOrders\n"},
		{"datasource list --app cr", "crm\tThe CRM\n"},
		{"webhook verify --scheme hubspot-v", "hubspot-v1\nhubspot-v2\nhubspot-v3\n"},
		{"webhook events --status pa", "received\nprocessed\nfailed\nparked\n"},
		{"webhook replay evt_", "evt_1\tcrm failed\n"},
		{"repair x --auth cert", "aad\napikey\nbasic\nbearerToken\ncertificate\nnone\noauth2\nqueryParam\n"},
		{"action run crm.list --system c", "crm\tThe CRM\n"},
	} {
		stdout, _ := s.want(exitOK, "", append([]string{"__complete"}, strings.Fields(tc.args)...)...)
		if !strings.HasPrefix(stdout, tc.want+":") {
			t.Errorf("%s: %q", tc.args, stdout)
		}
	}
	c.Close()
	if stdout, _ := s.want(exitOK, "", "__complete", "connection", "show", ""); !strings.HasPrefix(stdout, ":") {
		t.Errorf("%q", stdout)
	}
	for _, sh := range []string{"bash", "zsh", "fish"} {
		if stdout, _ := s.want(exitOK, "", "completion", sh); len(stdout) < 1000 {
			t.Errorf("%s: %q", sh, stdout)
		}
	}
}
