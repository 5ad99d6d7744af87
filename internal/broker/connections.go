package broker

import (
	"context"
	"errors"
	"slices"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/gate"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// errStale is answered inside a change whose row moved on since it was prepared.
var errStale = errors.New("broker: the row changed in between")

// CreateConnection validates credentials in three steps and stores them sealed. When a
// step fails nothing is stored and the error is that step's.
func (b *Broker) CreateConnection(ctx context.Context, c claviger.Caller, in NewConnection) (Connected, error) {
	if !c.May(claviger.ConnectionsCreate) {
		return Connected{}, b.gate.Check(ctx, c, claviger.ConnectionsCreate, own(c, "connection", ""))
	}
	l, warnings, err := b.draft(ctx, c, in)
	if err != nil {
		return Connected{}, err
	}
	switch {
	case in.ReturnURL != "" && !consents(l.method):
		return Connected{}, noReturn()
	case consents(l.method):
		out, err := b.beginConnection(ctx, c, l, in)
		out.Warnings = warnings
		return out, err
	case mints(l.method):
		out, err := b.mintConnection(ctx, c, l, in)
		out.Warnings = warnings
		return out, err
	}
	if !in.SkipValidation {
		p, err := b.validate(ctx, c, claviger.ConnectionsCreate, l, in.Credentials)
		if err != nil {
			return Connected{}, err
		}
		l.conn.Health, l.conn.LastError = verdict(p)
		l.conn.Account, l.conn.GrantedScopes, l.conn.LastCheckedAt = p.account, p.scopes, b.now()
	}
	if err := b.vault.Prepare(ctx, l.conn.Organization); err != nil {
		return Connected{}, err
	}
	err = b.gate.Change(ctx, c, claviger.ConnectionsCreate, l.resource, func(tx *store.Tx, t *gate.Ticket) error {
		sealed, err := b.vault.Seal(ctx, t, &l.conn, in.Credentials)
		if err != nil {
			return err
		}
		if err := tx.CreateConnection(ctx, c.Scope, l.conn, sealed); err != nil {
			return err
		}
		return b.announce(ctx, tx, claviger.EventConnectionCreated, &l.conn)
	})
	if err != nil {
		return Connected{}, conflict(err)
	}
	return Connected{Connection: l.conn, Warnings: warnings}, nil
}

// draft checks everything that can be checked without the vendor and answers the
// connection as it would be stored.
func (b *Broker) draft(ctx context.Context, c claviger.Caller, in NewConnection) (*live, []string, error) {
	if err := checkName("name", in.Name); err != nil {
		return nil, nil, err
	}
	if err := firstError(checkLabels("metadata", in.Metadata), checkLabels("tags", in.Tags)); err != nil {
		return nil, nil, err
	}
	connector, err := b.namedConnector(ctx, c.Scope, in.Connector)
	if err != nil {
		return nil, nil, err
	}
	workspace, err := b.workspaceFor(ctx, c, in.Workspace)
	if err != nil {
		return nil, nil, err
	}
	id, err := b.newID(claviger.PrefixConnection)
	if err != nil {
		return nil, nil, err
	}
	now := b.now()
	conn := claviger.Connection{
		ID: claviger.ConnectionID(id), Organization: c.Scope.Organization(), Workspace: workspace, Owner: c.OwnerID(),
		Connector: connector.Key, ConnectorVersion: connector.Version, AuthMethod: in.AuthMethod, Name: in.Name,
		Usage: in.Usage, Visibility: in.Visibility, Status: claviger.StatusActive, Health: claviger.HealthUnknown,
		Metadata: in.Metadata, Tags: in.Tags, Revision: 1, Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	if conn.AuthMethod == "" && len(connector.Auth) == 1 {
		conn.AuthMethod = connector.Auth[0].Key
	}
	if err := setDefaults(&conn); err != nil {
		return nil, nil, err
	}
	if _, ok := connector.Method(conn.AuthMethod); !ok {
		return nil, nil, unknownMethod(connector, conn.AuthMethod)
	}
	if conn.Settings, err = catalog.CheckSettings(connector.For(conn.AuthMethod), in.Settings); err != nil {
		return nil, nil, err
	}
	l, err := b.ready(conn, nil, connector)
	if err != nil {
		return nil, nil, err
	}
	warnings, err := catalog.CheckCredentials(l.method, in.Credentials)
	if err != nil {
		return nil, nil, err
	}
	if err := describeCredentials(l, in.Credentials); err != nil {
		return nil, nil, err
	}
	l.resource = l.conn.Resource()
	l.resource.Host = l.base.Host
	return l, warnings, nil
}

func setDefaults(conn *claviger.Connection) error {
	if conn.Usage == "" {
		conn.Usage = claviger.UsageAPI
	}
	if conn.Visibility == "" {
		conn.Visibility = claviger.VisibilityWorkspace
	}
	if !slices.Contains(claviger.Usages(), conn.Usage) {
		return claviger.Invalid("usage", "invalid_format", "Use one of %v.", claviger.Usages())
	}
	if conn.Visibility != claviger.VisibilityWorkspace && conn.Visibility != claviger.VisibilityPersonal {
		return claviger.Invalid("visibility", "invalid_format", "Use workspace or personal.")
	}
	return nil
}

// describeCredentials notes which fields hold a value, which refer to kv:// secrets,
// and where the credential may go.
func describeCredentials(l *live, creds claviger.Credentials) error {
	paths, err := vault.References(creds)
	if err != nil {
		return err
	}
	l.conn.SecretKeys, l.conn.SecretPaths = nil, nil
	for key := range creds {
		l.conn.SecretKeys = append(l.conn.SecretKeys, key)
	}
	for field, path := range paths {
		if err := ownPath(path, l.connector.Key); err != nil {
			err.Param = "credentials." + field
			return err
		}
		l.conn.SecretPaths = append(l.conn.SecretPaths, path)
	}
	slices.Sort(l.conn.SecretKeys)
	slices.Sort(l.conn.SecretPaths)
	l.conn.SecretPaths = slices.Compact(l.conn.SecretPaths)
	l.conn.Destination, l.moved = l.place, false
	return nil
}

// Connection answers one connection, a deleted one with its verdicts.
func (b *Broker) Connection(ctx context.Context, c claviger.Caller, id claviger.ConnectionID) (claviger.Connection, error) {
	return b.find(ctx, c, claviger.ConnectionsRead, id)
}

// find reads the row as it is now, for showing and changing.
func (b *Broker) find(ctx context.Context, c claviger.Caller, v claviger.Verb, id claviger.ConnectionID) (claviger.Connection, error) {
	conn, _, err := b.row(ctx, c, v, id)
	return conn, err
}

func (b *Broker) row(ctx context.Context, c claviger.Caller, v claviger.Verb, id claviger.ConnectionID) (claviger.Connection, claviger.Sealed, error) {
	var conn claviger.Connection
	var sealed claviger.Sealed
	err := store.ErrNotFound
	if claviger.ValidID(claviger.PrefixConnection, string(id)) {
		conn, sealed, err = b.db.Connection(ctx, c.Scope, id)
	}
	if errors.Is(err, store.ErrNotFound) {
		return conn, nil, b.gate.Absent(ctx, c, v, claviger.Resource{Type: "connection", ID: string(id)})
	}
	if err != nil {
		return conn, nil, err
	}
	return conn, sealed, b.gate.Check(ctx, c, v, conn.Resource())
}

// Connections lists the living connections that the caller may see, newest first.
func (b *Broker) Connections(ctx context.Context, c claviger.Caller, f ConnectionFilter, p Page) ([]claviger.Connection, bool, error) {
	if err := b.gate.Check(ctx, c, claviger.ConnectionsRead, own(c, "connection", "")); err != nil {
		return nil, false, err
	}
	list, err := b.db.Connections(ctx, c.Scope, visible(c, f), p.plusOne())
	if err != nil {
		return nil, false, err
	}
	list, more := cut(p, list)
	return list, more, nil
}

// DisableConnection switches a connection off at once.
func (b *Broker) DisableConnection(ctx context.Context, c claviger.Caller, id claviger.ConnectionID) (claviger.Connection, error) {
	return b.change(ctx, c, claviger.ConnectionsDisable, id, func(conn claviger.Connection) (claviger.Connection, error) {
		if conn.Status == claviger.StatusRevoked {
			return conn, conn.Status.Refusal()
		}
		conn.Status = claviger.StatusDisabled
		return conn, nil
	})
}

// EnableConnection switches a disabled connection on again. One whose grant has died meanwhile waits for its owner again. One that nobody consents to
// is tried anew at its next use, by what the organization has put right.
func (b *Broker) EnableConnection(ctx context.Context, c claviger.Caller, id claviger.ConnectionID) (claviger.Connection, error) {
	was, err := b.find(ctx, c, claviger.ConnectionsEnable, id)
	if err != nil {
		return was, err
	}
	dead, minted, err := b.grantOver(ctx, c, &was)
	if err != nil {
		return was, err
	}
	return b.change(ctx, c, claviger.ConnectionsEnable, id, func(conn claviger.Connection) (claviger.Connection, error) {
		switch conn.Status {
		case claviger.StatusDisabled:
			conn.Status = claviger.StatusActive
			if len(conn.SecretKeys) == 0 && conn.AuthMethod != string(claviger.AuthNone) && conn.Revision == 0 {
				conn.Status = claviger.StatusPending
			} else if dead && !minted {
				conn.Status = claviger.StatusReauthorize
			}
		case claviger.StatusActive:
		case claviger.StatusReauthorize:
			if !minted {
				return conn, b.reconnectable(id, conn.Status.Refusal())
			}
			conn.Status = claviger.StatusActive
		default:
			return conn, conn.Status.Refusal()
		}
		return conn, nil
	})
}

// change updates a connection's facts, not its credentials, with a ledger entry in the
// same transaction, and forgets what was cached of it.
func (b *Broker) change(ctx context.Context, c claviger.Caller, v claviger.Verb, id claviger.ConnectionID, fn func(claviger.Connection) (claviger.Connection, error)) (claviger.Connection, error) {
	conn, err := b.find(ctx, c, v, id)
	if err != nil {
		return conn, err
	}
	err = b.gate.Change(ctx, c, v, conn.Resource(), func(tx *store.Tx, _ *gate.Ticket) error {
		conn, err = tx.UpdateConnection(ctx, c.Scope, id, func(old claviger.Connection, sealed claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
			next, err := fn(old)
			next.UpdatedAt = b.now()
			return next, sealed, err
		})
		if err != nil {
			return err
		}
		return b.announce(ctx, tx, claviger.EventConnectionUpdated, &conn)
	})
	b.lives.drop(id)
	return conn, conflict(err)
}

// setHealth stores what a call found out about a connection's credential, unless it was
// replaced meanwhile. The call itself is in the ledger already.
func (b *Broker) setHealth(ctx context.Context, c claviger.Caller, tried *claviger.Connection, h claviger.Health, fault *claviger.Fault) error {
	id := tried.ID
	region, err := b.db.ConnectionRegion(ctx, c.Scope, id)
	if err != nil {
		return err
	}
	err = b.db.InTx(ctx, region, func(tx *store.Tx) error {
		_, err := tx.UpdateConnection(ctx, c.Scope, id, func(old claviger.Connection, sealed claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
			if old.Revision == tried.Revision && old.Status != claviger.StatusRevoked {
				old.Health, old.LastError = h, fault
			}
			return old, sealed, nil
		})
		return err
	})
	b.lives.drop(id)
	return err
}

// DisableConnections is the kill switch for all connections that a filter names.
func (b *Broker) DisableConnections(ctx context.Context, c claviger.Caller, f ConnectionFilter) (int, error) {
	if f.Connector == "" && f.Workspace == "" && f.TagKey == "" && f.Owner == "" {
		return 0, claviger.Invalid("connector", "required", "Name at least one of connector, workspaceId, tag, owner.")
	}
	if err := b.inReach(ctx, c, claviger.ConnectionsDisable, f.Workspace); err != nil {
		return 0, err
	}
	disabled := 0
	for {
		var list []claviger.Connection
		err := b.gate.Change(ctx, c, claviger.ConnectionsDisable, own(c, "connection", ""), func(tx *store.Tx, t *gate.Ticket) (err error) {
			list, err = tx.DisableConnections(ctx, c.Scope, visible(c, f)) // in batches: those already disabled do not come again
			for i := range list {
				t.Also(list[i].Resource())
				if err == nil {
					err = b.announce(ctx, tx, claviger.EventConnectionUpdated, &list[i])
				}
			}
			return err
		})
		for i := range list {
			b.lives.drop(list[i].ID)
		}
		disabled += len(list)
		if err != nil || len(list) == 0 {
			return disabled, err
		}
	}
}

// inReach refuses a workspace that is not there, so that who mistypes it does not believe
// that its connections were stopped.
func (b *Broker) inReach(ctx context.Context, c claviger.Caller, v claviger.Verb, id claviger.WorkspaceID) error {
	if id == "" {
		return nil
	}
	_, err := b.workspace(ctx, c, v, id)
	return err
}

// visible is a filter that keeps out what the caller may not know of: the personal
// connections of others, unless it administers users.
func visible(c claviger.Caller, f ConnectionFilter) store.ConnectionFilter {
	filter := f.stored()
	if !c.May(claviger.UsersUpdate) {
		filter.VisibleTo = c.OwnerID()
	}
	return filter
}

// References answers what names a connection: ports, slots, sources and data sources.
func (b *Broker) References(ctx context.Context, c claviger.Caller, id claviger.ConnectionID) ([]claviger.Reference, error) {
	if _, err := b.find(ctx, c, claviger.ConnectionsRead, id); err != nil {
		return nil, err
	}
	return []claviger.Reference{}, nil
}
