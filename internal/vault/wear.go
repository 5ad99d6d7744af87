package vault

import (
	"context"
	"errors"
	"maps"
	"slices"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

// ErrNotWorn says that a key has not sealed so much that it must be replaced: another
// node was first.
var ErrNotWorn = errors.New("vault: the key is not worn")

// countBatch is how many keysets are counted in one transaction.
const countBatch = 500

// CountSeals adds what this process has sealed since it was last asked to the counts that
// all nodes share, and answers the organizations whose key is worn: it has sealed so much
// that it must be replaced. The instance's own key, which seals next to nothing, never is.
// What a process has not counted when it is killed is lost, which the distance between
// [seal.RotateSeals] and the limit allows for.
func (v *Vault) CountSeals(ctx context.Context) (worn []claviger.OrganizationID, err error) {
	v.mu.Lock()
	for organization, k := range v.keysets {
		v.note(organization, k.TakeSeals())
	}
	counts := v.uncount
	v.uncount = map[claviger.OrganizationID]int64{}
	v.mu.Unlock()
	// In one order, so that nodes do not wait for one another in a circle.
	for batch := range slices.Chunk(slices.Sorted(maps.Keys(counts)), countBatch) {
		totals, err := v.addSeals(ctx, batch, counts)
		if err != nil {
			v.mu.Lock()
			for organization, n := range counts {
				v.note(organization, n)
			}
			v.mu.Unlock()
			return worn, err
		}
		for _, organization := range batch {
			delete(counts, organization)
			if organization != "" && totals[organization] >= v.wornAt {
				worn = append(worn, organization)
			}
		}
	}
	return worn, nil
}

// addSeals adds the counts of some organizations and tells their keysets what came of it.
func (v *Vault) addSeals(ctx context.Context, batch []claviger.OrganizationID, counts map[claviger.OrganizationID]int64) (totals map[claviger.OrganizationID]int64, err error) {
	err = v.db.InTx(ctx, "", func(tx *store.Tx) error {
		totals = map[claviger.OrganizationID]int64{}
		for _, organization := range batch {
			total, err := tx.AddSeals(ctx, organization, counts[organization])
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			totals[organization] = total
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	for organization, total := range totals {
		if k := v.keysets[organization]; k != nil {
			k.Sealed(total)
		}
	}
	return totals, nil
}

// note remembers values that are still to be counted. The caller holds the lock.
func (v *Vault) note(organization claviger.OrganizationID, sealed int64) {
	if sealed > 0 {
		v.uncount[organization] += sealed
	}
}

// RotateWorn is [Vault.Rotate] for a key that [Vault.CountSeals] called worn. Nothing is
// sealed anew: the older keys still open. [ErrNotWorn] or [store.ErrStale] if another
// node was first.
func (v *Vault) RotateWorn(ctx context.Context, t *gate.Ticket, tx *store.Tx) error {
	organization, ok := t.Keyset()
	if !ok {
		return ErrNoTicket
	}
	row, err := v.db.Keyset(ctx, organization)
	if err != nil {
		return err
	}
	if row.Seals < v.wornAt {
		return ErrNotWorn
	}
	return v.rotate(ctx, row, tx)
}
