package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"claviger"
)

const keyColumns = "organization, id, workspace, user_id, created_by, name, hash, hint, permissions, allowed_ips, expires_at, revoked_at, last_used_at, created_at"

func scanKey(r row) (claviger.APIKey, error) {
	var k claviger.APIKey
	var permissions, ips string
	var expires, revoked, used, created int64
	err := r.Scan(&k.Organization, &k.ID, &k.Workspace, &k.User, &k.CreatedBy, &k.Name, &k.Hash, &k.Hint,
		&permissions, &ips, &expires, &revoked, &used, &created)
	if err != nil {
		return k, err
	}
	// Permissions are kept by name. One that this version does not know is left
	// out: the key then may less, never more.
	var verbs []claviger.Verb
	for _, v := range strings.Fields(permissions) {
		verbs = append(verbs, claviger.Verb(v))
	}
	k.Permissions, _ = claviger.PermissionsOf(verbs...)
	for _, text := range strings.Fields(ips) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			// To leave it out could open the key to every address.
			return k, fmt.Errorf("store: a kept address range is damaged: %w", err)
		}
		k.AllowedIPs = append(k.AllowedIPs, prefix)
	}
	k.ExpiresAt, k.RevokedAt, k.LastUsedAt, k.CreatedAt = fromMillis(expires), fromMillis(revoked), fromMillis(used), fromMillis(created)
	return k, nil
}

// APIKeyByHash answers the key of a token's SHA-256, revoked and expired ones too.
// It takes no scope: authentication calls it to make one.
func (db *DB) APIKeyByHash(ctx context.Context, hash []byte) (claviger.APIKey, error) {
	return fromControl(ctx, db, scanKey, "SELECT "+keyColumns+" FROM api_keys WHERE hash = $1", filled(hash))
}

// APIKeys lists keys that are not revoked: all of the organization's, or the
// workspace's that the scope is bound to.
func (db *DB) APIKeys(ctx context.Context, s claviger.Scope, page Page) ([]claviger.APIKey, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return nil, err
	}
	w.and("revoked_at = 0")
	page.tail(w, "id")
	return listControl(ctx, db, scanKey, "SELECT "+keyColumns+" FROM api_keys WHERE "+w.text.String(), w.args...)
}

// APIKey answers one key, revoked ones too.
func (db *DB) APIKey(ctx context.Context, s claviger.Scope, id claviger.KeyID) (claviger.APIKey, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return claviger.APIKey{}, err
	}
	w.and("id = ?", string(id))
	return fromControl(ctx, db, scanKey, "SELECT "+keyColumns+" FROM api_keys WHERE "+w.text.String(), w.args...)
}

// CreateAPIKey adds a key. A workspace that it is bound to must exist.
func (tx *Tx) CreateAPIKey(ctx context.Context, s claviger.Scope, k claviger.APIKey) error {
	if err := covers(s, k.Organization, k.Workspace); err != nil {
		return err
	}
	if err := tx.workspaceExists(ctx, k.Organization, k.Workspace); err != nil {
		return err
	}
	var verbs, ips []string
	for _, v := range k.Permissions.Verbs() {
		verbs = append(verbs, string(v))
	}
	for _, p := range k.AllowedIPs {
		ips = append(ips, p.String())
	}
	_, err := tx.exec(ctx, "INSERT INTO api_keys ("+keyColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
		string(k.Organization), string(k.ID), string(k.Workspace), string(k.User), k.CreatedBy, k.Name, filled(k.Hash), k.Hint,
		strings.Join(verbs, " "), strings.Join(ips, " "), millis(k.ExpiresAt), millis(k.RevokedAt), millis(k.LastUsedAt), millis(k.CreatedAt))
	return err
}

// workspaceExists keeps a workspace from being deleted until the transaction ends.
// The empty id, which means all workspaces, always exists.
func (tx *Tx) workspaceExists(ctx context.Context, organization claviger.OrganizationID, id claviger.WorkspaceID) error {
	if id == "" {
		return nil
	}
	_, err := one(ctx, tx.q, scanOne[string], "SELECT id FROM workspaces WHERE organization = $1 AND id = $2"+tx.home.keep, string(organization), string(id))
	return err
}

// RevokeAPIKey ends a key. One that is revoked already stays as it is.
func (tx *Tx) RevokeAPIKey(ctx context.Context, s claviger.Scope, id claviger.KeyID) error {
	w, err := scoped(s, "workspace")
	if err != nil {
		return err
	}
	w.and("id = ?", string(id))
	key, err := one(ctx, tx.q, scanKey, "SELECT "+keyColumns+" FROM api_keys WHERE "+w.text.String()+tx.home.lock, w.args...)
	if err != nil {
		return err
	}
	return tx.revokeKeys(ctx, key.Organization, "id = ?", string(id))
}

// revokeKeys ends the organization's keys of a condition and tells all nodes.
func (tx *Tx) revokeKeys(ctx context.Context, organization claviger.OrganizationID, condition string, args ...any) error {
	w := &where{}
	w.raw("UPDATE api_keys SET revoked_at = ? WHERE organization = ? AND revoked_at = 0 AND ", millis(tx.db.now()), string(organization))
	w.raw(condition, args...)
	w.raw(" RETURNING hash")
	hashes, err := many(ctx, tx.q, scanOne[[]byte], w.text.String(), w.args...)
	if err != nil {
		return err
	}
	ids := make([]string, len(hashes))
	for i, h := range hashes {
		ids[i] = hex.EncodeToString(h)
	}
	return addChanges(ctx, tx, changeAPIKey, ids)
}

// TouchAPIKeys notes when keys were last used. It takes no scope: it is the
// background's, for keys that have been authenticated. Times never go back.
func (tx *Tx) TouchAPIKeys(ctx context.Context, used map[claviger.KeyID]time.Time) error {
	// In order: two nodes that lock the same rows the other way round would
	// wait for each other.
	for _, id := range slices.Sorted(maps.Keys(used)) {
		if _, err := tx.exec(ctx, "UPDATE api_keys SET last_used_at = $1 WHERE id = $2 AND last_used_at < $1", millis(used[id]), string(id)); err != nil {
			return err
		}
	}
	return nil
}
