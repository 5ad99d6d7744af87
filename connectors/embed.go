// Package connectors holds the built-in connector documents, one YAML file for each
// vendor. It has no logic: package catalog reads, checks and compiles them. A new
// vendor is a new file here, never code.
package connectors

import "embed"

//go:generate go run claviger/clavigertest/connectordocs ../docs/connectors

// Files are the documents, at the top of the file system.
//
//go:embed *.yaml
var Files embed.FS
