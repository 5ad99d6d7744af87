package egress

import (
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"testing"

	"claviger"
	"claviger/clavigertest/resolver"
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
		Resolver: resolver.Of(t, map[string][]string{"example.com": {"127.0.0.1"}, "www.example.com": {"127.0.0.1"}}),
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

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func mustAddrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
