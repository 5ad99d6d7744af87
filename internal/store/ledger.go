package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"claviger"
)

// Head is the last entry of a stream: its number and its chained MAC.
type Head struct {
	Sequence int64
	MAC      []byte
}

// Stream is the chain of entries that one writer made in one database. HeadMAC
// authenticates the head itself.
type Stream struct {
	ID                   string
	Head                 Head
	HeadMAC              []byte
	CreatedAt, UpdatedAt time.Time
}

const streamColumns = "id, sequence, mac, head_mac, created_at, updated_at"

func scanStream(r row) (Stream, error) {
	var s Stream
	var created, updated int64
	err := r.Scan(&s.ID, &s.Head.Sequence, &s.Head.MAC, &s.HeadMAC, &created, &updated)
	s.CreatedAt, s.UpdatedAt = fromMillis(created), fromMillis(updated)
	return s, err
}

// Stream answers a stream, whose head nobody else moves until the transaction
// ends. One that is new is answered with its ID alone. The ledger's plumbing takes
// no scope: it writes what it is given and reads it back whole.
func (tx *Tx) Stream(ctx context.Context, id string) (Stream, error) {
	s, err := one(ctx, tx.q, scanStream, "SELECT "+streamColumns+" FROM streams WHERE id = $1"+tx.home.lock, id)
	if errors.Is(err, ErrNotFound) {
		return Stream{ID: id}, nil
	}
	return s, err
}

// The columns of an entry; all but the first are given anew for each.
const (
	ledgerColumns = "stream, sequence, id, at, organization, workspace, connection, verb, outcome, status_code, duration, request_id, facts, mac"
	ledgerWidth   = 14
)

// ledgerChunks are the numbers of entries that one statement adds. Few forms, so
// that each is prepared once; large ones, because a statement has a cost of its own.
var ledgerChunks = [...]int{64, 32, 16, 8, 4, 2, 1}

// ledgerInserts answers the statements of an engine that has no cheaper way than INSERT.
// Their first parameter is the stream, the others are the entries' values.
func ledgerInserts() map[int]string {
	out := map[int]string{}
	row := "(?1" + strings.Repeat(",?", ledgerWidth-1) + ")"
	for _, n := range ledgerChunks {
		out[n] = "INSERT INTO ledger (" + ledgerColumns + ") VALUES " + row + strings.Repeat(","+row, n-1)
	}
	return out
}

// AppendLedger adds entries to the end of a stream and moves its head to s. The
// entries carry consecutive numbers that begin after the old head and end at the
// new one, and their MACs; their times are kept to the millisecond, durations
// exactly. [ErrStale] means that the head is not where the entries begin.
func (tx *Tx) AppendLedger(ctx context.Context, s Stream, entries []claviger.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	before := s.Head.Sequence - int64(len(entries))
	for i := range entries {
		if entries[i].Sequence != before+int64(i)+1 {
			return fmt.Errorf("store: ledger entry %d of stream %s is out of its place", entries[i].Sequence, s.ID)
		}
	}
	if err := tx.moveHead(ctx, s, before); err != nil {
		return err
	}
	if c, ok := tx.q.(copier); ok {
		return translate(c.copyRows(ctx, "ledger", ledgerColumnNames(), entryRows(s.ID, entries)))
	}
	return tx.insertEntries(ctx, s.ID, entries)
}

func ledgerColumnNames() []string {
	return strings.Split(strings.ReplaceAll(ledgerColumns, " ", ""), ",")
}

// entryRows answers the entries' values one by one, in memory used again.
func entryRows(stream string, entries []claviger.Entry) func() ([]any, bool) {
	args := make([]any, 0, ledgerWidth)
	var space []byte
	i := 0
	return func() ([]any, bool) {
		if i == len(entries) {
			return nil, false
		}
		space = appendFacts(space[:0], &entries[i])
		args = appendEntry(append(args[:0], stream), &entries[i], string(space))
		i++
		return args, true
	}
}

