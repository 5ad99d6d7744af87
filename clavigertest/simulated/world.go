// Package simulated runs connectors against vendors that are made from their own
// documents (package simulate): every auth method with the right credential and with
// wrong ones, the test, the permission check, every action, every way to say expired
// and too many, and for oauth2 the whole life of a grant: consent, exchange, call,
// expiry, refresh, revocation.
//
// Requests are built, credentialled and read by the product's own packages and travel
// over real TLS connections to one loopback server that stands for all hosts.
package simulated

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/internal/catalog/simulate"
	"claviger/internal/egress"
	"claviger/internal/oauth"
)

// World is one loopback server that stands for every host of every vendor. The first
// segment of a path, ~connector~host, says who is meant.
type World struct {
	server *httptest.Server
	client *http.Client
	oauth  *oauth.Client

	mu      sync.Mutex
	vendors map[string]*simulate.Vendor
}

// Open starts a world that ends with the test.
func Open(t testing.TB) (*World, error) {
	w := &World{vendors: map[string]*simulate.Vendor{}}
	w.server = httptest.NewTLSServer(w)
	t.Cleanup(w.server.Close)
	allow, err := egress.ParseAllow("127.0.0.0/8")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(w.server.Certificate())
	client := egress.New(egress.Config{Allow: allow, RootCAs: roots})
	t.Cleanup(client.Close)
	w.oauth = &oauth.Client{Egress: client, Now: time.Now, Random: rand.Reader}
	w.client = w.server.Client()
	return w, nil
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

// address moves an address of a vendor into this world.
func (w *World) address(key string, u *url.URL) (*url.URL, error) {
	if u.Scheme != "https" || u.Hostname() == "" {
		return nil, errors.New("simulated: not an https address")
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	text := w.server.URL + "/~" + key + "~" + u.Hostname() + path
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
