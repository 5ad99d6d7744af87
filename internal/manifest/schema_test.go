package manifest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"claviger/internal/manifest"
)

type object = map[string]any

func parseSchema(t testing.TB, text []byte) object {
	t.Helper()
	var out object
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func definition(root, node object) object {
	for node["$ref"] != nil {
		node = root["$defs"].(object)[strings.TrimPrefix(node["$ref"].(string), "#/$defs/")].(object)
	}
	return node
}

// keywords are those that the checker acts upon, and those that are for readers.
var keywords = []string{
	"$ref", "type", "properties", "additionalProperties", "required", "dependentRequired", "anyOf", "oneOf", "enum", "const", "pattern", "propertyNames",
	"minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "items", "minItems", "maxItems", "uniqueItems", "maxProperties",
	"$schema", "$id", "$defs", "title", "description", "default",
}

// The checker knows every keyword that the schemas use: one that it passed over
// would be a promise that nobody keeps.
func TestSchemasKeepToTheKeywordsThatAreChecked(t *testing.T) {
	var walk func(at string, node object)
	walk = func(at string, node object) {
		for key, value := range node {
			if !slices.Contains(keywords, key) {
				t.Errorf("%s has the keyword %s, which is not checked", at, key)
			}
			switch key {
			case "properties", "$defs":
				for name, child := range value.(object) {
					walk(at+"/"+key+"/"+name, child.(object))
				}
			case "items", "additionalProperties", "propertyNames":
				if child, ok := value.(object); ok {
					walk(at+"/"+key, child)
				} else if value != false {
					t.Errorf("%s/%s is %v", at, key, value)
				}
			case "oneOf":
				for i, child := range value.([]any) {
					walk(fmt.Sprintf("%s/oneOf/%d", at, i), child.(object))
				}
			case "anyOf":
				for _, child := range value.([]any) {
					if len(child.(object)) != 1 || child.(object)["required"] == nil {
						t.Errorf("%s/anyOf is not of required keys", at)
					}
				}
			}
		}
	}
	walk("system", parseSchema(t, manifest.SystemSchema()))
	walk("datasource", parseSchema(t, manifest.DataSourceSchema()))
}

// The Go types have the keys of the schemas, each by its exact spelling.
func TestTypesAndSchemasHaveTheSameKeys(t *testing.T) {
	for _, c := range []struct {
		schema []byte
		path   string // of properties, through references
		value  any
		beside []string // keys of the type that other schemas of it have
	}{
		{manifest.SystemSchema(), "", manifest.System{}, nil},
		{manifest.SystemSchema(), "authentication", manifest.Authentication{}, nil},
		{manifest.SystemSchema(), "authentications/[]", manifest.Slot{}, nil},
		{manifest.SystemSchema(), "authentications/[]/credential", manifest.Credential{}, nil},
		{manifest.SystemSchema(), "authentication/variables", manifest.Variables{}, nil},
		{manifest.SystemSchema(), "rateLimit", manifest.RateLimit{}, nil},
		{manifest.SystemSchema(), "certification", manifest.Certification{}, nil},
		{manifest.DataSourceSchema(), "", manifest.DataSource{}, nil},
		{manifest.DataSourceSchema(), "externalId", manifest.ExternalID{}, nil},
		{manifest.DataSourceSchema(), "fieldMappings", manifest.FieldMappings{}, nil},
		{manifest.DataSourceSchema(), "fieldMappings/attributes/{}", manifest.Attribute{}, nil},
		{manifest.DataSourceSchema(), "sync", manifest.Sync{}, nil},
		{manifest.DataSourceSchema(), "sync/cursor", manifest.Cursor{}, nil},
		{manifest.DataSourceSchema(), "webhook", manifest.Webhook{}, nil},
		{manifest.DataSourceSchema(), "syncBridge", manifest.SyncBridge{}, nil},
		{manifest.DataSourceSchema(), "openapi", manifest.OpenAPI{}, nil},
		{manifest.DataSourceSchema(), "testPayload", manifest.TestPayload{}, nil},
		{manifest.DataSourceSchema(), "capabilities/list", manifest.Operation{}, []string{"operationId"}},
		{manifest.DataSourceSchema(), "capabilities/list/pagination", manifest.Pagination{}, nil},
	} {
		root := parseSchema(t, c.schema)
		node := asObject(root, root)
		for step := range strings.SplitSeq(c.path, "/") {
			switch step {
			case "":
			case "[]":
				node = asObject(root, node["items"].(object))
			case "{}":
				node = asObject(root, node["additionalProperties"].(object))
			default:
				node = asObject(root, node["properties"].(object)[step].(object))
			}
		}
		want := slices.Sorted(maps.Keys(node["properties"].(object)))
		var got []string
		for f := range reflect.TypeOf(c.value).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !slices.Contains(c.beside, name) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %T has the keys\n%v, the schema\n%v", c.path, c.value, got, want)
		}
	}
}

