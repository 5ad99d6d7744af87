package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/oauth"
	"claviger/internal/store"
	"claviger/internal/vault"
)

const (
	// maxStarts bounds how often one flow may send a browser to the vendor.
	maxStarts = 20
	// browserValue is the length of the cookie's value: 256 bits.
	browserValue = 43
	// verifierKey names the code verifier among a flow's sealed values.
	verifierKey = "verifier"
	// callbackKey names, beside a vendor's answer, what the browser brought back.
	callbackKey = "callback"
)

// Departure is where a browser goes, and the cookie that it must bring back. Of a flow for
// devices it goes nowhere: it shows Pairing until Arrival is there.
type Departure struct {
	Location  string
	Cookie    string
	Brand     claviger.Branding // with Pairing
	Connector string            // its name, with Pairing
	Pairing   *claviger.Pairing
	Arrival   *Arrival
}

// consents reports whether a method's tokens come from a person's consent.
func consents(m *claviger.AuthMethod) bool { return m.OAuth != nil && !m.OAuth.Grant.Unattended() }

// pairs reports whether that person consents on another device.
func pairs(m *claviger.AuthMethod) bool {
	return m.OAuth != nil && m.OAuth.Grant == claviger.GrantDevice
}

// beginConnection stores a connection that waits for a person's consent, and the flow
// that gets it. in's credentials are the OAuth client that the connection brings, if it does.
func (b *Broker) beginConnection(ctx context.Context, c claviger.Caller, l *live, in NewConnection) (Connected, error) {
	if u := l.conn.Usage; u == claviger.UsageSyncExecution || u == claviger.UsageWebhookInbound {
		return Connected{}, claviger.Invalid("usage", "user_delegated",
			"A person consents to this connection, so it does not serve %s, which runs without one. Use a method of the organization's own.", u)
	}
	if err := b.canConsent(ctx, c.Scope, l); err != nil {
		return Connected{}, err
	}
	l.conn.Status, l.conn.Revision = claviger.StatusPending, 0
	f := claviger.ConnectFlow{
		Initiator: c.OwnerID(), Draft: l.conn, Existing: true, Scopes: l.method.OAuth.Scopes, Delivery: claviger.DeliverCode, ReturnURL: in.ReturnURL,
	}
	if f.ReturnURL != "" {
		f.Delivery = claviger.DeliverRedirect
		if pairs(l.method) {
			return Connected{}, noReturn()
		}
		if err := b.checkReturn(ctx, c.Scope, f.ReturnURL); err != nil {
			return Connected{}, err
		}
	}
	f, err := b.createFlow(ctx, c, l, f, in.Credentials, func(tx *store.Tx) error { return tx.CreateConnection(ctx, c.Scope, l.conn, nil) })
	if err != nil {
		return Connected{}, err
	}
	out := Connected{Connection: l.conn, Pairing: f.Device, AuthorizeBy: f.ExpiresAt}
	if f.Device == nil {
		out.AuthorizeURL = b.startURL(f.ID)
	}
	return out, nil
}

// noReturn refuses a return address where no browser comes back.
func noReturn() *claviger.Error {
	return claviger.Invalid("returnUrl", "no_return", "By this method no browser comes back. Leave returnUrl out.")
}

// startURL is claviger's own address, where a browser gets its cookie and is sent on.
func (b *Broker) startURL(id claviger.FlowID) string {
	return b.publicURL + "/oauth/start/" + string(id)
}

// canConsent refuses before anything is stored what could not be consented to.
func (b *Broker) canConsent(ctx context.Context, s claviger.Scope, l *live) error {
	if !pairs(l.method) {
		if err := b.checkPublicURL(); err != nil {
			return err
		}
	}
	if _, err := b.resolveOAuth(l); err != nil || l.method.BringsClient() {
		return err
	}
	row, _, err := b.db.OAuthClient(ctx, s, l.connector.Key, l.method.Key)
	if errors.Is(err, store.ErrNotFound) {
		return vault.NoClient(l.connector.Key)
	}
	if err == nil && !vault.ClientFits(row, l.method) {
		return vault.ClientMoved(l.connector.Key)
	}
	return err
}

// resolveOAuth answers the oauth2 section as it holds for a connection's settings.
func (b *Broker) resolveOAuth(l *live) (oauth.Config, error) {
	return oauth.Resolve(l.method.OAuth, l.dest.Key, func(name string) (string, bool) {
		v, ok := l.conn.Settings[name]
		return v, ok
	})
}

// oauthConfig is [Broker.resolveOAuth], completed by discovery where the document gives
// an issuer in place of addresses.
func (b *Broker) oauthConfig(ctx context.Context, s claviger.Scope, l *live) (oauth.Config, error) {
	cfg, err := b.resolveOAuth(l)
	if err != nil || cfg.Issuer == "" {
		return cfg, err
	}
	e := cfg.Endpoints
	first := e.Authorize != "" || mints(l.method)
	if pairs(l.method) {
		first = e.Device != ""
	}
	if e.Token != "" && first && (e.Keys != "" || !cfg.Rules.OIDC.IDToken) {
		return cfg, nil
	}
	return b.vault.Discovered(ctx, s, b.connecting.oauth, &l.conn, cfg)
}

