package broker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// reprove takes what the OAuth client that a connection brings proves itself with, where a
// person consented to its tokens. They stay, and the client's id with them, which they
// were issued to. Whether the vendor accepts the new secret shows at the next refresh.
func (r *renewal) reprove(ctx context.Context) error {
	l := r.live
	_, other := r.in.Credentials[catalog.ClientID]
	if other || r.sealed == nil || slices.Contains(r.in.ClearCredentials, catalog.ClientID) {
		return tokensStay(true)
	}
	if err := r.merge(ctx); err != nil {
		return err
	}
	fields := maps.Clone(r.creds)
	maps.DeleteFunc(fields, func(name string, _ claviger.Secret) bool {
		_, declared := l.method.Field(name)
		_, given := r.in.Credentials[name]
		return !declared && !given
	})
	var err error
	if r.warnings, err = catalog.CheckCredentials(l.method, fields); err != nil {
		return err
	}
	if err := describeCredentials(l, fields); err != nil {
		return err
	}
	r.warnings = append(r.warnings, "The vendor sees the new client secret at the next refresh of the tokens.")
	l.conn.SecretKeys, l.conn.Revision, r.idle = slices.Sorted(maps.Keys(r.creds)), r.old.Revision+1, true
	return nil
}

// atRest refuses a change of what tokens are refreshed with while a refresh is under way:
// one that runs would write back what it has read, and one that was cut off belongs to
// the revision that it was begun with. Otherwise the next refresh need not wait.
func atRest(ctx context.Context, tx *store.Tx, s claviger.Scope, id claviger.ConnectionID) error {
	g, err := tx.LeaseGrant(ctx, s, id, "update", time.Minute)
	switch {
	case errors.Is(err, store.ErrLeased), err == nil && g.State != store.GrantIdle && g.State != store.GrantUncertain:
		e := claviger.Errorf(claviger.KindConflict, "refresh_under_way", "The connection's tokens are being refreshed. Repeat the change in a moment.")
		e.RetryAfter = 5 * time.Second
		return e
	case err != nil:
		return err
	case g.State == store.GrantUncertain:
		return tokensStay(true)
	}
	_, err = tx.UpdateGrant(ctx, s, id, g.Fence, func(g *store.Grant, _ time.Time) {
		if g.Failures, g.RetryAt = 0, (time.Time{}); !vault.Ended(g) { // another client does not bring a dead token back
			g.Cause = ""
		}
	})
	if err != nil {
		return err
	}
	return tx.ReleaseGrant(ctx, s, id, g.Fence)
}
