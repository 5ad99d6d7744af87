package authn

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const maxSources = 8192

// throttle counts per name, remembering the names seen last. A name that is
// forgotten starts anew, so the bound costs an attacker 8,192 names.
type throttle struct {
	mu     sync.Mutex
	limit  rate.Limit
	burst  int
	now    func() time.Time
	byName map[string]*list.Element
	order  *list.List // of *counted
}

type counted struct {
	name    string
	limiter *rate.Limiter
}

func newThrottle(perSecond float64, burst int, now func() time.Time) *throttle {
	return &throttle{limit: rate.Limit(perSecond), burst: burst, now: now, byName: map[string]*list.Element{}, order: list.New()}
}

func (t *throttle) limiter(name string) *rate.Limiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if el, ok := t.byName[name]; ok {
		t.order.MoveToFront(el)
		return el.Value.(*counted).limiter
	}
	c := &counted{name, rate.NewLimiter(t.limit, t.burst)}
	t.byName[name] = t.order.PushFront(c)
	if t.order.Len() > maxSources {
		oldest := t.order.Back()
		delete(t.byName, oldest.Value.(*counted).name)
		t.order.Remove(oldest)
	}
	return c.limiter
}

// allow counts one and reports whether it is within the limit.
func (t *throttle) allow(name string) bool { return t.limiter(name).AllowN(t.now(), 1) }

// wait answers how long until one more is within the limit, counting nothing.
func (t *throttle) wait(name string) time.Duration {
	tokens := t.limiter(name).TokensAt(t.now())
	if tokens >= 1 {
		return 0
	}
	return time.Duration((1 - tokens) / float64(t.limit) * float64(time.Second))
}
