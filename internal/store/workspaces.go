package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"

	"claviger"
)

const workspaceColumns = "organization, id, name, canonical, region, version, created_at, updated_at"

func scanWorkspace(r row) (claviger.Workspace, error) {
	var w claviger.Workspace
	var created, updated int64
	err := r.Scan(&w.Organization, &w.ID, &w.Name, &w.Canonical, &w.Region, &w.Version, &created, &updated)
	w.CreatedAt, w.UpdatedAt = fromMillis(created), fromMillis(updated)
	return w, err
}

// Workspaces lists the organization's workspaces, or the one that the scope is
// bound to.
func (db *DB) Workspaces(ctx context.Context, s claviger.Scope, page Page) ([]claviger.Workspace, error) {
	w, err := scoped(s, "id")
	if err != nil {
		return nil, err
	}
	page.tail(w, "id")
	return listControl(ctx, db, scanWorkspace, "SELECT "+workspaceColumns+" FROM workspaces WHERE "+w.text.String(), w.args...)
}

// Workspace answers one workspace.
func (db *DB) Workspace(ctx context.Context, s claviger.Scope, id claviger.WorkspaceID) (claviger.Workspace, error) {
	return db.workspaceBy(ctx, s, "id", string(id))
}

// WorkspaceByName answers the workspace of a canonical name.
func (db *DB) WorkspaceByName(ctx context.Context, s claviger.Scope, canonical string) (claviger.Workspace, error) {
	return db.workspaceBy(ctx, s, "canonical", canonical)
}

func (db *DB) workspaceBy(ctx context.Context, s claviger.Scope, column, value string) (claviger.Workspace, error) {
	w, err := scoped(s, "id")
	if err != nil {
		return claviger.Workspace{}, err
	}
	w.and(column+" = ?", value)
	return fromControl(ctx, db, scanWorkspace, "SELECT "+workspaceColumns+" FROM workspaces WHERE "+w.text.String(), w.args...)
}

// CreateWorkspace adds a workspace; its region must be a configured one. A name
// that is taken is a conflict on "name".
func (tx *Tx) CreateWorkspace(ctx context.Context, s claviger.Scope, w claviger.Workspace) error {
	if err := covers(s, w.Organization, ""); err != nil {
		return err
	}
	if w.Region == "" {
		return claviger.Invalid("region", "unknown_region", "The workspace has no region. Name one that the operator has configured.")
	}
	if _, err := tx.db.place(w.Region); err != nil {
		return err
	}
	_, err := tx.exec(ctx, "INSERT INTO workspaces ("+workspaceColumns+") VALUES ($1, $2, $3, $4, $5, 1, $6, $7)",
		string(w.Organization), string(w.ID), w.Name, w.Canonical, string(w.Region), millis(w.CreatedAt), millis(w.UpdatedAt))
	return err
}

// UpdateWorkspace changes name and canonical form by what change answers; the rest
// stays as it is. change may run again.
func (tx *Tx) UpdateWorkspace(ctx context.Context, s claviger.Scope, id claviger.WorkspaceID, change func(claviger.Workspace) (claviger.Workspace, error)) (claviger.Workspace, error) {
	old, err := tx.lockedWorkspace(ctx, s, id)
	if err != nil {
		return old, err
	}
	next, err := change(old)
	if err != nil {
		return old, err
	}
	old.Name, old.Canonical = next.Name, next.Canonical
	old.UpdatedAt = fromMillis(millis(tx.db.now()))
	old.Version++
	err = mustTouch(ctx, tx.q, ErrStale,
		"UPDATE workspaces SET name = $1, canonical = $2, version = $3, updated_at = $4 WHERE organization = $5 AND id = $6 AND version = $7",
		old.Name, old.Canonical, old.Version, millis(old.UpdatedAt), string(old.Organization), string(id), old.Version-1)
	if err != nil {
		return old, err
	}
	return old, tx.AddChange(ctx, changeWorkspace, string(id))
}

func (tx *Tx) lockedWorkspace(ctx context.Context, s claviger.Scope, id claviger.WorkspaceID) (claviger.Workspace, error) {
	w, err := scoped(s, "id")
	if err != nil {
		return claviger.Workspace{}, err
	}
	w.and("id = ?", string(id))
	return one(ctx, tx.q, scanWorkspace, "SELECT "+workspaceColumns+" FROM workspaces WHERE "+w.text.String()+tx.home.lock, w.args...)
}

// DeleteWorkspace removes an empty workspace and revokes the keys and tokens that
// are bound to it. Living connections are a conflict on "connections". Until the
// transaction ends nobody can add one, in the workspace's region either.
func (tx *Tx) DeleteWorkspace(ctx context.Context, s claviger.Scope, id claviger.WorkspaceID) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	workspace, err := tx.lockedWorkspace(ctx, s, id)
	if err != nil {
		return err
	}
	region, err := tx.db.place(workspace.Region)
	if err != nil {
		return err
	}
	q, err := tx.join(ctx, region)
	if err != nil {
		return err
	}
	if err := holdWorkspace(ctx, q, region.holdKey, workspace.Organization, id); err != nil {
		return err
	}
	living, err := one(ctx, q, scanOne[int64],
		"SELECT COUNT(*) FROM (SELECT id FROM connections WHERE organization = $1 AND workspace = $2 AND status <> 'revoked' LIMIT 1) AS living",
		string(workspace.Organization), string(id))
	if err != nil {
		return err
	}
	if living > 0 {
		return &Conflict{Field: "connections"}
	}
	if err := tx.revokeKeys(ctx, workspace.Organization, "workspace = ?", string(id)); err != nil {
		return err
	}
	if _, err := tx.revokeTokens(ctx, workspace.Organization, "workspace = ?", string(id)); err != nil {
		return err
	}
	if err := mustTouch(ctx, tx.q, ErrStale, "DELETE FROM workspaces WHERE organization = $1 AND id = $2", string(workspace.Organization), string(id)); err != nil {
		return err
	}
	return tx.AddChange(ctx, changeWorkspace, string(id))
}

// join answers what runs statements in another database under a transaction that
// ends after this one, rolled back: its locks last until this one's result shows.
func (tx *Tx) join(ctx context.Context, d *database) (querier, error) {
	if d == tx.home {
		return tx.q, nil
	}
	q, err := d.begin(ctx)
	if err != nil {
		return nil, translate(err)
	}
	tx.linked = append(tx.linked, q)
	return q, nil
}

// holdWorkspace takes the workspace's lock by one of a dialect's two statements:
// shared to add a connection, alone to delete the workspace.
func holdWorkspace(ctx context.Context, q querier, statement string, organization claviger.OrganizationID, id claviger.WorkspaceID) error {
	if statement == "" {
		return nil
	}
	sum := sha256.Sum256([]byte("workspace\x00" + string(organization) + "\x00" + string(id)))
	_, err := exec(ctx, q, statement, int64(binary.BigEndian.Uint64(sum[:8])))
	return err
}
