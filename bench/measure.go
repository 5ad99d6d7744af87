package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// cellKey names what was measured.
type cellKey struct {
	target string
	load   string
}

// The loads, as cells name them.
const (
	smallBusy = "1 KiB, 64 connections"
	smallOne  = "1 KiB, 1 connection"
	largeBusy = "100 KiB, 64 connections"
	largeOne  = "100 KiB, 1 connection"
)

func (b *bench) loads() []struct {
	name string
	load load
} {
	type named = struct {
		name string
		load load
	}
	all := []named{
		{smallBusy, load{connections: 64, body: "small", length: b.length}},
		{smallOne, load{connections: 1, body: "small", length: b.length / 2}},
		{largeBusy, load{connections: 64, body: "large", length: b.length}},
		{largeOne, load{connections: 1, body: "large", length: b.length / 2}},
	}
	if b.quick {
		return all[:1]
	}
	return all
}

// results is all that a run found out.
type results struct {
	cells  map[cellKey][]sample
	sync   time.Duration // one append and fsync
	size   size
	rounds int
}

// measure warms every target and then takes turns.
func (b *bench) measure(ctx context.Context, r *results) error {
	for _, t := range b.targets {
		if err := warm(ctx, t); err != nil {
			return err
		}
		// Connections, pools and the garbage collector find their level.
		if _, err := b.run(ctx, t, load{connections: 64, body: "small", length: time.Second}); err != nil {
			return err
		}
	}
	for round := range b.rounds {
		for _, l := range b.loads() {
			for _, t := range b.targets {
				if t.name == relaxedMany && l.name != smallBusy {
					continue
				}
				s, err := b.run(ctx, t, l.load)
				if err != nil {
					return err
				}
				key := cellKey{t.name, l.name}
				r.cells[key] = append(r.cells[key], s)
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, b.rounds)
	}
	r.rounds = b.rounds
	return nil
}

// median answers the sample's figure in the middle; ok is false if there is none.
func median[T cmp.Ordered](r *results, key cellKey, figure func(sample) T) (m T, ok bool) {
	samples := r.cells[key]
	if len(samples) == 0 {
		return m, false
	}
	all := make([]T, len(samples))
	for i, s := range samples {
		all[i] = figure(s)
	}
	return middle(all), true
}

func middle[T cmp.Ordered](all []T) T {
	all = slices.Clone(all)
	slices.Sort(all)
	return all[len(all)/2]
}

// appendSync answers the median time of appending 4 KiB to a file and making it
// durable: what a strict ledger cannot be faster than.
func appendSync(file string) (time.Duration, error) {
	f, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // it is deleted
	page := make([]byte, 4<<10)
	all := make([]time.Duration, 300)
	for i := range all {
		began := time.Now()
		if _, err := f.Write(page); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		all[i] = time.Since(began)
	}
	return middle(all), nil
}
