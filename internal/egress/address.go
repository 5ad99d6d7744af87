package egress

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"code.dny.dev/ssrf"
)

// guard vets addresses. Its table is the IANA special-purpose registries (the
// library's) and what those miss.
type guard struct {
	tables *ssrf.Guardian
	allow  Allow
	own    []netip.AddrPort // where claviger itself listens
}

func newGuard(allow Allow, selfOrigins ...string) *guard {
	return &guard{
		own: ownSockets(selfOrigins),
		tables: ssrf.New(ssrf.WithAnyNetwork(), ssrf.WithAnyPort(), ssrf.WithDeniedV4Prefixes(
			// Azure's host agent: a public address that only a virtual machine reaches,
			// and that hands out its secrets.
			netip.MustParsePrefix("168.63.129.16/32"),
		)),
		allow: allow,
	}
}

// public reports whether a is globally routable unicast: the unmapped address, so
// that ::ffff:127.0.0.1 is judged as 127.0.0.1; no zone, which only local
// addresses have.
func (g *guard) public(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsValid() && a.Zone() == "" && g.tables.SafeAddr(a) == nil
}

// permits reports whether the guard lets a socket to addr through. named says that
// the operator opened the host by name.
func (g *guard) permits(addr netip.AddrPort, named bool) bool {
	a := addr.Addr().Unmap()
	if g.ours(netip.AddrPortFrom(a, addr.Port())) {
		return false
	}
	if g.public(a) || g.allow.opensAddress(netip.AddrPortFrom(a, addr.Port())) {
		return true
	}
	return named && a.IsValid() && a.Zone() == "" && ownNetwork(a) && !metadata(a)
}

// ownNetwork reports whether a is one that an operator's own host can have: a host
// opened by name may answer these, but never link-local or reserved ones, which
// take a rule of their own.
func ownNetwork(a netip.Addr) bool {
	return a.IsLoopback() || a.IsPrivate() || netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10).Contains(a)
}

// metadata reports whether a is a cloud's metadata service inside a private range.
func metadata(a netip.Addr) bool {
	switch a.String() {
	case "100.100.100.200", "fd00:ec2::254":
		return true
	}
	return false
}

// ownSockets answers the sockets among claviger's own origins that are given by
// address. A listener on every address is one on each of the machine's.
func ownSockets(origins []string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, text := range origins {
		_, authority, _ := strings.Cut(text, "://")
		host, digits, err := net.SplitHostPort(authority)
		port, perr := strconv.ParseUint(digits, 10, 16)
		if err != nil || perr != nil {
			continue
		}
		if host == "" {
			host = "0.0.0.0"
		}
		a, err := netip.ParseAddr(host)
		if err != nil {
			continue
		}
		out = append(out, netip.AddrPortFrom(a.Unmap(), uint16(port)))
		if a.IsUnspecified() {
			out = append(out, everySocket(uint16(port))...)
		}
	}
	return out
}

// everySocket answers the port at each address of the machine.
func everySocket(port uint16) []netip.AddrPort {
	var out []netip.AddrPort
	addrs, _ := net.InterfaceAddrs() // without them loopback is still covered, by ours
	for _, each := range addrs {
		if p, err := netip.ParsePrefix(each.String()); err == nil {
			out = append(out, netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), port))
		}
	}
	return out
}

// ours reports whether a socket is one of claviger's own, by whatever name it was found:
// "localhost" and a name that resolves to this machine lead to the listeners too.
func (g *guard) ours(addr netip.AddrPort) bool {
	for _, own := range g.own {
		if own.Port() == addr.Port() && (own.Addr() == addr.Addr() || addr.Addr().IsUnspecified() ||
			own.Addr().IsUnspecified() && addr.Addr().IsLoopback()) {
			return true
		}
	}
	return false
}
