package broker

import (
	"context"
	"errors"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// Encryption answers how the organization's credentials are encrypted, and how far a
// rotation is.
func (b *Broker) Encryption(ctx context.Context, c claviger.Caller) (EncryptionStatus, error) {
	if err := b.gate.Check(ctx, c, claviger.KeysRead, orgWide(c, "keyset", "")); err != nil {
		return EncryptionStatus{}, err
	}
	return b.encryption(ctx, c)
}

func (b *Broker) encryption(ctx context.Context, c claviger.Caller) (EncryptionStatus, error) {
	s, err := b.vault.Status(ctx, c.Scope)
	return EncryptionStatus{
		Generation: s.Primary, Keys: s.Keys, Sealed: s.Sealed, Outdated: s.Outdated, RotatedAt: s.RotatedAt,
	}, err
}

// RotateEncryption gives the organization a new encryption key and seals everything
// anew under it, while calls go on. If it is interrupted, asking again resumes: as long
// as something is sealed under an older key no further key is made.
func (b *Broker) RotateEncryption(ctx context.Context, c claviger.Caller) (EncryptionStatus, error) {
	r := orgWide(c, "keyset", "")
	before, err := b.vault.Status(ctx, c.Scope)
	if err != nil {
		return EncryptionStatus{}, err
	}
	err = b.gate.Change(ctx, c, claviger.KeysRotate, r, func(tx *store.Tx, t *gate.Ticket) error {
		if before.Outdated > 0 {
			return nil // an interrupted rotation is finished first
		}
		return b.vault.Rotate(ctx, t, tx)
	})
	if err != nil {
		return EncryptionStatus{}, conflict(err)
	}
	b.vault.Evict(c.Scope.Organization())
	if err := b.reseal(ctx, c, r); err != nil {
		return EncryptionStatus{}, err
	}
	return b.encryption(ctx, c)
}

// RotateWorn gives a new encryption key to each organization whose key has sealed so many
// values that another must take over, as claviger itself, in the ledger. It writes one row
// for each; what is stored stays under the older keys, which still open, until somebody
// asks for [Broker.RotateEncryption].
func (b *Broker) RotateWorn(ctx context.Context) error {
	worn, err := b.vault.CountSeals(ctx)
	for _, organization := range worn {
		c := b.system(organization)
		failure := b.gate.Change(ctx, c, claviger.KeysRotate, orgWide(c, "keyset", ""), func(tx *store.Tx, t *gate.Ticket) error {
			return b.vault.RotateWorn(ctx, t, tx)
		})
		if errors.Is(failure, vault.ErrNotWorn) || errors.Is(failure, store.ErrStale) {
			failure = nil // another node was first
		}
		b.vault.Evict(organization)
		err = errors.Join(err, failure)
	}
	return err
}

// reseal seals what is under an older key anew. It opens every credential of the
// organization, so it is admitted and recorded as the use that it is.
func (b *Broker) reseal(ctx context.Context, c claviger.Caller, r claviger.Resource) error {
	t, err := b.gate.Admit(ctx, c, claviger.KeysRotate, r, "")
	if err != nil {
		return err
	}
	err = b.vault.Reseal(ctx, t, func(id claviger.ConnectionID) { b.lives.drop(id) })
	t.Done(gate.Ending{Err: err})
	return err
}
