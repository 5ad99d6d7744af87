package clavigertest_test

import (
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/internal/app"
)

// randomKey answers a master key as its URL.
func randomKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return "base64key:" + base64.StdEncoding.EncodeToString(key)
}

func TestAbuse_214_WithoutTheMasterKeyNothingStarts(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		v := acme.Start(t, "ak_kept_secret")
		first := clavigertest.Start(t, clavigertest.Options{Engine: engine, EgressAllow: v.Addr()})
		id := first.Connect(t, v, "acme", "key", map[string]string{"apiKey": "ak_kept_secret"})
		first.Stop()
		right := first.Options()

		wrong := right
		wrong.MasterKey = randomKey()
		if err := clavigertest.TryStart(t, wrong); err == nil || !strings.Contains(err.Error(), "not the key that the database was sealed under") {
			t.Errorf("another key: %v", err)
		} else if _, secret, _ := strings.Cut(wrong.MasterKey, ":"); strings.Contains(err.Error(), secret) {
			t.Errorf("the refusal holds the key: %v", err)
		}

		elsewhere := right
		elsewhere.Data = t.TempDir()
		if err := clavigertest.TryStart(t, elsewhere); err == nil || !strings.Contains(err.Error(), "no master key file") {
			t.Errorf("a missing key file: %v", err)
		}
		if _, err := os.Stat(filepath.Join(elsewhere.Data, "master.key")); !os.IsNotExist(err) {
			t.Errorf("a new key was made for a database that is sealed under another: %v", err)
		}

		again := clavigertest.Start(t, right)
		if a := again.Do(call{Token: first.Key, Method: "GET", Path: proxy(id, "/x")}); a.Status != 200 {
			t.Errorf("with the right key: %d %s", a.Status, a.Body)
		}
		if again.Key != "" {
			t.Error("a second start showed secrets again")
		}
	})
}

func TestAbuse_282_ItListensOnLoopback(t *testing.T) {
	for _, s := range app.AllSettings() {
		if (s.Key == "addr" || s.Key == "admin.addr") && !strings.HasPrefix(s.Default, "127.0.0.1:") {
			t.Errorf("%s is by default %s", s.Key, s.Default)
		}
	}
	s := clavigertest.Start(t, clavigertest.Options{})
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/profile", "/debug/vars"} {
		if a := s.Do(call{Token: s.Key, Method: "GET", Path: path, Header: map[string][]string{"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {s.AdminURL}}}); a.Status != 404 {
			t.Errorf("%s on the public listener: %d", path, a.Status)
		}
	}
	if a := s.Admin("/metrics"); a.Status != 200 || !strings.Contains(string(a.Body), "claviger_http_requests_total") {
		t.Errorf("metrics: %d", a.Status)
	}
}

func TestAbuse_284_UnknownSettingsAreRefused(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "claviger.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		environment []string
		file, names string
	}{
		"misspelt variable": {[]string{"CLAVIGER_MASTERKEY=base64key:c2VjcmV0LXZhbHVl"}, "", "CLAVIGER_MASTERKEY"},
		"unknown key":       {nil, "egress:\n  alow: 10.0.0.0/8\n", "egress.alow"},
		"twice":             {nil, "ledger.mode: strict\nledger:\n  mode: relaxed\n", "ledger.mode"},
		"list":              {nil, "addr: [1]\n", "addr"},
		"bad mode":          {[]string{"CLAVIGER_LEDGER_MODE=off"}, "", "ledger.mode"},
		"include":           {nil, "include: ../../etc/passwd\n", "include"},
	} {
		t.Run(name, func(t *testing.T) {
			path := ""
			if c.file != "" {
				path = file(c.file)
			}
			_, err := app.LoadSettings(nil, c.environment, path)
			if err == nil || !strings.Contains(err.Error(), c.names) || strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("%v", err)
			}
		})
	}
	s, err := app.LoadSettings(map[string]string{"ledger-mode": "strict"}, []string{"CLAVIGER_LEDGER_MODE=relaxed", "PATH=/bin"}, file("ledger:\n  mode: relaxed\n"))
	if err != nil || s.LedgerMode != "strict" {
		t.Errorf("a flag beside the others: %q %v", s.LedgerMode, err)
	}
}
