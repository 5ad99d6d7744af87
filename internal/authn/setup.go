package authn

import (
	"context"
	"errors"
	"io"
	"net/mail"
	"strings"
	"time"

	"claviger"
	"claviger/internal/store"
)

const (
	setupPrefix = "clv_setup_"
	setupLife   = 24 * time.Hour
	// founderEmail is the address of an owner whom nobody has named yet: the link asks.
	founderEmail = "owner@localhost"
)

// NewSetupLink makes a link by which a person chooses, once and within a day, how they
// sign in: the token of its address and what is kept of it.
func NewSetupLink(organization claviger.OrganizationID, user claviger.UserID, now time.Time, random io.Reader) (claviger.Secret, claviger.SetupLink, error) {
	text, hash, err := newToken(setupPrefix, random)
	return claviger.NewSecretString(text), claviger.SetupLink{Hash: hash, Organization: organization, User: user, ExpiresAt: now.Add(setupLife)}, err
}

// Setup is what a link is for.
type Setup struct {
	User    claviger.User
	Unnamed bool // the person gives a name and an address too
	link    claviger.SetupLink
}

func linkOver() *claviger.Error {
	return claviger.Errorf(claviger.KindNotFound, "link_over", "This link was used, is older than a day, or never existed. Ask who sent it for a new one; the operator of the server makes one for its owner with claviger serve --owner-link.")
}

// Setup answers what a link is for and changes nothing, however often it is asked: mail
// programs follow links too.
func (a *Authority) Setup(ctx context.Context, token string, from claviger.Request) (Setup, error) {
	if !wellFormed(setupPrefix, token) {
		return Setup{}, linkOver()
	}
	l, err := a.db.SetupLinkByHash(ctx, HashToken(token))
	if err == nil && a.now().Before(l.ExpiresAt) {
		var u claviger.User
		if u, err = a.db.UserByID(ctx, l.User); err == nil && !u.Disabled {
			return Setup{User: u, Unnamed: u.Email == founderEmail, link: l}, nil
		}
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Setup{}, unavailable(err)
	}
	r := refuse("unknown_setup_link")
	r.resource = "session"
	_, _ = a.refused(ctx, from, r)
	return Setup{}, linkOver()
}

// Chosen is what a person fills in at their link. Name and Email count for an unnamed one
// alone.
type Chosen struct {
	Name, Email string
	Password    claviger.Secret
}

// SetUp uses a link up: the password becomes the person's, and all else by which they
// signed in before is gone with all their sessions: second factor, passkeys, single
// sign-on. This browser is signed in. Of several at once, one gets it.
//
// Errors: KindNotFound "link_over", KindInvalid with Param name, email or password.
func (a *Authority) SetUp(ctx context.Context, token string, in Chosen, v Visit) (SignedIn, error) {
	s, u, err := a.named(ctx, token, in, v)
	if err != nil {
		return SignedIn{}, err
	}
	hash, err := a.newPassword(ctx, in.Password, u.Name, u.Email)
	if err != nil {
		return SignedIn{}, err
	}
	return a.useLink(ctx, s, u, hash, nil, v)
}

// named answers what a link is for and its person as they are named from then on.
func (a *Authority) named(ctx context.Context, token string, in Chosen, v Visit) (Setup, claviger.User, error) {
	s, err := a.Setup(ctx, token, v.From)
	u := s.User
	if err != nil || !s.Unnamed {
		return s, u, err
	}
	if u.Name, _, err = CanonicalName("name", in.Name); err != nil {
		return s, u, err
	}
	u.Email, err = checkAddress(in.Email)
	return s, u, err
}

// useLink makes the password, or the passkey, the only way in of a link's person.
func (a *Authority) useLink(ctx context.Context, s Setup, u claviger.User, password string, key *claviger.Passkey, v Visit) (SignedIn, error) {
	c := person(&u, v.From)
	err := a.ledger.Change(ctx, c, claviger.SignInsUpdate, userResource(&u), func(tx *store.Tx) error {
		err := tx.TakeSetupLink(ctx, c.Scope, s.link.Hash)
		if errors.Is(err, store.ErrNotFound) {
			return linkOver()
		}
		if err != nil {
			return err
		}
		if err := a.settle(ctx, tx, c.Scope, u, password); err != nil || key == nil {
			return err
		}
		return tx.CreatePasskey(ctx, c.Scope, *key)
	})
	if errors.Is(err, store.ErrConflict) {
		return SignedIn{}, claviger.Invalid("email", "taken", "Another person of your organization has this address.")
	}
	if err != nil {
		return SignedIn{}, err
	}
	return a.openSession(ctx, &u, claviger.SessionProven, "link", v, nil)
}

// settle writes what a person chose and takes all else away by which they signed in.
func (a *Authority) settle(ctx context.Context, tx *store.Tx, s claviger.Scope, u claviger.User, password string) error {
	_, err := tx.UpdateUser(ctx, s, u.ID, func(old claviger.User) (claviger.User, error) {
		old.Name, old.Email = u.Name, u.Email
		return old, nil
	})
	if err != nil {
		return err
	}
	if _, err := tx.EndSessions(ctx, s, u.ID); err != nil {
		return err
	}
	if _, err := tx.DeletePasskeys(ctx, s, u.ID); err != nil {
		return err
	}
	if err := tx.UnlinkIdentity(ctx, s, u.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return tx.PutSignIn(ctx, s, u.ID, func(claviger.SignIn) (claviger.SignIn, error) { return claviger.SignIn{Password: password}, nil })
}

func checkAddress(email string) (string, error) {
	email = account(email)
	a, err := mail.ParseAddress(email)
	if err != nil || a.Address != email || len(email) > 254 || strings.Count(email, "@") != 1 || email == founderEmail {
		return "", claviger.Invalid("email", "invalid_format", "An e-mail address is needed, for example ada@example.com.")
	}
	return email, nil
}

// OwnerLink makes a new link for an organization's first owner, in place of the one
// before: for the operator of the server, who holds the database and the master key in any
// case. It answers the link's token.
func (a *Authority) OwnerLink(ctx context.Context, organization claviger.OrganizationID) (claviger.Secret, error) {
	rights, _ := claviger.PermissionsOf(claviger.SignInsUpdate)
	c := claviger.Caller{Kind: claviger.CallerSystem, ID: "operator", Scope: claviger.Authenticated(organization, ""), Permissions: rights}
	page := store.Page{Limit: 100}
	for {
		people, err := a.db.Users(ctx, c.Scope, page)
		if err != nil {
			return claviger.Secret{}, err
		}
		for _, u := range people {
			page.After = string(u.ID)
			if u.Role != claviger.RoleOwner || u.Disabled {
				continue
			}
			token, link, err := NewSetupLink(organization, u.ID, a.now(), a.random)
			if err != nil {
				return token, err
			}
			return token, a.ledger.Change(ctx, c, claviger.SignInsUpdate, userResource(&u), func(tx *store.Tx) error { return tx.CreateSetupLink(ctx, c.Scope, link) })
		}
		if len(people) < page.Limit {
			return claviger.Secret{}, claviger.NotFound("owner")
		}
	}
}
