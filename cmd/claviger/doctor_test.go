package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest"
	"claviger/internal/app"
)

// sound is an instance in good order, that has been used and stopped.
type sound struct {
	settings app.Settings
	patient  patient
	folder   string // of what is kept apart from the data
	binary   string
}

func newSound(t *testing.T) *sound {
	t.Helper()
	apart := t.TempDir()
	s := clavigertest.Start(t, clavigertest.Options{MasterKey: "file:" + filepath.Join(apart, "master.key")})
	s.Stop()
	x := &sound{settings: s.Settings, folder: apart, binary: filepath.Join(apart, "claviger")}
	x.settings.Addr, x.settings.AdminAddr, x.settings.PublicURL = "127.0.0.1:8787", "127.0.0.1:8788", "https://claviger.example"
	x.settings.LedgerAnchor = filepath.Join(apart, "anchor.jsonl")
	if err := os.Rename(filepath.Join(s.Settings.Data, "ledger-anchor.jsonl"), x.settings.LedgerAnchor); err != nil {
		t.Fatal(err)
	}
	put(t, x.binary, "program", 0o755)
	put(t, filepath.Join(apart, "status"), "CapEff:\t0000000000000000\n", 0o644)
	chmod(t, apart, 0o700)
	chmod(t, s.Settings.Data, 0o700)
	p, _ := newShell(t).program("")
	x.patient = patient{
		program: p, euid: 1000, binary: x.binary, statuses: apart, now: time.Now, system: "linux",
		owner: func(fs.FileInfo) (int, bool) { return 1000, true },
	}
	return x
}

// examined answers what is found after a fault was seeded.
func (x *sound) examined(t *testing.T, seed func(*app.Settings, *patient)) map[string]examined {
	t.Helper()
	s, p := x.settings, x.patient
	seed(&s, &p)
	p.Inspection = app.Inspect(t.Context(), s)
	out := map[string]examined{}
	for _, c := range p.examine(t.Context(), true).Checks {
		if c.Result == resultWarning || c.Result == resultFailed {
			out[c.ID] = c
		}
	}
	return out
}

func put(t *testing.T, path, content string, mode fs.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	chmod(t, path, mode)
	return path
}

// chmod changes a mode until the test ends.
func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(path, info.Mode()) })
}

// moved puts a file away until the test ends.
func moved(t *testing.T, path string) {
	t.Helper()
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Rename(path+".away", path) })
}

func variable(name, value string) func(*testing.T, *sound, *app.Settings, *patient) {
	return func(_ *testing.T, _ *sound, _ *app.Settings, p *patient) {
		p.environ = append(p.environ, name+"="+value)
	}
}

func setting(set func(*app.Settings)) func(*testing.T, *sound, *app.Settings, *patient) {
	return func(_ *testing.T, _ *sound, s *app.Settings, _ *patient) { set(s) }
}

func mode(file func(*sound) string, m fs.FileMode) func(*testing.T, *sound, *app.Settings, *patient) {
	return func(t *testing.T, x *sound, _ *app.Settings, _ *patient) { chmod(t, file(x), m) }
}

// configured gives the patient a settings file and what can be read of it.
func configured(t *testing.T, x *sound, p *patient, content string, m fs.FileMode) {
	t.Helper()
	p.file = put(t, filepath.Join(x.folder, "claviger.yaml"), content, m)
	_, p.unset = app.LoadSettings(nil, nil, p.file)
}

func key(x *sound) string      { return filepath.Join(x.folder, "master.key") }
func data(x *sound) string     { return x.settings.Data }
func database(x *sound) string { return strings.TrimPrefix(x.settings.DatabaseURL, "sqlite:") }
func anchor(x *sound) string   { return x.settings.LedgerAnchor }

