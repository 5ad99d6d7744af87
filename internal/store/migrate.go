package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"claviger"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations reads NNNN_name.sql files in order, each one transaction. They only
// ever add, so that nodes of the version before keep running beside a newer one.
func migrations(files fs.FS, d *dialect) ([]*goose.Migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var out []*goose.Migration
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(path.Base(name), "_")
		version, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("store: migration %s has no number: %w", name, err)
		}
		script := d.words.Replace(string(text))
		out = append(out, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, script)
			return err
		}}, nil))
	}
	return out, nil
}

func gooseProvider(db *sql.DB, d *dialect) (*goose.Provider, error) {
	all, err := migrations(migrationFiles, d)
	if err != nil {
		return nil, err
	}
	options := []goose.ProviderOption{goose.WithGoMigrations(all...), goose.WithDisableGlobalRegistry(true)}
	engine := goose.DialectSQLite3
	if d.name == "postgres" {
		engine = goose.DialectPostgres
		// Nodes that start together take turns. SQLite's turns are lockFile's.
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120), lock.WithUnlockTimeout(1, 30))
		if err != nil {
			return nil, err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	return goose.NewProvider(engine, db, nil, options...)
}

// migrate brings the tables up to date, and refuses a database that a newer
// version has written.
func migrate(ctx context.Context, db *sql.DB, d *dialect) error {
	provider, err := gooseProvider(db, d)
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return translate(err)
	}
	current, known, err := provider.GetVersions(ctx)
	if err != nil {
		return translate(err)
	}
	if current > known {
		return claviger.Errorf(claviger.KindUnavailable, "database_newer",
			"The database was written by a newer version of claviger (schema %d, this version knows %d). Start that version or a later one.", current, known)
	}
	return nil
}

// migrated reports an error unless the database has the tables that this version
// knows, or those of a newer one beside which it may keep running.
func migrated(ctx context.Context, q querier, want int64) error {
	current, err := one(ctx, q, scanOne[int64], "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied")
	if err != nil {
		return err
	}
	if current < want {
		return claviger.Errorf(claviger.KindUnavailable, "database_behind", "The database has not been migrated (schema %d of %d). Restart claviger.", current, want)
	}
	return nil
}

// newestMigration answers the highest number among the embedded files.
func newestMigration() (int64, error) {
	all, err := migrations(migrationFiles, sqliteDialect())
	if err != nil || len(all) == 0 {
		return 0, fmt.Errorf("store: no migrations: %w", err)
	}
	return all[len(all)-1].Version, nil
}
