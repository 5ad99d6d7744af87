package store

import (
	"context"
	"errors"

	"claviger"
)

// Policy answers what the scope's organization allows; the zero value if it said nothing.
func (db *DB) Policy(ctx context.Context, s claviger.Scope) (claviger.Policy, error) {
	if s.Organization() == "" {
		return claviger.Policy{}, ErrNoScope
	}
	fallback, err := fromControl(ctx, db, scanOne[int64], "SELECT sync_fallback FROM policies WHERE organization = $1", string(s.Organization()))
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return claviger.Policy{SyncFallback: fallback == 1}, err
}

// PutPolicy replaces what the scope's organization allows.
func (tx *Tx) PutPolicy(ctx context.Context, s claviger.Scope, p claviger.Policy) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	if err := tx.lockOrganization(ctx, s.Organization()); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `INSERT INTO policies (organization, sync_fallback, updated_at) VALUES ($1, $2, $3)
		ON CONFLICT (organization) DO UPDATE SET sync_fallback = excluded.sync_fallback, updated_at = excluded.updated_at`,
		string(s.Organization()), bit(p.SyncFallback), millis(tx.db.now()))
	return err
}
