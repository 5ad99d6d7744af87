package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"claviger"
)

// Limits of a client that no option changes.
const (
	answerCap    = 32 << 20 // bytes read of one answer
	attempts     = 4        // of a request that may be repeated
	longestPause = 30 * time.Second
	firstPause   = 500 * time.Millisecond
	tokenMargin  = 30 * time.Second // a minted token is replaced this long before it expires
)

// Client calls one claviger server with one token. It is safe for use by many
// goroutines. Printing it shows no token.
type Client struct {
	base  *url.URL
	http  *http.Client
	agent string
	token TokenSource
	plain bool
	pause func(context.Context, time.Duration) error
	now   func() time.Time
}

// Option changes a client while [New] makes it.
type Option func(*Client)

// AllowPlainHTTP lets the client speak plain http to addresses that are not
// loopback: the token then travels readably. Use it only inside a network that you
// trust as you trust the machine.
func AllowPlainHTTP() Option { return func(c *Client) { c.plain = true } }

// WithHTTPClient makes the client use the transport and the timeout of h, for
// example to trust a private certificate authority. Its redirect policy and its
// cookies are not used.
func WithHTTPClient(h *http.Client) Option {
	return func(c *Client) {
		c.http.Timeout = h.Timeout
		if h.Transport != nil {
			c.http.Transport = h.Transport
		}
	}
}

// WithTimeout bounds each attempt, its answer's body included. The default is 90
// seconds. It does not bound what goes through [Client.Proxy].
func WithTimeout(d time.Duration) Option { return func(c *Client) { c.http.Timeout = d } }

// WithUserAgent names the program that calls.
func WithUserAgent(name string) Option { return func(c *Client) { c.agent = name } }

// WithTokenSource makes the client ask s for a token instead of using a fixed one.
func WithTokenSource(s TokenSource) Option { return func(c *Client) { c.token = s } }

// Anonymous makes a client that has no token: it can ask for one ([Client.BeginLogin],
// [Client.RedeemLogin]), and nothing else.
func Anonymous() Option { return func(c *Client) { c.token = fixedToken{} } }

// New makes a client of the server at baseURL, for example
// "https://claviger.example", that shows the given token: an API key or a
// short-lived token. With [Operator] or [WithTokenSource] the token may be empty.
//
// It fails if baseURL is no plain origin (a path in front of /v1 is allowed, user
// information, query and fragment are not), or if it is http to an address that is
// not loopback.
func New(baseURL, token string, opts ...Option) (*Client, error) {
	c := &Client{
		agent: "claviger-go",
		pause: sleep,
		now:   time.Now,
		http:  &http.Client{Transport: newTransport(), Timeout: 90 * time.Second, CheckRedirect: noRedirects},
	}
	if token != "" {
		c.token = fixedToken{claviger.NewSecretString(token)}
	}
	for _, o := range opts {
		o(c)
	}
	base, err := parseBase(baseURL, c.plain)
	if err != nil {
		return nil, err
	}
	c.base = base
	if op, ok := c.token.(*operator); ok {
		op.client = c
	}
	if c.token == nil {
		return nil, errors.New("client: no token given")
	}
	return c, nil
}

// BaseURL answers the address that the client was made for, without a trailing
// slash.
func (c *Client) BaseURL() string { return c.base.String() }

// newTransport is the client's own: the process's shared one may be changed by others.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 32,
		IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
	}
}

func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// parseBase checks the server's address; see [New].
func parseBase(raw string, plain bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return nil, errors.New("client: the server's address must look like https://claviger.example")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("client: the server's address must not hold a user, a query or a fragment")
	}
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && (plain || Loopback(u.Hostname())):
	case u.Scheme == "http":
		return nil, fmt.Errorf("client: refused to send a token over plain http to %q; use https", u.Host)
	default:
		return nil, errors.New("client: the server's address must begin with https://")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

// Loopback reports whether a host name or an address names this machine and no
// other, without asking DNS.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
