package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger/internal/jobs"
	"claviger/internal/store"
)

// recorder is a kind whose jobs say what they were given.
func recorder(into chan<- string) jobs.Kind {
	return jobs.Kind{Run: func(_ context.Context, j jobs.Job) error {
		into <- text(j)
		return nil
	}}
}

func TestAJobCommitsWithItsChange(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		done := make(chan string, 10)
		r := start(t, url, jobs.Config{Kinds: map[string]jobs.Kind{"note": recorder(done)}})
		refused := errors.New("the change is refused")
		err := r.db.InTx(t.Context(), "", func(tx *store.Tx) error {
			if err := r.queue.Insert(t.Context(), tx, "note", "rolled back", jobs.Options{}); err != nil {
				return err
			}
			return refused
		})
		if !errors.Is(err, refused) {
			t.Fatal(err)
		}
		err = r.db.InTx(t.Context(), "", func(tx *store.Tx) error {
			if err := tx.PutFact(t.Context(), "beside", []byte("the job"), true); err != nil {
				return err
			}
			return r.queue.Insert(t.Context(), tx, "note", "committed", jobs.Options{})
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := receive(t, done); got != "committed" {
			t.Errorf("%q ran", got)
		}
		if fact, err := r.db.Fact(t.Context(), "beside"); err != nil || string(fact) != "the job" {
			t.Errorf("%q %v", fact, err)
		}
		r.waitState("note", "completed") // the only row: the other one is not there
	})
}

func TestInsertRefuses(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		r := start(t, url, jobs.Config{Kinds: map[string]jobs.Kind{"note": recorder(make(chan string, 1))}})
		for name, err := range map[string]error{
			"unknown kind": insert(t.Context(), r.db, r.queue, "nothing", "", jobs.Options{}),
			"no JSON":      insert(t.Context(), r.db, r.queue, "note", make(chan int), jobs.Options{}),
			"too large":    insert(t.Context(), r.db, r.queue, "note", strings.Repeat("x", 65<<10), jobs.Options{}),
		} {
			if err == nil {
				t.Errorf("%s: inserted", name)
			}
		}
	})
}

func TestUniqueJobs(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		started, finish := make(chan string, 10), make(chan struct{})
		r := start(t, url, jobs.Config{Kinds: map[string]jobs.Kind{"sync": {Run: func(_ context.Context, j jobs.Job) error {
			started <- text(j)
			<-finish
			return nil
		}}}})
		r.insert("sync", "a", jobs.Options{Unique: "1"})
		receive(t, started)
		r.insert("sync", "again", jobs.Options{Unique: "1"}) // while the first runs
		r.insert("sync", "b", jobs.Options{Unique: "2"})
		if got := receive(t, started); got != "b" {
			t.Errorf("%q ran beside the first", got)
		}
		close(finish)
		r.waitDone(2)
		r.insert("sync", "later", jobs.Options{Unique: "1"}) // now that the first is done
		if got := receive(t, started); got != "later" {
			t.Errorf("%q ran", got)
		}
	})
}

func TestRetriesFollowTheKindsScheduleByTheClock(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		now := newClock()
		tried := make(chan int, 10)
		r := start(t, url, jobs.Config{Now: now.now, Kinds: map[string]jobs.Kind{"call": {
			Run: func(_ context.Context, j jobs.Job) error {
				tried <- j.Attempt
				if j.Attempt < 3 {
					return errors.New("down")
				}
				return nil
			},
			Backoff: func(n int) time.Duration { return time.Duration(n) * 10 * time.Hour },
		}}})
		r.insert("call", "x", jobs.Options{})
		if n := receive(t, tried); n != 1 {
			t.Errorf("attempt %d", n)
		}
		r.waitState("call", "retryable")
		now.pass(9 * time.Hour)
		if n := len(tried); n != 0 {
			t.Errorf("%d attempts too early", n)
		}
		now.pass(time.Hour + time.Second)
		if n := receive(t, tried); n != 2 {
			t.Errorf("attempt %d", n)
		}
		r.waitState("call", "retryable")
		now.pass(20*time.Hour + time.Second)
		if n := receive(t, tried); n != 3 {
			t.Errorf("attempt %d", n)
		}
		r.waitState("call", "completed")
	})
}

func TestSnoozeDoesNotCountAndDelayDelays(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		now := newClock()
		tried := make(chan int, 10)
		var snoozed atomic.Bool
		r := start(t, url, jobs.Config{Now: now.now, Kinds: map[string]jobs.Kind{"wait": {
			Attempts: 1,
			Run: func(_ context.Context, j jobs.Job) error {
				tried <- j.Attempt
				if !snoozed.Swap(true) {
					return jobs.Snooze(time.Hour)
				}
				return nil
			},
		}}})
		r.insert("wait", "x", jobs.Options{After: time.Hour})
		r.waitState("wait", "scheduled")
		now.pass(time.Hour)
		if n := receive(t, tried); n != 1 {
			t.Errorf("attempt %d", n)
		}
		r.waitState("wait", "scheduled")
		now.pass(time.Hour + time.Second)
		if n := receive(t, tried); n != 1 {
			t.Errorf("attempt %d after a snooze", n)
		}
		r.waitState("wait", "completed")
	})
}

