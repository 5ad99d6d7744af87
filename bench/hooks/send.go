package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// secret is what the deliveries are signed with.
const secret = "hook_secret_of_the_bench"

// outcome is what the sender saw. Times are in milliseconds from each delivery's place in
// the schedule.
type outcome struct {
	Offered, Accepted, Limited, Other int
	Rate                              float64 // really offered, a second
	P50, P99, Late                    float64
}

// delivery answers a signed request as its bytes.
func delivery(target *url.URL, i, size int) []byte {
	body := fmt.Appendf(nil, `{"number":%d,"fill":"`, i)
	for len(body) < size-2 {
		body = append(body, 'x')
	}
	body = append(body, `"}`...)
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write(body)
	head := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: d-%d\r\nX-Hub-Signature-256: sha256=%s\r\nContent-Length: %d\r\n\r\n",
		target.RequestURI(), target.Host, i, hex.EncodeToString(mac.Sum(nil)), len(body))
	return append(head, body...)
}

// send offers the deliveries and prints what became of them.
func send(ctx context.Context, o options) error {
	target, err := url.Parse(o.target)
	if err != nil {
		return err
	}
	n := o.rate * int(o.length/time.Second)
	all := make([][]byte, n)
	for i := range all {
		all[i] = delivery(target, i, o.body)
	}
	g := &generator{all: all, rate: o.rate, took: make([]time.Duration, n), late: make([]time.Duration, n), status: make([]int16, n)}
	conns := make([]net.Conn, o.connections)
	for i := range conns {
		if conns[i], err = (&net.Dialer{}).DialContext(ctx, "tcp", target.Host); err != nil {
			return err
		}
	}
	g.begin = time.Now().Add(100 * time.Millisecond)
	errs := make([]error, len(conns))
	var wg sync.WaitGroup
	for i, conn := range conns {
		wg.Go(func() { errs[i] = g.work(conn) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(g.outcome())
}

// generator sends each delivery at its time.
type generator struct {
	all        [][]byte
	rate       int
	begin      time.Time
	next       atomic.Int64
	took, late []time.Duration
	status     []int16
}

func (g *generator) work(conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	answers := bufio.NewReaderSize(conn, 2048)
	for {
		i := int(g.next.Add(1)) - 1
		if i >= len(g.all) {
			return nil
		}
		due := g.begin.Add(time.Duration(i) * time.Second / time.Duration(g.rate))
		time.Sleep(time.Until(due))
		g.late[i] = time.Since(due)
		if _, err := conn.Write(g.all[i]); err != nil {
			return err
		}
		status, err := readAnswer(answers)
		if err != nil {
			return err
		}
		g.status[i], g.took[i] = int16(status), time.Since(due)
	}
}

// readAnswer reads an answer with a Content-Length and answers its status.
func readAnswer(r *bufio.Reader) (status int, err error) {
	length := 0
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case n == 0 && len(line) >= 12:
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, err
			}
		case len(line) == 0:
			_, err := io.CopyN(io.Discard, r, int64(length))
			return status, err
		case len(line) > 16 && bytes.EqualFold(line[:16], []byte("Content-Length: ")):
			if length, err = strconv.Atoi(string(line[16:])); err != nil {
				return 0, err
			}
		}
	}
}

func (g *generator) outcome() outcome {
	out := outcome{Offered: len(g.all)}
	for _, s := range g.status {
		switch s {
		case 202:
			out.Accepted++
		case 429:
			out.Limited++
		default:
			out.Other++
		}
	}
	// The last one left this much after its time: the schedule was kept, or it was not.
	last := g.late[len(g.late)-1]
	out.Rate = float64(len(g.all)) / (float64(len(g.all))/float64(g.rate) + last.Seconds())
	slices.Sort(g.took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	out.P50, out.P99, out.Late = ms(g.took[len(g.took)/2]), ms(g.took[len(g.took)*99/100]), ms(slices.Max(g.late))
	return out
}
