package catalog

import (
	"net/netip"
	"strings"
)

// hostLabel reports whether s is one DNS label of letters, digits and inner hyphens
// in lower case (RFC 1123, section 2.1).
func hostLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z') {
			return false
		}
	}
	return true
}

// plainHost reports whether s is a DNS name of at least two labels or an address in
// canonical form. A name whose last label is a number is neither: resolvers read
// such names as addresses in octal, hexadecimal or short forms.
func plainHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String() == s && a.Zone() == "" && !a.Is4In6()
	}
	if !dnsName(s) {
		return false
	}
	return strings.Contains(s, ".")
}

// dnsName reports whether s is a DNS name in lower case, at most 253 bytes.
func dnsName(s string) bool {
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if !hostLabel(label) {
			return false
		}
	}
	last := labels[len(labels)-1]
	return last[0] < '0' || last[0] > '9'
}

// hostPattern reports whether s may stand in allowedHosts: an exact host, or "*."
// and a suffix of at least two labels that is no public suffix known here.
func hostPattern(s string) bool {
	suffix, wild := strings.CutPrefix(s, "*.")
	if !wild {
		return plainHost(s)
	}
	if _, err := netip.ParseAddr(suffix); err == nil {
		return false
	}
	return dnsName(suffix) && strings.Contains(suffix, ".") && !publicSuffix(suffix)
}

// publicSuffix knows the two-label suffixes under which strangers register names:
// a wildcard on one of them would allow anybody's host.
func publicSuffix(s string) bool {
	first, rest, _ := strings.Cut(s, ".")
	if len(rest) == 2 {
		switch first { // co.uk, com.au, or.jp: second levels of country codes
		case "ac", "co", "com", "edu", "gob", "go", "gov", "gv", "ltd", "mil", "ne", "net", "nom", "or", "org", "plc", "sch":
			return true
		}
	}
	switch s {
	case "github.io", "gitlab.io", "pages.dev", "workers.dev", "vercel.app", "netlify.app", "herokuapp.com", "azurewebsites.net",
		"cloudfront.net", "web.app", "firebaseapp.com", "appspot.com", "run.app", "fly.dev", "onrender.com", "ngrok.io", "ngrok.app",
		"ngrok-free.app", "amazonaws.com", "blogspot.com", "duckdns.org", "nip.io", "sslip.io":
		return true
	}
	return false
}

// hostAllowed reports whether one of the patterns covers the host. "*.acme.example"
// covers every depth of labels below acme.example and not acme.example itself.
func hostAllowed(host string, patterns []string) bool {
	for _, p := range patterns {
		if suffix, wild := strings.CutPrefix(p, "*"); wild {
			if len(host) > len(suffix) && strings.HasSuffix(host, suffix) {
				return true
			}
		} else if p == host {
			return true
		}
	}
	return false
}

// bareAddress reports whether a host is an address and no name.
func bareAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
