package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"claviger"
)

const systemColumns = "organization, id, key, workspace, hook, name, type, enabled, version, connector, hash, owner, created_at, updated_at"

func scanSystem(r row) (claviger.System, error) {
	var s claviger.System
	var enabled, created, updated int64
	var hash []byte
	err := r.Scan(&s.Organization, &s.ID, &s.Key, &s.Workspace, &s.Hook, &s.DisplayName, &s.Type, &enabled, &s.Version, &s.Connector,
		&hash, &s.Owner, &created, &updated)
	copy(s.Hash[:], hash)
	s.Enabled, s.CreatedAt, s.UpdatedAt = enabled == 1, fromMillis(created), fromMillis(updated)
	return s, err
}

// System answers a connected system by its key.
func (db *DB) System(ctx context.Context, s claviger.Scope, key string) (claviger.System, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return claviger.System{}, err
	}
	w.and("key = ?", key)
	return fromControl(ctx, db, scanSystem, "SELECT "+systemColumns+" FROM systems WHERE "+w.text.String(), w.args...)
}

// SystemAt answers the system that a webhook address names: by the unguessable part of
// it, or, with hook empty, by its key in the instance's first organization. It takes no
// scope: the address is all that a vendor brings.
func (db *DB) SystemAt(ctx context.Context, hook claviger.HookID, key string) (claviger.System, error) {
	if hook != "" {
		return fromControl(ctx, db, scanSystem, "SELECT "+systemColumns+" FROM systems WHERE hook = $1 AND key = $2", string(hook), key)
	}
	return fromControl(ctx, db, scanSystem, "SELECT "+systemColumns+
		" FROM systems WHERE key = $1 AND organization = (SELECT id FROM organizations WHERE instance = 1)", key)
}

// Systems lists connected systems by key.
func (db *DB) Systems(ctx context.Context, s claviger.Scope, page Page) ([]claviger.System, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return nil, err
	}
	page.tailUp(w, "key")
	return listControl(ctx, db, scanSystem, "SELECT "+systemColumns+" FROM systems WHERE "+w.text.String(), w.args...)
}

const slotColumns = "slot, usage, is_default, auth, method, provider, connection, paths, awaiting"

func scanSlot(r row) (claviger.Slot, error) {
	var s claviger.Slot
	var isDefault int64
	var paths, awaiting string
	err := r.Scan(&s.Key, &s.Usage, &isDefault, &s.Auth, &s.Method, &s.Provider, &s.Connection, &paths, &awaiting)
	s.Default = isDefault == 1
	return s, errors.Join(err, undocument(paths, &s.Paths), undocument(awaiting, &s.Awaiting))
}

const slotsOf = "SELECT " + slotColumns + " FROM system_slots WHERE organization = $1 AND system = $2 ORDER BY position"

// Slots lists a system's slots in the order of its manifest.
func (db *DB) Slots(ctx context.Context, s claviger.Scope, of *claviger.System) ([]claviger.Slot, error) {
	if err := covers(s, of.Organization, of.Workspace); err != nil {
		return nil, err
	}
	return listControl(ctx, db, scanSlot, slotsOf, string(of.Organization), string(of.ID))
}

const manifestColumns = "system, version, hash, uploader, created_at"

func scanManifest(r row) (claviger.Manifest, error) { return scanManifestFacts(r) }

func scanWholeManifest(r row) (claviger.Manifest, error) {
	var document []byte
	m, err := scanManifestFacts(r, &document)
	m.Document = document
	return m, err
}

func scanManifestFacts(r row, more ...any) (claviger.Manifest, error) {
	var m claviger.Manifest
	var hash []byte
	var created int64
	err := r.Scan(append([]any{&m.System, &m.Version, &hash, &m.Uploader, &created}, more...)...)
	copy(m.Hash[:], hash)
	m.CreatedAt = fromMillis(created)
	return m, err
}

// Manifest answers one version of a system's manifest.
func (db *DB) Manifest(ctx context.Context, s claviger.Scope, of *claviger.System, version int) (claviger.Manifest, error) {
	if err := covers(s, of.Organization, of.Workspace); err != nil {
		return claviger.Manifest{}, err
	}
	return fromControl(ctx, db, scanWholeManifest, "SELECT "+manifestColumns+", document FROM system_manifests WHERE organization = $1 AND system = $2 AND version = $3",
		string(of.Organization), string(of.ID), int64(version))
}

// Manifests lists the versions of a system's manifest without their documents, the
// newest first, those below the number before; zero is no bound.
func (db *DB) Manifests(ctx context.Context, s claviger.Scope, of *claviger.System, before, limit int) ([]claviger.Manifest, error) {
	if err := covers(s, of.Organization, of.Workspace); err != nil {
		return nil, err
	}
	return listControl(ctx, db, scanManifest, "SELECT "+manifestColumns+` FROM system_manifests
		WHERE organization = $1 AND system = $2 AND ($3 = 0 OR version < $3) ORDER BY version DESC LIMIT $4`,
		string(of.Organization), string(of.ID), int64(before), Page{Limit: limit}.limit())
}

