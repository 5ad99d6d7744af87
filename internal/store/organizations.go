package store

import (
	"context"

	"claviger"
)

const organizationColumns = "id, name, instance, created_at"

func scanOrganization(r row) (claviger.Organization, error) {
	var o claviger.Organization
	var instance, created int64
	err := r.Scan(&o.ID, &o.Name, &instance, &created)
	o.Instance, o.CreatedAt = instance == 1, fromMillis(created)
	return o, err
}

// OrganizationByID answers a tenant. It takes no scope: authentication calls it
// to make one.
func (db *DB) OrganizationByID(ctx context.Context, id claviger.OrganizationID) (claviger.Organization, error) {
	return fromControl(ctx, db, scanOrganization, "SELECT "+organizationColumns+" FROM organizations WHERE id = $1", string(id))
}

// InstanceOrganization answers the first tenant, whose owner administers the instance. It
// takes no scope: its single sign-on stands on the page that everybody opens.
func (db *DB) InstanceOrganization(ctx context.Context) (claviger.Organization, error) {
	return fromControl(ctx, db, scanOrganization, "SELECT "+organizationColumns+" FROM organizations WHERE instance = 1")
}

// Organizations lists all tenants. It takes no scope: it is for the instance's
// administrator alone.
func (db *DB) Organizations(ctx context.Context, page Page) ([]claviger.Organization, error) {
	w := &where{}
	w.and("id <> ''")
	page.tail(w, "id")
	return listControl(ctx, db, scanOrganization, "SELECT "+organizationColumns+" FROM organizations WHERE "+w.text.String(), w.args...)
}

// CountOrganizations answers how many tenants there are. It takes no scope.
func (tx *Tx) CountOrganizations(ctx context.Context) (int64, error) {
	return one(ctx, tx.q, scanOne[int64], "SELECT COUNT(*) FROM organizations")
}

// CreateOrganization adds a tenant. It takes no scope: there is none yet. A second
// one with Instance set is a conflict on "instance".
func (tx *Tx) CreateOrganization(ctx context.Context, o claviger.Organization) error {
	_, err := tx.exec(ctx, "INSERT INTO organizations ("+organizationColumns+") VALUES ($1, $2, $3, $4)",
		string(o.ID), o.Name, bit(o.Instance), millis(o.CreatedAt))
	return err
}

// lockOrganization lets one transaction at a time do what follows for the scope's
// organization.
func (tx *Tx) lockOrganization(ctx context.Context, id claviger.OrganizationID) error {
	_, err := one(ctx, tx.q, scanOne[string], "SELECT id FROM organizations WHERE id = $1"+tx.home.lock, string(id))
	return err
}
