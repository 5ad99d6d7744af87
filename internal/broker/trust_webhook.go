package broker

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/hookverify"
)

// webhooks proves the slots that verify what comes in: a delivery that is signed with the
// slot's own secret is believed, and the same with a wrong signature is not.
func (l *ladder) webhooks(ctx context.Context) error {
	in := Inbound{Hook: l.system.Hook, System: l.system.Key}
	r, err := l.b.receiver(ctx, &in, true)
	if err != nil {
		return err
	}
	if len(r.slots) == 0 {
		l.add(levelPlatinum, "webhook", "", checkNone, "", "The system has no slot for webhooks.")
	}
	for i := range r.slots {
		switch err := l.b.proveWebhook(ctx, l.c, r, &r.slots[i]); {
		case err == nil:
			l.add(levelPlatinum, "webhook", r.slots[i].key, slotPassed, "", "A delivery signed with its own secret is believed, one with a wrong signature is refused.")
		case refusedDelivery(err):
			e := claviger.AsError(err)
			status := slotFailed
			if e.FineCode() == hookverify.CodeNotVerifiable {
				status = slotSkipped
			}
			l.add(levelPlatinum, "webhook", r.slots[i].key, status, e.FineCode(), e.Message)
		default:
			return err
		}
	}
	return nil
}

// proveWebhook goes the receiver's way with one slot, but keeps nothing. The use of the
// slot's secret is recorded.
func (b *Broker) proveWebhook(ctx context.Context, c claviger.Caller, r *receiver, slot *inboundSlot) (err error) {
	if slot.fault != nil {
		return slot.fault
	}
	l, err := b.usableFor(ctx, c, claviger.SystemsTest, slot.connection, claviger.UsageWebhookInbound)
	if err != nil {
		return err
	}
	t, err := b.gate.Admit(ctx, c, claviger.SystemsTest, l.resource, "")
	if err != nil {
		return err
	}
	defer func() { t.Done(gate.Ending{Err: err}) }()
	address := b.WebhookURL(&r.system)
	d := &delivery{Inbound: &Inbound{System: r.system.Key}, caller: c, receiver: r, slot: slot, live: l, ticket: t, now: b.now()}
	d.request = hookverify.Request{URL: address}
	if slot.scheme.FetchesKeys() {
		return claviger.Errorf(claviger.KindUnauthenticated, hookverify.CodeNotVerifiable, "Only the vendor can sign deliveries of %s.", slot.scheme.Name)
	}
	keys, err := b.slotKeys(ctx, d)
	if err != nil {
		return err
	}
	req, err := hookverify.Sample(slot.scheme, keys[0], address, d.now)
	if err != nil {
		return err
	}
	if _, err := hookverify.Verify(slot.scheme, keys, forged(req), d.now); err == nil {
		return claviger.Errorf(claviger.KindConflict, "forgery_believed", "A delivery with a wrong signature was believed.")
	}
	return nil
}

// forged answers a delivery whose every text is a little different, what proves it among
// them; times stay.
func forged(req *hookverify.Request) *hookverify.Request {
	out := *req
	out.Body = append([]byte(" "), req.Body...)
	out.Header = http.Header{}
	for name, values := range req.Header {
		for _, v := range values {
			if _, err := strconv.ParseInt(v, 10, 64); err != nil && name != "Content-Type" {
				v = turned(v)
			}
			out.Header[name] = append(out.Header[name], v)
		}
	}
	if at, query, ok := strings.Cut(req.URL, "?"); ok {
		out.URL = at + "?" + turned(query)
	}
	return &out
}

// turned changes the last letter or digit of a text to another of its kind.
func turned(s string) string {
	b := []byte(s)
	for i := len(b) - 1; i >= 0; i-- {
		switch c := b[i]; {
		case c >= '0' && c <= '8', c >= 'a' && c <= 'e', c >= 'A' && c <= 'E':
			b[i]++
			return string(b)
		case c == '9', c == 'f', c == 'F':
			b[i]--
			return string(b)
		}
	}
	return "x" + s
}
