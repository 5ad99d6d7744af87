package broker

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"claviger"
	"claviger/internal/egress"
	"claviger/internal/events"
	"claviger/internal/gate"
	"claviger/internal/store"
)

// maxEndpointURL bounds an event endpoint's address.
const maxEndpointURL = 2048

// NewEventEndpoint is the answer of [Broker.CreateEventEndpoint] and of
// [Broker.RotateEventEndpoint]; the secret is shown this once.
type NewEventEndpoint struct {
	Endpoint claviger.EventEndpoint
	Secret   claviger.Secret
}

// announce writes an event about a connection down, in the transaction that changed it.
func (b *Broker) announce(ctx context.Context, tx *store.Tx, t claviger.EventType, conn *claviger.Connection) error {
	if b.events == nil {
		return nil
	}
	return b.events.Emit(ctx, tx, conn.Organization, conn.Workspace, t, events.OfConnection(conn))
}

// CreateEventEndpoint keeps where the organization wants events of these types sent.
func (b *Broker) CreateEventEndpoint(ctx context.Context, c claviger.Caller, address string, types []claviger.EventType) (NewEventEndpoint, error) {
	r := orgWide(c, "event_endpoint", "")
	if err := b.gate.Check(ctx, c, claviger.EventEndpointsWrite, r); err != nil {
		return NewEventEndpoint{}, err
	}
	if err := firstError(b.checkEndpointURL(address), checkEventTypes(types)); err != nil {
		return NewEventEndpoint{}, err
	}
	id, err := b.newID(claviger.PrefixEndpoint)
	if err != nil {
		return NewEventEndpoint{}, err
	}
	secret, err := events.NewSecret(b.random)
	if err != nil {
		return NewEventEndpoint{}, err
	}
	if err := b.vault.Prepare(ctx, r.Organization); err != nil {
		return NewEventEndpoint{}, err
	}
	now := b.now()
	e := claviger.EventEndpoint{
		ID: claviger.EndpointID(id), Organization: r.Organization, URL: address, Events: types, Owner: c.OwnerID(), Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	r.ID = id
	err = b.gate.Change(ctx, c, claviger.EventEndpointsWrite, r, func(tx *store.Tx, t *gate.Ticket) error {
		sealed, err := b.vault.SealEventSecret(ctx, t, &e, secret)
		if err != nil {
			return err
		}
		return tx.CreateEventEndpoint(ctx, c.Scope, e, sealed)
	})
	if errors.Is(err, store.ErrConflict) {
		err = claviger.Errorf(claviger.KindConflict, "too_many_event_endpoints", "There are %d event endpoints already. Delete one that is not needed.", store.MaxEndpoints)
	}
	return NewEventEndpoint{Endpoint: e, Secret: secret}, err
}

// checkEndpointURL checks the form of an address. Where it leads is judged whenever an
// event is sent there: a name may lead elsewhere tomorrow.
func (b *Broker) checkEndpointURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || len(address) > maxEndpointURL || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return claviger.Invalid("url", "invalid_format", "An address of at most %d characters is needed, without user, password and fragment, for example https://hooks.example.com/claviger.", maxEndpointURL)
	}
	if _, ok := egress.CanonicalOrigin(u); !ok {
		return claviger.Invalid("url", "invalid_format", "This is no address of a web server. Write https:// and a host name.")
	}
	if u.Scheme != "https" && !b.plainHTTP(u.Hostname()) {
		return claviger.Invalid("url", "invalid_format", "Events are sent over https only.")
	}
	return nil
}

func checkEventTypes(types []claviger.EventType) error {
	if len(types) == 0 {
		return claviger.Invalid("events", "required", "Name at least one of %v.", claviger.EventTypes())
	}
	for i, t := range types {
		if !slices.Contains(claviger.EventTypes(), t) {
			return claviger.Invalid("events", "unknown_event", "%s is no type of event. Use some of %v.", quoted(string(t)), claviger.EventTypes())
		}
		if slices.Contains(types[:i], t) {
			return claviger.Invalid("events", "invalid_format", "%s is named twice.", quoted(string(t)))
		}
	}
	return nil
}

// EventEndpoints lists the organization's event endpoints, newest first.
func (b *Broker) EventEndpoints(ctx context.Context, c claviger.Caller, p Page) ([]claviger.EventEndpoint, bool, error) {
	if err := b.gate.Check(ctx, c, claviger.EventEndpointsRead, orgWide(c, "event_endpoint", "")); err != nil {
		return nil, false, err
	}
	list, err := b.db.EventEndpoints(ctx, c.Scope, p.plusOne())
	list, more := cut(p, list)
	return list, more, err
}

// EventEndpoint answers one event endpoint, without its secret.
func (b *Broker) EventEndpoint(ctx context.Context, c claviger.Caller, id claviger.EndpointID) (claviger.EventEndpoint, error) {
	return b.endpoint(ctx, c, claviger.EventEndpointsRead, id)
}

