package broker

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

// maxAllowedIPs bounds an API key's address list.
const maxAllowedIPs = 50

// CreateAPIKey makes a key with at most the caller's own rights, for the whole
// organization or one workspace.
func (b *Broker) CreateAPIKey(ctx context.Context, c claviger.Caller, in KeyRequest) (NewAPIKey, error) {
	r := own(c, "api_key", "")
	if err := b.gate.Check(ctx, c, claviger.APIKeysCreate, r); err != nil {
		return NewAPIKey{}, err
	}
	key, err := b.draftKey(ctx, c, in)
	if err != nil {
		return NewAPIKey{}, err
	}
	token, hash, hint, err := b.tokens.NewAPIKey()
	if err != nil {
		return NewAPIKey{}, err
	}
	key.Hash, key.Hint = hash, hint
	r.ID = string(key.ID)
	err = b.gate.Change(ctx, c, claviger.APIKeysCreate, r, func(tx *store.Tx, _ *gate.Ticket) error {
		return tx.CreateAPIKey(ctx, c.Scope, key)
	})
	return NewAPIKey{Key: key, Token: token}, conflict(err)
}

func (b *Broker) draftKey(ctx context.Context, c claviger.Caller, in KeyRequest) (claviger.APIKey, error) {
	if err := checkName("name", in.Name); err != nil {
		return claviger.APIKey{}, err
	}
	rights, unknown := claviger.PermissionsOf(in.Scopes...)
	if len(unknown) > 0 {
		return claviger.APIKey{}, claviger.Invalid("scopes", "unknown_scope", "%s is no permission. GET /v1/whoami lists yours.", quoted(string(unknown[0])))
	}
	if len(in.Scopes) == 0 {
		rights = c.Permissions
	}
	if !rights.Within(c.Permissions) {
		return claviger.APIKey{}, claviger.Errorf(claviger.KindDenied, "exceeds_own_rights", "A key cannot have rights that you do not have yourself.")
	}
	if !in.ExpiresAt.IsZero() && !in.ExpiresAt.After(b.now()) {
		return claviger.APIKey{}, claviger.Invalid("expiresAt", "invalid_format", "The moment has passed already.")
	}
	ips, err := prefixes(in.AllowedIPs)
	if err != nil {
		return claviger.APIKey{}, err
	}
	workspace := in.Workspace
	if workspace == "" {
		workspace = c.Scope.Workspace()
	}
	if workspace != "" {
		if workspace, err = b.workspaceFor(ctx, c, workspace); err != nil {
			return claviger.APIKey{}, err
		}
	}
	id, err := b.newID(claviger.PrefixKey)
	if err != nil {
		return claviger.APIKey{}, err
	}
	return claviger.APIKey{
		ID: claviger.KeyID(id), Organization: c.Scope.Organization(), Workspace: workspace, User: c.User, CreatedBy: c.OwnerID(),
		Name: in.Name, Permissions: rights, AllowedIPs: ips, ExpiresAt: earlier(in.ExpiresAt, c), CreatedAt: b.now(),
	}, nil
}

// earlier keeps a key from outliving the key that made it. Short-lived tokens are
// minted from an application, which lasts.
func earlier(wanted time.Time, c claviger.Caller) time.Time {
	if c.Kind != claviger.CallerAPIKey || c.ExpiresAt.IsZero() {
		return wanted
	}
	if wanted.IsZero() || wanted.After(c.ExpiresAt) {
		return c.ExpiresAt
	}
	return wanted
}

func prefixes(list []string) ([]netip.Prefix, error) {
	if len(list) > maxAllowedIPs {
		return nil, claviger.Invalid("allowedIps", "invalid_format", "At most %d ranges are kept.", maxAllowedIPs)
	}
	var out []netip.Prefix
	for _, s := range list {
		p, ok := claviger.ParseAddressRange(s)
		if !ok {
			return nil, claviger.Invalid("allowedIps", "invalid_format", "%s is no address or range. Write 192.0.2.7 or 192.0.2.0/24.", quoted(s))
		}
		out = append(out, p)
	}
	return out, nil
}

// APIKeys lists the keys of the caller's organization, without their values.
func (b *Broker) APIKeys(ctx context.Context, c claviger.Caller, p Page) ([]claviger.APIKey, bool, error) {
	if err := b.gate.Check(ctx, c, claviger.APIKeysRead, own(c, "api_key", "")); err != nil {
		return nil, false, err
	}
	list, err := b.db.APIKeys(ctx, c.Scope, p.plusOne())
	list, more := cut(p, list)
	return list, more, err
}

// RevokeAPIKey ends a key's life at once.
func (b *Broker) RevokeAPIKey(ctx context.Context, c claviger.Caller, id claviger.KeyID) (key claviger.APIKey, err error) {
	err = b.gate.Change(ctx, c, claviger.APIKeysDelete, own(c, "api_key", string(id)), func(tx *store.Tx, _ *gate.Ticket) error {
		err := tx.RevokeAPIKey(ctx, c.Scope, id)
		if errors.Is(err, store.ErrNotFound) {
			return claviger.NotFound("API key")
		}
		return err
	})
	if err != nil {
		return key, err
	}
	b.forget("api_key", string(id))
	return b.db.APIKey(ctx, c.Scope, id)
}

// RevokeTokens ends short-lived tokens before their time: one, or all that were minted
// before a moment.
func (b *Broker) RevokeTokens(ctx context.Context, c claviger.Caller, in TokenSweep) (n int64, err error) {
	if (in.ID == "") == in.Before.IsZero() {
		return 0, claviger.Invalid("before", "required", "Send either tokenId or before.")
	}
	r := own(c, "token", string(in.ID))
	err = b.gate.Change(ctx, c, claviger.TokensRevoke, r, func(tx *store.Tx, _ *gate.Ticket) error {
		if in.ID == "" {
			n, err = tx.RevokeTokens(ctx, c.Scope, in.Before, in.Kind)
			return err
		}
		n = 1
		err := tx.RevokeToken(ctx, c.Scope, in.ID)
		if errors.Is(err, store.ErrNotFound) {
			return claviger.NotFound("token")
		}
		return err
	})
	if err == nil {
		b.forget("organization", string(r.Organization))
	}
	return n, err
}
