package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
	"time"

	"claviger"
)

// Limits bound every wait and every size. A zero field takes its default.
type Limits struct {
	Resolve      time.Duration // looking up a name: 5 s
	Dial         time.Duration // connecting to all of a name's addresses: 5 s
	TLS          time.Duration // the handshake: 5 s
	Header       time.Duration // from the request's end to the answer's header: 60 s
	BodyIdle     time.Duration // between two pieces of an answer's body: 120 s
	Idle         time.Duration // an unused connection's life: 90 s
	HeaderBytes  int64         // of an answer's header: 1 MiB
	HeaderFields int           // of an answer's header: 1,000
	Pools        int           // keep-alive partitions: 512
	IdlePerHost  int           // unused connections of one partition: 256
}

func (l Limits) withDefaults() Limits {
	durations := []struct {
		field *time.Duration
		value time.Duration
	}{
		{&l.Resolve, 5 * time.Second},
		{&l.Dial, 5 * time.Second},
		{&l.TLS, 5 * time.Second},
		{&l.Header, 60 * time.Second},
		{&l.BodyIdle, 120 * time.Second},
		{&l.Idle, 90 * time.Second},
	}
	for _, d := range durations {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if l.HeaderBytes == 0 {
		l.HeaderBytes = 1 << 20
	}
	if l.HeaderFields == 0 {
		l.HeaderFields = 1000
	}
	if l.Pools == 0 {
		l.Pools = 512
	}
	if l.IdlePerHost == 0 {
		l.IdlePerHost = 256
	}
	return l
}

// Config is the instance's egress policy. It is made from the settings of the
// instance alone; nothing of a tenant's reaches it.
type Config struct {
	// Allow opens addresses and hosts that are not public.
	Allow Allow
	// SelfOrigins are claviger's own addresses, scheme://host[:port]: calling them
	// would let a tenant loop, or reach listeners that are not for it.
	SelfOrigins []string
	// RootCAs replaces the system's certificate authorities; nil keeps them.
	RootCAs *x509.CertPool
	// Resolver answers names; nil is Go's own resolver with the system's servers.
	Resolver *net.Resolver
	// OnDial, if not nil, is told of every socket just before it connects: the
	// recorder that lets a test prove that nothing left.
	OnDial func(network, address string)
	Limits Limits
}

// Destination is where a credential may go. It comes from the connection and its
// connector, never from the request.
type Destination struct {
	// Key partitions keep-alive connections: organization, connector and TLS identity.
	// Two destinations of different keys never share a socket or a TLS session.
	Key string
	// Origin is scheme://host[:port] as [CanonicalOrigin] answers it.
	Origin string
	// Hosts are further hosts, of the same scheme and port: exact names, or
	// "*.example.com" for any depth of labels below.
	Hosts []string
	// Certificate is what a client shows where the vendor asks for one (RFC 8705); nil
	// for none. Destinations of different certificates never share a connection either.
	Certificate *tls.Certificate
	// Patience replaces Limits.Header, up to six minutes, for vendors known to be slow;
	// zero keeps it.
	Patience time.Duration
}

// Client sends requests. It may be shared; make one for each process.
type Client struct {
	guard    *guard
	self     map[string]bool // host:port
	config   Config
	resolver *net.Resolver
	limits   Limits
	pools    *pools
}

// New makes a Client.
func New(config Config) *Client {
	c := &Client{
		guard:    newGuard(config.Allow, config.SelfOrigins...),
		self:     make(map[string]bool),
		config:   config,
		resolver: config.Resolver,
		limits:   config.Limits.withDefaults(),
	}
	if c.resolver == nil {
		c.resolver = &net.Resolver{PreferGo: true}
	}
	for _, text := range config.SelfOrigins {
		scheme, authority, _ := strings.Cut(text, "://")
		if o, ok := parseOrigin(lowerASCII(scheme), authority); ok {
			c.self[o.address()] = true
		}
	}
	c.pools = newPools(c.limits.Pools, func(d *Destination) *partition { return c.newPartition(d.Certificate, d.Patience) })
	return c
}

// Close drops the unused connections. Requests under way are not disturbed.
func (c *Client) Close() { c.pools.closeIdle() }

// Do sends one request and answers the vendor's response, whatever its status;
// redirects are answered, not followed. The caller must close the body and should
// have cleaned the header ([CleanRequestHeader]) before it injected a credential.
//
// Before anything leaves, Do checks that the URL's scheme, host and port are the
// destination's; then it resolves, vets and dials as the package comment says.
// Plain http passes only to hosts that the operator opened. The request itself is
// not changed, and its Host is sent as the destination's. Its body is closed. A
// request with Close travels over an HTTP/1 connection of its own, which nothing else
// uses before or after it. [OnSend] tells whether anything was sent.
//
// Errors are *claviger.Error, as are the errors of the body's Read:
//
//	destination_not_allowed  KindDenied    policy, whatever the reason; nothing was sent
//	invalid_method           KindUnreadable
//	invalid_header           KindUnreadable  a name or value that HTTP does not allow
//	unreachable              KindUpstream  no connection, or it broke
//	upstream_tls             KindUpstream  the vendor's certificate or TLS is not acceptable
//	invalid_response         KindUpstream  not HTTP
//	response_too_large       KindUpstream  the header is over its cap
//	upstream_timeout         KindTimeout   no connection, header or next piece of body in time
//	canceled                 KindUnavailable  ctx ended; wraps context.Canceled
func (c *Client) Do(ctx context.Context, dest Destination, req *http.Request) (*http.Response, error) {
	target, err := c.check(dest, req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := c.pools.get(&dest).roundTrip(ctx, addressed(ctx, req, target), target)
	if err != nil {
		return nil, transportError(err)
	}
	if err := c.checkResponse(resp); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// check decides about the whole request.
func (c *Client) check(dest Destination, req *http.Request) (origin, error) {
	if !sendableMethod(req.Method) {
		return origin{}, claviger.Errorf(claviger.KindUnreadable, "invalid_method", "This method cannot be sent to a vendor.")
	}
	if !validHeader(req.Header) {
		return origin{}, errHeader()
	}
	return c.admit(dest, req)
}

// addressed answers req with the context and the canonical authority; req itself if
// it has both, so that the usual call copies nothing.
func addressed(ctx context.Context, req *http.Request, target origin) *http.Request {
	if req.Context() != ctx {
		req = req.WithContext(ctx)
	}
	authority := req.URL.Host
	if !target.canonical(authority) {
		authority = target.authority()
	}
	if authority == req.URL.Host && (req.Host == "" || req.Host == authority) {
		return req
	}
	u := *req.URL
	u.Host = authority
	out := req.WithContext(ctx)
	out.URL, out.Host = &u, authority
	return out
}

// admit decides from the names alone whether the request may leave.
func (c *Client) admit(dest Destination, req *http.Request) (origin, error) {
	u := req.URL
	if u == nil || u.User != nil || u.Opaque != "" {
		return origin{}, errNotAllowed()
	}
	target, ok := parseOrigin(u.Scheme, u.Host)
	if !ok || !dest.covers(target, u.Scheme, u.Host) {
		return origin{}, errNotAllowed()
	}
	if req.Host != "" && req.Host != u.Host {
		if host, ok := parseOrigin(u.Scheme, req.Host); !ok || host != target {
			return origin{}, errNotAllowed()
		}
	}
	if target.scheme == "http" && !c.config.Allow.Opens(target.host, target.port) {
		return origin{}, errNotAllowed()
	}
	if len(c.self) > 0 && c.self[target.address()] {
		return origin{}, errNotAllowed()
	}
	if localName(target.host) && !target.literal() && !c.config.Allow.opensName(target.host, target.port) {
		return origin{}, errNotAllowed()
	}
	return target, nil
}

// covers reports whether the credential may go to target, whose text is given too:
// the usual call is decided by comparing text.
func (d *Destination) covers(target origin, scheme, authority string) bool {
	pinnedScheme, pinnedAuthority, ok := strings.Cut(d.Origin, "://")
	if !ok {
		return false
	}
	if pinnedScheme == scheme && pinnedAuthority == authority {
		return true
	}
	pinned, ok := parseOrigin(pinnedScheme, pinnedAuthority)
	if !ok || pinned.scheme != target.scheme || pinned.port != target.port {
		return false
	}
	if pinned.host == target.host {
		return true
	}
	if target.literal() {
		return false // a pattern names hosts, never addresses
	}
	for _, pattern := range d.Hosts {
		if matchHost(pattern, target.host) {
			return true
		}
	}
	return false
}

// sendableMethod refuses what is no token (RFC 9110, section 5.6.2), what tunnels
// and what echoes.
func sendableMethod(method string) bool {
	if len(method) > 32 {
		return false
	}
	for _, c := range []byte(method) {
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	switch strings.ToUpper(method) {
	case http.MethodConnect, http.MethodTrace, "TRACK":
		return false
	}
	return true
}

// validHeader reports whether every name is a token and no value has a control
// character but tab (RFC 9110, section 5.5): nothing that could end a line.
func validHeader(h http.Header) bool {
	for name, values := range h {
		if !token(name) {
			return false
		}
		for _, value := range values {
			for i := range len(value) {
				if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
					return false
				}
			}
		}
	}
	return true
}

func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// checkResponse refuses what net/http accepts but no caller should have to handle.
func (c *Client) checkResponse(resp *http.Response) error {
	if resp.StatusCode < 200 || resp.StatusCode > 599 {
		return errInvalidResponse(nil)
	}
	fields := 0
	for _, values := range resp.Header {
		fields += len(values)
	}
	if fields > c.limits.HeaderFields {
		return errTooLarge(nil)
	}
	return nil
}
