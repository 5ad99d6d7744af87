package manifest_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"claviger/clavigertest/cputime"
	"claviger/internal/catalog"
	"claviger/internal/manifest"
)

// check reads one text as a system and answers its faults.
func check(name, text string) []manifest.Fault {
	return manifest.Validate(manifest.Parse(manifest.Part{Name: name, Data: []byte(text)}, nil), manifest.Policy{})
}

func TestAbuse_263_HostileManifests(t *testing.T) {
	valid := "key: acme\ndisplayName: Acme\ntype: custom\nauthentications: [{key: a, usage: api, authType: none}]\n"
	if faults := check("a.yaml", valid); len(faults) > 0 {
		t.Fatal(list(faults))
	}
	many := strings.Repeat("1,", 15_000)
	for name, text := range map[string]string{
		"anchor":        strings.Replace(valid, "Acme", "&a Acme", 1),
		"laughs":        "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
		"merge":         valid + "<<: {enabled: true}\n",
		"tag":           strings.Replace(valid, "Acme", "!!python/name:os.system Acme", 1),
		"two documents": valid + "---\n" + valid,
		"deep":          strings.Repeat("[", 20_000),
		"deep objects":  strings.Repeat(`{"authentications":`, 5_000),
		"too large":     valid + "#" + strings.Repeat("x", 256<<10),
		"many slots":    `{key: acme, authentications: [` + many + `1]}`,
		"NUL":           "key: a\x00b",
		"mark":          "\uFEFF" + valid,
		"UTF-16":        "\xff\xfek\x00e\x00y\x00",
		"bidi":          strings.Replace(valid, "Acme", "Ac\u202eme", 1),
		"no object":     "[]",
		"null":          "null",
		"empty":         "",
	} {
		for _, file := range []string{"a.yaml", "a.json", ""} {
			t.Run(name+" "+file, func(t *testing.T) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				var faults []manifest.Fault
				took := cputime.Of(t, func() { faults = check(file, text) })
				runtime.ReadMemStats(&after)
				if manifest.Valid(faults) || len(faults) > 200 {
					t.Fatalf("%d faults", len(faults))
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
	parts := make([]manifest.Part, 201)
	for i := range parts {
		parts[i] = manifest.Part{Name: "x.json", Data: []byte("{}")}
	}
	faults := manifest.Validate(manifest.Parse(manifest.Part{Name: "a.yaml", Data: []byte(valid)}, parts), manifest.Policy{})
	if !slices.ContainsFunc(faults, func(f manifest.Fault) bool { return f.Code == manifest.CodeLimit }) {
		t.Error("201 data sources are accepted")
	}
}

func TestAbuse_264_KeysOfManifests(t *testing.T) {
	for name, text := range map[string]string{
		"twice":           `{"key":"acme","key":"other","displayName":"A","type":"custom","authentication":{"method":"none"}}`,
		"another case":    `{"Key":"acme","key":"acme","displayName":"A","type":"custom","authentication":{"method":"none"}}`,
		"case below":      `{"key":"acme","displayName":"A","type":"custom","authentication":{"method":"none","variables":{"BaseURL":"https://a.example"}}}`,
		"Cyrillic":        `{"key":"acme","displayName":"A","type":"custom","authentication":{"method":"none","vаriables":{}}}`,
		"long s":          `{"key":"acme","diſplayName":"A","displayName":"A","type":"custom","authentication":{"method":"none"}}`,
		"Kelvin":          `{"Key":"acme","key":"acme","displayName":"A","type":"custom","authentication":{"method":"none"}}`,
		"look-alike key":  `{"key":"аcme","displayName":"A","type":"custom","authentication":{"method":"none"}}`,
		"Norway":          "key: no\ndisplayName: A\ntype: custom\nauthentication: {method: none}",
		"octal":           "key: acme\ndisplayName: 0x10\ntype: custom\nauthentication: {method: none}",
		"number as text":  "key: 1_000\ndisplayName: A\ntype: custom\nauthentication: {method: none}",
		"boolean as text": "key: acme\ndisplayName: true\ntype: custom\nauthentication: {method: none}",
		"prototype":       `{"__proto__":{"key":"acme"},"key":"acme","displayName":"A","type":"custom","authentication":{"method":"none"}}`,
	} {
		if faults := check("", text); manifest.Valid(faults) {
			t.Errorf("%s is accepted", name)
		}
	}
}

// secrets are credentials as people paste them.
var secrets = []string{
	"sk_live_abcdefghijkl0123456789ABCD", "hunter2", "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "ghp_abcdefghijklABCDEFGHIJKL012345678901",
	"Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZmdoaWprbG1ub3A", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "xoxb-123456789012-abcdefghijkl",
}

// A literal secret is refused where a reference belongs, whatever it looks like,
// and everywhere else if it looks like one; no fault, refusal or repair repeats it.
func TestAbuse_267_LiteralSecretsInManifests(t *testing.T) {
	base := text(t, checkout(t, nil), "example-crm-system.json")
	for _, secret := range secrets {
		places := map[string]string{
			"security":        replaced(t, base, "kv://example-crm/apiKey", secret),
			"single security": `{"key":"example-crm","displayName":"E","type":"custom","authentication":{"method":"apikey","variables":{"baseUrl":"https://api.example.com"},"security":{"apiKey":"` + secret + `"}}}`,
			"a setting":       replaced(t, base, `"type": "openapi",`, `"type": "openapi", "configuration": [{"name": "A", "value": "`+secret+`", "location": "variable", "required": true, "portalInput": {"field": "password", "label": "A"}}],`),
		}
		if secret != "hunter2" { // nothing tells that this is a secret but its place
			places["description"] = replaced(t, base, `"type": "openapi",`, `"type": "openapi", "description": "`+secret+`",`)
			places["a header's name"] = replaced(t, base, `"X-API-Key"`, `"`+secret+`"`)
			places["a key"] = replaced(t, base, `"displayName": "Example CRM"`, `"displayName": "Example CRM", "`+secret+`": true`)
			places["an unknown value"] = replaced(t, base, `"usage": "api"`, `"usage": "`+secret+`"`)
		}
		for where, document := range places {
			t.Run(where, func(t *testing.T) {
				b := load(t, checkout(t, map[string]string{"example-crm-system.json": document}))
				faults := manifest.Validate(b, manifest.Policy{})
				if !slices.ContainsFunc(faults, func(f manifest.Fault) bool { return f.Code == manifest.CodeLiteralSecret && f.Line > 0 }) {
					t.Errorf("%s: not told:\n%s", secret, list(faults))
				}
				refusal := manifest.Refusal(faults)
				if refusal == nil || refusal.Code != manifest.CodeLiteralSecret {
					t.Fatalf("refused with %v", refusal)
				}
				shown := list(faults) + refusal.Error() + refusal.Param
				if fixed, err := manifest.Repair(b, manifest.RepairOptions{Auth: "basic", Slots: true}); err == nil {
					shown += fixed.Diff()
				}
				for _, part := range []string{secret, secret[:min(len(secret), 16)]} {
					if strings.Contains(shown, part) {
						t.Errorf("the secret is repeated:\n%s", shown)
					}
				}
			})
		}
	}
}

func TestAbuse_268_ReferencesStayInTheirOwnSpace(t *testing.T) {
	for _, ref := range []string{
		"kv://other-system/secret", "kv://../x", "kv://org/example-crm/x", "kv://example-crm/../other/x", "kv://example-crm%2f..%2fother/x", "kv://example-crm/%61",
		"kv://Example-CRM/apiKey", "kv://example-crm/apiKey/", "kv://example-crm//apiKey", "kv://example-crm/*", "kv://*/apiKey", "kv://example-crm", "kv://", "kv:///x",
		"KV://example-crm/apiKey", "kv:example-crm/apiKey", "kv://example-crm/a b", "kv://example-crm/a\\u0000", "kv://еxample-crm/apiKey", "kv://shared", "kv://Shared/x",
		"kv://example-crm-2/apiKey", "kv://example-crm.other/apiKey", "url://example-crm/apiKey", "kv://example-crm/./x", "kv://example-crm/" + strings.Repeat("x", 300),
	} {
		document := system(t, "kv://example-crm/apiKey", ref)
		faults := check("a.json", document)
		if !slices.ContainsFunc(faults, func(f manifest.Fault) bool {
			return strings.HasSuffix(f.Pointer, "/0/credential/security/apiKey") || f.Code == manifest.CodeSyntax
		}) || manifest.Valid(faults) {
			t.Errorf("%s is accepted: %s", ref, list(faults))
		}
		b := manifest.Parse(manifest.Part{Name: "a.json", Data: []byte(document)}, nil)
		for _, r := range b.References() {
			if r.Slot == "default" && !strings.Contains(ref, r.Path) {
				t.Errorf("%s leads to %s", ref, r.Path)
			}
		}
	}
	for _, ref := range []string{"kv://example-crm/apiKey", "kv://shared/apiKey", "kv://example-crm/a/b/c", "kv://shared/acme.v2/api_key-1"} {
		if faults := check("a.json", system(t, "kv://example-crm/apiKey", ref)); !manifest.Valid(faults) {
			t.Errorf("%s is refused: %s", ref, list(faults))
		}
	}
}

// Whatever compiles calls the hosts that the manifest writes out and no others.
func TestAbuse_273_CompiledSystemsStayAtTheirHosts(t *testing.T) {
	if !staysAtItsHost(t, "https://api.acme.example/v2", "/me", "/things/{id}", "X-Key") {
		t.Fatal("a valid system does not compile")
	}
	rapid.Check(t, func(r *rapid.T) {
		base := rapid.SampledFrom([]string{
			"https://api.acme.example", "https://api.acme.example/v2", "https://api.acme.example:8443/", "https://api.acme.example@evil.example", "https://evil.example#.acme.example",
			"https://${x}.acme.example", "https://api.acme.example/..", "https://api.acme.example\\@evil.example", "http://api.acme.example", "https://API.acme.example", "https://127.1", "//api.acme.example",
			"https://api.acme.example/a?b=c", "https://0x7f.1/x", "https://api.acme.example/%2e%2e/x", "https:///x",
		}).Draw(r, "base")
		test := rapid.SampledFrom([]string{"", "/me", "/me?x=1", "//evil.example/me", "/../me", "https://evil.example/me", "https://api.acme.example/v2/me", "https://api.acme.example.evil.example", "/${x}"}).Draw(r, "test")
		path := rapid.SampledFrom([]string{"/things", "/things/{id}", "/{id}/{id}", "//evil.example/x", "/../x", "/${input.x}", "/{{x}}", "/things@evil.example", "/a%2f..%2fb", "https://evil.example/"}).Draw(r, "path")
		header := rapid.SampledFrom([]string{"X-Key", "X Key", "X-Key\r\nHost: evil.example", "Host", "${apiKey}", ""}).Draw(r, "header")
		staysAtItsHost(r, base, test, path, header)
	})
}

// staysAtItsHost reports whether the system compiles, and fails if it then calls
// another host than it says.
func staysAtItsHost(t rapid.TB, base, test, path, header string) bool {
	t.Helper()
	encode := func(v any) []byte {
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	system := encode(object{"key": "acme", "displayName": "Acme", "type": "custom", "authentications": []any{object{
		"key": "a", "usage": "api", "authType": "credential", "credential": object{
			"method": "apikey", "variables": object{"baseUrl": base, "headerName": header, "testEndpoint": test}, "security": object{"apiKey": "kv://acme/k"},
		},
	}}})
	data := encode(object{
		"key": "things", "displayName": "T", "systemKey": "acme", "entityType": "none", "resourceType": "thing", "primaryKey": []string{"id"}, "externalId": "id",
		"capabilities": object{"get": object{"method": "GET", "path": path}},
	})
	b := manifest.Parse(manifest.Part{Name: "system", Data: system}, []manifest.Part{{Name: "d", Data: data}})
	if !manifest.Valid(manifest.Validate(b, manifest.Policy{})) {
		return false
	}
	compiled, err := manifest.Compile(b)
	if err != nil {
		t.Fatal(err)
	}
	conn, _ := catalog.Parse("acme.json", compiled.Connector, catalog.Options{})
	if conn == nil {
		return false
	}
	u, err := catalog.Base(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	declared, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host != declared.Host || !strings.HasSuffix(u.Hostname(), ".acme.example") || !slices.Equal(conn.AllowedHosts, []string{"api.acme.example"}) {
		t.Fatalf("%s became %s for %v", base, u, conn.AllowedHosts)
	}
	return true
}

// FuzzRead: whatever is read is told within bounds, and its canonical form is a
// fixed point that means the same.
func FuzzRead(f *testing.F) {
	fsys := checkout(f, nil)
	companies := []byte(text(f, fsys, "companies.json"))
	f.Add([]byte(text(f, fsys, "example-crm-system.json")), companies)
	f.Add([]byte("key: acme\ndisplayName: A\ntype: mcp\nauthentication: {method: oauth2}"), []byte(text(f, fsys, "contacts.yaml")))
	f.Add([]byte(`{"authentications":[null,1,{"credential":[]}],"dataSources":{}}`), []byte(`{"capabilities":{"list":{}},"syncBridge":1,"sync":[],"externalId":[]}`))
	f.Fuzz(func(t *testing.T, system, data []byte) {
		b := manifest.Parse(manifest.Part{Name: "", Data: system}, []manifest.Part{{Name: "", Data: data}})
		faults := manifest.Validate(b, manifest.Policy{})
		if len(faults) > 200 {
			t.Fatalf("%d faults", len(faults))
		}
		document := b.Document()
		if document == nil {
			if manifest.Valid(faults) {
				t.Fatal("what cannot be read has no fault")
			}
			return
		}
		again, err := manifest.Open(document)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Document(), document) {
			t.Fatalf("%s\nbecame\n%s", document, again.Document())
		}
		if manifest.Valid(faults) != manifest.Valid(manifest.Validate(again, manifest.Policy{})) {
			t.Fatalf("the canonical form means something else: %s", document)
		}
		if changes := manifest.Diff(b, again); len(changes) > 0 {
			t.Fatalf("the canonical form differs: %v", changes)
		}
		if manifest.Valid(faults) {
			if _, err := manifest.Compile(b); err != nil {
				t.Fatal(err)
			}
		}
	})
}
