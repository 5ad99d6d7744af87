package catalog_test

import (
	"testing"

	"claviger/connectors"
	"claviger/internal/catalog"
)

func TestBuiltIns(t *testing.T) {
	c, err := catalog.Load(connectors.Files, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(len(c.List(catalog.Filter{})))
}
