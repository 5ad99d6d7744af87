package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"claviger"
)

// RequestIDHeader carries the request's id on every answer. An id that a client
// sends is not looked at: the ledger's ids are ours.
const RequestIDHeader = "Claviger-Request-Id"

// Edge is what stands before the router of a listener.
type Edge struct {
	// TrustedProxies are the peers whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Hosts are the names, without port, that the Host header may have; empty: any.
	Hosts []string
	// Encode chooses the error shape for what is refused before a route is known;
	// nil, or a nil answer: [NativeError].
	Encode func(path string) Encoder
	// Observe, if not nil, is told of every answer: the operation's name, empty where no
	// route was found, the status and the time that it took. Neither holds anything of the
	// request's, so both may become labels of a metric.
	Observe func(operation string, status int, took time.Duration)
	Log     *slog.Logger
	Random  io.Reader        // nil: crypto/rand
	Now     func() time.Time // nil: time.Now
}

// Front wraps a router. It gives the request its id and its client's address,
// refuses what could be read in two ways before anything cleans it, sets the
// headers of a careful server, answers 404 and 405 as JSON and turns a panic into a
// 500 that says nothing.
//
// If h is a *http.ServeMux its redirects are never emitted: a path that the mux
// would clean is refused or not found.
func (e Edge) Front(h http.Handler) http.Handler {
	if e.Random == nil {
		e.Random = rand.Reader
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	route := e.router(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{
			log: e.Log, encode: e.encoder(r.URL.Path), header: w.Header(),
			from: claviger.Request{ID: newRequestID(e.Now(), e.Random), Address: e.client(r)},
		}
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		header := w.Header()
		header.Set(RequestIDHeader, x.from.ID)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store")
		header.Set("Referrer-Policy", "no-referrer")
		watched := &watchedWriter{ResponseWriter: w, status: http.StatusOK}
		if e.Observe != nil {
			began := e.Now()
			defer func() { e.Observe(x.route.Name, watched.status, e.Now().Sub(began)) }()
		}
		defer e.recover(watched, x)
		if err := e.refuse(r); err != nil {
			header.Set("Connection", "close") // the rest of such a connection is not worth reading
			x.write(watched, err)
			return
		}
		dropForwarded(r.Header)
		route(watched, r, x)
	})
}

func (e Edge) encoder(path string) Encoder {
	if e.Encode != nil {
		if enc := e.Encode(path); enc != nil {
			return enc
		}
	}
	return NativeError
}

// router answers how to dispatch to h. The mux's own answers for "not found" and
// "wrong method" are text, and it redirects what it would rather have been asked;
// both are replaced.
func (e Edge) router(h http.Handler) func(http.ResponseWriter, *http.Request, *exchange) {
	mux, ok := h.(*http.ServeMux)
	if !ok {
		return func(w http.ResponseWriter, r *http.Request, _ *exchange) { h.ServeHTTP(w, r) }
	}
	redirect := reflect.TypeOf(http.RedirectHandler("/", http.StatusMovedPermanently))
	var proxy atomic.Bool // the mux has the proxy route, which takes any method
	return func(w http.ResponseWriter, r *http.Request, x *exchange) {
		_, proxied := ProxyPath(r.URL.EscapedPath())
		if proxied && proxy.Load() {
			mux.ServeHTTP(w, r) // its path is clean, so there is nothing to redirect: one look-up is enough
			return
		}
		found, pattern := mux.Handler(r)
		switch {
		case pattern == "":
			// The mux knows which methods the path takes; ask it on a writer that keeps
			// only the header.
			probe := headerOnly{}
			found.ServeHTTP(probe, r)
			if allow := http.Header(probe).Get("Allow"); allow != "" {
				w.Header().Set("Allow", allow)
				x.write(w, &failureStatus{http.StatusMethodNotAllowed, methodNotAllowed()})
				return
			}
			x.write(w, claviger.Errorf(claviger.KindNotFound, "no_route", "There is nothing at this path."))
		case reflect.TypeOf(found) == redirect:
			x.write(w, claviger.Errorf(claviger.KindNotFound, "no_route", "There is nothing at this path."))
		default:
			if proxied {
				proxy.Store(strings.HasPrefix(pattern, proxyPattern))
			}
			mux.ServeHTTP(w, r)
		}
	}
}

