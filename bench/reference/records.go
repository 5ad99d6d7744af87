package main

import (
	"database/sql"
	"fmt"
	"log"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// record is what is kept of one call.
type record struct {
	at         time.Time
	took       time.Duration
	actor      string
	connection string
	method     string
	path       string
	status     int
}

const (
	batchRows     = 1000
	batchWindow   = 50 * time.Millisecond
	statementRows = 50
	columns       = 7
)

// records stores calls in batches. A full queue makes calls wait: none is dropped.
type records struct {
	db    *sql.DB
	queue chan record
	many  *sql.Stmt // adds statementRows
	one   *sql.Stmt
}

func openRecords(file string) (*records, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE IF NOT EXISTS record (at INTEGER, took INTEGER, actor TEXT, connection TEXT, method TEXT, path TEXT, status INTEGER)"); err != nil {
		return nil, err
	}
	r := &records{db: db, queue: make(chan record, 8*batchRows)}
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	insert := "INSERT INTO record (at, took, actor, connection, method, path, status) VALUES "
	if r.one, err = db.Prepare(insert + row); err != nil {
		return nil, err
	}
	if r.many, err = db.Prepare(insert + strings.TrimSuffix(strings.Repeat(row+",", statementRows), ",")); err != nil {
		return nil, err
	}
	go r.run()
	return r, nil
}

func (r *records) run() {
	batch := make([]record, 0, batchRows)
	timer := time.NewTimer(batchWindow)
	for {
		batch = append(batch[:0], <-r.queue)
		timer.Reset(batchWindow)
	gather:
		for len(batch) < batchRows {
			select {
			case c := <-r.queue:
				batch = append(batch, c)
			case <-timer.C:
				break gather
			}
		}
		if err := r.store(batch); err != nil {
			log.Fatal(fmt.Errorf("records: %w", err))
		}
	}
}

func (r *records) store(batch []record) error {
	tx, err := r.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	args := make([]any, 0, statementRows*columns)
	for len(batch) > 0 {
		n, statement := 1, r.one
		if len(batch) >= statementRows {
			n, statement = statementRows, r.many
		}
		args = args[:0]
		for _, c := range batch[:n] {
			args = append(args, c.at.UnixMilli(), int64(c.took), c.actor, c.connection, c.method, c.path, c.status)
		}
		if _, err := tx.Stmt(statement).Exec(args...); err != nil {
			return err
		}
		batch = batch[n:]
	}
	return tx.Commit()
}
