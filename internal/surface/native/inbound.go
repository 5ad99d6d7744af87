package native

import (
	"context"
	"encoding/base64"
	"unicode/utf8"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

func (s *surface) mountInbound(a *wire.API) {
	wire.Handle(a, wide("GET", "/v1/events", "listEvents", "List what vendors delivered to systems, newest first, without the bodies", claviger.EventsRead), s.listInbound)
	wire.Handle(a, wide("GET", "/v1/events/{id}", "getEvent", "Get what a vendor delivered, with its body", claviger.EventsRead), s.getInbound)
	wire.Handle(a, action(wide("POST", "/v1/events/{id}/replay", "replayEvent", "Act on a delivery once more", claviger.EventsReplay)), s.replayInbound)
	wire.Handle(a, action(wide("POST", "/v1/systems/{systemKey}/await-handshake", "awaitHandshake", "Let a webhook slot take its secret from the vendor's handshake, once, within the hour", claviger.SecretsWrite)), s.awaitHandshake)
}

type listInbound struct {
	wire.Paging
	SystemKey  string `query:"systemKey" maxLength:"64"`
	DataSource string `query:"dataSource" maxLength:"64"`
	Status     string `query:"status" enum:"received,processed,failed,parked"`
}

func (s *surface) listInbound(ctx context.Context, c claviger.Caller, in *listInbound) (*out[wire.List[api.InboundEvent]], error) {
	filter := broker.InboundFilter{System: in.SystemKey, DataSource: in.DataSource, Status: claviger.InboundStatus(in.Status)}
	return list(s, c, "events", in.Paging, []string{in.SystemKey, in.DataSource, in.Status}, inboundEvent,
		func(e claviger.InboundEvent) string { return string(e.ID) },
		func(p broker.Page) ([]claviger.InboundEvent, bool, error) {
			return s.core.InboundEvents(ctx, c, filter, p)
		})
}

func (s *surface) getInbound(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.InboundEvent], error) {
	e, text, err := s.core.InboundEvent(ctx, c, claviger.InboundID(in.ID))
	if err != nil {
		return nil, err
	}
	shown := inboundEvent(e)
	whole := string(text)
	if shown.BodyEncoding = "utf-8"; !utf8.Valid(text) {
		shown.BodyEncoding, whole = "base64", base64.StdEncoding.EncodeToString(text)
	}
	shown.Body = &whole
	return body(shown), nil
}

func (s *surface) replayInbound(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.InboundEvent], error) {
	e, err := s.core.ReplayInbound(ctx, c, claviger.InboundID(in.ID))
	return answer(inboundEvent(e), err)
}

type awaitHandshake struct {
	BySystem
	Body api.AwaitHandshake
}

func (s *surface) awaitHandshake(ctx context.Context, c claviger.Caller, in *awaitHandshake) (*out[api.HandshakeWait], error) {
	until, err := s.core.AwaitHandshake(ctx, c, in.Key, in.Body.Slot)
	return answer(api.HandshakeWait{Object: "handshake_wait", SystemKey: in.Key, Until: at(until)}, err)
}

func inboundEvent(e claviger.InboundEvent) api.InboundEvent {
	return api.InboundEvent{
		Object: "event", ID: string(e.ID), SystemKey: e.System, WorkspaceID: string(e.Workspace), DataSource: e.DataSource,
		ConnectionID: string(e.Connection), Slot: e.Slot, Type: e.Type, DeliveryID: e.Delivery, ContentType: e.ContentType, Size: e.Size,
		Status: string(e.Status), Code: e.Code, Attempts: e.Attempts, ReceivedAt: at(e.ReceivedAt), ProcessedAt: maybe(e.ProcessedAt),
	}
}
