package vault

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/gate"
	"claviger/internal/seal"
	"claviger/internal/store"
)

// ErrNoTicket is answered to whoever asks without having been admitted. It is a fault
// of the program, never of a user.
var ErrNoTicket = errors.New("vault: no ticket of the gate covers this")

// External is a secret store outside claviger that kv:// references resolve in. See
// package keeper.
type External interface {
	// Get answers the value at a path, or a *claviger.Error of KindNotFound.
	Get(ctx context.Context, organization claviger.OrganizationID, path string) (claviger.Secret, error)
}

// Config is what a Vault is made of.
type Config struct {
	Store    *store.DB
	KEK      seal.KEK
	Former   []seal.KEK       // master keys that keysets may still be wrapped under
	External External         // nil: kv:// resolves in the embedded store
	Now      func() time.Time // nil: time.Now
	Random   io.Reader        // nil: crypto/rand
	// RotateSeals is after how many values [Vault.CountSeals] calls a key worn. 0:
	// [seal.RotateSeals].
	RotateSeals int64
}

// Vault seals and opens credentials. Its methods may be called from many goroutines.
type Vault struct {
	db       *store.DB
	kek      seal.KEK
	external External
	now      func() time.Time
	random   io.Reader

	instance *seal.Keyset

	keep    *keeping // nil: tokens are used as they are stored
	vendors *vendors
	pins    *pins

	wornAt int64

	mu      sync.RWMutex
	keysets map[claviger.OrganizationID]*seal.Keyset
	uncount map[claviger.OrganizationID]int64 // sealed by keysets that are no longer in memory, and not counted
}

// maxKeysets bounds the opened keysets in memory; beyond it they are opened anew.
const maxKeysets = 10_000

// Open proves the master key on the instance's own keyset, which it makes on an empty
// database. A wrong master key is an error that says so, and so is the lack of one that
// some keyset is still wrapped under (KindInvalid, Param master.key.previous); nothing is
// changed.
func Open(ctx context.Context, c Config) (*Vault, error) {
	v := &Vault{
		db: c.Store, kek: seal.Ring(c.KEK, c.Former...), external: c.External, now: c.Now, random: c.Random,
		vendors: newVendors(), pins: newPins(), wornAt: cmp.Or(c.RotateSeals, seal.RotateSeals),
		keysets: map[claviger.OrganizationID]*seal.Keyset{}, uncount: map[claviger.OrganizationID]int64{},
	}
	if v.now == nil {
		v.now = time.Now
	}
	if v.random == nil {
		v.random = rand.Reader
	}
	k, err := v.keyset(ctx, "")
	if err != nil {
		return nil, err
	}
	v.instance = k
	return v, v.settleMasters(ctx, c.Former)
}

// Prepare opens an organization's keyset, making it if there is none. Call it before a
// transaction in which [Vault.Seal] is called: making a keyset is a transaction of its
// own, and one database writes one at a time.
func (v *Vault) Prepare(ctx context.Context, organization claviger.OrganizationID) error {
	_, err := v.keyset(ctx, organization)
	return err
}

// Seal seals credentials into their connection's row. The connection's Revision and
// Destination must be those that will be stored.
func (v *Vault) Seal(ctx context.Context, t *gate.Ticket, conn *claviger.Connection, creds claviger.Credentials) (claviger.Sealed, error) {
	if !t.Covers(conn.Organization, conn.ID) {
		return nil, ErrNoTicket
	}
	k, err := v.keyset(ctx, conn.Organization)
	if err != nil {
		return nil, err
	}
	return seal.SealCredentials(k, conn.Binding(), creds)
}

// Fresh opens a connection's credentials for the call that the ticket admits, with
// kv:// references resolved to their present values.
//
// The access token of an OAuth connection is refreshed when that is due: in the
// background while it lives, before the answer when it has ended.
//
// Errors: KindInternal with code credential_unreadable if the ciphertext is not the one
// that belongs there; KindReauthorize with code secret_missing if a reference leads
// nowhere. Of a token that has ended: KindTimeout with code refresh_in_progress if a
// refresh takes longer than a caller waits, and goes on; KindReauthorize if the vendor
// no longer accepts it; KindUpstream and KindRateLimited, with RetryAfter, if the vendor
// does not issue another now.
func (v *Vault) Fresh(ctx context.Context, t *gate.Ticket, conn *claviger.Connection, sealed claviger.Sealed) (claviger.Credentials, error) {
	if !conn.RefreshAt.IsZero() && v.keep != nil {
		return v.freshTokens(ctx, t, conn, sealed)
	}
	creds, err := v.Stored(ctx, t, conn, sealed)
	if err != nil || len(conn.SecretPaths) == 0 {
		return creds, err
	}
	return v.Resolve(ctx, t, creds)
}

