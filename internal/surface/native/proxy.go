package native

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

// Tokens finds the caller that a token stands for, wherever it stood on a request.
// Package authn implements it.
type Tokens interface {
	AuthenticateToken(ctx context.Context, token string, from claviger.Request) (claviger.Caller, error)
}

func proxyRoute() wire.Route {
	r := both("", "/v1/connections/{id}/proxy/{path...}", "proxy", "Call the vendor through a connection", claviger.ConnectionsProxy)
	r.Description = "Any method. Path, query, headers and body go to the vendor below the connector's base URL, with the connection's " +
		"credential in place of yours; the answer is streamed back. Your token may stand where the vendor's SDK puts its key. " +
		"A refusal by claviger itself has the header " + wire.ErrorHeader + "."
	r.OwnAuth, r.MaxBody = true, -1
	return r
}

// proxy streams a request to the vendor and the answer back.
func (s *surface) proxy(w http.ResponseWriter, r *http.Request, nobody claviger.Caller) {
	body := r.Body
	if r.ContentLength == 0 || r.Header.Get("Expect") != "" {
		body = http.NoBody // there is none, or none comes after an answer
	}
	if r.ContentLength != 0 {
		// A vendor may answer while the body is still coming. HTTP/2 needs no switch.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	answered, err := s.forward(r, nobody.From)
	if err != nil {
		wire.WriteError(w, r, err)
		finish(body)
		return
	}
	defer func() { _ = answered.Body.Close() }()
	// The careful headers that every answer has stay where the vendor has none of its own.
	maps.Copy(w.Header(), answered.Header)
	w.WriteHeader(answered.StatusCode)
	if err := relay(w, answered, s.buffers); err != nil {
		// The status has gone out; only a broken connection says that the rest is missing.
		panic(http.ErrAbortHandler)
	}
	finish(body)
}

// maxLeft is how much of a body that nobody wanted is read, as net/http does.
const maxLeft = 256 << 10

// finish reads what is left of a body that was answered before its end. In full duplex
// net/http would find that end while it already waits for the next request, and break the
// connection off in the middle of it.
func finish(body io.Reader) { _, _ = io.CopyN(io.Discard, body, maxLeft) }

// forward authenticates and hands the request to the core.
func (s *surface) forward(r *http.Request, from claviger.Request) (*broker.Forwarded, error) {
	caller, err := s.proxyCaller(r, from)
	if err != nil {
		return nil, err
	}
	if err := s.api.Admit(r.Context(), s.relayed, caller); err != nil {
		return nil, err
	}
	escaped := r.URL.EscapedPath()
	path, _ := wire.ProxyPath(escaped)
	return s.core.Forward(r.Context(), caller, broker.Forward{
		Connection: claviger.ConnectionID(r.PathValue("id")), Method: r.Method, Path: path, RawQuery: r.URL.RawQuery,
		Header: r.Header, Body: r.Body, ContentLength: r.ContentLength, Prefix: strings.TrimSuffix(escaped, path),
	})
}

// proxyCaller finds the caller's own token, which may stand where a vendor's SDK
// puts its key, in exactly one place, and takes it off the request: it never goes
// to the vendor. Without one, what stands in Authorization is refused like any
// other wrong token.
func (s *surface) proxyCaller(r *http.Request, from claviger.Request) (claviger.Caller, error) {
	if strings.Contains(r.URL.RawQuery, keyMark) {
		return claviger.Caller{}, claviger.Errorf(claviger.KindUnreadable, "token_in_query", "A credential must not stand in the URL, which logs keep. Send it as Authorization: Bearer.")
	}
	var token, place string
	found := 0
	for name, values := range r.Header {
		for _, v := range values {
			for _, candidate := range candidates(v) {
				if ours(candidate) {
					token, place = candidate, name
					found++
				}
			}
		}
	}
	switch {
	case found > 1:
		return claviger.Caller{}, claviger.Errorf(claviger.KindUnreadable, "ambiguous_credentials", "Send one credential of claviger's only, in one place.")
	case found == 0 && r.Header.Get("Authorization") == "" && r.Header.Get("Api-Key") == "":
		return claviger.Caller{}, claviger.Errorf(claviger.KindUnauthenticated, "missing_token", "Send an API key or a token as Authorization: Bearer, or where the vendor's SDK puts its key.")
	case found == 0:
		return s.tokens.AuthenticateToken(r.Context(), "", from)
	}
	r.Header.Del(place)
	return s.tokens.AuthenticateToken(r.Context(), token, from)
}

// keyMark begins every opaque token of claviger's.
const keyMark = "clv_"

// candidates answers what may be a token in a header's value: the bare value, the
// credentials after a scheme ("Bearer key", "Token token=key"), and both halves of
// Basic (RFC 7617).
func candidates(value string) []string {
	value = strings.TrimSpace(value)
	scheme, rest, found := strings.Cut(value, " ")
	if !found {
		return []string{value}
	}
	rest = strings.TrimSpace(rest)
	if strings.EqualFold(scheme, "Basic") {
		pair, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return nil
		}
		user, password, _ := strings.Cut(string(pair), ":")
		return []string{user, password}
	}
	if t, ok := strings.CutPrefix(rest, "token="); ok {
		rest = strings.Trim(t, `"`)
	}
	return []string{rest}
}

// ours reports whether a value is a token of claviger's in form: whether it is valid
// is for [Tokens]. A JWT is ours if its protected header names one of our types;
// other JWTs are the vendor's business.
func ours(v string) bool {
	if strings.HasPrefix(v, keyMark) {
		return true
	}
	head, _, ok := strings.Cut(v, ".")
	if !ok || len(head) > 1024 || strings.Count(v, ".") != 2 {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return false
	}
	var h struct {
		Type string `json:"typ"`
	}
	if json.Unmarshal(text, &h) != nil {
		return false
	}
	return h.Type == string(claviger.CallerOperator)+"+jwt" || h.Type == string(claviger.CallerScoped)+"+jwt" || h.Type == string(claviger.CallerWidget)+"+jwt"
}

const (
	bufferSize = 32 << 10
	// eventBuffer is enough for most events. A stream keeps its buffer while it is
	// silent, and thousands may be.
	eventBuffer = 4 << 10
)

// buffers are shared by streams, so that a thousand of them one after the other do not
// allocate a thousand buffers.
type buffers struct{ bodies, events *sync.Pool }

func newBuffers() buffers {
	pool := func(size int) *sync.Pool {
		return &sync.Pool{New: func() any { b := make([]byte, size); return &b }}
	}
	return buffers{bodies: pool(bufferSize), events: pool(eventBuffer)}
}

// fitting answers the pool for an answer's body.
func (b buffers) fitting(h http.Header) *sync.Pool {
	if strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") {
		return b.events
	}
	return b.bodies
}

// relay copies the vendor's body. With Flush each read is sent on at once: an event
// that waits in a buffer is an event that is late.
func relay(w http.ResponseWriter, answered *broker.Forwarded, b buffers) error {
	pool := b.fitting(answered.Header)
	buffer := pool.Get().(*[]byte) // the pool holds nothing else
	defer pool.Put(buffer)
	control := http.NewResponseController(w)
	if answered.Flush {
		// An event stream may be silent for long; its header must not be.
		if err := control.Flush(); err != nil {
			return err
		}
	}
	for {
		n, err := answered.Body.Read(*buffer)
		if n > 0 {
			if _, werr := w.Write((*buffer)[:n]); werr != nil {
				return werr
			}
			if answered.Flush {
				if ferr := control.Flush(); ferr != nil {
					return ferr
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
