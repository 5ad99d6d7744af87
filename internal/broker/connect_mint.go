package broker

import (
	"context"
	"maps"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/gate"
	"claviger/internal/oauth"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// mints reports whether a method's tokens are asked for by whoever has its credentials,
// and nobody consents.
func mints(m *claviger.AuthMethod) bool { return m.OAuth != nil && m.OAuth.Grant.Unattended() }

// wayOut says what helps where nobody could consent again.
func wayOut(m *claviger.AuthMethod) string {
	if m.BringsClient() || len(m.Fields) > 0 {
		return "Send its credentials again with PATCH /v1/connections/{id}."
	}
	return "Correct the OAuth client with PUT /v1/connectors/{key}/client, then POST /v1/connections/{id}/enable."
}

// refusedMint answers why no token came for credentials that were to be checked, in the
// terms of the three steps. given: they are the connection's own.
func refusedMint(err error, given bool) error {
	e := claviger.AsError(err)
	switch {
	case e.Kind == claviger.KindReauthorize && len(e.References) > 0:
		return err // about the connection whose token is exchanged
	case e.Kind == claviger.KindReauthorize, given && (e.FineCode() == "oauth_client_refused" || e.Kind == claviger.KindDenied && e.FineCode() == "access_denied"):
		return claviger.Invalid("credentials", "invalid_credentials", "The vendor issues no tokens for these credentials. Check them and try again.").With(err)
	case e.FineCode() == "upstream_rate_limited":
		return claviger.Invalid("", "upstream_rate_limited", "The vendor is limiting requests, so the credential was not tried. Try again later.").With(err)
	case e.FineCode() == "upstream_unavailable", e.FineCode() == "unreachable", e.Kind == claviger.KindTimeout:
		return unreachable(err)
	}
	return err
}

// mintConnection makes a connection whose tokens a client gets for itself: the
// organization's, or one that the connection brings. They are proved before anything is
// stored, unless the caller says otherwise.
func (b *Broker) mintConnection(ctx context.Context, c claviger.Caller, l *live, in NewConnection) (Connected, error) {
	creds, grant, err := b.mint(ctx, c, claviger.ConnectionsCreate, l, in.Credentials)
	if err != nil && !in.SkipValidation {
		err = refusedMint(err, len(in.Credentials) > 0)
	}
	if err != nil {
		return Connected{}, err
	}
	if !in.SkipValidation {
		p, err := b.validate(ctx, c, claviger.ConnectionsCreate, l, creds)
		if err != nil {
			return Connected{}, err
		}
		l.conn.Health, l.conn.LastError = verdict(p)
		l.conn.Account, l.conn.LastCheckedAt = p.account, b.now()
	}
	if err := b.vault.Prepare(ctx, l.conn.Organization); err != nil {
		return Connected{}, err
	}
	err = b.gate.Change(ctx, c, claviger.ConnectionsCreate, l.resource, func(tx *store.Tx, t *gate.Ticket) error {
		sealed, err := b.vault.Seal(ctx, t, &l.conn, creds)
		if err != nil {
			return err
		}
		if err := tx.CreateConnection(ctx, c.Scope, l.conn, sealed); err != nil {
			return err
		}
		if err := tx.PutGrant(ctx, c.Scope, grant); err != nil {
			return err
		}
		return b.announce(ctx, tx, claviger.EventConnectionCreated, &l.conn)
	})
	return Connected{Connection: l.conn}, conflict(err)
}

// mint asks the vendor for tokens, under a ticket, and takes them into l's connection.
// given are the connection's own credentials, as they will be stored.
func (b *Broker) mint(ctx context.Context, c claviger.Caller, v claviger.Verb, l *live, given claviger.Credentials) (creds claviger.Credentials, grant store.Grant, err error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	cfg, err := b.oauthConfig(ctx, c.Scope, l)
	if err != nil {
		return nil, grant, err
	}
	kept := claviger.Credentials{}
	maps.Copy(kept, given)
	if cfg.Rules.DPoP {
		if kept[vault.ProofKey], err = b.connecting.oauth.NewProofKey(); err != nil {
			return nil, grant, err
		}
	}
	r := l.resource
	r.Host = hostOf(cfg.Endpoints.Token)
	t, err := b.gate.Admit(ctx, c, v, r, "")
	if err != nil {
		return nil, grant, err
	}
	ending := gate.Ending{Host: r.Host}
	defer func() {
		ending.Err = err
		t.Done(ending)
	}()
	m := vault.Minting{Config: cfg, Settings: l.conn.Settings, Scopes: cfg.Rules.Scopes}
	if m.Values, err = b.vault.Resolve(ctx, t, kept); err != nil {
		return nil, grant, err
	}
	if m.Client, err = b.vault.ClientOf(ctx, t, l.connector.Key, l.method, m.Values); err != nil {
		return nil, grant, err
	}
	if m.Subject, err = b.vault.SubjectOf(ctx, c, claviger.ConnectionsProxy, &l.conn, m.Values); err != nil {
		return nil, grant, b.reconnectable(l.conn.ID, err)
	}
	attempt := vault.Mint(ctx, b.connecting.oauth, m)
	ending.StatusCode = attempt.Raw.Status
	if attempt.Outcome != oauth.Answered {
		return nil, grant, attempt.Err
	}
	tokens, err := oauth.Parse(cfg, m.Client, attempt.Raw)
	if err != nil {
		return nil, grant, err
	}
	creds, grant = b.vault.Issued(&l.conn, cfg.Rules, tokens, cfg.Rules.Scopes, issuedTo(l.method, m.Client, kept))
	return creds, grant, nil
}

// remint takes new credentials of a connection that gets its tokens with them: it asks
// for tokens at once, so that a wrong key leaves the old one in use.
func (r *renewal) remint(ctx context.Context) error {
	l := r.live
	if consents(l.method) && l.method.BringsClient() {
		return r.reprove(ctx)
	}
	if !mints(l.method) || len(l.method.Fields) == 0 {
		return tokensStay(true)
	}
	if err := r.merge(ctx); err != nil {
		return err
	}
	fields := claviger.Credentials{}
	for name, value := range r.creds {
		_, given := r.in.Credentials[name]
		if _, ok := l.method.Field(name); ok || given {
			fields[name] = value
		}
	}
	var err error
	if r.warnings, err = catalog.CheckCredentials(l.method, fields); err != nil {
		return err
	}
	if err := describeCredentials(l, fields); err != nil {
		return err
	}
	creds, grant, err := r.broker.mint(ctx, r.caller, claviger.ConnectionsUpdate, l, fields)
	if err != nil && !r.in.SkipValidation {
		err = refusedMint(err, true)
	}
	if err != nil {
		return err
	}
	r.creds, r.grant = creds, &grant
	l.conn.Revision = r.old.Revision + 1
	if r.in.SkipValidation {
		l.conn.Health, l.conn.LastError = claviger.HealthUnknown, nil
		r.activate()
		return nil
	}
	granted := l.conn.GrantedScopes
	err = r.prove(ctx)
	l.conn.GrantedScopes = granted
	return err
}
