package store

import (
	"context"

	"claviger"
)

func scanBranding(r row) (claviger.Branding, error) {
	var b claviger.Branding
	err := r.Scan(&b.Organization, &b.Owner, &b.Name, &b.Color, &b.Logo)
	return b, err
}

// Branding answers how an organization shows itself, with its own name and nothing else
// if it said nothing. It takes no scope: everybody who is sent to a page sees it.
func (db *DB) Branding(ctx context.Context, id claviger.OrganizationID) (claviger.Branding, error) {
	return fromControl(ctx, db, scanBranding, `SELECT o.id, o.name, COALESCE(b.name, ''), COALESCE(b.color, ''), b.logo
		FROM organizations o LEFT JOIN branding b ON b.organization = o.id WHERE o.id = $1`, string(id))
}

// PutBranding replaces how the scope's organization shows itself, in a transaction of
// control.
func (tx *Tx) PutBranding(ctx context.Context, s claviger.Scope, b claviger.Branding) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	if err := tx.lockOrganization(ctx, s.Organization()); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `INSERT INTO branding (organization, name, color, logo, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (organization) DO UPDATE SET name = excluded.name, color = excluded.color, logo = excluded.logo, updated_at = excluded.updated_at`,
		string(s.Organization()), b.Name, b.Color, filled(b.Logo), millis(tx.db.now()))
	return err
}
