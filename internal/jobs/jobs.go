package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"claviger"
	"claviger/internal/store"
)

// Job is one piece of work, as the function that does it sees it.
type Job struct {
	ID      int64
	Kind    string
	Place   claviger.RegionID // where it is kept, as [store.DB.Places] names it
	Args    json.RawMessage   // as they were inserted
	Attempt int               // 1 at first; a snooze does not count
	Last    bool              // no attempt follows if this one fails
	Created time.Time
}

// Kind says how jobs of one name are done.
type Kind struct {
	// Run does the job. An error makes it come again; [Snooze] and [Discard] say
	// otherwise. It must be safe to run twice and heed its context.
	Run func(context.Context, Job) error
	// Timeout ends an attempt's context; one minute if zero.
	Timeout time.Duration
	// Attempts is how many failures discard the job; 25 if zero.
	Attempts int
	// Backoff answers how long to wait after the n-th attempt failed; [Backoff] if nil.
	Backoff func(n int) time.Duration
	// Every makes one job of this kind, without arguments, at this interval, in the
	// control database, however many nodes there are; zero: none.
	Every time.Duration
}

// Options are what may be said of one job.
type Options struct {
	// After delays the first attempt.
	After time.Duration
	// Unique, if not empty, keeps a second job of the kind with the same value from
	// being inserted while the first is not done.
	Unique string
}

// The defaults, and the bounds of what one process does at a time.
const (
	DefaultTimeout  = time.Minute
	DefaultAttempts = 25
	DefaultWorkers  = 32
	// stuckAfter is how much longer than its timeout an attempt may take before its
	// place is given to another job.
	stuckAfter = 5 * time.Second
	longestArg = 64 << 10
)

// Config is what a Queue is made of. Store and Kinds are required.
type Config struct {
	Store *store.DB
	Kinds map[string]Kind
	// Workers is how many jobs run at the same time for each database; DefaultWorkers
	// if zero.
	Workers int
	// Rescue is how long after its start a job that nobody finished is taken up again,
	// although its process is alive; at least twice the longest timeout, which is the
	// default. Attempts older than this that are still under way may meet their successor.
	Rescue time.Duration
	// Beat is how often a process says that it is alive. When it has not for three
	// beats, its jobs are taken up by others, or by itself after a new start. Five
	// seconds if zero.
	Beat time.Duration
	// Grace is how long [Queue.Stop] lets running jobs finish before their contexts
	// end; ten seconds if zero.
	Grace time.Duration
	// Poll is how often a database is asked for work; half a second if zero. On
	// PostgreSQL new jobs are announced and start sooner.
	Poll time.Duration
	// Now is the clock; nil for the system's. With another one, what is due is
	// decided by it, although the pauses between looking are real.
	Now func() time.Time
	Log *slog.Logger // nil: discarded
}

// Queue inserts and runs jobs. It may be used by many goroutines.
type Queue struct {
	db      *store.DB
	engines map[claviger.RegionID]engine
	order   []engine
	kinds   map[string]Kind
	beat    time.Duration
	log     *slog.Logger
	heart   heart
}

// engine is River on one database.
type engine interface {
	id() string
	insert(ctx context.Context, tx store.QueueTx, a args, o Options) error
	takeOver(ctx context.Context, tx store.QueueTx, gone []string) (int, error)
	start(ctx context.Context) error
	stop(ctx context.Context, hard bool) error
}

// New makes a Queue that can insert; [Queue.Start] makes it work.
func New(c Config) (*Queue, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c = withDefaults(c)
	q := &Queue{db: c.Store, engines: map[claviger.RegionID]engine{}, kinds: c.Kinds, beat: c.Beat, log: c.Log}
	for _, db := range c.Store.QueueDBs() {
		e, err := open(db, q.settings(c, db.Place), q, c.Now)
		if err != nil {
			return nil, fmt.Errorf("jobs: %w", err)
		}
		q.engines[db.Place] = e
		q.order = append(q.order, e)
	}
	return q, nil
}

func withDefaults(c Config) Config {
	longest := DefaultTimeout
	for _, k := range c.Kinds {
		longest = max(longest, k.Timeout)
	}
	if c.Workers == 0 {
		c.Workers = DefaultWorkers
	}
	if c.Rescue == 0 {
		c.Rescue = 2 * longest
	}
	if c.Beat == 0 {
		c.Beat = 5 * time.Second
	}
	if c.Grace == 0 {
		c.Grace = 10 * time.Second
	}
	if c.Poll == 0 {
		c.Poll = 500 * time.Millisecond
	}
	return c
}

// Insert adds a job to the transaction's own database: it is there once that commits.
// args become JSON of at most 64 KiB and must hold no secret. A job that [Options]
// finds to be there already is not inserted again, which is no error.
func (q *Queue) Insert(ctx context.Context, tx *store.Tx, kind string, in any, o Options) error {
	if _, ok := q.kinds[kind]; !ok {
		return fmt.Errorf("jobs: no kind %q", kind)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("jobs: arguments: %w", err)
	}
	if len(body) > longestArg {
		return fmt.Errorf("jobs: arguments of %d bytes, at most %d are kept", len(body), longestArg)
	}
	return tx.Queue(ctx, func(t store.QueueTx) error {
		e := q.engines[t.Place]
		if e == nil {
			return fmt.Errorf("jobs: no queue in the region %q", t.Place)
		}
		return e.insert(ctx, t, args{kind: kind, Unique: o.Unique, Body: body}, o)
	})
}

// Start works until [Queue.Stop] or the end of ctx.
func (q *Queue) Start(ctx context.Context) error {
	if err := q.startHeart(ctx); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	for _, e := range q.order {
		if err := e.start(ctx); err != nil {
			return errors.Join(fmt.Errorf("jobs: %w", err), q.Stop(context.WithoutCancel(ctx)))
		}
	}
	return nil
}

// Stop takes no new jobs, lets the running ones finish within the grace, ends the
// contexts of the others and puts those back as if they had never been tried. It
// gives up when ctx ends. Stopping twice, or without a start, does nothing.
func (q *Queue) Stop(ctx context.Context) error { return q.stop(ctx, false) }

// Abort is Stop without the grace.
func (q *Queue) Abort(ctx context.Context) error { return q.stop(ctx, true) }

func (q *Queue) stop(ctx context.Context, hard bool) error {
	results := make(chan error, len(q.order))
	for _, e := range q.order {
		go func() { results <- e.stop(ctx, hard) }()
	}
	var all []error
	for range q.order {
		all = append(all, <-results)
	}
	err := errors.Join(all...)
	q.stopHeart(ctx, err == nil)
	return err
}

// Backoff answers the usual pause after the n-th failure: 5 s, 20 s, 80 s, ... up to
// an hour. It holds no chance: jobs that fail together were inserted apart.
func Backoff(n int) time.Duration {
	pause := 5 * math.Pow(4, float64(max(n, 1)-1))
	return time.Duration(min(pause, 3600)) * time.Second
}

type snooze struct{ after time.Duration }

// Error answers the text for a log.
func (s snooze) Error() string { return "jobs: again in " + s.after.String() }

// Snooze is an error that a job answers to come again after a pause, without counting as
// a failure.
func Snooze(after time.Duration) error { return snooze{max(after, 0)} }

type discard struct{ cause error }

// Error answers the text for a log.
func (d discard) Error() string { return "jobs: discarded: " + d.cause.Error() }

// Unwrap answers the cause.
func (d discard) Unwrap() error { return d.cause }

// Discard is an error that a job answers to end at once: trying again would not help.
func Discard(cause error) error { return discard{cause} }
