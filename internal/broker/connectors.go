package broker

import (
	"context"
	"errors"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/gate"
	"claviger/internal/store"
)

type connectorKey struct {
	organization claviger.OrganizationID
	key          string
	version      int
}

// maxListed bounds how many custom connectors of one organization are read for a list.
const maxListed = 1000

// connector answers a built-in connector, or a version of one of the caller's
// organization; version 0 is the newest. What does not exist is KindNotFound.
func (b *Broker) connector(ctx context.Context, s claviger.Scope, key string, version int) (*claviger.Connector, error) {
	if k, ok := b.catalog.Get(key); ok {
		if version > 1 {
			return nil, claviger.NotFound("connector")
		}
		return k, nil
	}
	at := connectorKey{s.Organization(), key, version}
	if version > 0 {
		if k, _, ok := b.connectors.get(at); ok {
			return k, nil
		}
	}
	_, generation, _ := b.connectors.get(at)
	row, err := b.db.Connector(ctx, s, key, version)
	if errors.Is(err, store.ErrNotFound) {
		return nil, claviger.NotFound("connector")
	}
	if err != nil {
		return nil, err
	}
	k, err := b.compile(row)
	if err != nil {
		return nil, err
	}
	at.version = row.Version
	b.connectors.put(at, k, generation)
	return k, nil
}

// namedConnector is [Broker.connector] for a name in a request: an unknown one is a
// fault of that field.
func (b *Broker) namedConnector(ctx context.Context, s claviger.Scope, key string) (*claviger.Connector, error) {
	k, err := b.connector(ctx, s, key, 0)
	if claviger.IsKind(err, claviger.KindNotFound) {
		return nil, claviger.Invalid("connector", "unknown_connector", "There is no such connector. List them with GET /v1/connectors.")
	}
	return k, err
}

// compile reads a stored document. It was accepted once, so a fault now is ours.
func (b *Broker) compile(row store.ConnectorRow) (*claviger.Connector, error) {
	k, faults := catalog.Parse(row.Key, row.Document, catalog.Options{AllowPlain: b.plainHTTP, Generated: true})
	if len(faults) > 0 {
		return nil, claviger.Errorf(claviger.KindConflict, "connector_refused",
			"The stored definition of %s is not accepted any more: %s", row.Key, faults[0].Message)
	}
	k.Version, k.Organization = row.Version, row.Organization
	return k, nil
}

// Connectors lists the built-in connectors and those of the caller's organization, by
// key.
func (b *Broker) Connectors(ctx context.Context, c claviger.Caller, f ConnectorFilter) ([]*claviger.Connector, error) {
	if err := b.gate.Check(ctx, c, claviger.ConnectorsRead, orgWide(c, "connector", "")); err != nil {
		return nil, err
	}
	all, err := b.allConnectors(ctx, c.Scope)
	if err != nil {
		return nil, err
	}
	search := strings.ToLower(f.Search)
	return slices.DeleteFunc(all, func(k *claviger.Connector) bool {
		return f.Kind != "" && k.Kind != f.Kind ||
			f.Category != "" && !slices.Contains(k.Categories, f.Category) ||
			search != "" && !strings.Contains(k.Key, search) && !strings.Contains(strings.ToLower(k.Name), search)
	}), nil
}

func (b *Broker) allConnectors(ctx context.Context, s claviger.Scope) ([]*claviger.Connector, error) {
	all := slices.Clone(b.catalog.List(catalog.Filter{}))
	page := store.Page{Limit: 100}
	for n := 0; n < maxListed; {
		rows, err := b.db.ConnectorRows(ctx, s, page)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			k, err := b.connector(ctx, s, row.Key, row.Version)
			if err != nil {
				b.log.WarnContext(ctx, "a stored connector is not accepted", "connector", row.Key, "error", err)
				continue
			}
			all = append(all, k)
			page.After = row.Key
		}
		n += len(rows)
		if len(rows) < page.Limit {
			break
		}
	}
	slices.SortFunc(all, func(x, y *claviger.Connector) int { return strings.Compare(x.Key, y.Key) })
	return all, nil
}

// Connector answers one connector, version 0 being the newest.
func (b *Broker) Connector(ctx context.Context, c claviger.Caller, key string, version int) (*claviger.Connector, error) {
	r := orgWide(c, "connector", key)
	if err := b.gate.Check(ctx, c, claviger.ConnectorsRead, r); err != nil {
		return nil, err
	}
	k, err := b.connector(ctx, c.Scope, key, version)
	if claviger.IsKind(err, claviger.KindNotFound) {
		return nil, b.gate.Absent(ctx, c, claviger.ConnectorsRead, r)
	}
	return k, err
}

// PutConnector stores a document as the next version of an organization's own
// connector. Existing connections stay on the version they were made with. The first
// fault of a document is the error, with its line, column and path.
func (b *Broker) PutConnector(ctx context.Context, c claviger.Caller, key string, document []byte) (StoredConnector, error) {
	r := orgWide(c, "connector", key)
	if err := b.gate.Check(ctx, c, claviger.ConnectorsWrite, r); err != nil {
		return StoredConnector{}, err
	}
	if err := b.catalog.CheckKey(key); err != nil {
		return StoredConnector{}, err
	}
	k, faults := catalog.Parse(key, document, catalog.Options{AllowPlain: b.plainHTTP})
	if len(faults) > 0 {
		return StoredConnector{}, catalog.Refusal(faults)
	}
	if k.Key != key {
		return StoredConnector{}, claviger.Invalid("key", "key_mismatch", "The document's key is %s, the address says %s.", k.Key, key)
	}
	old, err := b.connector(ctx, c.Scope, key, 0)
	if err != nil && !claviger.IsKind(err, claviger.KindNotFound) && !claviger.IsKind(err, claviger.KindConflict) {
		return StoredConnector{}, err
	}
	out := StoredConnector{Connector: k, Created: old == nil}
	err = b.gate.Change(ctx, c, claviger.ConnectorsWrite, r, func(tx *store.Tx, _ *gate.Ticket) error {
		k.Version, err = tx.PutConnector(ctx, c.Scope, key, k.Document, c.OwnerID())
		return err
	})
	if err != nil {
		return StoredConnector{}, conflict(err)
	}
	k.Organization = c.Scope.Organization()
	b.connectors.clear()
	if old != nil {
		for _, d := range catalog.Diff(old, k) {
			out.Changes = append(out.Changes, ConnectorChange{Path: d.Path, Old: d.Old, New: d.New, Security: d.Security})
		}
	}
	return out, nil
}

// DeleteConnector removes an organization's own connector. Living connections keep it
// from being deleted.
func (b *Broker) DeleteConnector(ctx context.Context, c claviger.Caller, key string) error {
	r := orgWide(c, "connector", key)
	if _, ok := b.catalog.Get(key); ok {
		return b.gate.Refuse(ctx, c, claviger.ConnectorsDelete, r, claviger.Errorf(claviger.KindConflict, "built_in", "A built-in connector cannot be deleted."))
	}
	err := b.gate.Change(ctx, c, claviger.ConnectorsDelete, r, func(tx *store.Tx, _ *gate.Ticket) error {
		err := tx.DeleteConnector(ctx, c.Scope, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return claviger.NotFound("connector")
		case errors.Is(err, store.ErrConflict):
			return claviger.Errorf(claviger.KindConflict, "in_use", "Connections use this connector. Delete them first.")
		}
		return err
	})
	b.connectors.clear()
	return err
}
