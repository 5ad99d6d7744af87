package broker

import (
	"cmp"
	"context"
	"slices"
	"time"

	"claviger"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// The kinds of [Expiration].
const (
	ExpiresAccess      = "accessToken"
	ExpiresRefresh     = "refreshToken"
	ExpiresIdle        = "idle"         // the refresh token, if nothing refreshes until then
	ExpiresCertificate = "certificate"  // of the OAuth client that the connection was made with
	ExpiresSecret      = "clientSecret" // of that client, as somebody said
)

// Expiration is something of a connection that comes to an end.
type Expiration struct {
	Connection claviger.Connection
	Kind       string
	At         time.Time
	// Known: the vendor, the certificate or who stored the secret named the time. Otherwise it follows from
	// what the connector says of the vendor's tokens.
	Known bool
	// Renews: claviger puts off this end by itself, and nobody has to do anything.
	Renews bool
}

// Expirations is the calendar of coming ends of the connections that the caller may see,
// the first at the front; of a filter only Workspace, Connector, Owner and the tag count.
// Ends that have passed are left out: their connections say so themselves.
func (b *Broker) Expirations(ctx context.Context, c claviger.Caller, f ConnectionFilter) ([]Expiration, error) {
	if err := b.gate.Check(ctx, c, claviger.ConnectionsRead, own(c, "connection", "")); err != nil {
		return nil, err
	}
	all, err := b.db.ExpiringConnections(ctx, c.Scope, visible(c, f))
	if err != nil {
		return nil, err
	}
	clients, err := b.clientEnds(ctx, c.Scope)
	if err != nil {
		return nil, err
	}
	now := b.now()
	var out []Expiration
	for _, x := range all {
		rules := &claviger.OAuth{}
		if method, err := b.AuthMethod(ctx, c.Scope, &x.Connection); err == nil && method.OAuth != nil {
			rules = method.OAuth // a document that is gone only costs the estimates
		}
		ends := ends(x, rules)
		if !slices.Contains(x.SecretKeys, "clientId") { // else it brings a client of its own
			ends = append(ends, endsOfClient(x.Connection, rules.ClientAuth, clients[[2]string{x.Connector, x.AuthMethod}])...)
		}
		for _, e := range ends {
			if e.At.After(now) {
				out = append(out, e)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Expiration) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Connection.ID, b.Connection.ID), cmp.Compare(a.Kind, b.Kind))
	})
	return out, nil
}

// ends answers what of a connection's tokens ends when.
func ends(x store.Expiring, rules *claviger.OAuth) (out []Expiration) {
	add := func(kind string, at time.Time, known, renews bool) {
		if !at.IsZero() {
			out = append(out, Expiration{Connection: x.Connection, Kind: kind, At: at, Known: known, Renews: renews})
		}
	}
	active := x.Status == claviger.StatusActive
	add(ExpiresAccess, x.ExpiresAt, true, active && x.RefreshAt.Before(x.ExpiresAt))
	if !slices.Contains(x.SecretKeys, vault.RefreshToken) {
		return out
	}
	last := x.Grant.LastRefreshedAt
	if last.IsZero() {
		last = x.CreatedAt
	}
	switch life := rules.Refresh.Lifetime; {
	case !x.Grant.RefreshExpiresAt.IsZero():
		add(ExpiresRefresh, x.Grant.RefreshExpiresAt, true, active && x.Grant.Rotates)
	case life > 0 && (rules.Refresh.Rotates || x.Grant.Rotates):
		add(ExpiresRefresh, last.Add(life), false, active)
	case life > 0: // the same token since somebody consented
		add(ExpiresRefresh, x.CreatedAt.Add(life), false, false)
	}
	if idle := rules.Refresh.IdleLimit; idle > 0 {
		add(ExpiresIdle, last.Add(idle), false, active && !x.Grant.KeepAt.IsZero())
	}
	return out
}

// clientEnds answers the organization's OAuth clients by connector and auth method.
func (b *Broker) clientEnds(ctx context.Context, s claviger.Scope) (map[[2]string]store.OAuthClient, error) {
	clients, err := b.db.OAuthClients(ctx, s)
	out := map[[2]string]store.OAuthClient{}
	for _, client := range clients {
		out[[2]string{client.Connector, client.AuthMethod}] = client
	}
	return out, err
}

// endsOfClient answers what of the OAuth client ends that a connection depends on.
func endsOfClient(conn claviger.Connection, auth claviger.ClientAuth, client store.OAuthClient) []Expiration {
	kind, at := "", time.Time{}
	switch auth {
	case claviger.TLSClientAuth:
		kind, at = ExpiresCertificate, client.CertificateEndsAt
	case claviger.ClientSecretBasic, claviger.ClientSecretPost:
		kind, at = ExpiresSecret, client.SecretEndsAt
	}
	if at.IsZero() {
		return nil
	}
	return []Expiration{{Connection: conn, Kind: kind, At: at, Known: true}}
}
