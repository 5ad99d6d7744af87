package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWatchTellsWhatChanged edits a file between two looks, and wants to be told of what
// came and went, once.
func TestWatchTellsWhatChanged(t *testing.T) {
	t.Chdir(t.TempDir())
	file := filepath.Join(integrations, "acme", "acme-system.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	document := func(security string) string {
		return `{"key":"acme","displayName":"Acme","type":"custom","authentications":[{"key":"default","usage":"api","authType":"credential",` +
			`"credential":{"method":"apikey","variables":{"baseUrl":"https://api.acme.example"},"security":{"apiKey":"` + security + `"}}}]}`
	}
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(document("kv://acme/apiKey"))
	var out bytes.Buffer
	steps := []func(){
		func() { out.Reset() },
		func() { write("{") }, // an editor at work: seen once only
		func() { write(document("kv://other/apiKey")) },
		func() {},
		func() { write(document("kv://other/apiKey") + "\n") }, // the same faults again
		func() {},
		func() { away(t, file) },
		func() {},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := &program{stdout: &out, stderr: &out, getenv: func(string) string { return "" }, pause: func(ctx context.Context, _ time.Duration) error {
		if len(steps) == 0 {
			cancel()
			return ctx.Err()
		}
		steps[0]()
		steps = steps[1:]
		return nil
	}}
	if code := p.execute(ctx, []string{"validate", "acme", "--watch"}); code != exitFailure {
		t.Errorf("exit code %d, want 1: the last state is not valid", code)
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != 5 || !strings.HasPrefix(got[0], "+ "+file+":1:") || !strings.Contains(got[0], "belongs to") && !strings.Contains(got[0], "kv://") ||
		got[1] != "integration/acme is not valid. Errors: 1, warnings: 1." || !strings.HasPrefix(got[4], "+ There is no integration/acme/acme-system.json") {
		t.Errorf("it told:\n%s", out.String())
	}
}

func away(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// TestExamples checks every system of the examples as a pipeline would.
func TestExamples(t *testing.T) {
	t.Chdir(filepath.Join("..", "..", "examples"))
	folders, err := os.ReadDir(integrations)
	if err != nil || len(folders) == 0 {
		t.Fatalf("%d examples, %v", len(folders), err)
	}
	for _, f := range folders {
		var out bytes.Buffer
		p := &program{stdout: &out, stderr: &out, getenv: func(string) string { return "" }}
		if code := p.execute(t.Context(), []string{"validate", f.Name()}); code != exitOK || !strings.Contains(out.String(), "warnings: 0.") {
			t.Errorf("exit code %d:\n%s", code, out.String())
		}
	}
}