// createFlow stores a flow that begins now, with the credentials that the connection
// brings and with what else belongs to the same change. That of a method for devices
// begins at the vendor, and a job asks there how it goes on.
func (b *Broker) createFlow(ctx context.Context, c claviger.Caller, l *live, f claviger.ConnectFlow, values claviger.Credentials, also func(*store.Tx) error) (claviger.ConnectFlow, error) {
	id, err := b.newID(claviger.PrefixFlow)
	if err != nil {
		return f, err
	}
	now := b.now()
	f.ID, f.Organization, f.Workspace = claviger.FlowID(id), f.Draft.Organization, f.Draft.Workspace
	f.Status, f.CreatedAt, f.ExpiresAt = claviger.ConnectOpen, now, now.Add(flowLife)
	if pairs(l.method) {
		if values, err = b.pair(ctx, c, l, &f, values); err != nil {
			return f, err
		}
	}
	if len(values) > 0 {
		f.Revision = 1
		if err := b.vault.Prepare(ctx, f.Organization); err != nil {
			return f, err
		}
	}
	err = b.gate.Change(ctx, c, f.Verb(), f.Resource(), func(tx *store.Tx, t *gate.Ticket) (err error) {
		if err := also(tx); err != nil {
			return err
		}
		var sealed claviger.Sealed
		if len(values) > 0 {
			if sealed, err = b.vault.SealFlow(ctx, t, &f, values); err != nil {
				return err
			}
		}
		if err := tx.CreateConnectFlow(ctx, c.Scope, f, sealed); err != nil || f.Device == nil {
			return err
		}
		return b.insert(ctx, tx, jobPairing, pairing{f.Organization, f.ID}, jobs.Options{After: f.Device.Interval})
	})
	return f, conflict(err)
}

// StartFlow sends a browser to the vendor: it binds the flow to the browser by a
// cookie and to this departure by a new state, so that what an earlier departure
// brings back is refused. cookie is what the browser has already, or "".
//
// Errors: KindNotFound for no such flow, KindConflict with code flow_ended once it has
// been to the vendor and back or its time is over.
func (b *Broker) StartFlow(ctx context.Context, id claviger.FlowID, cookie string, from claviger.Request) (Departure, error) {
	f, sealed, err := b.flow(ctx, id)
	if err != nil {
		return Departure{}, err
	}
	c := b.connecting.act(f.Organization, f.Workspace, string(f.ID), from)
	if f.Device != nil {
		return b.showPairing(ctx, c, &f, cookie)
	}
	if err := b.startable(&f); err != nil {
		return Departure{}, b.gate.Refuse(ctx, c, f.Verb(), f.Resource(), err)
	}
	l, err := b.flowLive(ctx, c, &f)
	if err != nil {
		return Departure{}, err
	}
	if !validBrowser(cookie) {
		if cookie, err = b.connecting.oauth.NewState(); err != nil {
			return Departure{}, err
		}
	}
	cfg, err := b.oauthConfig(ctx, c.Scope, l)
	if err != nil {
		return Departure{}, err
	}
	ask, err := b.authorization(cfg, &f)
	if err != nil {
		return Departure{}, err
	}
	location, values, err := b.authorizeURL(ctx, c, l, cfg, &f, sealed, ask)
	if err != nil {
		return Departure{}, err
	}
	return Departure{Location: location, Cookie: cookie}, b.depart(ctx, c, &f, ask, values, cookie)
}

func (b *Broker) flow(ctx context.Context, id claviger.FlowID) (claviger.ConnectFlow, claviger.Sealed, error) {
	absent := claviger.Errorf(claviger.KindNotFound, "unknown_flow", "There is nothing at this address. Ask the application that sent you for a new link.")
	if !claviger.ValidID(claviger.PrefixFlow, string(id)) {
		return claviger.ConnectFlow{}, nil, absent
	}
	f, sealed, err := b.db.ConnectFlowByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		err = absent
	}
	return f, sealed, err
}

func (b *Broker) startable(f *claviger.ConnectFlow) error {
	if f.Status != claviger.ConnectOpen && f.Status != claviger.ConnectStarted || !b.now().Before(f.ExpiresAt) || f.Starts >= maxStarts {
		return flowEnded()
	}
	return b.checkPublicURL()
}

func flowEnded() *claviger.Error {
	return claviger.Errorf(claviger.KindConflict, "flow_ended", "This link was used already, or its time is over. Go back to the application and start again.")
}

// flowLive joins a flow's draft with its connector.
func (b *Broker) flowLive(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow) (*live, error) {
	k, err := b.connector(ctx, c.Scope, f.Draft.Connector, f.Draft.ConnectorVersion)
	if err != nil {
		return nil, err
	}
	if f.Existing {
		conn, _, err := b.db.Connection(ctx, c.Scope, f.Draft.ID)
		if err != nil {
			return nil, err
		}
		if conn.Status == claviger.StatusRevoked {
			return nil, conn.Status.Refusal()
		}
	}
	l, err := b.ready(f.Draft, nil, k)
	if err == nil && l.method.OAuth == nil {
		err = claviger.Errorf(claviger.KindConflict, "flow_ended", "This connection is not made at the vendor. Go back to the application and start again.")
	}
	return l, err
}

