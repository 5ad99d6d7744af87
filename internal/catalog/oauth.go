package catalog

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"claviger"
	"claviger/internal/document"
)

// AccessToken and ClientID are the credentials of an oauth2 method that injections
// may name: what the grant issued, and who it was issued to. ClientSecret goes to the
// authorization server alone: only the call that revokes may name it.
const (
	AccessToken  = "accessToken"
	ClientID     = "clientId"
	ClientSecret = "clientSecret"
)

// clientFields are the fields that an oauth2 method may declare. With them each
// connection brings its own client; without, the organization's client is used.
var clientFields = []string{ClientID, "clientSecret", "privateKey", "keyId", "certificate"}

// grantFields are the fields that methods of a grant may declare beside clientFields.
// A serviceAccount is a Google service account's key file, which is a client too.
func grantFields(g claviger.GrantType) []string {
	switch g {
	case claviger.GrantJWTBearer:
		return []string{"serviceAccount", "subject"}
	case claviger.GrantTokenExchange:
		return []string{"subjectToken", "subjectConnection", "actorToken"}
	}
	return nil
}

// sealedFields are the fields of oauth2 methods that are secret.
var sealedFields = []string{"clientSecret", "privateKey", "serviceAccount", "subjectToken", "actorToken"}

var oauthKeys = []string{
	"grant", "authorizeUrl", "tokenUrl", "refreshUrl", "deviceUrl", "parUrl", "revokeUrl", "introspectUrl", "userinfoUrl", "jwksUrl",
	"issuer", "discoveryHosts", "scopes", "scopeParam", "scopeSeparator", "clientAuth", "clientIdParam", "clientSecretParam", "pkce",
	"authorizeParams", "tokenParams", "tokenHeaders", "tokenRequest", "tokenResponse", "tokenBytes", "refresh", "revoke", "discover", "dpop", "par",
	"resource", "checkIssuer", "oidc", "assertionAudience", "assertion", "exchange",
}

// oauth compiles the oauth2 section of a method, which decides where client secrets
// and refresh tokens travel.
func (c *checker) oauth(a object, m *claviger.AuthMethod) *claviger.OAuth {
	n := a.n.Get("oauth2")
	if m.Type != claviger.AuthOAuth2 {
		if n != nil {
			c.fault(n, a.at("oauth2"), CodeValue, "type: oauth2", "the section oauth2 belongs to methods of that type")
		}
		return nil
	}
	o, ok := c.object(a.need("oauth2"), a.at("oauth2"), oauthKeys...)
	if !ok {
		return nil
	}
	for _, name := range []string{AccessToken, ClientID} {
		if c.variables[name] != nil {
			c.fault(a.n, a.path, CodeDuplicate, "rename the variable", "the variable %s has the name of a credential of oauth2", document.Quote(name))
		}
	}
	out := &claviger.OAuth{
		Grant:      claviger.GrantType(o.choice("grant", true, "authorizationCode", "clientCredentials", "device", "jwtBearer", "tokenExchange", "installation")),
		ClientAuth: claviger.ClientAuth(o.choice("clientAuth", true, "client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth", "none")),
		Scopes:     o.texts("scopes", maxList), ScopeSeparator: o.text("scopeSeparator", 4),
		DPoP: o.bool("dpop"), PAR: o.bool("par"), CheckIssuer: o.bool("checkIssuer"),
		TokenBytes: o.integer("tokenBytes", 1<<10, 256<<10), AssertionAudience: c.plainTemplate(o, "assertionAudience"),
	}
	for key, to := range map[string]*string{"scopeParam": &out.ScopeParam, "clientIdParam": &out.ClientIDParam, "clientSecretParam": &out.ClientSecretParam} {
		if *to = o.text(key, 64); *to != "" && !paramName.MatchString(*to) {
			c.fault(o.n.Get(key), o.at(key), CodeValue, "letters, digits and -_.[]", "is not a parameter name")
		}
	}
	c.ownClient(a, m, out.Grant)
	out.PKCE = claviger.PKCE(o.choice("pkce", false, string(claviger.PKCES256), string(claviger.PKCEOff)))
	if out.PKCE == "" && out.Grant == claviger.GrantAuthorizationCode {
		out.PKCE = claviger.PKCES256
	}
	c.oauthEndpoints(o, m, out)
	out.AuthorizeParams = c.oauthParams(o, "authorizeParams", out, authorizeReserved)
	out.TokenParams = c.oauthParams(o, "tokenParams", out, tokenReserved)
	out.TokenHeaders = c.tokenHeaders(o)
	for i, item := range o.list("resource", 8) {
		t := c.template(item, index(o.at("resource"), i), c.variableName)
		out.Resource = append(out.Resource, t)
	}
	if r, ok := c.object(o.n.Get("tokenRequest"), o.at("tokenRequest"), "format", "grantType"); ok {
		out.TokenRequestFormat, out.ClientCredentialsGrant = r.choice("format", false, "form", "json"), r.text("grantType", 100)
		if out.ClientCredentialsGrant != "" && out.Grant != claviger.GrantClientCredentials {
			c.fault(r.n.Get("grantType"), r.at("grantType"), CodeValue, "remove it", "only clientCredentials has words of its own for the grant")
		}
	}
	if d, ok := c.object(o.n.Get("oidc"), o.at("oidc"), "nonce", "idToken"); ok {
		out.OIDC = claviger.OAuthOIDC{Nonce: d.bool("nonce"), IDToken: d.bool("idToken")}
	}
	c.assertions(o, out)
	out.TokenResponse = c.tokenResponse(o)
	out.Refresh = c.refresh(o)
	out.Revoke = c.revoke(o, out)
	out.Discover = c.discover(o, out)
	c.oauthFit(o, out)
	return out
}

