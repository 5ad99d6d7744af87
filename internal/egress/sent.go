package egress

import (
	"context"
	"net/http"
	"net/http/httptrace"
)

// sendKey is the context key of [OnSend].
type sendKey struct{}

// OnSend answers a context with which [Client.Do] calls f just before it writes the
// first byte of a request to a connection that is ready for it, after what an earlier
// OnSend of the context asks for. If f was not called when Do has failed, the vendor
// has seen nothing of the request; if it was, the vendor may have. Over HTTP/1, which
// a request with Close always has, f may end the context to keep the request from
// leaving. f may be called on another goroutine, but not after Do has returned, and
// twice if the request was sent twice.
func OnSend(ctx context.Context, f func()) context.Context {
	if earlier, ok := ctx.Value(sendKey{}).(func()); ok {
		return context.WithValue(ctx, sendKey{}, func() { earlier(); f() })
	}
	return context.WithValue(ctx, sendKey{}, f)
}

// announce says that a request is about to be written.
func announce(ctx context.Context) {
	if f, ok := ctx.Value(sendKey{}).(func()); ok {
		f()
	}
}

// tracedH2 answers the request that announces itself when HTTP/2's transport has a
// connection for it: from there on, frames may leave at any time.
func tracedH2(ctx context.Context, req *http.Request) *http.Request {
	f, ok := ctx.Value(sendKey{}).(func())
	if !ok {
		return req
	}
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { f() }}
	return req.WithContext(httptrace.WithClientTrace(ctx, trace))
}