func TestAbuse_246_PoisonJobs(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		var panics, hangs atomic.Int64
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		done := make(chan string, 100)
		at := func(int) time.Duration { return 0 }
		r := start(t, url, jobs.Config{Workers: 4, Kinds: map[string]jobs.Kind{
			"good": recorder(done),
			"panics": {Attempts: 3, Backoff: at, Run: func(context.Context, jobs.Job) error {
				panics.Add(1)
				panic("clv_secret")
			}},
			"hangs": {Attempts: 1, Timeout: 100 * time.Millisecond, Run: func(ctx context.Context, _ jobs.Job) error {
				hangs.Add(1)
				<-ctx.Done()
				return ctx.Err()
			}},
			"hopeless": {Run: func(context.Context, jobs.Job) error { return jobs.Discard(errors.New("clv_secret")) }},
		}})
		for _, kind := range []string{"panics", "hangs", "hopeless"} {
			r.insert(kind, "x", jobs.Options{})
		}
		for i := range 50 {
			r.insert("good", fmt.Sprint(i), jobs.Options{})
		}
		for range 50 {
			receive(t, done)
		}
		r.waitState("panics", "discarded")
		r.waitState("hangs", "discarded")
		r.waitState("hopeless", "cancelled")
		if panics.Load() != 3 || hangs.Load() != 1 {
			t.Errorf("%d panics, %d hangs", panics.Load(), hangs.Load())
		}
		if stored := r.errors(); strings.Contains(stored, "clv_secret") || !strings.Contains(stored, "panic") {
			t.Errorf("stored of the failures: %s", stored)
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		const workers, total = 3, 12
		started, finish := make(chan struct{}, total), make(chan struct{})
		var running, most atomic.Int64
		r := start(t, url, jobs.Config{Workers: workers, Kinds: map[string]jobs.Kind{"slow": {Run: func(context.Context, jobs.Job) error {
			n := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			started <- struct{}{}
			<-finish
			return nil
		}}}})
		for range total {
			r.insert("slow", "x", jobs.Options{})
		}
		for range workers {
			receive(t, started)
		}
		close(finish)
		for range total - workers {
			receive(t, started)
		}
		if most.Load() != workers {
			t.Errorf("%d ran at the same time", most.Load())
		}
	})
}

func TestPeriodicJobs(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		ran := make(chan struct{}, 100)
		kinds := map[string]jobs.Kind{"sweep": {Every: time.Second, Run: func(context.Context, jobs.Job) error {
			ran <- struct{}{}
			return nil
		}}}
		start(t, url, jobs.Config{Kinds: kinds})
		receive(t, ran)
		receive(t, ran)
	})
}

func TestAbuse_242_StopLetsJobsFinishAndPutsTheOthersBack(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		const total = 20
		started, finish := make(chan string, 2*total), make(chan struct{})
		var cut atomic.Bool
		kinds := map[string]jobs.Kind{
			"short": {Run: func(_ context.Context, j jobs.Job) error { started <- text(j); <-finish; return nil }},
			"long": {Run: func(ctx context.Context, j jobs.Job) error {
				if j.Attempt != 1 {
					t.Errorf("attempt %d: being stopped is no failure", j.Attempt)
				}
				started <- text(j)
				if !cut.Load() {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}},
		}
		r := start(t, url, jobs.Config{Workers: 2 * total, Kinds: kinds, Grace: 3 * time.Second})
		for i := range total {
			r.insert("short", fmt.Sprint("short ", i), jobs.Options{})
			r.insert("long", fmt.Sprint("long ", i), jobs.Options{})
		}
		for range 2 * total {
			receive(t, started)
		}
		close(finish)
		if err := r.queue.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		cut.Store(true)
		start(t, url, jobs.Config{Workers: 2 * total, Kinds: kinds})
		seen := map[string]bool{}
		for range total {
			seen[receive(t, started)] = true
		}
		for i := range total {
			if !seen[fmt.Sprint("long ", i)] {
				t.Errorf("the job %d was not put back", i)
			}
		}
		if len(seen) != total {
			t.Errorf("%v ran again", seen)
		}
	})
}

func TestTwoNodesShareTheWork(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		const total = 100
		var mu sync.Mutex
		times := map[string]int{}
		done := make(chan struct{}, total*2)
		kinds := map[string]jobs.Kind{"once": {Run: func(_ context.Context, j jobs.Job) error {
			mu.Lock()
			defer mu.Unlock()
			times[text(j)]++
			done <- struct{}{}
			return nil
		}}}
		a := start(t, url, jobs.Config{Kinds: kinds, Workers: 4})
		b := start(t, url, jobs.Config{Kinds: kinds, Workers: 4})
		for i := range total / 2 {
			a.insert("once", fmt.Sprint("a", i), jobs.Options{})
			b.insert("once", fmt.Sprint("b", i), jobs.Options{})
		}
		for range total {
			receive(t, done)
		}
		a.waitDone(total)
		mu.Lock()
		defer mu.Unlock()
		for name, n := range times {
			if n != 1 {
				t.Errorf("%s ran %d times", name, n)
			}
		}
	})
}

func TestBackoff(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 5 * time.Second, 1: 5 * time.Second, 2: 20 * time.Second, 3: 80 * time.Second, 6: time.Hour, 1000: time.Hour} {
		if got := jobs.Backoff(n); got != want {
			t.Errorf("Backoff(%d) = %v, want %v", n, got, want)
		}
	}
}
