package native

import (
	"context"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

func (s *surface) mountEvents(a *wire.API) {
	const read, write = claviger.EventEndpointsRead, claviger.EventEndpointsWrite
	wire.Handle(a, wide("POST", "/v1/event-endpoints", "createEventEndpoint", "Have events sent to an address; its signing secret is shown once", write), s.createEventEndpoint)
	wire.Handle(a, wide("GET", "/v1/event-endpoints", "listEventEndpoints", "List where events are sent, newest first", read), s.listEventEndpoints)
	wire.Handle(a, wide("GET", "/v1/event-endpoints/{id}", "getEventEndpoint", "Get an event endpoint", read), s.getEventEndpoint)
	wire.Handle(a, wide("DELETE", "/v1/event-endpoints/{id}", "deleteEventEndpoint", "Stop sending events to an endpoint at once", write), s.deleteEventEndpoint)
	wire.Handle(a, action(wide("POST", "/v1/event-endpoints/{id}/rotate-secret", "rotateEventEndpointSecret", "Make a new signing secret, shown once; the old one signs too for a day", write)), s.rotateEventEndpoint)
	wire.Handle(a, wide("GET", "/v1/event-endpoints/{id}/deliveries", "listEventDeliveries", "List what was and is to be sent to an endpoint, newest first", read), s.listEventDeliveries)
	wire.Handle(a, action(wide("POST", "/v1/event-endpoints/{id}/deliveries/{delivery}/replay", "replayEventDelivery", "Send a delivery that has ended once more", write)), s.replayEventDelivery)
}

type createEventEndpoint struct{ Body api.CreateEventEndpoint }

func (s *surface) createEventEndpoint(ctx context.Context, c claviger.Caller, in *createEventEndpoint) (*out[api.NewEventEndpoint], error) {
	types := each(in.Body.Events, func(t string) claviger.EventType { return claviger.EventType(t) })
	e, err := s.core.CreateEventEndpoint(ctx, c, in.Body.URL, types)
	return answer(newEventEndpoint(e), err)
}

func (s *surface) listEventEndpoints(ctx context.Context, c claviger.Caller, in *paged) (*out[wire.List[api.EventEndpoint]], error) {
	return list(s, c, "event-endpoints", in.Paging, nil, eventEndpoint, func(e claviger.EventEndpoint) string { return string(e.ID) },
		func(p broker.Page) ([]claviger.EventEndpoint, bool, error) { return s.core.EventEndpoints(ctx, c, p) })
}

func (s *surface) getEventEndpoint(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.EventEndpoint], error) {
	e, err := s.core.EventEndpoint(ctx, c, claviger.EndpointID(in.ID))
	return answer(eventEndpoint(e), err)
}

func (s *surface) deleteEventEndpoint(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.Deleted], error) {
	return gone("event_endpoint", in.ID, s.core.DeleteEventEndpoint(ctx, c, claviger.EndpointID(in.ID)))
}

func (s *surface) rotateEventEndpoint(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.NewEventEndpoint], error) {
	e, err := s.core.RotateEventEndpoint(ctx, c, claviger.EndpointID(in.ID))
	return answer(newEventEndpoint(e), err)
}

type listEventDeliveries struct {
	ByID
	wire.Paging
}

func (s *surface) listEventDeliveries(ctx context.Context, c claviger.Caller, in *listEventDeliveries) (*out[wire.List[api.EventDelivery]], error) {
	return list(s, c, "event-deliveries", in.Paging, []string{in.ID}, eventDelivery, func(d claviger.EventDelivery) string { return string(d.ID) },
		func(p broker.Page) ([]claviger.EventDelivery, bool, error) {
			return s.core.EventDeliveries(ctx, c, claviger.EndpointID(in.ID), p)
		})
}

type replayEventDelivery struct {
	ByID
	Delivery string `path:"delivery" maxLength:"64" doc:"The delivery's id"`
}

func (s *surface) replayEventDelivery(ctx context.Context, c claviger.Caller, in *replayEventDelivery) (*out[api.EventDelivery], error) {
	d, err := s.core.ReplayEventDelivery(ctx, c, claviger.EndpointID(in.ID), claviger.DeliveryID(in.Delivery))
	return answer(eventDelivery(d), err)
}

func eventEndpoint(e claviger.EventEndpoint) api.EventEndpoint {
	a := api.EventEndpoint{
		ID: string(e.ID), Object: "event_endpoint", URL: e.URL, Events: strs(e.Events), Status: "active", Reason: e.Disabled, OwnerID: e.Owner,
		PreviousSecretExpiresAt: maybe(e.PreviousUntil), CreatedAt: at(e.CreatedAt), UpdatedAt: at(e.UpdatedAt),
	}
	if e.Disabled != "" {
		a.Status = "disabled"
	}
	return a
}

func newEventEndpoint(e broker.NewEventEndpoint) api.NewEventEndpoint {
	return api.NewEventEndpoint{EventEndpoint: eventEndpoint(e.Endpoint), Secret: shown(e.Secret)}
}

func eventDelivery(d claviger.EventDelivery) api.EventDelivery {
	return api.EventDelivery{
		ID: string(d.ID), Object: "event_delivery", EndpointID: string(d.Endpoint), EventID: string(d.Event), Type: string(d.Type),
		WorkspaceID: string(d.Workspace), Status: string(d.Status), Attempts: d.Attempts, StatusCode: d.StatusCode, Code: d.Code,
		NextAttemptAt: maybe(d.NextAt), LastAttemptAt: maybe(d.LastAt), CreatedAt: at(d.CreatedAt),
	}
}
