package vault

import (
	"context"
	"slices"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/oauth"
)

// The credentials that the grants of a method take from its fields.
const (
	ServiceAccount    = "serviceAccount"
	Subject           = "subject"
	SubjectToken      = "subjectToken"
	SubjectConnection = "subjectConnection"
	ActorToken        = "actorToken"
)

// IssuedTo is the id of the organization's client that tokens were issued to, kept where
// the vendor wants it on every call.
const IssuedTo = "issuedTo"

// forCalls reports whether a call may see a value of an OAuth connection. What only the
// authorization server may see stays behind.
func forCalls(name string) bool {
	return slices.Contains([]string{AccessToken, TokenType, ProofKey, "clientId", IssuedTo}, name)
}

// ClientOf answers the OAuth client of a connection: its own, if its method has one among
// its fields, else the organization's ([Vault.Client]). values are the connection's.
func (v *Vault) ClientOf(ctx context.Context, t *gate.Ticket, connector string, m *claviger.AuthMethod, values claviger.Credentials) (claviger.OAuthClient, error) {
	if !m.BringsClient() {
		return v.Client(ctx, t, connector, m)
	}
	values, err := v.Resolve(ctx, t, values)
	if err != nil {
		return claviger.OAuthClient{}, err
	}
	return ownClient(values)
}

// ownClient reads the OAuth client that a connection brings.
func ownClient(creds claviger.Credentials) (c claviger.OAuthClient, err error) {
	if !creds[ServiceAccount].Empty() {
		c, err := oauth.ServiceAccount(creds[ServiceAccount])
		return c, inCredentials(err)
	}
	c.ID, c.KeyID, c.Certificate = text(creds["clientId"]), text(creds["keyId"]), []byte(text(creds["certificate"]))
	c.Secret, c.PrivateKey = creds[ClientSecret], creds[ClientPrivateKey]
	return c, nil
}

// inCredentials puts the field that an error names among the credentials, where it was
// given.
func inCredentials(err error) error {
	e := claviger.AsError(err)
	if e == nil || e.Kind != claviger.KindInvalid || e.Param == "" {
		return err
	}
	named := *e
	named.Param = "credentials." + e.Param
	return &named
}

// text answers a value that a request is made with.
func text(s claviger.Secret) (t string) {
	s.Use(func(b []byte) { t = string(b) })
	return t
}

// Minting is a request for tokens that nobody consents to ([claviger.GrantType.Unattended]).
type Minting struct {
	Config   oauth.Config
	Client   claviger.OAuthClient
	Values   claviger.Credentials // the connection's, with kv:// references resolved
	Settings map[string]string
	Scopes   []string        // nil for the connector's own
	Subject  claviger.Secret // of a token exchange: the other connection's token
}

// Mint asks for such tokens. It may be repeated without harm.
func Mint(ctx context.Context, c *oauth.Client, m Minting) oauth.Attempt {
	assertion := oauth.Assertion{Issuer: m.Client.ID, Key: m.Client.PrivateKey, KeyID: m.Client.KeyID}
	proof := proofOf(m.Config.Rules, m.Values)
	var a oauth.Attempt
	switch m.Config.Rules.Grant {
	case claviger.GrantClientCredentials:
		a = c.ClientCredentials(ctx, m.Config, m.Client, m.Scopes, proof)
	case claviger.GrantJWTBearer:
		if assertion.Subject = text(m.Values[Subject]); assertion.Subject == "" {
			assertion.Subject = m.Settings[Subject]
		}
		a = c.JWTBearer(ctx, m.Config, m.Client, assertion, m.Scopes, proof)
	case claviger.GrantInstallation:
		a = c.InstallationToken(ctx, m.Config, assertion)
	case claviger.GrantTokenExchange:
		what := oauth.TokenExchange{Subject: m.Values[SubjectToken], Actor: m.Values[ActorToken], Scopes: m.Scopes}
		if what.Subject.Empty() {
			what.Subject = m.Subject
		}
		a = c.TradeToken(ctx, m.Config, m.Client, what, proof)
	default:
		return oauth.Attempt{Outcome: oauth.NotSent, Err: claviger.Errorf(claviger.KindInternal, "", "A grant that somebody consents to is not minted.")}
	}
	a.Err = inCredentials(a.Err)
	return a
}

// proofOf answers what a request proves its key with, nil where tokens are bound to none.
func proofOf(rules *claviger.OAuth, values claviger.Credentials) *oauth.Proof {
	if !rules.DPoP {
		return nil
	}
	return &oauth.Proof{Key: values[ProofKey]}
}

// ask sends what a refresh of the connection is, once no more than [vendorAtOnce] others
// of this process are being sent to the same server.
func (h *holding) ask(ctx context.Context) oauth.Attempt {
	p, k := h.party, h.vault.keep
	leave, err := h.vault.vendors.enter(ctx, p.cfg.Partition+" "+host(p.cfg.Endpoints.Token))
	if err != nil {
		return oauth.Attempt{Outcome: oauth.NotSent, Err: inProgress(err)}
	}
	defer leave()
	if !p.rules.Grant.Unattended() {
		return k.OAuth.Refresh(ctx, p.cfg, p.client, p.used[RefreshToken], nil, proofOf(p.rules, p.used))
	}
	m := Minting{Config: p.cfg, Client: p.client, Values: p.used, Settings: h.row.conn.Settings, Scopes: h.requested()}
	m.Subject, err = h.vault.SubjectOf(ctx, k.Caller(h.row.conn.Organization), claviger.ConnectionsRefresh, &h.row.conn, p.used)
	if err != nil {
		return oauth.Attempt{Outcome: oauth.NotSent, Err: err}
	}
	return Mint(ctx, k.OAuth, m)
}
