package client

import (
	"context"
	"iter"

	"claviger/api"
)

// Expirations lists what of the connections comes to an end, the first at the front;
// both filters may be empty.
func (c *Client) Expirations(ctx context.Context, workspaceID, connector string) iter.Seq2[api.Expiration, error] {
	return pages[api.Expiration](ctx, c, "/v1/expirations", values("workspaceId", workspaceID, "connector", connector))
}
