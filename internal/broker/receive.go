package broker

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/gate"
	"claviger/internal/hookverify"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// Inbound is a request at the address of a system's webhooks.
type Inbound struct {
	// Hook is the part of the address that nobody can guess; without it the system is
	// the first organization's.
	Hook       claviger.HookID
	System     string
	DataSource string // empty: the address names none
	Method     string
	Target     string // path and query as they arrived
	Header     http.Header
	Body       []byte // as it arrived
	From       claviger.Request
}

// Received is what came of an [Inbound].
type Received struct {
	ID   claviger.InboundID // of the delivery; empty after a handshake
	Copy bool               // it was here already and is not acted upon again
	// Answer is what the vendor wants to hear; nil: that its delivery was taken.
	Answer *WebhookAnswer
}

// WebhookAnswer is an answer in a vendor's own words.
type WebhookAnswer struct {
	Status int
	Header map[string]string
	Body   []byte
}

// Receive verifies what came to a webhook address with the secret of one of the system's
// webhook slots, and keeps it together with the job that will act on it. When it answers
// without an error the delivery is durable.
//
// Errors: KindNotFound for an address that leads nowhere, whatever the cause;
// KindUnauthenticated, always the same, for what no slot can vouch for: why stands in the
// ledger; KindRateLimited where too much is refused or waits to be kept;
// KindUnavailable if it cannot be kept now.
func (b *Broker) Receive(ctx context.Context, in Inbound) (Received, error) {
	r, err := b.receiver(ctx, &in, false)
	if err != nil {
		return Received{}, err
	}
	failpoint.Hit("inbox.read")
	budget := b.budget(r.system.ID)
	if err := budget.admit(in.From.Address, b.now()); err != nil {
		return Received{}, err
	}
	c := b.system(r.system.Organization)
	c.From = in.From
	out, err := b.receiveBy(ctx, c, r, &in)
	if refusedDelivery(err) {
		// What is remembered may be of a second ago: only what is stored decides.
		fresh, again := b.receiver(ctx, &in, true)
		if again != nil {
			return Received{}, again
		}
		if !fresh.same(r) {
			out, err = b.receiveBy(ctx, c, fresh, &in)
		}
	}
	if refusedDelivery(err) {
		budget.refuse(in.From.Address, b.now())
		return Received{}, notAccepted()
	}
	if err == nil {
		budget.trust(in.From.Address)
	}
	return out, err
}

// refusedDelivery reports whether nothing vouches for a delivery, as opposed to what
// claviger itself cannot do now.
func refusedDelivery(err error) bool {
	if err == nil {
		return false
	}
	switch claviger.AsError(err).Kind {
	case claviger.KindUnavailable, claviger.KindRateLimited, claviger.KindInternal, claviger.KindTimeout, claviger.KindUpstream:
		return errors.Is(err, errUnverified)
	}
	return true
}

// errUnverified marks an error of claviger's own as one that leaves a delivery without
// proof, such as a stored secret that does not open.
var errUnverified = errors.New("broker: the delivery is not verified")

// notAccepted is the one answer for every delivery that is not believed.
func notAccepted() *claviger.Error {
	return claviger.Errorf(claviger.KindUnauthenticated, "delivery_refused",
		"The delivery is not accepted. The system's operator finds the reason in the ledger, and with: claviger webhook verify")
}

// receiveBy tries the slots of the system, the default first.
func (b *Broker) receiveBy(ctx context.Context, c claviger.Caller, r *receiver, in *Inbound) (out Received, err error) {
	if len(r.slots) == 0 {
		return out, b.gate.Refuse(ctx, c, claviger.WebhooksReceive, r.system.Resource(), missingSlot(r.system.Key, claviger.UsageWebhookInbound))
	}
	for i := range r.slots {
		if out, err = b.receiveAt(ctx, c, r, &r.slots[i], in); err == nil || !refusedDelivery(err) {
			return out, err
		}
	}
	return out, err
}

// delivery is a request in the hands of one slot.
type delivery struct {
	*Inbound
	caller   claviger.Caller
	receiver *receiver
	slot     *inboundSlot
	live     *live
	ticket   *gate.Ticket
	request  hookverify.Request
	now      time.Time
	host     string // that the slot's credential was sent to; usually none
}

// receiveAt verifies with one slot. The use of its secret is recorded before it is opened.
func (b *Broker) receiveAt(ctx context.Context, c claviger.Caller, r *receiver, slot *inboundSlot, in *Inbound) (out Received, err error) {
	l, err := b.usableFor(ctx, c, claviger.WebhooksReceive, slot.connection, claviger.UsageWebhookInbound)
	if err != nil {
		return out, err
	}
	resource := l.resource
	resource.Host = "" // nothing is sent anywhere
	if why := slot.refuses(in.From.Address); why != nil {
		return out, b.gate.Refuse(ctx, c, claviger.WebhooksReceive, resource, why)
	}
	t, err := b.gate.Admit(ctx, c, claviger.WebhooksReceive, resource, "")
	if err != nil {
		return out, err
	}
	ending := gate.Ending{Err: claviger.Errorf(claviger.KindInternal, "", "The delivery's end is not known.")}
	defer func() { t.Done(ending) }()
	d := &delivery{
		Inbound: in, caller: c, receiver: r, slot: slot, live: l, ticket: t, now: b.now(),
		request: hookverify.Request{Method: in.Method, URL: strings.TrimSuffix(b.publicURL, "/") + in.Target, Header: in.Header, Body: in.Body},
	}
	out, err = b.verifyAndKeep(ctx, d, &ending)
	ending.Err, ending.Host = err, d.host
	return out, err
}

