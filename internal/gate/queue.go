package gate

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/store"
)

const (
	// batchRows is how many entries one flush takes at most.
	batchRows = 1000
	// queueRows is how many entries may wait; an admission beyond it waits too.
	queueRows = 8 * batchRows
	// usageWindow is how long counts of calls gather before they are added up in the
	// database: they can be found again from the entries, so they need not be durable
	// with each batch.
	usageWindow = 2 * time.Second
	// flushTimeout bounds one flush.
	flushTimeout = 10 * time.Second
	// retryPause is the wait after a failed flush.
	retryPause = 200 * time.Millisecond
)

// queues holds one writer per database.
type queues struct {
	gate    *Gate
	regions map[claviger.RegionID]*writer
}

func newQueues(g *Gate) *queues {
	q := &queues{gate: g, regions: map[claviger.RegionID]*writer{}}
	for _, region := range g.db.Places() {
		w := &writer{
			gate: g, region: region, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
			stream: store.Stream{ID: g.stream("c", region), CreatedAt: g.now()}, next: newBatch(), usage: usage{},
		}
		w.stream.Head.MAC = genesis(g.chain, w.stream.ID)
		q.regions[region] = w
		go w.run()
	}
	return q
}

func (q *queues) writer(ctx context.Context, e *claviger.Entry) (*writer, error) {
	region, err := q.gate.db.PlaceOf(ctx, e.Organization, e.Workspace)
	if err != nil {
		return nil, err
	}
	return q.regions[region], nil
}

// add queues an entry and, if durable is asked for, waits until it is flushed.
func (q *queues) add(ctx context.Context, e *claviger.Entry, durable bool) (place, error) {
	if e.Outcome == claviger.OutcomeDenied {
		q.gate.denied.Add(1)
	} else {
		q.gate.admitted.Add(1)
	}
	w, err := q.writer(ctx, e)
	if err != nil {
		return place{}, unavailable(err)
	}
	return w.add(ctx, e, durable)
}

// finish queues the end of a call, which must not be lost: it neither waits nor fails.
// If the beginning still waits to be flushed the end takes its place: both would become
// durable at the same moment, and the end says all that the beginning does.
func (q *queues) finish(e *claviger.Entry, begun place) {
	if begun.replace(e) {
		return
	}
	w, err := q.writer(context.Background(), e)
	if err != nil {
		w = q.regions[""]
	}
	w.put(e, false)
}

func (q *queues) ready() error {
	for _, w := range q.regions {
		if w.broken.Load() {
			return unavailable(nil)
		}
	}
	return nil
}

