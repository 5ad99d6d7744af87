package egress

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

const (
	// maxInline is up to which size a request's body is sent before the answer is
	// read; a longer one is sent beside it, for the vendor may answer early.
	maxInline = 32 << 10
	// maxInterim is how many 1xx answers may come before the real one.
	maxInterim = 5
)

// conn is one HTTP/1 connection, used by one exchange at a time. Parsing and
// writing are net/http's; what is here is whose bytes they are.
type conn struct {
	net.Conn // the TLS connection, or the socket itself
	raw      net.Conn
	owner    *partition
	to       origin
	in       *bufio.Reader
	out      *bufio.Writer
	budget   int64 // of header bytes; counts only while positive
	used     bool
	since    time.Time // kept since
}

var errHeaderBudget = errors.New("egress: response header over its cap")

func newConn(p *partition, to origin, c, raw net.Conn) *conn {
	out := &conn{Conn: c, raw: raw, owner: p, to: to}
	out.in = bufio.NewReader(out)
	out.out = bufio.NewWriter(out)
	return out
}

// Read counts what a header may still take.
func (c *conn) Read(p []byte) (int, error) {
	if c.budget < 0 {
		return 0, errHeaderBudget
	}
	n, err := c.Conn.Read(p)
	if c.budget > 0 {
		if c.budget -= int64(n); c.budget <= 0 {
			c.budget = -1
		}
	}
	return n, err
}

// Write gives each piece its own time: an upload may take long, not stall.
func (c *conn) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.owner.header))
	return c.Conn.Write(p)
}

// quiet reports whether a kept connection is open and the vendor sent nothing that
// nobody asked for: an unread byte would be taken for the next answer. Such a byte
// may wait in the buffer, inside the TLS connection or in the socket. A read whose
// time is already over finds the second without waiting for the third.
func (c *conn) quiet() bool {
	if c.in.Buffered() > 0 {
		return false
	}
	if c.Conn != c.raw {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		if _, err := c.in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
	}
	_ = c.SetReadDeadline(time.Time{})
	return socketQuiet(c.raw)
}

// exchange sends the request and reads the answer's header. Errors are as they come,
// errStale if the connection was a kept one and broke before the answer began. The
// connection is the body's until it is closed or read to its end.
func (c *conn) exchange(ctx context.Context, req *http.Request) (*http.Response, error) {
	if ctx.Err() == nil {
		announce(ctx)
	}
	if err := ctx.Err(); err != nil {
		_ = c.raw.Close()
		closeBody(req)
		return nil, err
	}
	x := &exchange{conn: c, idle: c.owner.client.limits.BodyIdle}
	kept := c.used
	c.used = true
	if ctx.Done() != nil {
		x.ctxErr = ctx.Err
		x.release = context.AfterFunc(ctx, func() { _ = c.raw.Close() })
	}
	resp, err := x.run(req)
	if err == nil && resp.Body != http.NoBody {
		x.body, resp.Body = resp.Body, x
		x.reusable = !resp.Close && !req.Close
		return resp, nil
	}
	if err == nil {
		x.finish(!resp.Close && !req.Close)
		return resp, nil
	}
	x.finish(false)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case kept && !x.began && brokenEarly(err):
		return nil, errStale
	}
	return nil, err
}

// brokenEarly reports errors of a connection that the other side closed.
func brokenEarly(err error) bool {
	var timeout net.Error
	return !errors.Is(err, errHeaderBudget) && (!errors.As(err, &timeout) || !timeout.Timeout())
}

// exchange is one request and its answer; it is the answer's body.
type exchange struct {
	conn     *conn
	body     io.ReadCloser
	idle     time.Duration
	release  func() bool // unbinds the connection from the context; nil if it cannot end
	ctxErr   func() error
	sent     chan error  // of a body that is sent beside; nil if all was sent
	began    bool        // the answer's first byte has come
	headed   atomic.Bool // the answer's header has come
	reusable bool
	done     atomic.Bool
	last     error
}

func (x *exchange) run(req *http.Request) (*http.Response, error) {
	c := x.conn
	if req.Body == nil || req.Body == http.NoBody || req.ContentLength > 0 && req.ContentLength <= maxInline {
		_ = c.SetReadDeadline(time.Now().Add(c.owner.header))
		if err := c.send(req); err != nil {
			return nil, err
		}
		return x.header(req)
	}
	_ = c.SetReadDeadline(time.Time{})
	x.sent = make(chan error, 1)
	go func() {
		err := c.send(req)
		if err == nil && !x.headed.Load() {
			_ = c.SetReadDeadline(time.Now().Add(c.owner.header))
		}
		if err != nil {
			// The answer, if there is one, is read within a moment; then all ends.
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
		}
		x.sent <- err
	}()
	return x.header(req)
}

func (c *conn) send(req *http.Request) error {
	if err := req.Write(c.out); err != nil {
		return err
	}
	return c.out.Flush()
}

// header reads the answer's header, past interim ones.
func (x *exchange) header(req *http.Request) (*http.Response, error) {
	c := x.conn
	c.budget = c.owner.client.limits.HeaderBytes
	if _, err := c.in.Peek(1); err != nil {
		return nil, err
	}
	x.began = true
	for range maxInterim + 1 {
		resp, err := http.ReadResponse(c.in, req)
		if err != nil {
			if c.budget < 0 {
				err = errHeaderBudget
			}
			return nil, err
		}
		if resp.StatusCode < 100 || resp.StatusCode > 199 || resp.StatusCode == http.StatusSwitchingProtocols {
			c.budget = 0
			x.headed.Store(true)
			return resp, nil
		}
	}
	return nil, errHeaderBudget
}

// Read implements io.Reader.
func (x *exchange) Read(p []byte) (int, error) {
	if x.done.Load() {
		if x.last != nil {
			return 0, x.last
		}
		return 0, errUnreachable(http.ErrBodyReadAfterClose)
	}
	_ = x.conn.SetReadDeadline(time.Now().Add(x.idle))
	n, err := x.body.Read(p)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		x.last = io.EOF
		x.finish(x.reusable)
	default:
		if x.release != nil && x.ctxErr() != nil {
			err = x.ctxErr()
		}
		x.last = transportError(err)
		x.finish(false)
	}
	return n, x.last
}

// Close implements io.Closer. What was not read is not waited for.
func (x *exchange) Close() error {
	x.finish(false)
	return nil
}

// finish ends the exchange, once. The connection is kept only if nothing is left on
// it in either direction and the context has not touched it.
func (x *exchange) finish(clean bool) {
	if x.done.Swap(true) {
		return
	}
	if x.sent != nil {
		select {
		case err := <-x.sent:
			clean = clean && err == nil
		default:
			clean = false // still sending what the vendor no longer wants
		}
	}
	if x.release != nil && !x.release() {
		clean = false
	}
	if clean && x.conn.in.Buffered() == 0 {
		x.conn.owner.put(x.conn)
		return
	}
	_ = x.conn.raw.Close()
}
