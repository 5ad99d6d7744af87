package claviger

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// AuthOAuth2 is the auth type whose credentials are tokens that a vendor's
// authorization server issues; see [OAuth].
const AuthOAuth2 AuthType = "oauth2"

// GrantType is how the first tokens of a connection are obtained.
type GrantType string

// The grants.
const (
	GrantAuthorizationCode GrantType = "authorizationCode" // a person consents in a browser (RFC 6749, section 4.1)
	GrantClientCredentials GrantType = "clientCredentials" // the client itself (section 4.4); minted again at expiry
	GrantDevice            GrantType = "device"            // a person consents on another device (RFC 8628)
	GrantJWTBearer         GrantType = "jwtBearer"         // a signed assertion (RFC 7523, section 2.1); minted again at expiry
	GrantTokenExchange     GrantType = "tokenExchange"     // a token for a token (RFC 8693); repeated at expiry
	GrantInstallation      GrantType = "installation"      // an app's signed word for one of its installations (GitHub Apps); minted again at expiry
)

// Unattended reports whether the grant is repeated instead of refreshed: nobody consents
// to it, and nothing of it is used up by a request.
func (g GrantType) Unattended() bool {
	switch g {
	case GrantClientCredentials, GrantJWTBearer, GrantTokenExchange, GrantInstallation:
		return true
	}
	return false
}

// ClientAuth is how a client proves itself to an authorization server (RFC 7591,
// section 2, token_endpoint_auth_method). It is fixed by the connector: trying a
// second way would send the same code or refresh token twice, which a strict server
// answers by revoking the whole grant.
type ClientAuth string

// The ways of client authentication.
const (
	ClientSecretBasic ClientAuth = "client_secret_basic" // RFC 6749, section 2.3.1, in the header
	ClientSecretPost  ClientAuth = "client_secret_post"  // the same in the body
	PrivateKeyJWT     ClientAuth = "private_key_jwt"     // RFC 7523, section 2.2
	TLSClientAuth     ClientAuth = "tls_client_auth"     // RFC 8705, section 2
	ClientAuthNone    ClientAuth = "none"                // a public client
)

// PKCE says whether a code is bound to its flow by a challenge (RFC 7636). There is
// no "plain".
type PKCE string

// The settings of PKCE.
const (
	PKCES256 PKCE = "S256"
	PKCEOff  PKCE = "off" // for vendors that reject the parameters
)

// OAuth is the compiled oauth2 section of an auth method. It is shared by many
// goroutines and never changed. Addresses and parameter values are templates over
// the connection's settings; package oauth fills and checks them before use. The
// hosts of the addresses receive client secrets and tokens of this grant, and no
// other host does.
type OAuth struct {
	Grant     GrantType
	Endpoints OAuthEndpoints
	// Issuer, if given, is where the endpoints that are not given are discovered
	// (RFC 8414, OpenID Connect Discovery), and what id tokens and callbacks are
	// compared with. DiscoveryHosts are the hosts, beside the issuer's own, that
	// discovered endpoints may be on: exact names, or "*.example.com".
	Issuer         Template
	DiscoveryHosts []string

	Scopes         []string // asked for unless a connection asks for others
	ScopeParam     string   // "scope" if empty; Slack has "user_scope" too
	ScopeSeparator string   // " " if empty
	ClientAuth     ClientAuth
	// ClientIDParam and ClientSecretParam are the names of the client's parameters
	// where a vendor renamed them; "client_id" and "client_secret" if empty.
	ClientIDParam, ClientSecretParam string
	PKCE                             PKCE // S256 if empty

	AuthorizeParams []OAuthParam
	TokenParams     []OAuthParam // sent with every token request
	// ClientCredentialsGrant replaces grant_type where a vendor has its own word for
	// it, for example Zoom's account_credentials; empty keeps client_credentials.
	ClientCredentialsGrant string
	TokenHeaders           []Header // sent with every token request; never Authorization or Host
	TokenRequestFormat     string   // "form" (if empty) or "json"
	TokenResponse          OAuthTokenResponse
	// TokenBytes caps each token of an answer; 16 KiB if zero.
	TokenBytes int

	Refresh OAuthRefresh
	Revoke  OAuthRevoke
	// Discover are the variables that become known once a person has consented, in the
	// order in which they are found out.
	Discover []Discovery

	DPoP        bool       // tokens are bound to a key (RFC 9449)
	PAR         bool       // the authorization request is pushed first (RFC 9126)
	Resource    []Template // RFC 8707
	CheckIssuer bool       // the callback must carry the issuer (RFC 9207)
	OIDC        OAuthOIDC
	// AssertionAudience is the "aud" of assertions; the token endpoint if empty.
	AssertionAudience Template
	Assertion         OAuthAssertion
	Exchange          OAuthExchange
}