func (q *queues) close(ctx context.Context) error {
	for _, w := range q.regions {
		close(w.stop)
		select {
		case <-w.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// batch is what one flush writes. Those who wait for it read err after done closes.
type batch struct {
	entries []claviger.Entry
	urgent  bool // somebody waits
	done    chan struct{}
	err     error
}

// place is where an entry waits that nobody waits for; the zero place is nowhere.
type place struct {
	writer *writer
	batch  *batch
	index  int
}

// replace puts e where the entry waits, unless it no longer does.
func (p place) replace(e *claviger.Entry) bool {
	if p.writer == nil {
		return false
	}
	p.writer.mu.Lock()
	defer p.writer.mu.Unlock()
	if p.writer.next != p.batch {
		return false
	}
	p.batch.entries[p.index] = *e
	return true
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// writer owns one stream: it alone links entries and writes them, in batches, so that
// many calls share one transaction and one fsync.
type writer struct {
	gate   *Gate
	region claviger.RegionID
	stream store.Stream
	buf    []byte

	mu     sync.Mutex
	next   *batch // what is being gathered
	wake   chan struct{}
	stop   chan struct{}
	done   chan struct{}
	broken atomic.Bool

	usage      usage
	usageSince time.Time
	spare      []claviger.Entry // the memory of a batch that was written
}

func (w *writer) add(ctx context.Context, e *claviger.Entry, durable bool) (place, error) {
	if e.ID == "" {
		return place{}, unavailable(nil)
	}
	if w.broken.Load() {
		return place{}, unavailable(nil)
	}
	if err := w.room(ctx); err != nil {
		return place{}, err
	}
	at := w.put(e, durable)
	if !durable {
		return at, nil
	}
	select {
	case <-at.batch.done:
		return place{}, at.batch.err
	case <-ctx.Done():
		return place{}, unavailable(ctx.Err())
	}
}

// room waits while the queue is full: full means wait, never drop.
func (w *writer) room(ctx context.Context) error {
	for {
		w.mu.Lock()
		b := w.next
		full := len(b.entries) >= queueRows
		w.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-b.done:
			if b.err != nil {
				return b.err
			}
		case <-ctx.Done():
			return unavailable(ctx.Err())
		}
	}
}

func (w *writer) put(e *claviger.Entry, urgent bool) place {
	w.mu.Lock()
	b := w.next
	at := place{w, b, len(b.entries)}
	b.entries = append(b.entries, *e)
	first := len(b.entries) == 1
	hurry := urgent && !b.urgent
	b.urgent = b.urgent || urgent
	full := len(b.entries) == batchRows
	w.mu.Unlock()
	if first || hurry || full {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return at
}

// run gathers and flushes until the queue is stopped and empty.
func (w *writer) run() {
	defer close(w.done)
	timer := time.NewTimer(Window)
	defer timer.Stop()
	for stopping := false; ; {
		if !stopping {
			stopping = w.idle(timer) || w.gather(timer)
		}
		b := w.take()
		if len(b.entries) > 0 {
			w.flush(b, stopping)
		}
		w.countUsage(stopping)
		if stopping && w.empty() {
			return
		}
	}
}

// idle waits for the first entry; counts of calls that still wait wake it too. It
// answers true when the writer is to stop.
func (w *writer) idle(timer *time.Timer) (stopping bool) {
	for w.empty() {
		var due <-chan time.Time
		if len(w.usage) > 0 {
			timer.Reset(usageWindow)
			due = timer.C
		}
		select {
		case <-w.stop:
			return true
		case <-w.wake:
		case <-due:
			return false
		}
	}
	return false
}

// gather waits until the batch is worth a flush: somebody waits for it, it is full, or
// the window since its first entry is over. It answers true when the writer is to stop.
func (w *writer) gather(timer *time.Timer) (stopping bool) {
	timer.Reset(Window)
	for !w.due() {
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

func (w *writer) due() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.next.entries) == 0 || w.next.urgent || len(w.next.entries) >= batchRows
}

func (w *writer) take() *batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.next
	w.next = newBatch()
	w.next.entries, w.spare = w.spare, nil
	return b
}

// recycle keeps a written batch's memory for the one after the next. Nobody reads its
// entries any more: who waited for it looks at its error alone.
func (w *writer) recycle(b *batch) {
	clear(b.entries)
	if cap(b.entries) <= 2*batchRows {
		w.spare = b.entries[:0]
	}
}

func (w *writer) empty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.next.entries) == 0
}

// flush writes one batch. If that fails, those who wait are refused and their entries
// dropped, since nothing was done for them; all others are written as soon as the
// database takes them, and until then the gate admits nobody.
func (w *writer) flush(b *batch, stopping bool) {
	err := w.write(b.entries)
	if err == nil {
		w.usage.add(b.entries)
		close(b.done)
		w.recycle(b)
		return
	}
	w.broken.Store(true)
	w.gate.log.Error("the ledger cannot be written; nothing is admitted", "error", err)
	kept := refuse(nil, b, err)
	for attempt := 0; len(kept) > 0; attempt++ {
		if stopping && attempt >= 5 {
			w.gate.log.Error("entries are lost: the ledger cannot be written at shutdown", "entries", len(kept))
			return
		}
		w.pause(stopping)
		kept = refuse(kept, w.take(), err)
		if err = w.write(kept); err == nil {
			w.usage.add(kept)
			kept = nil
		}
	}
	w.broken.Store(false)
	w.gate.log.Info("the ledger can be written again")
}

// refuse tells those who wait for b that it failed, and adds to kept what must be
// written all the same. Openings of refused calls are left out, unless nobody waited:
// then the calls went ahead.
func refuse(kept []claviger.Entry, b *batch, cause error) []claviger.Entry {
	for i := range b.entries {
		if !b.urgent || b.entries[i].Outcome != claviger.OutcomeAllowed {
			kept = append(kept, b.entries[i])
		}
	}
	b.err = unavailable(cause)
	close(b.done)
	return kept
}

func (w *writer) pause(stopping bool) {
	t := time.NewTimer(retryPause)
	defer t.Stop()
	if stopping {
		<-t.C
		return
	}
	select {
	case <-t.C:
	case <-w.stop:
	}
}

// write links the entries behind the stream's head and stores them, batchRows to a
// transaction. Whether a failed commit took effect is not known: the head in the
// database says so, and the stream goes on from there.
func (w *writer) write(entries []claviger.Entry) error {
	for len(entries) > 0 {
		n := min(len(entries), batchRows)
		if err := w.writeBatch(entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

func (w *writer) writeBatch(entries []claviger.Entry) error {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	s := w.stream
	w.buf = w.gate.link(&s, entries, w.buf)
	s.UpdatedAt = w.gate.now()
	failpoint.Hit("ledger.flush.before")
	err := w.gate.db.InTx(ctx, w.region, func(tx *store.Tx) error {
		err := tx.AppendLedger(ctx, s, entries)
		failpoint.Hit("ledger.flush.inside")
		return err
	})
	failpoint.Hit("ledger.flush.after")
	if err == nil {
		w.stream = s
		return nil
	}
	var stored store.Stream
	if lookup := w.gate.db.InTx(ctx, w.region, func(tx *store.Tx) error {
		var e error
		stored, e = tx.Stream(ctx, s.ID)
		return e
	}); lookup == nil && stored.Head.Sequence == s.Head.Sequence {
		w.stream = s
		return nil
	}
	return err
}
