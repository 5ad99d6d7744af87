package wire

import (
	"net/http"
	"net/netip"
	"strings"
)

// client answers the address behind the request: the peer's, or, if the peer is a
// trusted proxy, the last one in X-Forwarded-For that is not. What stands before
// that one is the client's own claim. The address is invalid if the peer's is
// unknown.
func (e Edge) client(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap().WithZone("")
	if !e.trusted(addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return addr // the nearest hop that can be believed
		}
		addr = hop.Unmap().WithZone("")
		if !e.trusted(addr) {
			return addr
		}
	}
	return addr
}

func (e Edge) trusted(a netip.Addr) bool {
	for _, p := range e.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// dropForwarded removes what a client may claim about the way it came, so that no
// handler and no vendor can believe it.
func dropForwarded(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "X-Forwarded-") {
			delete(h, name)
		}
	}
	for _, name := range []string{"Forwarded", "X-Real-Ip", "X-Original-Url", "X-Rewrite-Url"} {
		delete(h, name)
	}
}
