package manifest_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"claviger"
	"claviger/internal/manifest"
)

// testdata/repair.txtar has a case of each kind of repair: files of the system acme,
// named case/file, and the file case/want with the difference that the repair makes.
// The name of a case says the options: auth=METHOD, slots.
func TestRepair(t *testing.T) {
	const golden = "testdata/repair.txtar"
	archive, err := txtar.ParseFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]fstest.MapFS{}
	for _, f := range archive.Files {
		name, file, _ := strings.Cut(f.Name, "/")
		if cases[name] == nil {
			cases[name] = fstest.MapFS{}
		}
		if file != "want" {
			cases[name]["integration/acme/"+file] = &fstest.MapFile{Data: f.Data}
		}
	}
	for i := range archive.Files {
		want := &archive.Files[i]
		name, isWant := strings.CutSuffix(want.Name, "/want")
		if !isWant {
			continue
		}
		t.Run(name, func(t *testing.T) {
			b := loadAcme(t, cases[name])
			fixed, after := repair(t, b, cases[name], repairOptions(name))
			if got := fixed.Diff(); *update {
				want.Data = []byte(got)
			} else if got != string(want.Data) {
				t.Errorf("repaired by\n%s\nwant\n%s", got, want.Data)
			}
			if faults := manifest.Validate(after, manifest.Policy{}); !manifest.Valid(faults) {
				t.Errorf("after the repair there are faults:\n%s", list(faults))
			}
			if again, _ := repair(t, after, cases[name], repairOptions(name)); again.Diff() != "" {
				t.Errorf("a second repair changes\n%s", again.Diff())
			}
		})
	}
	if *update {
		if err := os.WriteFile(golden, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func repairOptions(name string) manifest.RepairOptions {
	var opts manifest.RepairOptions
	for word := range strings.FieldsSeq(name) {
		if method, ok := strings.CutPrefix(word, "auth="); ok {
			opts.Auth = manifest.Method(method)
		}
		opts.Slots = opts.Slots || word == "slots"
	}
	return opts
}

func loadAcme(t testing.TB, fsys fstest.MapFS) *manifest.Bundle {
	t.Helper()
	b, err := manifest.Load(fsys, "acme")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// repair answers a repair, and the system as it is afterwards; fsys is changed.
func repair(t testing.TB, b *manifest.Bundle, fsys fstest.MapFS, opts manifest.RepairOptions) (*manifest.Repaired, *manifest.Bundle) {
	t.Helper()
	fixed, err := manifest.Repair(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fixed.Files {
		fsys[f.Name] = &fstest.MapFile{Data: f.New}
	}
	return fixed, loadAcme(t, fsys)
}

func TestRepairKeepsTheLineEnds(t *testing.T) {
	const env = "# ours\nA=kv://acme/apiKey" // without a last line's end
	for name, text := range map[string]string{
		"acme-system.yaml": "# Acme\nkey: acme\ndisplayName: Acme\ntype: custom\nauthentication: # a key\n  method: apikey\n  variables: {baseUrl: \"https://api.acme.example\"}\n  security:\n    apiKey: kv://acme/apiKey\ntags:\n  - a\n",
		"acme-system.json": "{\n\t\"key\": \"acme\",\n\t\"displayName\": \"Acme\",\n\t\"type\": \"custom\",\n\t\"authentication\": {\"method\": \"apikey\", \"variables\": {\"baseUrl\": \"https://api.acme.example\"},\n\t\t\"security\": {\"apiKey\": \"kv://acme/apiKey\"}}\n}",
	} {
		t.Run(name, func(t *testing.T) {
			mended := map[string]string{}
			for _, end := range []string{"\n", "\r\n"} {
				fsys := fstest.MapFS{}
				for file, text := range map[string]string{name: text, "env.template": env} {
					fsys["integration/acme/"+file] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, "\n", end))}
				}
				b := loadAcme(t, fsys)
				fixed, after := repair(t, b, fsys, manifest.RepairOptions{Slots: true})
				if len(fixed.Files) != 2 || !manifest.Valid(manifest.Validate(after, manifest.Policy{})) {
					t.Fatalf("%d files, and then %s", len(fixed.Files), list(manifest.Validate(after, manifest.Policy{})))
				}
				predicted, _ := fixed.After(b).Env()
				if env, _ := after.Env(); fixed.After(b).Contract() != after.Contract() || !slices.Equal(predicted, env) {
					t.Error("the repair says that it leaves something else than it does")
				}
				for _, f := range fixed.Files {
					mended[f.Name+end] = string(f.New)
				}
			}
			for _, file := range []string{name, "env.template"} {
				file = "integration/acme/" + file
				if want := strings.ReplaceAll(mended[file+"\n"], "\n", "\r\n"); mended[file+"\r\n"] != want {
					t.Errorf("of a file with CRLF it makes\n%q\nwant\n%q", mended[file+"\r\n"], want)
				}
			}
		})
	}
}

func TestRepairRefusesWhatItCannotMend(t *testing.T) {
	for name, c := range map[string]struct {
		system string
		auth   manifest.Method
	}{
		"not well-formed":           {`{"key":"acme",`, ""},
		"no key":                    {`{"displayName":"Acme"}`, ""},
		"a list":                    {`[]`, ""},
		"a method that only checks": {`{"key":"acme"}`, "hmac"},
		"no method":                 {`{"key":"acme"}`, "password"},
	} {
		_, err := manifest.Repair(manifest.Parse(manifest.Part{Name: "acme-system.json", Data: []byte(c.system)}, nil), manifest.RepairOptions{Auth: c.auth})
		if !claviger.IsKind(err, claviger.KindInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRepair: a repair never makes a manifest worse, keeps all that is not about
// slots, and needs no second one.
func FuzzRepair(f *testing.F) {
	archive, err := txtar.ParseFile("testdata/repair.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		if strings.Contains(file.Name, "-system.") {
			f.Add(file.Data, strings.HasSuffix(file.Name, ".json"), true, "apikey")
			f.Add(file.Data, strings.HasSuffix(file.Name, ".json"), false, "oauth2")
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, isJSON, slots bool, auth string) {
		name := "acme-system.yaml"
		if isJSON {
			name = "acme-system.json"
		}
		before := manifest.Parse(manifest.Part{Name: name, Data: data}, nil)
		fixed, err := manifest.Repair(before, manifest.RepairOptions{Auth: manifest.Method(auth), Slots: slots})
		if err != nil {
			if !claviger.IsKind(err, claviger.KindInvalid) {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(fixed.Files) == 0 {
			return
		}
		after := manifest.Parse(manifest.Part{Name: name, Data: fixed.Files[0].New}, nil)
		if after.SystemDocument() == nil {
			t.Fatalf("the repair of\n%s\nis not well-formed:\n%s", data, fixed.Files[0].New)
		}
		if again, err := manifest.Repair(after, manifest.RepairOptions{Auth: manifest.Method(auth), Slots: slots}); err != nil || again.Diff() != "" {
			t.Fatalf("a second repair: %v\n%s", err, again.Diff())
		}
		if was, is := errorsIn(before), errorsIn(after); is > was+requiredOf(auth) {
			t.Fatalf("%d errors became %d:\n%s", was, is, fixed.Diff())
		}
	})
}

func errorsIn(b *manifest.Bundle) int {
	n := 0
	for _, f := range manifest.Validate(b, manifest.Policy{}) {
		if f.Severity == manifest.Error {
			n++
		}
	}
	return n
}

// requiredOf is how many variables a method may need that nothing tells: addresses,
// in the default slot and in a background slot made like it.
func requiredOf(auth string) int {
	if auth == "oauth2" || auth == "aad" {
		return 4
	}
	return 2
}
