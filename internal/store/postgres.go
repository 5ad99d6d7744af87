package store

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"claviger"
)

// postgresConnections is the size of a node's pool unless the URL sets
// pool_max_conns.
const postgresConnections = 16

func postgresDialect() *dialect {
	return &dialect{
		name: "postgres",
		// Texts compare by their bytes, as on SQLite: ids are ordered by time
		// only then, and a locale may change under an index.
		words:    strings.NewReplacer("{text}", `TEXT COLLATE "C"`, "{bytes}", "BYTEA", "{serial}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "{clustered}", ""),
		lock:     " FOR NO KEY UPDATE",
		keep:     " FOR KEY SHARE",
		shareKey: "SELECT pg_advisory_xact_lock_shared($1)",
		holdKey:  "SELECT pg_advisory_xact_lock($1)",
		numbered: true,
		clock:    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
		settle:   2 * time.Minute,
	}
}

// postgresEngine is one PostgreSQL database by a native pgx pool.
type postgresEngine struct{ pool *pgxpool.Pool }

// openPostgres connects and migrates. Deadlines are set on the server too, so that
// a node that hangs cannot hold a lock for ever; the URL's own settings win.
func openPostgres(ctx context.Context, url string) (*postgresEngine, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, claviger.Invalid("database.url", "invalid_database_url", "The database URL cannot be read. Use postgres://USER:PASSWORD@HOST:PORT/DATABASE.").With(err)
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = postgresConnections
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	// Before the deadlines are set: a migration may take its time.
	migrations := stdlib.OpenDB(*config.ConnConfig)
	defer migrations.Close() //nolint:errcheck // every statement on it has answered
	if err := migrate(ctx, migrations, postgresDialect()); err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"application_name":                    "claviger",
		"statement_timeout":                   "30000",
		"lock_timeout":                        "10000",
		"idle_in_transaction_session_timeout": "30000",
	} {
		if _, set := config.ConnConfig.RuntimeParams[name]; !set {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, unavailable(err)
	}
	if err := migrateQueuePostgres(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return &postgresEngine{pool: pool}, nil
}

func (e *postgresEngine) reader() querier { return postgresQuerier{e.pool} }

// begin opens a transaction at READ COMMITTED: what must not change under it is
// locked by name, and everything else is compared when it is written.
func (e *postgresEngine) begin(ctx context.Context) (transaction, error) {
	tx, err := e.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return nil, err
	}
	return &postgresTx{postgresQuerier{tx}, tx}, nil
}

func (e *postgresEngine) close() error {
	e.pool.Close()
	return nil
}

// pgxRunner is what a pool and a transaction of pgx have in common.
type pgxRunner interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

type postgresQuerier struct{ runner pgxRunner }

func (q postgresQuerier) exec(ctx context.Context, statement string, args []any) (int64, error) {
	tag, err := q.runner.Exec(ctx, statement, args...)
	return tag.RowsAffected(), err
}

func (q postgresQuerier) query(ctx context.Context, statement string, args []any) (rows, error) {
	rs, err := q.runner.Query(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	return postgresRows{rs}, nil
}

// postgresRows closes as *sql.Rows does, with the fault that reading met.
type postgresRows struct{ pgx.Rows }

// Close ends the reading.
func (r postgresRows) Close() error {
	r.Rows.Close()
	return r.Err()
}

type postgresTx struct {
	postgresQuerier
	tx pgx.Tx
}

// copyRows is COPY, which costs half of what an INSERT of the same rows does.
func (t *postgresTx) copyRows(ctx context.Context, table string, columns []string, next func() ([]any, bool)) error {
	var refused error
	_, err := t.tx.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		values, more := next()
		if !more {
			return nil, nil
		}
		refused = checkText(values)
		return values, refused
	}))
	if refused != nil {
		return refused // err has only the server's echo of it
	}
	return err
}

func (t *postgresTx) commit(ctx context.Context) error { return t.tx.Commit(ctx) }

// rollback has a context of its own: the caller's may be what ended.
func (t *postgresTx) rollback() {
	ctx, cancel := context.WithTimeout(context.Background(), readDeadline)
	defer cancel()
	_ = t.tx.Rollback(ctx)
}
