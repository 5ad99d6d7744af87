package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"claviger"
	"claviger/internal/app"
)

// TestMain lets scripts run the program itself as a process: "exec claviger ...".
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"claviger": main})
}

// TestScript runs testdata/script/*.txtar, each against a server and a vendor of its
// own: the program on one side of the wire, the real thing on the other. A script
// finds $URL, the vendor at $VENDOR, the owner's key in owner.key, a connector document in
// acme.json and a picture in logo.png.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"capture": capture,
			"seen":    seen,
		},
		Condition: func(name string) (bool, error) {
			if name == "crm" {
				return hasCRM(), nil
			}
			return false, fmt.Errorf("no such condition: %s", name)
		},
	})
}

func setUp(e *testscript.Env) error {
	vendor := httptest.NewServer(http.HandlerFunc(acme))
	e.Defer(vendor.Close)
	server := httptest.NewUnstartedServer(nil)
	address := server.Listener.Addr().String()
	data := filepath.Join(e.WorkDir, "data")
	config := app.Config{
		Settings: app.Settings{Data: data, PublicURL: "http://" + address, EgressAllow: vendor.Listener.Addr().String()},
		Log:      slog.New(slog.DiscardHandler),
	}
	if err := serveCRM(e, &config); err != nil {
		return err
	}
	a, err := app.Open(e.T().(testing.TB).Context(), config)
	if err != nil {
		return err
	}
	server.Config.Handler = a.Handler()
	server.Start()
	e.Defer(func() {
		server.Close()
		if err := a.Close(e.T().(testing.TB).Context()); err != nil && e.T().(testing.TB).Context().Err() == nil {
			e.T().Log(err)
		}
	})
	e.Setenv("URL", server.URL)
	e.Setenv("VENDOR", vendor.URL)
	e.Setenv("DATA", data)
	e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
	return errors.Join(
		os.WriteFile(filepath.Join(e.WorkDir, "owner.key"), []byte(reveal(a.FirstStart().APIKey)+"\n"), 0o600),
		os.WriteFile(filepath.Join(e.WorkDir, "acme.json"), fmt.Appendf(nil, acmeDocument, vendor.URL), 0o600),
		drawLogo(filepath.Join(e.WorkDir, "logo.png")))
}

// drawLogo writes a picture of one pixel.
func drawLogo(file string) error {
	var b bytes.Buffer
	return errors.Join(png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1))), os.WriteFile(file, b.Bytes(), 0o600))
}

func reveal(s claviger.Secret) (value string) {
	s.Use(func(b []byte) { value = string(b) })
	return value
}

// acme is a vendor that knows two keys and tells what it was sent. People sign in there too.
func acme(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/.well-known/openid-configuration" {
		_, _ = fmt.Fprintf(w, `{"issuer":"http://%[1]s","authorization_endpoint":"http://%[1]s/authorize","token_endpoint":"http://%[1]s/token","jwks_uri":"http://%[1]s/keys",`+
			`"response_types_supported":["code"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]}`, r.Host)
		return
	}
	account, ok := map[string]string{"ak_first12345": "1", "ak_second12345": "1", "ak_another12345": "2"}[r.Header.Get("X-API-Key")]
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"bad key"}`)
		return
	}
	if r.URL.Path == "/v2/me" {
		_, _ = fmt.Fprintf(w, `{"id":%q,"name":"Account %s"}`, account, account)
		return
	}
	_, _ = fmt.Fprintf(w, `{"path":%q,"limit":%q,"control":"\u001b[31m"}`, r.URL.Path, r.URL.Query().Get("limit"))
}

const acmeDocument = `{
  "key": "acme", "name": "Acme CRM", "kind": "http", "baseUrl": "%s/v2", "allowedHosts": ["127.0.0.1"],
  "auth": [{
    "key": "key", "type": "apiKey", "label": "API key",
    "fields": [{"key": "apiKey", "label": "API key", "secret": true, "required": true, "pattern": "^ak_[a-z0-9]{8,}$", "hint": "Settings, API"}],
    "inject": [{"in": "header", "name": "X-API-Key", "value": "${apiKey}"}],
    "test": {"method": "GET", "path": "/me", "expectStatus": [200], "account": {"id": "$.id", "name": "$.name"}},
    "permissions": "none"
  }],
  "actions": [{
    "key": "list-contacts", "name": "List contacts", "readOnly": true,
    "input": {"type": "object", "properties": {"limit": {"type": "integer", "minimum": 1}}, "additionalProperties": false},
    "request": {"method": "GET", "path": "/contacts", "query": {"limit": "${input.limit}"}}
  }]
}`

// exits runs a command and wants the exit code: "exits 4 claviger whoami".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// capture sets a variable to the first group of a pattern in the last command's
// output: "capture ID 'id: +(.+)'".
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture name pattern")
	}
	m := regexp.MustCompile(`(?m)` + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("no match for %s in\n%s", args[1], ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], strings.TrimSpace(m[1]))
}
