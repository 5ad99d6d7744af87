package native

import (
	"context"
	"time"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

// mountLogins mounts the routes by which a command line is let in. The two that it calls
// itself take no token: it has none yet.
func (s *surface) mountLogins(a *wire.API) {
	public := func(path, name, summary string) wire.Route {
		r := action(both("POST", path, name, summary, claviger.TokensMint))
		r.Public, r.Kinds, r.NotIdempotent, r.MaxBody = true, nil, true, 4<<10
		return r
	}
	wire.Handle(a, public("/v1/cli/device", "beginLogin", "Ask a person to let a command line in"), s.beginLogin)
	wire.Handle(a, public("/v1/cli/token", "redeemLogin", "Get the API key of an approved command line, once"), s.redeemLogin)
	wire.Handle(a, action(wide("POST", "/v1/cli/device/lookup", "lookUpLogin", "Whose request a typed code is", claviger.APIKeysCreate)), s.lookUpLogin)
	wire.Handle(a, action(wide("POST", "/v1/cli/device/approve", "decideLogin", "Let the command line of a typed code in, or send it away", claviger.APIKeysCreate)), s.decideLogin)
	wire.Handle(a, action(wide("POST", "/v1/cli/authorize", "grantLogin", "Let the command line in that opened this person's browser", claviger.APIKeysCreate)), s.grantLogin)
}

type beginLogin struct{ Body api.BeginLogin }

func (s *surface) beginLogin(ctx context.Context, c claviger.Caller, in *beginLogin) (*out[api.DeviceLogin], error) {
	l, err := s.core.BeginCLI(ctx, c.From, in.Body.Host)
	return answer(api.DeviceLogin{
		Object: "device_login", DeviceCode: shown(l.DeviceCode), UserCode: l.UserCode, VerificationURI: l.PageURL,
		Interval: int(l.Login.Interval / time.Second), ExpiresIn: int(l.Login.ExpiresAt.Sub(l.Login.CreatedAt) / time.Second),
	}, err)
}

type redeemLogin struct{ Body api.RedeemLogin }

func (s *surface) redeemLogin(ctx context.Context, c claviger.Caller, in *redeemLogin) (*out[api.NewAPIKey], error) {
	code := in.Body.DeviceCode + in.Body.Code
	if code == "" || in.Body.DeviceCode != "" && in.Body.Code != "" {
		return nil, claviger.Invalid("deviceCode", "required", "Send either deviceCode, or code with codeVerifier.")
	}
	k, err := s.core.RedeemCLI(ctx, c.From, code, in.Body.CodeVerifier)
	return answer(api.NewAPIKey{APIKey: apiKey(k.Key), Key: shown(k.Token)}, err)
}

type lookUpLogin struct{ Body api.LookUpLogin }

func (s *surface) lookUpLogin(ctx context.Context, c claviger.Caller, in *lookUpLogin) (*out[api.Login], error) {
	l, err := s.core.LoginAsked(ctx, c, in.Body.UserCode)
	return answer(login(l), err)
}

type decideLogin struct{ Body api.DecideLogin }

func (s *surface) decideLogin(ctx context.Context, c claviger.Caller, in *decideLogin) (*out[api.Login], error) {
	l, err := s.core.ApproveCLI(ctx, c, in.Body.UserCode, in.Body.Allow)
	return answer(login(l), err)
}

type grantLogin struct{ Body api.GrantLogin }

func (s *surface) grantLogin(ctx context.Context, c claviger.Caller, in *grantLogin) (*out[api.LoginGranted], error) {
	b := in.Body
	to, err := s.core.GrantCLI(ctx, c, broker.LoginGrant{Host: b.Host, Challenge: b.CodeChallenge, ReturnTo: b.RedirectURI, State: b.State})
	return answer(api.LoginGranted{Object: "login_grant", Location: to}, err)
}

func login(l claviger.Login) api.Login {
	return api.Login{
		ID: string(l.ID), Object: "login", Status: string(l.Status), Host: l.Host, Address: l.Address, CreatedAt: at(l.CreatedAt), ExpiresAt: at(l.ExpiresAt),
	}
}
