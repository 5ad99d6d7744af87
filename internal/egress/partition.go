package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// partition holds the connections of one destination key. It shares neither
// sockets nor TLS sessions with others, so that a connection authenticated for one
// tenant never serves another.
//
// HTTP/1 runs over connections of its own ([conn]) and not over http.Transport, for
// two reasons. The transport may give a socket to the next request before it has
// seen that the vendor sent more than one answer, and then takes the surplus for
// the next answer; and it prints such surplus, a vendor's text, to the process's
// log. It also needs two goroutines for each socket, which costs a third more.
// HTTP/2 has frames and no such trouble: there the transport serves.
type partition struct {
	client *Client
	tls    *tls.Config
	h2     *http.Transport
	header time.Duration // from the request's end to the answer's header

	mu     sync.Mutex
	idle   map[origin][]*conn // most recently used last
	count  int                // of idle
	usesH2 map[origin]bool
	fresh  map[string]net.Conn // connections that turned out to speak HTTP/2, by address
	reaper *time.Timer
	closed bool
}

// maxPatience bounds how long a slow vendor may think.
const maxPatience = 6 * time.Minute

// maxH2Hosts bounds what a partition remembers of its hosts' protocols.
const maxH2Hosts = 256

var (
	errUseH2 = errors.New("egress: the vendor speaks HTTP/2")
	errNotH2 = errors.New("egress: the vendor no longer speaks HTTP/2")
	errStale = errors.New("egress: a kept connection was closed by the vendor")
)

// newPartition makes a partition. No proxy of the environment diverts its traffic,
// there is no key log, and bodies are passed as they come, never inflated. A vendor
// that asks for a certificate gets the given one, if any.
func (c *Client) newPartition(certificate *tls.Certificate, patience time.Duration) *partition {
	p := &partition{
		header: c.limits.Header,
		client: c,
		tls: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            c.config.RootCAs,
			ClientSessionCache: tls.NewLRUClientSessionCache(32),
			NextProtos:         []string{"h2", "http/1.1"},
		},
		idle:   make(map[origin][]*conn),
		usesH2: make(map[origin]bool),
		fresh:  make(map[string]net.Conn),
	}
	if patience > 0 {
		p.header = min(patience, maxPatience)
	}
	if certificate != nil {
		p.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	only := new(http.Protocols)
	only.SetHTTP2(true)
	p.h2 = &http.Transport{
		Proxy:                  nil,
		Protocols:              only,
		DialTLSContext:         p.dialH2,
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return nil, errNotAllowed() },
		DisableCompression:     true,
		IdleConnTimeout:        c.limits.Idle,
		ResponseHeaderTimeout:  p.header,
		MaxResponseHeaderBytes: c.limits.HeaderBytes,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
	return p
}

// roundTrip sends one request and answers its response, over a kept connection if
// there is one that the vendor has left alone.
func (p *partition) roundTrip(ctx context.Context, req *http.Request, to origin) (*http.Response, error) {
	for {
		c, err := p.take(ctx, to, req.Close)
		if errors.Is(err, errUseH2) {
			resp, err := p.h2.RoundTrip(tracedH2(ctx, req))
			if !errors.Is(err, errNotH2) {
				return watched(resp, p.client.limits.BodyIdle), err
			}
			p.forgetH2(to)
			continue // nothing was sent; the connection it found is closed
		}
		if err != nil {
			closeBody(req)
			return nil, err
		}
		resp, err := c.exchange(ctx, req)
		if !errors.Is(err, errStale) {
			return resp, err
		}
		again, ok := replay(req)
		if !ok {
			return nil, err
		}
		req = again
	}
}

