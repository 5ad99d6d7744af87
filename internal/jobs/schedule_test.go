package jobs_test

import (
	"context"
	"testing"
	"time"

	"claviger/internal/jobs"
	"claviger/internal/store"
)

// ticking is a kind that runs each second and says when.
func ticking() (map[string]jobs.Kind, chan time.Time) {
	ran := make(chan time.Time, 100)
	return map[string]jobs.Kind{"sweep": {Every: time.Second, Run: func(context.Context, jobs.Job) error {
		ran <- time.Now()
		return nil
	}}}, ran
}

// oncePerTick fails the test if six runs came faster than the ticks. A run may be late,
// so that the first pause may be short.
func oncePerTick(t *testing.T, ran <-chan time.Time) {
	t.Helper()
	first := receive(t, ran)
	last := first
	for range 5 {
		last = receive(t, ran)
	}
	if took := last.Sub(first); took < 4*time.Second {
		t.Errorf("five ticks of a second took %s", took)
	}
}

func TestAbuse_239_OneRunPerTickOnTwoNodes(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		kinds, ran := ticking()
		start(t, url, jobs.Config{Kinds: kinds})
		start(t, url, jobs.Config{Kinds: kinds})
		oncePerTick(t, ran)
	})
}

// What was missed while nobody ran is caught up once, however much it was. Schedules are
// pauses and know no time of day, so that a change of the clocks is no tick.
func TestAbuse_240_MissedTicks(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		kinds, ran := ticking()
		before := start(t, url, jobs.Config{Kinds: kinds})
		receive(t, ran)
		if err := before.queue.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for len(ran) > 0 {
			<-ran
		}
		dayLater := func() time.Time { return time.Now().Add(24 * time.Hour) }
		start(t, url, jobs.Config{Kinds: kinds, Now: dayLater})
		oncePerTick(t, ran)
	})
}

func TestAbuse_240_NoOverlap(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		started, finish := make(chan struct{}, 100), make(chan struct{})
		kinds := map[string]jobs.Kind{"long": {Every: time.Second, Run: func(ctx context.Context, _ jobs.Job) error {
			started <- struct{}{}
			select {
			case <-finish:
			case <-ctx.Done():
			}
			return nil
		}}}
		start(t, url, jobs.Config{Kinds: kinds})
		start(t, url, jobs.Config{Kinds: kinds})
		receive(t, started)
		ticks := time.NewTimer(2500 * time.Millisecond)
		defer ticks.Stop()
		select {
		case <-started:
			t.Error("a second run began beside the first")
		case <-ticks.C:
		}
		close(finish)
		receive(t, started) // the next tick
	})
}

func TestAbuse_240_ManyAtTheSameTime(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		const many, batch = 2000, 100
		done := make(chan string, 2*many)
		r := start(t, url, jobs.Config{Kinds: map[string]jobs.Kind{"note": recorder(done)}})
		at := jobs.Options{After: 3 * time.Second}
		for range many / batch { // a transaction has no time for all of them on a slow machine
			err := r.db.InTx(t.Context(), "", func(tx *store.Tx) error {
				for range batch {
					if err := r.queue.Insert(t.Context(), tx, "note", "x", at); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for range many {
			receive(t, done)
		}
		r.waitDone(many)
		if n := len(done); n != 0 {
			t.Errorf("%d ran twice", n)
		}
	})
}
