package store

import (
	"cmp"
	"context"
	"errors"

	"claviger"
)

const secretColumns = "organization, path, version, created_at, updated_at"

// sealedSecret is a secret's facts and its ciphertext.
type sealedSecret struct {
	claviger.SecretMeta
	sealed claviger.Sealed
}

func scanSecret(r row) (claviger.SecretMeta, error) { return scanSecretFacts(r) }

func scanSealedSecret(r row) (sealedSecret, error) {
	var sealed []byte
	m, err := scanSecretFacts(r, &sealed)
	return sealedSecret{m, sealed}, err
}

func scanSecretFacts(r row, more ...any) (claviger.SecretMeta, error) {
	var m claviger.SecretMeta
	var created, updated int64
	err := r.Scan(append([]any{&m.Organization, &m.Path, &m.Version, &created, &updated}, more...)...)
	m.CreatedAt, m.UpdatedAt = fromMillis(created), fromMillis(updated)
	return m, err
}

// usedByLimit bounds SecretMeta.UsedBy.
const usedByLimit = 100

// Secret answers a secret's facts and ciphertext. UsedBy names up to 100 living
// connections within the scope that refer to it.
func (db *DB) Secret(ctx context.Context, s claviger.Scope, path string) (claviger.SecretMeta, claviger.Sealed, error) {
	if s.Organization() == "" {
		return claviger.SecretMeta{}, nil, ErrNoScope
	}
	found, err := fromControl(ctx, db, scanSealedSecret,
		"SELECT "+secretColumns+", sealed FROM secrets WHERE organization = $1 AND path = $2 AND sealed IS NOT NULL", string(s.Organization()), path)
	if err != nil {
		return claviger.SecretMeta{}, nil, err
	}
	found.UsedBy, err = db.usedBy(ctx, s, path)
	return found.SecretMeta, found.sealed, err
}

func (db *DB) usedBy(ctx context.Context, s claviger.Scope, path string) ([]claviger.ConnectionID, error) {
	return merged(ctx, db.distinct, usedByLimit, cmp.Compare[claviger.ConnectionID], func(ctx context.Context, q querier) ([]claviger.ConnectionID, error) {
		return many(ctx, q, scanOne[claviger.ConnectionID],
			`SELECT u.connection FROM connection_secrets u JOIN connections c ON c.organization = u.organization AND c.id = u.connection
			WHERE u.organization = $1 AND u.path = $2 AND ($3 = '' OR c.workspace = $3) ORDER BY u.connection LIMIT $4`,
			string(s.Organization()), path, string(s.Workspace()), int64(usedByLimit))
	})
}

// Secrets lists the facts of secrets whose path begins with prefix, by path.
func (db *DB) Secrets(ctx context.Context, s claviger.Scope, prefix string, page Page) ([]claviger.SecretMeta, error) {
	w, err := scoped(s, "")
	if err != nil {
		return nil, err
	}
	w.and("sealed IS NOT NULL")
	if prefix != "" {
		w.and("path >= ?", prefix)
		// LIKE ignores case on SQLite.
		w.and("SUBSTR(path, 1, LENGTH(?)) = ?", prefix, prefix)
	}
	page.tailUp(w, "path")
	out, err := listControl(ctx, db, scanSecret, "SELECT "+secretColumns+" FROM secrets WHERE "+w.text.String(), w.args...)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].UsedBy, err = db.usedBy(ctx, s, out[i].Path); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// SealedSecrets lists up to limit (at most 1000) secrets of an organization with
// paths above after, by path, without UsedBy. It takes no scope: it is for the
// rotation of keys.
func (db *DB) SealedSecrets(ctx context.Context, organization claviger.OrganizationID, after string, limit int) ([]claviger.SecretMeta, error) {
	return listControl(ctx, db, scanSecret,
		"SELECT "+secretColumns+" FROM secrets WHERE organization = $1 AND path > $2 AND sealed IS NOT NULL ORDER BY path LIMIT $3",
		string(organization), after, int64(min(max(limit, 1), 1000)))
}

// PutSecret keeps a new version of a secret, sealed for its number, in the place of
// the old one, which is gone. Numbers are never used again, not even after a
// deletion: a ciphertext of old cannot be passed off as a new one.
func (tx *Tx) PutSecret(ctx context.Context, s claviger.Scope, path string, seal func(version int64) (claviger.Sealed, error)) (claviger.SecretMeta, error) {
	if err := organizationWide(s); err != nil {
		return claviger.SecretMeta{}, err
	}
	if err := tx.lockOrganization(ctx, s.Organization()); err != nil {
		return claviger.SecretMeta{}, err
	}
	old, err := one(ctx, tx.q, scanSealedSecret, "SELECT "+secretColumns+", sealed FROM secrets WHERE organization = $1 AND path = $2",
		string(s.Organization()), path)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return claviger.SecretMeta{}, err
	}
	now := fromMillis(millis(tx.db.now()))
	next := claviger.SecretMeta{Organization: s.Organization(), Path: path, Version: old.Version + 1, CreatedAt: old.CreatedAt, UpdatedAt: now}
	if old.sealed == nil {
		next.CreatedAt = now
	}
	sealed, err := seal(next.Version)
	if err != nil {
		return claviger.SecretMeta{}, err
	}
	_, err = tx.exec(ctx, `INSERT INTO secrets (`+secretColumns+`, sealed) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (organization, path) DO UPDATE SET version = excluded.version, created_at = excluded.created_at,
		updated_at = excluded.updated_at, sealed = excluded.sealed`,
		string(next.Organization), path, next.Version, millis(next.CreatedAt), millis(now), filled(sealed))
	if err != nil {
		return claviger.SecretMeta{}, err
	}
	return next, tx.AddChange(ctx, changeSecret, path)
}

// ResealSecret replaces the ciphertext of a version by the same secret under
// another key; [ErrStale] if the version is no longer the newest.
func (tx *Tx) ResealSecret(ctx context.Context, s claviger.Scope, path string, version int64, sealed claviger.Sealed) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	const living = " WHERE organization = $1 AND path = $2 AND sealed IS NOT NULL"
	newest, err := one(ctx, tx.q, scanOne[int64], "SELECT version FROM secrets"+living+tx.home.lock, string(s.Organization()), path)
	if err != nil {
		return err
	}
	if newest != version {
		return ErrStale
	}
	if _, err := tx.exec(ctx, "UPDATE secrets SET sealed = $3"+living, string(s.Organization()), path, filled(sealed)); err != nil {
		return err
	}
	return tx.AddChange(ctx, changeSecret, path)
}

// DeleteSecret destroys a secret's ciphertexts, the one that was replaced included; only
// the last number stays.
func (tx *Tx) DeleteSecret(ctx context.Context, s claviger.Scope, path string) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	err := mustTouch(ctx, tx.q, ErrNotFound, "UPDATE secrets SET sealed = NULL, updated_at = $1 WHERE organization = $2 AND path = $3 AND sealed IS NOT NULL",
		millis(tx.db.now()), string(s.Organization()), path)
	if err != nil {
		return err
	}
	if err := tx.forgetPrevious(ctx, s, path); err != nil {
		return err
	}
	return tx.AddChange(ctx, changeSecret, path)
}
