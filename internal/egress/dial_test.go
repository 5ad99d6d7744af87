package egress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/resolver"
)

const public = "93.184.216.34"

func TestAbuse_141_Rebinding(t *testing.T) {
	many := func(last string) (out []string) {
		for range 29 {
			out = append(out, public)
		}
		return append(out, last)
	}
	for name, answers := range map[string][]string{
		"private":               {"10.0.0.1"},
		"mixed":                 {public, "127.0.0.1"},
		"mixed, private first":  {"127.0.0.1", public},
		"private AAAA":          {public, "::1"},
		"mapped AAAA":           {public, "::ffff:169.254.169.254"},
		"NAT64":                 {public, "64:ff9b::7f00:1"},
		"CNAME to private":      {"CNAME inner.evil.example", "192.168.1.1"},
		"CNAME to localhost":    {"CNAME localhost", "127.0.0.1"},
		"CNAME, one bad answer": {"CNAME inner.evil.example", public, "100.64.0.1"},
		"30 answers, one bad":   many("169.254.169.254"),
	} {
		t.Run(name, func(t *testing.T) {
			dials := &recorder{}
			c := New(Config{OnDial: dials.onDial, Resolver: resolver.Start(t, func(string, int) []string { return answers })})
			_, err := c.Do(t.Context(), Destination{Key: "k", Origin: "https://evil.example"}, request(t, "https://evil.example/"))
			if code(t, err) != "destination_not_allowed" {
				t.Errorf("%v", err)
			}
			dials.nothingLeft(t)
		})
	}
	t.Run("second lookup", func(t *testing.T) {
		// First a good answer, then, for the next connection, a private one.
		v := newVendor(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }), func(c *Config) {
			c.Allow = mustAllow(t, "127.0.0.1")
			c.Resolver = resolver.Start(t, func(_ string, n int) []string { return [][]string{{"127.0.0.1"}, {"127.0.0.2"}}[min(n, 1)] })
		})
		v.dest.Origin = "https://example.com:" + v.port
		resp, err := v.get(t, v.dest.Origin)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		v.client.Close()
		if _, err := v.get(t, v.dest.Origin); code(t, err) != "destination_not_allowed" || v.dials.count() != 1 {
			t.Errorf("the rebound name: %v, %d sockets", err, v.dials.count())
		}
	})
	t.Run("socket", func(t *testing.T) {
		// Even if resolving were fooled, the socket's own address is checked.
		dials := &recorder{}
		c := New(Config{OnDial: dials.onDial})
		for _, addr := range []string{"127.0.0.1:443", "[::1]:443", "169.254.169.254:80"} {
			if _, err := c.connect(t.Context(), mustAddrPort(addr), false); code(t, err) != "destination_not_allowed" {
				t.Errorf("%s: %v", addr, err)
			}
		}
		dials.nothingLeft(t)
	})
}

