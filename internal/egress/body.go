package egress

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

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

// expire closes the body under a waiting Read, which ends its connection.
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
