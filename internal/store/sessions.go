package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"claviger"
)

// kept answers the JSON that a row's facts are kept as.
func kept(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

const sessionColumns = "token_hash, status, body, version, expires_at"

func scanSession(r row) (claviger.ConnectSession, error) {
	var s claviger.ConnectSession
	var status claviger.ConnectStatus
	var hash []byte
	var body string
	var version, expires int64
	if err := r.Scan(&hash, &status, &body, &version, &expires); err != nil {
		return s, err
	}
	err := undocument(body, &s)
	s.TokenHash, s.Status, s.Version, s.ExpiresAt = hash, status, version, fromMillis(expires)
	return s, err
}

// ConnectSession answers one session within the scope.
func (db *DB) ConnectSession(ctx context.Context, s claviger.Scope, id claviger.ConnectSessionID) (claviger.ConnectSession, error) {
	if s.Organization() == "" {
		return claviger.ConnectSession{}, ErrNoScope
	}
	return inRegions(ctx, db, func(ctx context.Context, d *database) (claviger.ConnectSession, error) {
		return readSession(ctx, d.reader(), s, id, "")
	})
}

func readSession(ctx context.Context, q querier, s claviger.Scope, id claviger.ConnectSessionID, lock string) (claviger.ConnectSession, error) {
	return one(ctx, q, scanSession,
		"SELECT "+sessionColumns+" FROM connect_sessions WHERE organization = $1 AND id = $2 AND ($3 = '' OR workspace = $3)"+lock,
		string(s.Organization()), string(id), string(s.Workspace()))
}

// ConnectSessionByHash answers the session of a token, ended ones too. It takes no
// scope: authentication calls it to make one.
func (db *DB) ConnectSessionByHash(ctx context.Context, hash []byte) (claviger.ConnectSession, error) {
	return inRegions(ctx, db, func(ctx context.Context, d *database) (claviger.ConnectSession, error) {
		return one(ctx, d.reader(), scanSession, "SELECT "+sessionColumns+" FROM connect_sessions WHERE token_hash = $1", filled(hash))
	})
}

// CreateConnectSession adds a session in a transaction of its workspace's region.
func (tx *Tx) CreateConnectSession(ctx context.Context, s claviger.Scope, x claviger.ConnectSession) error {
	if err := covers(s, x.Organization, x.Workspace); err != nil {
		return err
	}
	x.Version = 1
	body, err := kept(x)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "INSERT INTO connect_sessions (organization, id, workspace, "+sessionColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		string(x.Organization), string(x.ID), string(x.Workspace), filled(x.TokenHash), string(x.Status), body, x.Version, millis(x.ExpiresAt))
	return err
}

// UpdateConnectSession changes a session; change may run again.
func (tx *Tx) UpdateConnectSession(ctx context.Context, s claviger.Scope, id claviger.ConnectSessionID, change func(claviger.ConnectSession) (claviger.ConnectSession, error)) (claviger.ConnectSession, error) {
	if s.Organization() == "" {
		return claviger.ConnectSession{}, ErrNoScope
	}
	old, err := readSession(ctx, tx.q, s, id, tx.home.lock)
	if err != nil {
		return old, err
	}
	next, err := change(old)
	if err != nil {
		return old, err
	}
	next.ID, next.Organization, next.Workspace, next.TokenHash, next.Version = old.ID, old.Organization, old.Workspace, old.TokenHash, old.Version+1
	body, err := kept(next)
	if err != nil {
		return old, err
	}
	return next, mustTouch(ctx, tx.q, ErrStale,
		"UPDATE connect_sessions SET status = $1, body = $2, version = $3, expires_at = $4 WHERE organization = $5 AND id = $6 AND version = $3 - 1",
		string(next.Status), body, next.Version, millis(next.ExpiresAt), string(next.Organization), string(id))
}

// maxReturnURLs bounds an organization's list.
const maxReturnURLs = 100

// ReturnURLs answers where browsers may be sent back to, in the order they were given.
// A scope that is bound to a workspace reads them too.
func (db *DB) ReturnURLs(ctx context.Context, s claviger.Scope) ([]string, error) {
	if s.Organization() == "" {
		return nil, ErrNoScope
	}
	return listControl(ctx, db, scanOne[string], "SELECT url FROM return_urls WHERE organization = $1 ORDER BY position LIMIT $2",
		string(s.Organization()), int64(maxReturnURLs))
}

// PutReturnURLs replaces the organization's list, in a transaction of control.
func (tx *Tx) PutReturnURLs(ctx context.Context, s claviger.Scope, urls []string) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	if len(urls) > maxReturnURLs {
		return errors.New("store: too many return addresses")
	}
	if err := tx.lockOrganization(ctx, s.Organization()); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, "DELETE FROM return_urls WHERE organization = $1", string(s.Organization())); err != nil {
		return err
	}
	for i, u := range urls {
		if _, err := tx.exec(ctx, "INSERT INTO return_urls (organization, position, url) VALUES ($1, $2, $3)", string(s.Organization()), int64(i), u); err != nil {
			return err
		}
	}
	return nil
}

// PurgeConnecting forgets sessions and flows that ended before a time, some thousands
// at a time, in the transaction's database. Flows that still hold a ciphertext stay. It
// takes no scope.
func (tx *Tx) PurgeConnecting(ctx context.Context, before time.Time) (int64, error) {
	sessions, err := tx.exec(ctx, `DELETE FROM connect_sessions WHERE (organization, id) IN
		(SELECT organization, id FROM connect_sessions WHERE expires_at < $1 LIMIT $2)`, millis(before), int64(purgeBatch))
	if err != nil {
		return 0, err
	}
	flows, err := tx.exec(ctx, `DELETE FROM connect_flows WHERE (organization, id) IN
		(SELECT organization, id FROM connect_flows WHERE expires_at < $1 AND sealed IS NULL LIMIT $2)`, millis(before), int64(purgeBatch))
	return sessions + flows, err
}
