package app

import (
	"context"
	"log/slog"
	"sync"

	"golang.org/x/time/rate"
)

// What the log takes of one message: the first hundred, then ten a second. A flood that
// somebody causes from outside must not fill the disk or push out what matters. It is the
// log alone that is capped; the ledger never is.
const (
	logBurst     = 100
	logPerSecond = 10
	// maxMessages bounds the messages that are counted apart. They are texts of the
	// source, so there are fewer; what is beyond shares one count.
	maxMessages = 1024
)

// logCaps counts what is logged, by message, and what was left out.
type logCaps struct {
	mu       sync.Mutex
	messages map[string]*logCap
	dropped  uint64
}

type logCap struct {
	limiter *rate.Limiter
	dropped int64 // since the message was last written
}

func newLogCaps() *logCaps { return &logCaps{messages: map[string]*logCap{}} }

// take reports whether a record is written, and how many like it were not before.
func (l *logCaps) take(r *slog.Record) (dropped int64, written bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	message := r.Message
	if l.messages[message] == nil && len(l.messages) >= maxMessages {
		message = ""
	}
	c := l.messages[message]
	if c == nil {
		c = &logCap{limiter: rate.NewLimiter(logPerSecond, logBurst)}
		l.messages[message] = c
	}
	if !c.limiter.AllowN(r.Time, 1) {
		c.dropped++
		l.dropped++
		return 0, false
	}
	dropped, c.dropped = c.dropped, 0
	return dropped, true
}

// total answers how many records were left out since the start.
func (l *logCaps) total() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return float64(l.dropped)
}

// cappedLog is a handler that leaves out what is said too often, and says how much.
type cappedLog struct {
	slog.Handler
	caps *logCaps
}

// Handle implements [slog.Handler].
func (h cappedLog) Handle(ctx context.Context, r slog.Record) error {
	dropped, written := h.caps.take(&r)
	if !written {
		return nil
	}
	if dropped > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int64("dropped", dropped))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h cappedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return cappedLog{h.Handler.WithAttrs(attrs), h.caps}
}

// WithGroup implements [slog.Handler].
func (h cappedLog) WithGroup(name string) slog.Handler {
	return cappedLog{h.Handler.WithGroup(name), h.caps}
}
