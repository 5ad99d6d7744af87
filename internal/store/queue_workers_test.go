package store_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"claviger/internal/store"
)

func TestAWorkerThatFallsSilentIsToldToOneOther(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		beat := func(id string, span time.Duration, want ...string) {
			t.Helper()
			f.do(func(ctx context.Context, tx *store.Tx) error {
				gone, err := tx.BeatWorker(ctx, id, span)
				if slices.Sort(gone); !slices.Equal(gone, want) {
					t.Errorf("%s was told of %q, want %q", id, gone, want)
				}
				return err
			})
		}
		beat("silent", 0)
		beat("silent", 0) // never of itself
		beat("alive", time.Hour, "silent")
		beat("third", time.Hour)
		beat("alive", 0)
		beat("alive", time.Hour) // back before anybody missed it
		beat("third", time.Hour)
		beat("alive", 0)
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.ForgetWorker(ctx, "alive") })
		beat("third", time.Hour)
	})
}