func (tx *Tx) insertEntries(ctx context.Context, stream string, entries []claviger.Entry) error {
	args := make([]any, 0, 1+min(len(entries), ledgerChunks[0])*(ledgerWidth-1))
	var space []byte
	for rest := entries; len(rest) > 0; {
		n := chunk(len(rest))
		args = append(args[:0], stream)
		for i := range rest[:n] {
			space = appendFacts(space[:0], &rest[i])
			args = appendEntry(args, &rest[i], string(space))
		}
		if _, err := tx.exec(ctx, tx.home.appends[n], args...); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func chunk(left int) int {
	for _, n := range ledgerChunks {
		if n <= left {
			return n
		}
	}
	return 1
}

func (tx *Tx) moveHead(ctx context.Context, s Stream, before int64) error {
	now := millis(tx.db.now())
	if before == 0 {
		return mustTouch(ctx, tx.q, ErrStale, "INSERT INTO streams ("+streamColumns+") VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (id) DO NOTHING",
			s.ID, s.Head.Sequence, filled(s.Head.MAC), filled(s.HeadMAC), now)
	}
	return mustTouch(ctx, tx.q, ErrStale, "UPDATE streams SET sequence = $1, mac = $2, head_mac = $3, updated_at = $4 WHERE id = $5 AND sequence = $6",
		s.Head.Sequence, filled(s.Head.MAC), filled(s.HeadMAC), now, s.ID, before)
}

// appendEntry appends the values of an entry's columns after the stream.
func appendEntry(args []any, e *claviger.Entry, facts string) []any {
	return append(args, e.Sequence, string(e.ID), millis(e.Time), string(e.Organization), string(e.Workspace),
		string(e.Connection), string(e.Verb), string(e.Outcome), int64(e.StatusCode), int64(e.Duration), e.RequestID, facts, filled(e.MAC))
}

func scanEntry(r row) (claviger.Entry, error) {
	var e claviger.Entry
	var at int64
	var facts string
	err := r.Scan(&e.Stream, &e.Sequence, &e.ID, &at, &e.Organization, &e.Workspace,
		&e.Connection, &e.Verb, &e.Outcome, &e.StatusCode, &e.Duration, &e.RequestID, &facts, &e.MAC)
	e.Time = fromMillis(at)
	readFacts(&e, facts)
	return e, err
}

// Checkpoint binds the heads of all streams of a database at one moment.
type Checkpoint struct {
	Sequence int64 // 1, 2, ...
	Time     time.Time
	Body     []byte // JSON of the heads
	MAC      []byte
}

const checkpointColumns = "sequence, at, body, mac"

func scanCheckpoint(r row) (Checkpoint, error) {
	var c Checkpoint
	var at int64
	err := r.Scan(&c.Sequence, &at, &c.Body, &c.MAC)
	c.Time = fromMillis(at)
	return c, err
}

// LastCheckpoint answers the newest checkpoint of the transaction's database, or
// the zero one if there is none. Others wait for it until the transaction ends.
func (tx *Tx) LastCheckpoint(ctx context.Context) (Checkpoint, error) {
	c, err := one(ctx, tx.q, scanCheckpoint, "SELECT "+checkpointColumns+" FROM checkpoints ORDER BY sequence DESC LIMIT 1"+tx.home.lock)
	if errors.Is(err, ErrNotFound) {
		return Checkpoint{}, nil
	}
	return c, err
}

// AddCheckpoint adds the next checkpoint. A number that is taken is [ErrStale]:
// another node was first, and [DB.InTx] looks again.
func (tx *Tx) AddCheckpoint(ctx context.Context, c Checkpoint) error {
	return mustTouch(ctx, tx.q, ErrStale, "INSERT INTO checkpoints ("+checkpointColumns+") VALUES ($1, $2, $3, $4) ON CONFLICT (sequence) DO NOTHING",
		c.Sequence, millis(c.Time), filled(c.Body), filled(c.MAC))
}
