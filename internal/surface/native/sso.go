package native

import (
	"context"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

func (s *surface) mountSingleSignOn(a *wire.API) {
	wire.Handle(a, wide("GET", "/v1/sso", "getSingleSignOn", "The OpenID provider by which your people sign in", claviger.SingleSignOnRead), s.getSingleSignOn)
	wire.Handle(a, wide("PUT", "/v1/sso", "putSingleSignOn", "Set the OpenID provider by which your people sign in", claviger.SingleSignOnWrite), s.putSingleSignOn)
	wire.Handle(a, wide("DELETE", "/v1/sso", "deleteSingleSignOn", "Remove single sign-on and end its sessions", claviger.SingleSignOnWrite), s.deleteSingleSignOn)
}

func (s *surface) getSingleSignOn(ctx context.Context, c claviger.Caller, _ *struct{}) (*out[api.SingleSignOn], error) {
	x, err := s.core.SingleSignOn(ctx, c)
	return answer(singleSignOn(x), err)
}

type putSingleSignOn struct{ Body api.PutSingleSignOn }

func (s *surface) putSingleSignOn(ctx context.Context, c claviger.Caller, in *putSingleSignOn) (*out[api.SingleSignOn], error) {
	change := broker.SingleSignOnChange{
		Issuer: in.Body.Issuer, ClientID: in.Body.ClientID, AllowedDomains: in.Body.AllowedDomains, DefaultRole: claviger.Role(in.Body.DefaultRole),
	}
	if given := in.Body.ClientSecret; given != nil {
		secret := claviger.NewSecretString(*given)
		change.ClientSecret = &secret
	}
	x, err := s.core.PutSingleSignOn(ctx, c, change)
	return answer(singleSignOn(x), err)
}

func (s *surface) deleteSingleSignOn(ctx context.Context, c claviger.Caller, _ *struct{}) (*out[api.Deleted], error) {
	return gone("single_sign_on", string(c.Scope.Organization()), s.core.DeleteSingleSignOn(ctx, c))
}

func singleSignOn(x broker.SingleSignOn) api.SingleSignOn {
	shape := api.SingleSignOn{
		Object: "single_sign_on", Issuer: x.Issuer, ClientID: x.ClientID, Secrets: []string{}, AllowedDomains: strs(x.AllowedDomains), DefaultRole: string(x.DefaultRole),
		RedirectURI: x.RedirectURI, SignInURL: x.SignInURL, CreatedAt: at(x.CreatedAt), UpdatedAt: at(x.UpdatedAt),
	}
	if x.HasSecret {
		shape.Secrets = append(shape.Secrets, "clientSecret")
	}
	return shape
}
