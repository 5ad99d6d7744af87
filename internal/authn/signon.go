package authn

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/store"
)

// SignOnKeys bind a browser's way to its provider and back to that browser: all three are
// made from its cookie, so that who lacks it can neither begin nor end for somebody else.
type SignOnKeys struct {
	State    string          // RFC 6749, section 10.12
	Nonce    string          // OpenID Connect Core, section 3.1.2.1
	Verifier claviger.Secret // RFC 7636
}

func signOnKeys(cookie string) SignOnKeys {
	derive := func(what string) string {
		mac := hmac.New(sha256.New, []byte(cookie))
		mac.Write([]byte("claviger single sign-on " + what))
		return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	return SignOnKeys{State: derive("state"), Nonce: derive("nonce"), Verifier: claviger.NewSecretString(derive("verifier"))}
}

// SignOn is single sign-on that a browser has begun: at which organization's provider, to
// link whom (empty: to sign in), and where the person goes then.
type SignOn struct {
	Organization claviger.OrganizationID
	Link         claviger.UserID
	Next         string
}

// BeginSignOn notes that a browser leaves for a provider and answers its cookie.
func (a *Authority) BeginSignOn(ctx context.Context, what SignOn, v Visit) (claviger.Secret, SignOnKeys, error) {
	cookie, err := a.beginCeremony(ctx, kindSignOn, what, v)
	return claviger.NewSecretString(cookie), signOnKeys(cookie), err
}

// EndSignOn answers what the browser of a cookie began, once.
//
// Errors: KindUnauthenticated "ceremony_over".
func (a *Authority) EndSignOn(ctx context.Context, cookie string) (what SignOn, keys SignOnKeys, err error) {
	err = a.takeCeremony(ctx, kindSignOn, cookie, &what)
	return what, signOnKeys(cookie), err
}

// Linked reports whether the person signs in by single sign-on.
func (a *Authority) Linked(ctx context.Context, in Seated) (bool, error) {
	return a.db.Linked(ctx, in.Caller.Scope, in.User.ID)
}

// SignInByProvider lets in the person of an identity that was verified just now. The first
// time, it becomes that of a person who was invited by its verified address and has no
// way to sign in yet, or of a new person, if the organization gives those a role. An
// address alone never leads to somebody who signs in otherwise: addresses pass on.
//
// Errors: KindDenied "sign_on_over", "not_invited", "email_not_verified",
// "email_not_allowed", "sign_in_to_link", "account_disabled".
func (a *Authority) SignInByProvider(ctx context.Context, x claviger.Identity, v Visit) (SignedIn, error) {
	scope := claviger.Authenticated(x.Organization, "")
	id, err := a.personOf(ctx, scope, x, v)
	if err != nil {
		return SignedIn{}, a.signOnRefused(ctx, x, v, err)
	}
	who, err := a.db.CandidateByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return SignedIn{}, a.signOnRefused(ctx, x, v, claviger.Errorf(claviger.KindDenied, "account_disabled", "Your account here is disabled. Ask an administrator of your organization."))
	}
	if err != nil {
		return SignedIn{}, unavailable(err)
	}
	out, err := a.openSession(ctx, &who.User, claviger.SessionProven, claviger.ProofSingleSignOn, v, func(tx *store.Tx) error {
		if _, err := offered(ctx, tx, scope, x); err != nil {
			return err
		}
		now, err := tx.PersonOf(ctx, scope, x.Issuer, x.Subject)
		if errors.Is(err, store.ErrNotFound) || err == nil && now != id {
			return signOnOver()
		}
		return err
	})
	return out, a.signOnRefused(ctx, x, v, err)
}

// errChanged says that a person changed between the look and the change.
var errChanged = errors.New("authn: the person changed")

func signOnOver() *claviger.Error {
	return claviger.Errorf(claviger.KindDenied, "sign_on_over", "Your organization does not use this provider any more. Sign in another way.")
}

