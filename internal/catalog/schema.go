package catalog

import (
	_ "embed" // for the schema
	"slices"
)

//go:embed schema.json
var schemaText []byte

// Schema answers the JSON Schema (draft 2020-12) of a connector document, for
// editors and for people. It tells the shape; [Parse] checks the meaning as well,
// so that every document that Parse accepts fits the schema, and not the reverse.
func Schema() []byte { return slices.Clone(schemaText) }
