package authn

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"claviger"
	"claviger/internal/store"
)

// SignIn lets a person in who knows their password, or half in if they have a second
// factor. An unknown address costs what a wrong password costs, and is told the same.
//
// Errors: KindUnauthenticated "wrong_password", KindRateLimited "too_many_attempts" after
// ten wrong ones for one address from one source: nobody can keep another from signing in
// elsewhere. KindUnavailable "busy" if too many sign in at once.
func (a *Authority) SignIn(ctx context.Context, email string, password claviger.Secret, v Visit) (SignedIn, error) {
	email = account(email)
	if email == "" || len(email) > maxName || password.Empty() {
		return SignedIn{}, a.wrongPassword(ctx, v, nil)
	}
	tries, from := email+"|"+source(v.From.Address), source(v.From.Address)
	if err := a.mayTry(tries, from); err != nil {
		return SignedIn{}, err
	}
	if err := a.hashing.enter(ctx); err != nil {
		return SignedIn{}, err
	}
	found, err := a.known(ctx, email, password, tries, from)
	a.hashing.leave()
	if err != nil {
		return SignedIn{}, err
	}
	if found.User.ID == "" || len(found.SignIn.Password) == 0 {
		return SignedIn{}, a.wrongPassword(ctx, v, &found.User)
	}
	if len(found.SignIn.Factor) > 0 {
		return a.openSession(ctx, &found.User, claviger.SessionHalf, "password", v, nil)
	}
	return a.openSession(ctx, &found.User, claviger.SessionProven, "password", v, nil)
}

// mayTry refuses what was tried too often, counting nothing.
func (a *Authority) mayTry(tries, from string) error {
	wait := max(a.passwords.wait(tries), a.sources.wait(from))
	if wait == 0 {
		return nil
	}
	e := claviger.Errorf(claviger.KindRateLimited, "too_many_attempts", "Too many wrong attempts. Wait %d seconds before the next one.", int(wait.Seconds())+1)
	e.RetryAfter = wait
	return e
}

// known finds who signs in with an address and a password. The answer is empty, or has
// only a user without a sign-in, if there is nobody. It is asked by one at a time, so that
// wrong attempts are counted before the next one is made.
func (a *Authority) known(ctx context.Context, email string, password claviger.Secret, tries, from string) (store.Candidate, error) {
	if err := a.mayTry(tries, from); err != nil {
		return store.Candidate{}, err
	}
	all, err := a.db.Candidates(ctx, email)
	if err != nil {
		return store.Candidate{}, unavailable(err)
	}
	if len(all) == 0 {
		passwordFits(password, "")
	}
	for _, c := range all {
		if passwordFits(password, c.SignIn.Password) {
			return c, nil
		}
	}
	a.passwords.allow(tries)
	a.sources.allow(from)
	if len(all) == 1 {
		return store.Candidate{User: all[0].User}, nil
	}
	return store.Candidate{}, nil
}

// account is the one form of an address that people write in many.
func account(email string) string {
	return strings.ToLower(strings.TrimSpace(norm.NFKC.String(email)))
}

func (a *Authority) wrongPassword(ctx context.Context, v Visit, u *claviger.User) error {
	r := refuse("wrong_password")
	if r.resource = "session"; u != nil {
		r.org, r.actor = u.Organization, string(u.ID)
	}
	_, _ = a.refused(ctx, v.From, r)
	return claviger.Errorf(claviger.KindUnauthenticated, "wrong_password", "The e-mail address or the password is wrong.")
}

