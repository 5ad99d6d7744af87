// Package manifest reads, checks, mends, compares and compiles the documents of
// connected systems: one system and its data sources, kept as files in git. It is
// pure: files come in through an io/fs, texts go out, nothing is dialed or kept.
//
// What keys there are stands in two JSON Schemas, schema/system.json and
// schema/datasource.json, which are published as they are and which the checker
// itself walks, so that what is documented and what is refused cannot differ. What
// a schema cannot say - which slot a webhook needs, whose secrets may be named - is
// checked in Go.
//
// The trust boundary: a manifest may come from anybody who may write to a
// repository. It decides where credentials travel and which of them a background
// path may load, so nothing of it is used before Validate finds no error. It holds
// references to secrets, never secrets; a text that looks like one is refused and
// not repeated, in whatever place it stands.
package manifest
