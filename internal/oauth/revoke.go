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

// clientMark stands in a filled address or parameter for the client's id, which is known
// only when the call is made.
const clientMark = "${clientId}"

// revocation fills what the call that revokes is made of. It may name what is discovered
// after connecting and is not known before.
func (f *filler) revocation(rules *claviger.OAuth, cfg *Config) {
	later := filler{err: f.err, lookup: func(name string) (string, bool) {
		if name == "clientId" {
			return clientMark, true
		}
		if f.lookup != nil {
			if v, ok := f.lookup(name); ok {
				return v, true
			}
		}
		cfg.revokeWaits = true
		return "-", true
	}}
	cfg.Endpoints.Revoke = later.address("revokeUrl", rules.Endpoints.Revoke)
	cfg.revokeParams = later.params("revoke.params", rules.Revoke.Params, nil)
	f.err = later.err
}

// Revoke ends a token at the vendor, by RFC 7009 or as the connector's document says.
// It may be repeated without harm. A token that the vendor no longer knows is revoked.
func (c *Client) Revoke(ctx context.Context, cfg Config, client claviger.OAuthClient, token claviger.Secret, hint string) Revocation {
	only := cfg.Rules.Revoke.Token
	if cfg.Endpoints.Revoke == "" || token.Empty() || only != "" && hint != "" && hint != only+"_token" {
		return Revocation{Verdict: NotSupported}
	}
	if cfg.revokeWaits {
		return Revocation{Verdict: NotRevoked, Reason: "The connection does not have what the vendor's call needs."}
	}
	raw, err := c.send(ctx, cfg, client, cfg.revocation(client, token, hint)).settled()
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
func (cfg Config) revocation(client claviger.OAuthClient, token claviger.Secret, hint string) call {
	r := cfg.Rules.Revoke
	what := call{
		endpoint: strings.ReplaceAll(cfg.Endpoints.Revoke, url.PathEscape(clientMark), url.PathEscape(client.ID)),
		method:   orElse(r.Method, http.MethodPost), params: url.Values{},
		format: orElse(r.BodyFormat, "form"), auth: r.ClientAuth,
	}
	if what.auth == "" {
		what.auth = cfg.Rules.ClientAuth
	}
	for _, p := range cfg.revokeParams {
		what.params.Set(p.Name, strings.ReplaceAll(p.Value, clientMark, client.ID))
	}
	if !r.Authorization.Empty() {
		what.auth, what.secretHeader = "", secretHeader{"Authorization", ownAuthorization(r.Authorization, client)}
	}
	switch r.TokenIn {
	case "bearer":
		// One Authorization header: the token is its own proof.
		what.bearer, what.auth, what.format = token, "", emptyFormat(what)
	case "header":
		what.secretHeader, what.format = secretHeader{r.TokenHeader, token}, emptyFormat(what)
	case "path":
		what.endpoint = strings.TrimSuffix(what.endpoint, "/") + "/" + url.PathEscape(reveal(token))
		what.format = emptyFormat(what)
	case "query":
		what.format = "query"
		what.params.Set(orElse(r.TokenParam, "token"), reveal(token))
	case "none": // the parameters name the grant
	default:
		what.params.Set(orElse(r.TokenParam, "token"), reveal(token))
		if r.TokenParam == "" && hint != "" {
			what.params.Set("token_type_hint", hint)
		}
	}
	return what
}

// secretHeader is a header of a vendor's own that carries a secret.
type secretHeader struct {
	header string
	secret claviger.Secret
}

// ownAuthorization fills a header of the vendor's own.
func ownAuthorization(t claviger.Template, client claviger.OAuthClient) claviger.Secret {
	text, err := t.Render(func(name string) (string, bool) {
		switch name {
		case "clientId":
			return client.ID, client.ID != ""
		case "clientSecret":
			return reveal(client.Secret), !client.Secret.Empty()
		}
		return "", false
	}, nil)
	if err != nil {
		return claviger.Secret{} // the vendor refuses it, and says so
	}
	return claviger.NewSecretString(text)
}

// emptyFormat keeps a body only where there is something to say in it.
func emptyFormat(what call) string {
	if len(what.params) == 0 && what.auth != claviger.ClientSecretPost && what.auth != claviger.PrivateKeyJWT {
		return "none"
	}
	return what.format
}
