package wire

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"claviger"
)

// ErrorHeader marks an answer as claviger's own refusal; its value is the error's
// code. On the proxy it tells our refusals from the vendor's errors.
const ErrorHeader = "Claviger-Error"

// exchange is what wire knows of one request while it is served. It travels in the
// request's context under a key that no other package can name; handlers get the
// caller as an argument instead.
type exchange struct {
	api    *API // nil before a route of an API is entered
	encode Encoder
	log    *slog.Logger
	from   claviger.Request
	route  Route
	caller claviger.Caller
	key    string // Idempotency-Key
	hash   []byte // of the request, if key is set
	header http.Header
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// enter attaches the route to the exchange that [Edge.Front] began. A handler that
// is served without the Edge, as in a test of one surface, gets an exchange with no
// address.
func (a *API) enter(w http.ResponseWriter, r *http.Request, route Route) (*http.Request, *exchange) {
	x := exchangeOf(r.Context())
	if x == nil {
		x = &exchange{log: a.config.Log, from: claviger.Request{ID: newRequestID(a.config.Now(), a.config.Random)}}
		w.Header().Set(RequestIDHeader, x.from.ID)
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	}
	x.api, x.route, x.encode, x.header = a, route, a.config.Encode, w.Header()
	if w.Header().Get("Content-Security-Policy") == "" {
		// An answer that a browser takes for a page can neither run nor be framed.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	}
	return r, x
}

// failure turns an error into what is answered: headers are set at once, and an
// internal cause goes to the log.
func (x *exchange) failure(err error) *failure {
	var f *failure
	if ok := asFailure(err, &f); ok {
		return f
	}
	var own *failureStatus
	if errors.As(err, &own) {
		return x.fail(own.err, own.status)
	}
	e := claviger.AsError(err)
	return x.fail(e, statusOf(e.Kind))
}

func (x *exchange) fail(e *claviger.Error, status int) *failure {
	if status == http.StatusInternalServerError {
		x.log.Error("request failed", "request", x.from.ID, "route", x.route.Name, "status", status, "error", e.Error())
	}
	x.header.Set(ErrorHeader, e.FineCode())
	switch {
	case e.Kind == claviger.KindUnauthenticated:
		x.header.Set("WWW-Authenticate", "Bearer")
	case e.RetryAfter > 0:
		x.header.Set("Retry-After", retryAfter(e.RetryAfter))
	case e.Kind == claviger.KindRateLimited, e.Kind == claviger.KindUnavailable:
		x.header.Set("Retry-After", "1")
	}
	status, body := x.encode(Failure{Err: e, Status: status, RequestID: x.from.ID})
	return &failure{status: status, body: body, cause: e}
}

// retryAfter rounds up: a client that comes back too early is refused again.
func retryAfter(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

func (x *exchange) write(w http.ResponseWriter, err error) {
	x.header = w.Header()
	writeJSON(w, x.failure(err))
}

// WriteError answers err in the error shape of the surface whose route r entered.
// It must be the first thing written.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	if x := exchangeOf(r.Context()); x != nil {
		x.write(w, err)
		return
	}
	e := claviger.AsError(err)
	status, body := NativeError(Failure{Err: e, Status: statusOf(e.Kind)})
	writeJSON(w, &failure{status: status, body: body, cause: e})
}

// From answers where the request came from. It is zero if [Edge.Front] did not see
// the request.
func From(r *http.Request) claviger.Request {
	if x := exchangeOf(r.Context()); x != nil {
		return x.from
	}
	return claviger.Request{}
}