var paramName = regexp.MustCompile(`^[A-Za-z0-9_.\[\]-]+$`)

// ownClient checks the fields of an oauth2 method.
func (c *checker) ownClient(a object, m *claviger.AuthMethod, g claviger.GrantType) {
	allowed := slices.Concat(clientFields, grantFields(g))
	brings := false
	for i := range m.Fields {
		f, item, at := &m.Fields[i], a.n.Get("fields").Items[i], index(a.at("fields"), i)
		brings = brings || slices.Contains(clientFields, f.Key)
		if !slices.Contains(allowed, f.Key) {
			c.fault(item, at, CodeValue, "one of "+strings.Join(allowed, ", ")+", or a variable", "the field %s is no part of what this grant is asked with", document.Quote(f.Key))
		} else if secret := slices.Contains(sealedFields, f.Key); f.Secret != secret {
			c.fault(item, at, CodeValue, strings.Join(sealedFields, ", ")+" are secret, the others are not", "secret is wrong for %s", document.Quote(f.Key))
		}
	}
	if _, ok := m.Field(ClientID); !ok && brings {
		c.fault(a.n.Get("fields"), a.at("fields"), CodeMissing, "add {key: clientId}", "a client of the connection's own needs the field clientId")
	}
	if g == claviger.GrantTokenExchange && !slices.ContainsFunc(m.Fields, func(f claviger.Field) bool { return strings.HasPrefix(f.Key, "subject") }) {
		c.fault(a.n, a.at("fields"), CodeMissing, "add {key: subjectToken, secret: true}, or {key: subjectConnection}", "there is no token to exchange")
	}
}

func (c *checker) oauthEndpoints(o object, m *claviger.AuthMethod, out *claviger.OAuth) {
	own := m.BringsClient()
	e := &out.Endpoints
	for key, to := range map[string]*claviger.Template{
		"authorizeUrl": &e.Authorize, "tokenUrl": &e.Token, "refreshUrl": &e.Refresh, "deviceUrl": &e.Device, "parUrl": &e.PushedAuthorization,
		"revokeUrl": &e.Revoke, "introspectUrl": &e.Introspect, "userinfoUrl": &e.Userinfo, "jwksUrl": &e.Keys, "issuer": &out.Issuer,
	} {
		known := c.variableName
		if key == "revokeUrl" {
			known = c.clientName
		}
		*to = c.endpoint(o, key, own, known)
	}
	for i, host := range o.texts("discoveryHosts", 8) {
		if !hostPattern(host) || bareAddress(host) {
			c.fault(o.n.Get("discoveryHosts").Items[i], index(o.at("discoveryHosts"), i), CodeHost, `an exact host, or "*." and a name of its owner, in lower case`, "%s is not accepted as a host", document.Quote(host))
		}
		out.DiscoveryHosts = append(out.DiscoveryHosts, host)
	}
	if out.DiscoveryHosts != nil && out.Issuer.Empty() {
		o.need("issuer")
	}
}

