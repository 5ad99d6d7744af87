// Package vendor simulates ten of the built-in vendors for tests: one TLS server that
// answers for all their host names, with a certificate of its own authority.
//
// It is written from the vendors' documentation and not from the connector
// documents, so that a document with a wrong header, path or body fails here as it
// would at the vendor. It is strict: the right credential in the right place, the
// media type and version headers that the vendor insists on, the scopes that a
// call needs, and otherwise the error body that the vendor documents. Everything
// that arrives is recorded, and knobs make a vendor hostile.
//
// A test reaches it by mapping every host to [Server.Addr] - in the egress
// client's resolver and dialer, or with [Server.Transport] - and trusting
// [Server.CA].
package vendor

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Received is one request as it reached a vendor, with its whole body.
type Received struct {
	Vendor, Method, Host, Path, RawQuery string
	Header                               http.Header
	Body                                 []byte
}

// Behaviour makes a vendor misbehave. The zero value is a well-behaved vendor.
type Behaviour struct {
	Status   int             // answer this status, whatever was asked
	Header   http.Header     // beside it
	Body     string          // and this body
	Redirect string          // answer 307 to this address
	Echo     bool            // answer 200 with the request's headers and query, credential included
	Hold     <-chan struct{} // wait for it to be closed, or for the caller to leave, before answering
	Close    bool            // close the connection without an answer
}

// Server is a running simulation. It is closed when the test ends.
type Server struct {
	http  *httptest.Server
	pool  *x509.CertPool
	hosts map[string]*profile // by host name

	mu        sync.Mutex
	received  []Received
	behaviour map[string]Behaviour // by vendor
	scopes    map[string][]string  // by vendor
	revoked   map[string]bool      // by vendor
}

// maxRequest bounds a recorded body.
const maxRequest = 4 << 20

// Start runs the simulation on a free loopback port.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{hosts: map[string]*profile{}, behaviour: map[string]Behaviour{}, scopes: map[string][]string{}, revoked: map[string]bool{}}
	var names []string
	for _, p := range profiles() {
		s.scopes[p.key] = p.scopes
		for _, host := range p.hosts {
			s.hosts[host] = p
			names = append(names, host)
		}
	}
	certificate, pool, err := issue(names)
	if err != nil {
		t.Fatalf("vendor: %v", err)
	}
	s.pool = pool
	s.http = httptest.NewUnstartedServer(s)
	s.http.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	s.http.EnableHTTP2 = true
	s.http.StartTLS()
	t.Cleanup(s.http.Close)
	return s
}

// issue makes an authority and a certificate for the names.
func issue(names []string) (tls.Certificate, *x509.CertPool, error) {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	from, until := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "simulated vendors"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "vendors"}, DNSNames: names, NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	signed, err := x509.CreateCertificate(rand.Reader, leaf, parsed, key.Public(), authorityKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{signed, raw}, PrivateKey: key}, pool, nil
}

// Addr is the address to dial for every vendor's host, "127.0.0.1:port".
func (s *Server) Addr() string { return s.http.Listener.Addr().String() }

// CA is the authority that signed the vendors' certificate.
func (s *Server) CA() *x509.CertPool { return s.pool }

// Hosts answers every name that the server stands for.
func (s *Server) Hosts() []string {
	out := make([]string, 0, len(s.hosts))
	for host := range s.hosts {
		out = append(out, host)
	}
	return out
}

// Transport dials the server for every host and trusts its authority, for tests
// that do without an egress client.
func (s *Server) Transport() *http.Transport {
	var d net.Dialer
	return &http.Transport{
		TLSClientConfig:    &tls.Config{RootCAs: s.pool, MinVersion: tls.VersionTLS12},
		DisableCompression: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, s.Addr())
		},
	}
}

// Behave sets how a vendor answers from now on; the zero Behaviour mends it.
func (s *Server) Behave(vendor string, b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour[vendor] = b
}

// Grant sets the scopes of a vendor's credential, for those that have scopes.
func (s *Server) Grant(vendor string, scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scopes[vendor] = scopes
}

// Revoke makes a vendor refuse its credential from now on.
func (s *Server) Revoke(vendor string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked[vendor] = true
}

// Requests answers what has arrived for a vendor, in order; "" for all vendors.
func (s *Server) Requests(vendor string) []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Received
	for _, r := range s.received {
		if vendor == "" || r.Vendor == vendor {
			out = append(out, r)
		}
	}
	return out
}

// ServeHTTP records a request and answers it as its host's vendor would.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	p := s.hosts[strings.ToLower(host)]
	if p == nil {
		http.Error(w, "no such vendor", http.StatusMisdirectedRequest)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.received = append(s.received, Received{
		Vendor: p.key, Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Header: r.Header.Clone(), Body: body,
	})
	b := s.behaviour[p.key]
	c := &call{r: r, body: body, scopes: s.scopes[p.key], revoked: s.revoked[p.key]}
	s.mu.Unlock()
	if b.misbehave(w, r) {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	p.serve(w, c)
}

// misbehave reports whether it has answered.
func (b Behaviour) misbehave(w http.ResponseWriter, r *http.Request) bool {
	if b.Hold != nil {
		select {
		case <-b.Hold:
		case <-r.Context().Done():
			return true
		}
	}
	for name, values := range b.Header {
		w.Header()[name] = values
	}
	switch {
	case b.Close:
		panic(http.ErrAbortHandler) // net/http's way to cut a connection
	case b.Redirect != "":
		w.Header().Set("Location", b.Redirect)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case b.Echo:
		reply(w, http.StatusOK, object{"headers": r.Header, "query": r.URL.RawQuery})
	case b.Status != 0:
		w.WriteHeader(b.Status)
		_, _ = io.WriteString(w, b.Body)
	default:
		return false
	}
	return true
}
