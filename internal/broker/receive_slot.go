package broker

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"claviger"
	"claviger/internal/hookverify"
	"claviger/internal/store"
)

const (
	// receiverLife is how long a system's slots are answered from memory: as long as a
	// change on another node may go unnoticed.
	receiverLife = time.Second
	// maxReceivers bounds the webhook addresses in memory.
	maxReceivers = 4096
	// maxSlots bounds the slots that one delivery is held against.
	maxSlots = 8
	// strangerRate and strangerBurst are how many addresses that lead nowhere are looked up,
	// per second.
	strangerRate, strangerBurst = 100, 500
	// refusalRate and refusalBurst bound, per second and system, the deliveries that are
	// refused with an entry in the ledger; an address that a believed delivery came from
	// has ten times as many.
	refusalRate, refusalBurst, trustedFactor = 20, 600, 10
	// maxTrusted bounds the addresses that are known to be a system's vendor's.
	maxTrusted = 256
)

// receiverKey is a webhook address.
type receiverKey struct {
	hook   claviger.HookID
	system string
}

// receiver is a system made ready to verify what is sent to it. It holds ciphertexts, no
// secret, and is never changed.
type receiver struct {
	system claviger.System
	plan   *hookPlan
	slots  []inboundSlot
	loaded time.Time
}

// inboundSlot is one webhook slot of a receiver.
type inboundSlot struct {
	key           string
	connection    claviger.ConnectionID
	paths         map[string]string // kv:// path by the name of the credential's field
	plannedScheme                   // its fault: why nothing can be verified with it
	versions      map[string][]store.SecretVersion
}

// same reports whether two states of a receiver verify with the same values.
func (r *receiver) same(o *receiver) bool {
	return r == o || r.system.Version == o.system.Version && slices.EqualFunc(r.slots, o.slots, func(a, b inboundSlot) bool {
		if a.connection != b.connection || len(a.versions) != len(b.versions) {
			return false
		}
		for path, list := range a.versions {
			if !slices.EqualFunc(list, b.versions[path], func(x, y store.SecretVersion) bool { return x.Version == y.Version }) {
				return false
			}
		}
		return true
	})
}

// noAddress is the one answer for every webhook address that leads nowhere.
func noAddress() *claviger.Error {
	return claviger.Errorf(claviger.KindNotFound, "no_route", "There is nothing at this path.")
}

// receiver finds the system of an address. Addresses that were never seen are looked up
// at a bounded rate, so that guessing keeps nobody busy.
func (b *Broker) receiver(ctx context.Context, in *Inbound, fresh bool) (*receiver, error) {
	key := receiverKey{in.Hook, in.System}
	r, generation, known := b.receivers.get(key)
	if fresh && known && !r.loaded.Before(b.now()) {
		fresh = false // no clock has moved since
	}
	if !known || fresh || b.now().Sub(r.loaded) >= receiverLife {
		if !known && !b.strangers.AllowN(b.now(), 1) {
			return nil, claviger.Errorf(claviger.KindRateLimited, "rate_limited", "Too many unknown addresses are asked for. Try again later.")
		}
		loaded, err, _ := b.loads.Do(string(in.Hook)+" "+in.System, func() (any, error) { return b.loadReceiver(ctx, key) })
		if err != nil {
			b.receivers.drop(key)
			return nil, err
		}
		r = loaded.(*receiver) //nolint:errcheck // it is what the function answers
		b.receivers.put(key, r, generation)
	}
	if in.DataSource != "" && !r.plan.receives(in.DataSource) {
		return nil, noAddress()
	}
	return r, nil
}

