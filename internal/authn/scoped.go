package authn

import (
	"context"
	"errors"
	"slices"
	"time"

	"claviger"
	"claviger/internal/store"
)

// MintScoped makes a token of 20 minutes for one workspace of the caller's
// organization, which is found by name or made. region, empty for the default, counts
// only when the workspace is made, but must exist.
//
// The caller needs tokens:mint, and every right that the new token will carry: nobody
// hands on more than they have. To make the workspace it needs workspaces:create.
func (a *Authority) MintScoped(ctx context.Context, c claviger.Caller, name string, region claviger.RegionID) (Minted, error) {
	k := a.kindOf(claviger.CallerScoped)
	org := c.Scope.Organization()
	if err := a.ledger.Check(ctx, c, claviger.TokensMint, claviger.Resource{Type: "token", Organization: org}); err != nil {
		return Minted{}, err
	}
	if !k.role.Permissions().Within(c.Permissions) {
		return Minted{}, claviger.Errorf(claviger.KindDenied, "permission_denied", "A token cannot be given rights that its maker does not have.")
	}
	shown, canonical, err := CanonicalName("workspace_name", name)
	if err != nil {
		return Minted{}, err
	}
	if region != "" && !slices.Contains(a.db.Regions(), region) {
		return Minted{}, claviger.Invalid("region_id", "unknown_region", "There is no region of this id.")
	}
	ws, err := a.workspace(ctx, c, shown, canonical, region)
	if err != nil {
		return Minted{}, err
	}
	life := k.life
	if !c.ExpiresAt.IsZero() && c.Kind == claviger.CallerAPIKey {
		// A key's token does not outlive the key. An operator token is itself a loan of
		// 15 minutes; its scoped tokens have their documented 20.
		if left := c.ExpiresAt.Sub(a.now()).Truncate(time.Second); left < life {
			life = left
		}
		if life < time.Second {
			return Minted{}, invalidToken()
		}
	}
	return a.mint(ctx, c, k, claviger.MintedToken{
		Organization: org, Workspace: ws.ID, Subject: string(ws.ID), MintedBy: c.ID,
	}, life)
}

// workspace finds a workspace by its canonical name or makes it. Of many callers at
// once one makes it; the others meet its unique name and find it.
func (a *Authority) workspace(ctx context.Context, c claviger.Caller, name, canonical string, region claviger.RegionID) (claviger.Workspace, error) {
	ws, err := a.db.WorkspaceByName(ctx, c.Scope, canonical)
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return ws, err
	}
	if region == "" {
		region = defaultRegion(a.db.Regions())
	}
	now := a.now()
	id, err := claviger.NewID(claviger.PrefixWorkspace, now, a.random)
	if err != nil {
		return claviger.Workspace{}, err
	}
	ws = claviger.Workspace{
		ID: claviger.WorkspaceID(id), Organization: c.Scope.Organization(), Name: name, Canonical: canonical,
		Region: region, Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	resource := claviger.Resource{Type: "workspace", ID: id, Organization: ws.Organization}
	err = a.ledger.Change(ctx, c, claviger.WorkspacesCreate, resource, func(tx *store.Tx) error {
		return tx.CreateWorkspace(ctx, c.Scope, ws)
	})
	if errors.Is(err, store.ErrConflict) {
		return a.db.WorkspaceByName(ctx, c.Scope, canonical)
	}
	return ws, err
}

// defaultRegion is the default region where it is configured, else the first.
func defaultRegion(regions []claviger.RegionID) claviger.RegionID {
	if len(regions) == 0 || slices.Contains(regions, claviger.DefaultRegion) {
		return claviger.DefaultRegion
	}
	return regions[0]
}
