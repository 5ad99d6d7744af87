package clavigertest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"claviger/clavigertest"
)

// request makes a request through the connection, for streams.
func (c *connected) request(t *testing.T, method, path string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.URL+proxy(c.id, path), body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	return req
}

func TestEventsArriveOneByOne(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_event_secret")
	next := make(chan struct{})
	c.vendor.Behave(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			select { // the next event waits until the caller has seen this one
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	resp, err := c.Client(c.Key).Proxy(c.id).Get("http://vendor/events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for i := range 5 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) || !lines.Scan() {
			t.Fatalf("event %d: %q %v", i, lines.Text(), lines.Err())
		}
		next <- struct{}{}
	}
	if lines.Scan() {
		t.Errorf("more than was sent: %q", lines.Text())
	}
}

// zeros is a body of n bytes that no memory holds.
func zeros(n int64) io.Reader { return io.LimitReader(endless{}, n) }

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// heap answers the bytes in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAbuse_128_LargeBodiesStream(t *testing.T) {
	const size = 100 << 20
	c := connect(t, clavigertest.Options{}, "ak_large_secret")
	grown := make(chan uint64, 2)
	before := heap()
	c.vendor.Behave(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, io.LimitReader(r.Body, size/2))
		grown <- heap()
		m, err2 := io.Copy(io.Discard, r.Body)
		if err != nil || err2 != nil || n+m != size {
			t.Errorf("%d bytes arrived: %v %v", n+m, err, err2)
		}
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		_, _ = io.Copy(w, zeros(size/2))
		grown <- heap()
		_, _ = io.Copy(w, zeros(size/2))
	})
	for _, kind := range []string{"application/octet-stream", "text/plain"} { // passed on, and searched for echoes
		for _, known := range []bool{true, false} {
			req := c.request(t, "PUT", "/large", zeros(size))
			if known {
				req.ContentLength = size
			}
			req.Header.Set("Accept", kind)
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if err != nil || n != size || resp.StatusCode != 200 {
				t.Errorf("%s, length known %v: %d, %d bytes came back: %v", kind, known, resp.StatusCode, n, err)
			}
			for range 2 {
				if used := <-grown; used > before+16<<20 {
					t.Errorf("%s, length known %v: the heap grew from %d to %d MiB", kind, known, before>>20, used>>20)
				}
			}
		}
	}
	t.Logf("100 MiB each way, four times; the heap began at %d MiB", before>>20)
}

func TestAbuse_134_AVendorThatBreaksHTTP(t *testing.T) {
	for name, answer := range map[string]struct {
		text string
		want int // 0: the answer must break off visibly
	}{
		"two lengths":        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 502},
		"short":              {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", 0},
		"long":               {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", 200},
		"no answer":          {"", 502},
		"status 000":         {"HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n", 502},
		"status 999":         {"HTTP/1.1 999 Much\r\nContent-Length: 0\r\n\r\n", 502},
		"status text":        {"HTTP/1.1 abc OK\r\n\r\n", 502},
		"no HTTP":            {"SSH-2.0-OpenSSH\r\n", 502},
		"bad header":         {"HTTP/1.1 200 OK\r\nA\x00b: c\r\nContent-Length: 0\r\n\r\n", 502},
		"204 with a body":    {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", 204},
		"304 with a body":    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", 304},
		"broken chunks":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", 0},
		"unfinished chunks":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 0},
		"many interim":       {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 502},
		"switching":          {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 502},
		"enormous header":    {"HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 2<<20) + "\r\n\r\n", 502},
		"unknown encoding":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", 502},
		"header end missing": {"HTTP/1.1 200 OK\r\nX-A: b\r\n", 502},
	} {
		t.Run(name, func(t *testing.T) { brokenVendor(t, answer.text, answer.want) })
	}
}

// brokenVendor answers through a vendor that writes text to each socket and hangs up.
func brokenVendor(t *testing.T, text string, want int) {
	t.Helper()
	c := connect(t, clavigertest.Options{}, "ak_broken_secret")
	c.vendor.Behave(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	})
	status, body := 200, []byte(nil)
	resp, err := http.DefaultTransport.RoundTrip(c.request(t, "POST", "/x", nil))
	if err == nil {
		status = resp.StatusCode
		body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	switch {
	case want == 0 && (status != 200 || err == nil):
		t.Errorf("an answer that broke off looks whole: %d %q", status, body)
	case want != 0 && (status != want || err != nil):
		t.Errorf("%d %q %v, want %d", status, body, err, want)
	case strings.Contains(string(body), "evil"):
		t.Errorf("what followed the answer was passed on: %q", body)
	}
	c.vendor.Behave(nil)
	if a := c.through("GET", "/after", nil); a.Status != 200 || !strings.Contains(string(a.Body), "/after") {
		t.Errorf("the next call: %d %s", a.Status, a.Body)
	}
}

func TestAbuse_116_ACallerThatLeavesLeavesNothing(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_leave_secret")
	left := make(chan struct{})
	c.vendor.Behave(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		left <- struct{}{}
	})
	before := runtime.NumGoroutine()
	for range 20 {
		conn, err := net.Dial("tcp", c.Addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.request(t, "GET", "/events", nil).Write(conn); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-left:
		case <-time.After(longest):
			t.Fatal("the vendor was not hung up on")
		}
	}
	eventually(t, "the goroutines of callers that left are gone", func() bool { return runtime.NumGoroutine() <= before+8 })
	if os.Getenv("CLAVIGER_SOAK") != "" {
		t.Logf("%d goroutines before, %d after", before, runtime.NumGoroutine())
	}
}
