package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"claviger/api"
	"claviger/client"
)

// networkChecks look at where the server listens, who it believes and where it may go.
func networkChecks() []check {
	return []check{
		{
			id: "listen.plain", what: "the API listens on this machine only, or browsers and clients reach it by https", security: true, look: lookListen,
			fix: "Put a proxy with TLS in front, set public.url to its https address, and let addr be reached by the proxy alone",
		},
		{
			id: "listen.admin", what: "health, metrics and profiles are for this machine only", security: true, look: lookAdmin,
			fix: "Set admin.addr to 127.0.0.1:8788",
		},
		{
			id: "listen.apart", what: "the API and the admin listener are apart", security: true, look: lookApart,
			fix: "Give admin.addr a port of its own",
		},
		{
			id: "public_url.plain", what: "the address that browsers and vendors see is https", security: true, look: lookPublicURL,
			fix: "Set public.url to an https address",
		},
		{
			id: "database.transport", what: "the database is reached over verified TLS", security: true, look: lookTransport,
			fix: "Add sslmode=verify-full and, for a private authority, sslrootcert to database.url",
		},
		{
			id: "database.password", what: "the database's password is no argument", security: true, warning: true, look: lookDatabasePassword,
			fix: "Give database.url by CLAVIGER_DATABASE_URL, or the password by a passfile",
		},
		{
			id: "proxies.trusted", what: "only proxies are believed", security: true, look: lookProxies,
			fix: "Set trusted.proxies to the proxies' own addresses",
		},
		{
			id: "egress.wide", what: "the address guard is not opened wide", security: true, look: lookEgressWide,
			fix: "Name single hosts or addresses with their port in egress.allow",
		},
		{
			id: "egress.metadata", what: "cloud metadata stays closed", security: true, look: lookMetadata,
			fix: "Take the network out of egress.allow: whoever reaches metadata has the machine's own credentials",
		},
		{
			id: "egress.loopback", what: "this machine stays closed, but for ports that are named", security: true, look: lookLoopback,
			fix: "Add the port to the entry in egress.allow, or take it out",
		},
		{
			id: "egress.self", what: "claviger may not call itself", security: true, look: lookSelf,
			fix: "Take the address out of egress.allow",
		},
		{
			id: "egress.names", what: "no pattern of names is wider than one domain", security: true, look: lookNames,
			fix: "Name hosts, or *.your-domain.example",
		},
	}
}

// serverChecks look at the server that the person is logged in to.
func serverChecks() []check {
	return []check{
		{
			id: "client.address", what: "the key is not sent readably", security: true, look: lookClientAddress,
			fix: "Use an https address",
		},
		{
			id: "server.ready", what: "the server is reached and ready", look: lookReady,
			fix: "Start it with: claviger serve; or see its log",
		},
		{
			id: "server.clock", what: "this machine's clock is the server's", look: lookClock,
			fix: "Set both by NTP: tokens and signatures carry times",
		},
		{
			id: "client.key_ends", what: "the key in use comes to an end", security: true, warning: true, look: lookKeyEnds,
			fix: "Log in again with claviger login, or make keys with --expires-in",
		},
		{
			id: "client.key_rights", what: "the key in use is not the instance owner's", security: true, warning: true, look: lookKeyRights,
			fix: "Use a key with the scopes that it needs: claviger key create NAME --scope ...",
		},
	}
}

// loopbackAddr reports whether what listens on an address is reached from this machine only.
func loopbackAddr(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && client.Loopback(host)
}

func lookListen(_ context.Context, p *patient) ([]string, error) {
	if loopbackAddr(p.Addr) || strings.HasPrefix(p.PublicURL, "https://") {
		return nil, nil
	}
	return []string{"addr is " + p.Addr + ", and public.url is " + p.PublicURL}, nil
}

func lookAdmin(_ context.Context, p *patient) ([]string, error) {
	if loopbackAddr(p.AdminAddr) {
		return nil, nil
	}
	return []string{"admin.addr is " + p.AdminAddr}, nil
}

