package claviger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fixture is product code that breaks a rule, or keeps it if rule is empty, as if it
// stood in the given package.
type fixture struct{ name, pkg, rule, imports, body string }

func printFixtures() []fixture {
	wire := internal + "wire"
	return []fixture{
		{"request", wire, rulePrint, "fmt net/http", `func f(r *http.Request) string { return fmt.Sprintf("%v", r) }`},
		{"request by value", wire, rulePrint, "fmt net/http", `func f(r http.Request) { fmt.Println(r) }`},
		{"response", wire, rulePrint, "fmt net/http", `func f(r *http.Response) error { return fmt.Errorf("bad answer %v", r) }`},
		{"header", wire, rulePrint, "log/slog net/http", `func f(r *http.Request) { slog.Info("in", "header", r.Header) }`},
		{"header to a logger", wire, rulePrint, "log/slog net/http", `func f(l *slog.Logger, h http.Header) { l.Info("in", slog.Any("h", h)) }`},
		{"url", wire, rulePrint, "log net/url", `func f(u *url.URL) { log.Print(u) }`},
		{"url to an error", wire, rulePrint, "fmt net/url", `func f(u *url.URL) error { return fmt.Errorf("cannot reach %s", u.String()) }`},
		{"url to a user", wire, rulePrint, "claviger net/url", `func f(u *url.URL) error { return claviger.Errorf("k", "c", "cannot reach %s", u) }`},
		{"query values", wire, rulePrint, "fmt net/url", `func f(v url.Values) { fmt.Print(v) }`},
		{"everything of a struct", wire, rulePrint, "fmt", `func f(c struct{ Key string }) { fmt.Printf("%+v", c) }`},
		{"go syntax of a struct", wire, rulePrint, "fmt", `func f(c struct{ Key string }) { fmt.Printf("%#v", c) }`},
		{"dump", wire, rulePrint, "net/http net/http/httputil", `func f(r *http.Request) { _, _ = httputil.DumpRequest(r, true) }`},
		{"dump by another name", wire, rulePrint, "net/http/httputil", `var dump = httputil.DumpResponse`},
		{"panic with an error", wire, rulePanic, "os", `func f() { if _, err := os.Open("x"); err != nil { panic(err) } }`},
		{"panic in a closure", wire, rulePanic, "", `func f(err error) func() { return func() { panic(err) } }`},
		{"host only", wire, "", "fmt net/url", `func f(u *url.URL) error { return fmt.Errorf("cannot reach %s", u.Hostname()) }`},
		{"status only", wire, "", "log/slog net/http", `func f(r *http.Response) { slog.Info("out", "status", r.StatusCode) }`},
		{"url of our own making", wire, "", "fmt net/url", `func f(u *url.URL) string { return fmt.Sprintf("%s?x=1", u.String()) }`},
		{"must", wire, "", "", `func mustParse(err error) { if err != nil { panic(err) } }`},
		{"abort", wire, "", "net/http", `func f() { panic(http.ErrAbortHandler) }`},
		{"panic with a text", wire, "", "", `func f() { panic("unreachable: the table is complete") }`},
	}
}

func cryptoFixtures() []fixture {
	wire, egress, seal := internal+"wire", internal+"egress", internal+"seal"
	return []fixture{
		{"md5", seal, ruleWeak, "crypto/md5", `var h = md5.New`},
		{"sha1", wire, ruleWeak, "crypto/sha1", `var h = sha1.New`},
		{"des", seal, ruleWeak, "crypto/des", `var h = des.NewCipher`},
		{"rc4", seal, ruleWeak, "crypto/rc4", `var h = rc4.NewCipher`},
		{"math/rand", wire, ruleWeak, "math/rand", `var n = rand.Int`},
		{"math/rand/v2", seal, ruleWeak, "math/rand/v2", `var n = rand.N[int]`},
		{"aes elsewhere", wire, ruleCipher, "crypto/aes", `var c = aes.NewCipher`},
		{"gcm elsewhere", internal + "keeper", ruleCipher, "crypto/cipher", `var c = cipher.NewGCM`},
		{"a nonce of our own", seal, ruleWeak, "crypto/cipher", `var c = cipher.NewGCMWithNonceSize`},
		{"no authentication", seal, ruleWeak, "crypto/cipher", `var c = cipher.NewCBCEncrypter`},
		{"signatures elsewhere", internal + "gate", ruleCipher, "crypto/ed25519", `var s = ed25519.Sign`},
		{"certificates ignored", egress, ruleTLS, "crypto/tls", `var c = tls.Config{InsecureSkipVerify: true}`},
		{"certificates ignored later", egress, ruleTLS, "crypto/tls", `func f(c *tls.Config) { c.InsecureSkipVerify = true }`},
		{"session keys written", egress, ruleTLS, "crypto/tls os", `var c = tls.Config{KeyLogWriter: os.Stderr}`},
		{"mac compared", wire, ruleCompare, "bytes", `func f(mac, b []byte) bool { return bytes.Equal(mac, b) }`},
		{"hash compared", wire, ruleCompare, "bytes", `func f(k struct{ Hash []byte }, b []byte) bool { return bytes.Equal(b, k.Hash[:]) }`},
		{"signature compared as text", wire, ruleCompare, "", `func f(signature []byte, b string) bool { return string(signature) == b }`},
		{"digests compared as arrays", wire, ruleCompare, "", `func f(digest, b [32]byte) bool { return digest != b }`},
		{"sha256", wire, "", "crypto/sha256", `var h = sha256.New`},
		{"crypto/rand", wire, "", "crypto/rand", `var r = rand.Reader`},
		{"aes in seal", seal, "", "crypto/aes", `var c = aes.NewCipher`},
		{"constant time", wire, "", "crypto/subtle", `func f(mac, b []byte) bool { return subtle.ConstantTimeCompare(mac, b) == 1 }`},
		{"is there a signature", wire, "", "", `func f(signature string) bool { return signature != "" }`},
		{"bodies compared", wire, "", "bytes", `func f(body, b []byte) bool { return bytes.Equal(body, b) }`},
	}
}

