package client

import (
	"context"
	"iter"
	"net/url"

	"claviger/api"
)

const inboundPath = "/v1/events"

// InboundQuery narrows a list of deliveries; an empty member asks for nothing.
type InboundQuery struct{ SystemKey, DataSource, Status string }

// InboundEvents lists what vendors delivered, newest first, without the bodies.
func (c *Client) InboundEvents(ctx context.Context, in InboundQuery) iter.Seq2[api.InboundEvent, error] {
	q := url.Values{}
	for name, value := range map[string]string{"systemKey": in.SystemKey, "dataSource": in.DataSource, "status": in.Status} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return pages[api.InboundEvent](ctx, c, inboundPath, q)
}

// InboundEvent answers one delivery with its body.
func (c *Client) InboundEvent(ctx context.Context, id string) (api.InboundEvent, error) {
	return get[api.InboundEvent](ctx, c, inboundPath+"/"+url.PathEscape(id), nil)
}

// ReplayInboundEvent has a delivery acted upon once more.
func (c *Client) ReplayInboundEvent(ctx context.Context, id string, opts ...CallOption) (api.InboundEvent, error) {
	return post[api.InboundEvent](ctx, c, inboundPath+"/"+url.PathEscape(id)+"/replay", nil, opts)
}

// AwaitHandshake lets a webhook slot take its secret from the vendor's handshake; with
// slot empty the default one.
func (c *Client) AwaitHandshake(ctx context.Context, system, slot string) (api.HandshakeWait, error) {
	return post[api.HandshakeWait](ctx, c, systemPath(system, "/await-handshake"), api.AwaitHandshake{Slot: slot}, nil)
}
