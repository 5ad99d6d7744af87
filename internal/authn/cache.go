package authn

import (
	"container/list"
	"crypto/sha256"
	"net/netip"
	"slices"
	"sync"
	"time"

	"claviger"
)

const (
	// remember bounds how long a verdict is believed. It is the promise "revoked
	// everywhere within five seconds" when no eviction arrives at all.
	remember    = 5 * time.Second
	maxVerdicts = 16_384
)

// verdict is that a token is valid, and for whom.
type verdict struct {
	caller    claviger.Caller
	addresses []netip.Prefix // empty: any
	ids       []string       // rows it depends on
	until     time.Time
}

func (v *verdict) admits(from netip.Addr) bool {
	if len(v.addresses) == 0 {
		return true
	}
	from = from.Unmap()
	return slices.ContainsFunc(v.addresses, func(p netip.Prefix) bool { return p.Contains(from) })
}

type tokenHash = [sha256.Size]byte

// verdicts remembers the tokens that were found valid, by their hash, the least
// recently used going first.
type verdicts struct {
	mu    sync.Mutex
	byKey map[tokenHash]*list.Element
	byID  map[string]map[*list.Element]struct{} // by the rows they depend on
	order *list.List                            // of *remembered; the front was used last
	size  int
	gen   uint64 // grows with each eviction
}

type remembered struct {
	hash    tokenHash
	verdict *verdict
}

func newVerdicts(size int) *verdicts {
	return &verdicts{byKey: map[tokenHash]*list.Element{}, byID: map[string]map[*list.Element]struct{}{}, order: list.New(), size: size}
}

func (c *verdicts) get(h tokenHash, now time.Time) *verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byKey[h]
	if !ok {
		return nil
	}
	v := el.Value.(*remembered).verdict
	if !now.Before(v.until) {
		c.remove(el)
		return nil
	}
	c.order.MoveToFront(el)
	return v
}

func (c *verdicts) generation() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gen
}

// put remembers v unless something was evicted since generation was read: what was
// read from the database before the eviction may be what was evicted.
func (c *verdicts) put(h tokenHash, v *verdict, now time.Time, generation uint64) {
	if until := now.Add(remember); v.until.IsZero() || until.Before(v.until) {
		v.until = until
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gen != generation {
		return
	}
	if el, ok := c.byKey[h]; ok {
		c.remove(el)
	}
	el := c.order.PushFront(&remembered{h, v})
	c.byKey[h] = el
	for _, id := range v.ids {
		if c.byID[id] == nil {
			c.byID[id] = map[*list.Element]struct{}{}
		}
		c.byID[id][el] = struct{}{}
	}
	for c.order.Len() > c.size {
		c.remove(c.order.Back())
	}
}

// evict forgets every verdict that depends on the row, or all if id is empty.
func (c *verdicts) evict(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen++
	if id == "" {
		clear(c.byKey)
		clear(c.byID)
		c.order.Init()
		return
	}
	for el := range c.byID[id] {
		c.remove(el)
	}
}

func (c *verdicts) remove(el *list.Element) {
	r := el.Value.(*remembered)
	delete(c.byKey, r.hash)
	for _, id := range r.verdict.ids {
		delete(c.byID[id], el)
		if len(c.byID[id]) == 0 {
			delete(c.byID, id)
		}
	}
	c.order.Remove(el)
}
