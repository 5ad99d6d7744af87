package store

import (
	"bytes"
	"cmp"
	"context"
	"time"

	"claviger"
)

// LedgerFilter narrows a list of entries; an empty field asks for nothing.
type LedgerFilter struct {
	From, To     time.Time // from inclusive, to exclusive
	Workspace    claviger.WorkspaceID
	ActorKind    claviger.CallerKind
	ActorID      string
	Verb         claviger.Verb
	ResourceType string
	ResourceID   string
	Connection   claviger.ConnectionID
	Connector    string
	Host         string
	Outcome      claviger.Outcome
	Code         string
	StatusCode   int
	RequestID    string
	Address      string
	Usage        claviger.Usage
	Slot         string
	Action       string
	Organization claviger.OrganizationID // another than the scope's finds nothing
	// MinDuration and MaxDuration bound how long it took, both inclusive.
	MinDuration, MaxDuration time.Duration
}

// idSlack is how far an entry's id, which has a time in it, may lie from the
// entry's own time. The id bounds what is read, the time decides.
const idSlack = time.Minute

func (f LedgerFilter) conditions(s claviger.Scope) (*where, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return nil, err
	}
	if !f.From.IsZero() {
		w.and("id >= ? AND at >= ?", idFloor(f.From.Add(-idSlack)), millis(f.From))
	}
	if !f.To.IsZero() {
		w.and("id < ? AND at < ?", idFloor(f.To.Add(idSlack)), millis(f.To))
	}
	w.equal("organization", string(f.Organization))
	w.equal("workspace", string(f.Workspace))
	w.equal("connection", string(f.Connection))
	w.equal("verb", string(f.Verb))
	w.equal("outcome", string(f.Outcome))
	w.equal("request_id", f.RequestID)
	for _, fact := range factsOf(&claviger.Entry{
		ActorKind: f.ActorKind, ActorID: f.ActorID, ResourceType: f.ResourceType, ResourceID: f.ResourceID, Connector: f.Connector,
		Host: f.Host, Code: f.Code, Address: f.Address, Usage: f.Usage, Slot: f.Slot, Action: f.Action,
	}) {
		if *fact.value != "" {
			// The one search for a part of a text that both engines name alike and
			// that minds capitals.
			w.and("replace(facts, ?, '') <> facts", factLine(fact.name, *fact.value))
		}
	}
	if f.StatusCode != 0 {
		w.and("status_code = ?", int64(f.StatusCode))
	}
	if f.MinDuration > 0 {
		w.and("duration >= ?", int64(f.MinDuration))
	}
	if f.MaxDuration > 0 {
		w.and("duration <= ?", int64(f.MaxDuration))
	}
	return w, nil
}

// idFloor answers the lowest entry id of a millisecond.
func idFloor(t time.Time) string {
	if t.UnixMilli() < 0 {
		return ""
	}
	id, err := claviger.NewID(claviger.PrefixEntry, t, bytes.NewReader(make([]byte, 10)))
	if err != nil {
		panic("store: ten bytes are there to be read")
	}
	return id
}

// Ledger lists the entries of a filter, newest first, from all regions.
func (db *DB) Ledger(ctx context.Context, s claviger.Scope, f LedgerFilter, page Page) ([]claviger.Entry, error) {
	w, err := f.conditions(s)
	if err != nil {
		return nil, err
	}
	page.tail(w, "id")
	return merged(ctx, db.databases(), page.limit(), func(a, b claviger.Entry) int { return cmp.Compare(b.ID, a.ID) },
		func(ctx context.Context, q querier) ([]claviger.Entry, error) {
			return many(ctx, q, scanEntry, "SELECT "+ledgerColumns+" FROM ledger WHERE "+w.text.String(), w.args...)
		})
}

// streamLimit bounds the streams of one database: nodes that ever were.
const streamLimit = 10000

// Streams answers the streams of a region's database, control's for "", by id. It
// takes no scope: it is for the verification of the ledger.
func (db *DB) Streams(ctx context.Context, region claviger.RegionID) ([]Stream, error) {
	d, err := db.place(region)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	return many(ctx, d.reader(), scanStream, "SELECT "+streamColumns+" FROM streams ORDER BY id LIMIT $1", int64(streamLimit))
}

// walkPage is how many rows a walk holds in memory.
const walkPage = 500

// WalkStream calls fn with the entries of a stream from a number on, in order,
// until fn fails or there are no more. It takes no scope: it is for the
// verification of the ledger. No statement is open while fn runs.
func (db *DB) WalkStream(ctx context.Context, region claviger.RegionID, stream string, from int64, fn func(claviger.Entry) error) error {
	return walk(ctx, db, region, scanEntry,
		"SELECT "+ledgerColumns+" FROM ledger WHERE sequence >= $1 AND stream = $3 ORDER BY sequence LIMIT $2", from,
		func(e claviger.Entry) int64 { return e.Sequence }, fn, stream)
}

// WalkCheckpoints calls fn with the checkpoints of a region's database from a
// number on, in order, until fn fails or there are no more.
func (db *DB) WalkCheckpoints(ctx context.Context, region claviger.RegionID, from int64, fn func(Checkpoint) error) error {
	return walk(ctx, db, region, scanCheckpoint,
		"SELECT "+checkpointColumns+" FROM checkpoints WHERE sequence >= $1 ORDER BY sequence LIMIT $2", from,
		func(c Checkpoint) int64 { return c.Sequence }, fn)
}

// walk reads page by page; the statement takes the first number as $1, the page's
// size as $2 and args from $3 on.
func walk[T any](ctx context.Context, db *DB, region claviger.RegionID, scan func(row) (T, error), statement string, from int64, number func(T) int64, fn func(T) error, args ...any) error {
	d, err := db.place(region)
	if err != nil {
		return err
	}
	for {
		part, err := readPage(ctx, d, scan, statement, append([]any{from, int64(walkPage)}, args...))
		if err != nil {
			return err
		}
		for _, v := range part {
			if err := fn(v); err != nil {
				return err
			}
			from = number(v) + 1
		}
		if len(part) < walkPage {
			return nil
		}
	}
}

func readPage[T any](ctx context.Context, d *database, scan func(row) (T, error), statement string, args []any) ([]T, error) {
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	return many(ctx, d.reader(), scan, statement, args...)
}
