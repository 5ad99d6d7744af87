package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/document"
)

// Severity says whether a fault stops an upload.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // the manifest is refused
	Warning Severity = "warning" // it works, and its author should know
)

// The codes of faults, beside those of package document.
const (
	CodeSyntax        = document.CodeSyntax
	CodeLimit         = document.CodeLimit
	CodeDuplicate     = document.CodeDuplicate
	CodeUnknown       = document.CodeUnknown
	CodeMissing       = document.CodeMissing
	CodeType          = document.CodeType
	CodeValue         = document.CodeValue
	CodeLiteralSecret = document.CodeLiteralSecret
	CodeReference     = "invalid_secret_path" // a reference that is none
	CodeForeign       = "foreign_secret_path" // a reference into another system's secrets
	CodeMissingSlot   = "missing_slot"        // a feature without the slot that it needs
	CodeDelegated     = "delegated_slot"      // a person's grant where a service must act
	CodeMethodUsage   = "method_usage"        // a method that cannot serve the slot's usage
	CodeDefault       = "ambiguous_default"   // several slots of a usage claim to be its default
	CodeMismatch      = "key_mismatch"        // keys that must be equal and are not
	CodeReserved      = "reserved_key"        // a key that a connector has
	CodeUnresolved    = "unresolved"          // a name that nothing declares
	CodeEnv           = "env_template"        // env.template and the references do not fit
	CodeSchedule      = "invalid_schedule"    // a schedule that never comes or comes too often
	CodeNoOperation   = "no_operation"        // a capability without an HTTP operation
)

// maxFaults bounds what one manifest is told.
const maxFaults = 200

// Fault is one thing wrong with a manifest, in terms of its author. It never shows
// a value that may be a credential.
type Fault struct {
	File         string // as it was given or found
	Line, Column int    // from 1, in bytes; 0 where there is no place
	Pointer      string // RFC 6901, into the file
	Code         string
	Message      string
	Hint         string // the way out; may be empty
	Severity     Severity
	Repair       string // the exact command that mends it; empty if people must
}

// String answers "file:line:column: severity: pointer: message (hint) [repair]".
func (f Fault) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s: ", f.File, f.Line, f.Column, f.Severity)
	if f.Pointer != "" {
		s += f.Pointer + ": "
	}
	s += f.Message
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	if f.Repair != "" {
		s += " [" + f.Repair + "]"
	}
	return s
}

// Valid reports whether no fault is an error.
func Valid(faults []Fault) bool {
	return !slices.ContainsFunc(faults, func(f Fault) bool { return f.Severity == Error })
}

// Refusal answers the errors among the faults as the one error that a surface
// shows: KindInvalid, its code that of the first error, or literal_secret if any is
// one, Param the place as a dotted path that begins with the file. nil if there is
// no error.
func Refusal(faults []Fault) *claviger.Error {
	errs := slices.DeleteFunc(slices.Clone(faults), func(f Fault) bool { return f.Severity != Error })
	if len(errs) == 0 {
		return nil
	}
	first := errs[0]
	for _, f := range errs {
		if f.Code == CodeLiteralSecret {
			first = f
			break
		}
	}
	more := ""
	if len(errs) > 1 {
		more = fmt.Sprintf(" Further errors: %d.", len(errs)-1)
	}
	return claviger.Invalid(strings.ReplaceAll(first.File+first.Pointer, "/", "."), first.Code, "The manifest is not valid: %s.%s", first, more)
}

// sortFaults puts faults in the order of files and texts and drops repeats.
func sortFaults(faults []Fault) []Fault {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(faults)
}
