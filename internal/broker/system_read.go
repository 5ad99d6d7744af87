package broker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/manifest"
	"claviger/internal/store"
)

// SystemShown is a system with the documents of one version.
type SystemShown struct {
	System   claviger.System
	Manifest claviger.Manifest
	SystemDocuments
}

// System answers a connected system with a version of its manifest; 0 is the present
// one.
func (b *Broker) System(ctx context.Context, c claviger.Caller, key string, version int) (SystemShown, error) {
	s, err := b.findSystem(ctx, c, claviger.SystemsRead, key)
	if err != nil {
		return SystemShown{}, err
	}
	if version == 0 {
		version = s.Version
	}
	out := SystemShown{System: s}
	if out.Manifest, err = b.db.Manifest(ctx, c.Scope, &s, version); err != nil {
		return out, absent(err, "version of the system")
	}
	out.SystemDocuments, err = storedDocuments(out.Manifest)
	return out, err
}

// findSystem answers a system if the caller may do v to it.
func (b *Broker) findSystem(ctx context.Context, c claviger.Caller, v claviger.Verb, key string) (claviger.System, error) {
	if err := b.gate.Check(ctx, c, v, orgWide(c, "system", key)); err != nil {
		return claviger.System{}, err
	}
	s, _, err := b.systemOf(ctx, c, v, key)
	return s, err
}

// Systems lists the organization's connected systems by key.
func (b *Broker) Systems(ctx context.Context, c claviger.Caller, p Page) ([]claviger.System, bool, error) {
	if err := b.gate.Check(ctx, c, claviger.SystemsRead, orgWide(c, "system", "")); err != nil {
		return nil, false, err
	}
	list, err := b.db.Systems(ctx, c.Scope, p.plusOne())
	list, more := cut(p, list)
	return list, more, err
}

// SystemVersions lists the versions of a system's manifest, without documents, the
// newest first, those below before.
func (b *Broker) SystemVersions(ctx context.Context, c claviger.Caller, key string, before, limit int) ([]claviger.Manifest, bool, error) {
	s, err := b.findSystem(ctx, c, claviger.SystemsRead, key)
	if err != nil {
		return nil, false, err
	}
	p := Page{Limit: limit}
	list, err := b.db.Manifests(ctx, c.Scope, &s, before, p.plusOne().Limit)
	list, more := cut(p, list)
	return list, more, err
}

// ValidateSystem checks documents as an upload under the key would, and changes nothing.
// Without documents it checks those that are stored.
func (b *Broker) ValidateSystem(ctx context.Context, c claviger.Caller, key string, in SystemDocuments) ([]SystemFault, error) {
	if err := b.gate.Check(ctx, c, claviger.SystemsRead, orgWide(c, "system", key)); err != nil {
		return nil, err
	}
	if in.System == nil {
		shown, err := b.System(ctx, c, key, 0)
		if err != nil {
			return nil, err
		}
		in = shown.SystemDocuments
	}
	policy, err := b.manifestPolicy(ctx, c.Scope)
	if err != nil {
		return nil, err
	}
	bundle := parseManifest(in)
	faults := manifest.Validate(bundle, policy)
	if !manifest.Valid(faults) {
		return faults, nil
	}
	refusal, err := b.refusalUnder(ctx, c.Scope, key, bundle)
	return append(faults, refusal...), err
}

// refusalUnder answers why an upload would refuse a manifest without a fault under a key.
func (b *Broker) refusalUnder(ctx context.Context, s claviger.Scope, key string, bundle *manifest.Bundle) ([]SystemFault, error) {
	old, _, err := b.systemNow(ctx, s, key)
	if err != nil {
		return nil, err
	}
	pointer := "/key"
	if err = underKey(bundle, key); err == nil && old.Version == 0 {
		err = b.checkSystemKey(ctx, s, key)
	}
	if err == nil {
		pointer = ""
		_, _, err = b.compileManifest(bundle)
	}
	if !claviger.IsKind(err, claviger.KindInvalid) && !claviger.IsKind(err, claviger.KindConflict) {
		return nil, err
	}
	e := claviger.AsError(err)
	return []SystemFault{{File: "system", Line: 1, Column: 1, Pointer: pointer, Code: e.FineCode(), Message: e.Message, Severity: manifest.Error}}, nil
}

// RollbackSystem makes an older version's manifest the next version.
func (b *Broker) RollbackSystem(ctx context.Context, c claviger.Caller, key string, version int) (SystemUploaded, error) {
	s, err := b.findSystem(ctx, c, claviger.SystemsWrite, key)
	if err != nil {
		return SystemUploaded{}, err
	}
	if version < 1 || version >= s.Version {
		return SystemUploaded{}, claviger.Invalid("version", "unknown_version", "Name a version before the present one, 1 to %d.", s.Version-1)
	}
	m, err := b.db.Manifest(ctx, c.Scope, &s, version)
	if err != nil {
		return SystemUploaded{}, absent(err, "version of the system")
	}
	docs, err := storedDocuments(m)
	if err != nil {
		return SystemUploaded{}, err
	}
	return b.PutSystem(ctx, c, SystemUpload{Key: key, SystemDocuments: docs, ExpectedVersion: &s.Version})
}

