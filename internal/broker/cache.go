package broker

import "sync"

// cache is a bounded map of things that can be read again from the database. When it
// is full an arbitrary entry makes room: what is in use comes back at its next use.
type cache[K comparable, V any] struct {
	mu    sync.RWMutex
	limit int
	items map[K]V
	// generation grows with every eviction, so that a value read before one is not
	// put back after it.
	generation uint64
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{limit: limit, items: map[K]V{}}
}

func (c *cache[K, V]) get(k K) (v V, generation uint64, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok = c.items[k]
	return v, c.generation, ok
}

// put keeps v unless something was evicted since generation was read.
func (c *cache[K, V]) put(k K, v V, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		return
	}
	c.store(k, v)
}

// settle answers what is kept of k if it is fit, else keeps v in its place, so that all
// who ask at once get the same.
func (c *cache[K, V]) settle(k K, v V, fit func(V) bool) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.items[k]; ok && fit(old) {
		return old
	}
	c.store(k, v)
	return v
}

// store keeps v, in the place of another if the cache is full. The caller holds mu.
func (c *cache[K, V]) store(k K, v V) {
	if _, there := c.items[k]; !there && len(c.items) >= c.limit {
		for old := range c.items {
			delete(c.items, old)
			break
		}
	}
	c.items[k] = v
}

func (c *cache[K, V]) drop(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.items, k)
	c.generation++
}

func (c *cache[K, V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.items)
	c.generation++
}