// OAuthAssertion is how the assertion of GrantJWTBearer and GrantInstallation is made,
// beyond its issuer (the client's id), subject and audience.
type OAuthAssertion struct {
	ScopeClaim string        // the claim that has the scopes, in place of the request's parameter; empty for none
	Lifetime   time.Duration // ten minutes if zero, an hour at most
	Backdate   time.Duration // how far "iat" lies in the past, for vendors whose clock must not be behind
}

// OAuthExchange is what GrantTokenExchange asks for beside the tokens that it sends
// (RFC 8693, section 2.1). Empty members are not sent; the types of the tokens that are
// sent are access tokens if empty.
type OAuthExchange struct {
	SubjectType, ActorType, RequestedType string
	Audience                              Template
}

// OAuthEndpoints are the addresses of an authorization server. Empty ones are not
// offered, or are discovered.
type OAuthEndpoints struct {
	Authorize, Token, Device, PushedAuthorization Template
	Refresh                                       Template // where it is not the token endpoint
	Revoke, Introspect, Userinfo                  Template
	Keys                                          Template // JWKS, for id tokens
}

// Places answers the origins that get the secrets of the grant, the client's own among
// them, sorted, and the hosts that discovery may add. lookup answers the variables of
// their addresses; nil leaves these as they are written.
func (o *OAuth) Places(lookup func(name string) (string, bool)) []string {
	e := &o.Endpoints
	var places []string
	for _, t := range []Template{o.Issuer, e.Token, e.Refresh, e.Device, e.PushedAuthorization, e.Revoke, e.Introspect, e.Userinfo} {
		if t.Empty() {
			continue
		}
		text := t.String()
		if lookup != nil {
			if known, err := t.Render(lookup, nil); err == nil {
				text = known
			}
		}
		places = append(places, placeOf(text))
	}
	for _, host := range o.DiscoveryHosts {
		places = append(places, strings.ToLower(host))
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// placeOf cuts an address, or a template of one, to its origin.
func placeOf(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return Origin(u)
	}
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		rest, scheme = scheme, ""
	}
	host, _, _ := strings.Cut(rest, "/")
	return strings.ReplaceAll(strings.ToLower(scheme+"://"+host), " ", "")
}

// OAuthParam is one parameter of a request to an authorization server.
type OAuthParam struct {
	Name  string
	Value Template
}

