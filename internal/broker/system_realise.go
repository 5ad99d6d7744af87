package broker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// realise makes the connections of a system what its slots say: it creates those that
// are missing, moves the others to the present version of the generated connector, and
// ends those of slots that are gone. It may be repeated: what is as it should be stays.
func (b *Broker) realise(ctx context.Context, c claviger.Caller, s claviger.System, slots, was []claviger.Slot) error {
	drafts, err := b.draftConnections(ctx, c, &s, slots, was)
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(slices.Clone(was), func(old claviger.Slot) bool {
		return slices.ContainsFunc(slots, func(s claviger.Slot) bool { return s.Connection == old.Connection })
	})
	r := s.Resource()
	r.Workspace = s.Workspace
	err = b.gate.Change(ctx, c, claviger.SystemsWrite, r, func(tx *store.Tx, t *gate.Ticket) error {
		if err := b.burySlots(ctx, tx, t, &s, gone); err != nil {
			return err
		}
		for i := range drafts {
			if err := b.realiseOne(ctx, tx, t, &drafts[i]); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range drafts {
		b.lives.drop(drafts[i].conn.ID)
	}
	for i := range gone {
		b.lives.drop(gone[i].Connection)
	}
	return conflict(err)
}

// realised is a slot's connection as it is to be.
type realised struct {
	conn  claviger.Connection
	creds claviger.Credentials // references; nil while the slot waits for values
	// other says that a field refers to another path than before, or that there are other
	// fields.
	other bool
}

// draftConnections answers what the slots' connections are to be.
func (b *Broker) draftConnections(ctx context.Context, c claviger.Caller, s *claviger.System, slots, was []claviger.Slot) ([]realised, error) {
	connector, err := b.connector(ctx, c.Scope, s.Key, s.Connector)
	if err != nil {
		return nil, err
	}
	var out []realised
	for i := range slots {
		slot := &slots[i]
		if slot.Auth == claviger.SlotAPIProvider {
			continue
		}
		now := b.now()
		l, err := b.ready(claviger.Connection{
			ID: slot.Connection, Organization: s.Organization, Workspace: s.Workspace, Owner: s.Owner, Connector: s.Key,
			ConnectorVersion: s.Connector, AuthMethod: slot.Key, Name: s.Key + "/" + slot.Key, Usage: slot.Usage, Slot: slot.Key,
			Visibility: claviger.VisibilityWorkspace, Status: claviger.StatusActive, Health: claviger.HealthUnknown,
			Revision: 1, Version: 1, CreatedAt: now, UpdatedAt: now,
		}, nil, connector)
		if err != nil {
			return nil, err
		}
		creds := references(slot)
		if err := describeCredentials(l, creds); err != nil {
			return nil, err
		}
		if l.method.OAuth != nil {
			l.conn.Status = claviger.StatusPending // the vendor is still to issue tokens
		}
		if len(slot.Awaiting) > 0 { // the values are to be given for the new destination
			l.conn.Status, l.conn.SecretKeys, creds = claviger.StatusPending, nil, nil
		}
		other := slices.ContainsFunc(was, func(o claviger.Slot) bool { return o.Connection == slot.Connection && !maps.Equal(o.Paths, slot.Paths) })
		out = append(out, realised{l.conn, creds, other})
	}
	return out, nil
}

// references answers a slot's credentials: the paths where their values are.
func references(slot *claviger.Slot) claviger.Credentials {
	creds := claviger.Credentials{}
	for field, path := range slot.Paths {
		creds[field] = claviger.NewSecretString(claviger.SecretScheme + path)
	}
	return creds
}

func (b *Broker) realiseOne(ctx context.Context, tx *store.Tx, t *gate.Ticket, want *realised) error {
	scope, t := t.Caller().Scope, t.Also(want.conn.Resource())
	now, err := tx.UpdateConnection(ctx, scope, want.conn.ID, func(old claviger.Connection, sealed claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
		next, same := want.over(&old)
		if same {
			return next, sealed, nil
		}
		if want.creds == nil {
			return next, nil, nil
		}
		sealed, err := b.vault.Seal(ctx, t, &next, want.creds)
		return next, sealed, err
	})
	event := claviger.EventConnectionUpdated
	if errors.Is(err, store.ErrNotFound) {
		event = claviger.EventConnectionCreated
		now = want.conn
		var sealed claviger.Sealed
		if want.creds != nil {
			if sealed, err = b.vault.Seal(ctx, t, &now, want.creds); err != nil {
				return err
			}
		}
		err = tx.CreateConnection(ctx, scope, now, sealed)
	}
	if err != nil {
		return err
	}
	return b.announce(ctx, tx, event, &now)
}

// over answers the connection that an old one becomes, and whether its ciphertext stays:
// it is bound for the same place and holds the same references, or tokens that the vendor
// issued for that place.
func (w *realised) over(old *claviger.Connection) (next claviger.Connection, same bool) {
	next = *old
	next.ConnectorVersion, next.UpdatedAt = w.conn.ConnectorVersion, w.conn.UpdatedAt
	moved := old.Destination != w.conn.Destination
	if !moved && !w.other && w.creds != nil && len(old.SecretKeys) > 0 && slices.Equal(old.SecretPaths, w.conn.SecretPaths) {
		return next, true
	}
	next.Destination, next.SecretKeys, next.SecretPaths = w.conn.Destination, w.conn.SecretKeys, w.conn.SecretPaths
	next.Status, next.Health, next.LastError = w.conn.Status, claviger.HealthUnknown, nil
	next.Account, next.GrantedScopes = claviger.Account{}, nil
	next.LastCheckedAt, next.RefreshAt, next.ExpiresAt = time.Time{}, time.Time{}, time.Time{}
	if old.Status == claviger.StatusDisabled {
		next.Status = old.Status // a person switched it off
	}
	next.Revision = old.Revision + 1
	return next, false
}

// settle lets go on what waited for values: slots whose destination moved, and whose
// secrets have all been given again. The system acts: whoever may set a value need not be
// allowed to change systems.
func (b *Broker) settle(ctx context.Context, waited []store.SlotPlace) error {
	for _, p := range waited {
		if len(p.Slot.Awaiting) > 0 {
			continue
		}
		if err := b.realise(ctx, b.system(p.System.Organization), p.System, []claviger.Slot{p.Slot}, nil); err != nil {
			return err
		}
	}
	return nil
}

// tokensForSlot asks the vendor for the first tokens of a slot that gets them with its own
// credentials: its values may have been set long after the upload.
func (b *Broker) tokensForSlot(ctx context.Context, c claviger.Caller, l *live) error {
	p, err := b.db.SlotOf(ctx, c.Scope, l.conn.ID)
	if err != nil {
		return err
	}
	if len(p.Slot.Awaiting) > 0 {
		return vault.Missing(p.Slot.Awaiting[0])
	}
	_, err = b.UpdateConnection(ctx, b.system(l.conn.Organization), ConnectionChange{ID: l.conn.ID, Credentials: references(&p.Slot), SkipValidation: true})
	return err
}
