package broker

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/gate"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// ConnectPage is what a session's page shows. Its texts are claviger's and the
// organization's own, checked when they were stored; the vendor's origin is computed
// from the address that the browser will really be sent to.
type ConnectPage struct {
	Brand        claviger.Branding
	Session      claviger.ConnectSession
	ReturnOrigin string // of the application; empty if it gave no address
	Choices      []ConnectChoice
}

// ConnectChoice is one way to connect.
type ConnectChoice struct {
	Connector *claviger.Connector
	Method    *claviger.AuthMethod
	Asks      []claviger.Variable // that the session does not fix
	Consents  bool                // at the vendor, not in a form
	Vendor    string              // origin of the vendor's page; empty while settings decide it
	Scopes    []string
	// Added and Dropped are what a reconnect asks for that the connection has not, and
	// the other way round.
	Added, Dropped []string
	Missing        string // why it cannot be connected now; empty if it can
}

// ConnectForm is what a person entered on the page.
type ConnectForm struct {
	Connector, AuthMethod string
	Settings              map[string]string
	Credentials           claviger.Credentials
}

// openSession answers the session of a connect page's caller, if it still may be used.
func (b *Broker) openSession(ctx context.Context, c claviger.Caller) (claviger.ConnectSession, error) {
	if c.Kind != claviger.CallerConnect {
		return claviger.ConnectSession{}, claviger.NotFound("session")
	}
	s, err := b.db.ConnectSession(ctx, c.Scope, claviger.ConnectSessionID(c.ID))
	if errors.Is(err, store.ErrNotFound) {
		return s, claviger.NotFound("session")
	}
	if err != nil {
		return s, err
	}
	if s.Status.Final() || !b.now().Before(s.ExpiresAt) {
		return s, sessionEnded()
	}
	return s, nil
}

// ConnectPage answers what a session's page shows; with an error, as much of it as is
// known: whose page it is.
func (b *Broker) ConnectPage(ctx context.Context, c claviger.Caller) (ConnectPage, error) {
	s, err := b.openSession(ctx, c)
	page := ConnectPage{Session: s, ReturnOrigin: origin(s.ReturnURL)}
	if s.Organization != "" {
		page.Brand = b.Brand(ctx, s.Organization)
	}
	if err != nil {
		return page, err
	}
	var old *claviger.Connection
	if s.Reconnect {
		conn, _, err := b.db.Connection(ctx, c.Scope, s.Connection)
		if err != nil {
			return page, err
		}
		old = &conn
	}
	for _, key := range s.Connectors {
		choices, err := b.choices(ctx, c, s, key, old)
		if claviger.IsKind(err, claviger.KindNotFound) {
			continue // deleted since
		}
		if err != nil {
			return page, err
		}
		page.Choices = append(page.Choices, choices...)
	}
	return page, nil
}

// onPage reports whether a page can make a connection by a method: none can by a grant
// without a person, or with a client of one's own.
func onPage(m *claviger.AuthMethod) bool {
	return m.OAuth == nil || !mints(m) && len(m.Fields) == 0
}

func (b *Broker) choices(ctx context.Context, c claviger.Caller, s claviger.ConnectSession, key string, old *claviger.Connection) ([]ConnectChoice, error) {
	version := 0
	if old != nil {
		version = old.ConnectorVersion
	}
	k, err := b.connector(ctx, c.Scope, key, version)
	if err != nil {
		return nil, err
	}
	var out []ConnectChoice
	for i := range k.Auth {
		m := &k.Auth[i]
		if old == nil && !onPage(m) || old != nil && (mints(m) || m.Key != old.AuthMethod) {
			continue // or another way than before
		}
		settings := s.Settings
		if old != nil {
			settings = old.Settings
		}
		choice := ConnectChoice{Connector: k, Method: m, Consents: consents(m)}
		for _, v := range k.For(m.Key).Variables {
			if _, fixed := settings[v.Key]; !fixed && !v.Discovered {
				choice.Asks = append(choice.Asks, v)
			}
		}
		if choice.Consents {
			if err := b.consentFacts(ctx, c, &choice, settings, old); err != nil {
				return nil, err
			}
		}
		out = append(out, choice)
	}
	return out, nil
}

// consentFacts fills in where the person will be sent and what will be asked for.
func (b *Broker) consentFacts(ctx context.Context, c claviger.Caller, choice *ConnectChoice, settings map[string]string, old *claviger.Connection) error {
	rules := choice.Method.OAuth
	choice.Scopes = rules.Scopes
	if old != nil {
		for _, s := range rules.Scopes {
			if !slices.Contains(old.GrantedScopes, s) {
				choice.Added = append(choice.Added, s)
			}
		}
		for _, s := range old.GrantedScopes {
			if !slices.Contains(rules.Scopes, s) {
				choice.Dropped = append(choice.Dropped, s)
			}
		}
	}
	if full, err := catalog.CheckSettings(choice.Connector.For(choice.Method.Key), fixedSettings(choice.Connector.For(choice.Method.Key), settings)); err == nil {
		if l, err := b.ready(claviger.Connection{Connector: choice.Connector.Key, AuthMethod: choice.Method.Key, Settings: full}, nil, choice.Connector); err == nil {
			if cfg, err := b.resolveOAuth(l); err == nil {
				choice.Vendor = cmp.Or(origin(cfg.Endpoints.Authorize), origin(cfg.Endpoints.Device))
				if choice.Vendor == "" {
					choice.Vendor = origin(cfg.Issuer)
				}
			}
		}
	}
	if choice.Method.BringsClient() {
		return nil
	}
	row, _, err := b.db.OAuthClient(ctx, c.Scope, choice.Connector.Key, choice.Method.Key)
	if errors.Is(err, store.ErrNotFound) || err == nil && !vault.ClientFits(row, choice.Method) {
		choice.Missing, err = "The application has not set this up yet.", nil
	}
	return err
}

