package egress

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// post sends a POST and answers how often it said that it was about to be sent.
func (v *vendor) post(t testing.TB, target string, alone bool) (sent int64, err error) {
	t.Helper()
	var count atomic.Int64
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = alone
	resp, err := v.client.Do(OnSend(t.Context(), func() { count.Add(1) }), v.dest, req)
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	return count.Load(), err
}

func TestOnSend(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		if r.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
	}
	for name, h2 := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(handler))
			server.Config.ErrorLog = discardLog()
			server.EnableHTTP2 = h2
			server.StartTLS()
			t.Cleanup(server.Close)
			v := dialVendor(t, server, nil)
			if sent, err := v.post(t, v.URL+"/", false); sent != 1 || err != nil {
				t.Errorf("an answered request was sent %d times, %v", sent, err)
			}
			if sent, err := v.post(t, v.URL+"/cut", false); sent != 1 || code(t, err) != "unreachable" {
				t.Errorf("a request without an answer was sent %d times, %v", sent, err)
			}
			if sent, err := v.post(t, "https://other.example/", false); sent != 0 || code(t, err) != "destination_not_allowed" {
				t.Errorf("a refused request was sent %d times, %v", sent, err)
			}
		})
	}
}

func TestOnSend_NothingSent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "https://" + listener.Addr().String()
	_ = listener.Close()
	v := newVendor(t, echoHost(), nil)
	v.dest.Origin = dead
	if sent, err := v.post(t, dead, false); sent != 0 || code(t, err) != "unreachable" {
		t.Errorf("with nobody there, it was sent %d times, %v", sent, err)
	}
	server := httptest.NewUnstartedServer(echoHost())
	server.Config.ErrorLog = discardLog()
	server.StartTLS()
	t.Cleanup(server.Close)
	untrusted := dialVendor(t, server, func(c *Config) { c.RootCAs = x509.NewCertPool() })
	if sent, err := untrusted.post(t, untrusted.URL, false); sent != 0 || code(t, err) != "upstream_tls" {
		t.Errorf("without trust, it was sent %d times, %v", sent, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	said := false
	_, err = v.client.Do(OnSend(ctx, func() { said = true }), v.dest, request(t, dead))
	if said || code(t, err) != "canceled" {
		t.Errorf("given up before the start: sent %v, %v", said, err)
	}
}

// Hooks add up, and one that ends the context at the last moment keeps the request
// from leaving.
func TestOnSend_LastMoment(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			var arrived atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Add(1) }))
			server.EnableHTTP2 = h2
			server.StartTLS()
			t.Cleanup(server.Close)
			v := dialVendor(t, server, nil)
			for _, stop := range []bool{false, true, true, false} {
				ctx, cancel := context.WithCancel(t.Context())
				var order []string
				ctx = OnSend(ctx, func() {
					order = append(order, "outer")
					if stop {
						cancel()
					}
				})
				ctx = OnSend(ctx, func() { order = append(order, "inner") })
				before := arrived.Load()
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.URL, strings.NewReader("body"))
				if err != nil {
					t.Fatal(err)
				}
				req.Close = true
				resp, err := v.client.Do(ctx, v.dest, req)
				if err == nil {
					_ = resp.Body.Close()
				}
				cancel()
				sent := arrived.Load() - before
				if stop != (code(t, err) == "canceled") || (sent == 1) == stop || strings.Join(order, " ") != "outer inner" {
					t.Errorf("stopped %v: %v, %d arrived, hooks %v", stop, err, sent, order)
				}
			}
		})
	}
}

// A request with Close neither takes a kept connection nor leaves one.
func TestCloseTravelsAlone(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(echoHost())
			server.EnableHTTP2 = h2
			server.StartTLS()
			t.Cleanup(server.Close)
			v := dialVendor(t, server, nil)
			for range 3 {
				if _, err := v.post(t, v.URL, true); err != nil {
					t.Fatal(err)
				}
			}
			if v.dials.count() != 3 {
				t.Errorf("%d connections for 3 requests", v.dials.count())
			}
		})
	}
}

// A slow vendor's destination waits longer than the instance's limit, others do not.
func TestPatience(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			givenUp := make(chan struct{})
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					<-givenUp
				}
			}))
			server.EnableHTTP2 = h2
			server.StartTLS()
			t.Cleanup(server.Close)
			v := dialVendor(t, server, func(c *Config) { c.Limits.Header = 20 * time.Millisecond })
			done := make(chan error)
			go func() {
				patient := v.dest
				patient.Patience = time.Minute
				resp, err := v.client.Do(t.Context(), patient, request(t, v.URL+"/slow"))
				if err == nil {
					err = resp.Body.Close()
				}
				done <- err
			}()
			if _, err := v.get(t, v.URL+"/slow"); code(t, err) != "upstream_timeout" {
				t.Errorf("the impatient one got %v", err)
			}
			close(givenUp)
			if err := <-done; err != nil {
				t.Errorf("the patient one got %v", err)
			}
		})
	}
}

func TestClientCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].SerialNumber.String())
		}
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	v := dialVendor(t, server, nil)
	shown := func(c *tls.Certificate) string {
		t.Helper()
		v.dest.Certificate = c
		resp, err := v.get(t, v.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := ReadAll(resp.Body, 100)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	one, two := selfSigned(t, 1), selfSigned(t, 2)
	for range 2 {
		if a, b, c := shown(one), shown(two), shown(nil); a != "1" || b != "2" || c != "" {
			t.Fatalf("the vendor saw certificates %q, %q and %q", a, b, c)
		}
	}
	if v.dials.count() != 3 {
		t.Errorf("%d connections for 3 identities", v.dials.count())
	}
}

func selfSigned(t testing.TB, serial int64) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
