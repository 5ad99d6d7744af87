package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
)

// statementCache bounds the prepared statements of one pool. All fixed ones fit;
// lists with unusual filters beyond it are prepared each time.
const statementCache = 256

// sqlitePool reads, with its prepared statements: preparing costs several times
// what running does.
type sqlitePool struct {
	db         *sql.DB
	mu         sync.Mutex
	statements map[string]*sql.Stmt
}

func openPool(path, query string, connections int) (*sqlitePool, error) {
	db, err := sql.Open("sqlite", sqliteURI(path, query))
	if err != nil {
		return nil, unusable(path, err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return &sqlitePool{db: db, statements: map[string]*sql.Stmt{}}, nil
}

// statement answers the prepared form, or nil if the cache is full.
func (p *sqlitePool) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	p.mu.Lock()
	s, full := p.statements[text], len(p.statements) >= statementCache
	p.mu.Unlock()
	if s != nil || full {
		return s, nil
	}
	s, err := p.db.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if first := p.statements[text]; first != nil {
		_ = s.Close()
		return first, nil
	}
	p.statements[text] = s
	return s, nil
}

func (p *sqlitePool) exec(context.Context, string, []any) (int64, error) {
	return 0, errors.New("store: a change outside of a transaction")
}

func (p *sqlitePool) query(ctx context.Context, statement string, args []any) (rows, error) {
	s, err := p.statement(ctx, statement)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return p.db.QueryContext(ctx, statement, args...)
	}
	return s.QueryContext(ctx, args...)
}

func (p *sqlitePool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.statements {
		_ = s.Close()
	}
	clear(p.statements)
	return p.db.Close()
}

// sqliteWriterConn is the one connection that writes. It begins and ends its
// transactions itself rather than by sql.Tx, which cannot use statements that were
// prepared before it began.
type sqliteWriterConn struct {
	db         *sql.DB
	turn       chan struct{} // holds one token: the right to write
	conn       *sql.Conn     // with the turn only; nil after a fault
	statements map[string]*sql.Stmt
	// changes are the statements without an answer. They run on the driver's own
	// connection: database/sql copies and boxes each argument, which for a batch of
	// the ledger costs as much as a tenth of the insert.
	changes map[string]driver.Stmt
	values  []driver.NamedValue // of the change that runs, in memory used again
}