func lookApart(_ context.Context, p *patient) ([]string, error) {
	_, api, err := net.SplitHostPort(p.Addr)
	_, admin, adminErr := net.SplitHostPort(p.AdminAddr)
	if err := errors.Join(err, adminErr); err != nil {
		return nil, err
	}
	if api == admin && api != "0" {
		return []string{"addr and admin.addr have the port " + api}, nil
	}
	return nil, nil
}

func lookPublicURL(_ context.Context, p *patient) ([]string, error) {
	u, err := url.Parse(p.PublicURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" || client.Loopback(u.Hostname()) {
		return nil, nil
	}
	return []string{"public.url is " + p.PublicURL}, nil
}

// lookTransport reads the URL as libpq would: without sslmode it is "prefer", which takes
// no for an answer.
func lookTransport(_ context.Context, p *patient) ([]string, error) {
	u, err := url.Parse(p.DatabaseURL)
	if p.databaseFile() != "" || err != nil || u.Host == "" || client.Loopback(u.Hostname()) {
		return nil, errSkipped
	}
	mode := u.Query().Get("sslmode")
	if mode == "verify-full" || mode == "verify-ca" {
		return nil, nil
	}
	return []string{"database.url goes to " + u.Hostname() + " with sslmode " + strings.TrimSpace(mode+" (empty means prefer)")}, nil
}

func lookDatabasePassword(_ context.Context, p *patient) ([]string, error) {
	u, err := url.Parse(p.flagged)
	if p.flagged == "" || err != nil {
		return nil, errSkipped
	}
	if _, has := u.User.Password(); has || u.Query().Has("password") {
		return []string{"--database-url carries a password"}, nil
	}
	return nil, nil
}

func lookProxies(_ context.Context, p *patient) (found []string, _ error) {
	for _, n := range networks(p.TrustedProxies) {
		if wide(n) {
			found = append(found, "trusted.proxies believes "+n.String())
		}
	}
	return found, nil
}

// items answers the items of a list by comma.
func items(list string) (out []string) {
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// networks answers what of a list is an address or a network, whatever the port.
func networks(list string) (out []netip.Prefix) {
	for _, item := range items(list) {
		if n, _, ok := network(item); ok {
			out = append(out, n)
		}
	}
	return out
}

// network reads one item; port is 0 if it has none.
func network(item string) (n netip.Prefix, port uint16, ok bool) {
	if n, err := netip.ParsePrefix(item); err == nil {
		return n, 0, true
	}
	if a, err := netip.ParseAddr(item); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), 0, true
	}
	if ap, err := netip.ParseAddrPort(item); err == nil {
		return netip.PrefixFrom(ap.Addr(), ap.Addr().BitLen()), ap.Port(), true
	}
	return netip.Prefix{}, 0, false
}

// wide reports a network that no single operator has: more than 10.0.0.0/8 holds, or an
// IPv6 network above a site's /32.
func wide(n netip.Prefix) bool {
	if n.Addr().Is4() {
		return n.Bits() < 8
	}
	return n.Bits() < 32
}

func lookEgressWide(_ context.Context, p *patient) (found []string, _ error) {
	for _, n := range networks(p.EgressAllow) {
		if wide(n) {
			found = append(found, "egress.allow opens "+n.String())
		}
	}
	return found, nil
}

// metadata is where clouds answer a machine about itself.
func metadata() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("169.254.170.2"), netip.MustParseAddr("fd00:ec2::254"),
		netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"),
	}
}

func lookMetadata(_ context.Context, p *patient) (found []string, _ error) {
	for _, n := range networks(p.EgressAllow) {
		for _, a := range metadata() {
			if n.Contains(a) {
				found = append(found, fmt.Sprintf("egress.allow opens %s, which holds %s", n, a))
			}
		}
	}
	for _, item := range items(p.EgressAllow) {
		if name, _, _ := strings.Cut(strings.ToLower(item), ":"); name == "metadata.google.internal" || name == "metadata" || name == "*.google.internal" {
			found = append(found, "egress.allow opens "+item)
		}
	}
	return found, nil
}

