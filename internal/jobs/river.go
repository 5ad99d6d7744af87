package jobs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivertype"

	"claviger"
	"claviger/internal/store"
)

// args is what River stores of a job.
type args struct {
	kind   string
	Unique string          `json:"unique,omitempty" river:"unique"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// Kind answers the job's name.
func (a args) Kind() string { return a.kind }

// unfinished are the states in which a job still counts for [Options.Unique].
func unfinished() []rivertype.JobState {
	return []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
		rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}
}

// riverEngine is a River client; T is the transaction type of its driver.
type riverEngine[T any] struct {
	driver riverdriver.Driver[T]
	client *river.Client[T]
	of     func(store.QueueTx) T
	kinds  map[string]Kind
	now    func() time.Time
	close  func() error
}

func open(db store.QueueDB, c *river.Config, q *Queue, now func() time.Time) (engine, error) {
	if db.Postgres != nil {
		return newEngine(riverpgxv5.New(db.Postgres), c, q, now, func(t store.QueueTx) pgx.Tx { return t.Postgres }, func() error { return nil })
	}
	// River's announcements on SQLite are a table that is read 20 times a second;
	// asking for the work itself, twice a second, costs less.
	c.PollOnly = true
	return newEngine(riversqlite.New(db.SQLite), c, q, now, func(t store.QueueTx) *sql.Tx { return t.SQLite }, db.SQLite.Close)
}

func newEngine[T any](d riverdriver.Driver[T], c *river.Config, q *Queue, now func() time.Time, of func(store.QueueTx) T, closing func() error) (engine, error) {
	client, err := river.NewClient(d, c)
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	return &riverEngine[T]{driver: d, client: client, of: of, kinds: q.kinds, now: now, close: closing}, nil
}

func (e *riverEngine[T]) insert(ctx context.Context, tx store.QueueTx, a args, o Options) error {
	opts := &river.InsertOpts{MaxAttempts: attempts(e.kinds[a.kind])}
	if o.After > 0 {
		opts.ScheduledAt = e.now().Add(o.After)
	}
	if a.Unique != "" {
		opts.UniqueOpts = river.UniqueOpts{ByArgs: true, ByState: unfinished()}
	}
	_, err := e.client.InsertTx(ctx, e.of(tx), a, opts)
	return err
}

func (e *riverEngine[T]) id() string { return e.client.ID() }

func (e *riverEngine[T]) start(ctx context.Context) error { return e.client.Start(ctx) }

func (e *riverEngine[T]) stop(ctx context.Context, hard bool) error {
	var err error
	if hard {
		err = e.client.StopAndCancel(ctx)
	} else {
		err = e.client.Stop(ctx)
	}
	return errors.Join(err, e.close())
}

// settings are River's for one database. Periodic jobs belong to control's.
func (q *Queue) settings(c Config, place claviger.RegionID) *river.Config {
	workers := river.NewWorkers()
	var periodic []*river.PeriodicJob
	for name, k := range c.Kinds {
		river.AddWorkerArgs(workers, args{kind: name}, river.Worker[args](&worker{name: name, kind: k, place: place, queue: q, now: c.Now}))
		if k.Every > 0 && place == "" {
			periodic = append(periodic, river.NewPeriodicJob(river.PeriodicInterval(k.Every), func() (river.JobArgs, *river.InsertOpts) {
				return args{kind: name, Unique: "periodic", Body: json.RawMessage("null")}, &river.InsertOpts{
					MaxAttempts: attempts(k), UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: unfinished()},
				}
			}, &river.PeriodicJobOpts{ID: name, RunOnStart: true}))
		}
	}
	config := &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: c.Workers}}, Workers: workers, PeriodicJobs: periodic,
		FetchPollInterval: c.Poll, FetchCooldown: min(c.Poll, 50*time.Millisecond), JobTimeout: DefaultTimeout, JobStuckThreshold: stuckAfter,
		RescueStuckJobsAfter: c.Rescue, SoftStopTimeout: c.Grace, Logger: slog.New(quiet{c.Log.Handler()}),
		// A job that ignores the end of its time keeps its goroutine, not its place.
		JobStuckHandler: func(context.Context, river.JobStuckHandlerParams) river.JobStuckHandlerResult {
			return river.JobStuckHandlerResult{AddWorkerSlot: true}
		},
	}
	if c.Now != nil {
		config.Test.Time = clock(c.Now)
		config.TestOnly = true // no staggering of services at start
	}
	return config
}

// clock is a clock as River asks it.
type clock func() time.Time

// Now answers the time.
func (c clock) Now() time.Time { return c() }

// NowOrNil answers it too: the database's own is not asked.
func (c clock) NowOrNil() *time.Time { now := c().UTC(); return &now }

func attempts(k Kind) int {
	if k.Attempts > 0 {
		return k.Attempts
	}
	return DefaultAttempts
}

// worker is a Kind as River runs it.
type worker struct {
	river.WorkerDefaults[args]
	name  string
	kind  Kind
	place claviger.RegionID
	queue *Queue
	now   func() time.Time
}

// Timeout answers how long an attempt may take.
func (w *worker) Timeout(*river.Job[args]) time.Duration {
	if w.kind.Timeout > 0 {
		return w.kind.Timeout
	}
	return DefaultTimeout
}

// NextRetry answers when a job that failed comes again.
func (w *worker) NextRetry(job *river.Job[args]) time.Time {
	backoff := w.kind.Backoff
	if backoff == nil {
		backoff = Backoff
	}
	now := time.Now
	if w.now != nil {
		now = w.now
	}
	return now().Add(backoff(job.Attempt))
}

// Work runs the job. What it answers is stored by River, so of an error it is the code
// alone, and of a panic not even that.
func (w *worker) Work(ctx context.Context, job *river.Job[args]) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.queue.log.Error("a job panicked", "kind", w.name, "job", job.ID, "attempt", job.Attempt, "type", fmt.Sprintf("%T", p), "stack", stack())
			err = errors.New("panic")
		}
	}()
	err = w.kind.Run(ctx, Job{
		ID: job.ID, Kind: w.name, Place: w.place, Args: slices.Clone(job.Args.Body), Attempt: job.Attempt,
		Last: job.Attempt >= job.MaxAttempts, Created: job.CreatedAt,
	})
	var again snooze
	var over discard
	switch {
	case err == nil:
		return nil
	case errors.As(err, &again):
		return river.JobSnooze(again.after)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return err // stopped or timed out: River tells the two apart
	}
	w.queue.log.Warn("a job failed", "kind", w.name, "job", job.ID, "attempt", job.Attempt, "code", code(err))
	if errors.As(err, &over) {
		return river.JobCancel(errors.New(code(over.cause)))
	}
	return errors.New(code(err))
}

func code(err error) string { return claviger.AsError(err).FineCode() }

// stack answers where the panic happened, without the arguments of the calls.
func stack() string {
	text := string(debug.Stack())
	return text[:min(len(text), 4<<10)]
}

// quiet drops what River says of its own comings and goings.
type quiet struct{ slog.Handler }

// Enabled lets warnings and errors through.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

// WithAttrs keeps the filter.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup keeps the filter.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
