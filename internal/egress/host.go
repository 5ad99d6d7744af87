package egress

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// origin is a scheme, host and port in their canonical form.
type origin struct {
	scheme string
	host   string // lower case, no trailing dot, no brackets
	port   uint16
}

// parseOrigin reads an origin from a URL's scheme and authority. Only https and
// http, ASCII hosts in canonical form and plain decimal ports pass; whatever
// another parser might read in a second way does not.
func parseOrigin(scheme, authority string) (origin, bool) {
	o := origin{scheme: scheme}
	switch scheme {
	case "https":
		o.port = 443
	case "http":
		o.port = 80
	default:
		return o, false
	}
	host := authority
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		port, ok := parsePort(authority[i+1:])
		if !ok {
			return o, false
		}
		host, o.port = authority[:i], port
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		o.host = inner
		// Mapped addresses and zones have a shorter, honest form or none at all.
		return o, ok && err == nil && addr.Is6() && !addr.Is4In6() && addr.Zone() == "" && addr.String() == inner
	}
	var ok bool
	o.host, ok = canonicalHost(host)
	return o, ok
}

func parsePort(s string) (uint16, bool) {
	if s == "" || s[0] == '0' || s[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}

// canonicalHost answers a DNS name or dotted quad in lower case without a trailing
// dot. Numbers in any other notation (127.1, 0x7f000001, 2130706433) are refused,
// because resolvers disagree about them.
func canonicalHost(host string) (string, bool) {
	host = lowerASCII(strings.TrimSuffix(host, "."))
	if !dnsName(host) {
		return "", false
	}
	if endsInNumber(host) {
		addr, err := netip.ParseAddr(host)
		return host, err == nil && addr.Is4()
	}
	return host, true
}

// lowerASCII lowers A-Z and nothing else; strings.ToLower would turn the Kelvin
// sign into k.
func lowerASCII(s string) string {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if b[j] >= 'A' && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// dnsName reports whether s is a name of labels of 1 to 63 lower-case letters,
// digits, hyphens and underscores, not starting or ending in a hyphen, 253 in all.
func dnsName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			c := s[i]
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
			continue
		}
		if n := i - start; n == 0 || n > 63 || s[start] == '-' || s[i-1] == '-' {
			return false
		}
		start = i + 1
	}
	return true
}

// endsInNumber reports whether resolvers may take the name for an address: its last
// label is decimal or hexadecimal (WHATWG URL, "ends in a number").
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	digits, hex := strings.CutPrefix(last, "0x")
	for _, c := range []byte(digits) {
		if !(c >= '0' && c <= '9' || hex && c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// localName reports whether the name is of a kind that public DNS does not hold:
// one label, or below a suffix for local use (RFC 6761, RFC 6762, RFC 8375, ICANN's
// "internal").
func localName(host string) bool {
	if !strings.Contains(host, ".") {
		return true
	}
	if strings.HasSuffix(host, ".home.arpa") {
		return true
	}
	switch host[strings.LastIndexByte(host, '.')+1:] {
	case "localhost", "local", "internal", "localdomain", "lan", "intranet", "private", "corp", "home", "onion", "invalid":
		return true
	}
	return false
}

// matchHost compares label by label: pattern is exact, or "*." and a name that
// host must lie below, at any depth. Both are canonical.
func matchHost(pattern, host string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*."); ok {
		below, ok := strings.CutSuffix(host, suffix)
		return ok && suffix != "" && len(below) > 1 && below[len(below)-1] == '.'
	}
	return pattern == host
}

// authority answers host[:port] as it is sent in the Host header, the default port
// left out.
func (o origin) authority() string {
	host := o.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if o.scheme == "https" && o.port == 443 || o.scheme == "http" && o.port == 80 {
		return host
	}
	return host + ":" + strconv.Itoa(int(o.port))
}

// CanonicalOrigin answers scheme://host[:port] in the form that [Destination] wants,
// or false if the URL is not one that a credential may ever travel to: another
// scheme, user information, a host that is not plain ASCII or not in canonical
// notation. Whether the address guard lets it through is another question.
func CanonicalOrigin(u *url.URL) (string, bool) {
	if u.User != nil || u.Opaque != "" {
		return "", false
	}
	o, ok := parseOrigin(u.Scheme, u.Host)
	if !ok {
		return "", false
	}
	return o.scheme + "://" + o.authority(), true
}

// canonical reports whether text is already what authority answers, without making
// it in the usual case.
func (o origin) canonical(text string) bool { return text == o.host || text == o.authority() }

// literal reports whether the host is an address and not a name.
func (o origin) literal() bool { return strings.Contains(o.host, ":") || endsInNumber(o.host) }

// address answers host:port as dialers want it.
func (o origin) address() string { return net.JoinHostPort(o.host, strconv.Itoa(int(o.port))) }
