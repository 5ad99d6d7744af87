// Package oauthserver is an authorization server for tests, in the test's own process
// and over TLS on loopback. It issues codes, tokens and id tokens as a real one does,
// is strict about what may be sent once - codes, refresh tokens, assertions - and
// knows at every moment which refresh token is alive, so that a test can say whether
// a connection was lost or a token was burnt.
//
// Its [Policy] says how refresh tokens live: for good, rotated with a grace period,
// or rotated so strictly that the second use of one ends its whole family. A [Fault]
// spoils one answer: lost before or after it took effect, late, cut, redirected, a
// page, a bomb, an echo of what was sent. A [Style] is how a vendor writes answers.
//
// It trusts nobody and protects nothing: it is for tests alone.
package oauthserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger"
	"claviger/internal/egress"
)

// Policy is how the server treats clients and tokens. The zero Policy keeps refresh
// tokens for good, gives access tokens an hour, and wants client_secret_basic.
type Policy struct {
	Rotates      bool          // a refresh ends the old refresh token and answers a new one
	Grace        time.Duration // a used refresh token still answers its successor for so long
	RevokeFamily bool          // using one after that ends all tokens of its grant
	Lifetime     time.Duration // of access tokens; an hour if zero
	NoRefresh    bool          // answers hold no refresh token
	NarrowTo     []string      // a refresh grants these scopes only
	ClientAuth   claviger.ClientAuth
	ClientKey    *jose.JSONWebKey // the client's public key, of private_key_jwt
	Style        Style
	DevicePolls  int              // "pending" so often before a device is allowed
	DeviceWord   string           // what a device is told then, in place of its tokens: access_denied
	DPoP         bool             // tokens are bound to keys; proofs carry the server's nonce
	Issuer       string           // of assertions that ClientKey signs, for jwtBearer and installations
	Former       string           // a secret that the client may prove itself with too
	WrongIssuer  bool             // callbacks and id tokens name another issuer
	Now          func() time.Time // time.Now if nil
}

// Received is one request as it arrived.
type Received struct {
	Method, Path string
	Header       http.Header
	Form         url.Values // body and query
	Body         string
	Fresh        bool // the first request on its connection
	Certificates int  // that the client showed
	At           time.Time
}

// Server is a running authorization server. It is closed when the test ends.
type Server struct {
	URL    string
	Client claviger.OAuthClient // the one that is registered

	http   *httptest.Server
	policy Policy
	key    jose.JSONWebKey

	mu       sync.Mutex
	refuse   int
	received []Received
	faults   []Fault
	always   *Fault
	codes    map[string]*code
	devices  map[string]*device
	refresh  map[string]*refreshToken
	access   map[string]*family
	families []*family
	jtis     map[string]bool
	bound    map[string]string // access tokens, and the thumbprint of their key
	nonce    int
	reuses   int
	idToken  func(claims map[string]any) string
	rotated  int
}

// maxRequest bounds a recorded body.
const maxRequest = 1 << 20

// Start runs a server on a free loopback port.
func Start(t testing.TB, policy Policy) *Server {
	t.Helper()
	if policy.Now == nil {
		policy.Now = time.Now
	}
	if policy.Lifetime == 0 {
		policy.Lifetime = time.Hour
	}
	if policy.ClientAuth == "" {
		policy.ClientAuth = claviger.ClientSecretBasic
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		policy: policy, key: jose.JSONWebKey{Key: key, KeyID: "id-key", Algorithm: string(jose.ES256), Use: "sig"},
		codes: map[string]*code{}, devices: map[string]*device{}, refresh: map[string]*refreshToken{}, access: map[string]*family{}, jtis: map[string]bool{}, bound: map[string]string{},
	}
	s.Client = claviger.OAuthClient{ID: "client:" + random(6), Secret: claviger.NewSecretString("s/" + random(18) + "+%")}
	s.http = httptest.NewUnstartedServer(s.routes())
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.http.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, firstKey{}, new(sync.Once))
	}
	s.http.TLS = &tls.Config{ClientAuth: tls.RequestClientCert} // asked for, never demanded
	s.http.Listener = &refusing{Listener: s.http.Listener, server: s}
	s.http.StartTLS()
	s.URL = s.http.URL
	t.Cleanup(func() {
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

// firstKey is the context key of a connection's first request.
type firstKey struct{}

// refusing closes connections before a byte was read from them, while the server
// wants that.
type refusing struct {
	net.Listener
	server *Server
}

// Accept implements net.Listener.
func (l *refusing) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.server.mu.Lock()
		refuse := l.server.refuse > 0
		if refuse {
			l.server.refuse--
		}
		l.server.mu.Unlock()
		if !refuse {
			return conn, nil
		}
		_ = conn.Close()
	}
}

