package catalog

import (
	"fmt"

	"claviger"
	"claviger/internal/document"
)

// The codes of faults; those of package document mean what they mean there.
const (
	CodeSyntax        = document.CodeSyntax
	CodeLimit         = document.CodeLimit
	CodeDuplicate     = document.CodeDuplicate
	CodeUnknown       = document.CodeUnknown
	CodeMissing       = document.CodeMissing
	CodeType          = document.CodeType
	CodeValue         = document.CodeValue
	CodeTemplate      = "template"     // a template that is ill-formed or out of place
	CodeHost          = "host"         // base URL and allowed hosts do not fit
	CodeReserved      = "reserved_key" // a connector key that is not free
	CodeLiteralSecret = document.CodeLiteralSecret
	CodePractice      = "practice" // valid, but not good enough for the built-in catalogue
)

// maxFaults bounds what one document is told; past it the author has enough to do.
const maxFaults = 50

// Fault is one thing wrong with a document, in terms of its author.
type Fault = document.Fault

// Refusal answers the faults of a document as the one error that a surface shows:
// KindInvalid, Param the path of the first fault, code literal_secret if any fault
// is one, else reserved_key or invalid_connector. nil for no faults.
func Refusal(faults []Fault) *claviger.Error {
	if len(faults) == 0 {
		return nil
	}
	first, code := faults[0], "invalid_connector"
	for _, f := range faults {
		if f.Code == CodeLiteralSecret || f.Code == CodeReserved && code == "invalid_connector" {
			first, code = f, f.Code
		}
	}
	more := ""
	if len(faults) > 1 {
		more = fmt.Sprintf(" There are %d more faults.", len(faults)-1)
	}
	return claviger.Invalid(first.Path, code, "The connector document is not valid: %s.%s", first, more)
}

// read answers the tree of a document with sorted keys, so that documents that
// differ in layout alone compile to the same connector.
func (o Options) read(name string, data []byte) (*document.Node, *Fault) {
	read := document.Read
	if o.Generated {
		read = document.ReadGenerated
	}
	root, fault := read(name, data)
	if fault != nil {
		return nil, fault
	}
	root.Sort()
	return root, nil
}
