package store

import (
	"context"
	"errors"
	"time"

	"claviger"
)

// idempotencyLife is how long a key is remembered.
const idempotencyLife = 24 * time.Hour

// answerLimit bounds what is kept of an answer.
const answerLimit = 1 << 20

// Idempotent is a request that carries an idempotency key, and its answer.
type Idempotent struct {
	Organization claviger.OrganizationID // the caller's
	Caller       string                  // its id; a key is unique for it
	Key          string
	RequestHash  []byte // tells another request under the same key
	Status       int
	Header       []byte
	Body         []byte // at most 1 MiB
	Done         bool   // the answer is there; else the request still runs
	CreatedAt    time.Time
}

const idempotentColumns = "organization, caller, key, request_hash, status, header, body, done, created_at"

func scanIdempotent(r row) (Idempotent, error) {
	var i Idempotent
	var done, created int64
	err := r.Scan(&i.Organization, &i.Caller, &i.Key, &i.RequestHash, &i.Status, &i.Header, &i.Body, &done, &created)
	i.Done, i.CreatedAt = done == 1, fromMillis(created)
	return i, err
}

// BeginIdempotent claims a key: fresh means that the request is to be run and then
// finished or abandoned; else existing is what the same key was used for within
// the last day, which the caller compares by RequestHash. It takes the caller's own
// organization and id in place of a scope.
func (db *DB) BeginIdempotent(ctx context.Context, i Idempotent) (existing Idempotent, fresh bool, err error) {
	if i.Organization == "" || i.Caller == "" {
		return Idempotent{}, false, ErrNoScope
	}
	now := db.now()
	err = db.InTx(ctx, "", func(tx *Tx) error {
		n, err := tx.exec(ctx, `INSERT INTO idempotency (`+idempotentColumns+`) VALUES ($1, $2, $3, $4, 0, NULL, NULL, 0, $5)
			ON CONFLICT (organization, caller, key) DO UPDATE SET request_hash = excluded.request_hash, status = 0,
			header = NULL, body = NULL, done = 0, created_at = excluded.created_at WHERE idempotency.created_at < $6`,
			string(i.Organization), i.Caller, i.Key, filled(i.RequestHash), millis(now), millis(now.Add(-idempotencyLife)))
		if err != nil {
			return err
		}
		if fresh = n == 1; fresh {
			existing = Idempotent{}
			return nil
		}
		existing, err = one(ctx, tx.q, scanIdempotent, "SELECT "+idempotentColumns+" FROM idempotency WHERE organization = $1 AND caller = $2 AND key = $3",
			string(i.Organization), i.Caller, i.Key)
		if errors.Is(err, ErrNotFound) {
			return ErrStale // abandoned between the two statements: claim it again
		}
		return err
	})
	return existing, fresh, err
}

// FinishIdempotent keeps the answer to a claimed key.
func (db *DB) FinishIdempotent(ctx context.Context, i Idempotent) error {
	if len(i.Header)+len(i.Body) > answerLimit {
		return claviger.Errorf(claviger.KindTooLarge, "answer_too_large", "The answer is too large to be kept for a repetition.")
	}
	return db.InTx(ctx, "", func(tx *Tx) error {
		return mustTouch(ctx, tx.q, ErrNotFound,
			"UPDATE idempotency SET status = $1, header = $2, body = $3, done = 1 WHERE organization = $4 AND caller = $5 AND key = $6 AND done = 0",
			int64(i.Status), filled(i.Header), filled(i.Body), string(i.Organization), i.Caller, i.Key)
	})
}

// AbandonIdempotent frees a claimed key whose request had no effect.
func (db *DB) AbandonIdempotent(ctx context.Context, i Idempotent) error {
	return db.InTx(ctx, "", func(tx *Tx) error {
		_, err := tx.exec(ctx, "DELETE FROM idempotency WHERE organization = $1 AND caller = $2 AND key = $3 AND done = 0",
			string(i.Organization), i.Caller, i.Key)
		return err
	})
}
