package egress

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger/clavigertest/resolver"
)

// newHTTP1Vendor is newVendor without HTTP/2.
func newHTTP1Vendor(t testing.TB, handler http.Handler, change func(*Config)) *vendor {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return dialVendor(t, server, change)
}

// TestAbuse_134_SurplusInsideTLS hides the surplus where the socket does not show it:
// in the record of the answer before.
func TestAbuse_134_SurplusInsideTLS(t *testing.T) {
	ca := newAuthority(t, nil)
	for name, surplus := range map[string]string{
		"with the answer": "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
		"one byte":        "H",
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}})
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			var connections atomic.Int32
			go func() {
				for {
					c, err := listener.Accept()
					if err != nil {
						return
					}
					connections.Add(1)
					go func() {
						defer c.Close()
						r := bufio.NewReader(c)
						if mustReadRequest(r) {
							// More than the client's buffer, so that the surplus stays below it.
							body := strings.Repeat("x", 8000)
							_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", len(body), body, surplus)
							mustReadRequest(r)
						}
					}()
				}
			}()
			roots := x509.NewCertPool()
			roots.AddCert(ca.cert)
			_, port, _ := net.SplitHostPort(listener.Addr().String())
			c := New(Config{Allow: mustAllow(t, "127.0.0.1"), RootCAs: roots, Resolver: resolver.Of(t, map[string][]string{"example.com": {"127.0.0.1"}})})
			defer c.Close()
			origin := "https://example.com:" + port
			for i := range 5 {
				resp, err := c.Do(t.Context(), Destination{Key: "k", Origin: origin}, request(t, origin))
				if err != nil {
					t.Fatal(err)
				}
				body, err := ReadAll(resp.Body, 10000)
				_ = resp.Body.Close()
				if err != nil || len(body) != 8000 {
					t.Fatalf("answer %d: %.20q, %v", i, body, err)
				}
			}
			if connections.Load() != 5 {
				t.Errorf("%d connections: one with surplus was kept", connections.Load())
			}
		})
	}
}

func TestKeepAlive(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"length":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
		"chunked": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a"); w.(http.Flusher).Flush() },
		"empty":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"large":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 300<<10)) },
	} {
		t.Run(name, func(t *testing.T) {
			v := newHTTP1Vendor(t, handler, nil)
			for range 20 {
				resp, err := v.get(t, v.URL)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.ProtoMajor != 1 {
					t.Fatalf("HTTP/%d", resp.ProtoMajor)
				}
			}
			if v.dials.count() != 1 {
				t.Errorf("%d sockets for 20 calls", v.dials.count())
			}
		})
	}
}

func TestConcurrentCallsKeepTheirAnswers(t *testing.T) {
	for name, start := range map[string]func(testing.TB, http.Handler, func(*Config)) *vendor{"HTTP/1": newHTTP1Vendor, "HTTP/2": newVendor} {
		t.Run(name, func(t *testing.T) {
			v := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				_, _ = fmt.Fprintf(w, "%s %s", r.URL.Path, body)
			}), nil)
			var workers sync.WaitGroup
			for worker := range 16 {
				workers.Go(func() {
					for call := range 25 {
						id := fmt.Sprintf("/%d/%d", worker, call)
						text := strings.Repeat(id, 1+call*call*20) // some are sent beside the reading
						req := request(t, v.URL+id)
						req.Method, req.ContentLength, req.Body = "POST", int64(len(text)), io.NopCloser(strings.NewReader(text))
						if call%3 == 0 {
							req.ContentLength = -1
						}
						resp, err := v.client.Do(t.Context(), v.dest, req)
						if err != nil {
							t.Errorf("%s: %v", id, err)
							return
						}
						if call%5 == 4 { // some are given up
							_ = resp.Body.Close()
							continue
						}
						body, err := ReadAll(resp.Body, 1<<20)
						_ = resp.Body.Close()
						if err != nil || string(body) != id+" "+text {
							t.Errorf("%s got %.40q, %v", id, body, err)
						}
					}
				})
			}
			workers.Wait()
		})
	}
}

// TestStaleConnections: a vendor that hangs up between two calls costs nobody a call.
func TestStaleConnections(t *testing.T) {
	v := newHTTP1Vendor(t, echoHost(), nil)
	for range 5 {
		resp, err := v.get(t, v.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		v.CloseClientConnections()
	}
	if v.dials.count() != 5 {
		t.Errorf("%d sockets", v.dials.count())
	}
}

// TestRepeatsOnlyWhatIsSafe: the vendor reads a second request on a kept connection
// and hangs up without an answer.
func TestRepeatsOnlyWhatIsSafe(t *testing.T) {
	for method, want := range map[string]int32{"GET": 3, "HEAD": 3, "POST": 2, "DELETE": 2, "PUT": 2} {
		t.Run(method, func(t *testing.T) {
			var requests atomic.Int32
			v := rawServer(t, func(c net.Conn, r *bufio.Reader) {
				if mustReadRequest(r) {
					requests.Add(1)
					_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
					if mustReadRequest(r) {
						requests.Add(1)
					}
				}
			})
			for i := range 2 {
				req := request(t, v.dest.Origin)
				req.Method = method
				resp, err := v.client.Do(t.Context(), v.dest, req)
				if err == nil {
					_ = resp.Body.Close()
				}
				if failed := err != nil; failed != (i == 1 && want == 2) {
					t.Fatalf("call %d: %v", i, err)
				}
			}
			if requests.Load() != want {
				t.Errorf("the vendor saw %d requests, want %d", requests.Load(), want)
			}
		})
	}
}

// TestEarlyAnswer: a vendor refuses an upload before it is read.
func TestEarlyAnswer(t *testing.T) {
	v := rawServer(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
			_, _ = io.Copy(io.Discard, r)
		}
	})
	body, writer := io.Pipe()
	go func() {
		piece := make([]byte, 64<<10)
		for {
			if _, err := writer.Write(piece); err != nil {
				return
			}
		}
	}()
	req := request(t, v.dest.Origin)
	req.Method, req.Body, req.ContentLength = "POST", body, -1
	resp, err := v.client.Do(t.Context(), v.dest, req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := ReadAll(resp.Body, 100)
	_ = resp.Body.Close()
	if resp.StatusCode != 413 || string(text) != "no" || err != nil {
		t.Fatalf("%d %q, %v", resp.StatusCode, text, err)
	}
}