// SystemVersion is what an upload makes of a system.
type SystemVersion struct {
	System    claviger.System // Version and times are set by [Tx.PutSystem]
	Slots     []claviger.Slot
	Document  []byte // canonical
	Connector []byte // the generated connector's document; nil: the one that is there stays
	Uploader  string
}

// PutSystem keeps the next version of a system. change gets the present one, with Version
// 0 if there is none, and may run again. The connector's document becomes the next
// version of the organization's connector of the same key.
func (tx *Tx) PutSystem(ctx context.Context, s claviger.Scope, key string, change func(old claviger.System, slots []claviger.Slot) (SystemVersion, error)) (claviger.System, error) {
	if err := organizationWide(s); err != nil {
		return claviger.System{}, err
	}
	if err := tx.lockOrganization(ctx, s.Organization()); err != nil {
		return claviger.System{}, err
	}
	old, slots, err := tx.systemNow(ctx, s, key)
	if err != nil {
		return claviger.System{}, err
	}
	v, err := change(old, slots)
	if err != nil {
		return claviger.System{}, err
	}
	now := fromMillis(millis(tx.db.now()))
	next := v.System
	next.Organization, next.Key, next.Version, next.UpdatedAt = s.Organization(), key, old.Version+1, now
	if next.CreatedAt = old.CreatedAt; old.Version == 0 {
		next.CreatedAt = now
	}
	if v.Connector != nil {
		if next.Connector, err = tx.PutConnector(ctx, s, key, v.Connector, v.Uploader); err != nil {
			return claviger.System{}, err
		}
	}
	if err := tx.writeSystem(ctx, next); err != nil {
		return claviger.System{}, err
	}
	_, err = tx.exec(ctx, "INSERT INTO system_manifests (organization, "+manifestColumns+", document) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		string(next.Organization), string(next.ID), int64(next.Version), next.Hash[:], v.Uploader, millis(now), filled(v.Document))
	if err != nil {
		return claviger.System{}, err
	}
	if err := tx.writeSlots(ctx, &next, v.Slots); err != nil {
		return claviger.System{}, err
	}
	return next, tx.AddChange(ctx, changeSystem, string(next.ID))
}

func (tx *Tx) systemNow(ctx context.Context, s claviger.Scope, key string) (claviger.System, []claviger.Slot, error) {
	old, err := one(ctx, tx.q, scanSystem, "SELECT "+systemColumns+" FROM systems WHERE organization = $1 AND key = $2", string(s.Organization()), key)
	if errors.Is(err, ErrNotFound) {
		return claviger.System{}, nil, nil
	}
	if err != nil {
		return claviger.System{}, nil, err
	}
	slots, err := many(ctx, tx.q, scanSlot, slotsOf, string(old.Organization), string(old.ID))
	return old, slots, err
}

func (tx *Tx) writeSystem(ctx context.Context, s claviger.System) error {
	_, err := tx.exec(ctx, "INSERT INTO systems ("+systemColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (organization, id) DO UPDATE SET name = excluded.name, type = excluded.type, enabled = excluded.enabled,
		version = excluded.version, connector = excluded.connector, hash = excluded.hash, updated_at = excluded.updated_at`,
		string(s.Organization), string(s.ID), s.Key, string(s.Workspace), string(s.Hook), s.DisplayName, s.Type, bit(s.Enabled),
		int64(s.Version), int64(s.Connector), s.Hash[:], s.Owner, millis(s.CreatedAt), millis(s.UpdatedAt))
	return err
}

func (tx *Tx) writeSlots(ctx context.Context, s *claviger.System, slots []claviger.Slot) error {
	if _, err := tx.exec(ctx, "DELETE FROM system_slots WHERE organization = $1 AND system = $2", string(s.Organization), string(s.ID)); err != nil {
		return err
	}
	for i, slot := range slots {
		_, err := tx.exec(ctx, "INSERT INTO system_slots (organization, system, position, "+slotColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
			string(s.Organization), string(s.ID), int64(i), slot.Key, string(slot.Usage), bit(slot.Default), string(slot.Auth), slot.Method,
			slot.Provider, string(slot.Connection), document(slot.Paths), document(slot.Awaiting))
		if err != nil {
			return err
		}
	}
	return nil
}

// SlotPlace is a slot and the system it is of.
type SlotPlace struct {
	System claviger.System
	Slot   claviger.Slot
}

// SlotOf answers the slot that a connection realises.
func (db *DB) SlotOf(ctx context.Context, s claviger.Scope, id claviger.ConnectionID) (SlotPlace, error) {
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	found, err := slotsWhere(ctx, db.control.reader(), s, "p.connection = ?", string(id), func(slot *claviger.Slot) bool { return slot.Connection == id })
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return SlotPlace{}, err
	}
	return found[0], nil
}

// SettleSlots strikes a path, which was given a value, from what the organization's slots
// wait for, and answers those slots. Call it after [Tx.PutSecret], in its transaction.
func (tx *Tx) SettleSlots(ctx context.Context, s claviger.Scope, path string) ([]SlotPlace, error) {
	if err := organizationWide(s); err != nil {
		return nil, err
	}
	waiting, err := slotsWhere(ctx, tx.q, s, `p.awaiting LIKE ? ESCAPE '\'`, "%"+escapeLike(path)+"%", func(slot *claviger.Slot) bool {
		return slices.Contains(slot.Awaiting, path) // LIKE ignores case on SQLite, and one path may be in another
	})
	if err != nil {
		return nil, err
	}
	for i := range waiting {
		system, slot := &waiting[i].System, &waiting[i].Slot
		slot.Awaiting = slices.DeleteFunc(slot.Awaiting, func(p string) bool { return p == path })
		_, err := tx.exec(ctx, "UPDATE system_slots SET awaiting = $1 WHERE organization = $2 AND system = $3 AND slot = $4",
			document(slot.Awaiting), string(system.Organization), string(system.ID), slot.Key)
		if err := errors.Join(err, tx.AddChange(ctx, changeSystem, string(system.ID))); err != nil {
			return nil, err
		}
	}
	return waiting, nil
}