// Stored is [Vault.Fresh] without resolving references: for sealing the values anew.
func (v *Vault) Stored(ctx context.Context, t *gate.Ticket, conn *claviger.Connection, sealed claviger.Sealed) (claviger.Credentials, error) {
	if !t.Covers(conn.Organization, conn.ID) {
		return nil, ErrNoTicket
	}
	k, err := v.opening(ctx, conn.Organization, sealed)
	if err != nil {
		return nil, err
	}
	creds, err := seal.OpenCredentials(k, conn.Binding(), sealed)
	if err != nil {
		return nil, unreadable(err)
	}
	return creds, nil
}

// unreadable is the one answer for a ciphertext that does not open, whatever the cause.
func unreadable(cause error) *claviger.Error {
	return claviger.Errorf(claviger.KindInternal, "credential_unreadable",
		"The stored credential is not the one that belongs here, so it was not used. Restore the row, or store the credential again.").With(cause)
}

// keyset answers an organization's opened keyset, making it at first use.
func (v *Vault) keyset(ctx context.Context, organization claviger.OrganizationID) (*seal.Keyset, error) {
	v.mu.RLock()
	k := v.keysets[organization]
	v.mu.RUnlock()
	if k != nil {
		return k, nil
	}
	row, err := v.db.Keyset(ctx, organization)
	if errors.Is(err, store.ErrNotFound) {
		row, err = v.makeKeyset(ctx, organization)
	}
	if err != nil {
		return nil, fmt.Errorf("vault: keyset: %w", err)
	}
	k, err = seal.OpenKeyset(ctx, v.kek, organization, row.Wrapped)
	if err != nil {
		return nil, err
	}
	k.Sealed(row.Seals)
	v.remember(organization, k)
	return k, nil
}

// opening answers the keyset to open a ciphertext with. A key that is not in memory may
// be one that another node made a moment ago: the keyset is then read again.
func (v *Vault) opening(ctx context.Context, organization claviger.OrganizationID, sealed claviger.Sealed) (*seal.Keyset, error) {
	k, err := v.keyset(ctx, organization)
	if err != nil {
		return nil, err
	}
	if id, err := seal.KeyID(sealed); err == nil && !k.Has(id) {
		v.Evict(organization)
		return v.keyset(ctx, organization)
	}
	return k, nil
}

func (v *Vault) remember(organization claviger.OrganizationID, k *seal.Keyset) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.keysets) >= maxKeysets {
		for other := range v.keysets {
			v.forget(other)
		}
	}
	v.forget(organization) // another goroutine may have been first
	v.keysets[organization] = k
}

// makeKeyset stores a new keyset, or answers the one that another node was first with.
func (v *Vault) makeKeyset(ctx context.Context, organization claviger.OrganizationID) (claviger.Keyset, error) {
	k, err := seal.NewKeyset(v.random)
	if err != nil {
		return claviger.Keyset{}, err
	}
	wrapped, err := k.Wrap(ctx, v.kek, organization)
	if err != nil {
		return claviger.Keyset{}, err
	}
	row := claviger.Keyset{Organization: organization, Wrapped: wrapped, Master: v.kek.ID(), Version: 1, UpdatedAt: v.now()}
	err = v.db.InTx(ctx, "", func(tx *store.Tx) error { return tx.PutKeyset(ctx, row, 0) })
	failpoint.Hit("keyset.made")
	if errors.Is(err, store.ErrConflict) {
		return v.db.Keyset(ctx, organization)
	}
	return row, err
}

// Evict forgets an organization's opened keyset, after another node rotated it.
func (v *Vault) Evict(organization claviger.OrganizationID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget(organization)
}

// forget drops a keyset from memory; what it sealed is still to be counted. The caller
// holds the lock.
func (v *Vault) forget(organization claviger.OrganizationID) {
	if k := v.keysets[organization]; k != nil {
		v.note(organization, k.TakeSeals())
		delete(v.keysets, organization)
	}
}

// SealInstance seals a value of the instance's own, such as a signing key, under its
// name.
func (v *Vault) SealInstance(name string, plaintext []byte) ([]byte, error) {
	return v.instance.Seal(instanceBinding(name), plaintext)
}

// OpenInstance opens what [Vault.SealInstance] sealed under the same name.
func (v *Vault) OpenInstance(name string, sealed []byte) ([]byte, error) {
	return v.instance.Open(instanceBinding(name), sealed)
}

func instanceBinding(name string) claviger.Binding {
	return claviger.Binding{Purpose: "instance", ID: name}
}
