package embedded

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"claviger"
	"claviger/internal/authn"
	"claviger/internal/wire"
)

// Prefix is the part of the path that this surface owns.
const Prefix = "/api/v1/"

// Mount mounts the surface on api, whose Encode should be [EncodeError], and the key
// set at /.well-known/jwks.json.
func Mount(api *wire.API, tokens *authn.Authority) {
	s := surface{tokens}
	wire.Handle(api, wire.Route{
		Method: http.MethodPost, Path: "/api/v1/account/applications/token", Name: "createOperatorToken",
		Summary: "Exchange client credentials for an operator token", Tags: []string{"Tokens"}, Verb: claviger.TokensMint,
		Public: true, MaxBody: 8 << 10,
	}, s.operatorToken)
	wire.Handle(api, mintRoute("/api/v1/embedded/scoped-token", "createScopedToken"), s.scopedToken)
	wire.Handle(api, mintRoute("/api/v1/account/applications/scoped-token", "createCustomerToken"), s.customerToken)
	wire.Handle(api, infoRoute("/api/v1/embedded/scoped-token/info", "getScopedToken"), s.info)
	wire.Handle(api, infoRoute("/api/v1/account/applications/scoped-token/info", "getCustomerToken"), s.info)
	wire.HandleRaw(api, wire.Route{
		Method: http.MethodGet, Path: "/.well-known/jwks.json", Name: "getKeySet",
		Summary: "The public keys that verify tokens", Tags: []string{"Tokens"}, Public: true,
	}, s.keySet)
}

// mintRoute is a route that makes a scoped token: for those who act for the whole
// organization.
func mintRoute(path, name string) wire.Route {
	return wire.Route{
		Method: http.MethodPost, Path: path, Name: name, Summary: "Make a scoped token for one workspace",
		Tags: []string{"Tokens"}, Verb: claviger.TokensMint, MaxBody: 8 << 10,
		Kinds: []claviger.CallerKind{claviger.CallerOperator, claviger.CallerAPIKey},
	}
}

func infoRoute(path, name string) wire.Route {
	return wire.Route{
		Method: http.MethodGet, Path: path, Name: name, Summary: "What a scoped token reaches",
		Tags: []string{"Tokens"}, Kinds: []claviger.CallerKind{claviger.CallerScoped},
	}
}

type surface struct{ tokens *authn.Authority }

func (s surface) operatorToken(ctx context.Context, c claviger.Caller, in *tokenInput) (*tokenOutput, error) {
	minted, err := s.tokens.MintOperator(ctx, in.Body.ClientID, claviger.NewSecretString(in.Body.ClientSecret), c.From)
	if err != nil {
		return nil, err
	}
	return operatorAnswer(minted)
}

func (s surface) scopedToken(ctx context.Context, c claviger.Caller, in *scopedInput) (*scopedOutput, error) {
	return s.mint(ctx, c, in.Body.WorkspaceName, in.Body.RegionID)
}

func (s surface) customerToken(ctx context.Context, c claviger.Caller, in *scopedAliasInput) (*scopedOutput, error) {
	out, err := s.mint(ctx, c, in.Body.CustomerName, in.Body.RegionID)
	var e *claviger.Error
	if errors.As(err, &e) && e.Param == "workspace_name" {
		renamed := *e
		renamed.Param = "customer_name"
		return nil, &renamed
	}
	return out, err
}

func (s surface) mint(ctx context.Context, c claviger.Caller, name, region string) (*scopedOutput, error) {
	minted, err := s.tokens.MintScoped(ctx, c, name, claviger.RegionID(strings.ToLower(region)))
	if err != nil {
		return nil, err
	}
	return &scopedOutput{scopedBody{reveal(minted.Token)}}, nil
}

func (s surface) info(_ context.Context, c claviger.Caller, _ *struct{}) (*infoOutput, error) {
	return infoAnswer(c.Scope)
}

func (s surface) keySet(w http.ResponseWriter, r *http.Request, _ claviger.Caller) {
	if err := s.tokens.KeySet(w, r); err != nil {
		wire.WriteError(w, r, err)
	}
}
