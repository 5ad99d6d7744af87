package client

import (
	"context"
	"iter"
	"net/url"

	"claviger/api"
)

const endpointsPath = "/v1/event-endpoints"

// CreateEventEndpoint has events of these types sent to an address. The signing secret
// is answered this once.
func (c *Client) CreateEventEndpoint(ctx context.Context, in api.CreateEventEndpoint, opts ...CallOption) (api.NewEventEndpoint, error) {
	return post[api.NewEventEndpoint](ctx, c, endpointsPath, in, opts)
}

// EventEndpoints lists where events are sent.
func (c *Client) EventEndpoints(ctx context.Context) iter.Seq2[api.EventEndpoint, error] {
	return pages[api.EventEndpoint](ctx, c, endpointsPath, nil)
}

// EventEndpoint answers one endpoint, without its secret.
func (c *Client) EventEndpoint(ctx context.Context, id string) (api.EventEndpoint, error) {
	return get[api.EventEndpoint](ctx, c, endpointPath(id), nil)
}

// DeleteEventEndpoint stops sending events to an endpoint at once.
func (c *Client) DeleteEventEndpoint(ctx context.Context, id string) (api.Deleted, error) {
	return remove[api.Deleted](ctx, c, endpointPath(id), nil)
}

// RotateEventEndpointSecret gives an endpoint a new signing secret, which is answered
// this once. The one before signs too for a day.
func (c *Client) RotateEventEndpointSecret(ctx context.Context, id string, opts ...CallOption) (api.NewEventEndpoint, error) {
	return post[api.NewEventEndpoint](ctx, c, endpointPath(id)+"/rotate-secret", nil, opts)
}

// EventDeliveries lists what was and is to be sent to an endpoint, newest first.
func (c *Client) EventDeliveries(ctx context.Context, endpoint string) iter.Seq2[api.EventDelivery, error] {
	return pages[api.EventDelivery](ctx, c, endpointPath(endpoint)+"/deliveries", nil)
}

// ReplayEventDelivery sends a delivery that has ended once more.
func (c *Client) ReplayEventDelivery(ctx context.Context, endpoint, delivery string, opts ...CallOption) (api.EventDelivery, error) {
	return post[api.EventDelivery](ctx, c, endpointPath(endpoint)+"/deliveries/"+url.PathEscape(delivery)+"/replay", nil, opts)
}

func endpointPath(id string) string { return endpointsPath + "/" + url.PathEscape(id) }
