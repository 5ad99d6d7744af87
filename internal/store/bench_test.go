package store_test

import (
	"context"
	"fmt"
	"testing"

	"claviger"
	"claviger/internal/store"
)

func benchmark(b *testing.B, run func(*testing.B, *fixture)) {
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) { run(b, open(b, store.Config{URL: e.url(b)})) })
	}
}

// BenchmarkConnection is a lookup by id among ten thousand.
func BenchmarkConnection(b *testing.B) {
	benchmark(b, func(b *testing.B, f *fixture) {
		a := f.tenant("a")
		var ids []claviger.ConnectionID
		f.in(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error {
			ids = ids[:0]
			for i := range 10000 {
				c := a.connection(fmt.Sprint(i))
				ids = append(ids, c.ID)
				if err := tx.CreateConnection(ctx, a.scope, c, make(claviger.Sealed, 200)); err != nil {
					return err
				}
			}
			return nil
		})
		i := 0
		for b.Loop() {
			if _, _, err := f.Connection(b.Context(), a.scope, ids[i%len(ids)]); err != nil {
				b.Fatal(err)
			}
			i += 7919
		}
	})
}

// BenchmarkAppendLedger answers the cost of one entry, commit included, at batches
// of 500.
func BenchmarkAppendLedger(b *testing.B) {
	const batch = 500
	benchmark(b, func(b *testing.B, f *fixture) {
		a := f.tenant("a")
		s := store.Stream{ID: "node-1"}
		entries := a.entries(s.ID, 1, batch)
		for i := range entries {
			entries[i].MAC = make([]byte, 32)
		}
		for b.Loop() {
			for i := range entries {
				entries[i].Sequence = s.Head.Sequence + int64(i) + 1
				// As from the clock: each id above all before it.
				entries[i].ID = claviger.EntryID(fmt.Sprintf("evt_%026d", entries[i].Sequence))
			}
			s.Head = store.Head{Sequence: entries[batch-1].Sequence, MAC: entries[batch-1].MAC}
			if err := f.appendTo("", s.ID, entries); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/row")
	})
}
