package broker

import (
	"context"
	"slices"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/vault"
)

// leaving is a connection as it was for an account that a reconnect leaves, with tokens
// that nobody will use again.
type leaving struct {
	conn  claviger.Connection
	creds claviger.Credentials
}

// left answers what a reconnect to another account leaves behind, nil for nothing.
func (b *Broker) left(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow) (*leaving, error) {
	if !f.Reconnect || f.Draft.Account.ID == "" {
		return nil, nil
	}
	old, sealed, err := b.db.Connection(ctx, c.Scope, f.Draft.ID)
	if err != nil || sealed == nil || !issued(&old) || old.Account.ID == "" || old.Account.ID == f.Draft.Account.ID {
		return nil, err
	}
	creds, err := b.openBefore(ctx, c, f, &old, sealed)
	if err != nil || creds == nil {
		return nil, err
	}
	return &leaving{old, creds}, nil
}

// openBefore opens what a connection held before a reconnect, which is a use. A damaged
// ciphertext is no reason to refuse a new one: it holds nothing.
func (b *Broker) openBefore(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow, old *claviger.Connection, sealed claviger.Sealed) (claviger.Credentials, error) {
	t, err := b.gate.Admit(ctx, c, f.Verb(), f.Resource(), "")
	if err != nil {
		return nil, err
	}
	stored, err := b.vault.Stored(ctx, t, old, sealed)
	t.Done(gate.Ending{Err: err})
	if err != nil {
		return nil, nil //nolint:nilerr // as above
	}
	return stored, nil
}

// condemnLeft puts the tokens of an account that was left into the flow that left it, for
// their revocation alone, and answers their ciphertext.
func (b *Broker) condemnLeft(ctx context.Context, t *gate.Ticket, f *claviger.ConnectFlow, left *leaving) (claviger.Sealed, error) {
	if left == nil {
		return nil, nil
	}
	was := &left.conn
	f.Draft.Settings, f.Draft.Destination, f.Draft.Account, f.Draft.SecretKeys = was.Settings, was.Destination, was.Account, was.SecretKeys
	f.Draft.ConnectorVersion = was.ConnectorVersion
	f.Revision++
	b.revokeLater(f, slices.Contains(was.SecretKeys, vault.RefreshToken))
	return b.vault.SealFlow(ctx, t, f, left.creds)
}
