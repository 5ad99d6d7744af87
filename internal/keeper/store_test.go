package keeper

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"claviger"
)

const (
	home  claviger.OrganizationID = "org_01h2xcejqtf2nbrexx3vqjhp41"
	other claviger.OrganizationID = "org_01h2xcejqtf2nbrexx3vqjhp42"
)

func options(env map[string]string) Options {
	return Options{
		Home: home, Now: time.Now,
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}
}

func open(t *testing.T, spec string, o Options) Store {
	t.Helper()
	s, err := OpenStore(spec, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func want(t *testing.T, s Store, org claviger.OrganizationID, path, value string) (version string) {
	t.Helper()
	got, version, err := s.Get(t.Context(), org, path)
	if err != nil || reveal(got) != value || version == "" {
		t.Fatalf("%s: %q, version %q, %v; want %q", path, reveal(got), version, err, value)
	}
	return version
}

func wantMissing(t *testing.T, s Store, org claviger.OrganizationID, path string) {
	t.Helper()
	got, _, err := s.Get(t.Context(), org, path)
	var e *claviger.Error
	if !errors.As(err, &e) || e.Kind != claviger.KindReauthorize || e.FineCode() != "secret_missing" || e.Path != "kv://"+path || !got.Empty() {
		t.Fatalf("%s: %v; want secret_missing", path, err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEnvStore(t *testing.T) {
	env := map[string]string{
		"CLAVIGER_SECRET_SHARED__ACME__API_DASH_KEY": "v1", "CLAVIGER_SECRET_SHARED__EMPTY": "", "VAULT_SHARED__KEY": "v2", "PATH": "/bin", "CLAVIGER_SECRET_PATH": "x",
		"CLAVIGER_SECRET_ORGANIZATIONS__" + strings.ToUpper(string(other)) + "__SHARED__KEY": "theirs",
	}
	s := open(t, "env:", options(env))
	want(t, s, home, "shared/acme/api-key", "v1")
	env["CLAVIGER_SECRET_SHARED__ACME__API_DASH_KEY"] = "v3"
	want(t, s, home, "shared/acme/api-key", "v3")
	want(t, open(t, "env:VAULT_", options(env)), home, "shared/key", "v2")
	want(t, s, other, "shared/key", "theirs")
	for _, path := range []string{"shared/empty", "shared/absent"} {
		wantMissing(t, s, home, path)
	}
	wantMissing(t, s, home, "organizations/"+string(other)+"/shared/key")
	wantMissing(t, s, other, "shared/acme/api-key")
	for _, path := range []string{"shared/Key", "shared/a__b", "shared/a-_b", "shared/a-dash-b", "shared/dot", "shared/a_", "shared/a-"} {
		if _, _, err := s.Get(t.Context(), home, path); claviger.AsError(err).FineCode() != "ambiguous_secret_path" {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestEnvNameIsInjective reads names back: two paths with one name could not both
// come back.
func TestEnvNameIsInjective(t *testing.T) {
	segment := rapid.StringMatching(`[a-c]([._-]?([a-c]|dash|dot|_))*`)
	rapid.Check(t, func(t *rapid.T) {
		path := strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(t, "path"), "/")
		name, err := EnvName(path)
		if err != nil {
			return
		}
		var back strings.Builder
		for i, part := range strings.Split(name, "__") {
			if i > 0 {
				back.WriteByte('/')
			}
			words := strings.Split(part, "_")
			for j := 0; j < len(words); j++ {
				switch {
				case j == 0:
				case words[j] == "DASH":
					back.WriteByte('-')
					j++
				case words[j] == "DOT":
					back.WriteByte('.')
					j++
				default:
					back.WriteByte('_')
				}
				back.WriteString(strings.ToLower(words[j]))
			}
		}
		if back.String() != path {
			t.Fatalf("%s is %s, which reads as %s", path, name, back.String())
		}
	})
}

func TestAbuse_268_StoresStayInside(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "outside"), "outside")
	store := filepath.Join(dir, "store")
	write(t, filepath.Join(store, "shared", "key"), "mine\n")
	write(t, filepath.Join(store, "organizations", string(other), "shared", "key"), "theirs")
	write(t, filepath.Join(store, "organizations", string(home), "shared", "key"), "never")
	if err := os.Symlink("../../outside", filepath.Join(store, "shared", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "outside"), filepath.Join(store, "shared", "absolute")); err != nil {
		t.Fatal(err)
	}
	yaml := filepath.Join(dir, "store.yaml")
	write(t, yaml, "shared: {key: mine}\norganizations/"+string(other)+"/shared/key: theirs\n")
	env := map[string]string{
		"CLAVIGER_SECRET_SHARED__KEY": "mine",
		"CLAVIGER_SECRET_ORGANIZATIONS__" + strings.ToUpper(string(other)) + "__SHARED__KEY": "theirs",
	}
	for spec, s := range map[string]Store{
		"folder": open(t, "file:"+store, options(nil)), "yaml": open(t, "file:"+yaml, options(nil)), "env": open(t, "env:", options(env)),
	} {
		t.Run(spec, func(t *testing.T) {
			want(t, s, home, "shared/key", "mine")
			want(t, s, other, "shared/key", "theirs")
			for _, path := range []string{
				"../outside", "shared/../../outside", "/shared/key", "shared/key/", "shared//key", "shared/./key", "shared/%6bey", "shared/*", "shared", "", "shared/key\x00",
				"shared\\key", strings.Repeat("a/", 200) + "b",
			} {
				for _, org := range []claviger.OrganizationID{home, other} {
					if got, _, err := s.Get(t.Context(), org, path); !claviger.IsKind(err, claviger.KindInvalid) || !got.Empty() {
						t.Errorf("%q: %v", path, err)
					}
				}
			}
			for _, path := range []string{
				"organizations/" + string(other) + "/shared/key", "Organizations/" + string(other) + "/shared/key", "organizations/" + string(home) + "/shared/key",
			} {
				for _, org := range []claviger.OrganizationID{home, other} {
					if got, _, err := s.Get(t.Context(), org, path); err == nil || !got.Empty() {
						t.Errorf("%s read %s", org, path)
					}
				}
			}
			for _, org := range []claviger.OrganizationID{"", "org_x", "..", "../shared", "org_01h2xcejqtf2nbrexx3vqjhp4/"} {
				wantMissing(t, s, org, "shared/key")
			}
		})
	}
	s := open(t, "file:"+store, options(nil))
	for _, path := range []string{"shared/link", "shared/absolute"} {
		if got, _, err := s.Get(t.Context(), home, path); !claviger.IsKind(err, claviger.KindUnavailable) || !got.Empty() {
			t.Errorf("%s left the folder: %v", path, err)
		}
	}
}

func TestFolderStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, "file://"+dir, options(nil))
	path := filepath.Join(dir, "shared", "key")
	for text, value := range map[string]string{"v\n": "v", "v\r\n": "v", "v": "v", "v\n\n": "v\n", " v ": " v ", "a\nb\n": "a\nb"} {
		write(t, path, text)
		want(t, s, home, "shared/key", value)
	}
	write(t, path, "old")
	first := want(t, s, home, "shared/key", "old")
	write(t, path, "newer")
	if second := want(t, s, home, "shared/key", "newer"); second == first {
		t.Errorf("a changed value kept version %q", first)
	}
	for _, text := range []string{"", "\n", "\r\n"} {
		write(t, path, text)
		wantMissing(t, s, home, "shared/key")
	}
	wantMissing(t, s, home, "shared/absent")
	wantMissing(t, s, home, "absent/key")
	write(t, path, strings.Repeat("x", maxValue))
	want(t, s, home, "shared/key", strings.Repeat("x", maxValue))
	write(t, path, strings.Repeat("x", maxValue+1))
	if err := mkfifo(filepath.Join(dir, "shared", "fifo")); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"shared/key", "shared/fifo"} {
		if _, _, err := s.Get(t.Context(), home, bad); claviger.AsError(err).FineCode() != "secret_unavailable" {
			t.Errorf("%s: %v", bad, err)
		}
	}
	// The way orchestrators mount secrets: links inside the folder.
	write(t, filepath.Join(dir, "shared", "..data_1", "mounted"), "inside")
	if err := os.Symlink(filepath.Join("..data_1", "mounted"), filepath.Join(dir, "shared", "mounted")); err != nil {
		t.Fatal(err)
	}
	want(t, s, home, "shared/mounted", "inside")
}

func TestYAMLStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.yml")
	write(t, path, "shared:\n  acme:\n    key: v1\n    pin: 0123\n    flag: true\n  multi: |\n    a\n    b\nacme/flat/key: \"q\\\"x\"\n")
	now := time.Now().Add(time.Hour)
	o := options(nil)
	o.Now = func() time.Time { return now }
	s := open(t, "file:"+path, o)
	first := want(t, s, home, "shared/acme/key", "v1")
	want(t, s, home, "shared/acme/pin", "0123")
	want(t, s, home, "shared/acme/flag", "true")
	want(t, s, home, "shared/multi", "a\nb\n")
	want(t, s, home, "acme/flat/key", `q"x`)
	wantMissing(t, s, home, "shared/acme")
	wantMissing(t, s, home, "shared/other")
	write(t, path, "shared/acme/key: v22\n")
	if second := want(t, s, home, "shared/acme/key", "v22"); second == first {
		t.Error("a changed file kept its version")
	}
	wantMissing(t, s, home, "shared/acme/pin")
	write(t, path, "shared: [secretvalue\n")
	if _, _, err := s.Get(t.Context(), home, "shared/acme/key"); claviger.AsError(err).FineCode() != "secret_unavailable" || strings.Contains(err.Error(), "secretvalue") {
		t.Errorf("a broken file: %v", err)
	}
	write(t, path, "")
	wantMissing(t, s, home, "shared/acme/key")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(t.Context(), home, "shared/acme/key"); claviger.AsError(err).FineCode() != "secret_unavailable" {
		t.Errorf("a missing file: %v", err)
	}
}

// TestYAMLStoreSameTimeAndSize: file clocks are coarse, so a fresh file is read again
// even if it looks the same.
func TestYAMLStoreSameTimeAndSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.yaml")
	stamp := time.Now().Truncate(time.Second)
	o := options(nil)
	o.Now = func() time.Time { return stamp.Add(time.Second) }
	var s Store
	for i, value := range []string{"v1", "v2"} {
		write(t, path, "shared/key: "+value+"\n")
		if err := os.Chtimes(path, stamp, stamp); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			s = open(t, "file:"+path, o)
		}
		want(t, s, home, "shared/key", value)
	}
}

func TestYAMLRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.yaml")
	for name, text := range map[string]string{
		"list": "- sekret", "scalar": "sekret", "null": "shared/key: ~", "empty value": "shared/key: ''", "value list": "shared: {key: [sekret]}",
		"anchor": "shared/a: &x sekret\nshared/b: *x", "tag": "shared/a: !!binary c2VrcmV0", "merge": "base: {a/b: sekret}\n<<: {shared/x: sekret}",
		"one segment": "key: sekret", "traversal": "../x: sekret", "spaces": "shared/a b: sekret", "dots": "shared/..: sekret",
		"twice": "shared/a: sekret\nshared: {a: other}", "two documents": "shared/a: sekret\n---\nshared/b: x", "not YAML": "a: [sekret",
		"long": "shared/a: " + strings.Repeat("x", maxValue+1), "huge": strings.Repeat("# comment\n", 200_000), "deep": strings.Repeat("{a: ", 30) + "sekret" + strings.Repeat("}", 30),
		"bomb":   "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]",
		"tenant": "organizations/org_x/shared/key: sekret", "number key": "1: {2: {3: sekret}}\n? [a]\n: b",
	} {
		write(t, path, text)
		s, err := OpenStore("file:"+path, options(nil))
		var e *claviger.Error
		if s != nil || !errors.As(err, &e) || e.Kind != claviger.KindInvalid || e.Param != "secrets" || strings.Contains(err.Error(), "sekret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenStoreRefuses(t *testing.T) {
	for _, spec := range []string{"", "vault", "file:", "file:/does/not/exist", "env:lower", "env:A-B", "hashivault:x", "awssecrets:x", "ENV:"} {
		if s, err := OpenStore(spec, options(nil)); s != nil || !claviger.IsKind(err, claviger.KindInvalid) {
			t.Errorf("%q: %v", spec, err)
		}
	}
}

func FuzzParseYAML(f *testing.F) {
	for _, seed := range []string{"shared/key: v", "shared: {a: {b: c}}", "a: &x b\nc: *x", "? a\n: b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		values, err := parseYAML(text)
		if err != nil {
			var fault *faultError
			if !errors.As(err, &fault) {
				t.Fatalf("%v is no fault of the document", err)
			}
			return
		}
		for path, value := range values {
			if !storedPath(path) || value.Empty() {
				t.Fatalf("%q was accepted", path)
			}
		}
	})
}