// RefuseConnections closes the next n connections before anything can be sent.
func (s *Server) RefuseConnections(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = n
}

// Roots answers the authority of the server's certificate.
func (s *Server) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.http.Certificate())
	return pool
}

// Certificate answers the server's certificate, for a process that has to trust it.
func (s *Server) Certificate() *x509.Certificate { return s.http.Certificate() }

// Egress answers a client to which the operator opened loopback and this server's
// authority. change, if not nil, edits its configuration.
func (s *Server) Egress(t testing.TB, change func(*egress.Config)) *egress.Client {
	t.Helper()
	allow, err := egress.ParseAllow("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	config := egress.Config{Allow: allow, RootCAs: s.Roots()}
	if change != nil {
		change(&config)
	}
	client := egress.New(config)
	t.Cleanup(client.Close)
	return client
}

// Rules answers the oauth2 section of a connector for this server.
func (s *Server) Rules() claviger.OAuth {
	at := func(path string) claviger.Template { return claviger.MustTemplate(s.URL + path) }
	return claviger.OAuth{
		Grant: claviger.GrantAuthorizationCode,
		Endpoints: claviger.OAuthEndpoints{
			Authorize: at("/authorize"), Token: at("/token"), Device: at("/device"), Revoke: at("/revoke"),
			Introspect: at("/introspect"), Userinfo: at("/userinfo"), Keys: at("/jwks"),
		},
		Issuer:     at(""),
		Scopes:     []string{"contacts.read", "contacts.write"},
		ClientAuth: s.policy.ClientAuth,
		Refresh:    claviger.OAuthRefresh{Rotates: s.policy.Rotates, Grace: s.policy.Grace},
	}
}

// Received answers the requests to a path, in order; all for an empty path.
func (s *Server) Received(path string) []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Received
	for _, r := range s.received {
		if path == "" || r.Path == path {
			out = append(out, r)
		}
	}
	return out
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /token", s.answered(s.token))
	mux.HandleFunc("POST /app/installations/{id}/access_tokens", s.answered(s.installation))
	mux.HandleFunc("POST /device", s.answered(s.startDevice))
	mux.HandleFunc("POST /revoke", s.answered(s.revoke))
	mux.HandleFunc("POST /introspect", s.answered(s.introspect))
	mux.HandleFunc("GET /userinfo", s.answered(s.userinfo))
	mux.HandleFunc("GET /jwks", s.answered(s.keySet))
	mux.HandleFunc("GET /.well-known/openid-configuration", s.answered(s.metadata))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.record(r)
		mux.ServeHTTP(w, r)
	})
}

// record keeps a request and puts its body back.
func (s *Server) record(r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	form := r.URL.Query()
	if values, err := url.ParseQuery(string(body)); err == nil {
		for name, list := range values {
			form[name] = append(form[name], list...)
		}
	}
	fresh := false
	if once, ok := r.Context().Value(firstKey{}).(*sync.Once); ok {
		once.Do(func() { fresh = true })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = append(s.received, Received{r.Method, r.URL.Path, r.Header.Clone(), form, string(body), fresh, len(r.TLS.PeerCertificates), s.policy.Now()})
}

// random answers n random bytes as base64url.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
