package oauth

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"claviger"
)

// Introspection is what an authorization server says of a token (RFC 7662).
type Introspection struct {
	Active            bool
	Scopes            []string
	Subject, Username string
	ClientID          string
	ExpiresAt         time.Time // zero if not said
}

// Introspect asks what a token is good for. An inactive token has nothing else.
func (c *Client) Introspect(ctx context.Context, cfg Config, client claviger.OAuthClient, token claviger.Secret, hint string) (Introspection, error) {
	params := url.Values{"token": {reveal(token)}}
	if hint != "" {
		params.Set("token_type_hint", hint)
	}
	raw, err := c.send(ctx, cfg, client, call{endpoint: cfg.Endpoints.Introspect, params: params, auth: cfg.Rules.ClientAuth}).settled()
	if err != nil {
		return Introspection{}, err
	}
	if err := classify(cfg, raw, "$.active").Err(); err != nil {
		return Introspection{}, err
	}
	tree, _ := raw.read("json")
	active, _ := find(tree, "$.active")
	if active != true {
		return Introspection{}, nil
	}
	in := Introspection{
		Active: true, Scopes: grantedScopes(cfg, tree),
		Subject: plain(text(tree, "$.sub")), Username: plain(text(tree, "$.username")), ClientID: plain(text(tree, "$.client_id")),
	}
	if v, ok := find(tree, "$.exp"); ok {
		if at, ok := instant(v); ok {
			in.ExpiresAt = at
		}
	}
	return in, nil
}

// Account is who a token speaks for, as the vendor says. Values are untrusted text.
type Account struct {
	ID, Name, Email string
	Claims          map[string]any // of encoding/json, numbers as json.Number
}

// Userinfo asks whom an access token speaks for (OpenID Connect Core, section 5.3).
// subject, if not empty, is the id token's, which the answer must repeat.
func (c *Client) Userinfo(ctx context.Context, cfg Config, access claviger.Secret, subject string, proof *Proof) (Account, error) {
	raw, err := c.send(ctx, cfg, claviger.OAuthClient{}, call{
		endpoint: cfg.Endpoints.Userinfo, method: http.MethodGet, format: "none", bearer: access, proof: proof,
	}).settled()
	if err != nil {
		return Account{}, err
	}
	if raw.Status == http.StatusUnauthorized {
		return Account{}, claviger.Errorf(claviger.KindUpstream, "invalid_credentials", "The vendor did not accept the access token.")
	}
	if err := classify(cfg, raw, "$.sub").Err(); err != nil {
		return Account{}, err
	}
	tree, _ := raw.read("json")
	claims, _ := tree.(map[string]any)
	a := Account{ID: text(tree, "$.sub"), Name: plain(text(tree, "", "$.name", "$.preferred_username")), Email: plain(text(tree, "$.email")), Claims: claims}
	if a.ID == "" || len(a.ID) > maxSubject || subject != "" && a.ID != subject {
		return Account{}, errBadResponse()
	}
	return a, nil
}

// Tree answers a token endpoint's answer as encoding/json has it, numbers as
// json.Number, nil if it cannot be read; for what a connector discovers in it.
func (cfg Config) Tree(raw Raw) any {
	tree, _ := raw.read(cfg.Rules.TokenResponse.Format)
	return tree
}

// Ask makes one GET with an access token, for what a connector discovers once a person
// has consented, and answers the JSON of it. scheme stands before the token; that of the
// grant's tokens if empty. The caller has checked that the address's host may have the
// token.
func (c *Client) Ask(ctx context.Context, cfg Config, address, scheme string, access claviger.Secret, proof *Proof) (any, error) {
	if !usableAddress(address) {
		return nil, badEndpoint()
	}
	raw, err := c.send(ctx, cfg, claviger.OAuthClient{}, call{
		endpoint: address, method: http.MethodGet, format: "none", bearer: access, scheme: scheme, proof: proof,
	}).settled()
	if err != nil {
		return nil, err
	}
	if raw.Status == http.StatusUnauthorized {
		return nil, claviger.Errorf(claviger.KindUpstream, "invalid_credentials", "The vendor did not accept the access token.")
	}
	tree, shape := raw.read("json")
	if raw.Status/100 != 2 || shape != formTree {
		return nil, errBadResponse()
	}
	return tree, nil
}
