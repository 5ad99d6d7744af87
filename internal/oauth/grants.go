package oauth

import (
	"context"
	"net/url"

	"claviger"
)

// grantTypes of RFC 6749, 7523, 8628 and 8693.
const (
	grantCode        = "authorization_code"
	grantRefresh     = "refresh_token"
	grantClient      = "client_credentials"
	grantJWTBearer   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	grantDevice      = "urn:ietf:params:oauth:grant-type:device_code"
	grantTokenChange = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// token makes the call of a grant: the connector's own parameters first, so that they
// can replace none of the protocol's.
func (cfg Config) token(grant string, proof *Proof) call {
	params := url.Values{}
	for _, p := range cfg.tokenParams {
		params.Set(p.Name, p.Value)
	}
	params.Set("grant_type", grant)
	for _, r := range cfg.resources {
		params.Add("resource", r)
	}
	return call{
		endpoint: cfg.Endpoints.Token, params: params, format: cfg.Rules.TokenRequestFormat,
		auth: cfg.Rules.ClientAuth, proof: proof, bound: cfg.Rules.DPoP, timeout: cfg.Rules.Refresh.Timeout,
	}
}

// Code is what redeems an authorization code.
type Code struct {
	Code        claviger.Secret
	Verifier    claviger.Secret // the flow's own; empty only where PKCE is off
	RedirectURI string          // as it was in the authorization request
}

// Exchange redeems a code (RFC 6749, section 4.1.3), once: a second use of a code
// makes a strict server revoke the whole grant. proof is nil without DPoP.
func (c *Client) Exchange(ctx context.Context, cfg Config, client claviger.OAuthClient, in Code, proof *Proof) Attempt {
	what := cfg.token(grantCode, proof)
	what.params.Set("code", reveal(in.Code))
	what.params.Set("redirect_uri", in.RedirectURI)
	if cfg.Rules.PKCE != claviger.PKCEOff {
		if in.Verifier.Empty() {
			return failed(false, claviger.Errorf(claviger.KindInternal, "", "A code came without its verifier."))
		}
		what.params.Set("code_verifier", reveal(in.Verifier))
	}
	return c.send(ctx, cfg, client, what)
}

// Refresh asks for new tokens (RFC 6749, section 6), sending the refresh token exactly
// once. scopes, if not nil, narrow what the new access token may do. The context
// should be one that the caller's disconnect does not end: given up after sending is
// Uncertain.
func (c *Client) Refresh(ctx context.Context, cfg Config, client claviger.OAuthClient, refresh claviger.Secret, scopes []string, proof *Proof) Attempt {
	if refresh.Empty() {
		return failed(false, claviger.Errorf(claviger.KindReauthorize, "reauthorization_required", "The connection has no refresh token. Its owner must connect again."))
	}
	what := cfg.token(grantRefresh, proof)
	what.endpoint = orElse(cfg.Endpoints.Refresh, cfg.Endpoints.Token)
	what.params.Set("refresh_token", reveal(refresh))
	if scopes != nil {
		cfg.scopes(what.params, scopes)
	}
	return c.send(ctx, cfg, client, what)
}

// ClientCredentials asks for a token of the client's own (RFC 6749, section 4.4).
// scopes are the connector's if nil.
func (c *Client) ClientCredentials(ctx context.Context, cfg Config, client claviger.OAuthClient, scopes []string, proof *Proof) Attempt {
	what := cfg.token(orElse(cfg.Rules.ClientCredentialsGrant, grantClient), proof)
	cfg.scopes(what.params, scopes)
	return c.send(ctx, cfg, client, what)
}

// JWTBearer trades a signed assertion for a token (RFC 7523, section 2.1). The
// assertion names an audience, the token endpoint if it is empty, and is signed anew
// with each call. The client authenticates too if the connector says how; with "none"
// and no client, the assertion is all.
func (c *Client) JWTBearer(ctx context.Context, cfg Config, client claviger.OAuthClient, a Assertion, scopes []string, proof *Proof) Attempt {
	a.Audience = orElse(a.Audience, orElse(cfg.assertionAudience, cfg.Endpoints.Token))
	signed, err := c.SignAssertion(a)
	if err != nil {
		return failed(false, err)
	}
	what := cfg.token(grantJWTBearer, proof)
	what.params.Set("assertion", signed)
	cfg.scopes(what.params, scopes)
	if what.auth == claviger.ClientAuthNone && client.ID == "" {
		what.auth = ""
	}
	return c.send(ctx, cfg, client, what)
}

// TokenTypeAccess is the usual type of a token that is exchanged (RFC 8693, section 3).
const TokenTypeAccess = "urn:ietf:params:oauth:token-type:access_token"

// TokenExchange trades a token for another (RFC 8693). Types are URIs; an empty
// subject or actor type is TokenTypeAccess.
type TokenExchange struct {
	Subject, Actor         claviger.Secret
	SubjectType, ActorType string
	RequestedType          string
	Audience               string
	Scopes                 []string // the connector's if nil
}

// TradeToken sends a token exchange.
func (c *Client) TradeToken(ctx context.Context, cfg Config, client claviger.OAuthClient, in TokenExchange, proof *Proof) Attempt {
	what := cfg.token(grantTokenChange, proof)
	what.params.Set("subject_token", reveal(in.Subject))
	what.params.Set("subject_token_type", orElse(in.SubjectType, TokenTypeAccess))
	if !in.Actor.Empty() {
		what.params.Set("actor_token", reveal(in.Actor))
		what.params.Set("actor_token_type", orElse(in.ActorType, TokenTypeAccess))
	}
	if in.RequestedType != "" {
		what.params.Set("requested_token_type", in.RequestedType)
	}
	if in.Audience != "" {
		what.params.Set("audience", in.Audience)
	}
	cfg.scopes(what.params, in.Scopes)
	return c.send(ctx, cfg, client, what)
}

// InstallationToken asks for the token of an app's installation, as GitHub Apps do: a
// POST without a body to the token endpoint, which names the installation, with the
// app's assertion in its header. Where the answer keeps its token is the connector's to
// say; a token type is not expected. Lifetime should be short: GitHub takes ten minutes
// at most, counted from its own clock.
func (c *Client) InstallationToken(ctx context.Context, cfg Config, app Assertion) Attempt {
	signed, err := c.SignAssertion(app)
	if err != nil {
		return failed(false, err)
	}
	return c.send(ctx, cfg, claviger.OAuthClient{}, call{
		endpoint: cfg.Endpoints.Token, format: "none", bearer: claviger.NewSecretString(signed), timeout: cfg.Rules.Refresh.Timeout,
	})
}
