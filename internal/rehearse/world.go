package rehearse

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"claviger"
	"claviger/internal/catalog/simulate"
	"claviger/internal/egress"
	"claviger/internal/oauth"
)

// World is one loopback server that stands for every host of every vendor. The first
// segment of a path, ~connector~host, says who is meant. It is safe for concurrent use.
type World struct {
	server *http.Server
	origin string
	egress *egress.Client
	oauth  *oauth.Client

	mu      sync.Mutex
	vendors map[string]*simulate.Vendor
}

// Open starts a world on a free loopback port, with a certificate that nobody else
// trusts. [World.Close] ends it.
func Open() (*World, error) {
	certificate, roots, err := issue()
	if err != nil {
		return nil, err
	}
	allow, err := egress.ParseAllow("127.0.0.1/32")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &World{origin: "https://" + listener.Addr().String(), vendors: map[string]*simulate.Vendor{}}
	w.server = &http.Server{
		Handler: w, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		ErrorLog:  log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	w.egress = egress.New(egress.Config{Allow: allow, RootCAs: roots})
	w.oauth = &oauth.Client{Egress: w.egress, Now: time.Now, Random: rand.Reader}
	go func() { _ = w.server.ServeTLS(listener, "", "") }() // ends with Close
	return w, nil
}

// Close ends the world. Requests under way are cut off.
func (w *World) Close() error {
	w.egress.Close()
	return w.server.Close()
}

// issue makes a certificate for the loopback address and a pool that trusts it alone.
func issue() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	now := time.Now()
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "simulated vendors"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, roots, nil
}

func (w *World) add(key string, v *simulate.Vendor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.vendors[key] = v
}

// ServeHTTP hands a request to the vendor that is meant, as it would arrive there.
func (w *World) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	who, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/~"), "/")
	key, host, ok := strings.Cut(who, "~")
	w.mu.Lock()
	v := w.vendors[key]
	w.mu.Unlock()
	u, err := url.Parse("/" + rest)
	if !ok || v == nil || err != nil {
		http.NotFound(rw, r)
		return
	}
	u.RawQuery = r.URL.RawQuery
	r.URL, r.Host = u, host
	v.ServeHTTP(rw, r)
}

// send sends a request that is meant for a vendor into this world.
func (w *World) send(ctx context.Context, key string, req *http.Request) (answer, error) {
	u, err := w.address(key, req.URL)
	if err != nil {
		return answer{}, err
	}
	moved := req.WithContext(ctx)
	moved.URL, moved.Host = u, ""
	resp, err := w.egress.Do(ctx, egress.Destination{Key: key, Origin: w.origin}, moved)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := egress.ReadAll(resp.Body, maxAnswer)
	return answer{resp.StatusCode, resp.Header, body}, err
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// address moves an address of a vendor into this world.
func (w *World) address(key string, u *url.URL) (*url.URL, error) {
	if u.Scheme != "https" || u.Hostname() == "" {
		return nil, errors.New("rehearse: not an https address")
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	text := w.origin + "/~" + key + "~" + u.Hostname() + path
	if u.RawQuery != "" {
		text += "?" + u.RawQuery
	}
	return url.Parse(text)
}

func (w *World) move(key, address string) (string, error) {
	if address == "" {
		return "", nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	moved, err := w.address(key, u)
	if err != nil {
		return "", err
	}
	return moved.String(), nil
}

// sealed answers values as the secrets that they are.
func sealed(values map[string]string) claviger.Credentials {
	creds := claviger.Credentials{}
	for k, v := range values {
		creds[k] = claviger.NewSecretString(v)
	}
	return creds
}
