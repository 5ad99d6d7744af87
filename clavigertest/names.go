package clavigertest

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// Names answers a resolver whose server, over real UDP, knows the IPv4 address of these
// names ("api.example.com") and of no other.
func Names(t testing.TB, known map[string]netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply, err := nameReply(buf[:n], known); err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// nameReply answers a query of one question (RFC 1035, section 4): its A record, nothing
// for another type, NXDOMAIN for another name.
func nameReply(query []byte, known map[string]netip.Addr) ([]byte, error) {
	var labels []string
	i := 12 // behind the header
	for i < len(query) && query[i] != 0 {
		n := int(query[i])
		if i+1+n >= len(query) {
			return nil, errors.New("clavigertest: a cut name")
		}
		labels = append(labels, strings.ToLower(string(query[i+1:i+1+n])))
		i += n + 1
	}
	if i+5 > len(query) {
		return nil, errors.New("clavigertest: a cut question")
	}
	addr, found := known[strings.Join(labels, ".")]
	reply := append(append([]byte{}, query[:2]...), 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0) // a response, recursion desired and available
	reply = append(reply, query[12:i+5]...)
	switch {
	case !found:
		reply[3] |= 3 // NXDOMAIN
	case binary.BigEndian.Uint16(query[i+1:]) == 1: // A
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4) // the question's name, A, IN, no time to live
		reply = append(reply, addr.AsSlice()...)
	}
	return reply, nil
}