func TestRaceTriesTheNextAddress(t *testing.T) {
	// 127.0.0.2 to .4 refuse the port; only .1 listens.
	v := newVendor(t, echoHost(), func(c *Config) {
		c.Resolver = resolver.Of(t, map[string][]string{"example.com": {"127.0.0.4", "127.0.0.3", "127.0.0.2", "127.0.0.1"}})
	})
	v.dest.Origin = "https://example.com:" + v.port
	resp, err := v.get(t, v.dest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if n := v.dials.count(); n < 1 || n > 4 {
		t.Errorf("%d sockets", n)
	}
	v.Server.Close()
	v.client.Close()
	if _, err := v.get(t, v.dest.Origin); code(t, err) != "unreachable" {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestAbuse_149_ResolverFaults(t *testing.T) {
	long := []string{}
	for range 12 {
		long = append(long, "CNAME "+strings.Repeat("a.", 60)+"example")
	}
	const short = 200 * time.Millisecond
	for name, c := range map[string]struct {
		answers []string
		limit   time.Duration
		want    string
	}{
		"SERVFAIL":   {[]string{"SERVFAIL"}, short, "unreachable"},
		"NXDOMAIN":   {nil, time.Minute, "unreachable"},
		"no address": {[]string{}, time.Minute, "unreachable"},
		"silence":    {[]string{"SILENCE"}, short, "upstream_timeout"},
		"long CNAME": {long, time.Minute, "unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			dials := &recorder{}
			client := New(Config{
				OnDial: dials.onDial, Limits: Limits{Resolve: c.limit},
				Resolver: resolver.Start(t, func(string, int) []string { return c.answers }),
			})
			_, err := client.Do(t.Context(), Destination{Key: "k", Origin: "https://evil.example"}, request(t, "https://evil.example/"))
			// SERVFAIL is retried within the deadline, so it may run out too.
			if got := code(t, err); got != c.want && !(name == "SERVFAIL" && got == "upstream_timeout") {
				t.Errorf("%v", err)
			}
			dials.nothingLeft(t)
		})
	}
	if l := (Limits{}).withDefaults(); l.Resolve != 5*time.Second || l.Dial != 5*time.Second || l.TLS != 5*time.Second || l.Header != 60*time.Second {
		t.Errorf("defaults %+v", l)
	}
}

// TestAbuse_148_NoOracle: policy refusals are one error, and no error says what was
// found at an address.
func TestAbuse_148_NoOracle(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	banner := newVendor(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	go func() {
		for {
			conn, err := plain.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.9 secretbanner\r\n")
			_ = conn.Close()
		}
	}()
	private := map[string]string{
		"literal": "https://10.1.2.3", "name": "https://internal.evil.example", "port": "https://127.0.0.1:22", "scheme": "http://10.1.2.3", "local": "https://db.internal",
	}
	closedClient := New(Config{Resolver: resolver.Of(t, map[string][]string{"internal.evil.example": {"10.1.2.3"}})})
	var first *claviger.Error
	for name, origin := range private {
		_, err := closedClient.Do(t.Context(), Destination{Key: "k", Origin: origin}, request(t, origin+"/?key=topsecret"))
		e := claviger.AsError(err)
		if first == nil {
			first = e
		}
		if e.FineCode() != "destination_not_allowed" || e.Error() != first.Error() || e.Kind != first.Kind {
			t.Errorf("%s: %v differs from %v", name, e, first)
		}
	}
	for _, origin := range []string{"https://" + closed.Addr().String(), "https://" + plain.Addr().String(), "https://example.com:1"} {
		_, err := banner.client.Do(t.Context(), Destination{Key: "k", Origin: origin}, request(t, origin+"/?key=topsecret"))
		e := claviger.AsError(err)
		for _, leak := range []string{"127.0.0.1", "secretbanner", "topsecret", "key=", "example.com", "refused"} {
			if strings.Contains(e.Message, leak) {
				t.Errorf("%s: message %q holds %q", origin, e.Message, leak)
			}
			if (leak == "topsecret" || leak == "secretbanner") && strings.Contains(e.Error(), leak) {
				t.Errorf("%s: log text %q holds %q", origin, e.Error(), leak)
			}
		}
	}
}

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, change func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"example.com"}, NotBefore: time.Now().Add(-24 * time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

func TestAbuse_131_UpstreamTLS(t *testing.T) {
	ca := newAuthority(t, nil)
	constrained := newAuthority(t, func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"other.example"}
	})
	for name, c := range map[string]struct {
		server *tls.Config
		want   string
	}{
		"good":            {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}}, ""},
		"expired":         {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })}}, "upstream_tls"},
		"not yet valid":   {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) })}}, "upstream_tls"},
		"wrong host":      {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"www.example.com"} })}}, "upstream_tls"},
		"no name":         {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, "example.com" })}}, "upstream_tls"},
		"client's use":    {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })}}, "upstream_tls"},
		"self-signed":     {&tls.Config{Certificates: []tls.Certificate{newAuthority(t, nil).issue(t, nil)}}, "upstream_tls"},
		"name constraint": {&tls.Config{Certificates: []tls.Certificate{constrained.issue(t, nil)}}, "upstream_tls"},
		"TLS 1.0":         {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, "upstream_tls"},
		"TLS 1.1":         {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "upstream_tls"},
		"weak cipher": {&tls.Config{
			Certificates: []tls.Certificate{ca.issue(t, nil)}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA},
		}, "upstream_tls"},
		"mTLS required": {&tls.Config{
			Certificates: []tls.Certificate{ca.issue(t, nil)}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12,
		}, "upstream_tls"},
		"no SNI": {&tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if h.ServerName != "example.com" {
				return nil, errors.New("no name")
			}
			cert := ca.issue(t, nil)
			return &cert, nil
		}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(echoHost())
			server.Config.ErrorLog = discardLog()
			server.TLS = c.server.Clone()
			server.StartTLS()
			defer server.Close()
			v := dialVendor(t, server, func(config *Config) {
				config.RootCAs = x509.NewCertPool()
				config.RootCAs.AddCert(ca.cert)
				config.RootCAs.AddCert(constrained.cert)
			})
			v.dest.Origin = "https://example.com:" + v.port
			resp, err := v.get(t, v.dest.Origin)
			if code(t, err) != c.want {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if err == nil {
				_ = resp.Body.Close()
			}
		})
	}
	t.Run("plain server", func(t *testing.T) {
		v := dialVendor(t, startPlain(t), nil)
		v.dest.Origin = "https://127.0.0.1:" + v.port
		if _, err := v.get(t, v.dest.Origin); code(t, err) != "upstream_tls" {
			t.Fatalf("%v", err)
		}
	})
	t.Run("silent server", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		c := New(Config{Allow: mustAllow(t, "127.0.0.1"), Limits: Limits{TLS: 50 * time.Millisecond}})
		origin := "https://" + listener.Addr().String()
		if _, err := c.Do(t.Context(), Destination{Key: "k", Origin: origin}, request(t, origin)); code(t, err) != "upstream_timeout" {
			t.Fatalf("%v", err)
		}
	})
}

