package vault

import (
	"context"
	"sync"
)

// vendorAtOnce is how many refreshes of one process one authorization server gets at the
// same time: many tokens that come due together are no reason to be taken for an attack.
const vendorAtOnce = 16

// vendors bounds what is sent at once, by server.
type vendors struct {
	mu sync.Mutex
	of map[string]*queue
}

// queue is the places at one server. It is forgotten when nobody has or wants one.
type queue struct {
	places chan struct{}
	users  int
}

func newVendors() *vendors { return &vendors{of: map[string]*queue{}} }

// enter waits for a place at a server; leave gives it back.
func (v *vendors) enter(ctx context.Context, server string) (leave func(), err error) {
	v.mu.Lock()
	q := v.of[server]
	if q == nil {
		q = &queue{places: make(chan struct{}, vendorAtOnce)}
		v.of[server] = q
	}
	q.users++
	v.mu.Unlock()
	forget := func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if q.users--; q.users == 0 {
			delete(v.of, server)
		}
	}
	select {
	case q.places <- struct{}{}:
		return func() { <-q.places; forget() }, nil
	case <-ctx.Done():
		forget()
		return nil, ctx.Err()
	}
}
