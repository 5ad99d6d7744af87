package oauth

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/egress"
)

// Endpoints are the addresses of an authorization server, filled and checked. Empty
// ones are not offered.
type Endpoints struct {
	Authorize, Token, Refresh, Device, PushedAuthorization, Revoke, Introspect, Userinfo, Keys string
}

// Config is the oauth2 section of a connector as it holds for one connection. It is
// made by [Resolve], completed by [Config.WithMetadata] where there is discovery, and
// not changed after that.
type Config struct {
	Rules *claviger.OAuth
	// Partition keeps connections to the vendor apart ([egress.Destination.Key]):
	// organization and connector.
	Partition string
	Endpoints Endpoints
	Issuer    string

	authorizeParams, tokenParams, revokeParams []Param
	tokenHeaders                               http.Header
	resources                                  []string
	revokeWaits                                bool // what the call that revokes names is not known yet
	assertionAudience, exchangeAudience        string
}

// Param is one parameter of a request.
type Param struct{ Name, Value string }

// Resolve fills the section's templates from a connection's settings and checks the
// result: addresses are https (or plain http, which egress lets through to hosts that
// the operator opened), without user information or fragment; no parameter or header
// takes the place of one of the protocol's own. lookup answers a setting's value,
// which the caller has checked by its type. Errors are *claviger.Error of KindInvalid
// and name the document's field.
func Resolve(rules *claviger.OAuth, partition string, lookup func(name string) (string, bool)) (Config, error) {
	f := filler{lookup: lookup}
	cfg := Config{Rules: rules, Partition: partition}
	e, to := &rules.Endpoints, &cfg.Endpoints
	for _, endpoint := range []struct {
		name string
		from claviger.Template
		to   *string
	}{
		{"authorizeUrl", e.Authorize, &to.Authorize},
		{"tokenUrl", e.Token, &to.Token},
		{"refreshUrl", e.Refresh, &to.Refresh},
		{"deviceUrl", e.Device, &to.Device},
		{"parUrl", e.PushedAuthorization, &to.PushedAuthorization},
		{"introspectUrl", e.Introspect, &to.Introspect},
		{"userinfoUrl", e.Userinfo, &to.Userinfo},
		{"jwksUrl", e.Keys, &to.Keys},
		{"issuer", rules.Issuer, &cfg.Issuer},
	} {
		*endpoint.to = f.address(endpoint.name, endpoint.from)
	}
	cfg.authorizeParams = f.params("authorizeParams", rules.AuthorizeParams, authorizeReserved())
	cfg.tokenParams = f.params("tokenParams", rules.TokenParams, tokenReserved())
	f.revocation(rules, &cfg)
	cfg.tokenHeaders = f.headers(rules.TokenHeaders)
	for _, r := range rules.Resource {
		cfg.resources = append(cfg.resources, f.fill("resource", r, nil))
	}
	cfg.assertionAudience = f.fill("assertionAudience", rules.AssertionAudience, nil)
	cfg.exchangeAudience = f.fill("exchange.audience", rules.Exchange.Audience, nil)
	f.choice("clientAuth", string(rules.ClientAuth), string(claviger.ClientSecretBasic), string(claviger.ClientSecretPost), string(claviger.PrivateKeyJWT), string(claviger.TLSClientAuth), string(claviger.ClientAuthNone))
	f.choice("pkce", string(rules.PKCE), "", string(claviger.PKCES256), string(claviger.PKCEOff))
	f.choice("tokenRequest.format", rules.TokenRequestFormat, "", "form", "json")
	f.choice("tokenResponse.format", rules.TokenResponse.Format, "", "form", "json")
	f.choice("tokenResponse.expiresInUnit", rules.TokenResponse.ExpiresInUnit, "", "s", "ms")
	if rules.CheckIssuer && cfg.Issuer == "" {
		f.refuse("issuer", "it is missing, but checkIssuer or oidc needs it")
	}
	for name, path := range paths(rules.TokenResponse) {
		if _, err := parsePath(path); err != nil {
			f.refuse("tokenResponse."+name, "it is no path of names and indexes that starts with $")
		}
	}
	return cfg, f.err
}

// filler fills templates and keeps the first fault.
type filler struct {
	lookup func(string) (string, bool)
	err    error
}

