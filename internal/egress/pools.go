package egress

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// pools keeps one transport for each destination key, the least used of late making
// room. Separate transports share neither sockets nor TLS sessions, so that a
// connection authenticated for one tenant never serves another.
type pools struct {
	limit int
	make  func() *http.Transport

	mu    sync.Mutex
	byKey map[string]*list.Element // of *pool
	order *list.List               // most recently used first
}

type pool struct {
	key       string
	transport *http.Transport
}

func newPools(limit int, newTransport func() *http.Transport) *pools {
	return &pools{limit: limit, make: newTransport, byKey: make(map[string]*list.Element), order: list.New()}
}

func (p *pools) get(key string) *http.Transport {
	p.mu.Lock()
	if e, ok := p.byKey[key]; ok {
		p.order.MoveToFront(e)
		p.mu.Unlock()
		return e.Value.(*pool).transport
	}
	fresh := &pool{key: key, transport: p.make()}
	p.byKey[key] = p.order.PushFront(fresh)
	var evicted *pool
	if p.order.Len() > p.limit {
		evicted = p.order.Remove(p.order.Back()).(*pool)
		delete(p.byKey, evicted.key)
	}
	p.mu.Unlock()
	if evicted != nil {
		evicted.transport.CloseIdleConnections()
	}
	return fresh.transport
}

func (p *pools) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := p.order.Front(); e != nil; e = e.Next() {
		e.Value.(*pool).transport.CloseIdleConnections()
	}
}

// newTransport makes one partition. Proxy is nil, so that no variable of the
// environment diverts traffic; there is no key log; bodies are passed as they come,
// never inflated.
func (c *Client) newTransport() *http.Transport {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            c.config.RootCAs,
		ClientSessionCache: tls.NewLRUClientSessionCache(32),
		NextProtos:         []string{"h2", "http/1.1"},
	}
	return &http.Transport{
		Proxy:       nil,
		DialContext: c.dial,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return c.dialTLS(ctx, network, address, config)
		},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConns:           c.limits.IdlePerHost,
		MaxIdleConnsPerHost:    c.limits.IdlePerHost,
		IdleConnTimeout:        c.limits.Idle,
		ResponseHeaderTimeout:  c.limits.Header,
		MaxResponseHeaderBytes: c.limits.HeaderBytes,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}
