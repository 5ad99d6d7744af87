package broker

import (
	"context"
	"errors"

	"claviger"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// slotted is a slot of a system with the connection that realises it.
type slotted struct {
	system *claviger.System
	slot   claviger.Slot
	live   *live
}

// The slots that calls may load, one type for each usage; inboundSlot, which verifies what
// vendors send, is the third. The loader of one cannot answer another, and what runs on
// one path takes the type of that path alone: there is no way to borrow a credential from
// another usage but the policy that [Broker.syncSlot] reads.
type (
	// apiSlot serves calls on behalf of callers.
	apiSlot struct{ slotted }
	// syncSlot serves work that runs without a caller.
	syncSlot struct{ slotted }
)

// apiSlot answers the slot for calls of a system: the named one, or the default.
func (b *Broker) apiSlot(ctx context.Context, c claviger.Caller, v claviger.Verb, system, key string) (apiSlot, error) {
	s, slots, err := b.systemOf(ctx, c, v, system)
	if err != nil {
		return apiSlot{}, err
	}
	slot, err := b.slotFor(ctx, c, v, &s, pick(slots, claviger.UsageAPI, key), claviger.UsageAPI)
	return apiSlot{slot}, err
}

// syncSlot answers the slot for background work of a system. Without one it is the api
// slot, only if the organization's policy says so and no person stands behind that.
func (b *Broker) syncSlot(ctx context.Context, c claviger.Caller, v claviger.Verb, system, key string) (syncSlot, error) {
	s, slots, err := b.systemOf(ctx, c, v, system)
	if err != nil {
		return syncSlot{}, err
	}
	found := pick(slots, claviger.UsageSyncExecution, key)
	if found == nil && key == "" {
		if fallback, ok, err := b.serviceSlot(ctx, c, v, &s, slots); ok || err != nil {
			return syncSlot{fallback}, err
		}
	}
	slot, err := b.slotFor(ctx, c, v, &s, found, claviger.UsageSyncExecution)
	return syncSlot{slot}, err
}

// serviceSlot answers a system's api slot, and whether it may serve background work.
func (b *Broker) serviceSlot(ctx context.Context, c claviger.Caller, v claviger.Verb, s *claviger.System, slots []claviger.Slot) (slotted, bool, error) {
	policy, err := b.db.Policy(ctx, c.Scope)
	api := pick(slots, claviger.UsageAPI, "")
	if err != nil || !policy.SyncFallback || api == nil || api.Auth != claviger.SlotCredential {
		return slotted{}, false, err
	}
	slot, err := b.slotFor(ctx, c, v, s, api, claviger.UsageAPI)
	return slot, err == nil && !consents(slot.live.method), err
}

// pick answers the named slot of a usage, or its default; nil if there is none.
func pick(slots []claviger.Slot, u claviger.Usage, key string) *claviger.Slot {
	var best *claviger.Slot
	for i := range slots {
		s := &slots[i]
		if s.Usage == u && (key == s.Key || key == "" && (best == nil || s.Rank() > best.Rank())) {
			best = s
		}
	}
	return best
}

// slotFor makes a slot ready for its usage: its connection may be used. A slot that is
// missing is a refusal that names the usage and the way out.
func (b *Broker) slotFor(ctx context.Context, c claviger.Caller, v claviger.Verb, s *claviger.System, slot *claviger.Slot, u claviger.Usage) (slotted, error) {
	r := s.Resource()
	r.Usage = u
	if !s.Enabled {
		return slotted{}, b.gate.Refuse(ctx, c, v, r, claviger.Errorf(claviger.KindDenied, "system_disabled", "The system %s is switched off: its manifest says enabled: false.", s.Key))
	}
	if slot == nil {
		return slotted{}, b.gate.Refuse(ctx, c, v, r, missingSlot(s.Key, u))
	}
	out := slotted{system: s, slot: *slot}
	id, err := b.slotConnection(ctx, c, s, slot)
	if errors.Is(err, store.ErrNotFound) {
		err = b.gate.Refuse(ctx, c, v, r, missingProvider(slot))
	}
	if err != nil {
		return slotted{}, err
	}
	if out.live, err = b.usableFor(ctx, c, v, id, u); err == nil && slot.Auth == claviger.SlotAPIProvider {
		out.live, err = b.lend(ctx, c, s, out.live)
	}
	return out, b.awaited(ctx, c, s, slot, err)
}

// awaited says of a slot that is refused because it waits for a person what it waits for:
// a value, or that somebody signs in. Other errors stay.
func (b *Broker) awaited(ctx context.Context, c claviger.Caller, s *claviger.System, slot *claviger.Slot, err error) error {
	if err == nil || claviger.AsError(err).FineCode() != "connection_pending" {
		return err
	}
	state, failed := b.slotState(ctx, c, s, *slot)
	if failed != nil {
		return err
	}
	for _, secret := range state.Secrets {
		if !secret.HasValue {
			return vault.Missing(secret.Path)
		}
	}
	e := *claviger.AsError(err)
	e.Message = "Nobody has signed in at the vendor for the slot " + slot.Key + " yet. That is done on " + b.SystemPage(s.Key)
	return &e
}

// missingSlot is the refusal where a system has nothing for a usage. Another usage's
// credential is never taken instead.
func missingSlot(system string, u claviger.Usage) *claviger.Error {
	way := "Add one to its authentications."
	switch u {
	case claviger.UsageAPI:
		way = "Add one with: claviger repair " + system + " --auth apikey"
	case claviger.UsageWebhookInbound, claviger.UsageSyncExecution:
		way = "Add one with: claviger repair " + system + " --slots"
	}
	return claviger.Errorf(claviger.KindConflict, "missing_slot", "The system %s has no slot with usage %s. %s", system, u, way)
}

// missingProvider is the refusal where a slot's provider is not there.
func missingProvider(slot *claviger.Slot) *claviger.Error {
	return claviger.Errorf(claviger.KindConflict, "provider_missing",
		"The slot %s uses the provider %q, and the system's workspace has no connection of that name. Connect one, and name it so.", slot.Key, slot.Provider)
}

// systemOf finds a system in the caller's reach, with its slots.
func (b *Broker) systemOf(ctx context.Context, c claviger.Caller, v claviger.Verb, key string) (claviger.System, []claviger.Slot, error) {
	s, slots, err := b.systemNow(ctx, c.Scope, key)
	if err == nil && s.Version == 0 {
		err = b.gate.Absent(ctx, c, v, claviger.Resource{Type: "system", ID: key})
	}
	return s, slots, err
}

// slotConnection answers the connection of a slot: its own, or, of a provider that the
// organization manages, the workspace's connection of that name.
func (b *Broker) slotConnection(ctx context.Context, c claviger.Caller, s *claviger.System, slot *claviger.Slot) (claviger.ConnectionID, error) {
	if slot.Auth != claviger.SlotAPIProvider {
		return slot.Connection, nil
	}
	return b.db.ConnectionNamed(ctx, c.Scope, s.Workspace, slot.Provider)
}
