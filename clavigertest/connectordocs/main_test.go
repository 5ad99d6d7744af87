package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const folder = "../../docs/connectors"

// TestPagesAreCurrent: every page is what its document says, and there is no other.
func TestPagesAreCurrent(t *testing.T) {
	want, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || string(got) != text {
			t.Errorf("docs/connectors/%s is not current: run go generate ./connectors", name)
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := want[e.Name()]; !ok {
			t.Errorf("docs/connectors/%s belongs to no connector", e.Name())
		}
	}
}

func TestWriteRemovesWhatIsGone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gone.md"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "gone.md")); err == nil {
		t.Error("the page of a connector that is gone is still there")
	}
	page, err := os.ReadFile(filepath.Join(dir, "github.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"# GitHub", "`api.github.com`", "## `token`: Personal access token", "secret", "PKCE `S256`", "`create-issue`", "`X-OAuth-Scopes`", "## Limits"} {
		if !strings.Contains(string(page), part) {
			t.Errorf("the page of github lacks %q", part)
		}
	}
}