// TestStreamsAreNotDelayed: each event arrives before the next is sent.
func TestStreamsAreNotDelayed(t *testing.T) {
	for name, start := range map[string]func(testing.TB, http.Handler, func(*Config)) *vendor{"HTTP/1": newHTTP1Vendor, "HTTP/2": newVendor} {
		t.Run(name, func(t *testing.T) {
			next := make(chan struct{})
			v := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				for i := range 3 {
					_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
					w.(http.Flusher).Flush()
					<-next
				}
			}), nil)
			resp, err := v.get(t, v.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			buf := make([]byte, 100)
			for i := range 3 {
				n, err := resp.Body.Read(buf)
				if want := fmt.Sprintf("data: %d\n\n", i); string(buf[:n]) != want {
					t.Fatalf("%q, %v; want %q", buf[:n], err, want)
				}
				next <- struct{}{}
			}
		})
	}
}

func TestIdleConnectionsAreReaped(t *testing.T) {
	closed := make(chan struct{}, 1)
	server := httptest.NewUnstartedServer(echoHost())
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.StartTLS()
	defer server.Close()
	v := dialVendor(t, server, func(c *Config) { c.Limits.Idle = 20 * time.Millisecond })
	resp, err := v.get(t, v.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatal("an unused connection stays open")
	}
}

// TestAbuse_127_CompressedBodiesPass: a bomb is the client's to inflate or not.
func TestAbuse_127_CompressedBodiesPass(t *testing.T) {
	bomb := bytes.Repeat([]byte("\x1f\x8b\x08\x00not really gzip"), 1000)
	for _, encoding := range []string{"gzip", "br", "zstd", "deflate", "gzip, gzip"} {
		v := newHTTP1Vendor(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "" {
				t.Errorf("claviger asked for %q", r.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Encoding", encoding)
			_, _ = w.Write(bomb)
		}), nil)
		resp, err := v.get(t, v.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, err := ReadAll(resp.Body, int64(len(bomb)))
		_ = resp.Body.Close()
		if err != nil || !bytes.Equal(body, bomb) || resp.Header.Get("Content-Encoding") != encoding || resp.Uncompressed {
			t.Errorf("%s: %d bytes, %v", encoding, len(body), err)
		}
		if _, err := ReadAll(bytes.NewReader(bomb), int64(len(bomb)-1)); code(t, err) != "response_too_large" {
			t.Errorf("the cap of a body: %v", err)
		}
	}
}

func TestInvalidHeaders(t *testing.T) {
	v := newHTTP1Vendor(t, echoHost(), nil)
	for _, h := range []http.Header{
		{"X-A": {"a\r\nX-B: c"}},
		{"X-A": {"a\nb"}},
		{"X-A": {"a\rb"}},
		{"X-A": {"a\x00b"}},
		{"X A": {"b"}},
		{"X-A:": {"b"}},
		{"": {"b"}},
		{"X\r\nY": {"b"}},
	} {
		req := request(t, v.URL)
		req.Header = h
		if _, err := v.client.Do(t.Context(), v.dest, req); code(t, err) != "invalid_header" {
			t.Errorf("%q: %v", h, err)
		}
	}
	v.dials.nothingLeft(t)
}

func BenchmarkDo(b *testing.B) {
	text := bytes.Repeat([]byte("x"), 1<<10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) }))
	defer server.Close()
	c := New(Config{Allow: mustAllow(b, "127.0.0.1")})
	defer c.Close()
	dest := Destination{Key: "k", Origin: server.URL}
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	defer transport.CloseIdleConnections()
	for name, send := range map[string]func(*http.Request) (*http.Response, error){
		"claviger":  func(r *http.Request) (*http.Response, error) { return c.Do(r.Context(), dest, r) },
		"transport": transport.RoundTrip,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 32<<10)
			for b.Loop() {
				resp, err := send(request(b, server.URL))
				if err != nil {
					b.Fatal(err)
				}
				for {
					if _, err := resp.Body.Read(buf); err != nil {
						break
					}
				}
				_ = resp.Body.Close()
			}
		})
	}
}