// fixedSettings answers those of a session's settings that a connector knows: a session
// for several connectors fixes the variables of all.
func fixedSettings(k *claviger.Connector, settings map[string]string) map[string]string {
	out := map[string]string{}
	for _, v := range k.Variables {
		if value, ok := settings[v.Key]; ok {
			out[v.Key] = value
		}
	}
	return out
}

// Connect takes a person's choice. For a consent at the vendor it answers the flow to
// start, for a form it checks the credentials with the vendor and keeps them until the
// application finishes.
func (b *Broker) Connect(ctx context.Context, c claviger.Caller, form ConnectForm) (Arrival, error) {
	s, err := b.openSession(ctx, c)
	if err != nil {
		return Arrival{}, err
	}
	l, old, err := b.choose(ctx, c, s, form)
	if err != nil {
		return Arrival{}, err
	}
	if err := b.countAttempt(ctx, c, s); err != nil {
		return Arrival{}, err
	}
	f := claviger.ConnectFlow{
		Session: s.ID, Initiator: s.Initiator, Draft: l.conn, Existing: old, Reconnect: s.Reconnect,
		AllowAccountChange: s.AllowAccountChange, Delivery: s.Delivery, ReturnURL: s.ReturnURL,
	}
	if consents(l.method) {
		if err := b.canConsent(ctx, c.Scope, l); err != nil {
			return Arrival{}, err
		}
		f.Scopes = l.method.OAuth.Scopes
		client, err := b.storedClient(ctx, c, l, &f)
		if err != nil {
			return Arrival{}, err
		}
		f, err = b.createFlow(ctx, c, l, f, client, func(*store.Tx) error { return nil })
		return Arrival{Flow: f, Connector: l.connector.Name}, err
	}
	if err := b.prove(ctx, c, l, &f, form.Credentials); err != nil {
		return Arrival{}, err
	}
	if f, err = b.createFlow(ctx, c, l, f, nil, func(*store.Tx) error { return nil }); err != nil {
		return Arrival{}, err
	}
	code, err := b.finishCode(f.Delivery)
	if err != nil {
		return Arrival{}, err
	}
	return b.await(ctx, c, &f, l, form.Credentials, code)
}

// storedClient answers the OAuth client that a connection brought when it was made, for
// connecting it again. Opening it is a use.
func (b *Broker) storedClient(ctx context.Context, c claviger.Caller, l *live, f *claviger.ConnectFlow) (claviger.Credentials, error) {
	if !l.method.BringsClient() {
		return nil, nil
	}
	conn, sealed, err := b.db.Connection(ctx, c.Scope, f.Draft.ID)
	if err != nil || sealed == nil {
		return nil, err
	}
	t, err := b.gate.Admit(ctx, c, f.Verb(), l.resource, "")
	if err != nil {
		return nil, err
	}
	stored, err := b.vault.Stored(ctx, t, &conn, sealed)
	t.Done(gate.Ending{Err: err})
	maps.DeleteFunc(stored, func(name string, _ claviger.Secret) bool { _, ok := l.method.Field(name); return !ok })
	return stored, err
}

// maxAttempts is how often one session's page may ask a vendor about something: a page
// is no place to try stolen keys.
const maxAttempts = 50

func (b *Broker) countAttempt(ctx context.Context, c claviger.Caller, s claviger.ConnectSession) error {
	region, err := b.db.PlaceOf(ctx, s.Organization, s.Workspace)
	if err != nil {
		return err
	}
	err = b.db.InTx(ctx, region, func(tx *store.Tx) error {
		_, err := tx.UpdateConnectSession(ctx, c.Scope, s.ID, func(now claviger.ConnectSession) (claviger.ConnectSession, error) {
			now.Attempts++
			if now.Attempts > maxAttempts {
				return now, claviger.Errorf(claviger.KindRateLimited, "too_many_attempts", "This page was used too often. Go back to the application and start again.")
			}
			return now, nil
		})
		return err
	})
	if claviger.IsKind(err, claviger.KindRateLimited) {
		return b.gate.Refuse(ctx, c, claviger.ConnectionsCreate, s.Resource(), err)
	}
	return err
}

