package gate

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"claviger"
	"claviger/internal/store"
)

// Chain is the keyed hash that links the ledger, and the signature over its
// checkpoints. Package seal has the one implementation; the key is sealed under the
// master key and never in the database in the clear.
type Chain interface {
	// Link answers the MAC of content that follows an entry with the MAC prev.
	Link(prev, content []byte) []byte
	// Sign signs a checkpoint.
	Sign(content []byte) []byte
	// Verify checks a signature made by Sign.
	Verify(content, signature []byte) bool
}

// Mode says when "allowed" is durable.
type Mode string

// The modes of the ledger.
const (
	ModeStrict  Mode = "strict"  // before the call leaves
	ModeRelaxed Mode = "relaxed" // within one window
)

// Window is the longest time that an entry waits for its flush.
const Window = 50 * time.Millisecond

// Config is what a Gate is made of. Store and Chain are required.
type Config struct {
	Store  *store.DB
	Chain  Chain
	Mode   Mode             // empty: strict
	Anchor Anchor           // nil: checkpoints stay in the database only
	Now    func() time.Time // nil: time.Now
	Random io.Reader        // nil: crypto/rand
	Log    *slog.Logger     // nil: discarded
}

// Gate admits callers and writes the ledger. Its methods may be called from many
// goroutines.
type Gate struct {
	db       *store.DB
	chain    Chain
	strict   bool
	anchor   Anchor
	now      func() time.Time
	random   io.Reader
	log      *slog.Logger
	process  string // names this process's streams
	calls    *queues
	denied   atomic.Int64
	admitted atomic.Int64
	stop     chan struct{}
	done     chan struct{}
}

// Open starts this process's streams and writes a checkpoint over those that earlier
// processes left.
func Open(ctx context.Context, c Config) (*Gate, error) {
	g := &Gate{
		db: c.Store, chain: c.Chain, strict: c.Mode != ModeRelaxed, anchor: c.Anchor,
		now: c.Now, random: c.Random, log: c.Log,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	if g.now == nil {
		g.now = time.Now
	}
	if g.random == nil {
		g.random = rand.Reader
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	id, err := claviger.NewID("str", g.now(), g.random)
	if err != nil {
		return nil, err
	}
	g.process = id
	if err := g.Checkpoint(ctx); err != nil {
		return nil, err
	}
	g.calls = newQueues(g)
	go g.checkpoints()
	return g, nil
}

// Close flushes what is queued and writes a last checkpoint. No call may be admitted
// after it began.
func (g *Gate) Close(ctx context.Context) error {
	close(g.stop)
	<-g.done
	if err := g.calls.close(ctx); err != nil {
		return err
	}
	return g.Checkpoint(ctx)
}

// Ready reports whether entries can be written.
func (g *Gate) Ready() error { return g.calls.ready() }

// Stats answers how many uses were admitted and how many requests denied since the
// process began.
func (g *Gate) Stats() (admitted, denied int64) { return g.admitted.Load(), g.denied.Load() }

// Record writes an entry that no caller's decision stands behind, such as a failed
// authentication. ID, Time and place are filled in here.
func (g *Gate) Record(ctx context.Context, e claviger.Entry) error {
	now := g.now()
	e.ID, e.Time = g.entryID(now), now
	tidy(&e)
	_, err := g.calls.add(ctx, &e, false)
	return err
}

func (g *Gate) entry(c claviger.Caller, v claviger.Verb, r claviger.Resource, now time.Time) claviger.Entry {
	e := claviger.Entry{
		ID: g.entryID(now), Time: now, Organization: r.Organization, Workspace: r.Workspace,
		ActorKind: c.Kind, ActorID: c.ID, Verb: v, ResourceType: r.Type, ResourceID: r.ID,
		Connection: r.Connection, Connector: r.Connector, Host: r.Host, RequestID: c.From.ID,
		Usage: r.Usage, Slot: r.Slot,
	}
	if c.From.Address.IsValid() {
		e.Address = c.From.Address.String()
	}
	return e
}

// entryID answers a new id. A broken random source leaves it empty, which the
// queue refuses: an entry without a name must not be written.
func (g *Gate) entryID(now time.Time) claviger.EntryID {
	id, err := claviger.NewID(claviger.PrefixEntry, now, g.random)
	if err != nil {
		return ""
	}
	return claviger.EntryID(id)
}

// stream names this process's stream for calls or for management in one region.
func (g *Gate) stream(kind string, region claviger.RegionID) string {
	if region == "" {
		return g.process + "." + kind
	}
	return g.process + "." + kind + "." + string(region)
}

// appendManaged links a change's entries into the management stream, inside the
// transaction of the change. The stream's head lives in the database and is locked by the
// transaction, so that a rollback leaves no gap.
func (g *Gate) appendManaged(ctx context.Context, tx *store.Tx, region claviger.RegionID, entries []claviger.Entry) error {
	for i := range entries {
		if entries[i].ID == "" {
			return unavailable(nil)
		}
		tidy(&entries[i])
	}
	at := entries[0].Time
	s, err := tx.Stream(ctx, g.stream("m", region))
	if err != nil {
		return err
	}
	if s.Head.Sequence == 0 {
		s = store.Stream{ID: g.stream("m", region), CreatedAt: at}
		s.Head.MAC = genesis(g.chain, s.ID)
	}
	g.link(&s, entries, nil)
	s.UpdatedAt = at
	return tx.AppendLedger(ctx, s, entries)
}

// link gives the entries their sequence and MAC and moves the stream's head behind
// them. It answers buf for the next use.
func (g *Gate) link(s *store.Stream, entries []claviger.Entry, buf []byte) []byte {
	for i := range entries {
		e := &entries[i]
		e.Stream, e.Sequence = s.ID, s.Head.Sequence+1
		buf = appendEntry(buf[:0], e)
		e.MAC = g.chain.Link(s.Head.MAC, buf)
		s.Head = store.Head{Sequence: e.Sequence, MAC: e.MAC}
	}
	buf = appendHead(buf[:0], s.ID, s.Head.Sequence, s.Head.MAC)
	s.HeadMAC = g.chain.Link(nil, buf)
	return buf
}

func unavailable(cause error) *claviger.Error {
	e := claviger.Errorf(claviger.KindUnavailable, "audit_unavailable",
		"The ledger cannot be written, so nothing is done that would have to be recorded. Try again shortly.")
	e.RetryAfter = time.Second
	return e.With(cause)
}
