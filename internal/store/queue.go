package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"claviger"
)

// QueueDB is one database as the job queue sees it: exactly one member is set. It
// exists for package jobs alone, whose engine brings its own statements.
type QueueDB struct {
	// Place is the region to give to [DB.InTx], "" for control.
	Place claviger.RegionID
	// Postgres is the node's own pool.
	Postgres *pgxpool.Pool
	// SQLite runs everything on the store's one writing connection and waits for its
	// turn there: a second writer would only wait for the first, and unfairly.
	SQLite *sql.DB
}

// QueueDBs answers every open database once, control first. Close what is SQLite
// before the store.
func (db *DB) QueueDBs() []QueueDB {
	var out []QueueDB
	for _, d := range db.databases() {
		q := QueueDB{}
		if d != db.control {
			q.Place = d.region
		}
		switch e := d.engine.(type) {
		case *postgresEngine:
			q.Postgres = e.pool
		case *sqliteEngine:
			q.SQLite = sql.OpenDB(queueConnector{writer: e.writer})
			// One at a time: they share one connection anyway, and a second one
			// that waits for its turn would hold nothing but memory.
			q.SQLite.SetMaxOpenConns(1)
		}
		out = append(out, q)
	}
	return out
}

// QueueTx is a transaction as the job queue sees it: exactly one member is set, and
// neither can end it.
type QueueTx struct {
	Place    claviger.RegionID
	Postgres pgx.Tx
	SQLite   *sql.Tx
}

// Queue lends the transaction to the job queue for the length of fn, so that a job is
// there if and only if the change that wants it is. For package jobs alone.
func (tx *Tx) Queue(ctx context.Context, fn func(QueueTx) error) error {
	place := claviger.RegionID("")
	if tx.home != tx.db.control {
		place = tx.home.region
	}
	switch q := tx.q.(type) {
	case *postgresTx:
		return translate(fn(QueueTx{Place: place, Postgres: q.tx}))
	case *sqliteTx:
		return lendSQLite(ctx, q, func(lent *sql.Tx) error { return fn(QueueTx{Place: place, SQLite: lent}) })
	}
	return errors.New("store: a transaction of no known engine")
}

// queueLock is the advisory lock under which nodes that start together bring the
// queue's tables up to date, one after the other.
const queueLock = 0x636c765f71756575

// migrateQueuePostgres brings the job engine's own tables up to date.
func migrateQueuePostgres(ctx context.Context, pool *pgxpool.Pool) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return err
	}
	if done, err := migrator.Validate(ctx, nil); err == nil && done.OK {
		return nil
	}
	// One version for each transaction: PostgreSQL does not let the transaction that
	// adds a value to an enumeration use it.
	for applied := 1; applied > 0; {
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(queueLock)); err != nil {
				return err
			}
			//lint:ignore SA1019 the lock and the migration belong together, and it is one version at a time
			result, err := migrator.MigrateTx(ctx, tx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{MaxSteps: 1})
			if err == nil {
				applied = len(result.Versions)
			}
			return err
		})
		if err != nil {
			return translate(err)
		}
	}
	return nil
}

// migrateQueueSQLite is the same for a SQLite file, whose turn lockFile has taken.
func migrateQueueSQLite(ctx context.Context, db *sql.DB) error {
	migrator, err := rivermigrate.New(riversqlite.New(db), nil)
	if err != nil {
		return err
	}
	if done, err := migrator.Validate(ctx, nil); err == nil && done.OK {
		return nil
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	return compact(ctx, db)
}

// smallFile is how many pages of 4 KiB are rewritten in passing.
const smallFile = 2048

// compact takes out the free pages that the engine's migrations leave at the end of a
// new file: nothing checks them, so that a file cut there would pass for a whole one.
func compact(ctx context.Context, db *sql.DB) error {
	var pages, free int64
	if err := db.QueryRowContext(ctx, "SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count").Scan(&pages, &free); err != nil {
		return err
	}
	if free == 0 || pages > smallFile {
		return nil
	}
	_, err := db.ExecContext(ctx, "VACUUM")
	return err
}
