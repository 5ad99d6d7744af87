package oauth

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"claviger"
	"claviger/internal/egress"
)

// Metadata is what an authorization server says of itself (RFC 8414, OpenID Connect
// Discovery), checked. A caller that pins it when the connector is approved compares
// it with a later one before it uses that.
type Metadata struct {
	Issuer    string
	Endpoints Endpoints
	// S256 says that the server announces the only challenge that is used here. The
	// challenge is sent whether it does or not; where a protocol demands the
	// announcement (MCP), refuse a server without it.
	S256        bool
	ClientAuth  []string // token_endpoint_auth_methods_supported, those of ours
	IssuerParam bool     // authorization_response_iss_parameter_supported (RFC 9207)
	DPoP        bool     // ES256 among dpop_signing_alg_values_supported
	// Fresh is how long the document need not be read again: its max-age, from five
	// minutes to a day; an hour if it says none.
	Fresh time.Duration
}

// The bounds of Metadata.Fresh.
const (
	usualFresh   = time.Hour
	leastFresh   = 5 * time.Minute
	longestFresh = 24 * time.Hour
)

// freshness reads a Cache-Control header (RFC 9111, section 5.2.2).
func freshness(header string) time.Duration {
	for directive := range strings.SplitSeq(strings.ToLower(header), ",") {
		switch name, value, _ := strings.Cut(strings.TrimSpace(directive), "="); name {
		case "no-store", "no-cache":
			return leastFresh
		case "max-age":
			if n, ok := number(strings.Trim(value, `"`)); ok {
				return min(max(seconds(n), leastFresh), longestFresh)
			}
		}
	}
	return usualFresh
}

// maxListed bounds the lists of metadata that are looked through.
const maxListed = 200

// Discover reads the metadata of the configuration's issuer, at OpenID Connect's place
// and then at RFC 8414's. The document must name the very issuer that was asked for,
// and each endpoint must have the issuer's scheme and a host that is the issuer's or
// one of the connector's discoveryHosts; if one does not, all is refused.
func (c *Client) Discover(ctx context.Context, cfg Config) (Metadata, error) {
	places, err := wellKnown(cfg.Issuer)
	if err != nil {
		return Metadata{}, err
	}
	var failure error
	for _, place := range places {
		a := c.send(ctx, cfg, claviger.OAuthClient{}, call{endpoint: place, method: http.MethodGet, format: "none"})
		raw, err := a.settled()
		if err != nil {
			return Metadata{Fresh: leastFresh}, err
		}
		if raw.Status == http.StatusOK {
			m, err := cfg.metadata(raw)
			m.Fresh = freshness(a.caching)
			return m, err
		}
		failure = Class{Verdict: Unavailable, Status: raw.Status}.Err()
	}
	return Metadata{Fresh: leastFresh}, failure
}

// wellKnown answers where an issuer's metadata may be: appended to its path (OpenID
// Connect Discovery, section 4) or put before it (RFC 8414, section 3.1).
func wellKnown(issuer string) ([]string, error) {
	u, err := url.Parse(issuer)
	if err != nil || !usableAddress(issuer) || u.RawQuery != "" {
		return nil, claviger.Invalid("oauth2.issuer", "invalid_connector", "The issuer must be an https address without a query.")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := claviger.Origin(u)
	return []string{
		origin + path + "/.well-known/openid-configuration",
		origin + "/.well-known/oauth-authorization-server" + path,
	}, nil
}

func (cfg Config) metadata(raw Raw) (Metadata, error) {
	tree, kind := raw.read("json")
	if kind != formTree || text(tree, "$.issuer") != cfg.Issuer {
		return Metadata{}, errMetadata("it names another issuer than the one that was asked for")
	}
	m := Metadata{Issuer: cfg.Issuer}
	for _, endpoint := range []struct {
		name string
		to   *string
	}{
		{"authorization_endpoint", &m.Endpoints.Authorize},
		{"token_endpoint", &m.Endpoints.Token},
		{"device_authorization_endpoint", &m.Endpoints.Device},
		{"pushed_authorization_request_endpoint", &m.Endpoints.PushedAuthorization},
		{"revocation_endpoint", &m.Endpoints.Revoke},
		{"introspection_endpoint", &m.Endpoints.Introspect},
		{"userinfo_endpoint", &m.Endpoints.Userinfo},
		{"jwks_uri", &m.Endpoints.Keys},
	} {
		v, found := find(tree, "$."+endpoint.name)
		if !found {
			continue
		}
		address, _ := v.(string)
		if !cfg.offers(address) {
			return Metadata{}, errMetadata("its " + endpoint.name + " is not an address on a host that the connector allows")
		}
		*endpoint.to = address
	}
	if m.Endpoints.Token == "" {
		return Metadata{}, errMetadata("it has no token_endpoint")
	}
	m.S256 = slices.Contains(listed(tree, "$.code_challenge_methods_supported"), "S256")
	m.DPoP = slices.Contains(listed(tree, "$.dpop_signing_alg_values_supported"), "ES256")
	for _, way := range listed(tree, "$.token_endpoint_auth_methods_supported") {
		switch claviger.ClientAuth(way) {
		case claviger.ClientSecretBasic, claviger.ClientSecretPost, claviger.PrivateKeyJWT, claviger.TLSClientAuth, claviger.ClientAuthNone:
			m.ClientAuth = append(m.ClientAuth, way)
		}
	}
	says, _ := find(tree, "$.authorization_response_iss_parameter_supported")
	m.IssuerParam = says == true
	return m, nil
}

func errMetadata(why string) *claviger.Error {
	return claviger.Errorf(claviger.KindUpstream, "invalid_metadata", "The authorization server's metadata is refused: %s.", why)
}

// offers reports whether a discovered address may be used.
func (cfg Config) offers(address string) bool {
	if !usableAddress(address) {
		return false
	}
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil {
		return false
	}
	own, ok := egress.CanonicalOrigin(issuer)
	if !ok {
		return false
	}
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	origin, ok := egress.CanonicalOrigin(u)
	if !ok {
		return false
	}
	if origin == own {
		return true
	}
	scheme, authority, _ := strings.Cut(origin, "://")
	return scheme == "https" && slices.ContainsFunc(cfg.Rules.DiscoveryHosts, func(pattern string) bool {
		if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
			return len(authority) > len(suffix) && strings.HasSuffix(authority, suffix)
		}
		return authority == pattern
	})
}

// WithMetadata answers the configuration with its empty endpoints taken from m. What
// the connector's document gives stays.
func (cfg Config) WithMetadata(m Metadata) Config {
	own, found := &cfg.Endpoints, m.Endpoints
	for _, e := range []struct {
		to   *string
		from string
	}{
		{&own.Authorize, found.Authorize},
		{&own.Token, found.Token},
		{&own.Device, found.Device},
		{&own.PushedAuthorization, found.PushedAuthorization},
		{&own.Revoke, found.Revoke},
		{&own.Introspect, found.Introspect},
		{&own.Userinfo, found.Userinfo},
		{&own.Keys, found.Keys},
	} {
		*e.to = orElse(*e.to, e.from)
	}
	return cfg
}

func listed(tree any, path string) (out []string) {
	v, _ := find(tree, path)
	items, _ := v.([]any)
	for _, item := range items[:min(len(items), maxListed)] {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