// SecondFactor makes a half session a whole one, under a new id, by a code of the app or
// one of the recovery codes, each of which counts once.
//
// Errors: KindUnauthenticated "wrong_code", KindRateLimited after five wrong ones,
// KindUnauthenticated "signed_out" if no half session is there any more.
func (a *Authority) SecondFactor(ctx context.Context, code string, v Visit) (SignedIn, error) {
	s, who, err := a.session(ctx, v.Cookie)
	if err != nil {
		return SignedIn{}, err
	}
	if s.Stage != claviger.SessionHalf {
		return SignedIn{}, signedOut()
	}
	tries := "factor|" + string(who.User.ID)
	if wait := a.factors.wait(tries); wait > 0 {
		e := claviger.Errorf(claviger.KindRateLimited, "too_many_attempts", "Too many wrong codes. Wait %d seconds before the next one.", int(wait.Seconds())+1)
		e.RetryAfter = wait
		return SignedIn{}, e
	}
	use, proof, err := a.factorUse(&who, code)
	if err != nil {
		return SignedIn{}, err
	}
	if use != nil {
		out, err := a.openSession(ctx, &who.User, claviger.SessionProven, proof, v, func(tx *store.Tx) error {
			return tx.PutSignIn(ctx, claviger.Authenticated(who.User.Organization, ""), who.User.ID, use)
		})
		if !errors.Is(err, errUsedCode) {
			return out, err
		}
	}
	a.factors.allow(tries)
	r := refuse("wrong_code")
	r.resource, r.org, r.actor = "session", who.User.Organization, string(who.User.ID)
	_, _ = a.refused(ctx, v.From, r)
	return SignedIn{}, claviger.Errorf(claviger.KindUnauthenticated, "wrong_code", "This code is wrong, or was used already. Enter the next one that the app shows.")
}

// errUsedCode says that a code was used between the look and the change.
var errUsedCode = errors.New("authn: the code was used")

// factorUse answers what taking a code changes; nil if it is none of the person's.
func (a *Authority) factorUse(who *store.Candidate, code string) (use func(claviger.SignIn) (claviger.SignIn, error), proof string, err error) {
	secret, err := a.sealer.OpenInstance(factorName(who.User.ID), who.SignIn.Factor)
	if err != nil {
		return nil, "", unavailable(err)
	}
	if step, ok := factorFits(secret, code, who.SignIn.Step, a.now()); ok {
		return func(now claviger.SignIn) (claviger.SignIn, error) {
			if now.Step >= step {
				return now, errUsedCode
			}
			now.Step = step
			return now, nil
		}, "password+totp", nil
	}
	hash := recoveryHash(code)
	is := func(h []byte) bool { return subtle.ConstantTimeCompare(h, hash) == 1 }
	if !slices.ContainsFunc(who.SignIn.Recovery, is) {
		return nil, "", nil
	}
	return func(now claviger.SignIn) (claviger.SignIn, error) {
		left := slices.DeleteFunc(slices.Clone(now.Recovery), is)
		if len(left) == len(now.Recovery) {
			return now, errUsedCode
		}
		now.Recovery = left
		return now, nil
	}, "password+recovery", nil
}

// factorName binds a sealed second factor to its person.
func factorName(id claviger.UserID) string { return "factor/" + string(id) }

// fresh refuses to change how a person signs in, unless they did so just now: a session
// that somebody else got hold of must not become theirs for good.
func (a *Authority) fresh(in Seated) error {
	if a.now().Sub(in.Session.CreatedAt) < freshFor {
		return nil
	}
	return claviger.Errorf(claviger.KindConflict, "sign_in_again", "You signed in more than %d minutes ago. Sign in again to change how you sign in.", int(freshFor/time.Minute))
}

// OfferFactor answers a new secret for an authenticator app, as text and as the address
// that a picture of it says. Nothing is kept until [Authority.AddFactor] proves that the
// app has it.
func (a *Authority) OfferFactor(in Seated, issuer string) (secret, uri string, err error) {
	if err := a.fresh(in); err != nil {
		return "", "", err
	}
	secret, err = newFactor(a.random)
	return secret, factorURI(secret, issuer, in.User.Email), err
}

// FactorURI answers the address of a secret that was offered before.
func (a *Authority) FactorURI(in Seated, issuer, secret string) string {
	return factorURI(secret, issuer, in.User.Email)
}

