package egress

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"claviger"
)

// Allow is what the instance's operator opens although it is not public. The zero
// Allow opens nothing.
type Allow struct {
	hosts    []hostRule
	prefixes []prefixRule
}

type hostRule struct {
	pattern string // canonical name, or "*." and one
	port    uint16 // 0 for any
}

type prefixRule struct {
	prefix netip.Prefix
	port   uint16
}

// ParseAllow reads the setting "egress.allow", a comma list of names, addresses and
// networks, each with an optional port:
//
//	vendor.internal, *.corp.example, localhost:9999, 127.0.0.1:9999, [::1]:80, 10.0.0.0/8
//
// A name also opens plain http for it, as does an address or network for hosts
// given by address; a name may answer private and loopback addresses, but
// link-local and metadata ones only if a network opens them. A network opens every
// name that resolves into it. The error is an *Error of KindInvalid with Param
// "egress.allow".
func ParseAllow(list string) (Allow, error) {
	var allow Allow
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		if !allow.add(item) {
			return Allow{}, claviger.Invalid("egress.allow", "invalid_format",
				"%q is neither a host, an address nor a network. Examples: vendor.internal, 127.0.0.1:9999, [::1]:80, 10.0.0.0/8", item)
		}
	}
	return allow, nil
}

func (a *Allow) add(item string) bool {
	if prefix, err := netip.ParsePrefix(item); err == nil {
		a.prefixes = append(a.prefixes, prefixRule{prefix: unmapPrefix(prefix)})
		return prefix.Masked() == prefix
	}
	if addr, err := netip.ParseAddr(item); err == nil {
		return a.addAddress(addr, 0)
	}
	if ap, err := netip.ParseAddrPort(item); err == nil {
		return ap.Port() != 0 && a.addAddress(ap.Addr(), ap.Port())
	}
	name, text, ok := strings.Cut(item, ":")
	var port uint16
	if ok {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return false
		}
		port = uint16(n)
	}
	canonical, wild := strings.CutPrefix(strings.ToLower(strings.TrimSuffix(name, ".")), "*.")
	if !dnsName(canonical) || endsInNumber(canonical) {
		return false
	}
	if wild {
		canonical = "*." + canonical
	}
	a.hosts = append(a.hosts, hostRule{pattern: canonical, port: port})
	return true
}

func (a *Allow) addAddress(addr netip.Addr, port uint16) bool {
	addr = addr.Unmap()
	if addr.Zone() != "" {
		return false
	}
	a.prefixes = append(a.prefixes, prefixRule{prefix: netip.PrefixFrom(addr, addr.BitLen()), port: port})
	return true
}

func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// Opens reports whether the operator opened this very host, which is a condition
// for plain http: host is a canonical name or an address without brackets.
func (a Allow) Opens(host string, port uint16) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return a.opensAddress(netip.AddrPortFrom(addr.Unmap(), port))
	}
	return a.opensName(host, port)
}

func (a Allow) opensName(host string, port uint16) bool {
	return slices.ContainsFunc(a.hosts, func(r hostRule) bool {
		return (r.port == 0 || r.port == port) && matchHost(r.pattern, host)
	})
}

func (a Allow) opensAddress(addr netip.AddrPort) bool {
	return slices.ContainsFunc(a.prefixes, func(r prefixRule) bool {
		return (r.port == 0 || r.port == addr.Port()) && r.prefix.Contains(addr.Addr())
	})
}
