// Package acme is a vendor for tests: a small API on loopback that insists on its
// credential, writes down every request as it arrived, and can be told to misbehave.
//
// Its [Vendor.Document] describes it with every auth type that claviger has, so that a
// test chooses how the credential travels by choosing an auth method. What the vendor
// received is the only place where a test may find a secret again.
package acme

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Base is the path that the vendor's API lies under: whatever arrives outside has
// escaped from the connection's base URL.
const Base = "/v2"

// maxRecorded bounds the body that is kept of one request.
const maxRecorded = 1 << 20

// Received is one request as it reached the vendor.
type Received struct {
	Method, Target, Host string // Target: the request line's, untouched
	Header               http.Header
	Body                 []byte // its first MiB
	Size                 int64  // of the whole body
	At                   time.Time
}

// Dump answers everything that arrived in one piece of text, for searching.
func (r *Received) Dump() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\nHost: %s\n", r.Method, r.Target, r.Host)
	_ = r.Header.Write(&b)
	b.Write(r.Body)
	return b.String()
}

// Vendor is a running simulation. It is closed when the test ends.
type Vendor struct {
	server *httptest.Server

	mu       sync.Mutex
	accepted []string
	received []*Received
	behave   http.HandlerFunc
	scopes   string
}

// Start runs a vendor that accepts the given secrets.
func Start(t testing.TB, accepted ...string) *Vendor {
	t.Helper()
	v := unstarted(t, accepted)
	v.server.Start()
	return v
}

// StartTLS is [Start] for a vendor that speaks TLS, as 127.0.0.1 and as any name of
// example.com; see [Vendor.Roots].
func StartTLS(t testing.TB, accepted ...string) *Vendor {
	t.Helper()
	v := unstarted(t, accepted)
	v.server.StartTLS()
	return v
}

func unstarted(t testing.TB, accepted []string) *Vendor {
	v := &Vendor{accepted: accepted, scopes: "contacts.read,contacts.write"}
	v.server = httptest.NewUnstartedServer(http.HandlerFunc(v.serve))
	t.Cleanup(v.server.Close)
	return v
}

// Roots answers who vouches for a vendor that speaks TLS.
func (v *Vendor) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(v.server.Certificate())
	return pool
}

// Addr answers "127.0.0.1:port".
func (v *Vendor) Addr() string { return v.server.Listener.Addr().String() }

// Accept makes the vendor accept these secrets and no others.
func (v *Vendor) Accept(secrets ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.accepted = secrets
}

// Behave makes f answer in the vendor's place, after the request was written down; nil
// makes the vendor well-behaved again.
func (v *Vendor) Behave(f http.HandlerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.behave = f
}

// Received answers what arrived so far, oldest first.
func (v *Vendor) Received() []*Received {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.received)
}

// Forget drops what arrived so far.
func (v *Vendor) Forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.received = nil
}

// Last answers the newest request; the test fails if there is none.
func (v *Vendor) Last(t testing.TB) *Received {
	t.Helper()
	all := v.Received()
	if len(all) == 0 {
		t.Fatal("nothing reached the vendor")
	}
	return all[len(all)-1]
}

// SecretOf answers the credential that a request carries, wherever an auth method of
// the document puts it, or "".
func SecretOf(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return token
	}
	if c, err := r.Cookie("acme_session"); err == nil {
		return c.Value
	}
	if key := r.Header.Get("X-Api-Key"); key != "" {
		return key
	}
	return r.URL.Query().Get("api_key")
}

func (v *Vendor) serve(w http.ResponseWriter, r *http.Request) {
	got := &Received{Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header.Clone(), At: time.Now()}
	v.mu.Lock()
	v.received = append(v.received, got)
	behave := v.behave
	v.mu.Unlock()
	if behave != nil {
		behave(w, r)
		return
	}
	var kept bytes.Buffer
	n, _ := io.Copy(&kept, io.LimitReader(r.Body, maxRecorded))
	rest, _ := io.Copy(io.Discard, r.Body)
	v.mu.Lock()
	got.Body, got.Size = kept.Bytes(), n+rest
	authentic := slices.Contains(v.accepted, SecretOf(r))
	scopes := v.scopes
	v.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if !authentic {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"a valid credential is needed"}`)
		return
	}
	w.Header().Set("X-Scopes", scopes)
	v.answer(w, r, got)
}

func (v *Vendor) answer(w http.ResponseWriter, r *http.Request, got *Received) {
	path := strings.TrimPrefix(r.URL.Path, Base)
	switch {
	case path == "/me":
		_, _ = io.WriteString(w, `{"id":"acct_7","name":"Acme of Springfield"}`)
	case path == "/fail":
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintf(w, `{"error":"it broke","with":%q}`, SecretOf(r))
	case strings.HasPrefix(path, "/echo"):
		Echo(w, r)
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "path": path, "size": got.Size})
	}
}

// Echo answers the request's credential in every form that claviger promises to blot
// out of headers and text.
func Echo(w http.ResponseWriter, r *http.Request) {
	s := SecretOf(r)
	quoted, _ := json.Marshal(s)
	encoded := base64.StdEncoding.EncodeToString([]byte(s))
	w.Header().Set("X-Echo", s)
	w.Header().Set("X-Echo-Base64", encoded)
	w.Header().Set("Set-Cookie", "session="+s)
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"raw":%s,"base64":%q,"header":%q}`, quoted, encoded, r.Header.Get("Authorization"))
}
