package egress

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// pools keeps one partition for each destination key, the least used of late making
// room.
type pools struct {
	limit int
	make  func(*Destination) *partition

	mu    sync.Mutex
	byKey map[string]*list.Element // of *pool
	order *list.List               // most recently used first
}

type pool struct {
	key       string
	partition *partition
}

func newPools(limit int, newPartition func(*Destination) *partition) *pools {
	return &pools{limit: limit, make: newPartition, byKey: make(map[string]*list.Element), order: list.New()}
}

// poolKey answers the key of the partition for a destination. The certificate is part
// of it whatever the caller chose, so that no connection outlives a change of it.
func poolKey(dest *Destination) string {
	if dest.Certificate == nil && dest.Patience == 0 {
		return dest.Key
	}
	key := dest.Key + "\x00" + dest.Patience.String()
	if c := dest.Certificate; c != nil && len(c.Certificate) > 0 {
		leaf := sha256.Sum256(c.Certificate[0])
		key += "\x00" + string(leaf[:])
	}
	return key
}

func (p *pools) get(dest *Destination) *partition {
	key := poolKey(dest)
	p.mu.Lock()
	if e, ok := p.byKey[key]; ok {
		p.order.MoveToFront(e)
		p.mu.Unlock()
		return e.Value.(*pool).partition
	}
	fresh := &pool{key: key, partition: p.make(dest)}
	p.byKey[key] = p.order.PushFront(fresh)
	var evicted *pool
	if p.order.Len() > p.limit {
		evicted = p.order.Remove(p.order.Back()).(*pool)
		delete(p.byKey, evicted.key)
	}
	p.mu.Unlock()
	if evicted != nil {
		evicted.partition.drop(true)
	}
	return fresh.partition
}

func (p *pools) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := p.order.Front(); e != nil; e = e.Next() {
		e.Value.(*pool).partition.drop(false)
	}
}
