package broker

import (
	"context"
	"maps"
	"slices"

	"claviger"
)

// GiveSlot stores values for fields of a system's slot, by the fields' names, each under
// the field's own path and in place of what was there, and then tries the slot with its
// own credential. While a value is missing the report is "skipped" with the code
// secret_missing and the path.
//
// Errors: KindInvalid with Param "values.NAME" for a name that the slot does not have.
func (b *Broker) GiveSlot(ctx context.Context, c claviger.Caller, key, slotKey string, values claviger.Credentials) (SlotReport, error) {
	_, slot, err := b.slotNamed(ctx, c, claviger.SystemsRead, key, slotKey)
	if err != nil {
		return SlotReport{}, err
	}
	names := slices.Sorted(maps.Keys(values))
	for _, name := range names {
		if slot.Paths[name] == "" {
			return SlotReport{}, claviger.Invalid("values."+name, "unknown_field", "The slot %s has no field of this name.", slotKey)
		}
	}
	for _, name := range names {
		if _, err := b.PutSecret(ctx, c, slot.Paths[name], values[name]); err != nil {
			return SlotReport{}, err
		}
	}
	return b.TestSlot(ctx, c, key, slotKey)
}

// TestSlot tries one slot of a system as [Broker.TestIntegration] tries all.
func (b *Broker) TestSlot(ctx context.Context, c claviger.Caller, key, slotKey string) (SlotReport, error) {
	s, slot, err := b.slotNamed(ctx, c, claviger.SystemsTest, key, slotKey)
	if err != nil {
		return SlotReport{}, err
	}
	state, err := b.slotState(ctx, c, &s, slot)
	if err != nil {
		return SlotReport{}, err
	}
	for _, secret := range state.Secrets {
		if !secret.HasValue {
			return SlotReport{
				Key: slot.Key, Usage: slot.Usage, Status: slotSkipped, Code: "secret_missing", Path: secret.Path,
				Message: "Not every secret of the slot has a value yet.",
			}, nil
		}
	}
	return b.testSlot(ctx, c, &s, &slot)
}

// slotNamed answers a slot of a system if the caller may do v to the system.
func (b *Broker) slotNamed(ctx context.Context, c claviger.Caller, v claviger.Verb, key, slotKey string) (claviger.System, claviger.Slot, error) {
	s, err := b.findSystem(ctx, c, v, key)
	if err != nil {
		return s, claviger.Slot{}, err
	}
	slots, err := b.db.Slots(ctx, c.Scope, &s)
	if err != nil {
		return s, claviger.Slot{}, err
	}
	i := slices.IndexFunc(slots, func(x claviger.Slot) bool { return x.Key == slotKey })
	if i < 0 {
		return s, claviger.Slot{}, claviger.NotFound("slot")
	}
	return s, slots[i], nil
}