// offered answers the organization's provider, if it is still the one that vouches for x.
func offered(ctx context.Context, tx *store.Tx, s claviger.Scope, x claviger.Identity) (claviger.SingleSignOn, error) {
	by, err := tx.HoldSingleSignOn(ctx, s)
	if errors.Is(err, store.ErrNotFound) || err == nil && by.Issuer != x.Issuer {
		return by, signOnOver()
	}
	return by, err
}

// personOf answers whose identity x is, or becomes now.
func (a *Authority) personOf(ctx context.Context, s claviger.Scope, x claviger.Identity, v Visit) (id claviger.UserID, err error) {
	var u claviger.User
	var by claviger.SingleSignOn
	err = a.db.InTx(ctx, "", func(tx *store.Tx) (err error) {
		if by, err = offered(ctx, tx, s, x); err != nil {
			return err
		}
		if id, err = tx.PersonOf(ctx, s, x.Issuer, x.Subject); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		u, err = expected(ctx, tx, s, by, x)
		return err
	})
	switch {
	case err != nil || id != "":
		return id, err
	case u.ID != "":
		c := person(&u, v.From)
		return u.ID, a.ledger.Change(ctx, c, claviger.SignInsUpdate, userResource(&u), func(tx *store.Tx) error {
			now, err := offered(ctx, tx, s, x)
			if err != nil {
				return err
			}
			if again, err := expected(ctx, tx, s, now, x); err != nil || again.ID != u.ID {
				return cmp.Or(err, errChanged)
			}
			return link(ctx, tx, s, u.ID, x)
		})
	}
	return a.newcomer(ctx, s, by, x, v)
}

// expected answers the invited person of a verified address; nobody, if a newcomer gets a
// role.
func expected(ctx context.Context, tx *store.Tx, s claviger.Scope, by claviger.SingleSignOn, x claviger.Identity) (claviger.User, error) {
	email, err := addressOf(by, x)
	if err != nil {
		return claviger.User{}, err
	}
	u, settled, err := tx.Namesake(ctx, s, email)
	switch {
	case errors.Is(err, store.ErrNotFound) && by.DefaultRole == "":
		return u, claviger.Errorf(claviger.KindDenied, "not_invited", "Your provider knows you, but nobody has invited you here. Ask an administrator of your organization.")
	case errors.Is(err, store.ErrNotFound):
		return claviger.User{}, nil
	case err != nil:
		return u, err
	case u.Disabled:
		return u, claviger.Errorf(claviger.KindDenied, "account_disabled", "Your account here is disabled. Ask an administrator of your organization.")
	case settled:
		return u, claviger.Errorf(claviger.KindDenied, "sign_in_to_link", "Somebody with this e-mail address signs in here already. If that is you, sign in as before and link single sign-on under Your account.")
	}
	return u, nil
}

// addressOf answers the address by which a person is found the first time.
func addressOf(by claviger.SingleSignOn, x claviger.Identity) (string, error) {
	if x.Email == "" {
		return "", claviger.Errorf(claviger.KindDenied, "email_not_verified", "Your provider names no e-mail address of yours that it has verified, so nobody here can be found by it.")
	}
	email, err := checkAddress(x.Email)
	_, domain, _ := strings.Cut(email, "@")
	if err != nil || len(by.AllowedDomains) > 0 && !slices.Contains(by.AllowedDomains, domain) {
		return "", claviger.Errorf(claviger.KindDenied, "email_not_allowed", "Your e-mail address at the provider is none of your organization's.")
	}
	return email, nil
}

func link(ctx context.Context, tx *store.Tx, s claviger.Scope, id claviger.UserID, x claviger.Identity) error {
	if err := tx.LinkIdentity(ctx, s, id, x); err != nil {
		return err
	}
	return tx.PutSignIn(ctx, s, id, func(old claviger.SignIn) (claviger.SignIn, error) { return old, nil })
}

