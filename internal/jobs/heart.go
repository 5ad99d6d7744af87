package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"

	"claviger"
	"claviger/internal/store"
)

const (
	// missedBeats is how many beats in a row may fail before a process is taken for dead.
	missedBeats = 3
	// takeOverBatch bounds the jobs that are read at a time to find those of the dead.
	takeOverBatch = 1000
)

// heart says again and again that this process is alive, and looks after the jobs of
// those that no longer do. River itself only knows how long a job has been running,
// which a process that was killed a moment ago and a job that takes its time have in
// common.
type heart struct {
	mu   sync.Mutex
	stop context.CancelFunc // nil: it does not beat
	done chan struct{}
}

// startHeart beats once, so that nobody works unseen, and goes on in the background.
func (q *Queue) startHeart(ctx context.Context) error {
	q.heart.mu.Lock()
	defer q.heart.mu.Unlock()
	if q.heart.stop != nil {
		return nil
	}
	if err := q.beatAll(ctx); err != nil {
		return err
	}
	ctx, q.heart.stop = context.WithCancel(ctx)
	done := make(chan struct{})
	q.heart.done = done
	go func() {
		defer close(done)
		tick := time.NewTicker(q.beat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := q.beatAll(ctx); err != nil && ctx.Err() == nil {
				q.log.Warn("the queue cannot say that it is alive; others may take up its jobs", "error", err)
			}
		}
	}()
	return nil
}

// stopHeart ends the beating, and, if no job is left running, forgets this process.
func (q *Queue) stopHeart(ctx context.Context, idle bool) {
	q.heart.mu.Lock()
	defer q.heart.mu.Unlock()
	if q.heart.stop == nil {
		return
	}
	q.heart.stop()
	<-q.heart.done
	q.heart.stop = nil
	if !idle {
		return
	}
	for place, e := range q.engines {
		err := q.db.InTx(ctx, place, func(tx *store.Tx) error { return tx.ForgetWorker(ctx, e.id()) })
		if err != nil {
			q.log.Warn("the queue could not say good-bye; it is forgotten by itself", "error", err)
		}
	}
}

func (q *Queue) beatAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, missedBeats*q.beat)
	defer cancel()
	var all []error
	for place, e := range q.engines {
		all = append(all, q.beatIn(ctx, place, e))
	}
	return errors.Join(all...)
}

// beatIn says in one database that this process is alive, and takes over from those
// that have not, in the transaction that forgets them: no two processes do.
func (q *Queue) beatIn(ctx context.Context, place claviger.RegionID, e engine) error {
	taken := 0
	var gone []string
	err := q.db.InTx(ctx, place, func(tx *store.Tx) (err error) {
		taken = 0
		if gone, err = tx.BeatWorker(ctx, e.id(), missedBeats*q.beat); err != nil || len(gone) == 0 {
			return err
		}
		return tx.Queue(ctx, func(t store.QueueTx) error {
			taken, err = e.takeOver(ctx, t, gone)
			return err
		})
	})
	if err == nil && len(gone) > 0 {
		q.log.Warn("processes have ended without a word; their jobs are taken up", "processes", len(gone), "jobs", taken)
	}
	return err
}

// takeOver makes the jobs that were running in processes that are gone available again.
// The attempt counts: what kills its process each time ends some time.
func (e *riverEngine[T]) takeOver(ctx context.Context, tx store.QueueTx, gone []string) (int, error) {
	exec := e.driver.UnwrapExecutor(e.of(tx))
	now := e.now().UTC()
	taken := 0
	for after := int64(0); ; {
		running, err := exec.JobGetStuck(ctx, &riverdriver.JobGetStuckParams{AfterID: after, Max: takeOverBatch, StuckHorizon: now.AddDate(1, 0, 0)})
		if err != nil {
			return taken, err
		}
		orphans := &riverdriver.JobRescueManyParams{StuckHorizon: now}
		for _, job := range running {
			after = job.ID
			if n := len(job.AttemptedBy); n > 0 && slices.Contains(gone, job.AttemptedBy[n-1]) {
				if err := orphan(orphans, job, now); err != nil {
					return taken, err
				}
			}
		}
		if len(orphans.ID) > 0 {
			if _, err := exec.JobRescueMany(ctx, orphans); err != nil {
				return taken, err
			}
			taken += len(orphans.ID)
		}
		if len(running) < takeOverBatch {
			return taken, nil
		}
	}
}

func orphan(p *riverdriver.JobRescueManyParams, job *rivertype.JobRow, now time.Time) error {
	why, err := json.Marshal(rivertype.AttemptError{At: now, Attempt: job.Attempt, Error: "process_gone"})
	if err != nil {
		return err
	}
	state, scheduled := rivertype.JobStateAvailable, now
	var finalized *time.Time
	if job.Attempt >= job.MaxAttempts {
		state, scheduled, finalized = rivertype.JobStateDiscarded, job.ScheduledAt, &now
	}
	p.ID = append(p.ID, job.ID)
	p.Error = append(p.Error, why)
	p.State = append(p.State, string(state))
	p.ScheduledAt = append(p.ScheduledAt, scheduled)
	p.FinalizedAt = append(p.FinalizedAt, finalized)
	return nil
}
