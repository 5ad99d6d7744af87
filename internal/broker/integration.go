package broker

import (
	"context"
	"errors"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

// IntegrationReport is what the slots of a system showed, each with its own credential.
type IntegrationReport struct {
	Passed   bool
	Slots    []SlotReport
	TestedAt time.Time
}

// SlotReport is what one slot showed.
type SlotReport struct {
	Key      string
	Usage    claviger.Usage
	Status   string // passed, failed, skipped
	Code     string // why it failed or was skipped
	Message  string
	Path     string // of the kv:// value that is missing
	Host     string // that was asked
	Steps    []TestStep
	Duration time.Duration
}

// The statuses of a [SlotReport].
const (
	slotPassed  = "passed"
	slotFailed  = "failed"
	slotSkipped = "skipped"
)

// TestIntegration tries every slot of a system with its own credential: the values
// resolve, the vendor accepts them, the test endpoint answers as expected. A slot that
// only checks what comes in is tried as far as its value: a delivery is what proves it.
// What it finds is the health of the slots' connections.
func (b *Broker) TestIntegration(ctx context.Context, c claviger.Caller, key string) (IntegrationReport, error) {
	s, err := b.findSystem(ctx, c, claviger.SystemsTest, key)
	if err != nil {
		return IntegrationReport{}, err
	}
	slots, err := b.db.Slots(ctx, c.Scope, &s)
	if err != nil {
		return IntegrationReport{}, err
	}
	out := IntegrationReport{Passed: true, TestedAt: b.now()}
	for i := range slots {
		report, err := b.testSlot(ctx, c, &s, &slots[i])
		if err != nil {
			return out, err
		}
		out.Passed = out.Passed && report.Status != slotFailed
		out.Slots = append(out.Slots, report)
	}
	return out, nil
}

// testSlot tries one slot. Only what keeps a test from being made at all is an error.
func (b *Broker) testSlot(ctx context.Context, c claviger.Caller, s *claviger.System, slot *claviger.Slot) (SlotReport, error) {
	out := SlotReport{Key: slot.Key, Usage: slot.Usage, Status: slotPassed}
	began := b.now()
	id, err := b.slotConnection(ctx, c, s, slot)
	if errors.Is(err, store.ErrNotFound) {
		err = missingProvider(slot)
	}
	if err == nil {
		err = b.trySlot(ctx, c, id, slot, &out)
	}
	out.Duration = b.now().Sub(began)
	if err == nil {
		return out, nil
	}
	e := claviger.AsError(b.awaited(ctx, c, s, slot, err))
	if e.Kind == claviger.KindDenied || e.Kind == claviger.KindNotFound || e.Kind == claviger.KindUnavailable || e.Kind == claviger.KindInternal {
		return out, err
	}
	out.Status, out.Code, out.Message, out.Path = slotFailed, e.FineCode(), e.Message, e.Path
	return out, nil
}

func (b *Broker) trySlot(ctx context.Context, c claviger.Caller, id claviger.ConnectionID, slot *claviger.Slot, out *SlotReport) error {
	l, err := b.usableFor(ctx, c, claviger.ConnectionsTest, id, slot.Usage)
	if err != nil {
		return err
	}
	if l.method.Type == claviger.AuthInbound {
		return b.tryInbound(ctx, c, l)
	}
	out.Host = l.base.Host
	p, err := b.testAdmitted(ctx, c, l)
	if err != nil {
		return err
	}
	if err := b.remember(ctx, c, l, p); err != nil {
		return err
	}
	out.Steps = p.steps
	if p.err != nil {
		return p.err
	}
	switch {
	case l.method.Test != nil:
	case slot.Auth == claviger.SlotNone:
		out.Host, out.Message = "", "There was nothing to try: the slot has neither a credential nor an address."
	default:
		out.Status, out.Code, out.Message = slotSkipped, "no_test_endpoint", "The manifest names no test endpoint that lies below its base URL."
	}
	return nil
}

// tryInbound proves that the values of a slot that checks what comes in are there.
func (b *Broker) tryInbound(ctx context.Context, c claviger.Caller, l *live) error {
	t, err := b.gate.Admit(ctx, c, claviger.ConnectionsTest, l.resource, "")
	if err != nil {
		return err
	}
	_, err = b.vault.Fresh(ctx, t, &l.conn, l.sealed)
	t.Done(gate.Ending{Err: err})
	if err != nil {
		return err
	}
	_, err = b.change(ctx, c, claviger.ConnectionsTest, l.conn.ID, func(conn claviger.Connection) (claviger.Connection, error) {
		conn.Health, conn.LastError, conn.LastCheckedAt = claviger.HealthHealthy, nil, b.now()
		return conn, nil
	})
	return err
}
