package broker

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/oauth"
	"claviger/internal/store"
)

const (
	// SignOnPath begins the addresses of single sign-on; an organization's id follows.
	SignOnPath = "/console/sign-in/sso/"
	// signOnTime bounds what a person waits for their provider.
	signOnTime = 20 * time.Second
	// maxDomains bounds the list of allowed domains.
	maxDomains = 100
	// maxSignOns bounds how many organizations' providers are in memory.
	maxSignOns = 1000
)

// SingleSignOnChange is the input of [Broker.PutSingleSignOn].
type SingleSignOnChange struct {
	Issuer, ClientID string
	ClientSecret     *claviger.Secret // nil: it stays; empty: the client has none
	AllowedDomains   []string
	DefaultRole      claviger.Role
}

// SingleSignOn is an organization's provider as it is shown. Its secret never is.
type SingleSignOn struct {
	claviger.SingleSignOn
	RedirectURI string // to register at the provider
	SignInURL   string // of the page that offers it
}

func (b *Broker) showSignOn(x claviger.SingleSignOn) SingleSignOn {
	return SingleSignOn{x, b.publicURL + SignOnPath + string(x.Organization) + "/callback", b.publicURL + "/console/sign-in?organization=" + string(x.Organization)}
}

func signOnResource(organization claviger.OrganizationID) claviger.Resource {
	return claviger.Resource{Type: "single_sign_on", ID: string(organization), Organization: organization}
}

// SingleSignOn answers the provider by which the organization's people sign in.
func (b *Broker) SingleSignOn(ctx context.Context, c claviger.Caller) (SingleSignOn, error) {
	if err := b.gate.Check(ctx, c, claviger.SingleSignOnRead, signOnResource(c.Scope.Organization())); err != nil {
		return SingleSignOn{}, err
	}
	x, _, err := b.db.SingleSignOn(ctx, c.Scope)
	return b.showSignOn(x), absent(err, "single sign-on")
}

// PutSingleSignOn sets the provider, after asking it for its metadata. Another issuer ends
// the sessions of the one before and forgets who people were there.
//
// Errors: KindInvalid with Param issuer, clientId, clientSecret, allowedDomains or
// defaultRole; KindUpstream if the issuer does not answer as a provider does.
func (b *Broker) PutSingleSignOn(ctx context.Context, c claviger.Caller, in SingleSignOnChange) (SingleSignOn, error) {
	r := signOnResource(c.Scope.Organization())
	if err := b.gate.Check(ctx, c, claviger.SingleSignOnWrite, r); err != nil {
		return SingleSignOn{}, err
	}
	if err := firstError(b.checkIssuer(in.Issuer), checkClientID(in.ClientID), checkDomains(in.AllowedDomains), checkNewcomers(c, in)); err != nil {
		return SingleSignOn{}, err
	}
	asked := claviger.SingleSignOn{Organization: r.Organization, Issuer: in.Issuer}
	b.signOns.drop(providerKey(asked)) // what it says now counts
	if _, _, err := b.provider(ctx, asked); err != nil {
		return SingleSignOn{}, err
	}
	if err := b.vault.Prepare(ctx, r.Organization); err != nil {
		return SingleSignOn{}, err
	}
	var kept claviger.SingleSignOn
	err := b.gate.Change(ctx, c, claviger.SingleSignOnWrite, r, func(tx *store.Tx, t *gate.Ticket) (err error) {
		kept, err = tx.PutSingleSignOn(ctx, c.Scope, func(next claviger.SingleSignOn, sealed claviger.Sealed) (claviger.SingleSignOn, claviger.Sealed, error) {
			return b.nextSignOn(ctx, t, next, sealed, in)
		})
		return err
	})
	return b.showSignOn(kept), err
}

// nextSignOn answers a provider as it will be stored.
func (b *Broker) nextSignOn(ctx context.Context, t *gate.Ticket, next claviger.SingleSignOn, sealed claviger.Sealed, in SingleSignOnChange) (claviger.SingleSignOn, claviger.Sealed, error) {
	old := next
	old.Version--
	next.Issuer, next.ClientID, next.AllowedDomains, next.DefaultRole = in.Issuer, in.ClientID, in.AllowedDomains, in.DefaultRole
	var secret claviger.Secret
	var err error
	switch {
	case in.ClientSecret != nil:
		secret = *in.ClientSecret
	case old.HasSecret && (old.Issuer != next.Issuer || old.ClientID != next.ClientID):
		return next, nil, claviger.Invalid("clientSecret", "required", "The stored secret belongs to another client. Give this one's.")
	case old.HasSecret:
		if secret, err = b.vault.SignOnSecret(ctx, t, &old, sealed); err != nil {
			return next, nil, err
		}
	}
	if next.HasSecret = !secret.Empty(); !next.HasSecret {
		return next, nil, nil
	}
	sealed, err = b.vault.SealSignOnSecret(ctx, t, &next, secret)
	return next, sealed, err
}

