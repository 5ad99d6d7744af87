package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// loopback is a listener on this machine for what one browser brings back (RFC 8252,
// section 7.3), once.
type loopback struct {
	address string // where the browser is to be sent
	arrived chan url.Values
	server  *http.Server
}

// listen waits at a path for the first visit whose query is wanted. A page that reached
// this port by another name is not answered.
func listen(path string, wanted func(url.Values) bool) (*loopback, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	host := listener.Addr().String()
	l := &loopback{address: "http://" + host + path, arrived: make(chan url.Values, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-store")
		if q := r.URL.Query(); r.Host == host && wanted(q) {
			select {
			case l.arrived <- q:
			default: // the same page again
			}
			_, _ = io.WriteString(w, "Go back to the command line. This page can be closed.\n")
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "This is not what the command line waits for.\n")
	})
	l.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	go func() { _ = l.server.Serve(listener) }()
	return l, nil
}

// wait answers the query that the browser brought, or why there is none.
func (l *loopback) wait(ctx context.Context) (url.Values, error) {
	select {
	case q := <-l.arrived:
		return q, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// close stops listening, after the page that the person is looking at was answered.
func (l *loopback) close(ctx context.Context) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = l.server.Shutdown(grace)
}
