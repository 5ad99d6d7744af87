package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/gate"
	"claviger/internal/manifest"
	"claviger/internal/store"
)

// SystemDocuments are the documents of a connected system as JSON texts.
type SystemDocuments struct {
	System      json.RawMessage
	DataSources []json.RawMessage
}

// What package manifest finds is answered as it says it.
type (
	// SystemFault is one thing wrong with a manifest.
	SystemFault = manifest.Fault
	// SystemChange is one difference between two versions of a manifest.
	SystemChange = manifest.Change
)

// SystemValid reports whether no fault keeps a manifest from being used.
func SystemValid(faults []SystemFault) bool { return manifest.Valid(faults) }

// Schema is the published JSON Schema of a kind of document.
type Schema struct {
	Kind string // connector, system or datasource
	URL  string // SchemaPath and Kind.json, at the public address
	Text []byte
}

// SchemaPath begins the addresses of the published schemas; by itself it lists them.
const SchemaPath = "/v1/schemas/"

// Schemas answers the published schemas, by kind.
func (b *Broker) Schemas() []Schema {
	list := []Schema{{Kind: "connector", Text: catalog.Schema()}, {Kind: "datasource", Text: manifest.DataSourceSchema()}, {Kind: "system", Text: manifest.SystemSchema()}}
	for i := range list {
		list[i].URL = b.publicURL + SchemaPath + list[i].Kind + ".json"
	}
	return list
}

// SystemUpload is the input of [Broker.PutSystem].
type SystemUpload struct {
	Key string
	SystemDocuments
	Workspace claviger.WorkspaceID // of the slots' connections; empty: "default", or where they are
	// DryRun answers what would change and changes nothing.
	DryRun bool
	// ExpectedVersion refuses the upload if the stored version is another one; nil: any.
	ExpectedVersion *int
}

// SystemUploaded is what an upload made of a system, or would.
type SystemUploaded struct {
	System   claviger.System
	Created  bool
	Changes  []SystemChange // none for an equal manifest
	Warnings []SystemFault
	// Dropped are the kv:// paths whose values were given for another destination and are
	// to be set again.
	Dropped []string
}

// PutSystem stores a manifest as the next version of a connected system, and makes its
// slots connections. Only references to secrets come with it. A slot that now leads to
// another destination waits for its secrets to be given again.
func (b *Broker) PutSystem(ctx context.Context, c claviger.Caller, in SystemUpload) (SystemUploaded, error) {
	r := orgWide(c, "system", in.Key)
	if err := b.gate.Check(ctx, c, claviger.SystemsWrite, r); err != nil {
		return SystemUploaded{}, err
	}
	up, err := b.draftSystem(ctx, c, in)
	if err != nil || in.DryRun || up.unchanged() {
		return up.out, err
	}
	if err := b.vault.Prepare(ctx, r.Organization); err != nil {
		return SystemUploaded{}, err
	}
	err = b.gate.Change(ctx, c, claviger.SystemsWrite, r, func(tx *store.Tx, _ *gate.Ticket) error {
		up.out.System, err = tx.PutSystem(ctx, c.Scope, in.Key, func(old claviger.System, _ []claviger.Slot) (store.SystemVersion, error) {
			if old.Version != up.old.Version {
				return store.SystemVersion{}, versionConflict(in.Key, old.Version)
			}
			return store.SystemVersion{
				System: up.out.System, Slots: up.slots, Document: up.next.Canonical(), Connector: up.connector.Document, Uploader: c.OwnerID(),
			}, nil
		})
		if err != nil {
			return err
		}
		return dropSecrets(ctx, tx, c.Scope, up.discard)
	})
	if err != nil {
		return SystemUploaded{}, conflict(err)
	}
	b.connectors.clear()
	return up.out, b.realise(ctx, c, up.out.System, up.slots, up.was)
}