func (b *Broker) verifyAndKeep(ctx context.Context, d *delivery, ending *gate.Ending) (Received, error) {
	keys, why := b.slotKeys(ctx, d)
	if why != nil && !refusedDelivery(why) {
		return Received{}, why
	}
	answer, err := hookverify.Handshake(d.slot.scheme, keys, &d.request, d.now)
	if err != nil {
		return Received{}, err
	}
	if answer != nil {
		ending.Action = "handshake"
		return b.shakeHands(ctx, d, answer)
	}
	if why != nil {
		return Received{}, why
	}
	verdict, err := hookverify.Verify(d.slot.scheme, keys, &d.request, d.now)
	if err != nil {
		return Received{}, err
	}
	failpoint.Hit("inbox.verified")
	ending.Action = "key " + shortened(verdict.KeyID, 64)
	kept, err := b.keepDelivery(ctx, d, &verdict)
	if err != nil {
		return Received{}, err
	}
	switch {
	case kept.Copy:
		ending.Note = "copy"
	case kept.Reused:
		ending.Note = "delivery_id_reused"
		b.log.WarnContext(ctx, "a vendor's delivery id came again with another content", "system", d.receiver.system.Key, "event", kept.ID, "request", d.From.ID)
	}
	out := Received{ID: kept.ID, Copy: kept.Copy}
	if s := d.slot.scheme.Success; s != nil {
		out.Answer = &WebhookAnswer{Status: s.Status, Header: s.Header, Body: s.Body}
	}
	return out, nil
}

// shortened answers the beginning of a text that a vendor chose.
func shortened(s string, most int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// keepDelivery seals a verified delivery's body and waits until it is durable.
func (b *Broker) keepDelivery(ctx context.Context, d *delivery, v *hookverify.Verdict) (store.KeptInbound, error) {
	id, err := b.newID(claviger.PrefixInbound)
	if err != nil {
		return store.KeptInbound{}, err
	}
	e := store.NewInbound{InboundEvent: claviger.InboundEvent{
		ID: claviger.InboundID(id), Organization: d.receiver.system.Organization, Workspace: d.live.conn.Workspace, System: d.receiver.system.Key,
		DataSource: d.DataSource, Connection: d.live.conn.ID, Slot: d.slot.key, ReplayKey: replayKey(v, d.now), Delivery: v.DeliveryID, Type: v.EventType,
		ContentType: shortened(d.Header.Get("Content-Type"), 255), Size: len(d.Body), Status: claviger.InboundReceived, ReceivedAt: d.now,
	}}
	if e.DataSource == "" {
		e.DataSource = d.receiver.plan.concerned(v.EventType)
	}
	if e.Body, err = b.vault.SealInbound(ctx, d.ticket, &e.InboundEvent, d.Body); err != nil {
		return store.KeptInbound{}, err
	}
	return b.inbox.add(ctx, &e)
}

// slotKeys answers what a delivery may be verified with: the slot's own values, or the
// keys that the vendor publishes. Without any the error says why.
func (b *Broker) slotKeys(ctx context.Context, d *delivery) ([]hookverify.Key, error) {
	s := d.slot.scheme
	if s.FetchesKeys() {
		return b.publishedKeys(ctx, d)
	}
	values, err := b.vault.Accepted(ctx, d.ticket, &d.live.conn, d.live.sealed, d.slot.versions)
	if err != nil {
		if e := claviger.AsError(err); e.Kind == claviger.KindInternal {
			err = e.With(errors.Join(errUnverified, err))
		}
		return nil, err
	}
	var out []hookverify.Key
	for i, v := range values {
		key, err := slotKey(d, v)
		if err != nil && i == 0 {
			return nil, err
		}
		if err == nil {
			out = append(out, key)
		}
	}
	return out, nil
}

func slotKey(d *delivery, v vault.Accepted) (hookverify.Key, error) {
	if d.slot.scheme.Kind == hookverify.KindBasic {
		return d.slot.scheme.NewBasicKey(v.ID, v.Credentials["username"], v.Credentials["password"])
	}
	for i := range d.live.method.Fields {
		if f := &d.live.method.Fields[i]; f.Secret {
			return d.slot.scheme.NewKey(v.ID, v.Credentials[f.Key])
		}
	}
	return hookverify.Key{}, claviger.Errorf(claviger.KindUnauthenticated, hookverify.CodeNotConfigured, "The webhook slot has no secret.")
}
