package store

import (
	"context"

	"claviger"
)

// Pin names what an authorization server was found to say of itself when a version of a
// connector was first used. Endpoints are a JSON document of the caller's.
type Pin struct {
	Connector string
	Version   int // of the connector: a new version is a new approval
	Issuer    string
	Endpoints []byte
}

const findPin = "SELECT endpoints FROM oauth_pins WHERE organization = $1 AND connector = $2 AND version = $3 AND issuer = $4"

// PinnedEndpoints answers what an organization's version of a connector is pinned to for
// an issuer; [ErrNotFound] if that was never discovered.
func (db *DB) PinnedEndpoints(ctx context.Context, s claviger.Scope, connector string, version int, issuer string) ([]byte, error) {
	if s.Organization() == "" {
		return nil, ErrNoScope
	}
	return fromControl(ctx, db, scanOne[[]byte], findPin, string(s.Organization()), connector, int64(version), issuer)
}

// PinEndpoints keeps what was discovered, unless something is kept already, and answers
// what is kept.
func (tx *Tx) PinEndpoints(ctx context.Context, s claviger.Scope, p Pin) ([]byte, error) {
	if s.Organization() == "" {
		return nil, ErrNoScope
	}
	_, err := tx.exec(ctx, `INSERT INTO oauth_pins (organization, connector, version, issuer, endpoints, created_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (organization, connector, version, issuer) DO NOTHING`,
		string(s.Organization()), p.Connector, int64(p.Version), p.Issuer, filled(p.Endpoints), millis(tx.db.now()))
	if err != nil {
		return nil, err
	}
	return one(ctx, tx.q, scanOne[[]byte], findPin, string(s.Organization()), p.Connector, int64(p.Version), p.Issuer)
}