// endpoint compiles an address of an authorization server. It has no query - there
// are authorizeParams and tokenParams - and its host is checked as that of baseUrl.
func (c *checker) endpoint(o object, key string, own bool, known func(name string) string) claviger.Template {
	n, at := o.n.Get(key), o.at(key)
	if n == nil || !c.is(n, at, document.String) {
		return claviger.Template{}
	}
	t := c.template(n, at, known)
	if len(n.Text) > 2048 {
		c.fault(n, at, CodeLimit, "", "is longer than 2048 bytes")
	}
	host, ok := c.https(n, at, n.Text)
	if !ok {
		return t
	}
	if name, whole := wholeHole(host); whole {
		c.endpointVariable(n, at, c.variables[name], own)
		return t
	}
	if sample, _, ok := c.labels(n, at, host); ok && bareAddress(sample) && !c.opened(host) {
		c.fault(n, at, CodeHost, "write the server's name", "an authorization server is not named by a bare address")
	}
	return t
}

// endpointVariable checks a host that is one variable. The organization's client
// secret must not go wherever the maker of a connection says: with a host of one's
// own comes a client of one's own.
func (c *checker) endpointVariable(n *document.Node, at string, v *claviger.Variable, own bool) {
	switch {
	case v == nil: // reported by the template
	case v.Type == claviger.VariableEnum:
		for _, value := range v.Values {
			if !plainHost(value) || bareAddress(value) {
				c.fault(n, at, CodeHost, "", "the variable %s is the host, but one of its values is no host name", document.Quote(v.Key))
			}
		}
	case v.Type != claviger.VariableHostname:
		c.fault(n, at, CodeHost, "use a variable of type hostname or enum", "the whole host cannot be a variable of this type")
	case !own:
		c.fault(n, at, CodeHost, "declare the fields clientId and clientSecret on this method", "a host that each connection chooses needs a client that each connection brings")
	}
}

// authorizeReserved and tokenReserved are the parameters that carry a flow's
// security and are never a document's to set (RFC 6749, 7521, 7636, 8628, 8693,
// 8707, 9101, 9126, 9449, OpenID Connect).
var (
	authorizeReserved = []string{
		"response_type", "client_id", "client_secret", "redirect_uri", "state", "nonce", "code_challenge", "code_challenge_method",
		"request", "request_uri", "dpop_jkt", "resource",
	}
	tokenReserved = []string{
		"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "code", "redirect_uri", "code_verifier",
		"refresh_token", "assertion", "subject_token", "actor_token", "device_code", "resource",
	}
)

func (c *checker) oauthParams(o object, key string, rules *claviger.OAuth, reserved []string) []claviger.OAuthParam {
	var out []claviger.OAuthParam
	for _, p := range c.params(o, key, c.variableName) {
		scope := rules.ScopeParam
		if scope == "" {
			scope = "scope"
		}
		if slices.Contains(reserved, p.Name) || p.Name == scope || p.Name == rules.ClientIDParam || p.Name == rules.ClientSecretParam {
			c.fault(o.n.Get(key), join(o.at(key), p.Name), CodeValue, "remove it; scopes stand under scopes", "the parameter %s is the protocol's own", document.Quote(p.Name))
		}
		out = append(out, claviger.OAuthParam(p))
	}
	return out
}

func (c *checker) tokenHeaders(o object) []claviger.Header {
	headers := c.headers(o, "tokenHeaders", c.variableName)
	for _, h := range headers {
		if f := document.Fold(h.Name); f == "contenttype" || f == "dpop" || f == "useragent" {
			c.fault(o.n.Get("tokenHeaders"), join(o.at("tokenHeaders"), h.Name), CodeValue, "remove it", "the header %s is the protocol's own", document.Quote(h.Name))
		}
	}
	return headers
}

// plainTemplate answers a template over the connector's variables.
func (c *checker) plainTemplate(o object, key string) claviger.Template {
	return c.template(o.n.Get(key), o.at(key), c.variableName)
}

