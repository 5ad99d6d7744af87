package egress

import (
	"net/netip"
	"slices"
)

// PlainHTTP reports whether the operator opened this host on any port: plain http in
// a connector's base URL is accepted for such hosts only. The port is checked when a
// request is made.
func (a Allow) PlainHTTP(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		return slices.ContainsFunc(a.prefixes, func(r prefixRule) bool { return r.prefix.Contains(addr) })
	}
	return slices.ContainsFunc(a.hosts, func(r hostRule) bool { return matchHost(r.pattern, host) })
}
