package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"claviger"
)

const connectionColumns = "organization, id, workspace, owner, connector, connector_version, auth_method, name, usage, visibility, status, health," +
	" fault_code, fault_message, account_id, account_name, granted_scopes, settings, metadata, tags, secret_keys, secret_paths," +
	" revision, destination, revocations, version, expires_at, last_used_at, last_checked_at, created_at, updated_at, refresh_at, slot"

// sealedConnection is a row with its ciphertext.
type sealedConnection struct {
	claviger.Connection
	sealed claviger.Sealed
}

func scanConnection(r row) (claviger.Connection, error) { return scanFacts(r) }

func scanSealedConnection(r row) (sealedConnection, error) {
	var sealed []byte
	c, err := scanFacts(r, &sealed)
	return sealedConnection{c, sealed}, err
}

// scanFacts reads connectionColumns and what follows them.
func scanFacts(r row, more ...any) (claviger.Connection, error) {
	var c claviger.Connection
	var fault claviger.Fault
	var scopes, settings, metadata, tags, keys, paths, revocations string
	var expires, used, checked, created, updated, refresh int64
	err := r.Scan(append([]any{
		&c.Organization, &c.ID, &c.Workspace, &c.Owner, &c.Connector, &c.ConnectorVersion, &c.AuthMethod, &c.Name, &c.Usage, &c.Visibility,
		&c.Status, &c.Health, &fault.Code, &fault.Message, &c.Account.ID, &c.Account.Name, &scopes, &settings, &metadata, &tags, &keys, &paths,
		&c.Revision, &c.Destination, &revocations, &c.Version, &expires, &used, &checked, &created, &updated, &refresh, &c.Slot,
	}, more...)...)
	if err != nil {
		return c, err
	}
	if fault != (claviger.Fault{}) {
		c.LastError = &fault
	}
	c.ExpiresAt, c.LastUsedAt, c.LastCheckedAt = fromMillis(expires), fromMillis(used), fromMillis(checked)
	c.CreatedAt, c.UpdatedAt, c.RefreshAt = fromMillis(created), fromMillis(updated), fromMillis(refresh)
	err = errors.Join(undocument(scopes, &c.GrantedScopes), undocument(settings, &c.Settings), undocument(metadata, &c.Metadata),
		undocument(tags, &c.Tags), undocument(keys, &c.SecretKeys), undocument(paths, &c.SecretPaths), undocument(revocations, &c.Revocations))
	return c, err
}

// Connection answers the facts and the ciphertext of one connection. A deleted one
// is answered too, with status revoked and no ciphertext.
func (db *DB) Connection(ctx context.Context, s claviger.Scope, id claviger.ConnectionID) (claviger.Connection, claviger.Sealed, error) {
	if s.Organization() == "" {
		return claviger.Connection{}, nil, ErrNoScope
	}
	c, err := inRegions(ctx, db, func(ctx context.Context, d *database) (sealedConnection, error) {
		return readConnection(ctx, d.reader(), s, id, "")
	})
	return c.Connection, c.sealed, err
}

func readConnection(ctx context.Context, q querier, s claviger.Scope, id claviger.ConnectionID, lock string) (sealedConnection, error) {
	return one(ctx, q, scanSealedConnection,
		"SELECT "+connectionColumns+", sealed FROM connections WHERE organization = $1 AND id = $2 AND ($3 = '' OR workspace = $3)"+lock,
		string(s.Organization()), string(id), string(s.Workspace()))
}

// ConnectionRegion answers the region to change a connection in, with [DB.InTx].
func (db *DB) ConnectionRegion(ctx context.Context, s claviger.Scope, id claviger.ConnectionID) (claviger.RegionID, error) {
	if s.Organization() == "" {
		return "", ErrNoScope
	}
	return inRegions(ctx, db, func(ctx context.Context, d *database) (claviger.RegionID, error) {
		_, err := one(ctx, d.reader(), scanOne[string], "SELECT id FROM connections WHERE organization = $1 AND id = $2 AND ($3 = '' OR workspace = $3)",
			string(s.Organization()), string(id), string(s.Workspace()))
		return d.region, err
	})
}

