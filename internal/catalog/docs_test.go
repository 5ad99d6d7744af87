package catalog_test

import (
	"os"
	"strings"
	"testing"

	"claviger/internal/catalog"
)

// TestDocumentation holds the page on connectors against the code: its example
// passes the lint.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/connectors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the page has no example")
	}
	for _, f := range catalog.Lint("acme.yaml", []byte(example), catalog.Options{}) {
		t.Errorf("the example: %s", f)
	}
}
