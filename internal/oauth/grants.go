package oauth

import (
	"cmp"
	"context"
	"net/url"
	"time"

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
// the assertion is all.
func (c *Client) JWTBearer(ctx context.Context, cfg Config, client claviger.OAuthClient, a Assertion, scopes []string, proof *Proof) Attempt {
	a.Audience = orElse(a.Audience, orElse(cfg.assertionAudience, cfg.Endpoints.Token))
	what := cfg.token(grantJWTBearer, proof)
	cfg.scopes(what.params, scopes)
	if claim := cfg.Rules.Assertion.ScopeClaim; claim != "" {
		param := orElse(cfg.Rules.ScopeParam, "scope")
		if asked := what.params.Get(param); asked != "" {
			a.Claims = map[string]any{claim: asked}
		}
		what.params.Del(param)
	}
	signed, err := c.SignAssertion(c.timed(cfg, a))
	if err != nil {
		return failed(false, err)
	}
	what.params.Set("assertion", signed)
	if what.auth == claviger.ClientAuthNone {
		what.auth = ""
	}
	return c.send(ctx, cfg, client, what)
}

// defaultAssertion is how long an assertion that stands for a grant is good.
const defaultAssertion = 10 * time.Minute

// timed gives an assertion the times that the connector declares.
func (c *Client) timed(cfg Config, a Assertion) Assertion {
	r := cfg.Rules.Assertion
	if a.IssuedAt.IsZero() {
		a.IssuedAt = c.Now().Add(-r.Backdate)
	}
	if a.Lifetime = cmp.Or(a.Lifetime, r.Lifetime); a.Lifetime == 0 {
		a.Lifetime = defaultAssertion
	}
	return a
}

// TokenTypeAccess is the usual type of a token that is exchanged (RFC 8693, section 3).
const TokenTypeAccess = "urn:ietf:params:oauth:token-type:access_token"

// TokenExchange is what is traded for another token (RFC 8693).
type TokenExchange struct {
	Subject, Actor claviger.Secret
	Scopes         []string // the connector's if nil
}

// TradeToken sends a token exchange. Types and audience are the connector's
// ([claviger.OAuthExchange]); an empty subject or actor type is TokenTypeAccess.
func (c *Client) TradeToken(ctx context.Context, cfg Config, client claviger.OAuthClient, in TokenExchange, proof *Proof) Attempt {
	what := cfg.token(grantTokenChange, proof)
	declared := cfg.Rules.Exchange
	what.params.Set("subject_token", reveal(in.Subject))
	what.params.Set("subject_token_type", orElse(declared.SubjectType, TokenTypeAccess))
	if !in.Actor.Empty() {
		what.params.Set("actor_token", reveal(in.Actor))
		what.params.Set("actor_token_type", orElse(declared.ActorType, TokenTypeAccess))
	}
	for name, value := range map[string]string{"requested_token_type": declared.RequestedType, "audience": cfg.exchangeAudience} {
		if value != "" {
			what.params.Set(name, value)
		}
	}
	cfg.scopes(what.params, in.Scopes)
	return c.send(ctx, cfg, client, what)
}

// InstallationToken asks for the token of an app's installation, as GitHub Apps do: a
// POST without a body to the token endpoint, which names the installation, with the
// app's assertion in its header. Where the answer keeps its token is the connector's to
// say; a token type is not expected.
func (c *Client) InstallationToken(ctx context.Context, cfg Config, app Assertion) Attempt {
	signed, err := c.SignAssertion(c.timed(cfg, app))
	if err != nil {
		return failed(false, err)
	}
	return c.send(ctx, cfg, claviger.OAuthClient{}, call{
		endpoint: cfg.Endpoints.Token, format: "none", bearer: claviger.NewSecretString(signed), timeout: cfg.Rules.Refresh.Timeout,
	})
}