// openWriter opens the file for writing and brings its tables up to date.
func openWriter(ctx context.Context, path string) (*sqliteWriterConn, error) {
	db, err := sql.Open("sqlite", sqliteURI(path, sqliteWriter))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	err = migrate(ctx, db, sqliteDialect())
	if err == nil {
		err = migrateQueueSQLite(ctx, db)
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	w := &sqliteWriterConn{db: db, turn: make(chan struct{}, 1), statements: map[string]*sql.Stmt{}, changes: map[string]driver.Stmt{}}
	w.turn <- struct{}{}
	return w, nil
}

func (w *sqliteWriterConn) begin(ctx context.Context) (transaction, error) {
	select {
	case _, open := <-w.turn:
		if !open {
			return nil, sql.ErrConnDone
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	tx := &sqliteTx{writer: w}
	if w.conn == nil {
		conn, err := w.db.Conn(ctx)
		if err != nil {
			w.turn <- struct{}{}
			return nil, err
		}
		w.conn = conn
	}
	if _, err := tx.exec(ctx, "BEGIN IMMEDIATE", nil); err != nil {
		tx.rollback()
		return nil, err
	}
	return tx, nil
}

// discard drops the connection after a fault; the next transaction opens another.
func (w *sqliteWriterConn) discard() {
	w.forget()
	// Closing the driver's connection, not only handing it back, is what ends a
	// transaction that could not be rolled back.
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = w.conn.Close()
	w.conn = nil
}

func (w *sqliteWriterConn) close() error {
	if _, open := <-w.turn; !open { // else after the last transaction
		return nil
	}
	close(w.turn) // nobody writes again
	if w.conn != nil {
		w.forget()
		_ = w.conn.Close()
	}
	return w.db.Close()
}

// forget closes the prepared statements.
func (w *sqliteWriterConn) forget() {
	for _, s := range w.statements {
		_ = s.Close()
	}
	clear(w.statements)
	_ = w.conn.Raw(func(any) error {
		for _, s := range w.changes {
			_ = s.Close()
		}
		return nil
	})
	clear(w.changes)
}

// change runs a statement without an answer and tells how many rows it touched.
func (w *sqliteWriterConn) change(ctx context.Context, text string, args []any) (n int64, err error) {
	w.values = w.values[:0]
	defer func() { clear(w.values) }()
	for i, a := range args {
		switch a.(type) {
		case string, int64, []byte, nil: // as the driver takes it
		default:
			if a, err = driver.DefaultParameterConverter.ConvertValue(a); err != nil {
				return 0, err
			}
		}
		w.values = append(w.values, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	err = w.conn.Raw(func(raw any) error {
		s, keep, err := w.prepared(ctx, raw, text)
		if err != nil {
			return err
		}
		if !keep {
			defer func() { _ = s.Close() }()
		}
		runner, ok := s.(driver.StmtExecContext)
		if !ok {
			return errDriver
		}
		r, err := runner.ExecContext(ctx, w.values)
		if err == nil {
			n, err = r.RowsAffected()
		}
		return err
	})
	return n, err
}

var errDriver = errors.New("store: the driver of SQLite cannot run prepared statements")

// prepared answers the prepared form of a change, and whether it is kept.
func (w *sqliteWriterConn) prepared(ctx context.Context, raw any, text string) (s driver.Stmt, keep bool, err error) {
	if s = w.changes[text]; s != nil {
		return s, true, nil
	}
	preparer, ok := raw.(driver.ConnPrepareContext)
	if !ok {
		return nil, false, errDriver
	}
	if s, err = preparer.PrepareContext(ctx, text); err != nil {
		return nil, false, err
	}
	if len(w.changes) >= statementCache {
		return s, false, nil
	}
	w.changes[text] = s
	return s, true, nil
}

func (w *sqliteWriterConn) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if s := w.statements[text]; s != nil || len(w.statements) >= statementCache {
		return s, nil
	}
	s, err := w.conn.PrepareContext(ctx, text)
	if err == nil {
		w.statements[text] = s
	}
	return s, err
}

// sqliteTx is a write transaction. After a failed statement it takes no other, as
// on PostgreSQL: SQLite may have ended the transaction by itself, and what follows
// would commit on its own.
type sqliteTx struct {
	writer *sqliteWriterConn
	broken error
	ended  bool
}

var errEnded = errors.New("store: the transaction has ended")

func (t *sqliteTx) usable() error {
	if t.ended {
		return errEnded
	}
	if t.broken != nil {
		return fmt.Errorf("store: an earlier statement failed: %w", t.broken)
	}
	return nil
}

// exec looks whether ctx has ended before the statement, not while it runs: the driver
// would start a goroutine for each, and all of them are short.
func (t *sqliteTx) exec(ctx context.Context, statement string, args []any) (n int64, err error) {
	if err := t.usable(); err != nil {
		return 0, err
	}
	defer func() { t.broken = err }()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return t.writer.change(context.WithoutCancel(ctx), statement, args)
}

func (t *sqliteTx) query(ctx context.Context, statement string, args []any) (rs rows, err error) {
	if err := t.usable(); err != nil {
		return nil, err
	}
	s, err := t.writer.statement(ctx, statement)
	var all *sql.Rows
	if err == nil && s == nil {
		all, err = t.writer.conn.QueryContext(ctx, statement, args...)
	} else if err == nil {
		all, err = s.QueryContext(ctx, args...)
	}
	if err != nil {
		t.broken = err
		return nil, err
	}
	return &sqliteTxRows{Rows: all, tx: t}, nil
}

// sqliteTxRows breaks its transaction if reading fails.
type sqliteTxRows struct {
	*sql.Rows
	tx *sqliteTx
}

// Err answers what ended the reading, if anything did.
func (r *sqliteTxRows) Err() error {
	err := r.Rows.Err()
	if err != nil {
		r.tx.broken = err
	}
	return err
}

// commit ignores the end of ctx: a commit that has begun must have a known result.
func (t *sqliteTx) commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := t.exec(context.WithoutCancel(ctx), "COMMIT", nil); err != nil {
		return err
	}
	t.end()
	return nil
}

func (t *sqliteTx) rollback() {
	if t.ended {
		return
	}
	failed := t.broken
	t.broken = nil
	if _, err := t.exec(context.Background(), "ROLLBACK", nil); err != nil || connectionLost(failed) {
		t.writer.discard()
	}
	t.end()
}

func (t *sqliteTx) end() {
	t.ended = true
	t.writer.turn <- struct{}{}
}

func connectionLost(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}
