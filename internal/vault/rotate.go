package vault

import (
	"context"
	"errors"
	"time"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/gate"
	"claviger/internal/seal"
	"claviger/internal/store"
)

// Status is how an organization's ciphertexts stand to its keys.
type Status struct {
	Primary   uint32 // id of the key that seals now
	Keys      int
	Sealed    int
	Outdated  int // sealed under a key that is not the primary
	RotatedAt time.Time
}

// resealBatch is how many rows are read at a time.
const resealBatch = 200

// Status counts the organization's ciphertexts by key. It opens none.
func (v *Vault) Status(ctx context.Context, s claviger.Scope) (Status, error) {
	organization := s.Organization()
	k, err := v.keyset(ctx, organization)
	if err != nil {
		return Status{}, err
	}
	row, err := v.db.Keyset(ctx, organization)
	if err != nil {
		return Status{}, err
	}
	out := Status{Primary: k.PrimaryID(), Keys: k.Len(), RotatedAt: row.UpdatedAt}
	count := func(sealed claviger.Sealed) {
		out.Sealed++
		if id, err := seal.KeyID(sealed); err != nil || id != out.Primary {
			out.Outdated++
		}
	}
	err = v.eachConnection(ctx, s, func(_ claviger.Connection, sealed claviger.Sealed) error { count(sealed); return nil })
	if err != nil {
		return out, err
	}
	err = v.eachSecret(ctx, s, func(_ claviger.SecretMeta, sealed claviger.Sealed) error { count(sealed); return nil })
	if err != nil {
		return out, err
	}
	if err = v.eachOther(ctx, organization, func(c store.Ciphertext) error { count(c.Sealed); return nil }); err != nil {
		return out, err
	}
	return out, v.eachSpilled(organization, func(x spilled) error { count(x.Sealed); return nil })
}

// eachOther tells of every ciphertext of an organization beside those of connections and
// secrets.
func (v *Vault) eachOther(ctx context.Context, organization claviger.OrganizationID, f func(store.Ciphertext) error) error {
	for _, column := range store.SealedColumns() {
		for _, place := range v.db.Places() {
			for after := ""; ; {
				rows, next, err := v.db.Ciphertexts(ctx, organization, column, place, after, resealBatch)
				if err != nil {
					return err
				}
				for _, row := range rows {
					if err := f(row); err != nil {
						return err
					}
				}
				if after = next; after == "" {
					break
				}
			}
		}
	}
	return nil
}

func (v *Vault) eachConnection(ctx context.Context, s claviger.Scope, f func(claviger.Connection, claviger.Sealed) error) error {
	for after := claviger.ConnectionID(""); ; {
		rows, err := v.db.SealedConnections(ctx, s.Organization(), after, resealBatch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.ID
			conn, sealed, err := v.db.Connection(ctx, s, row.ID)
			if errors.Is(err, store.ErrNotFound) || err == nil && sealed == nil {
				continue // deleted in between
			}
			if err != nil {
				return err
			}
			if err := f(conn, sealed); err != nil {
				return err
			}
		}
		if len(rows) < resealBatch {
			return nil
		}
	}
}

func (v *Vault) eachSecret(ctx context.Context, s claviger.Scope, f func(claviger.SecretMeta, claviger.Sealed) error) error {
	for after := ""; ; {
		rows, err := v.db.SealedSecrets(ctx, s.Organization(), after, resealBatch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.Path
			meta, sealed, err := v.db.Secret(ctx, s, row.Path)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if err := f(meta, sealed); err != nil {
				return err
			}
		}
		if len(rows) < resealBatch {
			return nil
		}
	}
}

// Rotate adds a key to the organization's keyset and makes it the one that seals. The
// old keys still open.
func (v *Vault) Rotate(ctx context.Context, t *gate.Ticket, tx *store.Tx) error {
	organization, ok := t.Keyset()
	if !ok {
		return ErrNoTicket
	}
	row, err := v.db.Keyset(ctx, organization)
	if err != nil {
		return err
	}
	return v.rotate(ctx, row, tx)
}

func (v *Vault) rotate(ctx context.Context, row claviger.Keyset, tx *store.Tx) error {
	k, err := seal.OpenKeyset(ctx, v.kek, row.Organization, row.Wrapped)
	if err != nil {
		return err
	}
	if k, err = k.Rotate(v.random); err != nil {
		return err
	}
	wrapped, err := k.Wrap(ctx, v.kek, row.Organization)
	if err != nil {
		return err
	}
	return tx.PutKeyset(ctx, claviger.Keyset{Organization: row.Organization, Wrapped: wrapped, Master: v.kek.ID(), UpdatedAt: v.now()}, row.Version)
}