// replay answers the request to be sent again after a kept connection broke before
// any answer. The vendor may have acted on it: only what is safe twice is sent twice
// (RFC 9110, section 9.2.2).
func replay(req *http.Request) (*http.Request, bool) {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "":
	default:
		return nil, false
	}
	if req.Body == nil || req.Body == http.NoBody {
		return req, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	again := *req
	again.Body = body
	return &again, true
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// take answers a connection for one exchange, or errUseH2. With alone it is never a
// kept one, and speaks HTTP/1.
func (p *partition) take(ctx context.Context, to origin, alone bool) (*conn, error) {
	for {
		p.mu.Lock()
		if p.usesH2[to] && !alone {
			p.mu.Unlock()
			return nil, errUseH2
		}
		list := p.idle[to]
		if len(list) == 0 || alone {
			p.mu.Unlock()
			return p.open(ctx, to, alone)
		}
		c := list[len(list)-1]
		p.idle[to] = list[:len(list)-1]
		p.count--
		p.mu.Unlock()
		if time.Since(c.since) < p.client.limits.Idle && c.quiet() {
			return c, nil
		}
		_ = c.raw.Close()
	}
}

// open dials. A vendor that chooses HTTP/2 is remembered, and the connection kept
// for the transport that speaks it. With alone the vendor is not given that choice:
// HTTP/2's transport sends again what it holds unseen, and cannot be stopped at the
// last moment.
func (p *partition) open(ctx context.Context, to origin, alone bool) (*conn, error) {
	address := to.address()
	if to.scheme == "http" {
		raw, err := p.client.dial(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		return newConn(p, to, raw, raw), nil
	}
	config := p.tls
	if alone {
		config = p.tls.Clone()
		config.NextProtos = []string{"http/1.1"}
	}
	secured, raw, err := p.client.dialTLS(ctx, address, config)
	if err != nil {
		return nil, err
	}
	if secured.ConnectionState().NegotiatedProtocol != "h2" {
		return newConn(p, to, secured, raw), nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.usesH2) >= maxH2Hosts {
		clear(p.usesH2)
	}
	p.usesH2[to] = true
	if old := p.fresh[address]; old != nil || p.closed {
		_ = secured.Close() // another call was first: its connection serves both
	} else {
		p.fresh[address] = secured
	}
	return nil, errUseH2
}

// dialH2 gives the transport the connection that open found, or a new one.
func (p *partition) dialH2(ctx context.Context, _, address string) (net.Conn, error) {
	p.mu.Lock()
	ready := p.fresh[address]
	delete(p.fresh, address)
	p.mu.Unlock()
	if ready != nil {
		return ready, nil
	}
	secured, _, err := p.client.dialTLS(ctx, address, p.tls)
	if err != nil {
		return nil, err
	}
	if secured.ConnectionState().NegotiatedProtocol != "h2" {
		_ = secured.Close()
		return nil, errNotH2
	}
	return secured, nil
}

func (p *partition) forgetH2(to origin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.usesH2, to)
}

// put keeps a connection whose exchange ended cleanly.
func (p *partition) put(c *conn) {
	c.since = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.count >= p.client.limits.IdlePerHost {
		_ = c.raw.Close()
		return
	}
	p.idle[c.to] = append(p.idle[c.to], c)
	p.count++
	if p.reaper == nil {
		p.reaper = time.AfterFunc(p.client.limits.Idle, p.reap)
	}
}

// reap closes the connections that were unused for too long.
func (p *partition) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for to, list := range p.idle {
		list = slices.DeleteFunc(list, func(c *conn) bool {
			if time.Since(c.since) < p.client.limits.Idle {
				return false
			}
			p.count--
			_ = c.raw.Close()
			return true
		})
		if len(list) == 0 {
			delete(p.idle, to)
		} else {
			p.idle[to] = list
		}
	}
	p.reaper = nil
	if p.count > 0 {
		p.reaper = time.AfterFunc(p.client.limits.Idle, p.reap)
	}
}

// drop closes what is unused. With final, what is still in use is closed when its
// exchange ends instead of being kept.
func (p *partition) drop(final bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = p.closed || final
	for _, list := range p.idle {
		for _, c := range list {
			_ = c.raw.Close()
		}
	}
	clear(p.idle)
	p.count = 0
	for _, c := range p.fresh {
		_ = c.Close()
	}
	clear(p.fresh)
	if p.reaper != nil {
		p.reaper.Stop()
		p.reaper = nil
	}
	p.h2.CloseIdleConnections()
}