func TestAbuse_281_285_SeededFaultsAreFound(t *testing.T) {
	x := newSound(t)
	if found := x.examined(t, func(*app.Settings, *patient) {}); len(found) != 0 {
		t.Fatalf("an instance in good order has %+v", found)
	}
	inline := "base64key:" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	seeds := map[string]struct {
		id   string
		seed func(*testing.T, *sound, *app.Settings, *patient)
	}{
		"misspelt variable": {"settings.valid", func(_ *testing.T, _ *sound, _ *app.Settings, p *patient) {
			_, p.unset = app.LoadSettings(nil, []string{"CLAVIGER_MASTERKEY=file:/x"}, "")
		}},
		"misspelt key in the file": {"settings.valid", func(t *testing.T, x *sound, _ *app.Settings, p *patient) {
			configured(t, x, p, "egress.allowed: x\n", 0o600)
		}},
		"settings file others write": {"settings.file", func(t *testing.T, x *sound, _ *app.Settings, p *patient) {
			configured(t, x, p, "log.level: info\n", 0o666)
		}},
		"master key in the file": {"settings.secret_in_file", func(t *testing.T, x *sound, s *app.Settings, p *patient) {
			configured(t, x, p, "master.key: "+inline+"\n", 0o600)
			s.MasterKey = claviger.NewSecretString(inline)
		}},
		"bootstrap secret in the file": {"settings.secret_in_file", func(t *testing.T, x *sound, _ *app.Settings, p *patient) {
			configured(t, x, p, "bootstrap.client.secret: 0123456789012345678901234567890123\n", 0o600)
		}},
		"master key in the environment": {"settings.secret_in_environment", variable("CLAVIGER_MASTER_KEY", inline)},
		"bootstrap secret left":         {"settings.bootstrap", variable("CLAVIGER_BOOTSTRAP_CLIENT_SECRET", strings.Repeat("x", 40))},
		"relaxed ledger":                {"ledger.mode", setting(func(s *app.Settings) { s.LedgerMode = "relaxed" })},
		"debug log":                     {"log.level", setting(func(s *app.Settings) { s.LogLevel = "DEBUG" })},
		"TLS keys written out":          {"debug.environment", variable("SSLKEYLOGFILE", "/tmp/keys")},
		"crash marks":                   {"debug.environment", variable("CLAVIGER_FAILPOINT", "x")},
		"core dumps":                    {"debug.environment", variable("GOTRACEBACK", "crash")},
		"weakened TLS":                  {"debug.environment", variable("GODEBUG", "madvdontneed=1,tlsrsakex=1")},
		"root":                          {"process.root", func(_ *testing.T, _ *sound, _ *app.Settings, p *patient) { p.euid = 0 }},
		"instrumented build": {"process.build", func(_ *testing.T, _ *sound, _ *app.Settings, p *patient) {
			p.build = []debug.BuildSetting{{Key: "-tags", Value: "x,failpoints"}}
		}},
		"capabilities": {"process.capabilities", func(t *testing.T, x *sound, _ *app.Settings, p *patient) {
			p.statuses = t.TempDir()
			put(t, p.statuses+"/status", "CapEff:\t0000000000000c00\n", 0o600)
		}},
		"program others write":          {"binary.writable", mode(func(x *sound) string { return x.binary }, 0o775)},
		"program's folder others write": {"binary.writable", mode(func(x *sound) string { return x.folder }, 0o777)},
		"data folder others read":       {"data.folder", mode(data, 0o755)},
		"data folder of another": {"data.folder", func(_ *testing.T, _ *sound, _ *app.Settings, p *patient) {
			p.owner = func(fs.FileInfo) (int, bool) { return 4242, true }
		}},
		"database others read":   {"database.file", mode(database, 0o644)},
		"master key others read": {"masterkey.usable", mode(key, 0o640)},
		"master key gone":        {"masterkey.usable", func(t *testing.T, x *sound, _ *app.Settings, _ *patient) { moved(t, key(x)) }},
		"master key cut short": {"masterkey.usable", func(t *testing.T, x *sound, s *app.Settings, _ *patient) {
			s.MasterKey = claviger.NewSecretString("file:" + put(t, x.folder+"/short.key", "abc", 0o600))
		}},
		"master key behind a link": {"masterkey.usable", linkedKey},
		"master key beside the database": {"masterkey.beside_database", func(t *testing.T, x *sound, s *app.Settings, _ *patient) {
			b, err := os.ReadFile(key(x))
			if err != nil {
				t.Fatal(err)
			}
			s.MasterKey = claviger.NewSecretString("file:" + put(t, filepath.Join(x.settings.Data, "own.key"), string(b), 0o600))
		}},
		"anchor gone":         {"ledger.anchor", func(t *testing.T, x *sound, _ *app.Settings, _ *patient) { moved(t, anchor(x)) }},
		"anchor emptied":      {"ledger.anchor", setting(func(s *app.Settings) { s.LedgerAnchor = os.DevNull })},
		"anchor others write": {"ledger.anchor_file", mode(anchor, 0o666)},
		"anchor beside the database": {"ledger.anchor_beside_database", func(t *testing.T, x *sound, s *app.Settings, _ *patient) {
			s.LedgerAnchor = put(t, filepath.Join(x.settings.Data, "a.jsonl"), "{}\n", 0o600)
		}},
		"secret files others read": {"secrets.files", func(t *testing.T, x *sound, s *app.Settings, _ *patient) {
			s.Secrets = "file:" + t.TempDir()
			put(t, s.Secrets[5:]+"/a", "v", 0o644)
		}},
		"connectors others write": {"connectors.folder", func(t *testing.T, _ *sound, s *app.Settings, _ *patient) {
			s.ConnectorsDir = t.TempDir()
			put(t, s.ConnectorsDir+"/a.yaml", "", 0o666)
		}},
		"API in the open":            {"listen.plain", setting(func(s *app.Settings) { s.Addr, s.PublicURL = "0.0.0.0:8787", "http://claviger.example" })},
		"admin in the open":          {"listen.admin", setting(func(s *app.Settings) { s.AdminAddr = ":8788" })},
		"one port for both":          {"listen.apart", setting(func(s *app.Settings) { s.AdminAddr = "127.0.0.1:8787" })},
		"plain public address":       {"public_url.plain", setting(func(s *app.Settings) { s.PublicURL = "http://claviger.example" })},
		"database in the clear":      {"database.transport", setting(func(s *app.Settings) { s.DatabaseURL = "postgres://u@192.0.2.1:1/db?connect_timeout=1" })},
		"database password shown":    {"database.password", func(_ *testing.T, _ *sound, _ *app.Settings, p *patient) { p.flagged = "postgres://u:p@127.0.0.1/db" }},
		"everybody a proxy":          {"proxies.trusted", setting(func(s *app.Settings) { s.TrustedProxies = "10.0.0.0/8,0.0.0.0/0" })},
		"egress to everywhere":       {"egress.wide", setting(func(s *app.Settings) { s.EgressAllow = "::/0" })},
		"egress to metadata":         {"egress.metadata", setting(func(s *app.Settings) { s.EgressAllow = "169.254.0.0/16" })},
		"egress to metadata by name": {"egress.metadata", setting(func(s *app.Settings) { s.EgressAllow = "metadata.google.internal" })},
		"egress to this machine":     {"egress.loopback", setting(func(s *app.Settings) { s.EgressAllow = "vendor.internal, 127.0.0.1" })},
		"egress to itself":           {"egress.self", setting(func(s *app.Settings) { s.EgressAllow = "localhost:8788" })},
		"egress to all of com":       {"egress.names", setting(func(s *app.Settings) { s.EgressAllow = "*.com" })},
		"login others read":          {"client.login", strangeLogin},
		"plain address of a server":  {"client.address", variable("CLAVIGER_URL", "http://claviger.example")},
	}
	if len(seeds) < 30 {
		t.Fatalf("only %d faults are seeded", len(seeds))
	}
	seeded := map[string]bool{}
	for name, seed := range seeds {
		seeded[seed.id] = true
		t.Run(name, func(t *testing.T) {
			found := x.examined(t, func(s *app.Settings, p *patient) { seed.seed(t, x, s, p) })
			got, ok := found[seed.id]
			if !ok || len(got.Found) == 0 || got.Fix == "" {
				t.Errorf("%s did not find it; found %+v", seed.id, found)
			}
			if strings.Contains(fmt.Sprint(found), inline) {
				t.Error("a secret is shown")
			}
		})
	}
	for _, c := range allChecks() {
		server := strings.HasPrefix(c.id, "client.key") // with a server, below
		if c.security && !seeded[c.id] && !server {
			t.Errorf("nothing is seeded for %s", c.id)
		}
	}
}

