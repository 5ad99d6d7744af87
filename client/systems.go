package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"

	"claviger/api"
)

func systemPath(key, tail string) string { return "/v1/systems/" + url.PathEscape(key) + tail }

// PutSystem uploads a connected system's manifest as its next version.
func (c *Client) PutSystem(ctx context.Context, key string, in api.SystemUpload) (api.SystemUploaded, error) {
	return put[api.SystemUploaded](ctx, c, systemPath(key, ""), in, "")
}

// Systems lists connected systems by key.
func (c *Client) Systems(ctx context.Context) iter.Seq2[api.System, error] {
	return pages[api.System](ctx, c, "/v1/systems", nil)
}

// System answers a connected system with its documents; version 0 is the present one.
func (c *Client) System(ctx context.Context, key string, version int) (api.System, error) {
	q := url.Values{}
	if version > 0 {
		q.Set("version", strconv.Itoa(version))
	}
	return get[api.System](ctx, c, systemPath(key, ""), q)
}

// DeleteSystem ends a system's connections and removes it.
func (c *Client) DeleteSystem(ctx context.Context, key string) (api.Deleted, error) {
	return remove[api.Deleted](ctx, c, systemPath(key, ""), nil)
}

// SystemVersions lists the versions of a manifest, the newest first.
func (c *Client) SystemVersions(ctx context.Context, key string) iter.Seq2[api.SystemVersion, error] {
	return pages[api.SystemVersion](ctx, c, systemPath(key, "/versions"), nil)
}

// RollbackSystem makes an older version's manifest the next version.
func (c *Client) RollbackSystem(ctx context.Context, key string, version int) (api.SystemUploaded, error) {
	return post[api.SystemUploaded](ctx, c, systemPath(key, "/rollback"), api.SystemRollback{Version: version}, nil)
}

// ValidateSystem checks documents as an upload would; without any, those that are stored.
func (c *Client) ValidateSystem(ctx context.Context, key string, in api.SystemDocuments) (api.SystemValidation, error) {
	return post[api.SystemValidation](ctx, c, systemPath(key, "/validate"), in, nil)
}

// Slots answers the slots of a system: their health and which values they lack.
func (c *Client) Slots(ctx context.Context, key string) ([]api.Slot, error) {
	list, err := get[api.List[api.Slot]](ctx, c, systemPath(key, "/slots"), nil)
	return list.Data, err
}

// TestIntegration tries every slot of a system with its own credential.
func (c *Client) TestIntegration(ctx context.Context, key string) (api.IntegrationReport, error) {
	return post[api.IntegrationReport](ctx, c, systemPath(key, "/test-integration"), nil, nil)
}

// Policy answers what the organization allows that is refused by default.
func (c *Client) Policy(ctx context.Context) (api.Policy, error) {
	return get[api.Policy](ctx, c, "/v1/policy", nil)
}

// PutPolicy replaces it.
func (c *Client) PutPolicy(ctx context.Context, in api.Policy) (api.Policy, error) {
	return put[api.Policy](ctx, c, "/v1/policy", in, "")
}