func slotsWhere(ctx context.Context, q querier, s claviger.Scope, condition, value string, wanted func(*claviger.Slot) bool) ([]SlotPlace, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return nil, err
	}
	w.and("EXISTS (SELECT 1 FROM system_slots p WHERE p.organization = systems.organization AND p.system = systems.id AND "+condition+")", value)
	w.raw(" ORDER BY key")
	systems, err := many(ctx, q, scanSystem, "SELECT "+systemColumns+" FROM systems WHERE "+w.text.String(), w.args...)
	if err != nil {
		return nil, err
	}
	var out []SlotPlace
	for i := range systems {
		slots, err := many(ctx, q, scanSlot, slotsOf, string(systems[i].Organization), string(systems[i].ID))
		if err != nil {
			return nil, err
		}
		for j := range slots {
			if wanted(&slots[j]) {
				out = append(out, SlotPlace{systems[i], slots[j]})
			}
		}
	}
	return out, nil
}

// DeleteSystem removes a system with its manifests, slots and certificate. Its
// connections are the caller's to delete first; living ones are a conflict on
// "connections".
func (tx *Tx) DeleteSystem(ctx context.Context, s claviger.Scope, key string) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	if err := tx.lockOrganization(ctx, s.Organization()); err != nil {
		return err
	}
	old, _, err := tx.systemNow(ctx, s, key)
	if err != nil {
		return err
	}
	if old.ID == "" {
		return ErrNotFound
	}
	for _, table := range []string{"system_certificates", "system_slots", "system_manifests"} {
		if _, err := tx.exec(ctx, "DELETE FROM "+table+" WHERE organization = $1 AND system = $2", string(old.Organization), string(old.ID)); err != nil {
			return err
		}
	}
	if _, err := tx.exec(ctx, "DELETE FROM systems WHERE organization = $1 AND id = $2", string(old.Organization), string(old.ID)); err != nil {
		return err
	}
	if err := tx.DeleteConnector(ctx, s, key); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return tx.AddChange(ctx, changeSystem, string(old.ID))
}

// Certificate is the newest proof of what a system has shown.
type Certificate struct {
	Hash      claviger.Contract // of the manifest that it was signed over
	Level     string
	Document  []byte // the signed statement as it is shown
	CreatedAt time.Time
}

// PutCertificate keeps a system's newest certificate.
func (tx *Tx) PutCertificate(ctx context.Context, s claviger.Scope, of *claviger.System, c Certificate) error {
	if err := covers(s, of.Organization, of.Workspace); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `INSERT INTO system_certificates (organization, system, hash, level, document, created_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (organization, system) DO UPDATE SET hash = excluded.hash, level = excluded.level, document = excluded.document, created_at = excluded.created_at`,
		string(of.Organization), string(of.ID), c.Hash[:], c.Level, filled(c.Document), millis(tx.db.now()))
	return err
}

// Certificate answers a system's newest certificate.
func (db *DB) Certificate(ctx context.Context, s claviger.Scope, of *claviger.System) (Certificate, error) {
	if err := covers(s, of.Organization, of.Workspace); err != nil {
		return Certificate{}, err
	}
	return fromControl(ctx, db, func(r row) (Certificate, error) {
		var c Certificate
		var hash []byte
		var created int64
		err := r.Scan(&hash, &c.Level, &c.Document, &created)
		copy(c.Hash[:], hash)
		c.CreatedAt = fromMillis(created)
		return c, err
	}, "SELECT hash, level, document, created_at FROM system_certificates WHERE organization = $1 AND system = $2", string(of.Organization), string(of.ID))
}