func (b *Broker) authorization(cfg oauth.Config, f *claviger.ConnectFlow) (a oauth.Authorization, err error) {
	a.RedirectURI, a.Scopes = b.redirectURI(f.Organization, f.Draft.Connector), f.Scopes
	if a.State, err = b.connecting.oauth.NewState(); err != nil {
		return a, err
	}
	if a.Verifier, err = b.connecting.oauth.NewVerifier(); err != nil {
		return a, err
	}
	if cfg.Rules.DPoP {
		if a.ProofKey, err = b.connecting.oauth.NewProofKey(); err != nil {
			return a, err
		}
	}
	if cfg.Rules.OIDC.Nonce {
		a.Nonce, err = b.connecting.oauth.NewState()
	}
	return a, err
}

// authorizeURL answers the vendor's page, and what the flow keeps for its return. The
// client's registration is opened for it under a ticket, since a pushed request proves
// the client.
func (b *Broker) authorizeURL(ctx context.Context, c claviger.Caller, l *live, cfg oauth.Config, f *claviger.ConnectFlow, sealed claviger.Sealed, ask oauth.Authorization) (location string, values claviger.Credentials, err error) {
	r := f.Resource()
	r.Host = hostOf(cfg.Endpoints.Authorize)
	t, err := b.gate.Admit(ctx, c, f.Verb(), r, "")
	if err != nil {
		return "", nil, err
	}
	defer func() { t.Done(gate.Ending{Err: err, Host: r.Host}) }()
	values = claviger.Credentials{}
	if sealed != nil {
		if values, err = b.vault.OpenFlow(ctx, t, f, sealed); err != nil {
			return "", nil, err
		}
	}
	client, err := b.vault.ClientOf(ctx, t, l.connector.Key, l.method, values)
	if err != nil {
		return "", nil, err
	}
	values[verifierKey] = ask.Verifier
	if !ask.ProofKey.Empty() {
		values[vault.ProofKey] = ask.ProofKey
	}
	if cfg.Rules.PAR {
		location, _, err = b.connecting.oauth.Push(ctx, cfg, client, ask)
		return location, values, err
	}
	location, err = oauth.AuthorizeURL(cfg, client, ask)
	return location, values, err
}

// brought answers those of a flow's sealed values that its connection will keep.
func brought(values claviger.Credentials) claviger.Credentials {
	kept := maps.Clone(values)
	for _, name := range []string{verifierKey, deviceKey, vault.JournaledAnswer, callbackKey} {
		delete(kept, name)
	}
	return kept
}

// depart binds the flow to this departure.
func (b *Broker) depart(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow, ask oauth.Authorization, values claviger.Credentials, cookie string) error {
	if err := b.vault.Prepare(ctx, f.Organization); err != nil {
		return err
	}
	return b.gate.Change(ctx, c, f.Verb(), f.Resource(), func(tx *store.Tx, t *gate.Ticket) error {
		_, err := tx.UpdateConnectFlow(ctx, c.Scope, f.ID, func(now claviger.ConnectFlow, _ claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
			if err := b.startable(&now); err != nil {
				return now, nil, err
			}
			now.Status, now.Starts, now.Revision = claviger.ConnectStarted, now.Starts+1, now.Revision+1
			now.StateHash, now.BrowserHash = digest(ask.State), digest(cookie)
			now.RedirectURI, now.Nonce = ask.RedirectURI, ask.Nonce
			sealed, err := b.vault.SealFlow(ctx, t, &now, values)
			return now, sealed, err
		})
		return err
	})
}

func digest(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}

// sameBrowser reports whether a cookie is the one that the flow is bound to.
func sameBrowser(f *claviger.ConnectFlow, cookie string) bool {
	return validBrowser(cookie) && len(f.BrowserHash) > 0 && subtle.ConstantTimeCompare(f.BrowserHash, digest(cookie)) == 1
}

func validBrowser(cookie string) bool {
	if len(cookie) != browserValue {
		return false
	}
	_, err := base64.RawURLEncoding.DecodeString(cookie)
	return err == nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// finishCode makes the code that proves to the application which browser finished: 256
// bits where a program carries it, 8 characters (40 bits, five tries, ten minutes)
// where a person does.
func (b *Broker) finishCode(d claviger.Delivery) (string, error) {
	if d != claviger.DeliverCode {
		return b.connecting.oauth.NewState()
	}
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's: no I, L, O, U
	var raw [8]byte
	if _, err := b.random.Read(raw[:]); err != nil {
		return "", fmt.Errorf("broker: no random bytes: %w", err)
	}
	for i := range raw {
		raw[i] = alphabet[raw[i]&31]
	}
	return string(raw[:]), nil
}

func finishHash(id claviger.FlowID, code string) []byte { return digest(string(id) + "." + code) }

// exchangeTimeout bounds the redeeming of a code, its test call included.
const exchangeTimeout = 60 * time.Second
