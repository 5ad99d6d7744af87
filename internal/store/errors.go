package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"claviger"
)

// What the callers of this package tell apart, with errors.Is.
var (
	// ErrNotFound: no such row within the scope, whoever else may have one.
	ErrNotFound = errors.New("store: not found")
	// ErrConflict: a rule of the data refuses it. The error is a [*Conflict],
	// which names the field.
	ErrConflict = errors.New("store: conflict")
	// ErrStale: somebody else changed the row first. [DB.InTx] repeats the
	// transaction before it lets this through.
	ErrStale = errors.New("store: changed by somebody else")
	// ErrNoScope: a method was called with the zero scope, which is a fault of
	// the program.
	ErrNoScope = errors.New("store: no scope")
)

// Conflict is an [ErrConflict] with the field that causes it: "name", "email",
// "clientId", ... for a value that is taken, "connections" for what cannot go
// while living connections need it, "status" for a state that is final.
type Conflict struct{ Field string }

// Error answers the text for a log.
func (c *Conflict) Error() string { return "store: conflict on " + c.Field }

// Is makes errors.Is(err, ErrConflict) true.
func (c *Conflict) Is(target error) bool { return target == ErrConflict }

// retryAfter is how long a caller should wait when the database is busy.
const retryAfter = time.Second

// translate turns an engine's error into one of this package's. Context errors
// pass through, so that a caller sees its own cancellation.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows), errors.Is(err, pgx.ErrNoRows):
		return ErrNotFound
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return translateSQLite(lite)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return translatePostgres(pg)
	}
	var known *claviger.Error
	if errors.As(err, &known) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || errors.Is(err, ErrStale) {
		return err
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) || pgconn.SafeToRetry(err) || errors.Is(err, sql.ErrConnDone) {
		return unavailable(err)
	}
	return fmt.Errorf("store: %w", err)
}

func unavailable(cause error) error {
	e := claviger.Errorf(claviger.KindUnavailable, "database_unavailable", "The database cannot answer now. Try again.")
	e.RetryAfter = retryAfter
	return e.With(cause)
}

func translateSQLite(err *sqlite.Error) error {
	switch err.Code() {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return &Conflict{Field: sqliteField(err.Error())}
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return ErrNotFound
	case sqlite3.SQLITE_INTERRUPT:
		return context.Canceled
	}
	switch err.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN:
		return unavailable(err)
	}
	return fmt.Errorf("store: %w", err)
}

// sqliteField reads the last column in "... failed: t.a, t.b (2067)": unique
// indexes are declared with the telling column last.
func sqliteField(text string) string {
	text, _, _ = strings.Cut(text, " (")
	return field(text[strings.LastIndexByte(text, '.')+1:])
}

func translatePostgres(err *pgconn.PgError) error {
	switch err.Code {
	case "23505": // unique_violation
		name := strings.TrimPrefix(err.ConstraintName, err.TableName+"_")
		if name == "pkey" {
			name = "id"
		}
		return &Conflict{Field: field(strings.TrimSuffix(name, "_unique"))}
	case "23503": // foreign_key_violation
		return ErrNotFound
	case "57014", "55P03", "25P03", "53300", "57P01", "57P02", "57P03":
		// query_canceled by statement_timeout, lock_not_available, idle in
		// transaction too long, too many connections, server going down or
		// coming up.
		return unavailable(err)
	}
	return fmt.Errorf("store: %w", err)
}

// field answers the public name of a column: camel case, and the canonical form
// of a name stands for the name.
func field(column string) string {
	if column == "canonical" {
		return "name"
	}
	var b strings.Builder
	for i, word := range strings.Split(column, "_") {
		if i > 0 && word != "" {
			word = strings.ToUpper(word[:1]) + word[1:]
		}
		b.WriteString(word)
	}
	return b.String()
}

// again reports whether repeating the whole transaction may succeed:
// serialization failure, deadlock, or a row that somebody else changed first.
func again(err error) bool {
	if errors.Is(err, ErrStale) {
		return true
	}
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}
