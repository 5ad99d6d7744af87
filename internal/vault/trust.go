package vault

import (
	"context"

	"claviger"
	"claviger/internal/certify"
	"claviger/internal/gate"
)

// SealTrustKey seals the key that an organization signs certificates with. The ticket is
// for one of its systems.
func (v *Vault) SealTrustKey(ctx context.Context, t *gate.Ticket, key claviger.Secret) (sealed claviger.Sealed, err error) {
	organization, err := ofSystem(t)
	if err != nil {
		return nil, err
	}
	k, err := v.keyset(ctx, organization)
	if err != nil {
		return nil, err
	}
	key.Use(func(b []byte) { sealed, err = k.Seal(trustBinding(organization), b) })
	return sealed, err
}

// Certify signs a statement about a system with its organization's key, which stays in
// here.
func (v *Vault) Certify(ctx context.Context, t *gate.Ticket, sealed claviger.Sealed, s certify.Statement) (certify.Certificate, error) {
	organization, err := ofSystem(t)
	if err != nil {
		return certify.Certificate{}, err
	}
	plain, err := v.openAt(ctx, trustBinding(organization), sealed)
	if err != nil {
		return certify.Certificate{}, err
	}
	defer clear(plain)
	return certify.Sign(claviger.NewSecret(plain), s)
}

// ofSystem answers the organization of the system that a ticket admits to.
func ofSystem(t *gate.Ticket) (claviger.OrganizationID, error) {
	if !t.Valid() || t.Resource().Type != "system" {
		return "", ErrNoTicket
	}
	return t.Resource().Organization, nil
}

func trustBinding(organization claviger.OrganizationID) claviger.Binding {
	return claviger.Binding{Purpose: "trust-key", Organization: organization, ID: string(organization)}
}
