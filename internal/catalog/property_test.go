package catalog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"claviger"
	"claviger/connectors"
	"claviger/internal/catalog"
)

type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errors.New("refused") }

// published compiles the published schema.
func published(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(catalog.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	if err := c.AddResource("urn:connector", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("urn:connector")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fits(t *testing.T, s *jsonschema.Schema, document []byte) bool {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v) == nil
}

func TestSchemaAndParserAgree(t *testing.T) {
	s := published(t)
	entries, err := connectors.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := connectors.Files.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		conn, faults := catalog.Parse(e.Name(), data, catalog.Options{})
		if len(faults) > 0 {
			t.Fatalf("%s: %v", e.Name(), faults)
		}
		if !fits(t, s, conn.Document) {
			t.Errorf("%s does not fit the schema", e.Name())
		}
	}
	for _, c := range bad {
		if c.code == catalog.CodeSyntax {
			continue
		}
		raw, ok := catalog.ToJSON("bad.yaml", change(t, c.old, c.new))
		if !ok {
			t.Errorf("%s: cannot be read", c.name)
			continue
		}
		if fits(t, s, raw) == c.shape {
			t.Errorf("%s: the schema accepts: %v, want %v", c.name, !c.shape, c.shape)
		}
	}
}

func TestAcceptedDocumentsAreStable(t *testing.T) {
	base := string(parse(t, []byte(acme)).Document)
	rapid.Check(t, func(rt *rapid.T) {
		var v any
		dec := json.NewDecoder(strings.NewReader(base))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			rt.Fatal(err)
		}
		doc := v.(map[string]any)
		doc["name"] = rapid.StringN(1, 20, 90).Draw(rt, "name")
		doc["rateLimit"] = map[string]any{"requestsPerSecond": rapid.Float64Range(1e-9, 1e6).Draw(rt, "rate"), "burst": rapid.IntRange(1, 1000).Draw(rt, "burst")}
		data, err := json.Marshal(doc)
		if err != nil {
			rt.Fatal(err)
		}
		stable(rt, "a.json", data)
	})
}

// stable asserts that an accepted document re-serialises to itself.
func stable(t interface{ Fatalf(string, ...any) }, name string, data []byte) {
	conn, faults := catalog.Parse(name, data, catalog.Options{})
	if conn == nil {
		if len(faults) == 0 {
			t.Fatalf("neither connector nor faults")
		}
		return
	}
	again, faults := catalog.Parse("again.json", conn.Document, catalog.Options{})
	if again == nil || !bytes.Equal(again.Document, conn.Document) {
		t.Fatalf("not stable: %v\n%s", faults, conn.Document)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(acme))
	entries, err := connectors.Files.ReadDir(".")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		data, err := connectors.Files.ReadFile(e.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		stable(t, "a.yaml", data)
		stable(t, "a.json", data)
	})
}

// originHolds compiles a base URL, fills its variables and an input with the given
// texts, and holds what is rendered against what the document declares. It answers
// whether there was anything to render.
func originHolds(t interface{ Fatalf(string, ...any) }, base, subdomain, tenant, id string) bool {
	quoted, err := json.Marshal(base)
	if err != nil {
		return false
	}
	doc := strings.Replace(acme, "baseUrl: https://${subdomain}.acme.example/v2", "baseUrl: "+string(quoted), 1)
	doc = strings.Replace(doc, `["*.acme.example"]`, `["*.acme.example", acme.example]`, 1)
	conn, _ := catalog.Parse("a.yaml", []byte(doc), catalog.Options{})
	if conn == nil {
		return false
	}
	settings, err := catalog.CheckSettings(conn, map[string]string{"subdomain": subdomain, "tenant": tenant})
	if err != nil {
		return false
	}
	act, _ := conn.Action("create-contact")
	req, err := catalog.Request(conn, act, settings, map[string]any{"name": "A", "owner": map[string]any{"id": id}})
	if err != nil {
		if claviger.AsError(err).Kind == claviger.KindInternal {
			t.Fatalf("%v", err)
		}
		return false
	}
	host := req.URL.Hostname()
	if req.URL.Scheme != "https" || req.URL.User != nil || host != "acme.example" && !strings.HasSuffix(host, ".acme.example") {
		t.Fatalf("%s leaves the declared hosts", req.URL)
	}
	for segment := range strings.SplitSeq(req.URL.EscapedPath(), "/") {
		if segment == "." || segment == ".." {
			t.Fatalf("%s has a dot segment", req.URL)
		}
	}
	for _, values := range req.Header {
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") {
				t.Fatalf("header %q", v)
			}
		}
	}
	return true
}

