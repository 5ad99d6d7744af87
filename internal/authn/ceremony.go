package authn

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"claviger"
	"claviger/internal/store"
)

const (
	ceremonyPrefix = "clv_ceremony_"
	// ceremonyLife is how long a person has at their authenticator, or at the provider.
	ceremonyLife = 10 * time.Minute
)

// The kinds of ceremony: one that was begun as one is not ended as another.
const (
	kindPasskey      = "passkey"
	kindAddPasskey   = "add-passkey"
	kindSetUpPasskey = "set-up-passkey"
	kindSignOn       = "single-sign-on"
)

// beginCeremony notes what a browser begins and answers the cookie by which it ends it.
// Anybody may begin, so each source is given its pace.
func (a *Authority) beginCeremony(ctx context.Context, kind string, body any, v Visit) (string, error) {
	if tries := source(v.From.Address); !a.ceremonies.allow(tries) {
		e := claviger.Errorf(claviger.KindRateLimited, "too_many_attempts", "Too many attempts. Wait a little.")
		e.RetryAfter = a.ceremonies.wait(tries)
		return "", e
	}
	cookie, hash, err := newToken(ceremonyPrefix, a.random)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	c := claviger.Ceremony{Hash: hash, Kind: kind, Body: string(text), ExpiresAt: a.now().Add(ceremonyLife)}
	return cookie, a.db.InTx(ctx, "", func(tx *store.Tx) error { return tx.CreateCeremony(ctx, c) })
}

// takeCeremony ends what a browser began, once.
//
// Errors: KindUnauthenticated "ceremony_over".
func (a *Authority) takeCeremony(ctx context.Context, kind, cookie string, body any) error {
	over := claviger.Errorf(claviger.KindUnauthenticated, "ceremony_over", "This took too long, or was begun in another window. Start again.")
	if !wellFormed(ceremonyPrefix, cookie) {
		return over
	}
	var c claviger.Ceremony
	err := a.db.InTx(ctx, "", func(tx *store.Tx) (err error) {
		c, err = tx.TakeCeremony(ctx, HashToken(cookie), kind, a.now())
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return over
	}
	if err != nil {
		return unavailable(err)
	}
	return json.Unmarshal([]byte(c.Body), body)
}
