package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/jobs"
	"claviger/internal/store"
)

const (
	// inboxEvents and inboxBytes bound what waits to be stored in each database.
	inboxEvents, inboxBytes = 8192, 64 << 20
	// inboxBatch and inboxBatchBytes bound one transaction.
	inboxBatch, inboxBatchBytes = 500, 16 << 20
	// inboxWindow is how long the first delivery of a batch waits for others.
	inboxWindow = 5 * time.Millisecond
	// inboxTimeout bounds one transaction.
	inboxTimeout = 10 * time.Second
)

// jobBatch acts on the deliveries that were stored together, or set going together.
const jobBatch = "webhook.batch"

// acting is what the job knows of them.
type acting struct {
	Batch string `json:"batch"`
}

// inbox stores verified deliveries, many in one transaction, with the one job that acts
// on them. Each caller waits for the commit of its own; nothing waits in memory that was
// promised to anybody.
type inbox struct {
	db     *store.DB
	insert func(context.Context, *store.Tx, string, any, jobs.Options) error
	newID  func(prefix string) (string, error)
	log    *slog.Logger

	mu      sync.Mutex
	closed  bool
	writers map[claviger.RegionID]*inboxWriter
}

// inboxWriter is the inbox of one database.
type inboxWriter struct {
	*inbox
	place claviger.RegionID

	mu           sync.Mutex
	queues       map[claviger.OrganizationID][]*waiting
	turns        []claviger.OrganizationID // who has something waiting, the next one first
	count, bytes int
	wake         chan struct{}
	stop, done   chan struct{}
}

// waiting is a delivery on its way into the database.
type waiting struct {
	event *store.NewInbound
	done  chan struct{}
	kept  store.KeptInbound
	err   error
}

// add stores a delivery and answers when that is durable. A full inbox is KindRateLimited:
// the vendor sends it again.
func (x *inbox) add(ctx context.Context, e *store.NewInbound) (store.KeptInbound, error) {
	place, err := x.db.PlaceOf(ctx, e.Organization, e.Workspace)
	if err != nil {
		return store.KeptInbound{}, err
	}
	w := &waiting{event: e, done: make(chan struct{})}
	if !x.writer(place).put(w) {
		full := claviger.Errorf(claviger.KindRateLimited, "queue_full", "More arrives than can be stored. Send it again.")
		full.RetryAfter = time.Second
		return store.KeptInbound{}, full
	}
	select {
	case <-w.done:
		return w.kept, w.err
	case <-ctx.Done():
		return store.KeptInbound{}, notStored(ctx.Err())
	}
}

func notStored(cause error) *claviger.Error {
	e := claviger.Errorf(claviger.KindUnavailable, "not_stored", "The delivery cannot be stored now. Send it again.")
	e.RetryAfter = time.Second
	return e.With(cause)
}

// writer answers the writer of a place, which begins with its first delivery.
func (x *inbox) writer(place claviger.RegionID) *inboxWriter {
	x.mu.Lock()
	defer x.mu.Unlock()
	w := x.writers[place]
	if w == nil {
		w = &inboxWriter{
			inbox: x, place: place, queues: map[claviger.OrganizationID][]*waiting{},
			wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		}
		x.writers[place] = w
		if x.closed {
			close(w.stop)
		}
		go w.run()
	}
	return w
}