// AddFactor makes the person's sign-in ask for a second factor, whose first code is given.
// It answers the recovery codes, this once, and a new session; all others end.
//
// Errors: KindInvalid with Param code or secret, KindConflict "sign_in_again".
func (a *Authority) AddFactor(ctx context.Context, in Seated, secret, code string, v Visit) ([]string, SignedIn, error) {
	if err := a.fresh(in); err != nil {
		return nil, SignedIn{}, err
	}
	raw, err := readFactor(secret)
	if err != nil {
		return nil, SignedIn{}, claviger.Invalid("secret", "invalid_format", "This is not the secret of the page. Start again.")
	}
	step, ok := factorFits(raw, code, 0, a.now())
	if !ok {
		return nil, SignedIn{}, claviger.Invalid("code", "wrong_code", "This is not the code that the app shows now. Check the time of your device.")
	}
	sealed, err := a.sealer.SealInstance(factorName(in.User.ID), raw)
	if err != nil {
		return nil, SignedIn{}, err
	}
	shown, hashes, err := newRecovery(a.random)
	if err != nil {
		return nil, SignedIn{}, err
	}
	proof := in.Session.Proof
	if proof == "password" || proof == "link" {
		proof += "+totp"
	}
	out, err := a.rewrite(ctx, in, v, proof, func(now claviger.SignIn) (claviger.SignIn, error) {
		now.Factor, now.Step, now.Recovery = sealed, step, hashes
		return now, nil
	})
	return shown, out, err
}

// DropFactor makes the person's sign-in ask for the password alone.
func (a *Authority) DropFactor(ctx context.Context, in Seated, v Visit) (SignedIn, error) {
	if err := a.fresh(in); err != nil {
		return SignedIn{}, err
	}
	first, _, _ := strings.Cut(in.Session.Proof, "+")
	return a.rewrite(ctx, in, v, first, func(now claviger.SignIn) (claviger.SignIn, error) {
		now.Factor, now.Step, now.Recovery = nil, 0, nil
		return now, nil
	})
}

// ChangePassword replaces the person's password. All their other sessions end.
//
// Errors: KindInvalid with Param password, KindConflict "sign_in_again".
func (a *Authority) ChangePassword(ctx context.Context, in Seated, password claviger.Secret, v Visit) (SignedIn, error) {
	if err := a.fresh(in); err != nil {
		return SignedIn{}, err
	}
	hash, err := a.newPassword(ctx, password, in.User.Name, in.User.Email)
	if err != nil {
		return SignedIn{}, err
	}
	return a.rewrite(ctx, in, v, in.Session.Proof, func(now claviger.SignIn) (claviger.SignIn, error) {
		now.Password = hash
		return now, nil
	})
}

// newPassword checks a password and hashes it, when its turn comes.
func (a *Authority) newPassword(ctx context.Context, password claviger.Secret, own ...string) (string, error) {
	if err := checkPassword(password, own...); err != nil {
		return "", err
	}
	if err := a.hashing.enter(ctx); err != nil {
		return "", err
	}
	defer a.hashing.leave()
	return hashPassword(password, a.random)
}

// rewrite is [Authority.renew] for what stands in the person's sign-in.
func (a *Authority) rewrite(ctx context.Context, in Seated, v Visit, proof string, change func(claviger.SignIn) (claviger.SignIn, error)) (SignedIn, error) {
	return a.renew(ctx, in, v, proof, func(tx *store.Tx, s claviger.Scope) error { return tx.PutSignIn(ctx, s, in.User.ID, change) })
}

// renew changes how a person signs in, ends all their sessions and gives this browser a
// new one: what was known of the old ones is worth nothing.
func (a *Authority) renew(ctx context.Context, in Seated, v Visit, proof string, write func(*store.Tx, claviger.Scope) error) (SignedIn, error) {
	c := person(&in.User, v.From)
	err := a.ledger.Change(ctx, c, claviger.SignInsUpdate, userResource(&in.User), func(tx *store.Tx) error {
		if _, err := tx.EndSessions(ctx, c.Scope, in.User.ID); err != nil {
			return err
		}
		return write(tx, c.Scope)
	})
	if err != nil {
		return SignedIn{}, err
	}
	return a.openSession(ctx, &in.User, claviger.SessionProven, proof, v, nil)
}

func userResource(u *claviger.User) claviger.Resource {
	return claviger.Resource{Type: "user", ID: string(u.ID), Organization: u.Organization}
}
