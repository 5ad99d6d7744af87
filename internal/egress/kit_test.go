package egress

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"claviger"
)

// recorder is told of every socket before it connects.
type recorder struct {
	mu    sync.Mutex
	dials []string
}

func (r *recorder) onDial(_, address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dials = append(r.dials, address)
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.dials)
}

// nothingLeft fails the test if any socket was opened.
func (r *recorder) nothingLeft(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.dials) > 0 {
		t.Fatalf("sockets were opened: %v", r.dials)
	}
}

func mustAllow(t testing.TB, list string) Allow {
	t.Helper()
	a, err := ParseAllow(list)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// vendor is a TLS server on loopback, known to the client as example.com too.
type vendor struct {
	*httptest.Server
	dest   Destination
	client *Client
	dials  *recorder
	port   string
}

// newVendor starts a server and a client that the operator opened loopback for.
// change, if not nil, edits the client's configuration.
func newVendor(t testing.TB, handler http.Handler, change func(*Config)) *vendor {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return dialVendor(t, server, change)
}

func dialVendor(t testing.TB, server *httptest.Server, change func(*Config)) *vendor {
	t.Helper()
	roots := x509.NewCertPool()
	if server.Certificate() != nil {
		roots.AddCert(server.Certificate())
	}
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	v := &vendor{Server: server, dials: &recorder{}, port: port}
	config := Config{
		Allow: mustAllow(t, "127.0.0.0/8"), RootCAs: roots, OnDial: v.dials.onDial,
		Resolver: answering(t, map[string][]string{"example.com.": {"127.0.0.1"}, "www.example.com.": {"127.0.0.1"}}),
	}
	if change != nil {
		change(&config)
	}
	v.client = New(config)
	t.Cleanup(v.client.Close)
	v.dest = Destination{Key: "org/acme", Origin: server.URL}
	return v
}

func (v *vendor) get(t testing.TB, target string) (*http.Response, error) {
	t.Helper()
	return v.client.Do(t.Context(), v.dest, request(t, target))
}

// request makes a GET of a URL that need not be one that url.Parse accepts.
func request(t testing.TB, target string) *http.Request {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return (&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}).WithContext(t.Context())
}

// code answers the code of an *Error, and fails the test for any other error.
func code(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *claviger.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T) is no *claviger.Error", err, err)
	}
	return e.FineCode()
}

// answering answers a resolver whose server, over real UDP, knows these names.
func answering(t testing.TB, names map[string][]string) *net.Resolver {
	t.Helper()
	return resolver(t, func(name string, _ int) []string { return names[name] })
}

// resolver answers a resolver whose server asks answers for the n-th query of A
// records (n counts from 0 for each name): addresses, and "CNAME name" before them.
// A nil list is NXDOMAIN; "SERVFAIL" and "SILENCE" are what they say.
func resolver(t testing.TB, answers func(name string, n int) []string) *net.Resolver {
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
		asked := map[string]int{}
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			name, kind, question := parseQuestion(buf[:n])
			turn := asked[name] / 2 // one A and one AAAA question for each lookup
			asked[name]++
			if reply := dnsReply(buf[:2], question, kind, answers(name, turn)); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func parseQuestion(b []byte) (name string, kind uint16, question []byte) {
	i := 12
	for b[i] != 0 {
		n := int(b[i])
		name += string(b[i+1:i+1+n]) + "."
		i += n + 1
	}
	return strings.ToLower(name), binary.BigEndian.Uint16(b[i+1:]), append([]byte(nil), b[12:i+5]...)
}

func dnsReply(id, question []byte, kind uint16, answers []string) []byte {
	code := byte(0)
	var records []byte
	count := 0
	record := func(kind uint16, data []byte) {
		records = append(records, 0xc0, 12) // the question's name
		records = binary.BigEndian.AppendUint16(records, kind)
		records = append(records, 0, 1, 0, 0, 0, 0) // class IN, time to live 0
		records = append(binary.BigEndian.AppendUint16(records, uint16(len(data))), data...)
		count++
	}
	if answers == nil {
		code = 3
	}
	for _, a := range answers {
		switch {
		case a == "SILENCE":
			return nil
		case a == "SERVFAIL":
			code = 2
		case strings.HasPrefix(a, "CNAME "):
			var data []byte
			for label := range strings.SplitSeq(strings.TrimSuffix(a[6:], "."), ".") {
				data = append(append(data, byte(len(label))), label...)
			}
			record(5, append(data, 0))
		default:
			if addr := netip.MustParseAddr(a); addr.Is4() && kind == 1 || addr.Is6() && kind == 28 {
				record(kind, addr.AsSlice())
			}
		}
	}
	out := []byte{id[0], id[1], 0x85, 0x80 | code, 0, 1, 0, byte(count), 0, 0, 0, 0}
	return append(append(out, question...), records...)
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func mustAddrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
