package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"

	"claviger"
)

// stateBytes is the entropy of states, verifiers and nonces: 256 bits, so that none is
// ever guessed or made twice.
const stateBytes = 32

// NewState answers a new value of 256 bits that binds a callback to its flow. It is
// also good for a nonce.
func (c *Client) NewState() (string, error) { return c.random(stateBytes) }

// NewVerifier answers a new code verifier of 256 bits (RFC 7636, section 4.1). It
// never leaves the server but in the token request.
func (c *Client) NewVerifier() (claviger.Secret, error) {
	s, err := c.random(stateBytes)
	if err != nil {
		return claviger.Secret{}, err
	}
	return claviger.NewSecretString(s), nil
}

// Challenge answers a verifier's S256 challenge (RFC 7636, section 4.2).
func Challenge(verifier claviger.Secret) string {
	hash := sha256.Sum256([]byte(reveal(verifier)))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// Authorization is one authorization request.
type Authorization struct {
	State       string          // of NewState
	Verifier    claviger.Secret // of NewVerifier
	Nonce       string          // of NewState, where the connector wants one
	RedirectURI string
	Scopes      []string // nil for the connector's own
	Extra       []Param  // of this flow alone, for example login_hint; none of the protocol's own
	ProofKey    claviger.Secret
}

// params answers the request's parameters (RFC 6749, section 4.1.1).
func (a Authorization) params(cfg Config, client claviger.OAuthClient) (url.Values, error) {
	if client.ID == "" {
		return nil, claviger.Invalid("clientId", "oauth_client_missing", "The connector has no OAuth client. Set its client id and secret first.")
	}
	params := url.Values{}
	for _, p := range cfg.authorizeParams {
		params.Set(p.Name, p.Value)
	}
	reserved := authorizeReserved()
	for _, p := range a.Extra {
		if slices.Contains(reserved, p.Name) || p.Name == orElse(cfg.Rules.ClientIDParam, "client_id") {
			return nil, claviger.Invalid("settings."+p.Name, "invalid_parameter", "The parameter %s is the protocol's own and cannot be set.", p.Name)
		}
		params.Set(p.Name, p.Value)
	}
	params.Set("response_type", "code")
	params.Set(orElse(cfg.Rules.ClientIDParam, "client_id"), client.ID)
	params.Set("redirect_uri", a.RedirectURI)
	params.Set("state", a.State)
	cfg.scopes(params, a.Scopes)
	if cfg.Rules.PKCE != claviger.PKCEOff {
		if a.Verifier.Empty() {
			return nil, claviger.Errorf(claviger.KindInternal, "", "A flow was started without its code verifier.")
		}
		params.Set("code_challenge", Challenge(a.Verifier))
		params.Set("code_challenge_method", "S256")
	}
	if cfg.Rules.OIDC.Nonce {
		if a.Nonce == "" {
			return nil, claviger.Errorf(claviger.KindInternal, "", "A flow was started without its nonce.")
		}
		params.Set("nonce", a.Nonce)
	}
	for _, r := range cfg.resources {
		params.Add("resource", r)
	}
	if cfg.Rules.DPoP && !a.ProofKey.Empty() {
		jkt, err := Thumbprint(a.ProofKey)
		if err != nil {
			return nil, err
		}
		params.Set("dpop_jkt", jkt)
	}
	return params, nil
}

// AuthorizeURL answers where the person's browser goes to consent. The challenge is
// always S256, whatever the server's metadata say, unless the connector's document
// turns it off.
func AuthorizeURL(cfg Config, client claviger.OAuthClient, a Authorization) (string, error) {
	params, err := a.params(cfg, client)
	if err != nil {
		return "", err
	}
	return authorizeAt(cfg, params)
}

func authorizeAt(cfg Config, params url.Values) (string, error) {
	if !usableAddress(cfg.Endpoints.Authorize) {
		return "", badEndpoint()
	}
	separator := "?"
	if strings.Contains(cfg.Endpoints.Authorize, "?") {
		separator = "&"
	}
	return cfg.Endpoints.Authorize + separator + params.Encode(), nil
}

// Push sends the authorization request ahead (RFC 9126) and answers the address for
// the browser, which names it, and until when it is good.
func (c *Client) Push(ctx context.Context, cfg Config, client claviger.OAuthClient, a Authorization) (address string, expires time.Time, err error) {
	params, err := a.params(cfg, client)
	if err != nil {
		return "", time.Time{}, err
	}
	what := call{endpoint: cfg.Endpoints.PushedAuthorization, params: params, auth: cfg.Rules.ClientAuth}
	if cfg.Rules.DPoP && !a.ProofKey.Empty() {
		what.proof = &Proof{Key: a.ProofKey}
	}
	raw, err := c.send(ctx, cfg, client, what).settled()
	if err != nil {
		return "", time.Time{}, err
	}
	if err := classify(cfg, raw, "$.request_uri").Err(); err != nil {
		return "", time.Time{}, err
	}
	tree, _ := raw.read("json")
	requestURI := text(tree, "$.request_uri")
	if !printable(requestURI, 2048) {
		return "", time.Time{}, errBadResponse()
	}
	lifetime, _ := find(tree, "$.expires_in")
	n, _ := number(lifetime)
	address, err = authorizeAt(cfg, url.Values{
		orElse(cfg.Rules.ClientIDParam, "client_id"): {client.ID}, "request_uri": {requestURI},
	})
	return address, raw.Received.Add(seconds(n)), err
}
