// Package resolver is a name server for tests, spoken to over real UDP by the resolver
// that it answers. It knows what a test tells it, and says the wrong things that a test
// wants said: other addresses at the second question, chains of aliases, a failure, or
// nothing at all.
//
// It asks nobody and binds to loopback alone. Messages are read and written as RFC 1035,
// section 4, has them, as far as questions of Go's resolver need it.
package resolver

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// Of answers a resolver that knows the addresses of these names ("api.example.com") and
// of no other.
func Of(t testing.TB, known map[string][]string) *net.Resolver {
	t.Helper()
	return Start(t, func(name string, _ int) []string { return known[name] })
}

// Start answers a resolver whose server asks answers for the n-th lookup of a name
// ("api.example.com", n counts from 0): addresses, and "CNAME name" before them. A nil
// list is NXDOMAIN, an empty one a name without addresses; "SERVFAIL" and "SILENCE" are
// what they say. answers is called by one goroutine. The server ends with the test.
func Start(t testing.TB, answers func(name string, n int) []string) *net.Resolver {
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
		serve(conn, answers)
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// question is one question of a message: the name in lower case without its last dot,
// the type of record, and the bytes of it all.
type question struct {
	name string
	kind uint16
	text []byte
}

func serve(conn net.PacketConn, answers func(string, int) []string) {
	type asked struct {
		name string
		kind uint16
	}
	times := map[asked]int{} // a lookup asks once for each type of record
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		q, ok := read(buf[:n])
		if !ok {
			continue
		}
		key := asked{q.name, q.kind}
		turn := times[key]
		times[key]++
		if text := reply(buf[:2], q, answers(q.name, turn)); text != nil {
			_, _ = conn.WriteTo(text, from)
		}
	}
}

// read answers the question of a message, false if it is cut.
func read(message []byte) (question, bool) {
	var labels []string
	i := 12 // behind the header
	for i < len(message) && message[i] != 0 {
		n := int(message[i])
		if i+1+n >= len(message) {
			return question{}, false
		}
		labels = append(labels, strings.ToLower(string(message[i+1:i+1+n])))
		i += n + 1
	}
	if i+5 > len(message) {
		return question{}, false
	}
	return question{strings.Join(labels, "."), binary.BigEndian.Uint16(message[i+1:]), append([]byte(nil), message[12:i+5]...)}, true
}

// The codes and types of RFC 1035 (AAAA: RFC 3596) that are used here.
const (
	failure, noName        = 2, 3
	typeA, alias, typeAAAA = 1, 5, 28
)

func reply(id []byte, q question, answers []string) []byte {
	code, count := byte(0), byte(0)
	var records []byte
	record := func(kind uint16, data []byte) {
		records = append(records, 0xc0, 12) // the question's name
		records = binary.BigEndian.AppendUint16(records, kind)
		records = append(records, 0, 1, 0, 0, 0, 0) // class IN, time to live 0
		records = append(binary.BigEndian.AppendUint16(records, uint16(len(data))), data...)
		count++
	}
	if answers == nil {
		code = noName
	}
	for _, a := range answers {
		switch {
		case a == "SILENCE":
			return nil
		case a == "SERVFAIL":
			code = failure
		case strings.HasPrefix(a, "CNAME "):
			var data []byte
			for label := range strings.SplitSeq(strings.TrimSuffix(a[len("CNAME "):], "."), ".") {
				data = append(append(data, byte(len(label))), label...)
			}
			record(alias, append(data, 0))
		default:
			if addr := netip.MustParseAddr(a); addr.Is4() && q.kind == typeA || addr.Is6() && q.kind == typeAAAA {
				record(q.kind, addr.AsSlice())
			}
		}
	}
	out := []byte{id[0], id[1], 0x85, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0}
	return append(append(out, q.text...), records...)
}