// DeleteSystem ends the connections of a system's slots, revoking their tokens, and
// removes the system. Stored secrets stay: they are deleted by their paths.
func (b *Broker) DeleteSystem(ctx context.Context, c claviger.Caller, key string) error {
	s, err := b.findSystem(ctx, c, claviger.SystemsDelete, key)
	if err != nil {
		return err
	}
	slots, err := b.db.Slots(ctx, c.Scope, &s)
	if err != nil {
		return err
	}
	if err := b.vault.Prepare(ctx, s.Organization); err != nil {
		return err
	}
	r := s.Resource()
	r.Workspace = s.Workspace
	err = b.gate.Change(ctx, c, claviger.SystemsDelete, r, func(tx *store.Tx, t *gate.Ticket) error {
		return b.burySlots(ctx, tx, t, &s, slots)
	})
	if err != nil {
		return err
	}
	for i := range slots {
		b.lives.drop(slots[i].Connection)
	}
	err = b.gate.Change(ctx, c, claviger.SystemsDelete, s.Resource(), func(tx *store.Tx, _ *gate.Ticket) error {
		err := tx.DeleteSystem(ctx, c.Scope, key)
		if errors.Is(err, store.ErrConflict) {
			return claviger.Errorf(claviger.KindConflict, "in_use", "Connections that were made by hand use the system's connector. Delete them first.")
		}
		return absent(err, "system")
	})
	b.connectors.clear()
	return err
}

// burySlots ends the connections of slots.
func (b *Broker) burySlots(ctx context.Context, tx *store.Tx, t *gate.Ticket, s *claviger.System, slots []claviger.Slot) error {
	for i := range slots {
		id := slots[i].Connection
		if id == "" {
			continue
		}
		r := claviger.Resource{
			Type: "connection", ID: string(id), Organization: s.Organization, Workspace: s.Workspace, Connection: id,
			Connector: s.Key, Usage: slots[i].Usage, Slot: slots[i].Key,
		}
		if _, err := b.bury(ctx, tx, t.Also(r), id); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// SlotState is what may be known of a slot: never a value.
type SlotState struct {
	Slot       claviger.Slot
	Serves     bool                 // of the slots of its usage it is the one that is used unless another is named
	Connection *claviger.Connection // nil: there is none yet
	Secrets    []SlotSecret         // in the order of their names
	WebhookURL string               // of the usage webhookInbound
}

// SlotSecret is one of the values that a slot needs.
type SlotSecret struct {
	Name     string
	Path     string
	HasValue bool      // one that the slot may use
	SetAt    time.Time // zero without a value, or where an external store keeps it
}

// SystemSlots answers the slots of a system in the order of its manifest.
func (b *Broker) SystemSlots(ctx context.Context, c claviger.Caller, key string) ([]SlotState, error) {
	s, err := b.findSystem(ctx, c, claviger.SystemsRead, key)
	if err != nil {
		return nil, err
	}
	slots, err := b.db.Slots(ctx, c.Scope, &s)
	if err != nil {
		return nil, err
	}
	out := make([]SlotState, len(slots))
	for i := range slots {
		if out[i], err = b.slotState(ctx, c, &s, slots[i]); err != nil {
			return nil, err
		}
		out[i].Serves = pick(slots, slots[i].Usage, "").Key == slots[i].Key
	}
	return out, nil
}

func (b *Broker) slotState(ctx context.Context, c claviger.Caller, s *claviger.System, slot claviger.Slot) (SlotState, error) {
	out := SlotState{Slot: slot}
	if slot.Usage == claviger.UsageWebhookInbound {
		out.WebhookURL = b.WebhookURL(s)
	}
	id, err := b.slotConnection(ctx, c, s, &slot)
	if err == nil {
		var conn claviger.Connection
		if conn, _, err = b.db.Connection(ctx, c.Scope, id); err == nil {
			out.Connection = &conn
		}
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return out, err
	}
	for _, name := range slices.Sorted(maps.Keys(slot.Paths)) {
		secret := SlotSecret{Name: name, Path: slot.Paths[name]}
		if !slices.Contains(slot.Awaiting, secret.Path) {
			if secret.HasValue, secret.SetAt, err = b.hasValue(ctx, c, secret.Path); err != nil {
				return out, err
			}
		}
		out.Secrets = append(out.Secrets, secret)
	}
	return out, nil
}

// hasValue reports whether something is stored at a path, here or in the external store,
// and since when.
func (b *Broker) hasValue(ctx context.Context, c claviger.Caller, path string) (bool, time.Time, error) {
	if b.vault.Embedded() {
		meta, _, err := b.db.Secret(ctx, c.Scope, path)
		if errors.Is(err, store.ErrNotFound) {
			return false, time.Time{}, nil
		}
		return err == nil, meta.UpdatedAt, err
	}
	t, err := b.gate.Admit(ctx, c, claviger.SystemsRead, orgWide(c, "secret", path), "")
	if err != nil {
		return false, time.Time{}, err
	}
	there, err := b.vault.Present(ctx, t, path)
	t.Done(gate.Ending{Err: err})
	return there, time.Time{}, err
}

// WebhookURL is where a vendor sends a system's events: the address that nobody can
// guess.
func (b *Broker) WebhookURL(s *claviger.System) string {
	return strings.TrimSuffix(b.publicURL, "/") + "/webhooks/" + string(s.Hook) + "/" + s.Key
}
