package store

import (
	"context"
	"errors"

	"claviger"
)

const findTrustKey = "SELECT sealed FROM trust_keys WHERE organization = $1"

// TrustKey answers the key, sealed, that the scope's organization signs certificates with.
func (db *DB) TrustKey(ctx context.Context, s claviger.Scope) (claviger.Sealed, error) {
	if err := organizationWide(s); err != nil {
		return nil, err
	}
	return fromControl(ctx, db, scanOne[[]byte], findTrustKey, string(s.Organization()))
}

// PutTrustKey keeps the organization's first key and answers the one that is kept: of two
// that are made at once, one.
func (tx *Tx) PutTrustKey(ctx context.Context, s claviger.Scope, fresh claviger.Sealed) (claviger.Sealed, error) {
	if err := organizationWide(s); err != nil {
		return nil, err
	}
	if err := tx.lockOrganization(ctx, s.Organization()); err != nil {
		return nil, err
	}
	kept, err := one(ctx, tx.q, scanOne[[]byte], findTrustKey, string(s.Organization()))
	if err == nil || !errors.Is(err, ErrNotFound) {
		return kept, err
	}
	_, err = tx.exec(ctx, "INSERT INTO trust_keys (organization, sealed, created_at) VALUES ($1, $2, $3)",
		string(s.Organization()), []byte(fresh), millis(tx.db.now()))
	return fresh, err
}
