package client

import (
	"context"
	"errors"
	"net/http"

	"claviger/api"
)

// anonymous posts without showing a token.
func anonymous[T any](ctx context.Context, c *Client, path string, body any) (out T, err error) {
	err = c.do(ctx, request{method: http.MethodPost, path: path, body: body, anonymous: true}, &out)
	return out, err
}

// LoginPage is the path of the page that lets a command line in by the browser on its
// machine.
const LoginPage = "/console/cli/authorize"

// HasLoginPage reports whether the server has that page. It shows no token.
func (c *Client) HasLoginPage(ctx context.Context) (bool, error) {
	var page []byte
	err := c.do(ctx, request{method: http.MethodGet, path: LoginPage, anonymous: true}, &page)
	var e *Error
	if errors.As(err, &e) && e.Status != 0 {
		return e.Status != http.StatusNotFound, nil
	}
	return err == nil, err
}

// BeginLogin asks a person to let the command line of a machine in (RFC 8628). It shows no
// token.
func (c *Client) BeginLogin(ctx context.Context, host string) (api.DeviceLogin, error) {
	return anonymous[api.DeviceLogin](ctx, c, "/v1/cli/device", api.BeginLogin{Host: host})
}

// RedeemLogin gets the API key of an approved command line, this once. It shows no token.
// Until the person has decided it fails with the code authorization_pending, and with
// slow_down if it is called too often.
func (c *Client) RedeemLogin(ctx context.Context, in api.RedeemLogin) (api.NewAPIKey, error) {
	return anonymous[api.NewAPIKey](ctx, c, "/v1/cli/token", in)
}

// LookUpLogin answers whose request a typed code is.
func (c *Client) LookUpLogin(ctx context.Context, userCode string) (api.Login, error) {
	return post[api.Login](ctx, c, "/v1/cli/device/lookup", api.LookUpLogin{UserCode: userCode}, nil)
}

// DecideLogin lets the command line of a typed code in, with an API key of the caller's
// own rights, or sends it away.
func (c *Client) DecideLogin(ctx context.Context, userCode string, allow bool) (api.Login, error) {
	return post[api.Login](ctx, c, "/v1/cli/device/approve", api.DecideLogin{UserCode: userCode, Allow: allow}, nil)
}

// GrantLogin lets the command line in that opened the caller's browser, and answers where
// that browser goes next.
func (c *Client) GrantLogin(ctx context.Context, in api.GrantLogin) (api.LoginGranted, error) {
	return post[api.LoginGranted](ctx, c, "/v1/cli/authorize", in, nil)
}
