// Package document reads documents that people write, in YAML or JSON, into a tree
// whose every value knows its line and column.
//
// The trust boundary: a document may come from any customer. It is read in a subset
// of YAML and JSON in which a text has one meaning: no aliases, tags, merges or
// directives, no key twice, no words that versions of YAML read in two ways, no
// characters that hide. Size, depth and number of values are bounded before memory
// is spent. What the values mean is for the packages that use the tree; faults, and
// looking for credentials that somebody wrote into a document, are here, so that
// all documents are told the same in the same words. A fault never shows a value.
//
// Node.AppendJSON after Node.Sort is the canonical form for storing, comparing and
// digesting.
package document
