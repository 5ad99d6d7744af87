package egress

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// watched makes the body of an HTTP/2 answer wait no longer than idle for its next
// piece.
func watched(resp *http.Response, idle time.Duration) *http.Response {
	if resp != nil && resp.Body != http.NoBody {
		resp.Body = &watchedBody{body: resp.Body, idle: idle}
	}
	return resp
}

// watchedBody is an answer's body whose Read waits no longer than idle. Time that
// the reader spends elsewhere does not count.
type watchedBody struct {
	body    io.ReadCloser
	idle    time.Duration
	timer   *time.Timer
	expired atomic.Bool
}

// Read implements io.Reader. Errors other than io.EOF are *claviger.Error.
func (b *watchedBody) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(b.idle, b.expire)
	} else {
		b.timer.Reset(b.idle)
	}
	n, err := b.body.Read(p)
	b.timer.Stop()
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case b.expired.Load():
		return n, errTimeout(err)
	default:
		return n, transportError(err)
	}
}

// expire closes the body under a waiting Read, which ends its stream.
func (b *watchedBody) expire() {
	b.expired.Store(true)
	_ = b.body.Close()
}

// Close implements io.Closer.
func (b *watchedBody) Close() error {
	if b.timer != nil {
		b.timer.Stop()
	}
	return b.body.Close()
}

// ReadAll reads a body of at most limit bytes; a longer one is
// "response_too_large".
func ReadAll(body io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, errTooLarge(errors.New("body over its cap"))
	}
	return b, nil
}
