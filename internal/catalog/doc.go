// Package catalog reads connector documents: it checks them, compiles them to
// [claviger.Connector], looks them up, and evaluates what they declare - requests
// to build, answers to read. It is pure but for reading files; it never dials.
//
// The trust boundary: a document may come from any customer and decides where
// credentials travel, so it is hostile until proven tame. It is data in a closed
// grammar: no code, no expressions, no aliases, no path or pattern that can run
// long. Templates stand in declared positions only and can name only what is
// declared; a variable can fill one label of a host name and nothing wider unless
// it is a typed host name of its own. Whatever a document and a person's input
// render to is parsed again, and its origin compared with the declared one, before
// it leaves this package.
//
// YAML and JSON are read by two parsers into one tree and checked by one checker.
// The canonical JSON of that tree is what is stored, compared and digested.
package catalog
