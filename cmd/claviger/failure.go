package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"claviger"
	"claviger/client"
)

// The exit codes, documented in docs/cli.md.
const (
	exitOK       = 0
	exitFailure  = 1 // a check failed, or a fault of this machine
	exitUsage    = 2
	exitLogin    = 3 // no valid token
	exitNotFound = 4
	exitRefused  = 5 // the server refused: the input, the state, or what the token may do
	exitServer   = 6 // the server failed, or was not reached
)

// usageError is a command that was put wrongly.
type usageError struct{ message, hint string }

// Error implements error.
func (e usageError) Error() string { return e.message }

func usagef(format string, args ...any) error {
	return usageError{message: fmt.Sprintf(format, args...)}
}

// loginError says that there is no token to show.
type loginError struct{ message string }

// Error implements error.
func (e loginError) Error() string { return e.message }

// failed is a command that worked and found a failure: it has been printed already.
type failed int

// Error implements error.
func (f failed) Error() string { return fmt.Sprintf("exit code %d", int(f)) }

// report prints what went wrong and answers the exit code.
func (p *program) report(err error) int {
	var e *client.Error
	var usage usageError
	var login loginError
	var own *claviger.Error
	var done failed
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &done):
		return int(done)
	case errors.As(err, &e):
		p.reportServer(e)
		return exitCode(e)
	case errors.As(err, &usage):
		p.complain(usage.message, usage.hint)
		return exitUsage
	case errors.As(err, &login):
		p.complain(login.message, "Log in with: claviger login")
		return exitLogin
	case errors.As(err, &own):
		p.reportOwn(own)
		if own.Kind == claviger.KindInvalid {
			return exitUsage // a setting
		}
		return exitFailure
	case errors.Is(err, context.Canceled):
		p.complain("Interrupted.", "")
		return exitFailure
	}
	p.complain(err.Error(), "")
	return exitFailure
}

// complain prints a message and a hint on lines of their own.
func (p *program) complain(message, hint string) {
	if p.json {
		b, _ := json.Marshal(map[string]any{"error": map[string]string{"message": message}})
		_, _ = fmt.Fprintf(p.stderr, "%s\n", escapeJSON(b))
		return
	}
	_, _ = fmt.Fprintf(p.stderr, "claviger: %s\n", escape(message))
	if hint != "" {
		_, _ = fmt.Fprintf(p.stderr, "  hint: %s\n", escape(hint))
	}
}

// reportOwn prints an error of this process, such as a refused setting. Its cause is
// shown too: who runs the command may see it.
func (p *program) reportOwn(e *claviger.Error) {
	cause := ""
	if e.Err != nil {
		cause = e.Err.Error()
	}
	p.complain(e.Message, "")
	for _, line := range [][2]string{{"setting", e.Param}, {"reason", cause}} {
		if line[1] != "" && !p.json {
			_, _ = fmt.Fprintf(p.stderr, "  %s: %s\n", line[0], escape(line[1]))
		}
	}
}

// serverError is the JSON of a server's refusal, as far as the person needs it.
type serverError struct {
	Message   string   `json:"message"`
	Code      string   `json:"code,omitempty"`
	Param     string   `json:"param,omitempty"`
	Status    int      `json:"status,omitempty"`
	RequestID string   `json:"requestId,omitempty"`
	Missing   []string `json:"missing,omitempty"`
	Reconnect string   `json:"reconnectUrl,omitempty"`
}

func (p *program) reportServer(e *client.Error) {
	if p.json {
		shape := serverError{e.Message, e.Code, e.Param, e.Status, e.RequestID, e.Missing, e.ReconnectURL}
		b, _ := json.Marshal(map[string]any{"error": shape})
		_, _ = fmt.Fprintf(p.stderr, "%s\n", escapeJSON(b))
		return
	}
	p.complain(e.Message, "")
	for _, line := range [][2]string{
		{"code", e.Code},
		{"field", e.Param},
		{"missing", strings.Join(e.Missing, ", ")},
		{"path", e.Path},
		{"reason", reason(e)},
		{"request", e.RequestID},
		{"hint", hint(e)},
	} {
		if line[1] != "" {
			_, _ = fmt.Fprintf(p.stderr, "  %s: %s\n", line[0], escape(line[1]))
		}
	}
	for _, r := range e.References {
		_, _ = fmt.Fprintf(p.stderr, "  used by: %s\n", escape(strings.TrimSpace(r.Type+" "+r.ID+" "+r.Name)))
	}
}

func reason(e *client.Error) string {
	if cause := errors.Unwrap(e); cause != nil {
		return cause.Error()
	}
	return ""
}

func hint(e *client.Error) string {
	switch {
	case e.ReconnectURL != "":
		return "Connect again at " + e.ReconnectURL
	case e.Code == "unreachable" && e.Status == 0:
		return "Check the address (--url or CLAVIGER_URL) and that the server runs: claviger serve"
	case e.Status == http.StatusUnauthorized:
		return "Log in again with: claviger login"
	case e.Code == "connection_disabled":
		return "Enable it with: claviger connection enable ID"
	case e.Status == http.StatusForbidden:
		return "See what your token may do with: claviger whoami"
	case len(e.References) > 0:
		return "Remove what uses it, or repeat with --force"
	case e.RetryAfter > 0:
		return fmt.Sprintf("Try again in %s", e.RetryAfter)
	case e.Status >= http.StatusInternalServerError:
		return "Give the request id to the server's operator"
	}
	return ""
}

func exitCode(e *client.Error) int {
	switch {
	case e.Code == "bad_token" && e.Status == 0, e.Status == http.StatusUnauthorized:
		return exitLogin
	case e.Status == http.StatusNotFound:
		return exitNotFound
	case e.Status >= 400 && e.Status < 500:
		return exitRefused
	}
	return exitServer
}
