package store

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"claviger"
)

// row is one row of an answer.
type row interface{ Scan(dest ...any) error }

// rows is an answer that is read row by row and closed.
type rows interface {
	row
	Next() bool
	Err() error
	Close() error
}

// querier runs statements: a pool or a transaction of either engine.
type querier interface {
	exec(ctx context.Context, statement string, args []any) (int64, error)
	query(ctx context.Context, statement string, args []any) (rows, error)
}

// transaction is a querier that ends. rollback after commit does nothing.
type transaction interface {
	querier
	commit(ctx context.Context) error
	rollback()
}

// copier is a transaction that takes many rows in one go, where the engine has a
// way cheaper than INSERT. next answers false after the last row.
type copier interface {
	copyRows(ctx context.Context, table string, columns []string, next func() ([]any, bool)) error
}

// engine is one open database. reader must not be used to change anything; on
// SQLite it cannot.
type engine interface {
	reader() querier
	begin(ctx context.Context) (transaction, error)
	close() error
}

// dialect is all that differs between the engines.
type dialect struct {
	name string
	// words are the engine's for the marks in the migrations.
	words *strings.Replacer
	// lock, at the end of a SELECT, keeps others from changing the row until the
	// transaction ends. It leaves foreign keys to the row alone.
	lock string
	// keep, at the end of a SELECT, only keeps the row from being deleted.
	keep string
	// shareKey and holdKey lock a number for the transaction, shared with others
	// or alone. Empty where one transaction writes at a time anyway.
	shareKey, holdKey string
	// numbered: parameters of a generated statement are $n, else ?.
	numbered bool
	// clock, a statement, answers the database's own time in milliseconds. Empty where
	// the database has none but the process's.
	clock string
	// settle is how long a row of a sequence may become visible after one of a
	// higher number; zero where numbers become visible in order.
	settle time.Duration
}

// readDeadline and txDeadline bound what a caller's context does not.
const (
	readDeadline = 15 * time.Second
	txDeadline   = 30 * time.Second
)

// bounded gives a context that ends.
func bounded(ctx context.Context, longest time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, longest)
}

// one answers the first row, or ErrNotFound.
func one[T any](ctx context.Context, q querier, scan func(row) (T, error), statement string, args ...any) (T, error) {
	var zero T
	all, err := many(ctx, q, scan, statement, args...)
	if err != nil {
		return zero, err
	}
	if len(all) == 0 {
		return zero, ErrNotFound
	}
	return all[0], nil
}

// many answers all rows; statements carry their own LIMIT.
func many[T any](ctx context.Context, q querier, scan func(row) (T, error), statement string, args ...any) ([]T, error) {
	if err := checkText(args); err != nil {
		return nil, err
	}
	rs, err := q.query(ctx, statement, args)
	if err != nil {
		return nil, translate(err)
	}
	defer rs.Close() //nolint:errcheck // Err below has the fault; Close again is free
	var out []T
	for rs.Next() {
		v, err := scan(rs)
		if err != nil {
			return nil, translate(err)
		}
		out = append(out, v)
	}
	if err := rs.Err(); err != nil {
		return nil, translate(err)
	}
	if err := rs.Close(); err != nil {
		return nil, translate(err)
	}
	return out, nil
}

// exec runs a statement and answers the number of rows it touched.
func exec(ctx context.Context, q querier, statement string, args ...any) (int64, error) {
	if err := checkText(args); err != nil {
		return 0, err
	}
	n, err := q.exec(ctx, statement, args)
	return n, translate(err)
}

// mustTouch is exec for a statement that changes one row or finds none.
func mustTouch(ctx context.Context, q querier, none error, statement string, args ...any) error {
	n, err := exec(ctx, q, statement, args...)
	if err == nil && n == 0 {
		return none
	}
	return err
}

// checkText refuses what PostgreSQL cannot keep in a text and SQLite would keep
// differently: a NUL byte, or bytes that are no UTF-8.
func checkText(args []any) error {
	for _, a := range args {
		if s, ok := a.(string); ok && !storable(s) {
			return claviger.Errorf(claviger.KindInvalid, "invalid_text", "A text holds a NUL character or is not UTF-8. Remove it and try again.")
		}
	}
	return nil
}

func storable(s string) bool { return strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) }

// scanOne reads a row of one column.
func scanOne[T any](r row) (v T, err error) { err = r.Scan(&v); return v, err }

// where collects conditions joined by AND, with ? for a parameter.
type where struct {
	text strings.Builder
	args []any
}

func (w *where) and(condition string, args ...any) {
	if w.text.Len() > 0 {
		w.text.WriteString(" AND ")
	}
	w.raw(condition, args...)
}

// raw appends text, each ? becoming the next $n.
func (w *where) raw(text string, args ...any) {
	for _, c := range []byte(text) {
		if c != '?' {
			w.text.WriteByte(c)
			continue
		}
		w.args = append(w.args, args[0])
		args = args[1:]
		writeParameter(&w.text, len(w.args))
	}
}

// equal adds column = value unless the value is empty, which asks for nothing.
func (w *where) equal(column, value string) {
	if value != "" {
		w.and(column+" = ?", value)
	}
}

func writeParameter(b *strings.Builder, n int) {
	b.WriteByte('$')
	var digits [20]byte
	i := len(digits)
	for ; n > 0; n /= 10 {
		i--
		digits[i] = byte('0' + n%10)
	}
	b.Write(digits[i:])
}

// insert answers "prefix VALUES (..),(..) suffix" for so many rows.
func (d *dialect) insert(prefix string, rowCount, columns int, suffix string) string {
	var b strings.Builder
	b.WriteString(prefix)
	b.WriteString(" VALUES ")
	for r := range rowCount {
		if r > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for c := range columns {
			if c > 0 {
				b.WriteByte(',')
			}
			if d.numbered {
				writeParameter(&b, r*columns+c+1)
			} else {
				// SQLite looks a numbered parameter up in a list, which costs
				// the square of their number.
				b.WriteByte('?')
			}
		}
		b.WriteByte(')')
	}
	b.WriteString(suffix)
	return b.String()
}
