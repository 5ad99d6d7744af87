package vault

import (
	"context"

	"claviger"
	"claviger/internal/gate"
)

// SealEventSecret seals the signing secret of an event endpoint for its Version. The
// ticket is one for that endpoint.
func (v *Vault) SealEventSecret(ctx context.Context, t *gate.Ticket, e *claviger.EventEndpoint, secret claviger.Secret) (sealed claviger.Sealed, err error) {
	if !t.Valid() || t.Resource().Type != "event_endpoint" || t.Resource().Organization != e.Organization || t.Resource().ID != string(e.ID) {
		return nil, ErrNoTicket
	}
	k, err := v.keyset(ctx, e.Organization)
	if err != nil {
		return nil, err
	}
	secret.Use(func(b []byte) { sealed, err = k.Seal(e.Binding(e.Version), b) })
	return sealed, err
}

// OpenEventSecret opens what [Vault.SealEventSecret] sealed for a version. It asks for
// no ticket: the secret is claviger's own, opens nothing at any vendor, and signs events
// that were decided and recorded when they happened.
func (v *Vault) OpenEventSecret(ctx context.Context, e *claviger.EventEndpoint, version int64, sealed claviger.Sealed) (claviger.Secret, error) {
	k, err := v.opening(ctx, e.Organization, sealed)
	if err != nil {
		return claviger.Secret{}, err
	}
	plain, err := k.Open(e.Binding(version), sealed)
	if err != nil {
		return claviger.Secret{}, unreadable(err)
	}
	defer clear(plain)
	return claviger.NewSecret(plain), nil
}