// dropSecrets destroys values that nothing may use any more.
func dropSecrets(ctx context.Context, tx *store.Tx, s claviger.Scope, paths []string) error {
	for _, path := range paths {
		if err := tx.DeleteSecret(ctx, s, path); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

func versionConflict(key string, now int) *claviger.Error {
	return claviger.Errorf(claviger.KindConflict, "version_conflict", "The system %s is at version %d now. Download it, bring your change over and upload again.", key, now)
}

// upload is an upload on its way into the database.
type upload struct {
	out       SystemUploaded
	old       claviger.System // Version 0: there is none
	was       []claviger.Slot // of old
	prior     *manifest.Bundle
	next      *manifest.Bundle
	compiled  *manifest.Compiled
	connector *claviger.Connector
	slots     []claviger.Slot
	discard   []string // paths of stored values that are destroyed
}

// unchanged reports whether the manifest is the stored one.
func (u *upload) unchanged() bool {
	return u.old.Version > 0 && subtle.ConstantTimeCompare(u.out.System.Hash[:], u.old.Hash[:]) == 1
}

// draftSystem checks everything about an upload and answers what it will make.
func (b *Broker) draftSystem(ctx context.Context, c claviger.Caller, in SystemUpload) (upload, error) {
	var up upload
	var err error
	if up.old, up.was, err = b.systemNow(ctx, c.Scope, in.Key); err != nil {
		return up, err
	}
	if v := in.ExpectedVersion; v != nil && *v != up.old.Version {
		return up, versionConflict(in.Key, up.old.Version)
	}
	if up.next, up.out.Warnings, err = b.checkedManifest(ctx, c.Scope, in.Key, in.SystemDocuments); err != nil {
		return up, err
	}
	if up.old.Version > 0 {
		if up.prior, err = b.storedManifest(ctx, c.Scope, &up.old, up.old.Version); err != nil {
			return up, err
		}
	} else if err := b.checkSystemKey(ctx, c.Scope, in.Key); err != nil {
		return up, err
	}
	up.out.Changes = manifest.Diff(up.prior, up.next)
	if up.compiled, up.connector, err = b.compileManifest(up.next); err != nil {
		return up, err
	}
	if err := b.draftRow(ctx, c, in, &up); err != nil {
		return up, err
	}
	return up, b.draftSlots(ctx, c.Scope, &up)
}

// systemNow answers the stored system with its slots; Version 0 if there is none.
func (b *Broker) systemNow(ctx context.Context, s claviger.Scope, key string) (claviger.System, []claviger.Slot, error) {
	old, err := b.db.System(ctx, s, key)
	if errors.Is(err, store.ErrNotFound) {
		return claviger.System{}, nil, nil
	}
	if err != nil {
		return old, nil, err
	}
	slots, err := b.db.Slots(ctx, s, &old)
	return old, slots, err
}

// checkedManifest reads documents and refuses what is wrong with them; the warnings are
// answered.
func (b *Broker) checkedManifest(ctx context.Context, s claviger.Scope, key string, in SystemDocuments) (*manifest.Bundle, []SystemFault, error) {
	policy, err := b.manifestPolicy(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	bundle := parseManifest(in)
	faults := manifest.Validate(bundle, policy)
	if refusal := manifest.Refusal(faults); refusal != nil {
		return nil, nil, refusal
	}
	return bundle, faults, underKey(bundle, key)
}

// underKey refuses a manifest under another key than its own.
func underKey(bundle *manifest.Bundle, key string) error {
	if bundle.System.Key != key {
		return claviger.Invalid("system.key", "key_mismatch", "The manifest's key is %s, the address says %s.", quoted(bundle.System.Key), quoted(key))
	}
	return nil
}

// parseManifest names the documents as a request's body does.
func parseManifest(in SystemDocuments) *manifest.Bundle {
	parts := make([]manifest.Part, len(in.DataSources))
	for i, d := range in.DataSources {
		parts[i] = manifest.Part{Name: fmt.Sprintf("dataSources.%d", i), Data: d}
	}
	return manifest.Parse(manifest.Part{Name: "system", Data: in.System}, parts)
}

// storedManifest reads a stored version. It was accepted once.
func (b *Broker) storedManifest(ctx context.Context, scope claviger.Scope, s *claviger.System, version int) (*manifest.Bundle, error) {
	m, err := b.db.Manifest(ctx, scope, s, version)
	if err != nil {
		return nil, absent(err, "version of the system")
	}
	docs, err := storedDocuments(m)
	if err != nil {
		return nil, err
	}
	return parseManifest(docs), nil
}

func storedDocuments(m claviger.Manifest) (SystemDocuments, error) {
	var stored struct {
		System      json.RawMessage   `json:"system"`
		DataSources []json.RawMessage `json:"dataSources"`
	}
	if err := json.Unmarshal(m.Document, &stored); err != nil {
		return SystemDocuments{}, claviger.Errorf(claviger.KindInternal, "manifest_unreadable", "The stored manifest cannot be read.").With(err)
	}
	return SystemDocuments{System: stored.System, DataSources: stored.DataSources}, nil
}

// checkSystemKey refuses a key that a connector has: the system's generated one is to
// have it.
func (b *Broker) checkSystemKey(ctx context.Context, s claviger.Scope, key string) error {
	if err := b.catalog.CheckKey(key); err != nil {
		return err
	}
	_, err := b.db.Connector(ctx, s, key, 0)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = claviger.Errorf(claviger.KindConflict, "reserved_key", "A connector of yours has the key %s already. Choose another key for the system.", key)
	}
	return err
}

// compileManifest makes the connector that the slots' connections are of.
func (b *Broker) compileManifest(bundle *manifest.Bundle) (*manifest.Compiled, *claviger.Connector, error) {
	compiled, err := manifest.Compile(bundle)
	if err != nil {
		return nil, nil, err
	}
	k, faults := catalog.Parse(bundle.System.Key, compiled.Connector, catalog.Options{AllowPlain: b.plainHTTP, Generated: true})
	if len(faults) > 0 {
		return nil, nil, catalog.Refusal(faults)
	}
	return compiled, k, nil
}

// draftRow fills in the system's own facts.
func (b *Broker) draftRow(ctx context.Context, c claviger.Caller, in SystemUpload, up *upload) error {
	s := up.old
	if s.Version == 0 {
		id, err := b.newID(claviger.PrefixSystem)
		if err != nil {
			return err
		}
		if s.Hook, err = claviger.NewHookID(b.random); err != nil {
			return err
		}
		if s.Workspace, err = b.workspaceFor(ctx, c, in.Workspace); err != nil {
			return err
		}
		s.ID, s.Organization, s.Key, s.Owner = claviger.SystemID(id), c.Scope.Organization(), in.Key, c.OwnerID()
		up.out.Created = true
	} else if in.Workspace != "" && in.Workspace != s.Workspace {
		return claviger.Invalid("workspaceId", "immutable", "The system's connections live in another workspace. Delete the system to upload it elsewhere.")
	}
	m := &up.next.System
	s.DisplayName, s.Type, s.Enabled = m.DisplayName, m.Type, m.Enabled == nil || *m.Enabled
	s.Hash = sha256.Sum256(up.next.Canonical())
	up.out.System = s
	return nil
}

// draftSlots answers the slots as they will be. One that keeps its key and usage keeps
// its connection; where its destination moved it waits for its secrets to be given again.
func (b *Broker) draftSlots(ctx context.Context, s claviger.Scope, up *upload) error {
	for i := range up.compiled.Slots {
		doc := &up.compiled.Slots[i]
		slot := claviger.Slot{
			Key: doc.Key, Usage: doc.Usage, Default: doc.Default, Auth: claviger.SlotAuth(doc.AuthType), Method: string(doc.Method),
			Provider: doc.APIProviderKey, Paths: doc.Secrets,
		}
		at := slices.IndexFunc(up.was, func(o claviger.Slot) bool { return o.Key == doc.Key && o.Usage == doc.Usage })
		if at >= 0 {
			slot.Connection = up.was[at].Connection
			if err := b.carry(ctx, s, up, &slot, up.was[at].Awaiting, doc.Destination); err != nil {
				return err
			}
		}
		if slot.Auth != claviger.SlotAPIProvider && slot.Connection == "" {
			id, err := b.newID(claviger.PrefixConnection)
			if err != nil {
				return err
			}
			slot.Connection = claviger.ConnectionID(id)
		}
		up.slots = append(up.slots, slot)
	}
	for _, path := range up.out.Dropped {
		if up.alone(path) {
			up.discard = append(up.discard, path)
		}
	}
	return nil
}

// carry takes over what a slot waits for, and adds to it if its destination moved.
func (b *Broker) carry(ctx context.Context, s claviger.Scope, up *upload, slot *claviger.Slot, awaiting []string, destination string) error {
	for _, path := range awaiting {
		if slot.Names(path) {
			slot.Awaiting = append(slot.Awaiting, path)
		}
	}
	before := up.prior.System.Slots()
	i := slices.IndexFunc(before, func(o manifest.Slot) bool { return o.Key == slot.Key })
	if i < 0 || before[i].Destination() == destination {
		return nil
	}
	if m := manifest.Method(slot.Method); m == manifest.MethodOAuth2 || m == manifest.MethodAAD {
		slot.Connection = "" // a new one: the end of the old one revokes the tokens that it holds
	}
	for _, path := range slot.Paths {
		_, _, err := b.db.Secret(ctx, s, path)
		switch {
		case errors.Is(err, store.ErrNotFound) && b.vault.Embedded():
			continue // there is no value that could go astray
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		}
		slot.Awaiting = appendNew(slot.Awaiting, path)
		up.out.Dropped = appendNew(up.out.Dropped, path)
	}
	return nil
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// alone reports whether a dropped value is the system's own, and no slot is left that may
// use it.
func (u *upload) alone(path string) bool {
	if first, _, _ := strings.Cut(path, "/"); first != u.next.System.Key {
		return false
	}
	return !slices.ContainsFunc(u.slots, func(s claviger.Slot) bool { return s.Names(path) && !slices.Contains(s.Awaiting, path) })
}
