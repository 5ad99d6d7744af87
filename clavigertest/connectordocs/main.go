// Command connectordocs writes the pages of the built-in connectors, docs/connectors,
// from their documents. It runs by "go generate ./connectors"; a test fails while a
// page is not what its document says. It is a tool of this repository and no part of
// the product.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"claviger/connectors"
	"claviger/internal/catalog"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: connectordocs FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// pages answers the text of every page by its file's name.
func pages() (map[string]string, error) {
	c, err := catalog.Load(connectors.Files, catalog.Options{})
	if err != nil {
		return nil, err
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	all := c.List(catalog.Filter{})
	out := map[string]string{"README.md": index(all)}
	for _, conn := range all {
		if out[conn.Key+".md"], err = page(conn); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// write brings the folder up to date and removes the pages of connectors that are
// gone.
func write(folder string) error {
	want, err := pages()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, ok := want[e.Name()]; !ok && strings.HasSuffix(e.Name(), ".md") {
			if err := os.Remove(filepath.Join(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	for name, text := range want {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
