package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

const (
	// maxAnswers is how many of a name's addresses are tried.
	maxAnswers = 8
	// nextAddress is the head start of one address over the next (RFC 8305, section 5).
	nextAddress = 250 * time.Millisecond
)

// dial resolves, vets and connects: anew for every connection, so that a name that
// changes its answer is judged by the answer that is used.
func (c *Client) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errNotAllowed()
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, errNotAllowed()
	}
	named := c.config.Allow.opensName(host, uint16(port))
	addrs, err := c.resolve(ctx, host, uint16(port), named)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.limits.Dial)
	defer cancel()
	return c.race(ctx, addrs, named)
}

// resolve answers a name's addresses if every single one passes the guard: one
// private answer among public ones is an attack or a mistake, and both are refused.
func (c *Client) resolve(ctx context.Context, host string, port uint16, named bool) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Resolve)
	defer cancel()
	addrs := make([]netip.Addr, 0, 1)
	if literal, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, literal)
	} else {
		name := host
		if !named {
			name += "." // absolute: a search domain must not complete it
		}
		if addrs, err = c.resolver.LookupNetIP(ctx, "ip", name); err != nil {
			if ctx.Err() != nil {
				return nil, errTimeout(err)
			}
			return nil, errUnreachable(err)
		}
	}
	out := make([]netip.AddrPort, 0, len(addrs))
	for _, a := range addrs {
		ap := netip.AddrPortFrom(a.Unmap(), port)
		if !c.guard.permits(ap, named) {
			return nil, errNotAllowed()
		}
		out = append(out, ap)
	}
	if len(out) == 0 {
		return nil, errUnreachable(errors.New("the name has no address"))
	}
	return out[:min(len(out), maxAnswers)], nil
}

type dialed struct {
	conn net.Conn
	err  error
}

// race connects to the addresses in order, each a little after the one before or as
// soon as that failed, and answers the first that connects.
func (c *Client) race(ctx context.Context, addrs []netip.AddrPort, named bool) (net.Conn, error) {
	if len(addrs) == 1 {
		return c.connect(ctx, addrs[0], named)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed, len(addrs))
	timer := time.NewTimer(0)
	defer timer.Stop()
	started, failed := 0, 0
	var first error
	for {
		select {
		case <-timer.C:
			addr := addrs[started]
			started++
			go func() {
				conn, err := c.connect(ctx, addr, named)
				results <- dialed{conn, err}
			}()
			if started < len(addrs) {
				timer.Reset(nextAddress)
			}
		case r := <-results:
			if r.err == nil {
				go closeLate(results, started-failed-1)
				return r.conn, nil
			}
			if first == nil {
				first = r.err
			}
			if failed++; failed == len(addrs) {
				return nil, first
			}
			if failed == started {
				timer.Reset(0)
			}
		}
	}
}

// closeLate closes the connections that lost the race.
func closeLate(results <-chan dialed, n int) {
	for range n {
		if r := <-results; r.err == nil {
			_ = r.conn.Close()
		}
	}
}

// connect opens one socket. The guard sees the socket's own address at the last
// moment before it connects: what was vetted is what is dialed, whatever happens
// in between.
func (c *Client) connect(ctx context.Context, addr netip.AddrPort, named bool) (net.Conn, error) {
	dialer := net.Dialer{
		KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			actual, err := netip.ParseAddrPort(address)
			if err != nil || !c.guard.permits(actual, named) {
				return errNotAllowed()
			}
			if c.config.OnDial != nil {
				c.config.OnDial(network, address)
			}
			return nil
		},
	}
	return dialer.DialContext(ctx, "tcp", addr.String())
}

// dialTLS connects and verifies the vendor's certificate for the host's name. It
// answers the socket below too.
func (c *Client) dialTLS(ctx context.Context, address string, config *tls.Config) (secured *tls.Conn, raw net.Conn, err error) {
	raw, err = c.dial(ctx, "tcp", address)
	if err != nil {
		return nil, nil, err
	}
	host, _, _ := net.SplitHostPort(address)
	config = config.Clone()
	config.ServerName = host
	secured = tls.Client(raw, config)
	ctx, cancel := context.WithTimeout(ctx, c.limits.TLS)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, nil, &tlsFailure{err}
	}
	return secured, raw, nil
}