// proxyPattern begins the route that forwards to vendors, with and without a path.
const proxyPattern = "/v1/connections/{id}/proxy"

type headerOnly http.Header

// Header implements http.ResponseWriter.
func (h headerOnly) Header() http.Header { return http.Header(h) }

// Write implements http.ResponseWriter.
func (h headerOnly) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (h headerOnly) WriteHeader(int) {}

// recover ends a request whose handler panicked. The value of the panic may hold
// anything, so the log gets its type and the place only.
func (e Edge) recover(w *watchedWriter, x *exchange) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // the sentinel of net/http, compared as net/http does
		panic(v)
	}
	e.Log.Error("a handler panicked", "request", x.from.ID, "route", x.route.Name, "type", reflect.TypeOf(v).String(), "stack", string(debug.Stack()))
	if w.began {
		panic(http.ErrAbortHandler) // an answer cut short must not look whole
	}
	x.write(w, errPanicked)
}

var errPanicked = errors.New("a handler panicked")

// refuse answers why a request is not let through to the router.
func (e Edge) refuse(r *http.Request) error {
	switch {
	case r.Method == http.MethodConnect:
		return claviger.Errorf(claviger.KindUnreadable, "bad_target", "CONNECT is not served.")
	case r.Method == http.MethodTrace || r.Method == "TRACK":
		return &failureStatus{http.StatusMethodNotAllowed, methodNotAllowed()}
	case r.RequestURI != "" && r.RequestURI[0] != '/':
		return claviger.Errorf(claviger.KindUnreadable, "bad_target", "The request target must be a path.")
	case len(e.Hosts) > 0 && !slices.Contains(e.Hosts, hostname(r.Host)):
		return claviger.Errorf(claviger.KindUnreadable, "bad_host", "This server does not answer to that host name.")
	}
	path := r.URL.EscapedPath()
	rest, proxied := ProxyPath(path)
	if err := checkPath(strings.TrimSuffix(path, rest), rest); err != nil {
		return err
	}
	if proxied {
		return nil // what else is on the request is the vendor's; the route checks the credential
	}
	return checkCredentialPlaces(r)
}

func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

// checkCredentialPlaces refuses a credential that stands in more than one place, or
// where logs and Referer headers would spread it.
func checkCredentialPlaces(r *http.Request) error {
	auth, key := len(r.Header.Values("Authorization")), len(r.Header.Values("Api-Key"))
	if auth+key > 1 {
		return claviger.Errorf(claviger.KindUnreadable, "ambiguous_credentials", "Send one credential only: Authorization or api-key, once.")
	}
	if !strings.HasPrefix(r.URL.Path, "/v1/") && !strings.HasPrefix(r.URL.Path, "/api/v1/") || r.URL.RawQuery == "" {
		return nil
	}
	if strings.Count(r.URL.RawQuery, "&") >= maxQuery {
		return claviger.Errorf(claviger.KindUnreadable, "bad_query", "The query has more than %d parameters.", maxQuery)
	}
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return claviger.Errorf(claviger.KindUnreadable, "bad_query", "The query cannot be read.")
	}
	for name := range query {
		switch strings.ToLower(name) {
		case "access_token", "token", "api_key", "api-key", "apikey":
			return claviger.Errorf(claviger.KindUnreadable, "token_in_query", "A credential must not stand in the URL, which logs keep. Send it as Authorization: Bearer.")
		}
	}
	return nil
}

const maxQuery = 256

// watchedWriter remembers whether the answer has begun.
type watchedWriter struct {
	http.ResponseWriter
	began  bool
	status int // of the answer; 200 until another is written
}

// WriteHeader implements http.ResponseWriter.
func (w *watchedWriter) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		w.began, w.status = true, status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *watchedWriter) Write(p []byte) (int, error) {
	w.began = true
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps the connection's short cut for copies from files and sockets.
func (w *watchedWriter) ReadFrom(r io.Reader) (int64, error) {
	w.began = true
	return io.Copy(w.ResponseWriter, r)
}

// Flush implements http.Flusher.
func (w *watchedWriter) Flush() {
	w.began = true
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// newRequestID never fails: crypto/rand does not, and a test's reader that ends is a
// fault of the test.
func newRequestID(now time.Time, random io.Reader) string {
	id, err := claviger.NewID("req", now, random)
	if err != nil {
		panic("wire: no random bytes: " + err.Error())
	}
	return id
}
