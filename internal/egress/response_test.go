package egress

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// rawServer answers every connection with handle, over plain TCP.
func rawServer(t *testing.T, handle func(net.Conn, *bufio.Reader)) *vendor {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				handle(conn, bufio.NewReader(conn))
			})
		}
	})
	v := &vendor{dials: &recorder{}}
	v.client = New(Config{
		Allow: mustAllow(t, "127.0.0.1"), OnDial: v.dials.onDial,
		Limits: Limits{Header: time.Minute, BodyIdle: time.Minute, HeaderBytes: 64 << 10},
	})
	v.dest = Destination{Key: "k", Origin: "http://" + listener.Addr().String()}
	t.Cleanup(func() {
		_ = listener.Close()
		v.client.Close()
		running.Wait()
	})
	return v
}

func mustReadRequest(r *bufio.Reader) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, req.Body)
	return true
}

func TestAbuse_134_MalformedResponses(t *testing.T) {
	for name, c := range map[string]struct {
		raw  string
		want string // code of Do's error, or "body" for one of the body's, or ""
	}{
		"good":               {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""},
		"204 with body":      {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", ""},
		"304 with body":      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", ""},
		"two lengths":        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!", "invalid_response"},
		"length and chunked": {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", ""},
		"unknown encoding":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "unsupported"},
		"negative length":    {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok", "invalid_response"},
		"short body":         {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", "body"},
		"broken chunk":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n", "body"},
		"status 000":         {"HTTP/1.1 000 Zero\r\nContent-Length: 0\r\n\r\n", "invalid_response"},
		"status 099":         {"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n", "invalid_response"},
		"status 600":         {"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n", "invalid_response"},
		"status 999":         {"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", "invalid_response"},
		"status words":       {"HTTP/1.1 abc No\r\n\r\n", "invalid_response"},
		"not HTTP":           {"SSH-2.0-OpenSSH_9.9\r\n\r\n", "invalid_response"},
		"upgrade":            {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "invalid_response"},
		"early close":        {"", "unreachable"},
		"half a header":      {"HTTP/1.1 200 OK\r\nContent-Le", "invalid_response"},
		"bare header":        {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "invalid_response"},
		"NUL in header":      {"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", "?"},
		"big header":         {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", "response_too_large"},
		"many fields":        {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 1001) + "Content-Length: 0\r\n\r\n", "response_too_large"},
		"flood of 1xx":       {strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("y", 20<<10)+"\r\n\r\n", 10), "response_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			v := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
				if mustReadRequest(r) {
					_, _ = io.WriteString(conn, c.raw)
				}
			})
			resp, err := v.get(t, v.dest.Origin)
			got := code(t, err)
			if err == nil {
				_, err := ReadAll(resp.Body, 100)
				_ = resp.Body.Close()
				if got = code(t, err); got != "" {
					got = "body"
				}
			}
			switch c.want {
			case "?":
				if got == "" && strings.ContainsAny(resp.Header.Get("X"), "\x00") {
					t.Error("a control character came through")
				}
			case "unsupported":
				if got != "invalid_response" && got != "unreachable" {
					t.Errorf("%q: %v", got, err)
				}
			default:
				if got != c.want {
					t.Errorf("got %q (%v), want %q", got, err, c.want)
				}
			}
		})
	}
}

// TestAbuse_134_NextResponseIsItsOwn: what follows a finished answer on a socket is
// never taken for the answer to the next request.
func TestAbuse_134_NextResponseIsItsOwn(t *testing.T) {
	for name, first := range map[string]string{
		"longer than its length": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
		"204 with an answer":     "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
	} {
		t.Run(name, func(t *testing.T) {
			turn := make(chan string, 2)
			turn <- first
			turn <- "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
			v := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
				for mustReadRequest(r) {
					_, _ = io.WriteString(conn, <-turn)
				}
			})
			for _, want := range []string{"", "good"} {
				resp, err := v.get(t, v.dest.Origin)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := ReadAll(resp.Body, 100)
				_ = resp.Body.Close()
				if want != "" && string(body) != want {
					t.Fatalf("the second answer is %q", body)
				}
			}
		})
	}
}

func TestBodyWatchdog(t *testing.T) {
	v := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		if mustReadRequest(r) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
			_, _ = r.ReadByte() // until the client hangs up
		}
	})
	v.client = New(Config{Allow: mustAllow(t, "127.0.0.1"), Limits: Limits{BodyIdle: 100 * time.Millisecond}})
	resp, err := v.get(t, v.dest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if string(body) != "half" || code(t, err) != "upstream_timeout" {
		t.Fatalf("%q, %v", body, err)
	}
}

func TestHeaderTimeout(t *testing.T) {
	v := rawServer(t, func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
	v.client = New(Config{Allow: mustAllow(t, "127.0.0.1"), Limits: Limits{Header: 50 * time.Millisecond}})
	if _, err := v.get(t, v.dest.Origin); code(t, err) != "upstream_timeout" {
		t.Fatalf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := New(Config{Allow: mustAllow(t, "127.0.0.1")}).Do(ctx, v.dest, request(t, v.dest.Origin)); code(t, err) != "upstream_timeout" {
		t.Fatalf("%v", err)
	}
}
