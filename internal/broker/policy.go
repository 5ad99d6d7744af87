package broker

import (
	"context"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/manifest"
	"claviger/internal/store"
)

// Policy answers what the caller's organization allows that is refused by default.
func (b *Broker) Policy(ctx context.Context, c claviger.Caller) (claviger.Policy, error) {
	if err := b.gate.Check(ctx, c, claviger.OrganizationsRead, orgWide(c, "policy", "")); err != nil {
		return claviger.Policy{}, err
	}
	return b.db.Policy(ctx, c.Scope)
}

// PutPolicy replaces it.
func (b *Broker) PutPolicy(ctx context.Context, c claviger.Caller, p claviger.Policy) (claviger.Policy, error) {
	err := b.gate.Change(ctx, c, claviger.OrganizationsUpdate, orgWide(c, "policy", ""), func(tx *store.Tx, _ *gate.Ticket) error {
		return tx.PutPolicy(ctx, c.Scope, p)
	})
	return p, err
}

// manifestPolicy answers what manifests of an organization may rely on.
func (b *Broker) manifestPolicy(ctx context.Context, s claviger.Scope) (manifest.Policy, error) {
	p, err := b.db.Policy(ctx, s)
	return manifest.Policy{AllowPlain: b.plainHTTP, ServiceFallback: p.SyncFallback}, err
}
