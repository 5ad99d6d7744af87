package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func TestAbuse_278_NoSecretIsAnArgument(t *testing.T) {
	s, c := at(t, map[string]string{"GET /v1/connectors/acme": acmeAnswer})
	t.Run("no such flag", func(t *testing.T) {
		// The flags whose names sound like a secret, and why none of them is one.
		harmless := map[string]string{
			"key-stdin":         "a switch",
			"secret-stdin":      "a switch",
			"keep-secret":       "a switch",
			"keep-key":          "a switch",
			"credentials-stdin": "a switch",
			"credential":        "takes kv:// references only, which is tested below",
			"clear-credential":  "a field's name",
			"secrets":           "names the store, for example env:",
			"token-url":         "an address",
		}
		walk(new(program).root(), func(c *cobra.Command) {
			for _, word := range strings.FieldsFunc(c.Flags().FlagUsages()+c.PersistentFlags().FlagUsages(), func(r rune) bool { return strings.ContainsRune(" \n,", r) }) {
				name, ok := strings.CutPrefix(word, "--")
				if !ok || harmless[name] != "" {
					continue
				}
				for _, bad := range []string{"secret", "password", "token", "key", "credential", "value"} {
					if strings.Contains(name, bad) {
						t.Errorf("%s has a flag --%s", c.CommandPath(), name)
					}
				}
			}
		})
	})
	t.Run("a value instead of a reference", func(t *testing.T) {
		for _, arg := range []string{"apiKey=sk_live_marked", "apiKey=kv://", "sk_live_marked", "=kv://sk_live_marked"} {
			stdout, stderr := s.want(exitUsage, "", "connection", "create", "--connector", "acme", "--name", "n", "--credential", arg)
			if strings.Contains(stdout+stderr, "marked") || !strings.Contains(stderr, "--credentials-stdin") {
				t.Errorf("%s: %s%s", arg, stdout, stderr)
			}
		}
	})
	t.Run("a second argument", func(t *testing.T) {
		s.want(exitUsage, "", "secret", "set", "shared/a", "sk_live_marked")
		s.want(exitUsage, "", "login", "sk_live_marked")
	})
	t.Run("help names the ways", func(t *testing.T) {
		for _, args := range [][]string{{"login", "--help"}, {"connection", "create", "--help"}, {"secret", "set", "--help"}} {
			if stdout, _ := s.want(exitOK, "", args...); !strings.Contains(stdout, "stdin") {
				t.Errorf("%v: %s", args, stdout)
			}
		}
	})
	if c.last() != "" && !strings.HasPrefix(c.last(), "GET ") {
		t.Error("something was sent:", c.last())
	}
}

func walk(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		walk(sub, f)
	}
}

