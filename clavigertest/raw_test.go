package clavigertest_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"claviger/clavigertest"
	"claviger/clavigertest/cputime"
)

// raw writes bytes to the server as they are, and behind them a request that ends the
// connection, and answers the first status that comes back, with all text; 0 if the
// server only hung up. The client's side stays open: closing it would be read as a
// client that has left.
func (c *connected) raw(t *testing.T, bytes string) (status int, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", c.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(longest)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, bytes+"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return 0, err.Error() // it hung up before it had read all
	}
	all, _ := io.ReadAll(conn)
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(all))), nil)
	if err != nil {
		return 0, string(all)
	}
	_ = resp.Body.Close()
	return resp.StatusCode, string(all)
}

func TestAbuse_121_OneRequestOneFraming(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_smuggle_secret")
	post := "POST " + proxy(c.id, "/x") + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + c.Key + "\r\n"
	smuggled := "GET " + proxy(c.id, "/smuggled") + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + c.Key + "\r\n\r\n"
	for name, request := range map[string]string{
		"length then chunks":  post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"chunks then length":  post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + smuggled,
		"two lengths":         post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + smuggled,
		"list of lengths":     post + "Content-Length: 4,4\r\n\r\nabcd" + smuggled,
		"plus":                post + "Content-Length: +4\r\n\r\nabcd" + smuggled,
		"hex":                 post + "Content-Length: 0x4\r\n\r\nabcd" + smuggled,
		"negative":            post + "Content-Length: -1\r\n\r\n" + smuggled,
		"xchunked":            post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled,
		"tab":                 post + "Transfer-Encoding:\tchunked, identity\r\n\r\n0\r\n\r\n" + smuggled,
		"twice":               post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled,
		"space before colon":  post + "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + smuggled,
		"folded":              post + "X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok",
		"bare CR":             post + "X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok",
		"NUL":                 post + "X-A: b\x00c\r\nContent-Length: 2\r\n\r\nok",
		"chunk size overflow": post + "Transfer-Encoding: chunked\r\n\r\n1ffffffffffffffff\r\nx\r\n0\r\n\r\n" + smuggled,
		"chunk extension":     post + "Transfer-Encoding: chunked\r\n\r\n2;a=\nb\r\nok\r\n0\r\n\r\n" + smuggled,
		"0.9":                 "GET " + proxy(c.id, "/x") + "\r\n\r\n" + smuggled,
		"1.2":                 strings.Replace(post, "HTTP/1.1", "HTTP/1.2", 1) + "Content-Length: 2\r\n\r\nok",
		"2.0":                 strings.Replace(post, "HTTP/1.1", "HTTP/2.0", 1) + "Content-Length: 2\r\n\r\nok",
		"underscore":          post + "Content_Length: 2\r\nTransfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\nok",
		"expect":              post + "Expect: 200-ok\r\nContent-Length: 2\r\n\r\nok",
		"short":               post + "Content-Length: 10\r\n\r\nshort",
	} {
		t.Run(name, func(t *testing.T) {
			c.vendor.Forget()
			status, text := c.raw(t, request)
			got := c.vendor.Received()
			for _, r := range got {
				if len(r.Header.Values("Content-Length"))+len(r.Header.Values("Transfer-Encoding")) > 1 {
					t.Errorf("two framings arrived: %s", r.Dump())
				}
			}
			// What is read as a second request must be answered as one: then caller and
			// server agree on where it began. net/http takes the chunks and drops the length
			// where both are given (RFC 9112, section 6.1).
			answers := strings.Count(text, "HTTP/1.1 200 OK")
			if ended := strings.Contains(text, `{"status":"ok"}`); ended {
				answers--
			}
			if status == 200 && len(got) != answers {
				t.Errorf("%d requests arrived, %d were answered: %s", len(got), answers, text)
			}
			if status != 200 && len(got) != 0 && name != "short" && name != "chunk size overflow" && name != "chunk extension" {
				t.Errorf("refused with %d, and the vendor got %d", status, len(got))
			}
		})
	}
}

func TestAbuse_288_BombsAreRefusedCheaply(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_bomb_secret")
	many := func(n int, f func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(f(i))
		}
		return b.String()
	}
	constant := func(s string) func(int) string { return func(int) string { return s } }
	letters := func(i int) string {
		return string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26))
	}
	for name, request := range map[string]call{
		"depth":      {Method: "POST", Path: "/v1/connections", Body: `{"metadata":` + strings.Repeat(`{"a":`, 10_000) + `1` + strings.Repeat(`}`, 10_001)},
		"arrays":     {Method: "POST", Path: "/v1/connections", Body: strings.Repeat(`[`, 100_000)},
		"keys":       {Method: "POST", Path: "/v1/connections", Body: `{"metadata":{` + many(17_000, func(i int) string { return `"` + letters(i) + letters(i/17576) + `":"1",` }) + `"z":"1"}}`},
		"string":     {Method: "POST", Path: "/v1/connections", Body: `{"name":"` + strings.Repeat("a", 10<<20) + `"}`},
		"exponent":   {Method: "POST", Path: "/v1/actions/run", Body: `{"actionIdentifier":"acme.list-contacts","connectionId":"` + c.id + `","input":{"limit":1e999999999}}`},
		"duplicates": {Method: "POST", Path: "/v1/connections", Body: `{"name":"a","name":"b"}`},
		"parameters": {Method: "GET", Path: "/v1/connections?" + strings.Repeat("a=1&", 10_000)},
		"cookies":    {Method: "GET", Path: "/v1/connections", Header: http.Header{"Cookie": {many(20_000, constant("a=1; "))}}},
	} {
		request.Token = c.Key
		var a *clavigertest.Answer
		var err error
		if took := cputime.Of(t, func() { a, err = c.Send(request) }); took > time.Second {
			t.Errorf("%s took %s", name, took)
		}
		if err != nil {
			continue // it hung up on a body that it would not read
		}
		if a.Status < 400 || a.Status >= 500 {
			t.Errorf("%s: %d %.200s", name, a.Status, a.Body)
		}
	}
	if len(c.vendor.Received()) != 0 {
		t.Error("a bomb reached the vendor")
	}
	// The largest number that a double holds is a whole one, and stays short on its way.
	large := c.Do(call{Token: c.Key, Method: "POST", Path: "/v1/actions/run", Body: `{"actionIdentifier":"acme.list-contacts","connectionId":"` + c.id + `","input":{"limit":1e308}}`})
	if large.Status == 200 && len(c.vendor.Last(t).Target) > 400 {
		t.Errorf("1e308 grew to %d bytes", len(c.vendor.Last(t).Target))
	}
}

func TestAbuse_287_SlowHeadersAreHungUpOn(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_slow_secret")
	const rounds, slow = 8, 16
	hung := make(chan error, rounds*slow)
	quickest := time.Hour
	for range rounds {
		for range slow {
			conn, err := net.Dial("tcp", c.Addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			if _, err := io.WriteString(conn, "GET /v1/whoami HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
				t.Fatal(err)
			}
			go func() {
				_ = conn.SetReadDeadline(time.Now().Add(longest))
				_, err := io.Copy(io.Discard, conn)
				hung <- err
			}()
		}
		began := time.Now()
		if a := c.through("GET", "/x", nil); a.Status != 200 {
			t.Errorf("beside the slow ones: %d", a.Status)
		}
		quickest = min(quickest, time.Since(began))
	}
	if quickest > 4*time.Second { // the slow ones have five
		t.Errorf("every other call waited for the slow ones, %s or longer", quickest)
	}
	for range rounds * slow {
		if err := <-hung; errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a client that sends no header is not hung up on")
		}
	}
}