func linkedKey(t *testing.T, x *sound, s *app.Settings, _ *patient) {
	link := filepath.Join(t.TempDir(), "key")
	if err := os.Symlink(key(x), link); err != nil {
		t.Fatal(err)
	}
	s.MasterKey = claviger.NewSecretString("file:" + link)
}

func strangeLogin(t *testing.T, _ *sound, _ *app.Settings, p *patient) {
	path, err := p.program.configPath()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, path, "url: https://claviger.example\n", 0o644)
	t.Cleanup(func() { _ = os.Remove(path) })
}

func TestDoctorLooksAtTheServer(t *testing.T) {
	s, late := clavigertest.Start(t, clavigertest.Options{}), newLate(t)
	look := func(url, key string, now time.Time) map[string]string {
		sh := newShell(t)
		sh.env["CLAVIGER_URL"], sh.env["CLAVIGER_API_KEY"] = url, key
		p, _ := sh.program("")
		x := &patient{program: p, now: func() time.Time { return now }, owner: ownerOf}
		out := map[string]string{}
		for _, c := range serverChecks() {
			found, err := c.look(t.Context(), x)
			out[c.id] = fmt.Sprint(found, err)
		}
		return out
	}
	got := look(s.URL, s.Key, time.Now())
	for id, want := range map[string]string{"server.ready": "[] <nil>", "server.clock": "[] <nil>", "client.key_ends": "never expires", "client.key_rights": "everything on the instance"} {
		if !strings.Contains(got[id], want) {
			t.Errorf("%s: %s", id, got[id])
		}
	}
	got = look(s.URL, s.Key, time.Now().Add(time.Hour))
	if !strings.Contains(got["server.clock"], "1h0m") {
		t.Error(got)
	}
	if got = look(late.URL, s.Key, time.Now()); !strings.Contains(got["server.ready"], "database_unavailable") {
		t.Error(got)
	}
	if got = look("http://127.0.0.1:1", s.Key, time.Now()); !strings.Contains(got["server.ready"], "could not be reached") {
		t.Error(got)
	}
}