func startPlain(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(echoHost())
	t.Cleanup(server.Close)
	return server
}

// TestAbuse_142_PoolsAreSeparate counts the sockets that the vendor accepts.
func TestAbuse_142_PoolsAreSeparate(t *testing.T) {
	var mu sync.Mutex
	peers := map[string][]string{}
	v := newVendor(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		peers[r.Header.Get("X-Org")] = append(peers[r.Header.Get("X-Org")], r.RemoteAddr)
		if r.TLS.DidResume {
			t.Error("a TLS session was resumed across partitions")
		}
	}), nil)
	for range 3 {
		for _, key := range []string{"org-a/acme", "org-b/acme", "org-a/acme+cert"} {
			dest := v.dest
			dest.Key = key
			req := request(t, v.URL)
			req.Header.Set("X-Org", key)
			resp, err := v.client.Do(t.Context(), dest, req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
	if v.dials.count() != 3 {
		t.Errorf("%d sockets for three partitions", v.dials.count())
	}
	seen := map[string]bool{}
	for key, list := range peers {
		if list = slices.Compact(list); len(list) != 1 || seen[list[0]] {
			t.Errorf("%s used sockets %v", key, list)
		}
		seen[list[0]] = true
	}
}

func TestPoolsAreBounded(t *testing.T) {
	made, c := 0, New(Config{})
	p := newPools(2, func(*Destination) *partition { made++; return c.newPartition(nil, 0) })
	get := func(key string) *partition { return p.get(&Destination{Key: key}) }
	a := get("a")
	get("b")
	if get("a") != a || made != 2 {
		t.Fatal("a known key made a new transport")
	}
	get("c") // drops b, the least used of late
	if len(p.byKey) != 2 || p.order.Len() != 2 || get("a") != a {
		t.Fatalf("%d partitions", len(p.byKey))
	}
	get("b")
	if made != 4 {
		t.Fatalf("%d transports were made, want 4", made)
	}
}