// asObject answers the schema behind references, and of alternatives the object.
func asObject(root, node object) object {
	node = definition(root, node)
	for _, one := range anyList(node["oneOf"]) {
		if d := definition(root, one.(object)); d["type"] == "object" {
			return d
		}
	}
	return node
}

func anyList(v any) []any {
	out, _ := v.([]any)
	return out
}

// oracle is the schema as another implementation reads it.
func oracle(t testing.TB, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("urn:schema", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("urn:schema")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// structural are the codes of what a schema can tell.
var structural = []string{manifest.CodeUnknown, manifest.CodeMissing, manifest.CodeType, manifest.CodeValue, manifest.CodeLimit, manifest.CodeDuplicate, manifest.CodeLiteralSecret}

// Whatever another implementation of JSON Schema refuses, the checker refuses too,
// over thousands of small damages to documents that use every key.
func TestTheCheckerRefusesWhatTheSchemasRefuse(t *testing.T) {
	fsys := checkout(t, nil)
	documents := map[string][]byte{}
	for _, name := range []string{"example-crm-system.json", "companies.json", "contacts.yaml"} {
		data, err := fs.ReadFile(fsys, folder+name)
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := yaml.Unmarshal(data, &tree); err != nil {
			t.Fatal(err)
		}
		if documents[name], err = json.Marshal(tree); err != nil {
			t.Fatal(err)
		}
	}
	systemOracle, dataOracle := oracle(t, manifest.SystemSchema()), oracle(t, manifest.DataSourceSchema())
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 500 {
		for name, document := range documents {
			var tree any
			if err := json.Unmarshal(document, &tree); err != nil {
				t.Fatal(err)
			}
			damage(random, tree)
			damaged, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			judge, system, others := dataOracle, documents["example-crm-system.json"], []manifest.Part{{Name: "x", Data: damaged}}
			if strings.HasSuffix(name, "-system.json") {
				judge, system, others = systemOracle, damaged, nil
			}
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(damaged))
			if err != nil {
				t.Fatal(err)
			}
			if judge.Validate(value) == nil {
				continue
			}
			refused++
			faults := manifest.Validate(manifest.Parse(manifest.Part{Name: "system", Data: system}, others), manifest.Policy{})
			if !slices.ContainsFunc(faults, func(f manifest.Fault) bool {
				return f.Severity == manifest.Error && slices.Contains(structural, f.Code)
			}) {
				t.Fatalf("the schema refuses\n%s\nand the checker says\n%s", damaged, list(faults))
			}
		}
	}
	if refused < 400 {
		t.Errorf("only %d damages were refused", refused)
	}
}

// damage changes one value, somewhere below v.
func damage(random *rand.Rand, v any) {
	replacements := []any{nil, true, "", "x", "-", float64(-1), 1.5, float64(1 << 40), []any{}, []any{"a", "a"}, object{}, object{"x": "y"}, strings.Repeat("x", 300)}
	pick := func() any { return replacements[random.IntN(len(replacements))] }
	switch x := v.(type) {
	case object:
		keys := slices.Sorted(maps.Keys(x))
		if len(keys) == 0 {
			x["extra"] = pick()
			return
		}
		key := keys[random.IntN(len(keys))]
		switch random.IntN(6) {
		case 0:
			delete(x, key)
		case 1:
			x[strings.ToUpper(key)] = x[key]
		case 2:
			x[key] = pick()
		default:
			switch x[key].(type) {
			case object, []any:
				damage(random, x[key])
			default:
				x[key] = pick()
			}
		}
	case []any:
		if len(x) > 0 {
			i := random.IntN(len(x))
			if _, scalar := x[i].(string); scalar || random.IntN(4) == 0 {
				x[i] = pick()
			} else {
				damage(random, x[i])
			}
		}
	}
}

// A document without faults of shape is one that the schemas accept.
func TestTheSchemasAcceptTheExample(t *testing.T) {
	b := load(t, checkout(t, nil))
	var parts struct {
		System      json.RawMessage   `json:"system"`
		DataSources []json.RawMessage `json:"dataSources"`
	}
	if err := json.Unmarshal(b.Document(), &parts); err != nil {
		t.Fatal(err)
	}
	accept := func(judge *jsonschema.Schema, text []byte) {
		t.Helper()
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := judge.Validate(value); err != nil {
			t.Error(err)
		}
	}
	accept(oracle(t, manifest.SystemSchema()), parts.System)
	for _, d := range parts.DataSources {
		accept(oracle(t, manifest.DataSourceSchema()), d)
	}
}