func lookLoopback(_ context.Context, p *patient) (found []string, _ error) {
	for _, item := range items(p.EgressAllow) {
		n, port, ok := network(item)
		if ok && port == 0 && n.Addr().IsLoopback() || strings.EqualFold(item, "localhost") {
			found = append(found, "egress.allow opens every port of "+item)
		}
	}
	return found, nil
}

func lookSelf(_ context.Context, p *patient) (found []string, _ error) {
	for _, item := range items(p.EgressAllow) {
		host, port, err := net.SplitHostPort(item)
		if err != nil || !client.Loopback(host) {
			continue
		}
		for _, own := range []string{p.Addr, p.AdminAddr} {
			if _, mine, err := net.SplitHostPort(own); err == nil && mine == port {
				found = append(found, "egress.allow opens "+item+", where claviger itself listens")
			}
		}
	}
	return found, nil
}

func lookNames(_ context.Context, p *patient) (found []string, _ error) {
	for _, item := range items(p.EgressAllow) {
		name, wild := strings.CutPrefix(item, "*.")
		name, _, _ = strings.Cut(name, ":")
		if wild && strings.Count(strings.Trim(name, "."), ".") < 1 {
			found = append(found, "egress.allow opens "+item)
		}
	}
	return found, nil
}

func lookClientAddress(_ context.Context, p *patient) ([]string, error) {
	for _, address := range []string{p.program.url, p.variable("CLAVIGER_URL")} {
		if address == "" {
			continue
		}
		if err := checkAddress(address); err != nil {
			return []string{address + ": " + err.Error()}, nil
		}
	}
	return nil, nil
}

// server answers the server that the person is logged in to, if there is one. What keeps
// the login from being used is the finding of other checks.
func (p *patient) server() (*client.Client, error) {
	var none loginError
	var unusable usageError
	c, err := p.program.connect()
	if errors.As(err, &none) || errors.As(err, &unusable) {
		return nil, errSkipped
	}
	return c, err
}

func (p *patient) health(ctx context.Context) (client.Health, error) {
	c, err := p.server()
	if err != nil {
		return client.Health{}, err
	}
	return c.Health(ctx)
}

func lookReady(ctx context.Context, p *patient) ([]string, error) {
	h, err := p.health(ctx)
	if err != nil || h.Ready {
		return nil, err
	}
	return []string{"the server says " + h.Status}, nil
}

// mostSkew is how far two clocks may be apart before signatures with a time fail.
const mostSkew = time.Minute

func lookClock(ctx context.Context, p *patient) ([]string, error) {
	h, err := p.health(ctx)
	if err != nil || h.Time.IsZero() {
		return nil, errSkipped
	}
	if skew := p.now().Sub(h.Time); skew.Abs() > mostSkew {
		return []string{"this machine is " + skew.Round(time.Second).String() + " ahead of the server"}, nil
	}
	return nil, nil
}

// who answers whom the server takes the person for.
func (p *patient) who(ctx context.Context) (api.Whoami, error) {
	c, err := p.server()
	if err != nil {
		return api.Whoami{}, err
	}
	return c.Whoami(ctx)
}

func lookKeyEnds(ctx context.Context, p *patient) ([]string, error) {
	who, err := p.who(ctx)
	if err != nil || who.ExpiresAt != nil {
		return nil, err
	}
	return []string{who.Kind + " " + who.ID + " never expires"}, nil
}

func lookKeyRights(ctx context.Context, p *patient) ([]string, error) {
	who, err := p.who(ctx)
	if err != nil || !who.InstanceAdmin {
		return nil, err
	}
	return []string{who.Kind + " " + who.ID + " may do everything on the instance"}, nil
}