// Reseal seals what is under an older key anew, row by row, each in its own
// transaction: it can be cut off anywhere and resumed. changed is told of each
// connection. A row that does not open is left as it is and reported at the end.
func (v *Vault) Reseal(ctx context.Context, t *gate.Ticket, changed func(claviger.ConnectionID)) error {
	organization, ok := t.Keyset()
	if !ok {
		return ErrNoTicket
	}
	v.Evict(organization)
	k, err := v.keyset(ctx, organization)
	if err != nil {
		return err
	}
	r := resealing{vault: v, scope: t.Caller().Scope, keys: k, changed: changed}
	if err := v.eachConnection(ctx, r.scope, func(conn claviger.Connection, sealed claviger.Sealed) error { return r.connection(ctx, conn, sealed) }); err != nil {
		return err
	}
	if err := v.eachSecret(ctx, r.scope, func(meta claviger.SecretMeta, sealed claviger.Sealed) error { return r.secret(ctx, meta, sealed) }); err != nil {
		return err
	}
	if err := v.eachOther(ctx, organization, func(c store.Ciphertext) error { return r.other(ctx, c) }); err != nil {
		return err
	}
	if err := v.eachSpilled(organization, func(x spilled) error { return r.spilled(ctx, x) }); err != nil {
		return err
	}
	return r.unreadable
}

// resealing is one walk over an organization's ciphertexts.
type resealing struct {
	vault      *Vault
	scope      claviger.Scope
	keys       *seal.Keyset
	changed    func(claviger.ConnectionID)
	unreadable error
}

func (r *resealing) current(sealed claviger.Sealed) bool {
	id, err := seal.KeyID(sealed)
	return err == nil && id == r.keys.PrimaryID()
}

func (r *resealing) connection(ctx context.Context, conn claviger.Connection, sealed claviger.Sealed) error {
	if r.current(sealed) {
		return nil
	}
	region, err := r.vault.db.ConnectionRegion(ctx, r.scope, conn.ID)
	if err != nil {
		return err
	}
	err = r.vault.db.InTx(ctx, region, func(tx *store.Tx) error {
		_, err := tx.UpdateConnection(ctx, r.scope, conn.ID, func(now claviger.Connection, sealed claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
			if sealed == nil || r.current(sealed) {
				return now, sealed, nil
			}
			fresh, err := r.again(now.Binding(), sealed)
			return now, fresh, err
		})
		return err
	})
	failpoint.Hit("reseal.row.after")
	r.changed(conn.ID)
	return r.tolerate(err)
}

func (r *resealing) secret(ctx context.Context, meta claviger.SecretMeta, sealed claviger.Sealed) error {
	if r.current(sealed) {
		return nil
	}
	fresh, err := r.again(secretBinding(r.scope.Organization(), meta.Path, meta.Version), sealed)
	if err == nil {
		err = r.vault.db.InTx(ctx, "", func(tx *store.Tx) error {
			return tx.ResealSecret(ctx, r.scope, meta.Path, meta.Version, fresh)
		})
	}
	if errors.Is(err, store.ErrStale) || errors.Is(err, store.ErrNotFound) {
		return nil // a newer value was sealed under the new key already
	}
	return r.tolerate(err)
}

func (r *resealing) other(ctx context.Context, c store.Ciphertext) error {
	if r.current(c.Sealed) {
		return nil
	}
	fresh, err := r.again(c.Binding, c.Sealed)
	if err == nil {
		err = r.vault.db.InTx(ctx, c.Place, func(tx *store.Tx) error { return tx.Reseal(ctx, c, fresh) })
	}
	if errors.Is(err, store.ErrStale) {
		return nil
	}
	return r.tolerate(err)
}

// spilled seals an answer in the spill folder anew.
func (r *resealing) spilled(ctx context.Context, x spilled) error {
	if r.current(x.Sealed) {
		return nil
	}
	b, err := r.vault.bindingOf(ctx, r.scope, &x)
	if err != nil {
		return r.tolerate(err)
	}
	if x.Sealed, err = r.again(b, x.Sealed); err == nil {
		err = r.vault.keep.spill.put(x)
	}
	return r.tolerate(err)
}

// again opens and seals without the plaintext leaving this function.
func (r *resealing) again(b claviger.Binding, sealed claviger.Sealed) (claviger.Sealed, error) {
	plain, err := r.keys.Open(b, sealed)
	if err != nil {
		return nil, unreadable(err)
	}
	defer clear(plain)
	return r.keys.Seal(b, plain)
}

// tolerate remembers a row that does not open and lets the walk go on.
func (r *resealing) tolerate(err error) error {
	if claviger.IsKind(err, claviger.KindInternal) {
		r.unreadable = err
		return nil
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