func TestAbuse_273_CompiledOrigin(t *testing.T) {
	rendered := 0
	pieces := []string{"https://", "http://", "${subdomain}", "${tenant}", "${lower(subdomain)}", ".", "acme.example", "evil.example", "/", "..", "@", ":", "443", "#", "?", "%2e", "\\", "v2", "api"}
	values := []string{"acme", "a-b", "..", ".", "evil.example", "evil.example/#", "a@b", "\r\n", "%2e%2e", "x:1", "", "a/b", "\u3002", "ACME"}
	rapid.Check(t, func(rt *rapid.T) {
		base := rapid.SampledFrom([]string{"https://${subdomain}.acme.example", "https://api.acme.example/", "https://", ""}).Draw(rt, "start") +
			strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 5).Draw(rt, "pieces"), "")
		value := rapid.OneOf(rapid.SampledFrom(values), rapid.StringN(0, 10, 40))
		if originHolds(rt, base, value.Draw(rt, "subdomain"), value.Draw(rt, "tenant"), value.Draw(rt, "id")) {
			rendered++
		}
	})
	for _, id := range values {
		if originHolds(t, "https://${subdomain}.acme.example/v2/${tenant}", "acme", "t", id) {
			rendered++
		}
	}
	if rendered == 0 {
		t.Error("nothing was ever rendered")
	}
}

func FuzzOrigin(f *testing.F) {
	f.Add("https://${subdomain}.acme.example/v2", "acme", "x", "id")
	f.Add("https://api.acme.example/${tenant}", "a", "..", "../x")
	f.Add("https://api.acme.example:444/", "evil.com/#", "@", "%2e%2e")
	f.Add("https://${subdomain}.a${tenant}.acme.example", "a.b", "\r\n", "a\x00")
	f.Fuzz(func(t *testing.T, base, subdomain, tenant, id string) { originHolds(t, base, subdomain, tenant, id) })
}

func FuzzPath(f *testing.F) {
	f.Add("$.a[0]['b'].*")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := catalog.ParsePath(s)
		if err == nil {
			p.All(map[string]any{"a": []any{1, map[string]any{"b": nil}}})
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	conn := parse(b, []byte(acme))
	act, _ := conn.Action("list-contacts")
	settings, input := map[string]string{"subdomain": "x"}, map[string]any{"limit": json.Number("5")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := catalog.Request(conn, act, settings, input); err != nil {
			b.Fatal(err)
		}
	}
}

// TestPut: what is put at a path is found there, and what was there before stays.
func TestPut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := rapid.SampledFrom([]string{".a", ".b", "['c d']", "[0]", "[2]", "[-1]", "[*]"})
		text := "$" + strings.Join(rapid.SliceOfN(step, 1, 6).Draw(t, "steps"), "")
		p, err := catalog.ParsePath(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.First(p.Put(nil, "value")); !ok || got != "value" {
			t.Fatalf("%s: %v %v", text, got, ok)
		}
	})
	first, _ := catalog.ParsePath("$.items[1].id")
	second, _ := catalog.ParsePath("$.items[1].name")
	tree := second.Put(first.Put(map[string]any{"kept": true}, 7), "x")
	got, _ := json.Marshal(tree)
	if string(got) != `{"items":[null,{"id":7,"name":"x"}],"kept":true}` {
		t.Errorf("%s", got)
	}
	far, _ := catalog.ParsePath("$[999999999]")
	if list, _ := far.Put(nil, 1).([]any); len(list) != 0 {
		t.Errorf("%d entries are made", len(list))
	}
}
