package vault

import (
	"maps"
	"slices"
	"time"

	"claviger"
	"claviger/internal/store"
)

// keepEvery is how often a token that dies of idleness is refreshed although nobody uses
// it.
const keepEvery = 24 * time.Hour

// Issued takes the tokens of an authorization server into a connection: it sets ExpiresAt,
// RefreshAt, GrantedScopes and SecretKeys of conn and answers what to seal into it and
// the grant to keep beside it ([store.Tx.PutGrant]). old are the connection's values so
// far, nil for none; those that are no tokens stay. Without a new refresh token the old
// one stays. requested are the scopes that were asked for, which stand for the granted
// ones where the answer names none. The caller sets Revision and Status.
func (v *Vault) Issued(conn *claviger.Connection, rules *claviger.OAuth, tokens claviger.Tokens, requested []string, old claviger.Credentials) (claviger.Credentials, store.Grant) {
	creds := claviger.Credentials{}
	maps.Copy(creds, old)
	creds[AccessToken] = tokens.Access
	creds[TokenType] = claviger.NewSecretString(tokens.Type)
	if !tokens.Refresh.Empty() {
		creds[RefreshToken] = tokens.Refresh
	}
	if !tokens.ID.Empty() {
		creds[IDToken] = tokens.ID
	}
	conn.SecretKeys = slices.Sorted(maps.Keys(creds))
	if conn.GrantedScopes = tokens.Scopes; tokens.Scopes == nil {
		conn.GrantedScopes = requested
	}
	renewable := mints(rules) || !creds[RefreshToken].Empty()
	conn.ExpiresAt, conn.RefreshAt = expiry(tokens, renewable)
	grant := store.Grant{
		Organization: conn.Organization, Connection: conn.ID, State: store.GrantIdle, IssuedAt: tokens.IssuedAt, ExpiresAt: conn.ExpiresAt,
		RefreshExpiresAt: tokens.RefreshExpiresAt, LastRefreshedAt: tokens.IssuedAt, RequestedScopes: requested,
	}
	if limit := rules.Refresh.IdleLimit; limit > 0 && !creds[RefreshToken].Empty() {
		grant.KeepAt = tokens.IssuedAt.Add(v.jitter(min(keepEvery, limit/2)))
	}
	return creds, grant
}

// expiry answers when an access token ends and when it is to be refreshed: ahead of its
// end by a tenth of its lifetime, at least a minute, at most half the lifetime. A token
// whose lifetime is unknown, or is said to be nothing although the vendor has just
// issued it, is used until the vendor refuses it: anything else would ask for tokens
// without end.
func expiry(tokens claviger.Tokens, renewable bool) (expires, refresh time.Time) {
	lifetime := tokens.ExpiresAt.Sub(tokens.IssuedAt)
	if tokens.ExpiresAt.IsZero() || lifetime <= 0 {
		return time.Time{}, time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)
	}
	if !renewable {
		return tokens.ExpiresAt, tokens.ExpiresAt
	}
	ahead := min(max(lifetime/10, time.Minute), lifetime/2)
	return tokens.ExpiresAt, tokens.ExpiresAt.Add(-ahead)
}

// mints reports whether a grant is repeated instead of refreshed: nothing of it is used
// up by a request.
func mints(rules *claviger.OAuth) bool { return rules.Grant.Unattended() }
