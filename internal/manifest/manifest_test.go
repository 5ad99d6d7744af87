package manifest_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"claviger"
	"claviger/connectors"
	"claviger/internal/catalog"
	"claviger/internal/hookverify"
	"claviger/internal/manifest"
)

const folder = "integration/example-crm/"

// checkout answers the example's files, with changes.
func checkout(t testing.TB, changes map[string]string) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	for _, name := range []string{"example-crm-system.json", "companies.json", "contacts.yaml", "env.template"} {
		data, err := os.ReadFile("testdata/" + folder + name)
		if err != nil {
			t.Fatal(err)
		}
		out[folder+name] = &fstest.MapFile{Data: data}
	}
	for name, text := range changes {
		if text == "" {
			delete(out, folder+name)
		} else {
			out[folder+name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return out
}

func load(t testing.TB, fsys fs.FS) *manifest.Bundle {
	t.Helper()
	b, err := manifest.Load(fsys, "example-crm")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func text(t testing.TB, fsys fstest.MapFS, name string) string {
	t.Helper()
	f := fsys[folder+name]
	if f == nil {
		t.Fatalf("no %s", name)
	}
	return string(f.Data)
}

// system answers the example's system with replacements, old and new in turn; every
// old text must be there.
func system(t testing.TB, replacements ...string) string {
	t.Helper()
	return replaced(t, text(t, checkout(t, nil), "example-crm-system.json"), replacements...)
}

func replaced(t testing.TB, s string, replacements ...string) string {
	t.Helper()
	for i := 0; i+1 < len(replacements); i += 2 {
		if !strings.Contains(s, replacements[i]) {
			t.Fatalf("the example has no %q", replacements[i])
		}
		s = strings.Replace(s, replacements[i], replacements[i+1], 1)
	}
	return s
}

func list(faults []manifest.Fault) string {
	var out strings.Builder
	for _, f := range faults {
		out.WriteString(f.String() + "\n")
	}
	return out.String()
}

func TestTheDocumentedExamplePasses(t *testing.T) {
	b := load(t, checkout(t, nil))
	if faults := manifest.Validate(b, manifest.Policy{}); len(faults) > 0 {
		t.Fatalf("the example as documented has faults:\n%s", list(faults))
	}
	if got := b.System.SchemaVersion(); got != "2.0" {
		t.Errorf("it was read as version %s", got)
	}
	for usage, want := range map[claviger.Usage]string{
		claviger.UsageAPI: "default", claviger.UsageWebhookInbound: "webhook", claviger.UsageSyncExecution: "sync-worker", claviger.UsageCallback: "",
	} {
		if slot, ok := b.System.Slot(usage); slot.Key != want || ok != (want != "") {
			t.Errorf("%s is served by %q, want %q", usage, slot.Key, want)
		}
	}
	var paths []string
	for _, r := range b.References() {
		paths = append(paths, r.Slot+" "+r.Name+" "+r.Path)
	}
	want := []string{"default apiKey example-crm/apiKey", "webhook apiKey example-crm/webhookSecret", "sync-worker apiKey example-crm/syncApiKey"}
	if !slices.Equal(paths, want) {
		t.Errorf("references %q, want %q", paths, want)
	}
	if entries, faults := b.Env(); len(entries) != 3 || len(faults) > 0 || b.DataSources[0].Key != "companies" || b.DataSources[1].Key != "contacts" {
		t.Errorf("read the lines %v and the data sources %v", entries, b.DataSources)
	}
}

func TestCompiledConnectorIsOneThatTheCatalogueAccepts(t *testing.T) {
	compiled, err := manifest.Compile(load(t, checkout(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	conn, faults := catalog.Parse("example-crm.json", compiled.Connector, catalog.Options{})
	if conn == nil {
		t.Fatalf("%v\n%s", faults, compiled.Connector)
	}
	if conn.Key != "example-crm" || conn.BaseURL.String() != "https://api.example.com" || !slices.Equal(conn.AllowedHosts, []string{"api.example.com"}) {
		t.Errorf("%s at %s for %v", conn.Key, conn.BaseURL, conn.AllowedHosts)
	}
	types := map[string]claviger.AuthType{}
	for _, m := range conn.Auth {
		types[m.Key] = m.Type
	}
	if want := map[string]claviger.AuthType{"default": claviger.AuthAPIKey, "webhook": claviger.AuthInbound, "sync-worker": claviger.AuthAPIKey}; !maps.Equal(types, want) {
		t.Errorf("methods %v, want %v", types, want)
	}
	method, _ := conn.Method("default")
	if in := method.Inject[0]; in.Name != "X-API-Key" || in.Value.String() != "${apiKey}" || method.Test == nil || method.Test.Path.String() != "/health" {
		t.Errorf("default injects %+v and tests %+v", in, method.Test)
	}
	var actions []string
	for _, a := range conn.Actions {
		actions = append(actions, a.Key)
	}
	if want := "companies-list companies-get companies-create companies-update companies-delete contacts-list contacts-get contacts-update"; strings.Join(actions, " ") != want {
		t.Errorf("actions %v", actions)
	}
	listing, _ := conn.Action("companies-list")
	if name, ok := catalog.PageInput(listing); name != "cursor" || !ok {
		t.Errorf("the page's position is the input %q", name)
	}
	if err := listing.Input.Validate(map[string]any{"since": "2026-01-01", "cursor": "x", "order": "name"}); err != nil {
		t.Error(err)
	}
	update, _ := conn.Action("companies-update")
	if err := update.Input.Validate(map[string]any{"id": json.Number("7"), "record": map[string]any{"name": "x"}}); err != nil {
		t.Error(err)
	}
	if err := update.Input.Validate(map[string]any{"id": "7"}); err == nil {
		t.Error("an update without a record is accepted")
	}
	if got := compiled.Slots[2].Secrets; !maps.Equal(got, map[string]string{"apiKey": "example-crm/syncApiKey"}) {
		t.Errorf("secrets of sync-worker: %v", got)
	}
}

// Every method in the usages that it serves becomes something that the catalogue
// and the webhook verification accept.
func TestEveryMethodCompiles(t *testing.T) {
	schemes, err := hookverify.Load(connectors.Webhooks, "webhooks")
	if err != nil {
		t.Fatal(err)
	}
	outward := map[string]string{
		"apikey":      `"baseUrl":"https://api.acme.example","prefix":"Token token="},"security":{"apiKey":"kv://acme/k"}`,
		"bearerToken": `"baseUrl":"https://api.acme.example/v2"},"security":{"bearerToken":"kv://acme/k"}`,
		"basic":       `"baseUrl":"https://api.acme.example"},"security":{"username":"kv://acme/u","password":"kv://shared/acme/p"}`,
		"queryParam":  `"baseUrl":"https://api.acme.example","paramName":"api_key","testEndpoint":"https://api.acme.example/me?x=1"},"security":{"paramValue":"kv://acme/k"}`,
		"oauth2":      `"baseUrl":"https://api.acme.example","tokenUrl":"https://login.acme.example/token","scope":"a b","audience":"acme"},"security":{"clientId":"kv://acme/i","clientSecret":"kv://acme/s"}`,
		"aad":         `"baseUrl":"https://graph.acme.example","tokenUrl":"https://login.acme.example/t/oauth2/v2.0/token","grantType":"client_credentials","tenantId":"t"},"security":{"clientId":"kv://acme/i","clientSecret":"kv://acme/s"}`,
		"certificate": `"baseUrl":"https://api.acme.example"},"security":{"certificate":"kv://acme/c","privateKey":"kv://acme/p"}`,
		"none":        `"baseUrl":"https://api.acme.example"}`,
	}
	if methods := slices.Sorted(maps.Keys(outward)); !slices.Equal(methods, manifest.CallMethods()) {
		t.Errorf("on calls there can be %v, tried are %v", manifest.CallMethods(), methods)
	}
	for method, rest := range outward {
		t.Run(method, func(t *testing.T) {
			conn, _ := catalog.Parse("acme.json", compileSlot(t, "api", method, rest).Connector, catalog.Options{})
			if m, _ := conn.Method("s"); m.Test == nil {
				t.Error("nothing tries the slot, although it has an address")
			}
		})
	}
	inward := map[string]string{
		"apikey":      `"headerName":"X-Hub-Signature-256"},"security":{"apiKey":"kv://acme/k"}`,
		"bearerToken": `},"security":{"token":"kv://acme/k"}`,
		"basic":       `},"security":{"username":"kv://acme/u","password":"kv://acme/p"}`,
		"hmac":        `"algorithm":"sha512","signatureHeader":"X-Sig","encoding":"base64","timestampHeader":"X-At","timestampUnit":"milliseconds","signedString":"${timestamp}:${body}","tolerance":60},"security":{"signingSecret":"kv://acme/k"}`,
		"oidc":        `"openIdConfigUrl":"https://login.acme.example/.well-known/openid-configuration","clientId":"acme","algorithms":["RS256"]}`,
		"queryParam":  `"paramName":"token"},"security":{"paramValue":"kv://acme/k"}`,
	}
	for method, rest := range inward {
		t.Run("inbound "+method, func(t *testing.T) {
			compiled := compileSlot(t, "webhookInbound", method, strings.TrimPrefix(rest, ","))
			slot := compiled.Slots[0]
			scheme, err := schemes.For(string(slot.Method), slot.Variables)
			if err != nil {
				t.Fatalf("%v of %v", err, slot.Variables)
			}
			if method == "apikey" && scheme.Key != "github" && !scheme.BodySigned() {
				t.Errorf("the header of a known signature means the scheme %s", scheme.Key)
			}
		})
	}
}

func compileSlot(t *testing.T, usage, method, rest string) *manifest.Compiled {
	t.Helper()
	system := `{"key":"acme","displayName":"Acme","type":"custom","rateLimit":{"requestsPerWindow":100,"windowSeconds":10},"authentications":[{"key":"s","usage":"` + usage +
		`","authType":"credential","credential":{"method":"` + method + `","variables":{` + rest + `}}]}`
	b := manifest.Parse(manifest.Part{Name: "system", Data: []byte(system)}, nil)
	if faults := manifest.Validate(b, manifest.Policy{}); len(faults) > 0 {
		t.Fatalf("%s\n%s", system, list(faults))
	}
	compiled, err := manifest.Compile(b)
	if err != nil {
		t.Fatal(err)
	}
	if conn, faults := catalog.Parse("acme.json", compiled.Connector, catalog.Options{}); conn == nil {
		t.Fatalf("%v\n%s", faults, compiled.Connector)
	}
	return compiled
}

func TestASlotWithABaseOfItsOwnKeepsIt(t *testing.T) {
	b := load(t, checkout(t, map[string]string{"example-crm-system.json": system(t, "syncExecution\",\n      \"authType\": \"credential\",\n      \"credential\": {\n        \"method\": \"apikey\",\n        \"variables\": {\n          \"baseUrl\": \"https://api.example.com\"", "syncExecution\",\n      \"authType\": \"credential\",\n      \"credential\": {\n        \"method\": \"apikey\",\n        \"variables\": {\n          \"baseUrl\": \"https://bulk.example.com\"")}))
	compiled, err := manifest.Compile(b)
	if err != nil {
		t.Fatal(err)
	}
	conn, faults := catalog.Parse("x.json", compiled.Connector, catalog.Options{})
	if conn == nil {
		t.Fatal(faults)
	}
	m, _ := conn.Method("sync-worker")
	if got := m.BaseURL.String(); got != "https://bulk.example.com" {
		t.Errorf("sync-worker calls %q", got)
	}
	for i, want := range []string{"https://api.example.com", "inbound", "https://bulk.example.com"} {
		if got := compiled.Slots[i].Destination; got != want {
			t.Errorf("the destination of slot %d is %q, want %q", i, got, want)
		}
	}
}

func TestDocumentsAreReadAgainAsTheyWereWritten(t *testing.T) {
	b := load(t, checkout(t, nil))
	again, err := manifest.Open(b.Document())
	if err != nil {
		t.Fatal(err)
	}
	if faults := manifest.Validate(again, manifest.Policy{}); len(faults) > 0 {
		t.Fatal(list(faults))
	}
	if !bytes.Equal(b.Document(), again.Document()) || b.Contract() != again.Contract() {
		t.Error("the canonical form is no fixed point")
	}
	certified := system(t, `"type": "openapi",`, `"type": "openapi", "certification": {"enabled": true, "publicKey": "k", "algorithm": "RS256", "issuer": "i", "version": "1"},`)
	with := load(t, checkout(t, map[string]string{"example-crm-system.json": certified}))
	if with.Contract() != b.Contract() || bytes.Equal(with.Document(), b.Document()) {
		t.Error("the contract covers the certificate, which is made from it")
	}
	changed := load(t, checkout(t, map[string]string{"companies.json": replaced(t, text(t, checkout(t, nil), "companies.json"), `"limit": 100`, `"limit": 101`)}))
	if changed.Contract() == b.Contract() {
		t.Error("another manifest has the same contract")
	}
	for _, bad := range []string{"", "[]", `{}`, `{"system":{},"dataSources":{}}`, `{"system":{}}x`, `{"system":{},"systems":{}}`} {
		if _, err := manifest.Open([]byte(bad)); !claviger.IsKind(err, claviger.KindUnreadable) {
			t.Errorf("Open(%q): %v", bad, err)
		}
	}
}

// Names of files stay at home: the manifest is the one that names its data sources by
// their keys, as an upload, which has no files, has to.
func TestListedFilesAreListedByKey(t *testing.T) {
	files := map[string]string{"crm-companies.json": text(t, checkout(t, nil), "companies.json"), "companies.json": ""}
	listing := func(names string) *manifest.Bundle {
		files["example-crm-system.json"] = system(t, `"type": "openapi",`, `"type": "openapi", "dataSources": [`+names+`],`)
		return load(t, checkout(t, files))
	}
	byFile, byKey := listing(`"crm-companies.json", "contacts.yaml"`), listing(`"companies", "contacts"`)
	if byFile.Contract() != byKey.Contract() || len(manifest.Diff(byFile, byKey)) > 0 {
		t.Error("the names of files make another manifest")
	}
	uploaded, err := manifest.Open(byFile.Document())
	if err != nil {
		t.Fatal(err)
	}
	if faults := manifest.Validate(uploaded, manifest.Policy{}); len(faults) > 0 {
		t.Errorf("as it is uploaded it is told\n%s", list(faults))
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	for _, key := range []string{"other", "..", "a/b", ""} {
		if _, err := manifest.Load(checkout(t, nil), key); !claviger.IsKind(err, claviger.KindNotFound) {
			t.Errorf("Load(%q): %v", key, err)
		}
	}
	if _, err := manifest.Load(checkout(t, map[string]string{"example-crm-system.json": ""}), "example-crm"); !claviger.IsKind(err, claviger.KindNotFound) {
		t.Errorf("a folder without a system: %v", err)
	}
}

func TestOneUsageNeverBorrowsAnothersSlot(t *testing.T) {
	for _, usage := range claviger.Usages() {
		s := manifest.System{}
		for _, other := range claviger.Usages() {
			if other != usage {
				s.Authentications = append(s.Authentications, manifest.Slot{Key: string(other), Usage: other, Default: true})
			}
		}
		if slot, ok := s.Slot(usage); ok {
			t.Errorf("%s is served by the slot of %s", usage, slot.Usage)
		}
	}
	s := manifest.System{Authentications: []manifest.Slot{{Key: "a", Usage: "api"}, {Key: "default", Usage: "api"}}}
	if slot, _ := s.Slot(claviger.UsageAPI); slot.Key != "default" {
		t.Errorf("the slot keyed default does not serve: %s", slot.Key)
	}
	s.Authentications[0].Default = true
	if slot, _ := s.Slot(claviger.UsageAPI); slot.Key != "a" {
		t.Errorf("the slot marked default does not serve: %s", slot.Key)
	}
}
