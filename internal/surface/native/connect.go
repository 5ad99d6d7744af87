package native

import (
	"cmp"
	"context"
	"time"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

func (s *surface) mountConnect(a *wire.API) {
	wire.Handle(a, wide("PUT", "/v1/connectors/{key}/client", "putOAuthClient", "Store your registration at a connector's vendor", claviger.ConnectorsWrite), s.putOAuthClient)
	wire.Handle(a, wide("GET", "/v1/connectors/{key}/client", "getOAuthClient", "What is set of your registration, and the redirect URI to register", claviger.ConnectorsRead), s.getOAuthClient)
	wire.Handle(a, both("POST", "/v1/connect/sessions", "createConnectSession", "Ask for a page where an end user connects something", claviger.ConnectionsCreate), s.createConnectSession)
	wire.Handle(a, both("GET", "/v1/connect/sessions/{id}", "getConnectSession", "Where a connect session stands", claviger.ConnectionsRead), s.getConnectSession)
	wire.Handle(a, action(both("POST", "/v1/connect/sessions/{id}/finish", "finishConnectSession", "Confirm with the finish code that the right person connected", claviger.ConnectionsCreate)), s.finishSession)
	wire.Handle(a, action(both("POST", "/v1/connections/{id}/finish", "finishConnection", "Confirm with the finish code a connection that was begun with POST /v1/connections", claviger.ConnectionsCreate)), s.finishConnection)
	wire.Handle(a, wide("PUT", "/v1/connect/return-urls", "putReturnURLs", "Replace the list of addresses that browsers may be sent back to", claviger.ConnectorsWrite), s.putReturnURLs)
	wire.Handle(a, wide("GET", "/v1/connect/return-urls", "getReturnURLs", "List the addresses that browsers may be sent back to", claviger.ConnectorsRead), s.getReturnURLs)
	wire.Handle(a, wide("PUT", "/v1/branding", "putBranding", "Set how connect pages show your organization", claviger.ConnectorsWrite), s.putBranding)
	wire.Handle(a, wide("GET", "/v1/branding", "getBranding", "How connect pages show your organization", claviger.ConnectorsRead), s.getBranding)
}

type putOAuthClient struct {
	ByKey
	Body api.PutOAuthClient
}

func (s *surface) putOAuthClient(ctx context.Context, c claviger.Caller, in *putOAuthClient) (*out[api.OAuthClient], error) {
	secrets := claviger.Credentials{}
	for key, value := range map[string]string{"clientSecret": in.Body.ClientSecret, "privateKey": in.Body.PrivateKey} {
		if value != "" {
			secrets[key] = claviger.NewSecretString(value)
		}
	}
	keep, err := time.ParseDuration(cmp.Or(in.Body.KeepFormerFor, "0"))
	if err != nil {
		return nil, claviger.Invalid("keepFormerFor", "invalid_format", "Write a duration, for example 24h.")
	}
	x, err := s.core.PutOAuthClient(ctx, c, broker.OAuthClientChange{
		Connector: in.Key, AuthMethod: in.Body.AuthMethod, ClientID: in.Body.ClientID, KeyID: in.Body.KeyID,
		Certificate: in.Body.Certificate, Secrets: secrets, SecretEndsAt: given(in.Body.ClientSecretExpiresAt), KeepFormer: keep,
	})
	return answer(oauthClient(x), err)
}

type getOAuthClient struct {
	ByKey
	AuthMethod string `query:"authMethod" maxLength:"128" doc:"Default: the connector's only method of type oauth2"`
}

func (s *surface) getOAuthClient(ctx context.Context, c claviger.Caller, in *getOAuthClient) (*out[api.OAuthClient], error) {
	x, err := s.core.OAuthClient(ctx, c, in.Key, in.AuthMethod)
	return answer(oauthClient(x), err)
}

func oauthClient(x broker.OAuthClient) api.OAuthClient {
	return api.OAuthClient{
		Object: "oauth_client", Connector: x.Connector, AuthMethod: x.AuthMethod, ClientID: x.ClientID, KeyID: x.KeyID,
		Certificate: x.Certificate, Secrets: strs(x.Secrets), RedirectURI: x.RedirectURI,
		ClientSecretExpiresAt: maybe(x.SecretEndsAt), CertificateExpiresAt: maybe(x.CertificateEndsAt),
	}
}

type createConnectSession struct{ Body api.CreateConnectSession }

func (s *surface) createConnectSession(ctx context.Context, c claviger.Caller, in *createConnectSession) (*out[api.ConnectSessionMade], error) {
	b := in.Body
	made, err := s.core.CreateConnectSession(ctx, c, broker.NewConnectSession{
		User: claviger.EndUser{ID: b.User.ID, Email: b.User.Email, Name: b.User.Name}, Connectors: b.AllowedConnectors,
		Workspace: claviger.WorkspaceID(b.WorkspaceID), Settings: b.Settings, Tags: b.Tags, ReturnURL: b.ReturnURL,
		Delivery: claviger.Delivery(b.Delivery), Connection: claviger.ConnectionID(b.ConnectionID), AllowAccountChange: b.AllowAccountChange,
	})
	if err != nil {
		return nil, err
	}
	token := shown(made.Token)
	return body(api.ConnectSessionMade{
		ID: string(made.Session.ID), Object: "connect_session", Token: token, ConnectURL: made.PageURL + token, ExpiresAt: at(made.Session.ExpiresAt),
	}), nil
}

func (s *surface) getConnectSession(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.ConnectSession], error) {
	x, err := s.core.ConnectSession(ctx, c, claviger.ConnectSessionID(in.ID))
	return answer(connectSession(x), err)
}

