package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"claviger"
)

// SQLite: one connection writes, a pool of others reads. A second writer would
// only wait for the first, and a reader that may write could become one.
const (
	sqliteReaders = 4
	// busy_timeout is how long a lock of another process (a backup) is waited for.
	sqlitePragmas = "_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=cache_size(-16384)&_pragma=trusted_schema(0)"
	// secure_delete overwrites a destroyed ciphertext with zeros; a write
	// transaction takes its lock at once, or two that first read would both fail.
	sqliteWriter = "?" + sqlitePragmas + "&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=secure_delete(1)&_pragma=journal_size_limit(67108864)&_txlock=immediate"
	sqliteReader = "?mode=ro&" + sqlitePragmas + "&_pragma=query_only(1)"
)

func sqliteDialect() *dialect {
	return &dialect{
		name:  "sqlite",
		words: strings.NewReplacer("{text}", "TEXT", "{bytes}", "BLOB", "{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT", "{clustered}", " WITHOUT ROWID"),
	}
}

// sqliteEngine is one database file.
type sqliteEngine struct {
	writer  *sqliteWriterConn
	readers *sqlitePool
}

func (e *sqliteEngine) reader() querier { return e.readers }

func (e *sqliteEngine) begin(ctx context.Context) (transaction, error) { return e.writer.begin(ctx) }

func (e *sqliteEngine) close() error { return errors.Join(e.readers.close(), e.writer.close()) }

// openSQLite checks, opens and migrates the file, making it (mode 0600) if it is
// not there. Processes that open one file at the same moment take turns.
func openSQLite(ctx context.Context, path string) (*sqliteEngine, error) {
	path, err := sqlitePath(path)
	if err != nil {
		return nil, err
	}
	unlock, err := lockFile(ctx, path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := admitFile(ctx, path); err != nil {
		return nil, err
	}
	writer, err := openWriter(ctx, path)
	if err != nil {
		return nil, explain(path, err)
	}
	readers, err := openPool(path, sqliteReader, sqliteReaders)
	if err != nil {
		_ = writer.close()
		return nil, err
	}
	return &sqliteEngine{writer: writer, readers: readers}, nil
}

func sqlitePath(path string) (string, error) {
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return "", claviger.Invalid("database.url", "invalid_database_url", "The database URL names no file. Use sqlite:PATH.")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", claviger.Invalid("database.url", "invalid_database_url", "The database URL names no file. Use sqlite:PATH.").With(err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return "", claviger.Invalid("database.url", "invalid_database_url", "The folder of the database file %s does not exist. Create it first.", path).With(err)
	}
	return path, nil
}

// sqliteURI writes a path as the file: URI that SQLite reads.
func sqliteURI(path, query string) string {
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path) + query
}

// lockFile waits for the turn to check and migrate the database. The lock is
// SQLite's own on an empty file beside it: it works between processes on every
// system and goes away with the process that holds it.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	if err := createPrivate(path + ".lock"); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, unusable(path, err)
	}
	db, err := sql.Open("sqlite", sqliteURI(path+".lock", "?_pragma=busy_timeout(30000)&_txlock=exclusive"))
	if err != nil {
		return nil, unusable(path, err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		_ = db.Close()
		return nil, claviger.Errorf(claviger.KindUnavailable, "database_locked",
			"Another process has been opening the database %s for too long. Stop it, then start again.", path).With(err)
	}
	return func() { _ = tx.Rollback(); _ = db.Close() }, nil
}

func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// explain names the file in an error of the first statements on it.
func explain(path string, err error) error {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return damaged(path, err)
		case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
			return unusable(path, err)
		}
	}
	return err
}

func unusable(path string, cause error) error {
	return claviger.Errorf(claviger.KindUnavailable, "database_unusable",
		"The database file %s cannot be opened. Check that the file and its folder belong to the user that runs claviger.", path).With(cause)
}

func damaged(path string, cause error) error {
	return claviger.Errorf(claviger.KindUnavailable, "database_damaged",
		"The database file %s is damaged. Nothing was changed. Stop claviger, keep a copy of the file with its -wal and -shm, and restore a backup.", path).With(cause)
}

// admitFile makes the file if there is none, and refuses one that is damaged
// before anything can write to it, a recovery of its log included.
func admitFile(ctx context.Context, path string) error {
	err := createPrivate(path)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return unusable(path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return unusable(path, err)
	}
	info, err := f.Stat()
	_ = f.Close()
	if err != nil {
		return unusable(path, err)
	}
	if info.Size() == 0 {
		return claviger.Errorf(claviger.KindUnavailable, "database_damaged",
			"The database file %s is empty. If it held data, restore a backup; if it never did, delete it and start again.", path)
	}
	return quickCheck(ctx, path)
}

func quickCheck(ctx context.Context, path string) error {
	pool, err := openPool(path, sqliteReader, 1)
	if err != nil {
		return err
	}
	defer pool.close() //nolint:errcheck // it only read
	found, err := many(ctx, pool, scanOne[string], "PRAGMA quick_check(1)")
	if err != nil {
		return explain(path, err)
	}
	if len(found) != 1 || found[0] != "ok" {
		return damaged(path, fmt.Errorf("quick_check: %v", found))
	}
	return nil
}
