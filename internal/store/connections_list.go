package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"claviger"
)

// ConnectionFilter narrows a list of connections; an empty field asks for nothing.
type ConnectionFilter struct {
	Workspace claviger.WorkspaceID
	Connector string
	Status    claviger.Status // revoked answers nothing: lists omit deleted ones
	Health    claviger.Health
	Owner     string
	TagKey    string // with TagValue
	TagValue  string
	Search    string // part of the name, in any case
	// CreatedAfter and CreatedBefore bound when it was made, the first inclusive.
	CreatedAfter, CreatedBefore time.Time
	// VisibleTo, when set, leaves out the personal connections of other owners.
	VisibleTo string
}

// conditions begins a statement's conditions with the scope and the filter.
func (f ConnectionFilter) conditions(s claviger.Scope) (*where, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return nil, err
	}
	w.and("status <> 'revoked'")
	w.equal("workspace", string(f.Workspace))
	w.equal("connector", f.Connector)
	w.equal("status", string(f.Status))
	w.equal("health", string(f.Health))
	w.equal("owner", f.Owner)
	if f.TagKey != "" {
		w.and("id IN (SELECT connection FROM connection_tags WHERE organization = ? AND tag = ? AND value = ?)",
			string(s.Organization()), f.TagKey, f.TagValue)
	}
	if !f.CreatedAfter.IsZero() {
		w.and("created_at >= ?", millis(f.CreatedAfter))
	}
	if !f.CreatedBefore.IsZero() {
		w.and("created_at < ?", millis(f.CreatedBefore))
	}
	if f.VisibleTo != "" {
		w.and("(visibility <> 'personal' OR owner = ?)", f.VisibleTo)
	}
	if f.Search != "" {
		w.and(`name_folded LIKE ? ESCAPE '\'`, "%"+escapeLike(strings.ToLower(f.Search))+"%")
	}
	return w, nil
}

// escapeLike makes a text stand for itself in a LIKE pattern.
func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

// Connections lists the living connections of a filter, without ciphertext.
func (db *DB) Connections(ctx context.Context, s claviger.Scope, f ConnectionFilter, page Page) ([]claviger.Connection, error) {
	w, err := f.conditions(s)
	if err != nil {
		return nil, err
	}
	page.tail(w, "id")
	in, err := db.regionsOf(ctx, s, f.Workspace)
	if err != nil {
		return nil, orEmpty(err)
	}
	return merged(ctx, in, page.limit(), func(a, b claviger.Connection) int { return cmp.Compare(b.ID, a.ID) },
		func(ctx context.Context, q querier) ([]claviger.Connection, error) {
			return many(ctx, q, scanConnection, "SELECT "+connectionColumns+" FROM connections WHERE "+w.text.String(), w.args...)
		})
}

// regionsOf answers the databases to look in: the workspace's, if one is asked for
// or the scope is bound to one, else all.
func (db *DB) regionsOf(ctx context.Context, s claviger.Scope, id claviger.WorkspaceID) ([]*database, error) {
	id = cmp.Or(s.Workspace(), id)
	if id == "" || len(db.distinct) == 1 {
		return db.distinct, nil
	}
	workspace, err := db.Workspace(ctx, s, id)
	if err != nil {
		return nil, err
	}
	d, err := db.place(workspace.Region)
	return []*database{d}, err
}

// disableBatch bounds what one DisableConnections changes.
const disableBatch = 500

// DisableConnections switches off up to 500 living connections of a filter in the
// transaction's region, pending ones too, and answers them as they were. Call it
// again, in a transaction of its own, until it answers none.
func (tx *Tx) DisableConnections(ctx context.Context, s claviger.Scope, f ConnectionFilter) ([]claviger.Connection, error) {
	w, err := f.conditions(s)
	if err != nil {
		return nil, err
	}
	w.and("status <> 'disabled'")
	w.raw(" ORDER BY id LIMIT ?"+tx.home.lock, int64(disableBatch))
	list, err := many(ctx, tx.q, scanConnection, "SELECT "+connectionColumns+" FROM connections WHERE "+w.text.String(), w.args...)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	ids := make([]claviger.ConnectionID, len(list))
	set := &where{}
	set.raw("UPDATE connections SET status = 'disabled', version = version + 1, updated_at = ? WHERE organization = ? AND id IN (",
		millis(tx.db.now()), string(s.Organization()))
	for i := range list {
		ids[i] = list[i].ID
		if i > 0 {
			set.raw(", ")
		}
		set.raw("?", string(ids[i]))
	}
	set.raw(")")
	if _, err := tx.exec(ctx, set.text.String(), set.args...); err != nil {
		return nil, err
	}
	return list, addChanges(ctx, tx, changeConnection, ids)
}

// SealedConnection names a row that holds a ciphertext.
type SealedConnection struct {
	ID        claviger.ConnectionID
	Workspace claviger.WorkspaceID
	Region    claviger.RegionID // where to change it
	Revision  int64
}

// SealedConnections lists up to limit (at most 1000) rows of an organization that
// hold a ciphertext, with ids above after, by id. It takes no scope: it is for the
// rotation of keys.
func (db *DB) SealedConnections(ctx context.Context, organization claviger.OrganizationID, after claviger.ConnectionID, limit int) ([]SealedConnection, error) {
	most := int64(min(max(limit, 1), 1000))
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	var out []SealedConnection
	for _, d := range db.distinct {
		part, err := many(ctx, d.reader(), func(r row) (SealedConnection, error) {
			c := SealedConnection{Region: d.region}
			return c, r.Scan(&c.ID, &c.Workspace, &c.Revision)
		}, "SELECT id, workspace, revision FROM connections WHERE organization = $1 AND id > $2 AND sealed IS NOT NULL ORDER BY id LIMIT $3",
			string(organization), string(after), most)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	slices.SortFunc(out, func(a, b SealedConnection) int { return cmp.Compare(a.ID, b.ID) })
	return out[:min(len(out), int(most))], nil
}

// ConnectionNamed answers the living connection of a workspace that has the name.
func (db *DB) ConnectionNamed(ctx context.Context, s claviger.Scope, workspace claviger.WorkspaceID, name string) (claviger.ConnectionID, error) {
	if err := covers(s, s.Organization(), workspace); err != nil {
		return "", err
	}
	return inRegions(ctx, db, func(ctx context.Context, d *database) (claviger.ConnectionID, error) {
		return one(ctx, d.reader(), scanOne[claviger.ConnectionID],
			"SELECT id FROM connections WHERE organization = $1 AND workspace = $2 AND name = $3 AND status <> 'revoked'",
			string(s.Organization()), string(workspace), name)
	})
}
