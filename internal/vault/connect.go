package vault

import (
	"context"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/seal"
)

// SealFlow seals what a connect flow keeps: its code verifier on the way to the vendor,
// and the credentials that wait for its end. The flow's Revision must be the one that
// will be stored.
func (v *Vault) SealFlow(ctx context.Context, t *gate.Ticket, f *claviger.ConnectFlow, values claviger.Credentials) (claviger.Sealed, error) {
	if !t.Covers(f.Organization, f.Draft.ID) {
		return nil, ErrNoTicket
	}
	k, err := v.keyset(ctx, f.Organization)
	if err != nil {
		return nil, err
	}
	return seal.SealCredentials(k, f.Binding(), values)
}

// OpenFlow opens what [Vault.SealFlow] sealed. What it answers is not yet a
// connection's: it serves to redeem a code, to complete the flow or to revoke.
func (v *Vault) OpenFlow(ctx context.Context, t *gate.Ticket, f *claviger.ConnectFlow, sealed claviger.Sealed) (claviger.Credentials, error) {
	if !t.Covers(f.Organization, f.Draft.ID) {
		return nil, ErrNoTicket
	}
	k, err := v.opening(ctx, f.Organization, sealed)
	if err != nil {
		return nil, err
	}
	values, err := seal.OpenCredentials(k, f.Binding(), sealed)
	if err != nil {
		return nil, unreadable(err)
	}
	return values, nil
}
