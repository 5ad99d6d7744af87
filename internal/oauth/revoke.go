package oauth

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"claviger"
)

// Revocation says what became of one token at the vendor.
type Revocation struct {
	Verdict string // "revoked", "not_supported" or "failed"
	Reason  string // of "failed", in our words
	Retry   bool   // whether trying again may help
	Class   Class  // of the answer, if there was one
}

// The verdicts of a revocation.
const (
	Revoked      = "revoked"
	NotSupported = "not_supported"
	NotRevoked   = "failed"
)

// Token kinds, for [Client.Revoke] and [Client.Introspect] (RFC 7009, section 2.1).
const (
	HintAccess  = "access_token"
	HintRefresh = "refresh_token"
)

// Revoke ends a token at the vendor, by RFC 7009 or as the connector's document says.
// It may be repeated without harm. A token that the vendor no longer knows is revoked.
func (c *Client) Revoke(ctx context.Context, cfg Config, client claviger.OAuthClient, token claviger.Secret, hint string) Revocation {
	if cfg.Endpoints.Revoke == "" || token.Empty() {
		return Revocation{Verdict: NotSupported}
	}
	raw, err := c.send(ctx, cfg, client, cfg.revocation(token, hint)).settled()
	if err != nil {
		return Revocation{Verdict: NotRevoked, Reason: claviger.AsError(err).Message, Retry: true}
	}
	class := classify(cfg, raw, "")
	tree, _ := raw.read("")
	switch said := strings.ToLower(word(tree, cfg.Rules.TokenResponse.Error)); {
	case class.Verdict == Granted, class.Status < 500 && (said == "invalid_token" || said == "token_revoked" || class.Dead()):
		return Revocation{Verdict: Revoked, Class: class}
	case said == "unsupported_token_type":
		return Revocation{Verdict: NotSupported, Class: class}
	}
	return Revocation{Verdict: NotRevoked, Reason: claviger.AsError(class.Err()).Message, Retry: class.Retry(), Class: class}
}

// revocation makes the call that the connector's document describes.
func (cfg Config) revocation(token claviger.Secret, hint string) call {
	r := cfg.Rules.Revoke
	what := call{
		endpoint: cfg.Endpoints.Revoke, method: orElse(r.Method, http.MethodPost), params: url.Values{},
		format: orElse(r.BodyFormat, "form"), auth: r.ClientAuth,
	}
	if what.auth == "" {
		what.auth = cfg.Rules.ClientAuth
	}
	for _, p := range cfg.revokeParams {
		what.params.Set(p.Name, p.Value)
	}
	switch r.TokenIn {
	case "bearer":
		// One Authorization header: the token is its own proof.
		what.bearer, what.auth, what.format = token, "", emptyFormat(what)
	case "path":
		what.endpoint = strings.TrimSuffix(what.endpoint, "/") + "/" + url.PathEscape(reveal(token))
		what.format = emptyFormat(what)
	case "query":
		what.format = "query"
		what.params.Set(orElse(r.TokenParam, "token"), reveal(token))
	default:
		what.params.Set(orElse(r.TokenParam, "token"), reveal(token))
		if r.TokenParam == "" && hint != "" {
			what.params.Set("token_type_hint", hint)
		}
	}
	return what
}

// emptyFormat keeps a body only where there is something to say in it.
func emptyFormat(what call) string {
	if len(what.params) == 0 && what.auth != claviger.ClientSecretPost && what.auth != claviger.PrivateKeyJWT {
		return "none"
	}
	return what.format
}
