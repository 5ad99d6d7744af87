package store

import (
	"context"

	"claviger"
)

const applicationColumns = "organization, id, name, client_id, secret_hash, created_at"

func scanApplication(r row) (claviger.Application, error) {
	var a claviger.Application
	var created int64
	err := r.Scan(&a.Organization, &a.ID, &a.Name, &a.ClientID, &a.SecretHash, &created)
	a.CreatedAt = fromMillis(created)
	return a, err
}

// ApplicationByClientID answers the application that a token request names. It
// takes no scope: authentication calls it to make one.
func (db *DB) ApplicationByClientID(ctx context.Context, clientID string) (claviger.Application, error) {
	return fromControl(ctx, db, scanApplication, "SELECT "+applicationColumns+" FROM applications WHERE client_id = $1", clientID)
}

// Applications lists the organization's applications.
func (db *DB) Applications(ctx context.Context, s claviger.Scope, page Page) ([]claviger.Application, error) {
	w, err := wide(s)
	if err != nil {
		return nil, orEmpty(err)
	}
	page.tail(w, "id")
	return listControl(ctx, db, scanApplication, "SELECT "+applicationColumns+" FROM applications WHERE "+w.text.String(), w.args...)
}

// Application answers one application of the organization.
func (db *DB) Application(ctx context.Context, s claviger.Scope, id claviger.ApplicationID) (claviger.Application, error) {
	w, err := wide(s)
	if err != nil {
		return claviger.Application{}, err
	}
	w.and("id = ?", string(id))
	return fromControl(ctx, db, scanApplication, "SELECT "+applicationColumns+" FROM applications WHERE "+w.text.String(), w.args...)
}

// CreateApplication adds an application. Client ids are unique in the instance; one
// that is taken is a conflict on "clientId".
func (tx *Tx) CreateApplication(ctx context.Context, s claviger.Scope, a claviger.Application) error {
	if err := covers(s, a.Organization, ""); err != nil {
		return err
	}
	_, err := tx.exec(ctx, "INSERT INTO applications ("+applicationColumns+") VALUES ($1, $2, $3, $4, $5, $6)",
		string(a.Organization), string(a.ID), a.Name, a.ClientID, filled(a.SecretHash), millis(a.CreatedAt))
	return err
}

// DeleteApplication removes an application and revokes the tokens that it minted
// and the API keys that carry its rights.
func (tx *Tx) DeleteApplication(ctx context.Context, s claviger.Scope, id claviger.ApplicationID) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	organization := s.Organization()
	if err := mustTouch(ctx, tx.q, ErrNotFound, "DELETE FROM applications WHERE organization = $1 AND id = $2", string(organization), string(id)); err != nil {
		return err
	}
	if err := tx.revokeKeys(ctx, organization, "user_id = '' AND created_by = ?", string(id)); err != nil {
		return err
	}
	if _, err := tx.revokeTokens(ctx, organization, "(minted_by = ? OR subject = ?)", string(id), string(id)); err != nil {
		return err
	}
	return tx.AddChange(ctx, changeApplication, string(id))
}
