package client

import (
	"context"
	"net/url"
	"strconv"

	"claviger/api"
)

// RevokeConnections stops all connections that match at once and has their tokens
// revoked at the vendors; at least one member of in must be given. What comes of that,
// [Client.Revocation] answers.
func (c *Client) RevokeConnections(ctx context.Context, in api.RevokeConnections, opts ...CallOption) (api.RevocationReport, error) {
	return post[api.RevocationReport](ctx, c, "/v1/connections/revoke", in, opts)
}

// Revocation answers a report with one page of its connections: at most limit of them
// (0: 20), after the cursor of the page before.
func (c *Client) Revocation(ctx context.Context, id string, limit int, after string) (api.RevocationReport, error) {
	q := values("after", after)
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return get[api.RevocationReport](ctx, c, "/v1/revocations/"+url.PathEscape(id), q)
}
