package broker

import (
	"context"
	"errors"
	"net/http"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/gate"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// AuthMethod answers the auth method of a connection as its connector declares it now.
func (b *Broker) AuthMethod(ctx context.Context, s claviger.Scope, conn *claviger.Connection) (*claviger.AuthMethod, error) {
	connector, err := b.connector(ctx, s, conn.Connector, conn.ConnectorVersion)
	if err != nil {
		return nil, err
	}
	method, ok := connector.Method(conn.AuthMethod)
	if !ok {
		return nil, claviger.Invalid("authMethod", "unknown_auth_method", "The connector %s has no auth method %q.", connector.Key, conn.AuthMethod)
	}
	return method, nil
}

// RefreshMethod is [Broker.AuthMethod] for the vault, which refreshes by it.
//
// Errors: KindConflict "destination_changed", where the tokens were given for other hosts.
func (b *Broker) RefreshMethod(ctx context.Context, s claviger.Scope, conn *claviger.Connection) (*claviger.AuthMethod, error) {
	method, err := b.AuthMethod(ctx, s, conn)
	if err != nil {
		return nil, err
	}
	if moved := grantMoved(conn, method); moved != nil {
		return nil, moved
	}
	return method, nil
}

// grantOver reports whether a connection's grant has died, and whether its tokens are asked
// for without anybody's consent, so that another attempt does no harm.
func (b *Broker) grantOver(ctx context.Context, c claviger.Caller, conn *claviger.Connection) (dead, minted bool, err error) {
	if conn.RefreshAt.IsZero() {
		return false, false, nil
	}
	method, err := b.AuthMethod(ctx, c.Scope, conn)
	if err != nil {
		return false, false, err
	}
	g, err := b.db.Grant(ctx, c.Scope, conn.ID)
	if errors.Is(err, store.ErrNotFound) {
		return false, mints(method), nil
	}
	return vault.Ended(&g), mints(method), err
}

// Refreshed forgets a connection whose row the vault has just changed.
func (b *Broker) Refreshed(id claviger.ConnectionID) { b.lives.drop(id) }

// refuses reports whether an answer says that the access token is no longer accepted.
// body is nil where it belongs to the caller. 401 says so wherever the connector's own
// signals do not; 403 is about what the token may do, and no other token may do more.
func (l *live) refuses(status int, header http.Header, body []byte) bool {
	return status == http.StatusUnauthorized || catalog.Expired(l.connector, status, header, body)
}

// renewed answers the connection with another access token after the vendor refused the
// present one, or nil if there is none and the vendor's answer stands. A call renews
// once.
//
// Errors: KindReauthorize and KindTimeout, which say more than the vendor's answer.
func (b *Broker) renewed(ctx context.Context, t *gate.Ticket, l *live) (*live, error) {
	if l.method.OAuth == nil {
		return nil, nil
	}
	err := b.vault.Renew(ctx, t, &l.conn)
	b.lives.drop(l.conn.ID)
	switch {
	case claviger.IsKind(err, claviger.KindReauthorize), claviger.IsKind(err, claviger.KindTimeout):
		return nil, b.reconnectable(l.conn.ID, err)
	case err != nil:
		b.log.WarnContext(ctx, "a refused access token could not be renewed", "connection", string(l.conn.ID), "error", err)
		return nil, nil
	}
	next, err := b.load(ctx, t.Caller(), l.conn.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, claviger.NotFound("connection")
	}
	if err != nil {
		return nil, err
	}
	if refusal := next.refusal(b.publicURL, next.conn.Usage); refusal != nil {
		return nil, refusal
	}
	if next.conn.Revision == l.conn.Revision || next.conn.Destination != l.conn.Destination {
		return nil, nil
	}
	next.limiter = l.limiter
	return next, nil
}

// again says what helps a connection that the vendor no longer accepts.
func (l *live) again() string {
	if l.method != nil && mints(l.method) {
		return wayOut(l.method)
	}
	return "The connection's owner must connect again."
}

// reconnectable adds where the owner of a connection can connect again.
func (b *Broker) reconnectable(id claviger.ConnectionID, err error) error {
	if !claviger.IsKind(err, claviger.KindReauthorize) || b.publicURL == "" {
		return err
	}
	e := *claviger.AsError(err)
	for _, other := range e.References {
		id = claviger.ConnectionID(other.ID) // whose token was to be exchanged
	}
	if e.Path == "" { // of a missing secret, connecting again is no way out
		e.Reconnect = b.publicURL + "/connect/" + string(id)
	}
	return &e
}
