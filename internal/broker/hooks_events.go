package broker

import (
	"context"
	"errors"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/store"
)

// InboundFilter narrows a list of deliveries; an empty member asks for nothing.
type InboundFilter = store.InboundFilter

// InboundEvents lists what vendors delivered, newest first, without the bodies.
func (b *Broker) InboundEvents(ctx context.Context, c claviger.Caller, f InboundFilter, p Page) ([]claviger.InboundEvent, bool, error) {
	if err := b.gate.Check(ctx, c, claviger.EventsRead, own(c, "inbound_event", "")); err != nil {
		return nil, false, err
	}
	list, err := b.db.InboundEvents(ctx, c.Scope, f, p.plusOne())
	list, more := cut(p, list)
	return list, more, err
}

// InboundEvent answers a delivery with its body as it arrived. That it was read is
// recorded before it is opened.
func (b *Broker) InboundEvent(ctx context.Context, c claviger.Caller, id claviger.InboundID) (claviger.InboundEvent, []byte, error) {
	e, sealed, err := b.findInbound(ctx, c, claviger.EventsRead, id)
	if err != nil {
		return e, nil, err
	}
	t, err := b.gate.Admit(ctx, c, claviger.EventsRead, e.Resource(), "")
	if err != nil {
		return e, nil, err
	}
	body, err := b.vault.OpenInbound(ctx, t, &e, sealed)
	t.Done(gate.Ending{Err: err})
	return e, body, err
}

func (b *Broker) findInbound(ctx context.Context, c claviger.Caller, v claviger.Verb, id claviger.InboundID) (claviger.InboundEvent, claviger.Sealed, error) {
	r := own(c, "inbound_event", string(id))
	if err := b.gate.Check(ctx, c, v, r); err != nil {
		return claviger.InboundEvent{}, nil, err
	}
	e, sealed, err := b.db.InboundEvent(ctx, c.Scope, id)
	if errors.Is(err, store.ErrNotFound) {
		err = b.gate.Absent(ctx, c, v, r)
	}
	return e, sealed, err
}

// ReplayInbound has a delivery acted upon once more, whatever came of it before.
func (b *Broker) ReplayInbound(ctx context.Context, c claviger.Caller, id claviger.InboundID) (claviger.InboundEvent, error) {
	e, _, err := b.findInbound(ctx, c, claviger.EventsReplay, id)
	if err != nil {
		return e, err
	}
	batch, err := b.newID("whb")
	if err != nil {
		return e, err
	}
	region := e.Region
	err = b.gate.ChangeIn(ctx, region, c, claviger.EventsReplay, e.Resource(), func(tx *store.Tx, _ *gate.Ticket) error {
		if e, err = tx.ReplayInbound(ctx, c.Scope, id, batch); err != nil {
			return absent(err, "event")
		}
		return b.insert(ctx, tx, jobBatch, acting{Batch: batch}, jobs.Options{})
	})
	if errors.Is(err, store.ErrConflict) {
		err = claviger.Errorf(claviger.KindConflict, "event_pending", "The event is still to be acted upon. Wait until it has been.")
	}
	return e, err
}
