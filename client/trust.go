package client

import (
	"context"
	"net/url"

	"claviger/api"
)

// TestEndToEnd tries the operations of a data source at the real system.
func (c *Client) TestEndToEnd(ctx context.Context, system, dataSource string) (api.EndToEndReport, error) {
	return post[api.EndToEndReport](ctx, c, systemPath(system, "/datasources/"+url.PathEscape(dataSource)+"/test-e2e"), nil, nil)
}

// VerifyTrust takes a system through the ladder of checks and signs the level it reached.
func (c *Client) VerifyTrust(ctx context.Context, system string) (api.TrustReport, error) {
	return post[api.TrustReport](ctx, c, systemPath(system, "/verify-trust"), nil, nil)
}

// Certificate answers a system's newest certificate, and whether it still holds.
func (c *Client) Certificate(ctx context.Context, system string) (api.CertificateState, error) {
	return get[api.CertificateState](ctx, c, systemPath(system, "/certificate"), nil)
}
