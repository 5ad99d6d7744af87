package broker

import (
	"context"
	"errors"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

// defaultName is the name of the organization and the workspace that set-up makes.
const defaultName = "default"

// CreateOrganization makes a tenant with its workspace "default", an owner, an
// application and an owner's API key. Only the instance's administrator may.
func (b *Broker) CreateOrganization(ctx context.Context, c claviger.Caller, name string) (NewOrganization, error) {
	r := orgWide(c, "organization", "")
	if err := b.gate.Check(ctx, c, claviger.OrganizationsCreate, r); err != nil {
		return NewOrganization{}, err
	}
	if err := checkName("name", name); err != nil {
		return NewOrganization{}, err
	}
	out, write, err := b.founder.Found(name, b.db.Regions())
	if err != nil {
		return NewOrganization{}, err
	}
	err = b.gate.Change(ctx, c, claviger.OrganizationsCreate, r, func(tx *store.Tx, t *gate.Ticket) error {
		r.ID = string(out.Organization.ID)
		t.Name(r)
		return write(ctx, tx)
	})
	return out, conflict(err)
}

// Organizations lists all tenants to the instance's administrator, and its own to
// anybody else.
func (b *Broker) Organizations(ctx context.Context, c claviger.Caller, p Page) ([]claviger.Organization, bool, error) {
	if err := b.gate.Check(ctx, c, claviger.OrganizationsRead, orgWide(c, "organization", "")); err != nil {
		return nil, false, err
	}
	if !c.InstanceAdmin {
		o, err := b.db.OrganizationByID(ctx, c.Scope.Organization())
		return []claviger.Organization{o}, false, err
	}
	list, err := b.db.Organizations(ctx, p.plusOne())
	list, more := cut(p, list)
	return list, more, err
}

// Organization answers one tenant: the caller's own, or any to the instance's
// administrator.
func (b *Broker) Organization(ctx context.Context, c claviger.Caller, id claviger.OrganizationID) (claviger.Organization, error) {
	r := claviger.Resource{Type: "organization", ID: string(id), Organization: id}
	if c.InstanceAdmin {
		r.Organization = c.Scope.Organization()
	}
	if err := b.gate.Check(ctx, c, claviger.OrganizationsRead, r); err != nil {
		return claviger.Organization{}, err
	}
	o, err := b.db.OrganizationByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return o, b.gate.Absent(ctx, c, claviger.OrganizationsRead, r)
	}
	return o, err
}

