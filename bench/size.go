package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// size is what claviger needs while it does nothing.
type size struct {
	binary      int64
	firstStart  time.Duration // on an empty folder
	start       time.Duration
	idle        int64
	perStream   int64
	perProxied  int64 // the same through the bare proxy
	streams     int
	connections int64 // resident bytes with the large set warm
}

func (b *bench) measureSize(ctx context.Context, r *results) error {
	info, err := os.Stat(b.program("claviger"))
	if err != nil {
		return err
	}
	r.size.binary = info.Size()
	if t := b.find(relaxedMany); t != nil {
		r.size.connections = memory(t.pid)
	}
	if b.quick {
		return nil
	}
	if b.starts > 0 {
		if err := b.measureStarts(ctx, r); err != nil {
			return err
		}
	}
	if b.streams == 0 {
		return nil
	}
	r.size.streams = b.streams
	if t := b.find(relaxed); t != nil {
		if r.size.perStream, err = b.idleStreams(ctx, t); err != nil {
			return err
		}
	}
	if t := b.find(bareProxy); t != nil {
		r.size.perProxied, err = b.idleStreams(ctx, t)
	}
	return err
}

// measureStarts times the first start on an empty folder and then starts on what it
// made.
func (b *bench) measureStarts(ctx context.Context, r *results) error {
	folder := filepath.Join(b.folder, "starts")
	var all []time.Duration
	for i := range b.starts + 1 {
		took, idle, err := b.timeStart(ctx, folder)
		if err != nil {
			return err
		}
		if i == 0 {
			r.size.firstStart = took
			continue
		}
		all = append(all, took)
		r.size.idle = max(r.size.idle, idle)
	}
	r.size.start = middle(all)
	return nil
}

// timeStart answers how long one start takes until /readyz says so, and the memory
// after a second of idling.
func (b *bench) timeStart(ctx context.Context, folder string) (took time.Duration, idle int64, err error) {
	addr, err := freeAddr()
	if err != nil {
		return 0, 0, err
	}
	admin, err := freeAddr()
	if err != nil {
		return 0, 0, err
	}
	h := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	began := time.Now()
	p, err := spawn(b.serverEnv(addr, admin, folder, "strict", ""), b.program("claviger"), "serve")
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if ended := p.end(); err == nil {
			err = ended
		}
	}()
	limit, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	err = p.until(limit, func() bool {
		res, err := get(limit, h, &target{base: "http://" + admin}, "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	took = time.Since(began)
	settle(ctx)
	return took, memory(p.pid()), err
}

// idleStreams opens event streams, waits for the first event of each, and answers the
// resident bytes that each costs the proxy.
func (b *bench) idleStreams(ctx context.Context, t *target) (int64, error) {
	before := memory(t.pid)
	addr := strings.TrimPrefix(t.base, "http://")
	conns := make([]net.Conn, b.streams)
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	err := inParallel(b.streams, 32, func(i int) error {
		c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		conns[i] = c
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			return err
		}
		path := t.paths[i%len(t.paths)] + "/stream"
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n\r\n", path, addr, t.header); err != nil {
			return err
		}
		return firstEvent(c)
	})
	if err != nil {
		return 0, err
	}
	settle(ctx)
	return (memory(t.pid) - before) / int64(b.streams), nil
}

// firstEvent reads until the vendor's event has come.
func firstEvent(c io.Reader) error {
	var seen []byte
	piece := make([]byte, 1024)
	for !strings.Contains(string(seen), "data: hello\n\n") {
		n, err := c.Read(piece)
		seen = append(seen, piece[:n]...)
		if err != nil {
			return fmt.Errorf("a stream ended: %w: %s", err, seen)
		}
	}
	return nil
}
