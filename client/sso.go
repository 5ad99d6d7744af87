package client

import (
	"context"

	"claviger/api"
)

// SingleSignOn answers the OpenID provider by which the organization's people sign in.
func (c *Client) SingleSignOn(ctx context.Context) (api.SingleSignOn, error) {
	return get[api.SingleSignOn](ctx, c, "/v1/sso", nil)
}

// PutSingleSignOn sets it. Another issuer ends the sessions of the one before.
func (c *Client) PutSingleSignOn(ctx context.Context, in api.PutSingleSignOn) (api.SingleSignOn, error) {
	return put[api.SingleSignOn](ctx, c, "/v1/sso", in, "")
}

// DeleteSingleSignOn removes it and ends its sessions.
func (c *Client) DeleteSingleSignOn(ctx context.Context) (api.Deleted, error) {
	return remove[api.Deleted](ctx, c, "/v1/sso", nil)
}
