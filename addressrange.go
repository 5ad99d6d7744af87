package claviger

import "net/netip"

// ParseAddressRange reads an address ("192.0.2.7", a range of one) or a range in CIDR form
// ("192.0.2.0/24", "2001:db8::/32"). An IPv4 address in IPv6 clothes is the IPv4 address,
// as which callers are known.
func ParseAddressRange(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}