// prove takes the three steps with what a person entered.
func (b *Broker) prove(ctx context.Context, c claviger.Caller, l *live, f *claviger.ConnectFlow, creds claviger.Credentials) error {
	p, err := b.validate(ctx, c, f.Verb(), l, creds)
	if err != nil {
		return err
	}
	draft := &f.Draft
	draft.Health, draft.LastError = verdict(p)
	draft.Account, draft.GrantedScopes, draft.LastCheckedAt = p.account, p.scopes, b.now()
	return b.sameAccount(ctx, c, f)
}

// CheckForm answers what is wrong with the form of the credentials that are given,
// without asking the vendor and without missing those that are not: for hints while a
// person still types.
func (b *Broker) CheckForm(ctx context.Context, c claviger.Caller, form ConnectForm) error {
	s, err := b.openSession(ctx, c)
	if err != nil {
		return err
	}
	if !slices.Contains(s.Connectors, form.Connector) {
		return claviger.NotFound("connector")
	}
	k, err := b.connector(ctx, c.Scope, form.Connector, 0)
	if err != nil {
		return err
	}
	m, ok := k.Method(form.AuthMethod)
	if !ok {
		return claviger.NotFound("auth method")
	}
	given := claviger.AuthMethod{Key: m.Key}
	for _, f := range m.Fields {
		if _, ok := form.Credentials[f.Key]; ok {
			given.Fields = append(given.Fields, f)
		}
	}
	_, err = catalog.CheckCredentials(&given, form.Credentials)
	return err
}

// choose checks a choice and answers the connection as it will be, and whether it has a
// row already.
func (b *Broker) choose(ctx context.Context, c claviger.Caller, s claviger.ConnectSession, form ConnectForm) (*live, bool, error) {
	if !slices.Contains(s.Connectors, form.Connector) {
		return nil, false, claviger.NotFound("connector")
	}
	if refs, err := vault.References(form.Credentials); err != nil || len(refs) > 0 {
		// Those who fill in a page must not make claviger read the organization's secrets.
		for field := range form.Credentials {
			if _, ok := refs[field]; ok || err != nil {
				return nil, false, claviger.Invalid("credentials."+field, "invalid_format", "Enter the value itself.")
			}
		}
	}
	if s.Reconnect {
		return b.chooseAgain(ctx, c, s, form)
	}
	k, err := b.namedConnector(ctx, c.Scope, form.Connector)
	if err != nil {
		return nil, false, err
	}
	settings := map[string]string{}
	maps.Copy(settings, form.Settings)
	maps.Copy(settings, fixedSettings(k.For(form.AuthMethod), s.Settings))
	in := NewConnection{
		Connector: k.Key, AuthMethod: form.AuthMethod, Name: "x", Workspace: s.Workspace, Credentials: form.Credentials,
		Settings: settings, Tags: s.Tags,
	}
	l, _, err := b.draft(ctx, c, in)
	if err != nil {
		return nil, false, err
	}
	l.conn.Owner = s.User.ID
	l.conn.Name = sessionName(k, s.User, l.conn.ID)
	if !onPage(l.method) {
		return nil, false, claviger.NotFound("auth method")
	}
	return l, false, nil
}

// chooseAgain is choose for a reconnect: the same connector, method and settings.
func (b *Broker) chooseAgain(ctx context.Context, c claviger.Caller, s claviger.ConnectSession, form ConnectForm) (*live, bool, error) {
	conn, _, err := b.db.Connection(ctx, c.Scope, s.Connection)
	if err != nil {
		return nil, false, err
	}
	if conn.Status == claviger.StatusRevoked {
		return nil, false, conn.Status.Refusal()
	}
	if conn.AuthMethod != form.AuthMethod {
		return nil, false, claviger.NotFound("auth method")
	}
	k, err := b.connector(ctx, c.Scope, conn.Connector, conn.ConnectorVersion)
	if err != nil {
		return nil, false, err
	}
	conn.Account, conn.GrantedScopes, conn.LastError, conn.Health = claviger.Account{}, nil, nil, claviger.HealthUnknown
	l, err := b.ready(conn, nil, k)
	if err != nil {
		return nil, false, err
	}
	if l.method.OAuth == nil {
		if _, err := catalog.CheckCredentials(l.method, form.Credentials); err != nil {
			return nil, false, err
		}
		if err := describeCredentials(l, form.Credentials); err != nil {
			return nil, false, err
		}
	}
	// A personal connection is its owner's to use; renewing it for the owner is what the
	// session was made for.
	l.resource.Owner, l.resource.Visibility = "", ""
	return l, true, nil
}

// sessionName names a connection that an end user makes: the connector, the person, and
// enough of the id to be unique.
func sessionName(k *claviger.Connector, u claviger.EndUser, id claviger.ConnectionID) string {
	tail := string(id[len(id)-6:])
	user := strings.TrimSpace(u.ID)
	if room := maxName - len(k.Key) - len(tail) - 2; len(user) > room {
		user = strings.TrimSpace(strings.ToValidUTF8(user[:max(room, 0)], ""))
	}
	return strings.Join(slices.DeleteFunc([]string{k.Key, user, tail}, func(s string) bool { return s == "" }), " ")
}
