package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
)

// The job engine speaks to *sql.DB and *sql.Tx, while one connection writes here that
// begins and ends its transactions itself. queueConnector is a driver of database/sql
// in between: it has no connection of its own, but runs each transaction, and each
// statement outside of one, as a transaction of the writer, with its turn and its
// prepared statements.

// queueConnector makes such connections: to the writer, or within one transaction.
type queueConnector struct {
	writer *sqliteWriterConn
	lent   *sqliteTx // not nil: everything happens in this transaction
}

// Connect answers a connection; it costs nothing.
func (c queueConnector) Connect(context.Context) (driver.Conn, error) {
	return &queueConn{writer: c.writer, tx: c.lent, lent: c.lent != nil}, nil
}

// Driver is asked by nobody but must be there.
func (c queueConnector) Driver() driver.Driver { return queueDriver{} }

type queueDriver struct{}

var errQueueUse = errors.New("store: the queue's connection does not do this")

// Open refuses: there is no way in by name.
func (queueDriver) Open(string) (driver.Conn, error) { return nil, errQueueUse }

// queueConn is used by one goroutine at a time, as database/sql promises.
type queueConn struct {
	writer *sqliteWriterConn
	tx     *sqliteTx // nil: each statement is a transaction
	lent   bool
}

// Prepare refuses; the writer prepares what is used.
func (c *queueConn) Prepare(string) (driver.Stmt, error) { return nil, errQueueUse }

// Begin is BeginTx without a context.
func (c *queueConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx takes the writer's turn, or joins the transaction that is lent.
func (c *queueConn) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	if c.lent {
		return lentTx{}, nil
	}
	if c.tx != nil {
		return nil, errQueueUse
	}
	tx, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	c.tx = tx
	return ownTx{c}, nil
}

func (c *queueConn) begin(ctx context.Context) (*sqliteTx, error) {
	t, err := c.writer.begin(ctx)
	if err != nil {
		return nil, err
	}
	tx, ok := t.(*sqliteTx)
	if !ok {
		t.rollback()
		return nil, errQueueUse
	}
	return tx, nil
}

// Close rolls back what was left open.
func (c *queueConn) Close() error {
	if c.tx != nil && !c.lent {
		c.tx.rollback()
		c.tx = nil
	}
	return nil
}

// ExecContext runs a statement, in a transaction of its own if there is none.
func (c *queueConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	values, err := positional(args)
	if err != nil {
		return nil, err
	}
	if c.tx != nil {
		n, err := c.tx.exec(ctx, query, values)
		return driver.RowsAffected(n), err
	}
	tx, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.rollback()
	n, err := tx.exec(ctx, query, values)
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(n), tx.commit(context.WithoutCancel(ctx))
}

// QueryContext is the same for a statement that answers rows. They are read at once:
// the writer's turn must not depend on how fast somebody reads.
func (c *queueConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	values, err := positional(args)
	if err != nil {
		return nil, err
	}
	if c.tx != nil {
		return readAll(ctx, c.tx, query, values)
	}
	tx, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.rollback()
	all, err := readAll(ctx, tx, query, values)
	if err != nil {
		return nil, err
	}
	return all, tx.commit(context.WithoutCancel(ctx))
}

// positional answers the values in their order. The engine numbers its parameters.
func positional(args []driver.NamedValue) ([]any, error) {
	out := make([]any, len(args))
	for i, a := range args {
		if a.Name != "" || a.Ordinal != i+1 {
			return nil, errQueueUse
		}
		out[i] = a.Value
	}
	return out, nil
}

func readAll(ctx context.Context, tx *sqliteTx, query string, args []any) (*queueRows, error) {
	rs, err := tx.query(context.WithoutCancel(ctx), query, args)
	if err != nil {
		return nil, err
	}
	defer rs.Close() //nolint:errcheck // Err below has the fault
	all, ok := rs.(*sqliteTxRows)
	if !ok {
		return nil, errQueueUse
	}
	out := &queueRows{}
	if out.columns, err = all.Columns(); err != nil {
		return nil, err
	}
	for all.Next() {
		values, into := make([]any, len(out.columns)), make([]any, len(out.columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := all.Scan(into...); err != nil {
			return nil, err
		}
		out.rows = append(out.rows, values)
	}
	return out, all.Err()
}

// queueRows are rows that have been read.
type queueRows struct {
	columns []string
	rows    [][]any
}

// Columns answers their names.
func (r *queueRows) Columns() []string { return r.columns }

// Close forgets what was not read.
func (r *queueRows) Close() error { r.rows = nil; return nil }

// Next answers the next row.
func (r *queueRows) Next(dest []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	for i, v := range r.rows[0] {
		dest[i] = v
	}
	r.rows = r.rows[1:]
	return nil
}

// ownTx ends a transaction that the connection began.
type ownTx struct{ conn *queueConn }

// Commit ends it and gives the turn back.
func (t ownTx) Commit() error {
	tx := t.conn.tx
	t.conn.tx = nil
	err := tx.commit(context.Background())
	tx.rollback() // after a commit that failed
	return err
}

// Rollback undoes it and gives the turn back.
func (t ownTx) Rollback() error {
	t.conn.tx.rollback()
	t.conn.tx = nil
	return nil
}

// lentTx ends nothing: its owner will.
type lentTx struct{}

// Commit leaves the end to the owner.
func (lentTx) Commit() error { return nil }

// Rollback leaves the end to the owner, whose function answers the error.
func (lentTx) Rollback() error { return nil }

// lendSQLite shows a transaction of the writer as a *sql.Tx.
func lendSQLite(ctx context.Context, tx *sqliteTx, fn func(*sql.Tx) error) error {
	db := sql.OpenDB(queueConnector{writer: tx.writer, lent: tx})
	defer db.Close() //nolint:errcheck // it holds nothing
	lent, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return err
	}
	defer lent.Rollback() //nolint:errcheck // ends nothing
	if err := fn(lent); err != nil {
		return translate(err)
	}
	return lent.Commit()
}
