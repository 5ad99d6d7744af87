package authn

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"time"

	"claviger"
	"claviger/internal/store"
)

// Minted is a token that was made just now.
type Minted struct {
	Token        claviger.Secret
	ID           claviger.TokenID
	Organization claviger.OrganizationID
	Workspace    claviger.WorkspaceID // empty for operator tokens
	ExpiresIn    time.Duration
}

// MintOperator exchanges an application's client id and secret for an operator token
// of 15 minutes (the client credentials grant of RFC 6749, section 4.4).
//
// Errors: KindUnauthenticated for an unknown client and for a wrong secret alike,
// KindRateLimited after ten wrong ones for one client from one source.
func (a *Authority) MintOperator(ctx context.Context, clientID string, secret claviger.Secret, from claviger.Request) (Minted, error) {
	if clientID == "" || len(clientID) > maxName || secret.Empty() {
		_, err := a.refused(ctx, from, refuse("invalid_client"))
		return Minted{}, err
	}
	tries := clientID + "|" + source(from.Address)
	if wait := a.secrets.wait(tries); wait > 0 {
		e := claviger.Errorf(claviger.KindRateLimited, "too_many_attempts", "Too many wrong secrets for this client. Wait before trying again.")
		e.RetryAfter = wait
		return Minted{}, e
	}
	app, err := a.db.ApplicationByClientID(ctx, clientID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Minted{}, unavailable(err)
	}
	var given [sha256.Size]byte
	var chosen []byte
	secret.Use(func(b []byte) { given, chosen = sha256.Sum256(b), chosenHash(a.prints, b) })
	// An unknown client has an empty hash, which nothing equals.
	if subtle.ConstantTimeCompare(app.SecretHash, given[:])|subtle.ConstantTimeCompare(app.SecretHash, chosen) != 1 {
		a.secrets.allow(tries)
		_, err := a.refused(ctx, from, &refusedToken{code: "invalid_client", org: app.Organization, actor: string(app.ID)})
		return Minted{}, err
	}
	kind := a.kindOf(claviger.CallerOperator)
	caller := claviger.Caller{
		Kind: kind.kind, ID: string(app.ID), Role: kind.role, Permissions: kind.role.Permissions(),
		Scope: claviger.Authenticated(app.Organization, ""), From: from,
	}
	return a.mint(ctx, caller, kind, claviger.MintedToken{
		Organization: app.Organization, Subject: string(app.ID), MintedBy: string(app.ID),
	}, kind.life)
}

// chosenHash is what is kept of a client secret that a person chose: a keyed hash, for it
// may be guessed. One that was made has 256 random bits, and a plain hash gives nothing
// away.
func chosenHash(key claviger.Secret, secret []byte) (sum []byte) {
	key.Use(func(b []byte) {
		mac := hmac.New(sha256.New, b)
		_, _ = mac.Write([]byte("client secret\x00"))
		_, _ = mac.Write(secret)
		sum = mac.Sum(nil)
	})
	return sum
}

// mint stores the row of a token together with its ledger entry and signs it. The
// token is answered only when both are there.
func (a *Authority) mint(ctx context.Context, c claviger.Caller, k tokenKind, row claviger.MintedToken, life time.Duration) (Minted, error) {
	now := a.now()
	id, err := claviger.NewID(claviger.PrefixToken, now, a.random)
	if err != nil {
		return Minted{}, err
	}
	row.ID, row.Kind = claviger.TokenID(id), k.kind
	row.CreatedAt = now.Truncate(time.Second) // the token itself counts in seconds
	row.ExpiresAt = row.CreatedAt.Add(life)
	token, err := a.sign(ctx, k, row)
	if err != nil {
		return Minted{}, err
	}
	resource := claviger.Resource{Type: "token", ID: id, Organization: row.Organization}
	err = a.ledger.Change(ctx, c, claviger.TokensMint, resource, func(tx *store.Tx) error { return tx.CreateToken(ctx, c.Scope, row) })
	if err != nil {
		return Minted{}, err
	}
	return Minted{Token: token, ID: row.ID, Organization: row.Organization, Workspace: row.Workspace, ExpiresIn: life}, nil
}
