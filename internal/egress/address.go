package egress

import (
	"net/netip"

	"code.dny.dev/ssrf"
)

// guard vets addresses. Its table is the IANA special-purpose registries (the
// library's) and what those miss.
type guard struct {
	tables *ssrf.Guardian
	allow  Allow
}

func newGuard(allow Allow) *guard {
	return &guard{
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
