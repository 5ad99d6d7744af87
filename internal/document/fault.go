package document

import "fmt"

// The codes of faults that reading finds, and of those that every reader of a tree
// has a use for.
const (
	CodeSyntax        = "syntax"         // not the YAML or JSON that is read here
	CodeLimit         = "limit"          // too large, too deep, too many
	CodeDuplicate     = "duplicate_key"  // a key twice
	CodeUnknown       = "unknown_key"    // a key that the schema does not have
	CodeMissing       = "missing_key"    // a required key is absent
	CodeType          = "wrong_type"     // a value of another type
	CodeValue         = "invalid_value"  // right type, refused value
	CodeLiteralSecret = "literal_secret" // a credential written into the document
)

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
