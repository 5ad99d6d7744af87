package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"claviger/api"
)

// Error is a request that the server refused, or that never reached it: then
// Status is 0, Code is "unreachable" and Unwrap answers why.
type Error struct {
	Status       int    // HTTP status; 0 if there was no answer
	Type         string // class, for example "validation_error"
	Code         string // stable and fine-grained, for example "invalid_format"
	Param        string // dotted path of the offending field
	Message      string // one sentence with the way out
	RequestID    string // quote it to the server's operator
	Missing      []string
	References   []api.Reference
	ReconnectURL string
	Path         string        // the kv:// path that has no value
	RetryAfter   time.Duration // how long the server asks to wait; 0 if it does not say
	cause        error
}

// Error answers the code, the message and the field.
func (e *Error) Error() string {
	s := e.Message
	if e.Code != "" {
		s = e.Code + ": " + s
	}
	if e.Param != "" {
		s += " (" + e.Param + ")"
	}
	return s
}

// Unwrap answers why the server was not reached.
func (e *Error) Unwrap() error { return e.cause }

// HasCode reports whether err is an [*Error] of the given code.
func HasCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// unreachable is the error of a request that got no answer. The cause is taken out
// of its *url.Error, whose text repeats the URL with its query.
func unreachable(host string, err error) *Error {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return &Error{Code: "unreachable", Message: "The server at " + host + " could not be reached.", cause: err}
}

// answered reads the error of an answer; body may be anything.
func answered(resp *http.Response, body []byte, now time.Time) *Error {
	e := &Error{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header, now), RequestID: resp.Header.Get("Claviger-Request-Id")}
	var shape api.ErrorBody
	if json.Unmarshal(body, &shape) == nil && shape.Error.Message != "" {
		x := shape.Error
		e.Type, e.Code, e.Param, e.Message = x.Type, x.Code, x.Param, x.Message
		e.Missing, e.References, e.ReconnectURL, e.Path = x.Missing, x.References, x.ReconnectURL, x.Path
		if x.RequestID != "" {
			e.RequestID = x.RequestID
		}
		return e
	}
	e.Code, e.Message = "http_"+strconv.Itoa(resp.StatusCode), "The server answered "+strconv.Itoa(resp.StatusCode)+" and no reason that claviger gives."
	if d := detail(body); d != "" {
		e.Message = d + "."
	}
	return e
}

// detail reads {"detail": "..."}, the error shape of the token route.
func detail(body []byte) string {
	var shape struct {
		Detail string `json:"detail"`
	}
	if json.NewDecoder(bytes.NewReader(body)).Decode(&shape) != nil {
		return ""
	}
	return strings.TrimSuffix(shape.Detail, ".")
}

// retryAfter reads both forms of Retry-After (RFC 9110, section 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
