package broker

import (
	"context"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/oauth"
	"claviger/internal/store"
)

// mints reports whether a method's tokens are the client's own: nobody consents, and the
// organization's registration is all that is needed.
func mints(m *claviger.AuthMethod) bool {
	return m.OAuth != nil && m.OAuth.Grant == claviger.GrantClientCredentials && len(m.Fields) == 0
}

// mintConnection makes a connection whose tokens the organization's client gets for
// itself (RFC 6749, section 4.4). They are proved before anything is stored, unless the
// caller says otherwise.
func (b *Broker) mintConnection(ctx context.Context, c claviger.Caller, l *live, in NewConnection) (Connected, error) {
	if len(in.Credentials) > 0 {
		return Connected{}, claviger.Invalid("credentials", "unknown_credential", "This method takes none: it uses the organization's OAuth client, PUT /v1/connectors/%s/client.", l.connector.Key)
	}
	creds, grant, err := b.mint(ctx, c, l)
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

// mint asks the vendor for the first tokens, under a ticket.
func (b *Broker) mint(ctx context.Context, c claviger.Caller, l *live) (creds claviger.Credentials, grant store.Grant, err error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	if l.method.OAuth.DPoP {
		return nil, grant, dpopUnsupported(l.connector)
	}
	cfg, err := b.oauthConfig(ctx, l)
	if err != nil {
		return nil, grant, err
	}
	r := l.resource
	r.Host = hostOf(cfg.Endpoints.Token)
	t, err := b.gate.Admit(ctx, c, claviger.ConnectionsCreate, r, "")
	if err != nil {
		return nil, grant, err
	}
	ending := gate.Ending{Host: r.Host}
	defer func() {
		ending.Err = err
		t.Done(ending)
	}()
	client, err := b.vault.Client(ctx, t, l.connector.Key, l.method.Key)
	if err != nil {
		return nil, grant, err
	}
	attempt := b.connecting.oauth.ClientCredentials(ctx, cfg, client, cfg.Rules.Scopes, nil)
	ending.StatusCode = attempt.Raw.Status
	if attempt.Outcome != oauth.Answered {
		return nil, grant, attempt.Err
	}
	tokens, err := oauth.Parse(cfg, client, attempt.Raw)
	if err != nil {
		return nil, grant, err
	}
	creds, grant = b.vault.Issued(&l.conn, cfg.Rules, tokens, cfg.Rules.Scopes, nil)
	return creds, grant, nil
}

func dpopUnsupported(k *claviger.Connector) *claviger.Error {
	return claviger.Errorf(claviger.KindConflict, "dpop_unsupported", "Tokens of %s are bound to a key (DPoP), which connections cannot use yet.", k.Name)
}