// oauthErrors are the words that a vendor's own are translated into: RFC 6749,
// sections 4.1.2.1 and 5.2, and RFC 8628, section 3.5.
var oauthErrors = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "access_denied",
	"server_error", "temporarily_unavailable", "authorization_pending", "slow_down", "expired_token",
}

func (c *checker) tokenResponse(o object) claviger.OAuthTokenResponse {
	r, ok := c.object(o.n.Get("tokenResponse"), o.at("tokenResponse"), "format", "accessToken", "refreshToken", "idToken", "tokenType", "expiresIn",
		"expiresInUnit", "expiresAt", "refreshExpiresIn", "scope", "scopeSeparator", "error", "ok", "errors")
	if !ok {
		return claviger.OAuthTokenResponse{}
	}
	out := claviger.OAuthTokenResponse{
		Format: r.choice("format", false, "json", "form"), ExpiresInUnit: r.choice("expiresInUnit", false, "s", "ms"), ScopeSeparator: r.text("scopeSeparator", 4),
	}
	for key, to := range map[string]*string{
		"accessToken": &out.AccessToken, "refreshToken": &out.RefreshToken, "idToken": &out.IDToken, "tokenType": &out.TokenType,
		"expiresIn": &out.ExpiresIn, "expiresAt": &out.ExpiresAt, "refreshExpiresIn": &out.RefreshExpiresIn, "scope": &out.Scope,
		"error": &out.Error, "ok": &out.OK,
	} {
		*to = r.jsonPath(key)
		p, err := ParsePath(*to)
		if *to != "" && err == nil && slices.ContainsFunc(p.steps, func(s step) bool { return s.what == '*' || s.what == 'i' && s.index < 0 }) {
			c.fault(r.n.Get(key), r.at(key), CodeValue, "for example $.authed_user.access_token", "a path into a token answer has names and indexes only")
		}
	}
	if e := r.n.Get("errors"); e != nil && c.is(e, r.at("errors"), document.Object) {
		out.Errors = make(map[string]string, len(e.Members))
		words := object{c: c, n: e, path: r.at("errors")}
		for _, m := range e.Members {
			c.plain(&document.Node{Line: m.Line, Column: m.Column, Text: m.Key}, words.path)
			out.Errors[m.Key] = words.choice(m.Key, true, oauthErrors...)
		}
		if len(e.Members) > maxList {
			c.fault(e, words.path, CodeLimit, "", "has more than %d entries", maxList)
		}
	}
	return out
}

// refresh compiles how refresh tokens live. A class that is not known counts as
// rotating, which never sends a token twice.
func (c *checker) refresh(o object) claviger.OAuthRefresh {
	n := o.n.Get("refresh")
	if n == nil || n.Kind == document.String && n.Text == "none" {
		return claviger.OAuthRefresh{}
	}
	r, ok := c.object(n, o.at("refresh"), "rotates", "grace", "idempotent", "idleLimit", "lifetime", "timeout", "defaultLifetime")
	if !ok {
		return claviger.OAuthRefresh{}
	}
	out := claviger.OAuthRefresh{
		Idempotent: r.bool("idempotent"), Grace: r.duration("grace", 24*time.Hour), IdleLimit: r.duration("idleLimit", maxLifetime),
		Lifetime: r.duration("lifetime", maxLifetime), Timeout: r.duration("timeout", 330*time.Second), DefaultLifetime: r.duration("defaultLifetime", maxLifetime),
	}
	if w := r.n.Get("rotates"); w != nil && w.Kind == document.String && w.Text == "unknown" {
		out.Rotates = true
	} else {
		out.Rotates = r.bool("rotates")
	}
	return out
}

const maxLifetime = 10 * 365 * 24 * time.Hour

var durationText = regexp.MustCompile(`^([0-9]{1,9}(ms|s|m|h))+$`)

// duration answers a duration such as 90s or 720h, 0 if absent.
func (o object) duration(key string, limit time.Duration) time.Duration {
	n := o.n.Get(key)
	if n == nil || !o.c.is(n, o.at(key), document.String) {
		return 0
	}
	d, err := time.ParseDuration(n.Text)
	if err != nil || !durationText.MatchString(n.Text) || d <= 0 || d > limit {
		o.c.fault(n, o.at(key), CodeValue, "for example 30s, 15m or 720h", "must be a duration above 0 and at most %s", limit)
	}
	return d
}
