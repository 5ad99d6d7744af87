package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"claviger"
)

// inspectDeadline bounds a look at a database.
const inspectDeadline = 10 * time.Second

// Inspect answers the schema that a database has and the one that this version knows. It
// changes nothing: a database that is not there, or empty, is ErrNotFound, and not made.
func Inspect(ctx context.Context, url string) (applied, known int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, inspectDeadline)
	defer cancel()
	if known, err = newestMigration(); err != nil {
		return 0, 0, err
	}
	const question = "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied"
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		if path, err = sqlitePath(path); err != nil {
			return 0, known, err
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return 0, known, ErrNotFound
		}
		pool, err := openPool(path, sqliteReader, 1)
		if err != nil {
			return 0, known, err
		}
		defer pool.close() //nolint:errcheck // it only read
		applied, err = one(ctx, pool, scanOne[int64], question)
		return applied, known, explain(path, err)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return 0, known, claviger.Invalid("database.url", "invalid_database_url", "The database URL cannot be read. Use sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE.").With(err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return 0, known, unavailable(err)
	}
	defer pool.Close()
	applied, err = one(ctx, postgresQuerier{pool}, scanOne[int64], question)
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && refusal.Code == "42P01" { // undefined_table: nothing was ever here
		return 0, known, ErrNotFound
	}
	return applied, known, err
}
