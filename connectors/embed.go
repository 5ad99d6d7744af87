// Package connectors holds the built-in connector documents, one YAML file for each
// vendor, and in webhooks the ways in which vendors sign their webhooks. It has no logic:
// packages catalog and hookverify read, check and compile them. A new vendor is a new
// file here, never code.
package connectors

import "embed"

//go:generate go run claviger/clavigertest/connectordocs ../docs/connectors

// Files are the documents, at the top of the file system.
//
//go:embed *.yaml
var Files embed.FS

// Webhooks are the webhook schemes, in the folder webhooks of the file system.
//
//go:embed webhooks/*.yaml
var Webhooks embed.FS