func connectSession(x claviger.ConnectSession) api.ConnectSession {
	out := api.ConnectSession{
		ID: string(x.ID), Object: "connect_session", Status: string(cmp.Or(x.Status, claviger.ConnectOpen)), ConnectionID: string(x.Connection),
		User: api.ConnectUser{ID: x.User.ID, Email: x.User.Email, Name: x.User.Name}, ExpiresAt: at(x.ExpiresAt),
	}
	if x.Fault != nil {
		out.Error = &api.Fault{Code: x.Fault.Code, Message: x.Fault.Message}
	}
	return out
}

type finishConnect struct {
	ByID
	Body api.FinishConnect
}

func (s *surface) finishSession(ctx context.Context, c claviger.Caller, in *finishConnect) (*out[api.Connection], error) {
	x, err := s.core.FinishConnect(ctx, c, broker.Finish{Session: claviger.ConnectSessionID(in.ID), Code: in.Body.FinishCode})
	return answer(connection(x), err)
}

func (s *surface) finishConnection(ctx context.Context, c claviger.Caller, in *finishConnect) (*out[api.Connection], error) {
	x, err := s.core.FinishConnect(ctx, c, broker.Finish{Connection: claviger.ConnectionID(in.ID), Code: in.Body.FinishCode})
	return answer(connection(x), err)
}

type putReturnURLs struct{ Body api.ReturnURLs }

func (s *surface) putReturnURLs(ctx context.Context, c claviger.Caller, in *putReturnURLs) (*out[api.ReturnURLs], error) {
	list, err := s.core.PutReturnURLs(ctx, c, in.Body.URLs)
	return answer(api.ReturnURLs{Object: "return_urls", URLs: strs(list)}, err)
}

func (s *surface) getReturnURLs(ctx context.Context, c claviger.Caller, _ *struct{}) (*out[api.ReturnURLs], error) {
	list, err := s.core.ReturnURLs(ctx, c)
	return answer(api.ReturnURLs{Object: "return_urls", URLs: strs(list)}, err)
}

type putBranding struct{ Body api.Branding }

func (s *surface) putBranding(ctx context.Context, c claviger.Caller, in *putBranding) (*out[api.Branding], error) {
	x, err := s.core.PutBranding(ctx, c, claviger.Branding{Name: in.Body.Name, Color: in.Body.Color, Logo: in.Body.Logo})
	return answer(branding(x), err)
}

func (s *surface) getBranding(ctx context.Context, c claviger.Caller, _ *struct{}) (*out[api.Branding], error) {
	x, err := s.core.Branding(ctx, c)
	return answer(branding(x), err)
}

func branding(x claviger.Branding) api.Branding {
	return api.Branding{Object: "branding", Name: x.Name, Color: x.Color, Logo: x.Logo}
}
