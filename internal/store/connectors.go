package store

import (
	"context"
	"errors"
	"time"

	"claviger"
)

// ConnectorRow is one version of a connector that an organization made.
type ConnectorRow struct {
	Organization claviger.OrganizationID
	Key          string
	Version      int    // 1, 2, ... and never used again, not even after a deletion
	Document     []byte // canonical JSON
	CreatedBy    string
	CreatedAt    time.Time
	Deleted      bool // the key is deleted; connections on this version still find it
}

const connectorColumns = "organization, key, version, document, created_by, created_at, deleted"

func scanConnector(r row) (ConnectorRow, error) {
	var c ConnectorRow
	var created, deleted int64
	err := r.Scan(&c.Organization, &c.Key, &c.Version, &c.Document, &c.CreatedBy, &created, &deleted)
	c.CreatedAt, c.Deleted = fromMillis(created), deleted == 1
	return c, err
}

// Connector answers a version of a connector, of a deleted one too; version 0 is
// the newest of one that is not deleted.
func (db *DB) Connector(ctx context.Context, s claviger.Scope, key string, version int) (ConnectorRow, error) {
	if s.Organization() == "" {
		return ConnectorRow{}, ErrNoScope
	}
	const from = "SELECT " + connectorColumns + " FROM connectors WHERE organization = $1 AND key = $2"
	if version == 0 {
		return fromControl(ctx, db, scanConnector, from+" AND newest = 1 AND deleted = 0", string(s.Organization()), key)
	}
	return fromControl(ctx, db, scanConnector, from+" AND version = $3", string(s.Organization()), key, int64(version))
}

// ConnectorRows lists the newest version of every connector that is not deleted,
// by key.
func (db *DB) ConnectorRows(ctx context.Context, s claviger.Scope, page Page) ([]ConnectorRow, error) {
	w, err := scoped(s, "")
	if err != nil {
		return nil, err
	}
	w.and("newest = 1 AND deleted = 0")
	page.tailUp(w, "key")
	return listControl(ctx, db, scanConnector, "SELECT "+connectorColumns+" FROM connectors WHERE "+w.text.String(), w.args...)
}

// PutConnector adds a version of a connector and answers its number.
func (tx *Tx) PutConnector(ctx context.Context, s claviger.Scope, key string, document []byte, by string) (int, error) {
	if err := organizationWide(s); err != nil {
		return 0, err
	}
	organization := string(s.Organization())
	if err := tx.lockOrganization(ctx, s.Organization()); err != nil {
		return 0, err
	}
	version, err := one(ctx, tx.q, scanOne[int64], "SELECT COALESCE(MAX(version), 0) + 1 FROM connectors WHERE organization = $1 AND key = $2", organization, key)
	if err != nil {
		return 0, err
	}
	if _, err := tx.exec(ctx, "UPDATE connectors SET newest = 0 WHERE organization = $1 AND key = $2 AND newest = 1", organization, key); err != nil {
		return 0, err
	}
	_, err = tx.exec(ctx, "INSERT INTO connectors ("+connectorColumns+", newest) VALUES ($1, $2, $3, $4, $5, $6, 0, 1)",
		organization, key, version, filled(document), by, millis(tx.db.now()))
	if err != nil {
		return 0, err
	}
	return int(version), tx.AddChange(ctx, changeConnector, key)
}

// DeleteConnector deletes a connector; its versions stay for the connections that
// were made meanwhile. Living connections are a conflict on "connections".
func (tx *Tx) DeleteConnector(ctx context.Context, s claviger.Scope, key string) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	living, err := tx.db.connectorInUse(ctx, tx, s, key)
	if err != nil {
		return err
	}
	// Whether there is such a connector comes first: the other answer would tell
	// that connections use a built-in one.
	err = mustTouch(ctx, tx.q, ErrNotFound, "UPDATE connectors SET deleted = 1 WHERE organization = $1 AND key = $2 AND newest = 1 AND deleted = 0",
		string(s.Organization()), key)
	if err != nil {
		return err
	}
	if living {
		return &Conflict{Field: "connections"}
	}
	return tx.AddChange(ctx, changeConnector, key)
}

func (db *DB) connectorInUse(ctx context.Context, tx *Tx, s claviger.Scope, key string) (bool, error) {
	for _, d := range db.distinct {
		_, err := one(ctx, tx.in(d), scanOne[string], "SELECT id FROM connections WHERE organization = $1 AND connector = $2 AND status <> 'revoked' LIMIT 1",
			string(s.Organization()), key)
		if !errors.Is(err, ErrNotFound) {
			return err == nil, err
		}
	}
	return false, nil
}
