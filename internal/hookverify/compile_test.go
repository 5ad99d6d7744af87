package hookverify_test

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"claviger/connectors"
	"claviger/internal/hookverify"
)

const goodDocument = `key: x
name: X
docsUrl: https://example.com/docs
kind: hmac
algorithm: sha256
secret: {label: signing secret}
signature: {from: "header:X-Sig", encoding: hex}
signed: "${timestamp}.${body}"
timestamp: {from: "header:X-Time", unit: seconds}
`

func load(document string) error {
	_, err := hookverify.Load(fstest.MapFS{"w/x.yaml": {Data: []byte(document)}}, "w")
	return err
}

// A document that would leave a hole is refused, and the message names the field.
func TestDocumentsAreChecked(t *testing.T) {
	if err := load(goodDocument); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, change, field string }{
		{"key: x", "key: X", "key"},
		{"key: x", "key: y", "not named as its key"},
		{"key: x", "key: x\nkey: x", "key"},
		{"name: X", "name: X\nunknown: 1", "unknown"},
		{"name: X", "name: X\nvariantOf: nobody", "variantOf"},
		{"https://example.com/docs", "http://example.com/docs", "docsUrl"},
		{"kind: hmac", "kind: magic", "kind"},
		{"kind: hmac", "kind: token", "algorithm"},
		{"kind: hmac", "kind: hash", "signed"},
		{"algorithm: sha256", "algorithm: md5", "algorithm"},
		{"algorithm: sha256\n", "", "algorithm"},
		{"label: signing secret", "label: ''", "secret.label"},
		{"label: signing secret", "label: s, encoding: rot13", "secret.encoding"},
		{"header:X-Sig", "cookie:sig", "signature.from"},
		{"header:X-Sig", "header:", "signature.from"},
		{"encoding: hex", "encoding: rot13", "signature.encoding"},
		{"encoding: hex", "encoding: hex, separator: \",\"", "signature"},
		{"encoding: hex", "encoding: hex, timestamp: \"t=\"", "signature"},
		{"encoding: hex", "encoding: hex, numbered: 101", "signature.numbered"},
		{"encoding: hex", "encoding: hex, prefix: \"${setting:nobody}\"", "signature.prefix"},
		{"${timestamp}.${body}", "${body}", "timestamp"},
		{"${timestamp}.${body}", "${body", "signed"},
		{"${timestamp}.${body}", "${timestamp}.${secret}.${body}", "signed"},
		{"${timestamp}.${body}", "${timestamp}.${nothing}", "signed"},
		{"${timestamp}.${body}", "${timestamp}.${lines}", "signed"},
		{"signed: \"${timestamp}.${body}\"\n", "", "signed"},
		{"timestamp: {from: \"header:X-Time\", unit: seconds}\n", "", "timestamp"},
		{"unit: seconds", "unit: minutes", "timestamp.unit"},
		{"unit: seconds", "unit: seconds, tolerance: 2h", "timestamp.tolerance"},
		{"unit: seconds", "unit: seconds, tolerance: -5m", "timestamp.tolerance"},
		{"from: \"header:X-Time\", unit", "unit", "timestamp.from"},
		{"name: X", "name: X\nclaims: {expiry: true}", "claims"},
		{"name: X", "name: X\nrequire: [{ref: \"header:X-V\"}]", "require"},
		{"name: X", "name: X\nbodyHash: {ref: \"header:X-Digest\"}", "bodyHash"},
		{"name: X", "name: X\nkeys: {url: \"https://example.com/keys\", form: jwks}", "keys"},
		{"name: X", "name: X\nsuccess: {status: 302}", "success"},
		{"name: X", "name: X\nsuccess: {status: 200, contentType: text/html, body: hello}", "success"},
		{"name: X", "name: X\nhandshake: [{method: POST, answer: {status: 200}}]", "handshake.when"},
		{"name: X", "name: X\nhandshake: [{method: DELETE, when: \"query:a\", answer: {status: 200}}]", "handshake.method"},
		{"name: X", "name: X\nhandshake: [{method: POST, when: \"json:a\", store: \"json:a\", answer: {status: 200}}]", "handshake.store"},
		{"name: X", "name: X\nhandshake: [{method: POST, when: \"json:a\", confirm: \"json:a\", answer: {status: 200}}]", "handshake.confirm"},
		{"name: X", "name: X\nhandshake: [{method: POST, when: \"json:a\", answer: {status: 200, contentType: application/json, body: '{\"a\":\"${json:a}\"}'}}]", "handshake.answer"},
	} {
		changed := strings.Replace(goodDocument, c.old, c.change, 1)
		if changed == goodDocument {
			t.Fatalf("%q stands nowhere", c.old)
		}
		if err := load(changed); err == nil || !strings.Contains(err.Error(), c.field) {
			t.Errorf("%s -> %s: %v", c.old, c.change, err)
		}
	}
	if err := load("kind: certificate\nkey: x\nname: X\n---\nkey: y\n"); err == nil {
		t.Error("two documents in a file")
	}
}

// Every connector names a scheme that there is.
func TestConnectorsNameKnownSchemes(t *testing.T) {
	set := builtin(t)
	names := must[[]string](t)(fs.Glob(connectors.Files, "*.yaml"))
	scheme := regexp.MustCompile(`(?m)^webhooks:(?: *\{|\s+)scheme: *([a-z0-9-]+)`)
	found := 0
	for _, name := range names {
		data := must[[]byte](t)(fs.ReadFile(connectors.Files, name))
		m := scheme.FindSubmatch(data)
		if m == nil {
			if strings.Contains(string(data), "\nwebhooks:") {
				t.Errorf("%s: webhooks names no scheme", name)
			}
			continue
		}
		found++
		if _, ok := set.Scheme(string(m[1])); !ok {
			t.Errorf("%s: there is no webhook scheme %s", name, m[1])
		}
	}
	if found < 80 {
		t.Errorf("%d connectors name a scheme", found)
	}
}

// What all built-in schemes keep to, beyond what compiles.
func TestBuiltinSchemes(t *testing.T) {
	kinds := map[hookverify.Kind]int{}
	for _, s := range builtin(t).Schemes() {
		kinds[s.Kind]++
		if s.DocsURL == "" {
			t.Errorf("%s: no docsUrl", s.Key)
		}
		if weak := s.Kind == hookverify.KindHash; weak && s.Weak == "" {
			t.Errorf("%s: a hash over secret and text is weak", s.Key)
		}
		for _, x := range s.Settings {
			if slices.Contains([]string{"scheme", "headerName"}, x.Key) && s.Kind != hookverify.KindToken {
				t.Errorf("%s: setting %s", s.Key, x.Key)
			}
		}
	}
	t.Logf("%d schemes: %v", len(builtin(t).Schemes()), kinds)
	if len(kinds) != 9 {
		t.Errorf("%d kinds are used", len(kinds))
	}
}
