package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"claviger"
)

// The kinds of change that this package announces by itself. Ids are the rows',
// except for an API key, which nodes remember by its hash: there it is the hash in
// hexadecimal.
const (
	changeWorkspace   = "workspace"
	changeUser        = "user"
	changeApplication = "application"
	changeAPIKey      = "api_key"
	changeToken       = "token"
	changeConnector   = "connector"
	changeConnection  = "connection"
	changeSecret      = "secret"
	changeKeyset      = "keyset"
	changeSystem      = "system"
)

// AddChange tells all nodes, when the transaction commits, that what they remember
// of a row is stale. The changes of this package announce themselves; call it for
// what is kept elsewhere.
func (tx *Tx) AddChange(ctx context.Context, kind, id string) error {
	_, err := tx.exec(ctx, "INSERT INTO changes (kind, id, at) VALUES ($1, $2, $3)", kind, id, millis(tx.db.now()))
	return err
}

func addChanges[ID ~string](ctx context.Context, tx *Tx, kind string, ids []ID) error {
	for part := range slices.Chunk(ids, 64) {
		args := make([]any, 0, 3*len(part))
		for _, id := range part {
			args = append(args, kind, string(id), millis(tx.db.now()))
		}
		if _, err := tx.exec(ctx, tx.home.insert("INSERT INTO changes (kind, id, at)", len(part), 3, ""), args...); err != nil {
			return err
		}
	}
	return nil
}

// PurgeChanges forgets the announcements from before a time, in all databases.
// Keep at least ten minutes of them.
func (db *DB) PurgeChanges(ctx context.Context, before time.Time) error {
	for _, d := range db.databases() {
		err := db.InTx(ctx, d.region, func(tx *Tx) error {
			_, err := tx.exec(ctx, "DELETE FROM changes WHERE at < $1", millis(before))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ErrFlood is answered by [Feed.Next] when more changed than it reads at once. It
// has moved to the present; forget everything that is remembered.
var ErrFlood = errors.New("store: too many changes")

// feedLimit is how many new changes of one database a Feed answers at once.
const feedLimit = 5000

// Feed follows the changes that nodes announce.
//
// On PostgreSQL rows become visible in the order of their commits, which is not
// that of their numbers: a reader that asks for what is above the highest number
// it saw misses the transaction that took its number earlier and commits later. A
// Feed therefore reads again from the highest number that it saw two minutes ago
// by its own clock, longer than any transaction lasts, and answers each row once.
// A Feed is used by one goroutine.
type Feed struct {
	db      *DB
	cursors []*cursor
}

// cursor is where a feed stands in one database.
type cursor struct {
	at *database
	// settled: every number up to here has been answered or will never exist.
	settled int64
	seen    map[int64]time.Time // above settled: when it was first seen
}

// Follow begins a Feed at the present: what commits after it is answered.
func (db *DB) Follow(ctx context.Context) (*Feed, error) {
	f := &Feed{db: db}
	for _, d := range db.databases() {
		f.cursors = append(f.cursors, &cursor{at: d, seen: map[int64]time.Time{}})
	}
	return f, f.skip(ctx)
}

// skip moves every cursor to the present. What was visible before is remembered
// as seen, not as settled: a transaction with a lower number may still be open.
func (f *Feed) skip(ctx context.Context) error {
	for _, c := range f.cursors {
		top, err := one(ctx, c.at.reader(), scanOne[int64], "SELECT COALESCE(MAX(sequence), 0) FROM changes")
		if err != nil {
			return err
		}
		clear(c.seen)
		c.settled = top
		if c.at.settle > 0 {
			if err := c.remember(ctx, top, f.db.now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// remember steps back by as many numbers as a feed reads at once.
func (c *cursor) remember(ctx context.Context, top int64, now time.Time) error {
	c.settled = max(0, top-feedLimit)
	visible, err := many(ctx, c.at.reader(), scanOne[int64], "SELECT sequence FROM changes WHERE sequence > $1 AND sequence <= $2", c.settled, top)
	for _, sequence := range visible {
		c.seen[sequence] = now
	}
	return err
}

// Next answers what was announced since the last call, of control first and then
// of each region; Sequence counts within one database. See [ErrFlood].
func (f *Feed) Next(ctx context.Context) ([]claviger.Change, error) {
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	var out []claviger.Change
	for _, c := range f.cursors {
		part, err := c.next(ctx, f.db.now())
		if errors.Is(err, ErrFlood) {
			return nil, errors.Join(err, f.skip(ctx))
		}
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

func (c *cursor) next(ctx context.Context, now time.Time) ([]claviger.Change, error) {
	limit := feedLimit + len(c.seen)
	all, err := many(ctx, c.at.reader(), scanChange,
		"SELECT sequence, kind, id, at FROM changes WHERE sequence > $1 ORDER BY sequence LIMIT $2", c.settled, int64(limit+1))
	if err != nil {
		return nil, err
	}
	if len(all) > limit {
		return nil, ErrFlood
	}
	var fresh []claviger.Change
	for _, change := range all {
		if _, ok := c.seen[change.Sequence]; !ok {
			c.seen[change.Sequence] = now
			fresh = append(fresh, change)
		}
	}
	c.settle(now)
	return fresh, nil
}

// settle moves past the numbers that were first seen long enough ago: whoever took
// a lower one had begun by then, and has ended since.
func (c *cursor) settle(now time.Time) {
	for sequence, at := range c.seen {
		if now.Sub(at) >= c.at.settle {
			c.settled = max(c.settled, sequence)
		}
	}
	for sequence := range c.seen {
		if sequence <= c.settled {
			delete(c.seen, sequence)
		}
	}
}

func scanChange(r row) (claviger.Change, error) {
	var c claviger.Change
	var at int64
	err := r.Scan(&c.Sequence, &c.Kind, &c.ID, &at)
	c.At = fromMillis(at)
	return c, err
}
