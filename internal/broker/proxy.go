package broker

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"

	"claviger"
	"claviger/internal/egress"
	"claviger/internal/gate"
)

// Forward relays a caller's request through a connection and answers the vendor's
// response as a stream. The caller chooses method, path below the base, query,
// headers that carry no credential, and body; never scheme, host or where the
// credential goes.
//
// The answer's Body must be closed: the call ends in the ledger then.
func (b *Broker) Forward(ctx context.Context, c claviger.Caller, in Forward) (*Forwarded, error) {
	l, err := b.usable(ctx, c, claviger.ConnectionsProxy, in.Connection)
	if err != nil {
		return nil, err
	}
	req, err := l.request(ctx, in)
	if err != nil {
		return nil, b.gate.Refuse(ctx, c, claviger.ConnectionsProxy, l.resource, err)
	}
	if err := b.throttle(ctx, l); err != nil {
		return nil, err
	}
	t, err := b.gate.Admit(ctx, c, claviger.ConnectionsProxy, l.resource, "")
	if err != nil {
		return nil, err
	}
	s, err := b.attempt(ctx, t, l, req)
	if err == nil && req.Body == http.NoBody && l.method.OAuth != nil && l.refuses(s.response.StatusCode, s.response.Header, nil) {
		l, s, err = b.repeat(ctx, t, l, s, req)
	}
	if err != nil {
		t.Done(gate.Ending{Err: err})
		return nil, err
	}
	return b.relay(ctx, t, l, s, in.Prefix), nil
}

// repeat sends a request without a body once more, with another access token than the
// one that the vendor refused. Where there is none, the vendor's answer stands.
func (b *Broker) repeat(ctx context.Context, t *gate.Ticket, l *live, s sent, req *http.Request) (*live, sent, error) {
	next, err := b.renewed(ctx, t, l)
	if err != nil || next == nil {
		if err != nil {
			_ = s.response.Body.Close()
		}
		return l, s, err
	}
	_ = s.response.Body.Close()
	again, err := b.attempt(ctx, t, next, req)
	return next, again, err
}

// request makes the vendor's request out of the caller's.
func (l *live) request(ctx context.Context, in Forward) (*http.Request, error) {
	if err := checkMethod(in.Method); err != nil {
		return nil, err
	}
	if err := egress.CheckPath(in.Path); err != nil {
		return nil, err
	}
	if err := egress.CheckQuery(in.RawQuery); err != nil {
		return nil, err
	}
	u, err := egress.Join(l.base, in.Path, egress.StripQuery(in.RawQuery, l.queries...))
	if err != nil {
		return nil, err
	}
	if _, asked := in.Header["Upgrade"]; asked { // also an empty one, behind which another may stand
		return nil, claviger.Errorf(claviger.KindUnreadable, "upgrade_unsupported", "The proxy does not switch protocols. Send the request without Upgrade.")
	}
	egress.CleanRequestHeader(in.Header, l.drop)
	for name, values := range l.headers {
		if _, ok := in.Header[name]; !ok {
			in.Header[name] = values
		}
	}
	req := &http.Request{
		Method: in.Method, URL: u, Host: u.Host, Header: in.Header, Body: in.Body, ContentLength: in.ContentLength,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if in.ContentLength == 0 {
		req.Body = http.NoBody
	}
	return req.WithContext(ctx), nil
}

// checkMethod lets through every method but those that change what a request is.
func checkMethod(m string) error {
	if len(m) == 0 || len(m) > 32 {
		return claviger.Errorf(claviger.KindUnreadable, "bad_method", "The method is missing or too long.")
	}
	for _, c := range []byte(m) {
		if (c < 'A' || c > 'Z') && c != '-' {
			return claviger.Errorf(claviger.KindUnreadable, "bad_method", "A method is written in capital letters.")
		}
	}
	switch m {
	case http.MethodConnect, http.MethodTrace, "TRACK":
		return claviger.Errorf(claviger.KindUnreadable, "bad_method", "The proxy does not forward %s.", m)
	}
	return nil
}

// relay dresses a vendor's answer for the caller.
func (b *Broker) relay(ctx context.Context, t *gate.Ticket, l *live, s sent, prefix string) *Forwarded {
	res := s.response
	ending := gate.Ending{StatusCode: res.StatusCode}
	if res.StatusCode >= 400 {
		ending.Err = claviger.Errorf(claviger.KindUpstream, "vendor_error", "The vendor answered with an error.")
	}
	if l.expired(res) {
		b.noteFailure(ctx, t, l)
	}
	location := res.Header.Get("Location")
	egress.CleanResponseHeader(res.Header)
	if location != "" {
		res.Header.Del("Location")
		if to, ok := egress.RewriteLocation(location, s.sent, l.base, prefix); ok {
			res.Header.Set("Location", to)
		}
	}
	s.scrub.Header(res.Header)
	out := &Forwarded{StatusCode: res.StatusCode, Header: res.Header, Flush: res.ContentLength < 0}
	var body io.Reader = res.Body
	if readable(res.Header) {
		body = s.scrub.Reader(res.Body) // masks keep the length, so Content-Length stays true
	}
	out.Body = &stream{Reader: body, close: res.Body.Close, ticket: t, ending: ending}
	return out
}

// expired applies the connector's signals that can be seen without the body, which
// belongs to the caller.
func (l *live) expired(res *http.Response) bool {
	for _, signal := range l.connector.Expiry {
		if signal.Path == "" && signal.Status == res.StatusCode &&
			(signal.Header == "" || res.Header.Get(signal.Header) == signal.Equals) {
			return true
		}
	}
	return false
}

// readable reports whether an answer is text that can be searched for echoes as it
// passes: not compressed, not binary.
func readable(h http.Header) bool {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return false
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "" || strings.HasPrefix(kind, "text/") || strings.Contains(kind, "json") ||
		strings.Contains(kind, "xml") || strings.Contains(kind, "javascript") || kind == "application/x-www-form-urlencoded"
}

// stream is a vendor's body whose end is the end of the call.
type stream struct {
	io.Reader
	close  func() error
	ticket *gate.Ticket
	once   sync.Once
	ending gate.Ending
}

// Read passes the vendor's bytes on and remembers a break.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF && s.ending.Err == nil {
		s.ending.Err = claviger.Errorf(claviger.KindUpstream, "broken_off", "The vendor's answer broke off.").With(err)
	}
	return n, err
}

// Close ends the call.
func (s *stream) Close() error {
	err := s.close()
	s.once.Do(func() { s.ticket.Done(s.ending) })
	return err
}