// CreateConnection adds a connection in a transaction of its workspace's region;
// Version begins at 1. A name that a living connection of the workspace has is a
// conflict on "name".
func (tx *Tx) CreateConnection(ctx context.Context, s claviger.Scope, c claviger.Connection, sealed claviger.Sealed) error {
	if err := covers(s, c.Organization, c.Workspace); err != nil {
		return err
	}
	if err := holdWorkspace(ctx, tx.q, tx.home.shareKey, c.Organization, c.Workspace); err != nil {
		return err
	}
	region, err := one(ctx, tx.in(tx.db.control), scanOne[string], "SELECT region FROM workspaces WHERE organization = $1 AND id = $2",
		string(c.Organization), string(c.Workspace))
	if err != nil {
		return err
	}
	if place, err := tx.db.place(claviger.RegionID(region)); err != nil || place != tx.home {
		return errors.Join(errWrongRegion, err)
	}
	if c.Status == claviger.StatusRevoked {
		return &Conflict{Field: "status"}
	}
	c.Version = 1
	_, err = tx.exec(ctx, tx.home.insert("INSERT INTO connections ("+connectionColumns+", sealed, name_folded)", 1, 35, ""),
		append(connectionArgs(c), nullable(sealed), strings.ToLower(c.Name))...)
	if err != nil {
		return err
	}
	return tx.addLinks(ctx, c)
}

var errWrongRegion = errors.New("store: the workspace lives in another region than the transaction")

