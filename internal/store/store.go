package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"claviger"
)

// Config says where the databases are.
type Config struct {
	// URL is the control database: sqlite:PATH or postgres://...
	URL string
	// Regions are the databases of the regions; an empty URL is the control
	// database's. Without any there is one, [claviger.DefaultRegion], in it.
	Regions map[claviger.RegionID]string
	// Now is the clock.
	Now func() time.Time
}

// DB is the open databases: control and one for each region, which may be the
// same. It is safe for concurrent use.
type DB struct {
	control *database
	regions map[claviger.RegionID]*database
	// order lists the regions by id; distinct the databases they live in, once
	// each, control first if it is one of them.
	order    []claviger.RegionID
	distinct []*database
	schema   int64
	now      func() time.Time
}

// database is one open database and the first of the regions in it.
type database struct {
	engine
	*dialect
	region claviger.RegionID
	// appends are the statements that add ledger entries, by their number, where
	// there is no copier.
	appends map[int]string
}

// Open opens and migrates all databases. A SQLite file that is not there is made,
// with mode 0600; one that is damaged is refused and left as it is
// ("database_damaged"), as is a database that a newer version wrote
// ("database_newer"). Several processes may open the same database at once.
func Open(ctx context.Context, c Config) (*DB, error) {
	schema, err := newestMigration()
	if err != nil {
		return nil, err
	}
	db := &DB{regions: map[claviger.RegionID]*database{}, schema: schema, now: c.Now}
	if db.control, err = openDatabase(ctx, c.URL); err != nil {
		return nil, err
	}
	opened := map[string]*database{c.URL: db.control, "": db.control}
	regions := c.Regions
	if len(regions) == 0 {
		regions = map[claviger.RegionID]string{claviger.DefaultRegion: ""}
	}
	for id := range regions {
		db.order = append(db.order, id)
	}
	slices.Sort(db.order)
	for _, id := range db.order {
		url := regions[id]
		if opened[url] == nil {
			if opened[url], err = openDatabase(ctx, url); err != nil {
				return nil, errors.Join(err, db.Close())
			}
		}
		d := opened[url]
		d.region = cmp.Or(d.region, id)
		db.regions[id] = d
		if !slices.Contains(db.distinct, d) {
			db.distinct = append(db.distinct, d)
		}
	}
	return db, nil
}

func openDatabase(ctx context.Context, url string) (*database, error) {
	d := &database{}
	switch {
	case strings.HasPrefix(url, "sqlite:"):
		e, err := openSQLite(ctx, strings.TrimPrefix(url, "sqlite:"))
		if err != nil {
			return nil, err
		}
		d.engine, d.dialect = e, sqliteDialect()
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		e, err := openPostgres(ctx, url)
		if err != nil {
			return nil, err
		}
		d.engine, d.dialect = e, postgresDialect()
	default:
		return nil, claviger.Invalid("database.url", "invalid_database_url", "The database URL begins with neither sqlite: nor postgres://.")
	}
	d.appends = ledgerInserts()
	return d, nil
}

// databases answers every open database once, control first.
func (db *DB) databases() []*database {
	out := []*database{db.control}
	for _, d := range db.distinct {
		if d != db.control {
			out = append(out, d)
		}
	}
	return out
}

// Close waits for the running transactions and closes everything.
func (db *DB) Close() error {
	var all []error
	for _, d := range db.databases() {
		all = append(all, d.close())
	}
	return errors.Join(all...)
}

// Ready reports whether every database answers and has the tables that this
// version needs.
func (db *DB) Ready(ctx context.Context) error {
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	for _, d := range db.databases() {
		if err := migrated(ctx, d.reader(), db.schema); err != nil {
			return err
		}
	}
	return nil
}

// Engine answers the control database's: "sqlite" or "postgres".
func (db *DB) Engine() string { return db.control.name }

// Regions answers the configured regions, by id.
func (db *DB) Regions() []claviger.RegionID { return slices.Clone(db.order) }

// place answers the database of a region, control's for "".
func (db *DB) place(region claviger.RegionID) (*database, error) {
	if region == "" {
		return db.control, nil
	}
	if d := db.regions[region]; d != nil {
		return d, nil
	}
	return nil, claviger.Invalid("region", "unknown_region", "There is no such region. Use one that the operator has configured.")
}

// Tx is a transaction in one database. It is used by one goroutine and ends with
// the function it was given to; after a failed statement it can only end.
type Tx struct {
	db     *DB
	home   *database
	q      transaction
	linked []transaction // read in other databases, to be ended after this one
}

// The patience of InTx with transactions that got in each other's way.
const (
	attempts     = 10
	firstBackoff = 2 * time.Millisecond
)

// InTx runs fn in a transaction of the region's database, control's for region "",
// and commits if fn answers nil. fn may run again, from the start, after a
// deadlock, a serialization failure or [ErrStale]: it must have no effects of its
// own. A transaction lasts 30 seconds at most. fn must not call InTx: on SQLite
// one transaction writes at a time.
func (db *DB) InTx(ctx context.Context, region claviger.RegionID, fn func(*Tx) error) error {
	d, err := db.place(region)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, txDeadline)
	defer cancel()
	for attempt := time.Duration(1); ; attempt++ {
		err = db.attempt(ctx, d, fn)
		if !again(err) || attempt == attempts {
			return err
		}
		pause := time.NewTimer(attempt * attempt * firstBackoff)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

func (db *DB) attempt(ctx context.Context, d *database, fn func(*Tx) error) error {
	q, err := d.begin(ctx)
	if err != nil {
		return translate(err)
	}
	tx := &Tx{db: db, home: d, q: q}
	defer tx.end() // also when fn panics
	if err := fn(tx); err != nil {
		return err
	}
	return translate(q.commit(ctx))
}

// end rolls back what is not committed, the own database first: whoever waits for
// a lock in another one then sees what this transaction did.
func (tx *Tx) end() {
	tx.q.rollback()
	for _, l := range tx.linked {
		l.rollback()
	}
}

// in answers what runs statements in a database: this transaction if it is its
// own, else the database's reader.
func (tx *Tx) in(d *database) querier {
	if d == tx.home {
		return tx.q
	}
	return d.reader()
}

// exec runs a statement in the transaction.
func (tx *Tx) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	return exec(ctx, tx.q, statement, args...)
}

// inRegions runs read in the regions' databases in order and answers the first
// result that is found.
func inRegions[T any](ctx context.Context, db *DB, read func(context.Context, *database) (T, error)) (T, error) {
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	var v T
	err := ErrNotFound
	for _, d := range db.distinct {
		if v, err = read(ctx, d); !errors.Is(err, ErrNotFound) {
			return v, err
		}
	}
	return v, err
}

// merged runs a list in several databases and puts the answers together, in the
// order of compare, cut to limit.
func merged[T any](ctx context.Context, in []*database, limit int64, compare func(a, b T) int, list func(context.Context, querier) ([]T, error)) ([]T, error) {
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	var out []T
	for _, d := range in {
		part, err := list(ctx, d.reader())
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	if len(in) > 1 {
		slices.SortFunc(out, compare)
	}
	return out[:min(len(out), int(limit))], nil
}

// fromControl answers one row of the control database.
func fromControl[T any](ctx context.Context, db *DB, scan func(row) (T, error), statement string, args ...any) (T, error) {
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	return one(ctx, db.control.reader(), scan, statement, args...)
}

// listControl answers rows of the control database.
func listControl[T any](ctx context.Context, db *DB, scan func(row) (T, error), statement string, args ...any) ([]T, error) {
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	return many(ctx, db.control.reader(), scan, statement, args...)
}
