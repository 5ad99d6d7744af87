package vault

import (
	"context"

	"claviger"
	"claviger/internal/gate"
)

// signOnResource is the type of resource whose tickets cover the secret of an
// organization's client at its provider.
const signOnResource = "single_sign_on"

// SealSignOnSecret seals the secret of an organization's client at its provider for the
// provider's Version. The ticket is one for that provider.
func (v *Vault) SealSignOnSecret(ctx context.Context, t *gate.Ticket, x *claviger.SingleSignOn, secret claviger.Secret) (sealed claviger.Sealed, err error) {
	if !t.Valid() || t.Resource().Type != signOnResource || t.Resource().Organization != x.Organization {
		return nil, ErrNoTicket
	}
	k, err := v.keyset(ctx, x.Organization)
	if err != nil {
		return nil, err
	}
	secret.Use(func(b []byte) { sealed, err = k.Seal(signOnBinding(x), b) })
	return sealed, err
}

// SignOnSecret opens what [Vault.SealSignOnSecret] sealed, to prove the client to its
// provider, or to be sealed anew. The ticket is one for that provider.
func (v *Vault) SignOnSecret(ctx context.Context, t *gate.Ticket, x *claviger.SingleSignOn, sealed claviger.Sealed) (claviger.Secret, error) {
	if !t.Valid() || t.Resource().Type != signOnResource || t.Resource().Organization != x.Organization {
		return claviger.Secret{}, ErrNoTicket
	}
	plain, err := v.openAt(ctx, signOnBinding(x), sealed)
	if err != nil {
		return claviger.Secret{}, err
	}
	defer clear(plain)
	return claviger.NewSecret(plain), nil
}

func signOnBinding(x *claviger.SingleSignOn) claviger.Binding {
	return claviger.Binding{Purpose: "single-sign-on", Organization: x.Organization, ID: string(x.Organization), Revision: x.Version}
}