func (f *filler) refuse(field, why string) {
	if f.err == nil {
		f.err = claviger.Invalid("oauth2."+field, "invalid_connector", "The connector's oauth2.%s is not usable: %s.", field, why)
	}
}

func (f *filler) choice(field, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		f.refuse(field, "it must be one of "+strings.TrimPrefix(strings.Join(allowed, ", "), ", "))
	}
}

func (f *filler) fill(field string, t claviger.Template, escape func(string) string) string {
	lookup := f.lookup
	if lookup == nil {
		lookup = func(string) (string, bool) { return "", false }
	}
	s, err := t.Render(lookup, escape)
	if err != nil {
		f.refuse(field, "a setting that it names has no value")
	}
	return s
}

func (f *filler) address(field string, t claviger.Template) string {
	if t.Empty() {
		return ""
	}
	s := f.fill(field, t, url.PathEscape)
	if f.err == nil && !usableAddress(s) {
		f.refuse(field, "it must be an https address without a user or a fragment")
	}
	return s
}

func (f *filler) params(field string, params []claviger.OAuthParam, reserved []string) []Param {
	var out []Param
	for _, p := range params {
		if p.Name == "" || slices.Contains(reserved, p.Name) {
			f.refuse(field+"."+p.Name, "that parameter is the protocol's own")
		}
		out = append(out, Param{Name: p.Name, Value: f.fill(field+"."+p.Name, p.Value, nil)})
	}
	return out
}

func (f *filler) headers(headers []claviger.Header) http.Header {
	out := http.Header{}
	for _, h := range headers {
		switch name := http.CanonicalHeaderKey(h.Name); name {
		case "Authorization", "Host", "Cookie", "Dpop", "Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Connection":
			f.refuse("tokenHeaders."+name, "that header is the protocol's own")
		default:
			out.Set(name, f.fill("tokenHeaders."+name, h.Value, nil))
		}
	}
	return out
}

// usableAddress reports whether a credential may ever be sent there. Whether the
// address guard lets it through is egress's to say.
func usableAddress(s string) bool {
	u, err := url.Parse(s)
	if err != nil || len(s) > 2048 || u.Fragment != "" || strings.ContainsAny(s, "#\\ ") {
		return false
	}
	_, ok := egress.CanonicalOrigin(u)
	return ok
}

// authorizeReserved are the parameters of an authorization request that carry its
// security: RFC 6749, 7636, 9101, 9126, 9449 and OpenID Connect.
func authorizeReserved() []string {
	return []string{
		"response_type", "client_id", "redirect_uri", "state", "nonce", "code_challenge", "code_challenge_method",
		"request", "request_uri", "dpop_jkt", "resource",
	}
}

// tokenReserved are the same of a token request.
func tokenReserved() []string {
	return []string{
		"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "code", "redirect_uri",
		"code_verifier", "refresh_token", "assertion", "subject_token", "actor_token", "device_code", "resource",
	}
}

// destination pins a request to the origin of the address that the connector's
// document gave, and to that alone.
func (cfg Config) destination(endpoint string) (egress.Destination, error) {
	u, err := url.Parse(endpoint)
	if err != nil || endpoint == "" {
		return egress.Destination{}, badEndpoint()
	}
	origin, ok := egress.CanonicalOrigin(u)
	if !ok {
		return egress.Destination{}, badEndpoint()
	}
	return egress.Destination{Key: cfg.Partition + " oauth", Origin: origin}, nil
}

func badEndpoint() *claviger.Error {
	return claviger.Invalid("oauth2", "invalid_connector", "The connector has no usable address for this step of OAuth. Complete its oauth2 section.")
}

// scheme is the word before a token in an Authorization header.
func (cfg Config) scheme() string {
	if cfg.Rules.DPoP {
		return "DPoP"
	}
	return "Bearer"
}

// scopes puts a list of scopes, or the connector's own, into params.
func (cfg Config) scopes(params url.Values, scopes []string) {
	if scopes == nil {
		scopes = cfg.Rules.Scopes
	}
	if len(scopes) == 0 {
		return
	}
	params.Set(orElse(cfg.Rules.ScopeParam, "scope"), strings.Join(scopes, orElse(cfg.Rules.ScopeSeparator, " ")))
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// printable reports whether s is 1 to limit visible ASCII characters (RFC 6749,
// appendix A, VSCHAR without the space): nothing that could end a header or hide.
func printable(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
