package document_test

import (
	"bytes"
	"strings"
	"testing"

	"claviger/internal/document"
)

func TestYAMLAndJSONBecomeTheSameTree(t *testing.T) {
	canonical := func(name, text string) string {
		t.Helper()
		root, fault := document.Read(name, []byte(text))
		if fault != nil {
			t.Fatal(fault)
		}
		root.Sort()
		return string(root.AppendJSON(nil))
	}
	const want = `{"a":[1,2.5,true,null,"x"],"b":{"c":"yes"}}`
	for name, text := range map[string]string{
		"a.yaml": "b:\n  c: \"yes\"\na: [1, 2.50, true, null, x]\n",
		"a.json": `{"b": {"c": "yes"}, "a": [1.0, 2.5, true, null, "x"]}`,
		"":       `{"a": [1e0, 25e-1, true, null, "x"], "b": {"c": "yes"}}`,
	} {
		if got := canonical(name, text); got != want {
			t.Errorf("%q: %s", name, got)
		}
	}
}

func TestPlacesAreThoseOfTheText(t *testing.T) {
	for name, text := range map[string]string{"a.json": "{\n  \"k\": {\"inner\": 7}\n}", "a.yaml": "\n\"k\" : {inner: 7}"} {
		root, fault := document.Read(name, []byte(text))
		if fault != nil {
			t.Fatal(fault)
		}
		member := root.Members[0]
		inner := member.Value.Get("inner")
		lines := bytes.Split([]byte(text), []byte("\n"))
		if got := lines[member.Line-1][member.Column-1 : member.Column+2]; string(got) != `"k"` {
			t.Errorf("%s: the key is at %q", name, got)
		}
		if got := lines[inner.Line-1][inner.Column-1]; got != '7' {
			t.Errorf("%s: the value is at %q", name, got)
		}
	}
}

func TestBoundsOfWhatPeopleAndTheProgramWrite(t *testing.T) {
	list := func(n int) []byte { return []byte("[" + strings.Repeat("1,", n-2) + "1]") } // n values, itself among them
	text := func(n int) []byte { return []byte(`"` + strings.Repeat("x", n-2) + `"`) }
	for _, x := range []struct {
		what              string
		data              []byte
		people, generated bool
	}{
		{"10,000 values", list(10_000), true, true},
		{"10,001 values", list(10_001), false, true},
		{"160,000 values", list(160_000), false, true},
		{"160,001 values", list(160_001), false, false},
		{"256 KiB", text(256 << 10), true, true},
		{"a byte more", text(256<<10 + 1), false, true},
		{"more than 4 MiB", text(4<<20 + 1), false, false},
	} {
		if _, fault := document.Read("a.json", x.data); (fault == nil) != x.people {
			t.Errorf("%s, written by people: %v", x.what, fault)
		} else if fault != nil && (fault.Code != document.CodeLimit || fault.Line != 1) {
			t.Errorf("%s: %+v", x.what, fault)
		}
		if _, fault := document.ReadGenerated("a.json", x.data); (fault == nil) != x.generated {
			t.Errorf("%s, generated: %v", x.what, fault)
		}
	}
}

// FuzzRead: what is read has a canonical form that is a fixed point in both formats.
func FuzzRead(f *testing.F) {
	f.Add([]byte("a: [1, {b: c}]\n"))
	f.Add([]byte(`{"a":"\u0041\n","b":-0.0,"c":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		root, fault := document.Read("", data)
		if fault != nil {
			if fault.Message == "" || fault.Line < 0 || root != nil {
				t.Fatalf("%+v", fault)
			}
			return
		}
		root.Sort()
		canonical := root.AppendJSON(nil)
		for _, name := range []string{"a.json", "a.yaml"} {
			again, fault := document.Read(name, canonical)
			if fault != nil {
				if fault.Code == document.CodeLimit || name == "a.yaml" {
					continue // escapes make it longer, and YAML has other words for some of JSON's
				}
				t.Fatalf("%s of %q: %v", name, canonical, fault)
			}
			if again.Sort(); !bytes.Equal(again.AppendJSON(nil), canonical) {
				t.Fatalf("%s: %q became %q", name, canonical, again.AppendJSON(nil))
			}
		}
	})
}
