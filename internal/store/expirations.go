package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"claviger"
)

// Expiring is a living connection whose tokens come to an end, with its grant.
type Expiring struct {
	claviger.Connection
	Grant Grant
}

// maxExpiring bounds what Expiring answers.
const maxExpiring = 10_000

// ExpiringConnections answers the living connections of a filter that hold tokens, those
// whose tokens end first at the front, 10,000 at most.
func (db *DB) ExpiringConnections(ctx context.Context, s claviger.Scope, f ConnectionFilter) ([]Expiring, error) {
	w, err := f.conditions(s)
	if err != nil {
		return nil, err
	}
	w.and("refresh_at > 0 AND status <> 'pending'")
	condition := w.text.String()
	w.raw(" ORDER BY CASE WHEN expires_at = 0 THEN 1 ELSE 0 END, expires_at, id LIMIT ?", int64(maxExpiring))
	in, err := db.regionsOf(ctx, s, f.Workspace)
	if err != nil {
		return nil, orEmpty(err)
	}
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	var out []Expiring
	for _, d := range in {
		conns, err := many(ctx, d.reader(), scanConnection, "SELECT "+connectionColumns+" FROM connections WHERE "+w.text.String(), w.args...)
		if err != nil {
			return nil, err
		}
		// The condition's parameters come first in both statements.
		grants, err := many(ctx, d.reader(), scanGrant, "SELECT "+grantColumns+" FROM grants WHERE organization = $1 AND connection IN (SELECT id FROM connections WHERE "+
			condition+")", w.args[:len(w.args)-1]...)
		if err != nil {
			return nil, err
		}
		of := make(map[claviger.ConnectionID]Grant, len(grants))
		for _, g := range grants {
			of[g.Connection] = g
		}
		for _, conn := range conns {
			out = append(out, Expiring{Connection: conn, Grant: of[conn.ID]})
		}
	}
	return out, nil
}

// OAuthClients answers the organization's registrations at vendors, without secrets.
func (db *DB) OAuthClients(ctx context.Context, s claviger.Scope) ([]OAuthClient, error) {
	w, err := scoped(s, "")
	if err != nil {
		return nil, err
	}
	w.and("client_id <> ''")
	w.raw(" ORDER BY connector, auth_method LIMIT ?", int64(maxExpiring))
	return listControl(ctx, db, func(r row) (OAuthClient, error) { c, err := scanClient(r); return c.OAuthClient, err },
		"SELECT "+clientColumns+", sealed FROM oauth_clients WHERE "+w.text.String(), w.args...)
}

// NextDeath answers when, of all organizations, the next token ends that nothing renews
// and whose end the vendor named, or the next secret or certificate of an OAuth client; zero if there is none. It takes no scope: it is for the
// instance's metrics.
func (db *DB) NextDeath(ctx context.Context, now time.Time) (time.Time, error) {
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	var all []int64
	for _, d := range db.distinct {
		for _, statement := range []string{
			"SELECT refresh_expires_at FROM grants WHERE refresh_expires_at > 0 AND refresh_expires_at > $1 ORDER BY refresh_expires_at LIMIT 1",
			"SELECT expires_at FROM connections WHERE expires_at > 0 AND expires_at = refresh_at AND status <> 'revoked' AND expires_at > $1 ORDER BY expires_at LIMIT 1",
			"SELECT secret_ends_at FROM oauth_clients WHERE secret_ends_at > $1 ORDER BY secret_ends_at LIMIT 1",
			"SELECT certificate_ends_at FROM oauth_clients WHERE certificate_ends_at > $1 ORDER BY certificate_ends_at LIMIT 1",
		} {
			next, err := one(ctx, d.reader(), scanOne[int64], statement, millis(now))
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return time.Time{}, err
			}
			all = append(all, next)
		}
	}
	if len(all) == 0 {
		return time.Time{}, nil
	}
	return fromMillis(slices.Min(all)), nil
}