// newcomer makes a person of an identity whom nobody invited. Nobody becomes an owner so.
func (a *Authority) newcomer(ctx context.Context, s claviger.Scope, by claviger.SingleSignOn, x claviger.Identity, v Visit) (claviger.UserID, error) {
	id, err := claviger.NewID(claviger.PrefixUser, a.now(), a.random)
	if err != nil {
		return "", err
	}
	email, err := addressOf(by, x)
	if err != nil {
		return "", err
	}
	name, _, err := CanonicalName("name", x.Name)
	if err != nil {
		name = email
	}
	now := a.now()
	u := claviger.User{ID: claviger.UserID(id), Organization: x.Organization, Name: name, Email: email, Version: 1, CreatedAt: now, UpdatedAt: now}
	rights, _ := claviger.PermissionsOf(claviger.UsersCreate)
	c := claviger.Caller{Kind: claviger.CallerSystem, ID: "single-sign-on", Scope: s, Permissions: rights, From: v.From}
	return u.ID, a.ledger.Change(ctx, c, claviger.UsersCreate, userResource(&u), func(tx *store.Tx) error {
		now, err := offered(ctx, tx, s, x)
		if err != nil {
			return err
		}
		if now.DefaultRole == "" || now.DefaultRole == claviger.RoleOwner {
			return errChanged
		}
		u.Role = now.DefaultRole
		if err := tx.CreateUser(ctx, s, u); err != nil {
			return err
		}
		return link(ctx, tx, s, u.ID, x)
	})
}

// signOnRefused writes a refusal down, and answers it.
func (a *Authority) signOnRefused(ctx context.Context, x claviger.Identity, v Visit, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, store.ErrConflict) || errors.Is(err, errChanged) {
		err = claviger.Errorf(claviger.KindConflict, "try_again", "Somebody changed your account at this very moment. Sign in again.")
	}
	e := claviger.AsError(err)
	if e.Kind == claviger.KindDenied {
		r := refuse(e.FineCode())
		r.resource, r.org = "session", x.Organization
		_, _ = a.refused(ctx, v.From, r)
	}
	return err
}

// LinkProvider makes an identity that was verified just now that of a person who is signed
// in. All other sessions of the person end.
//
// Errors: KindConflict "sign_in_again", "identity_taken"; KindDenied "sign_on_over".
func (a *Authority) LinkProvider(ctx context.Context, in Seated, x claviger.Identity, v Visit) (SignedIn, error) {
	if err := a.fresh(in); err != nil {
		return SignedIn{}, err
	}
	if x.Organization != in.User.Organization {
		return SignedIn{}, signOnOver()
	}
	out, err := a.renew(ctx, in, v, in.Session.Proof, func(tx *store.Tx, s claviger.Scope) error {
		if _, err := offered(ctx, tx, s, x); err != nil {
			return err
		}
		return link(ctx, tx, s, in.User.ID, x)
	})
	if errors.Is(err, store.ErrConflict) {
		err = claviger.Errorf(claviger.KindConflict, "identity_taken", "This account of the provider is somebody's here already, or you have linked another one.")
	}
	return out, err
}

// UnlinkProvider takes the person's single sign-on away. The last way to sign in stays.
//
// Errors: KindConflict "sign_in_again" and "last_way_in", KindNotFound.
func (a *Authority) UnlinkProvider(ctx context.Context, in Seated, v Visit) (SignedIn, error) {
	if err := a.fresh(in); err != nil {
		return SignedIn{}, err
	}
	kept, err := a.Passkeys(ctx, in)
	if err != nil {
		return SignedIn{}, err
	}
	if len(kept) == 0 && !in.Password {
		return SignedIn{}, lastWayIn()
	}
	proof := in.Session.Proof
	if proof == claviger.ProofSingleSignOn {
		return SignedIn{}, claviger.Errorf(claviger.KindConflict, "sign_in_otherwise", "You signed in by single sign-on. Sign in another way first, to be sure that you can.")
	}
	return a.renew(ctx, in, v, proof, func(tx *store.Tx, s claviger.Scope) error {
		err := tx.UnlinkIdentity(ctx, s, in.User.ID)
		if errors.Is(err, store.ErrNotFound) {
			return claviger.NotFound("identity")
		}
		return err
	})
}