// newLate is a server whose database is away.
func newLate(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"status":"database_unavailable"}`))
	}))
	t.Cleanup(s.Close)
	return s
}

func TestSchemaOfAnotherVersion(t *testing.T) {
	x := newSound(t)
	for _, applied := range []int64{1, 1 << 40} {
		p := x.patient
		p.Inspection = app.Inspect(t.Context(), x.settings)
		if found, err := lookSchema(t.Context(), &p); len(found) != 0 || err != nil {
			t.Fatal(found, err)
		}
		p.Applied = applied
		if found, err := lookSchema(t.Context(), &p); len(found) != 1 || err != nil {
			t.Errorf("schema %d: %v %v", applied, found, err)
		}
	}
}

func TestEveryCheckIsDescribedOnce(t *testing.T) {
	var ids []string
	page, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range allChecks() {
		if slices.Contains(ids, c.id) || c.what == "" || c.fix == "" || c.look == nil {
			t.Errorf("%+v", c)
		}
		ids = append(ids, c.id)
		if !strings.Contains(string(page), "| `"+c.id+"` | "+c.what+" |") {
			t.Errorf("docs/doctor.md lacks: | `%s` | %s |", c.id, c.what)
		}
	}
}

func TestDoctorOnAnEmptyMachine(t *testing.T) {
	away := filepath.Join(t.TempDir(), "away")
	code, stdout, _ := newShell(t).run("", "doctor", "--json", "--data", away)
	var d diagnosis
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatal(err, stdout)
	}
	for _, c := range d.Checks {
		if strings.HasPrefix(c.ID, "database.") && c.Result != resultSkipped {
			t.Errorf("%+v", c)
		}
	}
	if (code == exitFailure) != (d.Result == resultFailed) || code > exitFailure {
		t.Errorf("exit %d, %s", code, d.Result)
	}
	if _, err := os.Stat(away); err == nil {
		t.Error("doctor made the folder")
	}
	code, stdout, _ = newShell(t).run("", "doctor", "--data", away, "--admin-addr", "0.0.0.0:1")
	if code != exitFailure || !strings.Contains(stdout, "failed  listen.admin\n    admin.addr is 0.0.0.0:1\n    -> Set admin.addr") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	if code, stdout, _ := newShell(t).run("", "doctor", "--strict", "--security", "--data", away, "--ledger-mode", "relaxed"); code != exitFailure {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

// An instance that runs for the first time has its anchor already.
func TestTheAnchorIsThereFromTheFirstStart(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	p := &patient{Inspection: app.Inspect(t.Context(), s.Settings)}
	if found, err := lookAnchor(t.Context(), p); len(found) != 0 || err != nil {
		t.Errorf("%v %v", found, err)
	}
}
