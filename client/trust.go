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
