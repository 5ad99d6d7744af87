package claviger

import (
	"errors"
	"fmt"
	"time"
)

// Kind is the class of an [Error]: what went wrong in the terms a caller can act
// on. A surface maps it to its own status and type.
type Kind string

// The kinds of error.
const (
	KindUnreadable      Kind = "unreadable"      // 400: the request cannot be parsed
	KindInvalid         Kind = "invalid"         // 422: understood and refused; Param names the field
	KindUnauthenticated Kind = "unauthenticated" // 401: no valid token
	KindDenied          Kind = "denied"          // 403: known, and not allowed
	KindNotFound        Kind = "not_found"       // 404: absent, or another tenant's
	KindConflict        Kind = "conflict"        // 409: the state does not allow it
	KindRateLimited     Kind = "rate_limited"    // 429: RetryAfter says when
	KindReauthorize     Kind = "reauthorize"     // 424: the credential needs its owner
	KindUpstream        Kind = "upstream"        // 502: the vendor could not be reached or spoke nonsense
	KindTimeout         Kind = "timeout"         // 504: the vendor did not answer in time
	KindTooLarge        Kind = "too_large"       // 413: a cap was met
	KindUnavailable     Kind = "unavailable"     // 503: claviger cannot do it now; try again
	KindInternal        Kind = "internal"        // 500: a fault of claviger's own
)

// Error is the one error type that crosses package borders.
//
// Message is safe to show to any user: it never holds a secret, an upstream body,
// an address that DNS answered or a SQL text. Err is for the process's own log
// and never leaves it.
type Error struct {
	Kind       Kind
	Code       string        // stable and fine-grained, for example "invalid_format"; the Kind if empty
	Op         string        // what was being done, for example "broker.Call"
	Message    string        // one sentence, with the way out
	Param      string        // dotted path of the offending field, for example "credentials.apiKey"
	Missing    []string      // permissions the credential lacks
	References []Reference   // what still names the object
	RetryAfter time.Duration // for rate_limited and unavailable
	Reconnect  string        // URL where the owner can connect again
	Path       string        // kv:// path for secret_missing
	Err        error         // the cause; never shown
}

// Error answers the text for a log: operation, code and message, and the cause's
// own text. Show Message, not this, to a user.
func (e *Error) Error() string {
	s := e.FineCode() + ": " + e.Message
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap answers the cause.
func (e *Error) Unwrap() error { return e.Err }

// FineCode answers Code, or the Kind where there is no finer one.
func (e *Error) FineCode() string {
	if e.Code != "" {
		return e.Code
	}
	return string(e.Kind)
}

// With answers a copy of e that carries a cause.
func (e *Error) With(cause error) *Error {
	c := *e
	c.Err = cause
	return &c
}

// Errorf makes an Error whose message is safe to show: format only what the
// caller sent or may see.
func Errorf(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid is the 422 that names the field and the way out.
func Invalid(param, code, format string, args ...any) *Error {
	e := Errorf(KindInvalid, code, format, args...)
	e.Param = param
	return e
}

// NotFound is the one answer for what is absent and for what belongs to somebody
// else; the two must not be distinguishable.
func NotFound(noun string) *Error {
	return Errorf(KindNotFound, "", "No such %s.", noun)
}

// AsError answers err as an *Error. Anything else becomes an internal error whose
// text is withheld.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: KindInternal, Message: "Something went wrong on our side. Quote the request id to your operator.", Err: err}
}

// IsKind reports whether err is an *Error of the given kind.
func IsKind(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}
