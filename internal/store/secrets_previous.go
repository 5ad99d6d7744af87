package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"claviger"
)

// SecretVersion is one value of a secret that is accepted now.
type SecretVersion struct {
	Version int64
	Sealed  claviger.Sealed
	Until   time.Time // zero for the present value
}

func scanSecretVersion(r row) (SecretVersion, error) {
	var v SecretVersion
	var sealed []byte
	var until int64
	err := r.Scan(&v.Version, &sealed, &until)
	v.Sealed, v.Until = sealed, fromMillis(until)
	return v, err
}

// SecretVersions answers the values of a secret that a webhook slot accepts: the present
// one first, and after it one that was replaced and whose time is not over.
func (db *DB) SecretVersions(ctx context.Context, s claviger.Scope, path string) ([]SecretVersion, error) {
	if s.Organization() == "" {
		return nil, ErrNoScope
	}
	all, err := listControl(ctx, db, scanSecretVersion, `SELECT version, sealed, 0 FROM secrets WHERE organization = $1 AND path = $2 AND sealed IS NOT NULL
		UNION ALL SELECT version, sealed, until FROM secret_previous WHERE organization = $1 AND path = $2 AND until > $3`,
		string(s.Organization()), path, millis(db.now()))
	if len(all) == 0 && err == nil {
		err = ErrNotFound
	}
	slices.SortFunc(all, func(a, b SecretVersion) int { return int(b.Version - a.Version) })
	return all, err
}

// KeepSecret keeps the present value of a secret until a time, if a webhook slot refers to
// it: call it before [Tx.PutSecret], in its transaction. What vendors sign with the old
// value while they change over is accepted until then.
func (tx *Tx) KeepSecret(ctx context.Context, s claviger.Scope, path string, until time.Time) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	slots, err := slotsWhere(ctx, tx.q, s, `p.usage = 'webhookInbound' AND p.paths LIKE ? ESCAPE '\'`, "%"+escapeLike(path)+"%", func(slot *claviger.Slot) bool {
		return slot.Usage == claviger.UsageWebhookInbound && slot.Names(path)
	})
	if err != nil || len(slots) == 0 {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO secret_previous (organization, path, version, sealed, until)
		SELECT organization, path, version, sealed, $3 FROM secrets WHERE organization = $1 AND path = $2 AND sealed IS NOT NULL
		ON CONFLICT (organization, path) DO UPDATE SET version = excluded.version, sealed = excluded.sealed, until = excluded.until`,
		string(s.Organization()), path, millis(until))
	return err
}

func (tx *Tx) forgetPrevious(ctx context.Context, s claviger.Scope, path string) error {
	_, err := tx.exec(ctx, "DELETE FROM secret_previous WHERE organization = $1 AND path = $2", string(s.Organization()), path)
	return err
}

// AwaitHandshake lets a slot take its secret from the vendor's handshake until a time.
func (tx *Tx) AwaitHandshake(ctx context.Context, s claviger.Scope, slot claviger.ConnectionID, until time.Time) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `INSERT INTO awaited_handshakes (organization, connection, until) VALUES ($1, $2, $3)
		ON CONFLICT (organization, connection) DO UPDATE SET until = excluded.until`, string(s.Organization()), string(slot), millis(until))
	return err
}

// TakeHandshake ends the wait of a slot for its handshake; [ErrNotFound] if it does not
// wait, or no longer.
func (tx *Tx) TakeHandshake(ctx context.Context, s claviger.Scope, slot claviger.ConnectionID) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	return mustTouch(ctx, tx.q, ErrNotFound, "DELETE FROM awaited_handshakes WHERE organization = $1 AND connection = $2 AND until > $3",
		string(s.Organization()), string(slot), millis(tx.db.now()))
}

// PurgePrevious wipes replaced values whose time is over, and forgets handshakes that
// nobody made. It takes no scope.
func (tx *Tx) PurgePrevious(ctx context.Context, now time.Time) error {
	_, err := tx.exec(ctx, "DELETE FROM secret_previous WHERE until <= $1", millis(now))
	_, err2 := tx.exec(ctx, "DELETE FROM awaited_handshakes WHERE until <= $1", millis(now))
	return errors.Join(err, err2)
}