// close stores what waits and ends the writers.
func (x *inbox) close(ctx context.Context) error {
	x.mu.Lock()
	closed := x.closed
	x.closed = true
	writers := x.writers
	x.mu.Unlock()
	for _, w := range writers {
		if !closed {
			close(w.stop)
		}
		select {
		case <-w.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// put queues a delivery if there is room. An organization may have as much waiting as
// there is room left, so that the first one to flood the queue fills half of it, and
// there always is some for the others (A. K. Choudhury, E. L. Hahne: Dynamic queue length
// thresholds, 1998).
func (w *inboxWriter) put(x *waiting) bool {
	size := len(x.event.Body)
	w.mu.Lock()
	mine := w.queues[x.event.Organization]
	if len(mine) >= inboxEvents-w.count || w.bytes+size > inboxBytes {
		w.mu.Unlock()
		return false
	}
	if len(mine) == 0 {
		w.turns = append(w.turns, x.event.Organization)
	}
	w.queues[x.event.Organization] = append(mine, x)
	w.count++
	w.bytes += size
	call := w.count == 1 || w.count >= inboxBatch
	w.mu.Unlock()
	if call {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// take answers the next batch: one delivery of each organization in turn.
func (w *inboxWriter) take() (batch []*waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for size := 0; len(w.turns) > 0 && len(batch) < inboxBatch && size < inboxBatchBytes; {
		next := w.turns[0]
		w.turns = w.turns[1:]
		queue := w.queues[next]
		batch = append(batch, queue[0])
		size += len(queue[0].event.Body)
		w.count--
		w.bytes -= len(queue[0].event.Body)
		if len(queue) == 1 {
			delete(w.queues, next)
			continue
		}
		queue[0] = nil
		w.queues[next] = queue[1:]
		w.turns = append(w.turns, next)
	}
	return batch
}

func (w *inboxWriter) waits() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

func (w *inboxWriter) run() {
	defer close(w.done)
	timer := time.NewTimer(inboxWindow)
	defer timer.Stop()
	for stopping := false; ; {
		if !stopping {
			stopping = w.gather(timer)
		}
		batch := w.take()
		if len(batch) == 0 {
			if stopping {
				return
			}
			continue
		}
		w.flush(batch)
	}
}

// gather waits for the first delivery, and for others while that is worth it. It answers
// true when the writer is to stop.
func (w *inboxWriter) gather(timer *time.Timer) (stopping bool) {
	for w.waits() == 0 {
		select {
		case <-w.stop:
			return true
		case <-w.wake:
		}
	}
	timer.Reset(inboxWindow)
	for w.waits() < inboxBatch {
		select {
		case <-w.stop:
			return true
		case <-timer.C:
			return false
		case <-w.wake:
		}
	}
	return false
}

// flush stores a batch and tells those who wait. Copies within the batch are stored once.
func (w *inboxWriter) flush(batch []*waiting) {
	var events []store.NewInbound
	first := map[string]int{}
	at := make([]int, len(batch))
	for i, x := range batch {
		key := string(x.event.Connection) + string(x.event.ReplayKey)
		index, copied := first[key]
		if !copied {
			index = len(events)
			first[key] = index
			events = append(events, *x.event)
		}
		at[i] = index
	}
	kept, err := w.store(events)
	if err != nil {
		w.log.Error("deliveries cannot be stored; their vendors send them again", "events", len(batch), "error", err)
	}
	told := make([]bool, len(events))
	for i, x := range batch {
		if x.err = err; err != nil {
			x.err = notStored(err)
		} else {
			x.kept = kept[at[i]]
			x.kept.Copy = x.kept.Copy || told[at[i]]
			told[at[i]] = true
		}
		close(x.done)
	}
}

func (w *inboxWriter) store(events []store.NewInbound) (kept []store.KeptInbound, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), inboxTimeout)
	defer cancel()
	batch, err := w.newID("whb")
	if err != nil {
		return nil, err
	}
	for i := range events {
		events[i].Batch = batch
	}
	failpoint.Hit("inbox.flush.before")
	err = w.db.InTx(ctx, w.place, func(tx *store.Tx) error {
		if kept, err = tx.AddInbound(ctx, events); err != nil {
			return err
		}
		failpoint.Hit("inbox.flush.inside")
		for i := range kept {
			if !kept[i].Copy {
				return w.insert(ctx, tx, jobBatch, acting{Batch: batch}, jobs.Options{})
			}
		}
		return nil
	})
	failpoint.Hit("inbox.flush.after")
	return kept, err
}