func TestAbuse_279_TheStoredKeyIsKept(t *testing.T) {
	who := `200 {"object":"caller","kind":"api_key","id":"key_1"}`
	newServer := func(t *testing.T) (*shell, *canned, string) {
		c := newCanned(t, map[string]string{"GET /v1/whoami": who, "DELETE /v1/api-keys/key_1": `200 {"id":"key_1","deleted":true}`})
		s := newShell(t)
		return s, c, filepath.Join(s.dir, "claviger", configFile)
	}
	t.Run("readable by its owner only", func(t *testing.T) {
		s, c, path := newServer(t)
		stdout, stderr := s.want(exitOK, testKey+"\n", "login", "--url", c.URL, "--key-stdin")
		if strings.Contains(stdout+stderr, testKey) {
			t.Error("the key was printed")
		}
		for name, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %v %v", name, info, err)
			}
		}
		s.want(exitOK, "", "whoami")
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("%v %v", entries, err)
		}
	})
	t.Run("a file that others can read is refused", func(t *testing.T) {
		s, c, path := newServer(t)
		s.want(exitOK, testKey, "login", "--url", c.URL, "--key-stdin")
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, stderr := s.want(exitUsage, "", "whoami"); !strings.Contains(stderr, "chmod 600") {
			t.Error(stderr)
		}
		s.want(exitOK, testKey, "login", "--url", c.URL, "--key-stdin") // replaces it
		s.want(exitOK, "", "whoami")
	})
	t.Run("logout revokes at the server", func(t *testing.T) {
		s, c, path := newServer(t)
		s.want(exitOK, testKey, "login", "--url", c.URL, "--key-stdin")
		s.want(exitOK, "", "logout")
		if c.last() != "DELETE /v1/api-keys/key_1" {
			t.Error(c.last())
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Error("the file is still there:", err)
		}
		s.want(exitLogin, "", "whoami")
		s.want(exitOK, "", "logout")
	})
	t.Run("logout keeps the key if told to", func(t *testing.T) {
		s, c, _ := newServer(t)
		s.want(exitOK, testKey, "login", "--url", c.URL, "--key-stdin")
		s.want(exitOK, "", "logout", "--keep-key")
		if c.last() != "GET /v1/whoami" {
			t.Error(c.last())
		}
	})
	t.Run("logout says when it could not revoke", func(t *testing.T) {
		s, c, path := newServer(t)
		s.want(exitOK, testKey, "login", "--url", c.URL, "--key-stdin")
		c.Close()
		if _, stderr := s.want(exitServer, "", "logout"); !strings.Contains(stderr, "NOT revoked") {
			t.Error(stderr)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Error("the file is still there:", err)
		}
	})
	t.Run("a key that the server refuses is not stored", func(t *testing.T) {
		s, c, path := newServer(t)
		s.want(exitLogin, "clv_key_wrong", "login", "--url", c.URL, "--key-stdin")
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Error("it was stored:", err)
		}
	})
	t.Run("goes to its own server only", func(t *testing.T) {
		s, c, _ := newServer(t)
		s.want(exitOK, testKey, "login", "--url", c.URL, "--key-stdin")
		other := newCanned(t, map[string]string{"GET /v1/whoami": who})
		s.want(exitLogin, "", "whoami", "--url", other.URL)
		s.env["CLAVIGER_URL"] = other.URL
		s.want(exitLogin, "", "whoami")
		if other.last() != "" {
			t.Error("it was sent to another server")
		}
		s.env["CLAVIGER_API_KEY"] = testKey // of its own, for that server
		s.want(exitOK, "", "whoami")
	})
	t.Run("not over plain http to another machine", func(t *testing.T) {
		s := newShell(t)
		s.want(exitUsage, testKey, "login", "--url", "http://claviger.example", "--key-stdin")
		s.env["CLAVIGER_URL"], s.env["CLAVIGER_API_KEY"] = "http://192.0.2.1", testKey
		s.want(exitUsage, "", "whoami")
	})
	t.Run("not to a server without a trusted certificate", func(t *testing.T) {
		server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request got through") }))
		t.Cleanup(server.Close)
		s := newShell(t)
		s.env["CLAVIGER_URL"], s.env["CLAVIGER_API_KEY"] = server.URL, testKey
		if _, stderr := s.want(exitServer, "", "whoami"); !strings.Contains(stderr, "certificate") {
			t.Error(stderr)
		}
	})
	t.Run("a broken file is not quoted", func(t *testing.T) {
		s, _, path := newServer(t)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("token: [marked\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, stderr := s.want(exitUsage, "", "whoami"); strings.Contains(stderr, "marked") {
			t.Error(stderr)
		}
	})
}

