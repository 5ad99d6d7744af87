package broker

import (
	"context"
	"errors"
	"net/mail"
	"strings"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

// SetUpPage answers the address of the links by which people choose how they sign in; a
// link's token follows.
func (b *Broker) SetUpPage() string { return b.publicURL + "/console/setup/" }

// CreateUser adds a person to the caller's organization, with a link by which they choose
// how they sign in. Nobody gives a role with more rights than its own.
func (b *Broker) CreateUser(ctx context.Context, c claviger.Caller, in NewUser) (Invited, error) {
	if err := b.gate.Check(ctx, c, claviger.UsersCreate, orgWide(c, "user", "")); err != nil {
		return Invited{}, err
	}
	email, err := checkEmail(in.Email)
	if err := firstError(err, checkName("name", in.Name), mayGrant(c, in.Role)); err != nil {
		return Invited{}, err
	}
	id, err := b.newID(claviger.PrefixUser)
	if err != nil {
		return Invited{}, err
	}
	now := b.now()
	u := claviger.User{
		ID: claviger.UserID(id), Organization: c.Scope.Organization(), Name: in.Name, Email: email,
		Role: in.Role, Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	token, link, err := b.tokens.NewSetupLink(u.Organization, u.ID)
	if err != nil {
		return Invited{}, err
	}
	err = b.gate.Change(ctx, c, claviger.UsersCreate, orgWide(c, "user", id), func(tx *store.Tx, _ *gate.Ticket) error {
		if err := tx.CreateUser(ctx, c.Scope, u); err != nil {
			return err
		}
		return tx.CreateSetupLink(ctx, c.Scope, link)
	})
	return Invited{u, token}, conflict(err)
}

// InviteUser makes a new link for a person, in place of the one before: using it replaces
// their password and ends their sessions, so nobody makes one for a person with more
// rights than their own.
func (b *Broker) InviteUser(ctx context.Context, c claviger.Caller, id claviger.UserID) (Invited, error) {
	r := orgWide(c, "user", string(id))
	if err := b.gate.Check(ctx, c, claviger.UsersUpdate, r); err != nil {
		return Invited{}, err
	}
	u, err := b.db.User(ctx, c.Scope, id)
	if errors.Is(err, store.ErrNotFound) {
		return Invited{}, b.gate.Absent(ctx, c, claviger.UsersUpdate, r)
	}
	if err := firstError(err, mayGrant(c, u.Role)); err != nil {
		return Invited{}, err
	}
	token, link, err := b.tokens.NewSetupLink(u.Organization, u.ID)
	if err != nil {
		return Invited{}, err
	}
	return Invited{u, token}, b.gate.Change(ctx, c, claviger.UsersUpdate, r, func(tx *store.Tx, _ *gate.Ticket) error {
		return tx.CreateSetupLink(ctx, c.Scope, link)
	})
}

func checkEmail(s string) (string, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || len(s) > 254 || strings.Count(s, "@") != 1 {
		return "", claviger.Invalid("email", "invalid_format", "An e-mail address is needed, for example ada@example.com.")
	}
	return s, nil
}

// mayGrant keeps a person from making another more powerful than itself.
func mayGrant(c claviger.Caller, role claviger.Role) error {
	if !role.Valid() {
		return claviger.Invalid("role", "invalid_format", "Use one of %v.", claviger.Roles())
	}
	if !role.Permissions().Within(c.Permissions) {
		return claviger.Errorf(claviger.KindDenied, "exceeds_own_rights", "The role %s has rights that you do not have yourself.", role)
	}
	return nil
}

// Users lists the people of the caller's organization.
func (b *Broker) Users(ctx context.Context, c claviger.Caller, p Page) ([]claviger.User, bool, error) {
	if err := b.gate.Check(ctx, c, claviger.UsersRead, orgWide(c, "user", "")); err != nil {
		return nil, false, err
	}
	list, err := b.db.Users(ctx, c.Scope, p.plusOne())
	list, more := cut(p, list)
	return list, more, err
}

// User answers one person.
func (b *Broker) User(ctx context.Context, c claviger.Caller, id claviger.UserID) (claviger.User, error) {
	r := orgWide(c, "user", string(id))
	if err := b.gate.Check(ctx, c, claviger.UsersRead, r); err != nil {
		return claviger.User{}, err
	}
	u, err := b.db.User(ctx, c.Scope, id)
	if errors.Is(err, store.ErrNotFound) {
		return u, b.gate.Absent(ctx, c, claviger.UsersRead, r)
	}
	return u, err
}

// UpdateUser changes a person's name, role or access. The last owner stays an owner.
func (b *Broker) UpdateUser(ctx context.Context, c claviger.Caller, in UserChange) (u claviger.User, err error) {
	if in.Name != nil {
		if err := checkName("name", *in.Name); err != nil {
			return u, err
		}
	}
	if in.Role != nil {
		if err := mayGrant(c, *in.Role); err != nil {
			return u, err
		}
	}
	err = b.gate.Change(ctx, c, claviger.UsersUpdate, orgWide(c, "user", string(in.ID)), func(tx *store.Tx, _ *gate.Ticket) error {
		u, err = tx.UpdateUser(ctx, c.Scope, in.ID, func(old claviger.User) (claviger.User, error) {
			return b.revisedUser(c, old, in)
		})
		if errors.Is(err, store.ErrNotFound) {
			return claviger.NotFound("user")
		}
		if err != nil {
			return err
		}
		return keepsOwner(ctx, tx, c)
	})
	if err == nil {
		b.forget("user", string(in.ID))
	}
	return u, conflict(err)
}

func (b *Broker) revisedUser(c claviger.Caller, old claviger.User, in UserChange) (claviger.User, error) {
	if !old.Role.Permissions().Within(c.Permissions) {
		return old, claviger.Errorf(claviger.KindDenied, "exceeds_own_rights", "This person has rights that you do not have yourself.")
	}
	if in.Name != nil {
		old.Name = *in.Name
	}
	if in.Role != nil {
		old.Role = *in.Role
	}
	if in.Disabled != nil {
		old.Disabled = *in.Disabled
	}
	old.UpdatedAt = b.now()
	return old, nil
}

// keepsOwner refuses a change after which nobody could administer the organization.
func keepsOwner(ctx context.Context, tx *store.Tx, c claviger.Caller) error {
	n, err := tx.CountOwners(ctx, c.Scope)
	if err == nil && n == 0 {
		return claviger.Errorf(claviger.KindConflict, "last_owner", "This is the organization's last owner. Make another one first.")
	}
	return err
}

// DeleteUser removes a person. Its API keys die with it.
func (b *Broker) DeleteUser(ctx context.Context, c claviger.Caller, id claviger.UserID) error {
	err := b.gate.Change(ctx, c, claviger.UsersDelete, orgWide(c, "user", string(id)), func(tx *store.Tx, _ *gate.Ticket) error {
		_, err := tx.UpdateUser(ctx, c.Scope, id, func(old claviger.User) (claviger.User, error) { return b.revisedUser(c, old, UserChange{}) })
		if err == nil {
			err = tx.DeleteUser(ctx, c.Scope, id)
		}
		if errors.Is(err, store.ErrNotFound) {
			return claviger.NotFound("user")
		}
		if err != nil {
			return err
		}
		return keepsOwner(ctx, tx, c)
	})
	if err == nil {
		b.forget("user", string(id))
	}
	return err
}

// CreateApplication makes an OAuth client that can mint operator tokens.
func (b *Broker) CreateApplication(ctx context.Context, c claviger.Caller, name string) (NewApplication, error) {
	if err := b.gate.Check(ctx, c, claviger.ApplicationsCreate, orgWide(c, "application", "")); err != nil {
		return NewApplication{}, err
	}
	if !claviger.RoleOwner.Permissions().Within(c.Permissions) {
		return NewApplication{}, claviger.Errorf(claviger.KindDenied, "exceeds_own_rights", "An application's tokens have an owner's rights, which you do not have yourself.")
	}
	if err := checkName("name", name); err != nil {
		return NewApplication{}, err
	}
	id, err := b.newID(claviger.PrefixApplication)
	if err != nil {
		return NewApplication{}, err
	}
	secret, hash, err := b.tokens.NewClientSecret()
	if err != nil {
		return NewApplication{}, err
	}
	a := claviger.Application{
		ID: claviger.ApplicationID(id), Organization: c.Scope.Organization(), Name: name, ClientID: id, SecretHash: hash, CreatedAt: b.now(),
	}
	err = b.gate.Change(ctx, c, claviger.ApplicationsCreate, orgWide(c, "application", id), func(tx *store.Tx, _ *gate.Ticket) error {
		return tx.CreateApplication(ctx, c.Scope, a)
	})
	return NewApplication{Application: a, ClientSecret: secret}, conflict(err)
}

// Applications lists the OAuth clients of the caller's organization.
func (b *Broker) Applications(ctx context.Context, c claviger.Caller, p Page) ([]claviger.Application, bool, error) {
	if err := b.gate.Check(ctx, c, claviger.ApplicationsRead, orgWide(c, "application", "")); err != nil {
		return nil, false, err
	}
	list, err := b.db.Applications(ctx, c.Scope, p.plusOne())
	list, more := cut(p, list)
	return list, more, err
}

// DeleteApplication removes an OAuth client and revokes the tokens it minted.
func (b *Broker) DeleteApplication(ctx context.Context, c claviger.Caller, id claviger.ApplicationID) error {
	err := b.gate.Change(ctx, c, claviger.ApplicationsDelete, orgWide(c, "application", string(id)), func(tx *store.Tx, _ *gate.Ticket) error {
		err := tx.DeleteApplication(ctx, c.Scope, id)
		if errors.Is(err, store.ErrNotFound) {
			return claviger.NotFound("application")
		}
		return err
	})
	if err == nil {
		b.forget("application", string(id))
	}
	return err
}