func (b *Broker) endpoint(ctx context.Context, c claviger.Caller, v claviger.Verb, id claviger.EndpointID) (claviger.EventEndpoint, error) {
	r := orgWide(c, "event_endpoint", string(id))
	if err := b.gate.Check(ctx, c, v, r); err != nil {
		return claviger.EventEndpoint{}, err
	}
	e, err := b.db.EventEndpoint(ctx, c.Scope, id)
	if errors.Is(err, store.ErrNotFound) {
		return e, b.gate.Absent(ctx, c, v, r)
	}
	return e, err
}

// DeleteEventEndpoint stops sending events to an endpoint, those on their way included.
func (b *Broker) DeleteEventEndpoint(ctx context.Context, c claviger.Caller, id claviger.EndpointID) error {
	return b.gate.Change(ctx, c, claviger.EventEndpointsWrite, orgWide(c, "event_endpoint", string(id)), func(tx *store.Tx, _ *gate.Ticket) error {
		return absent(tx.DeleteEventEndpoint(ctx, c.Scope, id), "event endpoint")
	})
}

func absent(err error, noun string) error {
	if errors.Is(err, store.ErrNotFound) {
		return claviger.NotFound(noun)
	}
	return err
}

// RotateEventEndpoint gives an endpoint a new signing secret. For a day the one before
// signs too, so that the receiver can change over without losing an event.
func (b *Broker) RotateEventEndpoint(ctx context.Context, c claviger.Caller, id claviger.EndpointID) (NewEventEndpoint, error) {
	if _, err := b.endpoint(ctx, c, claviger.EventEndpointsWrite, id); err != nil {
		return NewEventEndpoint{}, err
	}
	secret, err := events.NewSecret(b.random)
	if err != nil {
		return NewEventEndpoint{}, err
	}
	r := orgWide(c, "event_endpoint", string(id))
	if err := b.vault.Prepare(ctx, r.Organization); err != nil {
		return NewEventEndpoint{}, err
	}
	out := NewEventEndpoint{Secret: secret}
	err = b.gate.Change(ctx, c, claviger.EventEndpointsWrite, r, func(tx *store.Tx, t *gate.Ticket) (err error) {
		out.Endpoint, err = tx.RotateEventEndpoint(ctx, c.Scope, id, b.now().Add(events.Overlap), func(next claviger.EventEndpoint) (claviger.Sealed, error) {
			return b.vault.SealEventSecret(ctx, t, &next, secret)
		})
		return absent(err, "event endpoint")
	})
	return out, err
}

// EventDeliveries lists what was and is to be sent to an endpoint, newest first, for
// thirty days.
func (b *Broker) EventDeliveries(ctx context.Context, c claviger.Caller, id claviger.EndpointID, p Page) ([]claviger.EventDelivery, bool, error) {
	if _, err := b.endpoint(ctx, c, claviger.EventEndpointsRead, id); err != nil {
		return nil, false, err
	}
	list, err := b.db.EventDeliveries(ctx, c.Scope, id, p.plusOne())
	list, more := cut(p, list)
	return list, more, err
}

// ReplayEventDelivery sends a delivery that has ended once more. The event keeps its id.
func (b *Broker) ReplayEventDelivery(ctx context.Context, c claviger.Caller, endpoint claviger.EndpointID, id claviger.DeliveryID) (claviger.EventDelivery, error) {
	e, err := b.endpoint(ctx, c, claviger.EventEndpointsWrite, endpoint)
	if err != nil {
		return claviger.EventDelivery{}, err
	}
	if e.Disabled != "" {
		return claviger.EventDelivery{}, claviger.Errorf(claviger.KindConflict, "event_endpoint_disabled", "The endpoint is disabled (%s). Create another one.", e.Disabled)
	}
	d, err := b.db.EventDelivery(ctx, c.Scope, endpoint, id)
	r := claviger.Resource{Type: "event_delivery", ID: string(id), Organization: c.Scope.Organization(), Workspace: d.Workspace}
	if errors.Is(err, store.ErrNotFound) {
		return d, b.gate.Absent(ctx, c, claviger.EventEndpointsWrite, r)
	}
	if err != nil {
		return d, err
	}
	err = b.gate.Change(ctx, c, claviger.EventEndpointsWrite, r, func(tx *store.Tx, _ *gate.Ticket) error {
		d, err = b.events.Replay(ctx, tx, c.Scope, endpoint, id)
		return absent(err, "event delivery")
	})
	if errors.Is(err, store.ErrConflict) {
		err = claviger.Errorf(claviger.KindConflict, "delivery_pending", "The delivery is still being tried. Wait until it has succeeded or failed.")
	}
	return d, err
}