// nullable is a ciphertext that may be absent.
func nullable(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// connectionArgs answers the values of connectionColumns.
func connectionArgs(c claviger.Connection) []any {
	var fault claviger.Fault
	if c.LastError != nil {
		fault = *c.LastError
	}
	return []any{
		string(c.Organization), string(c.ID), string(c.Workspace), c.Owner, c.Connector, int64(c.ConnectorVersion), c.AuthMethod, c.Name,
		string(c.Usage), string(c.Visibility), string(c.Status), string(c.Health), fault.Code, fault.Message, c.Account.ID, c.Account.Name,
		document(c.GrantedScopes), document(c.Settings), document(c.Metadata), document(c.Tags), document(c.SecretKeys), document(c.SecretPaths),
		c.Revision, c.Destination, revocationsText(c.Revocations), c.Version,
		millis(c.ExpiresAt), millis(c.LastUsedAt), millis(c.LastCheckedAt), millis(c.CreatedAt), millis(c.UpdatedAt), millis(c.RefreshAt), c.Slot,
	}
}

func revocationsText(all []claviger.Revocation) string {
	if len(all) == 0 {
		return ""
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic("store: two strings always have a JSON form")
	}
	return string(b)
}

// addLinks keeps the tags and the kv:// paths of a living connection where they
// can be searched.
func (tx *Tx) addLinks(ctx context.Context, c claviger.Connection) error {
	for _, tag := range slices.Sorted(maps.Keys(c.Tags)) {
		_, err := tx.exec(ctx, "INSERT INTO connection_tags (organization, tag, value, connection) VALUES ($1, $2, $3, $4)",
			string(c.Organization), tag, c.Tags[tag], string(c.ID))
		if err != nil {
			return err
		}
	}
	for _, path := range slices.Compact(slices.Sorted(slices.Values(c.SecretPaths))) {
		_, err := tx.exec(ctx, "INSERT INTO connection_secrets (organization, path, connection) VALUES ($1, $2, $3)",
			string(c.Organization), path, string(c.ID))
		if err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) dropLinks(ctx context.Context, organization claviger.OrganizationID, id claviger.ConnectionID) error {
	if _, err := tx.exec(ctx, "DELETE FROM connection_tags WHERE organization = $1 AND connection = $2", string(organization), string(id)); err != nil {
		return err
	}
	_, err := tx.exec(ctx, "DELETE FROM connection_secrets WHERE organization = $1 AND connection = $2", string(organization), string(id))
	return err
}

// ConnectionChange answers what a connection and its ciphertext are to become.
type ConnectionChange func(old claviger.Connection, sealed claviger.Sealed) (claviger.Connection, claviger.Sealed, error)

// UpdateConnection changes a connection by what change answers, if nobody changed
// it meanwhile; change may run again. ID, organization, workspace and CreatedAt
// stay; LastUsedAt is MarkUsed's; Version and UpdatedAt are set here. A connection
// that becomes revoked loses its ciphertext, its name is free again, and it never
// changes its status any more (conflict on "status").
func (tx *Tx) UpdateConnection(ctx context.Context, s claviger.Scope, id claviger.ConnectionID, change ConnectionChange) (claviger.Connection, error) {
	if s.Organization() == "" {
		return claviger.Connection{}, ErrNoScope
	}
	old, err := readConnection(ctx, tx.q, s, id, tx.home.lock)
	if err != nil {
		return claviger.Connection{}, err
	}
	next, sealed, err := change(old.Connection, old.sealed)
	if err != nil {
		return claviger.Connection{}, err
	}
	if next, err = succeed(old.Connection, next, tx.db.now()); err != nil {
		return claviger.Connection{}, err
	}
	if next.Status == claviger.StatusRevoked {
		sealed = nil
		if err := tx.dropGrant(ctx, next.Organization, id); err != nil {
			return claviger.Connection{}, err
		}
	}
	if err := tx.writeConnection(ctx, next, sealed); err != nil {
		return claviger.Connection{}, err
	}
	if linksDiffer(old.Connection, next) {
		if err := tx.dropLinks(ctx, next.Organization, id); err != nil {
			return claviger.Connection{}, err
		}
		if next.Status != claviger.StatusRevoked {
			if err := tx.addLinks(ctx, next); err != nil {
				return claviger.Connection{}, err
			}
		}
	}
	return next, tx.AddChange(ctx, changeConnection, string(id))
}

// succeed checks what may follow a connection's state and fills in what only the
// store sets.
func succeed(old, next claviger.Connection, now time.Time) (claviger.Connection, error) {
	if next.ID != old.ID || next.Organization != old.Organization || next.Workspace != old.Workspace || !next.CreatedAt.Equal(old.CreatedAt) {
		return next, fmt.Errorf("store: a connection keeps its id, organization, workspace and creation time")
	}
	if next.Revision < old.Revision {
		return next, fmt.Errorf("store: a connection's revision never goes back")
	}
	if old.Status == claviger.StatusRevoked && next.Status != claviger.StatusRevoked {
		return next, &Conflict{Field: "status"}
	}
	next.Version = old.Version + 1
	next.LastUsedAt = old.LastUsedAt
	next.UpdatedAt = fromMillis(millis(now))
	return next, nil
}

func linksDiffer(old, next claviger.Connection) bool {
	return old.Status != next.Status && next.Status == claviger.StatusRevoked ||
		!maps.Equal(old.Tags, next.Tags) || !slices.Equal(old.SecretPaths, next.SecretPaths)
}

// updateConnection takes connectionArgs up to expires_at: what follows them there
// is not all written.
const updateConnection = `UPDATE connections SET owner = $4, connector = $5, connector_version = $6, auth_method = $7, name = $8, usage = $9,
	visibility = $10, status = $11, health = $12, fault_code = $13, fault_message = $14, account_id = $15, account_name = $16,
	granted_scopes = $17, settings = $18, metadata = $19, tags = $20, secret_keys = $21, secret_paths = $22, revision = $23,
	destination = $24, revocations = $25, version = $26, expires_at = $27, last_checked_at = $28, updated_at = $29, sealed = $30, name_folded = $31, refresh_at = $32
	WHERE organization = $1 AND id = $2 AND workspace = $3 AND version = $26 - 1`

func (tx *Tx) writeConnection(ctx context.Context, c claviger.Connection, sealed claviger.Sealed) error {
	args := connectionArgs(c)[:27]
	args = append(args, millis(c.LastCheckedAt), millis(c.UpdatedAt), nullable(sealed), strings.ToLower(c.Name), millis(c.RefreshAt))
	return mustTouch(ctx, tx.q, ErrStale, updateConnection, args...)
}

// MarkUsed notes when connections were last used. It takes no scope: it is the
// background's, for calls that have been admitted. Times never go back, and no
// node needs to forget what it remembers of the row.
func (tx *Tx) MarkUsed(ctx context.Context, used map[claviger.ConnectionID]time.Time) error {
	// In order: two nodes that lock the same rows the other way round would
	// wait for each other.
	for _, id := range slices.Sorted(maps.Keys(used)) {
		if _, err := tx.exec(ctx, "UPDATE connections SET last_used_at = $1 WHERE id = $2 AND last_used_at < $1", millis(used[id]), string(id)); err != nil {
			return err
		}
	}
	return nil
}