func reachFixtures() []fixture {
	broker, egress := internal+"broker", internal+"egress"
	return []fixture{
		{"dial", broker, ruleDial, "net", `func f() { _, _ = net.Dial("tcp", "h:1") }`},
		{"dialer by another name", broker, ruleDial, "net", `type d = net.Dialer`},
		{"transport", broker, ruleDial, "net/http", `var t = &http.Transport{}`},
		{"client", broker, ruleDial, "net/http", `var c http.Client`},
		{"default client", egress, ruleDial, "net/http", `var c = http.DefaultClient`},
		{"get", module + "/client", ruleDial, "net/http", `var g = http.Get`},
		{"tls", broker, ruleDial, "crypto/tls", `var d = tls.Dial`},
		{"look up", broker, ruleDial, "net", `var l = net.LookupHost`},
		{"sql", internal + "gate", ruleSQL, "database/sql", `var d *sql.DB`},
		{"test server", internal + "app", ruleTesting, "net/http/httptest", `var s = httptest.NewServer`},
		{"unsafe", internal + "seal", ruleUnsafe, "unsafe", `var p unsafe.Pointer`},
		{"scope", broker, ruleScope, "claviger", `var s = claviger.Authenticated("org_1", "")`},
		{"scope by another name", internal + "gate", ruleScope, "claviger", `var f = claviger.Authenticated`},
		{"dial in egress", egress, "", "net net/http", `var d net.Dialer; var t http.Transport`},
		{"client of our own server", module + "/client", "", "net/http", `var c http.Client`},
		{"listen", internal + "app", "", "net", `var l = net.Listen`},
		{"scope in authn", internal + "authn", "", "claviger", `var s = claviger.Authenticated("org_1", "")`},
	}
}

// bite checks that each fixture breaks exactly the rule it is meant to break.
func bite(t *testing.T, fixtures []fixture) {
	p := load(t)
	for _, f := range fixtures {
		t.Run(f.name, func(t *testing.T) {
			var src strings.Builder
			src.WriteString("package x\n")
			for _, path := range strings.Fields(f.imports) {
				fmt.Fprintf(&src, "import %q\n", path)
			}
			src.WriteString(f.body)
			s := &source{ImportPath: f.pkg}
			if err := p.check(s, map[string]any{"x.go": src.String()}); err != nil {
				t.Fatal(err)
			}
			if s.err != nil {
				t.Fatal("the fixture does not compile:", s.err)
			}
			var broken []string
			for _, found := range inspect(s) {
				broken = append(broken, found.rule)
			}
			if f.rule == "" && len(broken) > 0 {
				t.Errorf("sound code is reported: %v", broken)
			}
			if f.rule != "" && !slices.Contains(broken, f.rule) {
				t.Errorf("not reported under %q, only %v:\n%s", f.rule, broken, src.String())
			}
		})
	}
}

// clean checks that the project breaks none of the rules.
func clean(t *testing.T, rules ...string) {
	p := load(t)
	for _, s := range p.packages {
		if s.tool() {
			continue
		}
		for _, found := range inspect(s) {
			if slices.Contains(rules, found.rule) {
				t.Errorf("%s: %s: %s", found.at, found.rule, found.text)
			}
		}
	}
}

func TestAbuse_174_NothingPrintsWhatMayHoldASecret(t *testing.T) {
	t.Run("the project", func(t *testing.T) { clean(t, rulePrint, rulePanic) })
	t.Run("the analyzer bites", func(t *testing.T) { bite(t, printFixtures()) })
}

func TestAbuse_198_NoWeakCryptography(t *testing.T) {
	t.Run("the project", func(t *testing.T) { clean(t, ruleWeak, ruleCipher, ruleTLS, ruleCompare) })
	t.Run("the analyzer bites", func(t *testing.T) { bite(t, cryptoFixtures()) })
}

func TestArchitecture_Reach(t *testing.T) {
	t.Run("the project", func(t *testing.T) { clean(t, ruleDial, ruleSQL, ruleScope, ruleTesting, ruleUnsafe) })
	t.Run("the analyzer bites", func(t *testing.T) { bite(t, reachFixtures()) })
}

// A package that cannot be type-checked would pass every rule.
func TestArchitecture_EverythingIsChecked(t *testing.T) {
	p := load(t)
	for _, s := range p.packages {
		if s.err != nil && p.exports[s.ImportPath] != "" {
			t.Errorf("%s was not checked: %v", s.ImportPath, s.err)
		}
	}
	if len(p.packages) < 3 {
		t.Errorf("only %d packages were found", len(p.packages))
	}
}