// DeleteSingleSignOn removes the provider and signs out everybody who signed in by it.
func (b *Broker) DeleteSingleSignOn(ctx context.Context, c claviger.Caller) error {
	return b.gate.Change(ctx, c, claviger.SingleSignOnWrite, signOnResource(c.Scope.Organization()), func(tx *store.Tx, _ *gate.Ticket) error {
		_, err := tx.DeleteSingleSignOn(ctx, c.Scope)
		return absent(err, "single sign-on")
	})
}

func (b *Broker) checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil || len(issuer) > 1024 || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Contains(issuer, "$") ||
		u.Scheme != "https" && (u.Scheme != "http" || !b.plainHTTP(u.Hostname())) {
		return claviger.Invalid("issuer", "invalid_format", "The issuer is an https address without a query, exactly as the provider's own metadata name it, for example https://accounts.example.com.")
	}
	return nil
}

func checkClientID(id string) error {
	if id == "" || len(id) > 255 || !printable(id) || strings.ContainsAny(id, " \t") {
		return claviger.Invalid("clientId", "invalid_format", "The client id has 1 to 255 printable characters, without spaces, as the provider gave it to you.")
	}
	return nil
}

var domainPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func checkDomains(domains []string) error {
	if len(domains) > maxDomains {
		return claviger.Invalid("allowedDomains", "too_many", "At most %d domains can be named.", maxDomains)
	}
	for i, d := range domains {
		if len(d) > 253 || !domainPattern.MatchString(d) || slices.Contains(domains[:i], d) {
			return claviger.Invalid("allowedDomains", "invalid_format", "Write each domain once, in lower case, as it stands behind the @, for example example.com.")
		}
	}
	return nil
}

// checkNewcomers judges the role that people get whom nobody invited.
func checkNewcomers(c claviger.Caller, in SingleSignOnChange) error {
	switch {
	case in.DefaultRole == "":
		return nil
	case in.DefaultRole == claviger.RoleOwner:
		return claviger.Invalid("defaultRole", "owner_by_default", "Nobody becomes an owner by signing in. Invite owners by name.")
	case len(in.AllowedDomains) == 0:
		return claviger.Invalid("allowedDomains", "required", "Name the domains whose people may come in uninvited: a provider may know everybody.")
	}
	e := claviger.AsError(mayGrant(c, in.DefaultRole))
	if e != nil && e.Param == "role" {
		return claviger.Invalid("defaultRole", e.FineCode(), "%s", e.Message)
	}
	if e != nil {
		return e
	}
	return nil
}

// OffersSignOn reports whether an organization's people sign in by a provider, and at which
// organization: without a name, the instance's own.
func (b *Broker) OffersSignOn(ctx context.Context, organization claviger.OrganizationID) (claviger.OrganizationID, bool) {
	if organization == "" {
		own, err := b.db.InstanceOrganization(ctx)
		if err != nil {
			return "", false
		}
		organization = own.ID
	}
	if !claviger.ValidID(claviger.PrefixOrganization, string(organization)) {
		return "", false
	}
	_, _, err := b.db.SingleSignOn(ctx, b.system(organization).Scope)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		b.log.WarnContext(ctx, "a page is shown without single sign-on", "organization", string(organization), "error", err)
	}
	return organization, err == nil
}

// SignOnKeys bind a browser's way to its provider to that browser. Authentication makes
// them.
type SignOnKeys struct {
	State, Nonce string
	Verifier     claviger.Secret
}

// signOnAt is an organization's provider with all that is needed to ask it.
type signOnAt struct {
	claviger.SingleSignOn
	sealed claviger.Sealed
	config oauth.Config
	client claviger.OAuthClient // without its secret
}

func (b *Broker) signOnAt(ctx context.Context, organization claviger.OrganizationID) (at signOnAt, err error) {
	if !claviger.ValidID(claviger.PrefixOrganization, string(organization)) {
		return at, claviger.NotFound("page")
	}
	at.SingleSignOn, at.sealed, err = b.db.SingleSignOn(ctx, b.system(organization).Scope)
	if err != nil {
		return at, absent(err, "page")
	}
	at.config, at.client, err = b.provider(ctx, at.SingleSignOn)
	return at, err
}

// foundProvider is what a provider said of itself, and how long that counts.
type foundProvider struct {
	metadata oauth.Metadata
	until    time.Time
}

func providerKey(x claviger.SingleSignOn) string { return string(x.Organization) + " " + x.Issuer }