// OAuthTokenResponse says where an answer keeps its values, as JSONPath texts of
// names and indexes ($.authed_user.access_token). An empty path means the member of
// RFC 6749, section 5, at the top. In form-encoded answers only top names exist.
type OAuthTokenResponse struct {
	Format           string // "json" or "form"; empty goes by the answer's media type
	AccessToken      string // $.access_token
	RefreshToken     string // $.refresh_token
	IDToken          string // $.id_token
	TokenType        string // $.token_type
	ExpiresIn        string // $.expires_in, a lifetime
	ExpiresInUnit    string // "s" (if empty) or "ms"
	ExpiresAt        string // $.expires_at, a time: seconds, milliseconds or RFC 3339
	RefreshExpiresIn string // $.refresh_token_expires_in, then $.refresh_expires_in
	Scope            string // $.scope, a list or a separated string
	ScopeSeparator   string // of that string; the separator of the request if empty
	Error            string // $.error; a member "code" or "type" of it if it is an object
	OK               string // where a vendor says success: false there is a failure whatever the status
	// Errors translates a vendor's own words, and statuses of answers without a word
	// ("400"), into those of RFC 6749, section 5.2: {"bad_refresh_token": "invalid_grant"}.
	Errors map[string]string
}

// OAuthRefresh is how a vendor's refresh tokens live.
type OAuthRefresh struct {
	Rotates bool // a refresh answers a new refresh token and ends the old one
	// Grace is how long the old refresh token is still accepted after a rotation;
	// Idempotent says that sending it again answers the same tokens. Either allows one
	// repetition after an uncertain outcome.
	Grace           time.Duration
	Idempotent      bool
	IdleLimit       time.Duration // an unused refresh token dies after it; zero for never
	Lifetime        time.Duration // of the refresh token, used or not; zero for unlimited
	Timeout         time.Duration // of the call; 90 s if zero, at most 330 s
	DefaultLifetime time.Duration // of an access token whose answer names none; zero for unknown
}

// OAuthRevoke is a vendor's way to end a token; the zero value is RFC 7009. Its address
// and parameters may name ${clientId} beside the connector's variables.
type OAuthRevoke struct {
	Method      string     // POST if empty, or DELETE, GET
	Token       string     // "access" or "refresh": which of them can be ended; both if empty
	TokenParam  string     // "token" if empty
	TokenIn     string     // body (if empty), query, bearer, header (TokenHeader), path ({token} appended), none (the parameters name the grant)
	TokenHeader string     // of the token as it is
	ClientAuth  ClientAuth // the grant's own if empty
	// Authorization replaces ClientAuth with a header of the vendor's own, which may name
	// ${clientId} and ${clientSecret}: "Client ${clientSecret}".
	Authorization Template
	BodyFormat    string // form (if empty) or json
	Params        []OAuthParam
}

// Discovery is where the value of a variable is found once a person has consented. A
// found value is text that the vendor chose: it must fit the variable, and a host must
// be one of the connector's.
type Discovery struct {
	Variable string
	From     string   // token (the first token answer), callback (the query that the browser brings), request (a call)
	Path     string   // JSONPath of token and request
	Param    string   // of callback
	URL      Template // of request: GET, with the access token
	Scheme   string   // before the token in the Authorization header of request; Bearer if empty
}

// OAuthOIDC turns on what OpenID Connect adds.
type OAuthOIDC struct {
	Nonce   bool // send a nonce and find it in the id token
	IDToken bool // an answer to the first exchange must have a valid id token
}

// OAuthClient is a registration at a vendor: the organization's own, or the
// connector's. It is never shared between organizations.
type OAuthClient struct {
	ID         string
	Secret     Secret // of client_secret_basic and client_secret_post
	Former     Secret // the secret before it, while the vendor may know that one alone; usually empty
	PrivateKey Secret // PEM (PKCS #8, PKCS #1, SEC 1) or a JWK; of private_key_jwt and tls_client_auth
	KeyID      string // "kid" of assertions, where PrivateKey is PEM
	// Certificate is the PEM chain of tls_client_auth, leaf first.
	Certificate []byte
}

// Tokens is what an authorization server issued. Zero times are unknown; nil Scopes
// mean those that were asked for (RFC 6749, section 5.1).
type Tokens struct {
	Access, Refresh, ID Secret
	Type                string // "Bearer" or "DPoP"
	IssuedAt            time.Time
	ExpiresAt           time.Time
	RefreshExpiresAt    time.Time
	Scopes              []string
}
