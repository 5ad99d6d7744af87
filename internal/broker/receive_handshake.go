package broker

import (
	"context"
	"errors"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/hookverify"
	"claviger/internal/store"
)

const (
	// secretOverlap is how long the value that a webhook slot had before a rotation is
	// accepted beside the new one.
	secretOverlap = 24 * time.Hour
	// handshakeWait is how long a slot waits for a vendor to hand over its secret.
	handshakeWait = time.Hour
)

// shakeHands answers a vendor that asks whether it may deliver here. A secret that it
// hands over is stored before the answer.
func (b *Broker) shakeHands(ctx context.Context, d *delivery, a *hookverify.Answer) (Received, error) {
	if !a.Store.Empty() {
		if err := b.adoptSecret(ctx, d, a.Store); err != nil {
			return Received{}, err
		}
	}
	if a.Confirm != "" {
		if !b.published.pace.AllowN(d.now, 1) {
			return Received{}, claviger.Errorf(claviger.KindRateLimited, "rate_limited", "Too many addresses are confirmed. Try again later.")
		}
		ctx, cancel := context.WithTimeout(ctx, keyTimeout)
		defer cancel()
		if _, _, err := fetchPublic(ctx, b.egress, a.Confirm); err != nil {
			return Received{}, err
		}
	}
	return Received{Answer: &WebhookAnswer{Status: a.Status, Header: a.Header, Body: a.Body}}, nil
}

// adoptSecret stores the secret that a vendor hands over, if somebody has said that the
// slot waits for it. Whoever knows the address could otherwise be first.
func (b *Broker) adoptSecret(ctx context.Context, d *delivery, value claviger.Secret) error {
	path := ""
	for i := range d.live.method.Fields {
		if f := &d.live.method.Fields[i]; f.Secret {
			path = d.slot.paths[f.Key]
			break
		}
	}
	if path == "" || !b.vault.Embedded() {
		return claviger.Errorf(claviger.KindUnauthenticated, hookverify.CodeNotConfigured, "The slot has no kv:// path of its own to keep the vendor's secret at.")
	}
	r := orgWide(d.caller, "secret", path)
	if err := b.vault.Prepare(ctx, r.Organization); err != nil {
		return err
	}
	var waited []store.SlotPlace
	err := b.gate.Change(ctx, d.caller, claviger.SecretsWrite, r, func(tx *store.Tx, t *gate.Ticket) error {
		err := tx.TakeHandshake(ctx, d.caller.Scope, d.live.conn.ID)
		if errors.Is(err, store.ErrNotFound) {
			return claviger.Errorf(claviger.KindUnauthenticated, "handshake_not_awaited", "A vendor hands over a secret, and nobody said that the slot waits for one.")
		}
		if err != nil {
			return err
		}
		_, err = tx.PutSecret(ctx, d.caller.Scope, path, func(version int64) (claviger.Sealed, error) {
			return b.vault.SealSecret(ctx, t, path, version, value)
		})
		if err != nil {
			return err
		}
		waited, err = tx.SettleSlots(ctx, d.caller.Scope, path)
		return err
	})
	if err != nil {
		return err
	}
	b.receivers.clear()
	return b.settle(ctx, waited)
}

// AwaitHandshake lets a system's webhook slot take its secret from the vendor's own
// handshake, for an hour and once; with slot empty the default one. A slot that has a
// value keeps it: delete that first.
func (b *Broker) AwaitHandshake(ctx context.Context, c claviger.Caller, system, slot string) (until time.Time, err error) {
	if err := b.gate.Check(ctx, c, claviger.SecretsWrite, orgWide(c, "system", system)); err != nil {
		return until, err
	}
	s, slots, err := b.systemOf(ctx, c, claviger.SecretsWrite, system)
	if err != nil {
		return until, err
	}
	var found *claviger.Slot
	for i := range slots {
		if slots[i].Usage == claviger.UsageWebhookInbound && (slot == slots[i].Key || slot == "" && (found == nil || slots[i].Rank() > found.Rank())) {
			found = &slots[i]
		}
	}
	if found == nil || found.Connection == "" {
		return until, b.gate.Refuse(ctx, c, claviger.SecretsWrite, s.Resource(), missingSlot(s.Key, claviger.UsageWebhookInbound))
	}
	for _, path := range found.Paths {
		there, _, err := b.hasValue(ctx, c, path)
		if err != nil {
			return until, err
		}
		if there {
			return until, claviger.Errorf(claviger.KindConflict, "secret_exists", "The slot %s has a secret already. To take another from the vendor, delete it first with: claviger secret remove %s", found.Key, path)
		}
	}
	until = b.now().Add(handshakeWait)
	r := s.Resource()
	r.Slot = found.Key
	err = b.gate.Change(ctx, c, claviger.SecretsWrite, r, func(tx *store.Tx, _ *gate.Ticket) error {
		return tx.AwaitHandshake(ctx, c.Scope, found.Connection, until)
	})
	return until, err
}
