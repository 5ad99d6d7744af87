package client

import (
	"context"
	"net/url"

	"claviger/api"
)

func oauthClientPath(connector string) string {
	return "/v1/connectors/" + url.PathEscape(connector) + "/client"
}

func connectSessionPath(id, tail string) string {
	return "/v1/connect/sessions/" + url.PathEscape(id) + tail
}

// PutOAuthClient stores the organization's registration at a connector's vendor.
func (c *Client) PutOAuthClient(ctx context.Context, connector string, in api.PutOAuthClient) (api.OAuthClient, error) {
	return put[api.OAuthClient](ctx, c, oauthClientPath(connector), in, "")
}

// OAuthClient answers what is set of that registration, and the redirect URI to
// register. authMethod may be empty where the connector has one method of type oauth2.
func (c *Client) OAuthClient(ctx context.Context, connector, authMethod string) (api.OAuthClient, error) {
	return get[api.OAuthClient](ctx, c, oauthClientPath(connector), values("authMethod", authMethod))
}

// CreateConnectSession asks for a page where an end user connects something. Its token
// and address are answered this once.
func (c *Client) CreateConnectSession(ctx context.Context, in api.CreateConnectSession, opts ...CallOption) (api.ConnectSessionMade, error) {
	return post[api.ConnectSessionMade](ctx, c, "/v1/connect/sessions", in, opts)
}

// ConnectSession answers where a session stands.
func (c *Client) ConnectSession(ctx context.Context, id string) (api.ConnectSession, error) {
	return get[api.ConnectSession](ctx, c, connectSessionPath(id, ""), nil)
}

// FinishConnectSession confirms that the person who brought the finish code is the one
// that the session was made for. Check that before calling: the code came with a
// browser, and that browser must be the person's own session with you.
func (c *Client) FinishConnectSession(ctx context.Context, id, finishCode string, opts ...CallOption) (api.Connection, error) {
	return post[api.Connection](ctx, c, connectSessionPath(id, "/finish"), api.FinishConnect{FinishCode: finishCode}, opts)
}

// FinishConnection is the same for a connection that was begun with CreateConnection.
func (c *Client) FinishConnection(ctx context.Context, id, finishCode string, opts ...CallOption) (api.Connection, error) {
	return post[api.Connection](ctx, c, connectionPath(id, "/finish"), api.FinishConnect{FinishCode: finishCode}, opts)
}

// PutReturnURLs replaces the list of addresses that browsers may be sent back to.
func (c *Client) PutReturnURLs(ctx context.Context, urls []string) (api.ReturnURLs, error) {
	return put[api.ReturnURLs](ctx, c, "/v1/connect/return-urls", api.ReturnURLs{URLs: urls}, "")
}

// ReturnURLs lists them.
func (c *Client) ReturnURLs(ctx context.Context) (api.ReturnURLs, error) {
	return get[api.ReturnURLs](ctx, c, "/v1/connect/return-urls", nil)
}

// PutBranding replaces how the organization shows itself on connect pages.
func (c *Client) PutBranding(ctx context.Context, in api.Branding) (api.Branding, error) {
	return put[api.Branding](ctx, c, "/v1/branding", in, "")
}

// Branding answers how the organization shows itself on connect pages.
func (c *Client) Branding(ctx context.Context) (api.Branding, error) {
	return get[api.Branding](ctx, c, "/v1/branding", nil)
}