// provider answers how to speak to an organization's provider, by its own metadata.
func (b *Broker) provider(ctx context.Context, x claviger.SingleSignOn) (oauth.Config, claviger.OAuthClient, error) {
	rules := &claviger.OAuth{
		Grant: claviger.GrantAuthorizationCode, Scopes: []string{"openid", "email", "profile"}, PKCE: claviger.PKCES256,
		ClientAuth: claviger.ClientSecretBasic, OIDC: claviger.OAuthOIDC{Nonce: true, IDToken: true},
		// The issuer vouches for its endpoints (OpenID Connect Discovery, section 4.3), which
		// are over TLS; the egress guard judges each of them.
		DiscoveryHosts: []string{"*"},
	}
	client := claviger.OAuthClient{ID: x.ClientID}
	cfg, err := oauth.Resolve(rules, string(x.Organization)+" single sign-on", nil)
	if err != nil {
		return cfg, client, err
	}
	cfg.Issuer = x.Issuer
	key := providerKey(x)
	found, generation, ok := b.signOns.get(key)
	if !ok || !b.now().Before(found.until) {
		within, cancel := context.WithTimeout(ctx, signOnTime)
		defer cancel()
		if found.metadata, err = b.connecting.oauth.Discover(within, cfg); err != nil {
			return cfg, client, err
		}
		found.until = b.now().Add(min(found.metadata.Fresh, time.Hour))
		b.signOns.put(key, found, generation)
	}
	m := found.metadata
	if m.Endpoints.Authorize == "" || m.Endpoints.Keys == "" {
		return cfg, client, claviger.Errorf(claviger.KindUpstream, "invalid_metadata", "The issuer's metadata name no authorization endpoint or no keys: it is no OpenID provider.")
	}
	rules.CheckIssuer = m.IssuerParam
	switch {
	case !x.HasSecret:
		rules.ClientAuth = claviger.ClientAuthNone
	case len(m.ClientAuth) > 0 && !slices.Contains(m.ClientAuth, string(claviger.ClientSecretBasic)):
		rules.ClientAuth = claviger.ClientSecretPost
	}
	return cfg.WithMetadata(m), client, nil
}

// SignOnAddress answers where a browser goes to sign in at its organization's provider.
//
// Errors: KindNotFound without single sign-on; those of the provider.
func (b *Broker) SignOnAddress(ctx context.Context, organization claviger.OrganizationID, keys SignOnKeys) (string, error) {
	at, err := b.signOnAt(ctx, organization)
	if err != nil {
		return "", err
	}
	return oauth.AuthorizeURL(at.config, at.client, oauth.Authorization{
		State: keys.State, Verifier: keys.Verifier, Nonce: keys.Nonce, RedirectURI: b.showSignOn(at.SingleSignOn).RedirectURI,
	})
}

// SignOnIdentity answers who the provider says has come back: the code is redeemed once,
// the id token verified against the provider's keys, and the address left out unless the
// provider has verified it.
//
// Errors: KindUnreadable "invalid_callback"; the provider's no; KindUpstream
// "invalid_id_token".
func (b *Broker) SignOnIdentity(ctx context.Context, organization claviger.OrganizationID, keys SignOnKeys, method, rawQuery string, from claviger.Request) (x claviger.Identity, err error) {
	ctx, cancel := context.WithTimeout(ctx, signOnTime)
	defer cancel()
	at, err := b.signOnAt(ctx, organization)
	if err != nil {
		return x, err
	}
	back, err := oauth.ParseCallback(at.config, keys.State, method, rawQuery)
	if err := firstError(err, back.Err()); err != nil {
		return x, err
	}
	caller := b.system(organization)
	caller.From = from
	t, err := b.gate.Admit(ctx, caller, claviger.SessionsCreate, signOnResource(organization), "")
	if err != nil {
		return x, err
	}
	defer func() { t.Done(gate.Ending{Err: err}) }()
	if at.HasSecret {
		if at.client.Secret, err = b.vault.SignOnSecret(ctx, t, &at.SingleSignOn, at.sealed); err != nil {
			return x, err
		}
	}
	return b.redeem(ctx, &at, back.Code, keys)
}

// redeem trades a code for who the person is.
func (b *Broker) redeem(ctx context.Context, at *signOnAt, code claviger.Secret, keys SignOnKeys) (x claviger.Identity, err error) {
	talk := b.connecting.oauth
	attempt := talk.Exchange(ctx, at.config, at.client, oauth.Code{Code: code, Verifier: keys.Verifier, RedirectURI: b.showSignOn(at.SingleSignOn).RedirectURI}, nil)
	if attempt.Err != nil {
		return x, attempt.Err
	}
	tokens, err := oauth.Parse(at.config, at.client, attempt.Raw)
	if err != nil {
		return x, err
	}
	published, err := talk.Keys(ctx, at.config)
	if err != nil {
		return x, err
	}
	claims, err := talk.VerifyIDToken(at.config, at.client, published, tokens.ID, keys.Nonce)
	if err == nil {
		err = claims.Fits(tokens.Access)
	}
	if err != nil {
		return x, err
	}
	name, said := claims.Name, claims.Claims
	if _, there := said["email"]; !there && at.config.Endpoints.Userinfo != "" {
		// Many providers keep the id token short and say the rest here, of the same subject.
		more, err := talk.Userinfo(ctx, at.config, tokens.Access, claims.Subject, nil)
		if err != nil {
			return x, err
		}
		said = more.Claims
		if name == "" {
			name, _ = said["name"].(string)
		}
	}
	x = claviger.Identity{Organization: at.Organization, Issuer: at.Issuer, Subject: claims.Subject, Name: name}
	if email, _ := said["email"].(string); said["email_verified"] == true {
		x.Email = email
	}
	return x, nil
}
