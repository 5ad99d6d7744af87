package store

import (
	"context"
	"time"
)

// BeatWorker says that a worker of the job queue in the transaction's database lives for
// another span, and answers the others whose span is over. They are forgotten with this
// transaction, in which the caller gives their jobs to others: of several that find the
// same one only one is told. Spans are measured by the clock that leases are.
func (tx *Tx) BeatWorker(ctx context.Context, id string, span time.Duration) (gone []string, err error) {
	now, err := tx.clock(ctx)
	if err != nil {
		return nil, err
	}
	_, err = tx.exec(ctx, "INSERT INTO workers (id, until) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET until = excluded.until", id, millis(now.Add(span)))
	if err != nil {
		return nil, err
	}
	return many(ctx, tx.q, scanOne[string], "DELETE FROM workers WHERE until <= $1 AND id <> $2 RETURNING id", millis(now), id)
}

// ForgetWorker says that a worker has ended and holds no job.
func (tx *Tx) ForgetWorker(ctx context.Context, id string) error {
	_, err := tx.exec(ctx, "DELETE FROM workers WHERE id = $1", id)
	return err
}
