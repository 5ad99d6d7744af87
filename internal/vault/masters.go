package vault

import (
	"context"
	"slices"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/seal"
	"claviger/internal/store"
)

// maxBatches bounds one pass: nodes that were given the two keys the other way round must
// not wrap against each other for ever.
const maxBatches = 20_000

// rewrapBatch is how many keysets one transaction wraps anew: the others who write wait
// no longer than for that.
const rewrapBatch = 50

// settleMasters refuses to go on without a master key that some keyset is wrapped under:
// what that organization has stored could not be opened, and nobody would know before they
// try. Keysets of a time when the key was not noted are noted now.
func (v *Vault) settleMasters(ctx context.Context, former []seal.KEK) error {
	held := map[string]bool{v.kek.ID(): true}
	for _, k := range former {
		held[k.ID()] = true
	}
	ids, err := v.db.Masters(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id != "" && !held[id] {
			return claviger.Invalid("master.key.previous", "master_key_needed",
				"master.key.previous: keys of organizations are still wrapped under a master key that is not configured. Nothing was changed. "+
					"Name that key here, and start with it until the server has said that it is no longer needed")
		}
	}
	if slices.Contains(ids, "") {
		_, err = v.Rewrap(ctx)
	}
	return err
}

// Rewrap wraps under the present master key what is wrapped under the one before, and
// answers how many keysets those were. It may be cut off anywhere, by a crash too, and
// asked again: each keyset is under one of the two at any time, and nothing that they have
// sealed is touched. Other nodes that hold both master keys go on meanwhile.
func (v *Vault) Rewrap(ctx context.Context) (n int, err error) {
	for range maxBatches {
		rows, err := v.db.KeysetsApart(ctx, v.kek.ID(), rewrapBatch)
		if err != nil || len(rows) == 0 {
			return n, err
		}
		was := make([]string, len(rows))
		for i := range rows {
			row := &rows[i]
			k, err := seal.OpenKeyset(ctx, v.kek, row.Organization, row.Wrapped)
			if err != nil {
				return n, err
			}
			if row.Wrapped, err = k.Wrap(ctx, v.kek, row.Organization); err != nil {
				return n, err
			}
			was[i], row.Master = row.Master, v.kek.ID()
		}
		err = v.db.InTx(ctx, "", func(tx *store.Tx) error {
			for i := range rows {
				if err := tx.Rewrap(ctx, rows[i], was[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		failpoint.Hit("masters.batch.after")
		n += len(rows)
	}
	return n, nil
}

// UnderFormer answers how many keysets, up to 1,000, are not wrapped under the present
// master key yet.
func (v *Vault) UnderFormer(ctx context.Context) (int, error) {
	rows, err := v.db.KeysetsApart(ctx, v.kek.ID(), 1000)
	return len(rows), err
}