func (b *Broker) loadReceiver(ctx context.Context, key receiverKey) (*receiver, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout) // others wait for the same
	defer cancel()
	if key.hook != "" && !claviger.ValidID(claviger.PrefixHook, string(key.hook)) {
		return nil, noAddress()
	}
	s, err := b.db.SystemAt(ctx, key.hook, key.system)
	if errors.Is(err, store.ErrNotFound) {
		return nil, noAddress()
	}
	if err != nil {
		return nil, err
	}
	r := &receiver{system: s, loaded: b.now()}
	if r.plan, err = b.hookPlan(ctx, &s); err != nil {
		return nil, err
	}
	slots, err := b.db.Slots(ctx, b.system(s.Organization).Scope, &s)
	if err != nil {
		return nil, err
	}
	slots = slices.DeleteFunc(slots, func(s claviger.Slot) bool { return s.Usage != claviger.UsageWebhookInbound })
	slices.SortStableFunc(slots, func(a, b claviger.Slot) int { return b.Rank() - a.Rank() })
	for i := range slots[:min(len(slots), maxSlots)] {
		slot, err := b.loadSlot(ctx, r, &slots[i])
		if err != nil {
			return nil, err
		}
		r.slots = append(r.slots, slot)
	}
	return r, nil
}

// refuses answers why the slot does not even look at what an address sends. The address is
// that of the peer: what a header says of it counts only behind a proxy of the operator's.
func (s *inboundSlot) refuses(a netip.Addr) error {
	if s.fault != nil || len(s.from) == 0 || slices.ContainsFunc(s.from, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return s.fault
	}
	return claviger.Errorf(claviger.KindUnauthenticated, "address_not_allowed", "The delivery comes from an address that is not among the slot's allowedIps.")
}

func (b *Broker) loadSlot(ctx context.Context, r *receiver, slot *claviger.Slot) (inboundSlot, error) {
	c := b.system(r.system.Organization)
	planned := r.plan.scheme(slot.Key)
	out := inboundSlot{key: slot.Key, connection: slot.Connection, paths: slot.Paths, plannedScheme: planned, versions: map[string][]store.SecretVersion{}}
	if out.fault == nil && !out.scheme.Verifiable() {
		out.fault = claviger.Errorf(claviger.KindUnauthenticated, hookverify.CodeNotVerifiable, "Nothing in a request proves where it comes from; the TLS front end must check the certificate.")
	}
	if !r.system.Enabled {
		out.fault = claviger.Errorf(claviger.KindDenied, "system_disabled", "The system is disabled in its manifest.")
	}
	if !b.vault.Embedded() {
		return out, nil
	}
	for _, path := range slot.Paths {
		list, err := b.db.SecretVersions(ctx, c.Scope, path)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return out, err
		}
		out.versions[path] = list
	}
	return out, nil
}

// replayKey answers what a copy of a delivery has too. Vendors that send the same bytes
// for different events are given a new one with each span of their repetitions.
func replayKey(v *hookverify.Verdict, now time.Time) []byte {
	if v.Repeats <= 0 {
		return v.ReplayKey
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(slices.Clone(v.ReplayKey), uint64(now.UnixNano()/int64(v.Repeats))))
	return sum[:]
}

// budget bounds what a system's refused deliveries may cost. A flood of forgeries ends in
// 429 before anything is opened or recorded; the vendor's own addresses are let through.
type budget struct {
	strangers, known *rate.Limiter
	mu               sync.Mutex
	trusted          map[netip.Addr]bool
}

func (b *Broker) budget(id claviger.SystemID) *budget {
	found, _, ok := b.budgets.get(id)
	if ok {
		return found
	}
	return b.budgets.settle(id, &budget{
		strangers: rate.NewLimiter(refusalRate, refusalBurst), known: rate.NewLimiter(refusalRate*trustedFactor, refusalBurst*trustedFactor),
		trusted: map[netip.Addr]bool{},
	}, func(*budget) bool { return true })
}

func (b *budget) of(a netip.Addr) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trusted[a] {
		return b.known
	}
	return b.strangers
}

func (b *budget) admit(a netip.Addr, now time.Time) error {
	if b.of(a).TokensAt(now) >= 1 {
		return nil
	}
	e := claviger.Errorf(claviger.KindRateLimited, "rate_limited", "Too many deliveries were refused. Try again later.")
	e.RetryAfter = 5 * time.Second
	return e
}

func (b *budget) refuse(a netip.Addr, now time.Time) { b.of(a).AllowN(now, 1) }

func (b *budget) trust(a netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trusted[a] {
		return
	}
	if len(b.trusted) >= maxTrusted {
		clear(b.trusted)
	}
	b.trusted[a] = true
}
