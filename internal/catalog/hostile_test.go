package catalog_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/cputime"
	"claviger/connectors"
	"claviger/internal/catalog"
)

func TestAbuse_263_HostileYAML(t *testing.T) {
	nines := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'i'; c++ {
		nines += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9))
	}
	for name, doc := range map[string]string{
		"billion laughs":   nines,
		"cyclic anchor":    "a: &a [*a]",
		"anchor":           strings.Replace(acme, "name: Acme CRM", "name: &n Acme CRM", 1),
		"alias":            "a: &x 1\nb: *x",
		"merge key":        "a: {<<: {key: acme}}",
		"tag":              strings.Replace(acme, "name: Acme CRM", "name: !!str Acme CRM", 1),
		"python tag":       "!!python/object/apply:os.system ['id']",
		"local tag":        "a: !x y",
		"bare tag":         "a: ! y",
		"two documents":    acme + "---\n" + acme,
		"directive":        "%YAML 1.1\n---\n" + acme,
		"deep flow":        strings.Repeat("[", 20_000),
		"deep closed flow": "a: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"deep block":       strings.Repeat("- ", 10_000) + "x",
		"deep questions":   strings.Repeat("? ", 20_000),
		"deep objects":     strings.Repeat("{a: ", 5_000),
		"too large":        acme + "#" + strings.Repeat("x", 256<<10),
		"many keys":        manyKeys(40_000),
		"many items":       "a: [" + strings.Repeat("1,", 100_000) + "1]",
		"many items below": "a: [" + strings.Repeat("1,", 15_000) + "1]",
		"NUL":              "key: a\x00b",
		"NUL escape":       `key: "a\0b"`,
		"byte order mark":  "\uFEFF" + acme,
		"UTF-16":           "\xff\xfek\x00e\x00y\x00",
		"Latin-1":          "name: caf\xe9",
		"bidi":             "name: a\u202eb",
		"zero width":       "name: a\u200bb",
		"empty":            "",
		"only a comment":   "# nothing",
		"a scalar":         "hello",
		"JSON twice":       `{"key":"a"} {"key":"b"}`,
		"JSON cut":         `{"key":`,
		"JSON deep":        strings.Repeat(`{"a":`, 5000),
		"JSON deep closed": strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000),
		"JSON surrogate":   `{"key":"\ud800"}`,
		"JSON NUL":         `{"key":"a\u0000"}`,
		"JSON big number":  `{"key":1e999}`,
		"JSON comment":     "{/*x*/}",
	} {
		for _, file := range []string{"a.yaml", "a.json", ""} {
			t.Run(name+" "+file, func(t *testing.T) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				var conn *claviger.Connector
				var faults []catalog.Fault
				took := cputime.Of(t, func() { conn, faults = catalog.Parse(file, []byte(doc), catalog.Options{}) })
				runtime.ReadMemStats(&after)
				if conn != nil || len(faults) == 0 {
					t.Fatal("accepted")
				}
				if len(faults) > 50 {
					t.Errorf("%d faults", len(faults))
				}
				if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 16<<20 {
					t.Errorf("allocated %d MiB", allocated>>20)
				}
				if took > time.Second { // 50 ms is usual
					t.Errorf("took %v", took)
				}
			})
		}
	}
}