// CreateWorkspace makes a workspace. An empty region is the default one.
func (b *Broker) CreateWorkspace(ctx context.Context, c claviger.Caller, name string, region claviger.RegionID) (claviger.Workspace, error) {
	r := own(c, "workspace", "")
	if err := b.gate.Check(ctx, c, claviger.WorkspacesCreate, r); err != nil {
		return claviger.Workspace{}, err
	}
	shown, canonical, err := b.founder.CanonicalName("name", name)
	if err != nil {
		return claviger.Workspace{}, err
	}
	if region == "" {
		region = claviger.DefaultRegion
	}
	if !b.knownRegion(region) {
		return claviger.Workspace{}, claviger.Invalid("region", "unknown_region", "No such region is configured.")
	}
	id, err := b.newID(claviger.PrefixWorkspace)
	if err != nil {
		return claviger.Workspace{}, err
	}
	now := b.now()
	w := claviger.Workspace{
		ID: claviger.WorkspaceID(id), Organization: c.Scope.Organization(), Name: shown, Canonical: canonical,
		Region: region, Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	r = claviger.Resource{Type: "workspace", ID: id, Organization: w.Organization}
	err = b.gate.Change(ctx, c, claviger.WorkspacesCreate, r, func(tx *store.Tx, _ *gate.Ticket) error {
		return tx.CreateWorkspace(ctx, c.Scope, w)
	})
	return w, conflict(err)
}

func (b *Broker) knownRegion(id claviger.RegionID) bool {
	for _, r := range b.db.Regions() {
		if r == id {
			return true
		}
	}
	return false
}

// Workspaces lists the workspaces in the caller's reach.
func (b *Broker) Workspaces(ctx context.Context, c claviger.Caller, p Page) ([]claviger.Workspace, bool, error) {
	if err := b.gate.Check(ctx, c, claviger.WorkspacesRead, own(c, "workspace", "")); err != nil {
		return nil, false, err
	}
	list, err := b.db.Workspaces(ctx, c.Scope, p.plusOne())
	list, more := cut(p, list)
	return list, more, err
}

// Workspace answers one workspace.
func (b *Broker) Workspace(ctx context.Context, c claviger.Caller, id claviger.WorkspaceID) (claviger.Workspace, error) {
	return b.workspace(ctx, c, claviger.WorkspacesRead, id)
}

func (b *Broker) workspace(ctx context.Context, c claviger.Caller, v claviger.Verb, id claviger.WorkspaceID) (claviger.Workspace, error) {
	w, err := b.db.Workspace(ctx, c.Scope, id)
	if errors.Is(err, store.ErrNotFound) {
		return w, b.gate.Absent(ctx, c, v, claviger.Resource{Type: "workspace", ID: string(id)})
	}
	if err != nil {
		return w, err
	}
	return w, b.gate.Check(ctx, c, v, workspaceResource(w))
}

func workspaceResource(w claviger.Workspace) claviger.Resource {
	return claviger.Resource{Type: "workspace", ID: string(w.ID), Organization: w.Organization, Workspace: w.ID}
}

// workspaceFor answers where something new belongs: the named workspace, else the
// token's, else "default".
func (b *Broker) workspaceFor(ctx context.Context, c claviger.Caller, id claviger.WorkspaceID) (claviger.WorkspaceID, error) {
	if id == "" {
		id = c.Scope.Workspace()
	}
	if id != "" {
		w, err := b.db.Workspace(ctx, c.Scope, id)
		if errors.Is(err, store.ErrNotFound) {
			return "", b.gate.Absent(ctx, c, claviger.ConnectionsCreate, claviger.Resource{Type: "workspace", ID: string(id)})
		}
		return w.ID, err
	}
	w, err := b.db.WorkspaceByName(ctx, c.Scope, defaultName)
	if errors.Is(err, store.ErrNotFound) {
		return "", claviger.Invalid("workspaceId", "required", "Name the workspace: there is none called %q.", defaultName)
	}
	return w.ID, err
}

// RenameWorkspace gives a workspace another name.
func (b *Broker) RenameWorkspace(ctx context.Context, c claviger.Caller, id claviger.WorkspaceID, name string) (w claviger.Workspace, err error) {
	shown, canonical, err := b.founder.CanonicalName("name", name)
	if err != nil {
		return w, err
	}
	if w, err = b.workspace(ctx, c, claviger.WorkspacesUpdate, id); err != nil {
		return w, err
	}
	err = b.gate.Change(ctx, c, claviger.WorkspacesUpdate, controlOf(workspaceResource(w)), func(tx *store.Tx, _ *gate.Ticket) error {
		w, err = tx.UpdateWorkspace(ctx, c.Scope, id, func(old claviger.Workspace) (claviger.Workspace, error) {
			old.Name, old.Canonical, old.UpdatedAt = shown, canonical, b.now()
			return old, nil
		})
		return err
	})
	return w, conflict(err)
}

// controlOf answers a workspace as a matter of its organization: its name and region
// are kept in the control database, wherever its contents are.
func controlOf(r claviger.Resource) claviger.Resource {
	r.Workspace = ""
	return r
}

// DeleteWorkspace removes an empty workspace.
func (b *Broker) DeleteWorkspace(ctx context.Context, c claviger.Caller, id claviger.WorkspaceID) error {
	w, err := b.workspace(ctx, c, claviger.WorkspacesDelete, id)
	if err != nil {
		return err
	}
	if w.Canonical == defaultName {
		return claviger.Errorf(claviger.KindConflict, "default_workspace", "The workspace %q takes what names no other, so it stays.", defaultName)
	}
	err = b.gate.Change(ctx, c, claviger.WorkspacesDelete, controlOf(workspaceResource(w)), func(tx *store.Tx, _ *gate.Ticket) error {
		err := tx.DeleteWorkspace(ctx, c.Scope, id)
		if errors.Is(err, store.ErrConflict) {
			return claviger.Errorf(claviger.KindConflict, "not_empty", "The workspace still has connections. Delete them first.")
		}
		return err
	})
	if err == nil {
		b.forget("workspace", string(id))
	}
	return err
}
