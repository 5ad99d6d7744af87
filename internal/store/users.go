package store

import (
	"context"
	"errors"

	"claviger"
)

const userColumns = "organization, id, name, email, role, disabled, version, created_at, updated_at"

func scanUser(r row) (claviger.User, error) {
	var u claviger.User
	var disabled, created, updated int64
	err := r.Scan(&u.Organization, &u.ID, &u.Name, &u.Email, &u.Role, &disabled, &u.Version, &created, &updated)
	u.Disabled, u.CreatedAt, u.UpdatedAt = disabled == 1, fromMillis(created), fromMillis(updated)
	return u, err
}

// UserByID answers a person. It takes no scope: authentication asks for the role
// of the person behind an API key.
func (db *DB) UserByID(ctx context.Context, id claviger.UserID) (claviger.User, error) {
	return fromControl(ctx, db, scanUser, "SELECT "+userColumns+" FROM users WHERE id = $1", string(id))
}

// Users lists the organization's people.
func (db *DB) Users(ctx context.Context, s claviger.Scope, page Page) ([]claviger.User, error) {
	w, err := wide(s)
	if err != nil {
		return nil, orEmpty(err)
	}
	page.tail(w, "id")
	return listControl(ctx, db, scanUser, "SELECT "+userColumns+" FROM users WHERE "+w.text.String(), w.args...)
}

// orEmpty turns "not found" into the empty list: a list has no row out of reach.
func orEmpty(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// User answers one person of the organization.
func (db *DB) User(ctx context.Context, s claviger.Scope, id claviger.UserID) (claviger.User, error) {
	w, err := wide(s)
	if err != nil {
		return claviger.User{}, err
	}
	w.and("id = ?", string(id))
	return fromControl(ctx, db, scanUser, "SELECT "+userColumns+" FROM users WHERE "+w.text.String(), w.args...)
}

// CreateUser adds a person. An address that is taken is a conflict on "email".
func (tx *Tx) CreateUser(ctx context.Context, s claviger.Scope, u claviger.User) error {
	if err := covers(s, u.Organization, ""); err != nil {
		return err
	}
	_, err := tx.exec(ctx, "INSERT INTO users ("+userColumns+") VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8)",
		string(u.Organization), string(u.ID), u.Name, u.Email, string(u.Role), bit(u.Disabled), millis(u.CreatedAt), millis(u.UpdatedAt))
	return err
}

// UpdateUser changes name, address, role and Disabled by what change answers.
// change may run again.
func (tx *Tx) UpdateUser(ctx context.Context, s claviger.Scope, id claviger.UserID, change func(claviger.User) (claviger.User, error)) (claviger.User, error) {
	w, err := wide(s)
	if err != nil {
		return claviger.User{}, err
	}
	w.and("id = ?", string(id))
	old, err := one(ctx, tx.q, scanUser, "SELECT "+userColumns+" FROM users WHERE "+w.text.String()+tx.home.lock, w.args...)
	if err != nil {
		return old, err
	}
	next, err := change(old)
	if err != nil {
		return old, err
	}
	old.Name, old.Email, old.Role, old.Disabled = next.Name, next.Email, next.Role, next.Disabled
	old.UpdatedAt = fromMillis(millis(tx.db.now()))
	old.Version++
	err = mustTouch(ctx, tx.q, ErrStale,
		"UPDATE users SET name = $1, email = $2, role = $3, disabled = $4, version = $5, updated_at = $6 WHERE organization = $7 AND id = $8 AND version = $9",
		old.Name, old.Email, string(old.Role), bit(old.Disabled), old.Version, millis(old.UpdatedAt), string(old.Organization), string(id), old.Version-1)
	if err != nil {
		return old, err
	}
	return old, tx.AddChange(ctx, changeUser, string(id))
}

// DeleteUser removes a person and revokes their API keys and the tokens that they
// minted. What they own stays.
func (tx *Tx) DeleteUser(ctx context.Context, s claviger.Scope, id claviger.UserID) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	organization := s.Organization()
	if err := mustTouch(ctx, tx.q, ErrNotFound, "DELETE FROM users WHERE organization = $1 AND id = $2", string(organization), string(id)); err != nil {
		return err
	}
	if err := tx.revokeKeys(ctx, organization, "user_id = ?", string(id)); err != nil {
		return err
	}
	if _, err := tx.revokeTokens(ctx, organization, "minted_by = ?", string(id)); err != nil {
		return err
	}
	return tx.AddChange(ctx, changeUser, string(id))
}

// CountOwners answers how many people who are not disabled own the organization,
// and keeps others from counting until the transaction ends: two owners cannot
// each remove the other.
func (tx *Tx) CountOwners(ctx context.Context, s claviger.Scope) (int64, error) {
	if err := organizationWide(s); err != nil {
		return 0, err
	}
	if err := tx.lockOrganization(ctx, s.Organization()); err != nil {
		return 0, err
	}
	return one(ctx, tx.q, scanOne[int64], "SELECT COUNT(*) FROM users WHERE organization = $1 AND role = $2 AND disabled = 0",
		string(s.Organization()), string(claviger.RoleOwner))
}