func TestDuplicatesInLargeObjects(t *testing.T) {
	for _, n := range []int{2, 31, 32, 33, 34, 500} {
		for _, again := range []int{0, n / 2, n - 1} {
			doc := manyKeys(n) + fmt.Sprintf("k%x: 2\n", again)
			refuses(t, []byte(doc), catalog.CodeDuplicate)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, doc := range map[string]string{
		"typical":     acme,
		"long string": "name: '" + strings.Repeat("aB3", 80_000) + "'",
		"many keys":   manyKeys(9000),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				catalog.Parse("a.yaml", []byte(doc), catalog.Options{})
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%x: 1\n", i)
	}
	return b.String()[:min(b.Len(), 256<<10)]
}

func TestAbuse_264_TypingSurprises(t *testing.T) {
	for _, c := range []struct{ old, new, code string }{
		{"name: Acme CRM", "name: Acme CRM\nname: Other", catalog.CodeDuplicate},
		{"baseUrl:", "BaseURL:", catalog.CodeUnknown},
		{"baseUrl:", "baseurl:", catalog.CodeUnknown},
		{"baseUrl:", "bаseUrl:", catalog.CodeUnknown}, // Cyrillic a
		{"auth:", "aut\u0127:", catalog.CodeUnknown},
		{"kind:", "\u212Aind:", catalog.CodeUnknown},          // Kelvin sign
		{"headers:", "header\u017F:", catalog.CodeUnknown},    // long s
		{"required: true", "required: yes", catalog.CodeType}, // Norway and friends
		{"required: true", "required: on", catalog.CodeType},
		{"required: true", "required: True", catalog.CodeType},
		{"required: true", "required: 1", catalog.CodeType},
		{"required: true", "required: ~", catalog.CodeType},
		{"name: Acme CRM", "name: no", catalog.CodeType},
		{"name: Acme CRM", "name: 2025-09-03", catalog.CodeType},
		{"burst: 10", "burst: 0x10", catalog.CodeType},
		{"burst: 10", "burst: 0o17", catalog.CodeType},
		{"burst: 10", "burst: 010", catalog.CodeType},
		{"burst: 10", "burst: 1_000", catalog.CodeType},
		{"burst: 10", "burst: 1:30", catalog.CodeType},
		{"burst: 10", "burst: .inf", catalog.CodeType},
		{"burst: 10", "burst: +10", catalog.CodeType},
		{"burst: 10", "burst: 10.5", catalog.CodeType},
		{"burst: 10", `burst: "10"`, catalog.CodeType},
		{"burst: 10", "burst: 99999999999999999999", catalog.CodeValue},
		{"burst: 10", "burst:", catalog.CodeValue},
	} {
		t.Run(c.new, func(t *testing.T) {
			for _, f := range refuses(t, change(t, c.old, c.new), c.code) {
				for _, r := range f.Message + f.Path {
					if r > 0x7e {
						t.Errorf("a look-alike is shown as it looks: %s", f)
					}
				}
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		doc := string(parse(t, []byte(acme)).Document)
		for _, c := range [][2]string{{`"burst":10`, `"burst":"10"`}, {`"burst":10`, `"Burst":10`}, {`"burst":10`, `"burst":10,"burst":11`}, {`"burst":10`, `"burst":10,"b\u0075rst":11`}} {
			if conn, _ := catalog.Parse("a.json", []byte(strings.Replace(doc, c[0], c[1], 1)), catalog.Options{}); conn != nil {
				t.Errorf("%s is accepted", c[1])
			}
		}
	})
}

func TestAbuse_265_TemplatesOutOfPlace(t *testing.T) {
	for _, mark := range []string{"${apiKey}", "{{apiKey}}", "<%= x %>", "$(id)", "`id`", "#{x}", "{% x %}"} {
		for _, place := range []struct{ old, format string }{
			{"name: Acme CRM", "name: '%s'"},
			{"label: Subdomain", "label: '%s'"},
			{`hint: "Settings, API"`, "hint: '%s'"},
			{"description: Lists contacts.", "description: '%s'"},
			{"name: X-API-Key", "name: '%s'"},
			{"separator: \",\"", "separator: '%s'"},
			{"equals: token_expired", "equals: '%s'"},
			{"[contacts.read]", "['%s']"},
			{`"*.acme.example"`, "'%s'"},
			{"{limit: \"${input.limit}\"}", "{'%s': x}"},
			{"minimum: 1}", "description: '%s'}"},
			{"minimum: 1}", "enum: ['%s']}"},
		} {
			t.Run(mark+" at "+place.old, func(t *testing.T) {
				data := change(t, place.old, fmt.Sprintf(place.format, mark))
				if conn, _ := catalog.Parse("", data, catalog.Options{}); conn != nil {
					t.Errorf("accepted")
				}
			})
		}
	}
	for _, value := range []string{"${${apiKey}}", "${apiKey", "${}", "${apiKey.x}", "${input.limit}", "{{apiKey}}${apiKey}", "${apiKey|upper}", "${apiKey()}", "${base64(lower(apiKey))}"} {
		t.Run(value, func(t *testing.T) {
			refuses(t, change(t, `value: "${apiKey}"`, fmt.Sprintf("value: %q", value)), catalog.CodeTemplate)
		})
	}
	t.Run("a second header line", func(t *testing.T) {
		refuses(t, change(t, `value: "${apiKey}"`, `value: "${apiKey}\nX-Evil: 1"`), catalog.CodeValue)
	})
}

func TestAbuse_266_NothingExecutes(t *testing.T) {
	for _, key := range []string{"script", "code", "transform", "expression", "lua", "cel", "preRequest"} {
		refuses(t, change(t, "expiry:", key+": 'x'\nexpiry:"), catalog.CodeUnknown)
	}
	conn := parse(t, change(t, `pattern: "^ak_[a-z0-9]{8,}$"`, `pattern: "^(a+)+$"`))
	took := cputime.Of(t, func() {
		if _, err := catalog.CheckCredentials(&conn.Auth[0], claviger.Credentials{"apiKey": claviger.NewSecretString(strings.Repeat("a", 60<<10) + "!")}); err == nil {
			t.Error("accepted")
		}
	})
	if took > 2*time.Second {
		t.Errorf("a pattern took %v", took)
	}
	for _, path := range []string{"$..a", "$[?(@.a)]", "$[0:9]", "$[0,1]", "$.a" + strings.Repeat("[*]", 20), "$" + strings.Repeat("[0]", 200), "a", "", "$.", "$[", "$['a", "$[-0]", "$[01]", "$.a b", `$["a\n"]`, "$[*", "$a", "$.a()"} {
		if _, err := catalog.ParsePath(path); err == nil {
			t.Errorf("%q is a path", path)
		}
	}
}

func TestAbuse_267_LiteralSecrets(t *testing.T) {
	for _, secret := range []string{
		"sk_live_" + strings.Repeat("4eC39HqL", 3), "ghp_" + strings.Repeat("a1B2c3D4e5F6", 3), "AKIA" + "IOSFODNN7EXAMPLE",
		"xoxb-" + "123456789012-abcdef", "-----BEGIN RSA PRIVATE KEY-----", "Bearer " + "abcdefghijklmnop1234", "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0.x",
		"SG." + strings.Repeat("q1W2e3", 3) + "r4T5." + strings.Repeat("z1X2c3V4", 5), "c2VjcmV0LXZhbHVlLTEyMzQ1Njc4OTA5ODc2NTQ",
		"9f8e7d6c5b4a39281706f5e4d3c2b1a0", "clv_key_" + strings.Repeat("Ab3d", 8),
	} {
		for _, place := range []struct{ old, format string }{
			{`X-Tenant: "${tenant}"`, "X-Tenant: '%s'"},
			{`value: "${apiKey}"`, "value: '${apiKey}%s'"},
			{`hint: "Settings, API"`, "hint: 'for example %s'"},
			{"description: Lists contacts.", "description: '%s'"},
			{"{limit: \"${input.limit}\"}", "{limit: '%s'}"},
			{"fixed: [1,", "fixed: ['%s',"},
		} {
			faults := refuses(t, change(t, place.old, fmt.Sprintf(place.format, secret)), catalog.CodeLiteralSecret)
			if strings.Contains(fmt.Sprint(faults), secret) {
				t.Errorf("the fault shows the secret: %v", faults)
			}
			if e := catalog.Refusal(faults); e.Code != "literal_secret" || strings.Contains(e.Error(), secret) {
				t.Errorf("%v", e)
			}
		}
	}
}

func TestAbuse_270_SecurityDiff(t *testing.T) {
	older := parse(t, []byte(acme))
	for _, c := range []struct {
		old, new string
		security bool
	}{
		{`["*.acme.example"]`, `["*.acme.example", evil.example]`, true},
		{"acme.example/v2", "acme.example/v3", true},
		{"in: header, name: X-API-Key", "in: query, name: key", true},
		{"path: /me", "path: /collect", true},
		{"[contacts.read]", "[contacts.read, contacts.write]", true},
		{"path: /contacts,", "path: /everything,", true},
		{"secret: true, ", "", true},
		{"type: hostLabel", "type: enum, values: [a]", true},
		{"expiry: [{status: 401}", "expiry: [{status: 403}", true},
		{"readOnly: true", "readOnly: false", true},
		{"X-Tenant:", "X-Other:", true},
		{"minimum: 1", "minimum: 0", true},
		{"name: Acme CRM", "name: Acme", false},
		{`hint: "Settings, API"`, `hint: "Settings"`, false},
		{"categories: [crm]", "categories: [sales]", false},
		{"burst: 10", "burst: 20", false},
		{"description: Lists contacts.", "description: Lists them.", false},
	} {
		changes := catalog.Diff(older, parse(t, change(t, c.old, c.new)))
		if len(changes) == 0 {
			t.Errorf("%s: no change", c.new)
		}
		security := false
		for _, x := range changes {
			security = security || x.Security
		}
		if security != c.security {
			t.Errorf("%s: %+v", c.new, changes)
		}
	}
	if changes := catalog.Diff(older, parse(t, change(t, "key: acme\nname: Acme CRM\n", "name: Acme CRM\nkey: acme\n"))); len(changes) != 0 {
		t.Errorf("layout counts as change: %v", changes)
	}
	if changes := catalog.Diff(nil, older); len(changes) < 20 {
		t.Errorf("a new connector has %d changes", len(changes))
	}
}

func TestAbuse_271_Keys(t *testing.T) {
	for _, key := range []string{"__proto__", "..", ".", "con", "nul", "com1", "admin", "claviger", "c1aviger", "clav-iger", "constructor", "githսb", "GitHub", "-a", "a-", "a_b", "a.b", "a/b", "v1", strings.Repeat("a", 65), "a b", "\uff41"} {
		if conn, _ := catalog.Parse("", change(t, "key: acme\n", fmt.Sprintf("key: %q\n", key)), catalog.Options{}); conn != nil {
			t.Errorf("the key %q is accepted", key)
		}
	}
	c, err := catalog.Load(connectors.Files, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for key, free := range map[string]bool{"acme": true, "github": false, "g1thub": false, "git-hub": false, "githud": true, "str1pe": false, "0penai": false, "github-enterprise": true} {
		if err := c.CheckKey(key); (err == nil) != free {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := c.CheckKey("github"); !claviger.IsKind(err, claviger.KindConflict) {
		t.Errorf("%v", err)
	}
}

func TestAbuse_274_Links(t *testing.T) {
	for _, link := range []string{"javascript:alert(1)", "data:text/html,x", "http://docs.acme.example", "//docs.acme.example", "https:docs", "https://u:p@docs.acme.example", "vbscript:x", " https://a.example", "https://a.example/\\\"><script>", "HTTPS://a.example\\n"} {
		for _, place := range []struct{ old, format string }{
			{"docsUrl: https://docs.acme.example/api", `docsUrl: "%s"`},
			{"label: API key\n", "label: API key\n    docsUrl: \"%s\"\n"},
			{"secret: true, ", `secret: true, docsUrl: "%s", `},
		} {
			if conn, _ := catalog.Parse("", change(t, place.old, fmt.Sprintf(place.format, link)), catalog.Options{}); conn != nil {
				t.Errorf("the link %q is accepted", link)
			}
		}
	}
	refuses(t, change(t, "docsUrl:", "icon: https://evil.example/i.svg\ndocsUrl:"), catalog.CodeUnknown)
}

func TestAbuse_275_BuiltInsPassTheLint(t *testing.T) {
	entries, err := connectors.Files.ReadDir(".")
	if err != nil || len(entries) < 200 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		data, err := connectors.Files.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range catalog.Lint(e.Name(), data, catalog.Options{}) {
			t.Errorf("%s:%s", e.Name(), f)
		}
		if conn, _ := catalog.Parse(e.Name(), data, catalog.Options{}); conn != nil && conn.Key+".yaml" != e.Name() {
			t.Errorf("%s holds %s", e.Name(), conn.Key)
		}
	}
	bare := `{key: bare, name: Bare, kind: http, baseUrl: "https://api.bare.example", auth: [{key: k, type: bearer, fields: [{key: apiKey, secret: true}], inject: [{in: header, name: Authorization, value: "Bearer ${apiKey}"}]}]}`
	var missing []string
	for _, f := range catalog.Lint("bare.yaml", []byte(bare), catalog.Options{}) {
		if f.Code != catalog.CodePractice {
			t.Errorf("%s", f)
		}
		missing = append(missing, f.Path)
	}
	want := "docsUrl categories expiry rateLimit auth[0].label auth[0].test auth[0].permissions auth[0].fields[0].label auth[0].fields[0].hint auth[0].fields[0].softPattern actions"
	if got := strings.Join(missing, " "); got != want {
		t.Errorf("lint of a bare document: %s", got)
	}
	for _, f := range catalog.Lint("bare.yaml", []byte(strings.Replace(bare, "auth:", "webhooks: {scheme: nobody}, auth:", 1)), catalog.Options{WebhookScheme: func(key string) bool { return key != "nobody" }}) {
		if f.Path == "webhooks.scheme" {
			missing = append(missing, f.Code)
		}
	}
	if missing[len(missing)-1] != catalog.CodeValue {
		t.Error("an unknown webhook scheme passes the lint")
	}
	if faults := catalog.Lint("x.yaml", []byte("key: 1"), catalog.Options{}); len(faults) == 0 {
		t.Error("a broken document passes the lint")
	}
}
