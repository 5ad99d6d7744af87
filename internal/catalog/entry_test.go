package catalog_test

import (
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"claviger/connectors"
	"claviger/internal/catalog"
)

// counting is a file system that counts what is read of each file.
type counting struct {
	fstest.MapFS
	opened atomic.Int64
}

func (c *counting) Open(name string) (fs.File, error) {
	if name != "." {
		c.opened.Add(1)
	}
	return c.MapFS.Open(name)
}

func document(key string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(strings.Replace(acme, "key: acme", "key: "+key, 1)), ModTime: time.Unix(1, 0)}
}

// TestDocumentsAreParsedWhenAskedFor: loading reads heads alone, each document is
// parsed once, by however many callers, and a search parses what it finds.
func TestDocumentsAreParsedWhenAskedFor(t *testing.T) {
	files := &counting{MapFS: fstest.MapFS{"one.yaml": document("one"), "two.yaml": document("two"), "three.yaml": document("three")}}
	c, err := catalog.Load(files, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := files.opened.Load(); n != 3 {
		t.Fatalf("%d files opened to read three heads", n)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if conn, ok := c.Get("two"); !ok || len(conn.Actions) != 2 {
				t.Error("the document is not there")
			}
		})
	}
	group.Wait()
	if n := files.opened.Load(); n != 4 {
		t.Errorf("%d files opened after one document was asked for", n)
	}
	first, second := c.List(catalog.Filter{Search: "TWO"}), c.List(catalog.Filter{Search: "two", Category: "crm", Kind: "http"})
	if len(first) != 1 || len(second) != 1 || first[0] != second[0] || files.opened.Load() != 4 {
		t.Errorf("a search for what is parsed: %d, %d, %d opened", len(first), len(second), files.opened.Load())
	}
	if all := c.List(catalog.Filter{}); len(all) != 3 || files.opened.Load() != 6 {
		t.Errorf("%d listed, %d opened", len(all), files.opened.Load())
	}
	if c.List(catalog.Filter{Category: "sales"}) != nil {
		t.Error("a filter that nothing passes")
	}
}

// TestBrokenBuiltIns: a fault is found by Check, at loading where the head is the
// fault, and a broken document is never answered.
func TestBrokenBuiltIns(t *testing.T) {
	for name, c := range map[string]struct {
		file   string
		change func(string) string
		load   bool // Load already refuses
	}{
		"no address":  {"x.yaml", func(s string) string { return strings.Replace(s, "baseUrl:", "baseURL:", 1) }, false},
		"no key":      {"x.yaml", func(s string) string { return strings.Replace(s, "key: acme\n", "", 1) }, true},
		"broken YAML": {"x.yaml", func(s string) string { return "{" + s }, true},
		"broken JSON": {"x.json", func(s string) string { return s }, true},
	} {
		t.Run(name, func(t *testing.T) {
			text := c.change(acme)
			cat, err := catalog.Load(fstest.MapFS{c.file: {Data: []byte(text)}}, catalog.Options{})
			if c.load {
				if err == nil {
					t.Fatal("loaded")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := cat.Check(); err == nil || !strings.Contains(err.Error(), "x.yaml:") {
				t.Errorf("Check: %v", err)
			}
			if _, ok := cat.Get("acme"); ok {
				t.Error("a broken document is answered")
			}
			if list := cat.List(catalog.Filter{}); len(list) != 0 {
				t.Errorf("%d listed", len(list))
			}
		})
	}
	if _, err := catalog.Load(fstest.MapFS{"a.yaml": document("one"), "b.yaml": document("one")}, catalog.Options{}); err == nil {
		t.Error("two documents of one key are loaded")
	}
}

// TestBuiltInHeads: every built-in document is sound, and none is written in a way
// that makes the start of the server parse it.
func TestBuiltInHeads(t *testing.T) {
	c, err := catalog.Load(connectors.Files, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if parsed := catalog.Parsed(c); parsed != 0 {
		t.Errorf("%d documents are parsed at the start: write key, name, kind and categories plainly, first in the file", parsed)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	list := c.List(catalog.Filter{})
	if parsed := catalog.Parsed(c); parsed != len(list) || parsed < 200 {
		t.Errorf("%d parsed, %d listed", parsed, len(list))
	}
	for _, conn := range list { // a head says what the document says
		found := c.List(catalog.Filter{Search: conn.Name, Category: conn.Categories[len(conn.Categories)-1], Kind: conn.Kind})
		if got, ok := c.Get(conn.Key); !ok || got != conn || !slices.Contains(found, conn) {
			t.Errorf("%s is not found by its own key, name, category and kind", conn.Key)
		}
	}
}

// BenchmarkLoad is what the catalogue adds to the start of the server.
func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := catalog.Load(connectors.Files, catalog.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
