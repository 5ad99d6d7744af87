package catalog_test

import (
	"os"
	"strings"
	"testing"

	"claviger/connectors"
	"claviger/internal/catalog"
)

// TestDocumentation holds the page on connectors against the code: its example
// passes the lint, and its table names every built-in method and field.
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
		if f.Path != "actions" { // one action is enough for a page
			t.Errorf("the example: %s", f)
		}
	}
	c, err := catalog.Load(connectors.Files, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range c.List(catalog.Filter{}) {
		_, row, _ := strings.Cut(string(page), "| `"+conn.Key+"` |")
		row, _, _ = strings.Cut(row, "\n")
		for _, m := range conn.Auth {
			if !strings.Contains(row, "`"+m.Key+"`") {
				t.Errorf("%s: the method %s is not in the table", conn.Key, m.Key)
			}
			for _, f := range m.Fields {
				if !strings.Contains(row, f.Key) {
					t.Errorf("%s: the field %s is not in the table", conn.Key, f.Key)
				}
			}
		}
		for _, v := range conn.Variables {
			if !strings.Contains(row, "`"+v.Key+"`") {
				t.Errorf("%s: the setting %s is not in the table", conn.Key, v.Key)
			}
		}
	}
}
