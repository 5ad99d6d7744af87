package catalog

import (
	"fmt"

	"claviger"
)

// The codes of faults.
const (
	CodeSyntax        = "syntax"         // not the YAML or JSON that is read here
	CodeLimit         = "limit"          // too large, too deep, too many
	CodeDuplicate     = "duplicate_key"  // a key twice
	CodeUnknown       = "unknown_key"    // a key that the schema does not have
	CodeMissing       = "missing_key"    // a required key is absent
	CodeType          = "wrong_type"     // a value of another type
	CodeValue         = "invalid_value"  // right type, refused value
	CodeTemplate      = "template"       // a template that is ill-formed or out of place
	CodeHost          = "host"           // base URL and allowed hosts do not fit
	CodeReserved      = "reserved_key"   // a connector key that is not free
	CodeLiteralSecret = "literal_secret" // a credential written into the document
	CodePractice      = "practice"       // valid, but not good enough for the built-in catalogue
)

// maxFaults bounds what one document is told; past it the author has enough to do.
const maxFaults = 50

// Fault is one thing wrong with a document, in terms of its author. It never shows
// a value that may be a credential.
type Fault struct {
	Line, Column int    // from 1, in bytes; 0 where there is no place
	Path         string // dotted, for example "auth[0].inject[0].value"
	Code         string
	Message      string
	Hint         string // the way out; may be empty
}

// String answers "line:column: path: message (hint)".
func (f Fault) String() string {
	s := fmt.Sprintf("%d:%d: ", f.Line, f.Column)
	if f.Path != "" {
		s += f.Path + ": "
	}
	s += f.Message
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}

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
