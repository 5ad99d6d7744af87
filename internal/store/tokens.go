package store

import (
	"context"
	"time"

	"claviger"
)

const tokenColumns = "id, organization, workspace, kind, subject, minted_by, expires_at, revoked_at, created_at"

func scanToken(r row) (claviger.MintedToken, error) {
	var t claviger.MintedToken
	var expires, revoked, created int64
	err := r.Scan(&t.ID, &t.Organization, &t.Workspace, &t.Kind, &t.Subject, &t.MintedBy, &expires, &revoked, &created)
	t.ExpiresAt, t.RevokedAt, t.CreatedAt = fromMillis(expires), fromMillis(revoked), fromMillis(created)
	return t, err
}

// TokenByID answers the record of a signed token, revoked and expired ones too. It
// takes no scope: authentication calls it to make one.
func (db *DB) TokenByID(ctx context.Context, id claviger.TokenID) (claviger.MintedToken, error) {
	return fromControl(ctx, db, scanToken, "SELECT "+tokenColumns+" FROM tokens WHERE id = $1", string(id))
}

// CreateToken records a minted token. A workspace that it is bound to must exist.
func (tx *Tx) CreateToken(ctx context.Context, s claviger.Scope, t claviger.MintedToken) error {
	if err := covers(s, t.Organization, t.Workspace); err != nil {
		return err
	}
	if err := tx.workspaceExists(ctx, t.Organization, t.Workspace); err != nil {
		return err
	}
	_, err := tx.exec(ctx, "INSERT INTO tokens ("+tokenColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		string(t.ID), string(t.Organization), string(t.Workspace), string(t.Kind), t.Subject, t.MintedBy,
		millis(t.ExpiresAt), millis(t.RevokedAt), millis(t.CreatedAt))
	return err
}

// RevokeToken ends one token. One that is revoked already stays as it is.
func (tx *Tx) RevokeToken(ctx context.Context, s claviger.Scope, id claviger.TokenID) error {
	w, err := scoped(s, "workspace")
	if err != nil {
		return err
	}
	w.and("id = ?", string(id))
	token, err := one(ctx, tx.q, scanToken, "SELECT "+tokenColumns+" FROM tokens WHERE "+w.text.String()+tx.home.lock, w.args...)
	if err != nil {
		return err
	}
	_, err = tx.revokeTokens(ctx, token.Organization, "id = ?", string(id))
	return err
}

// RevokeTokens ends the tokens within the scope that were minted before a time, of
// one kind or, if it is empty, of all. It answers how many.
func (tx *Tx) RevokeTokens(ctx context.Context, s claviger.Scope, before time.Time, kind claviger.CallerKind) (int64, error) {
	if s.Organization() == "" {
		return 0, ErrNoScope
	}
	w := tx.endTokens(s.Organization())
	w.and("created_at < ?", millis(before))
	w.equal("kind", string(kind))
	w.equal("workspace", string(s.Workspace()))
	return tx.announceTokens(ctx, w)
}

func (tx *Tx) revokeTokens(ctx context.Context, organization claviger.OrganizationID, condition string, args ...any) (int64, error) {
	w := tx.endTokens(organization)
	w.and(condition, args...)
	return tx.announceTokens(ctx, w)
}

// endTokens begins the statement that ends the organization's living tokens of
// the conditions to follow.
func (tx *Tx) endTokens(organization claviger.OrganizationID) *where {
	w := &where{}
	w.raw("UPDATE tokens SET revoked_at = ? WHERE organization = ? AND revoked_at = 0", millis(tx.db.now()), string(organization))
	return w
}

// announceTokens runs the statement and tells all nodes.
func (tx *Tx) announceTokens(ctx context.Context, w *where) (int64, error) {
	w.raw(" RETURNING id")
	ids, err := many(ctx, tx.q, scanOne[string], w.text.String(), w.args...)
	if err != nil {
		return 0, err
	}
	return int64(len(ids)), addChanges(ctx, tx, changeToken, ids)
}

// purgeBatch bounds what one PurgeExpired deletes of each kind.
const purgeBatch = 5000

// PurgeExpired forgets tokens, logins, links and sessions that expired a day ago and
// idempotency keys a day after their first use, some thousands at a time; it answers how
// many, and is called again while that is not zero. It takes no scope.
func (tx *Tx) PurgeExpired(ctx context.Context, now time.Time) (int64, error) {
	cutoff := millis(now.Add(-idempotencyLife))
	tokens, err := tx.exec(ctx, "DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE expires_at < $1 LIMIT $2)", cutoff, int64(purgeBatch))
	if err != nil {
		return 0, err
	}
	logins, err := tx.exec(ctx, "DELETE FROM logins WHERE id IN (SELECT id FROM logins WHERE expires_at < $1 LIMIT $2)", cutoff, int64(purgeBatch))
	if err != nil {
		return 0, err
	}
	keys, err := tx.exec(ctx, `DELETE FROM idempotency WHERE (organization, caller, key) IN
		(SELECT organization, caller, key FROM idempotency WHERE created_at < $1 LIMIT $2)`, cutoff, int64(purgeBatch))
	if err != nil {
		return 0, err
	}
	signIns, err := tx.purgeSignIns(ctx, cutoff)
	return tokens + logins + keys + signIns, err
}