func TestAbuse_280_NothingFromTheServerReachesTheTerminalRaw(t *testing.T) {
	// As JSON escapes, so that they arrive in the program as the characters themselves.
	evil := `\u001b]0;owned\u0007\u001b[2J\u009b31m\r\b\u007f\u202egnp.exe\u2066\u200f\u2028x\ty\nz\ud83d\ude00\udb40\udc41`
	conn := `{"id":"` + evil + `","name":"` + evil + `","connector":"` + evil + `","status":"` + evil + `","account":{"id":"` + evil + `","name":"` + evil +
		`"},"lastError":{"code":"` + evil + `","message":"` + evil + `"},"credentials":{"` + evil + `":"` + evil + `"},"tags":{"` + evil + `":"` + evil +
		`"},"warnings":["` + evil + `"],"revocations":[{"token":"` + evil + `","verdict":"` + evil + `"}],"grantedScopes":["` + evil + `"]}`
	entry := `{"id":"` + evil + `","verb":"` + evil + `","host":"` + evil + `","outcome":"` + evil + `","actor":{"kind":"` + evil + `","id":"` + evil + `"},"resource":{"type":"` + evil + `"}}`
	list := func(item string) string { return `200 {"data":[` + item + `]}` }
	s, _ := at(t, map[string]string{
		"GET /v1/connections": list(conn), "GET /v1/connections/x": "200 " + conn,
		"GET /v1/connections/gone":         `422 {"error":{"message":"` + evil + `","code":"` + evil + `","param":"` + evil + `","requestId":"` + evil + `","missing":["` + evil + `"],"reconnectUrl":"` + evil + `","references":[{"type":"` + evil + `","name":"` + evil + `"}]}}`,
		"GET /v1/connections/x/events":     list(entry),
		"GET /v1/audit":                    list(entry),
		"GET /v1/connections/x/references": list(`{"type":"` + evil + `","id":"` + evil + `","name":"` + evil + `"}`),
		"POST /v1/connections/x/test":      `200 {"status":"passed","steps":[{"name":"` + evil + `","status":"` + evil + `","message":"` + evil + `"}]}`,
		"GET /v1/connectors":               list(`{"key":"` + evil + `","name":"` + evil + `","categories":["` + evil + `"],"auth":[{"key":"` + evil + `"}]}`),
		"GET /v1/connectors/x":             `200 {"key":"` + evil + `","variables":[{"key":"` + evil + `","hint":"` + evil + `"}],"auth":[{"key":"` + evil + `","fields":[{"key":"` + evil + `","hint":"` + evil + `"}]}]}`,
		"GET /v1/actions":                  list(`{"actionIdentifier":"` + evil + `","name":"` + evil + `"}`),
		"POST /v1/actions/run":             `200 {"status":"succeeded","output":{"` + evil + `":"` + evil + "\x9b\x7f\u202e" + `"}}`,
		"POST /v1/explain":                 `200 {"allowed":false,"code":"` + evil + `","url":"` + evil + `","headers":{"` + evil + `":["` + evil + `"]},"policy":["` + evil + `"]}`,
		"GET /v1/secrets":                  list(`{"path":"` + evil + `"}`),
		"DELETE /v1/secrets/x":             `200 {"id":"` + evil + `"}`,
		"GET /v1/api-keys":                 list(`{"id":"` + evil + `","name":"` + evil + `"}`),
		"GET /v1/whoami":                   `200 {"kind":"` + evil + `","id":"` + evil + `","role":"` + evil + `","permissions":["` + evil + `"]}`,
		"POST /v1/cli/device/lookup":       `200 {"host":"` + evil + `","address":"` + evil + `"}`,
		"POST /v1/cli/device/approve":      `200 {"host":"` + evil + `","status":"` + evil + `"}`,
		"POST /v1/connections/revoke":      `202 {"id":"` + evil + `","status":"` + evil + `","connections":{"data":[{"connectionId":"` + evil + `","revocations":[{"token":"` + evil + `"}]}]}}`,
		"GET /v1/expirations":              list(`{"kind":"` + evil + `","name":"` + evil + `"}`),
		"GET /v1/connections/x/usage":      `200 {"period":"` + evil + `","byAction":[{"action":"` + evil + `"}]}`,
	})
	for _, args := range []string{
		"connection list", "connection show x", "connection show gone", "connection events x", "audit list", "connection references x", "connection test x",
		"connector list", "connector show x", "action list", "action run a.b --connection x", "explain x", "secret list", "secret remove x", "key list", "whoami",
		"connection usage x", "auth status", "auth approve 0000-0000", "auth approve 0000-0000 --yes", "connection revoke", "expirations", "nosuch\x1b[2J", "connection show \x1b[2J",
	} {
		for _, mode := range []string{"", "--json"} {
			words := strings.Split(args, " ")
			if mode != "" {
				words = append(words, mode)
			}
			_, stdout, stderr := s.run("", words...)
			if asks := !strings.Contains(args, "\x1b"); asks && !strings.Contains(stdout+stderr, `\x1b`) && !strings.Contains(stdout+stderr, `\u001b`) {
				t.Errorf("%s %s: printed nothing of it: %q", args, mode, stdout+stderr)
			}
			for _, r := range stdout + stderr {
				if r != '\n' && (unsafe(r) || r == utf8.RuneError) {
					t.Errorf("%s %s: prints %U: %q", args, mode, r, stdout+stderr)
					break
				}
			}
			if mode != "" && stdout != "" && !json.Valid([]byte(stdout)) {
				t.Errorf("%s: no JSON: %q", args, stdout)
			}
		}
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain ünïcode 漢字 😀": "plain ünïcode 漢字 😀",
		"a\x1b[31mb":         `a\x1b[31mb`,
		"a\nb\tc\r":          `a\nb\tc\x0d`,
		"\u009b":             `\u009b`,
		"\u202e":             `\u202e`,
		"\xff\xfe":           `\xff\xfe`,
		"\U000e0041":         `\U000e0041`,
		"":                   "",
	} {
		if got := escape(in); got != want {
			t.Errorf("escape(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\x1b[31m\xff\u202e\U000e0041")
	f.Fuzz(func(t *testing.T, in string) {
		for _, r := range escape(in) {
			if unsafe(r) {
				t.Errorf("%q leaves %U", in, r)
			}
		}
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		safe := escapeJSON(text)
		for _, r := range string(safe) {
			if unsafe(r) {
				t.Errorf("JSON of %q leaves %U", in, r)
			}
		}
		var before, after string
		if json.Unmarshal(text, &before) != nil || json.Unmarshal(safe, &after) != nil || before != after {
			t.Errorf("%q became %q", before, after)
		}
	})
}
