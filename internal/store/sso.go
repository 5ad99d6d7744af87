package store

import (
	"context"
	"errors"

	"claviger"
)

// sealedSignOn is an organization's provider with its ciphertext.
type sealedSignOn struct {
	claviger.SingleSignOn
	sealed claviger.Sealed
}

func scanSignOn(r row) (x sealedSignOn, err error) {
	var body, issuer string
	var organization claviger.OrganizationID
	var version int64
	var sealed []byte
	if err := r.Scan(&organization, &issuer, &body, &sealed, &version); err != nil {
		return x, err
	}
	err = undocument(body, &x.SingleSignOn)
	x.Organization, x.Issuer, x.Version, x.sealed = organization, issuer, version, sealed
	return x, err
}

const findSignOn = "SELECT organization, issuer, body, sealed, version FROM single_sign_on WHERE organization = $1"

// SingleSignOn answers the organization's provider and the ciphertext of its client's
// secret, which is empty for a public client.
func (db *DB) SingleSignOn(ctx context.Context, s claviger.Scope) (claviger.SingleSignOn, claviger.Sealed, error) {
	if err := organizationWide(s); err != nil {
		return claviger.SingleSignOn{}, nil, err
	}
	x, err := fromControl(ctx, db, scanSignOn, findSignOn+" AND issuer <> ''", string(s.Organization()))
	return x.SingleSignOn, x.sealed, err
}

// SignOnChange answers what a provider and its ciphertext are to become. next is the old
// one, or a new one, with its next Version, which the ciphertext is sealed for.
type SignOnChange func(next claviger.SingleSignOn, sealed claviger.Sealed) (claviger.SingleSignOn, claviger.Sealed, error)

// PutSingleSignOn sets or changes the organization's provider, in a transaction of control;
// change may run again. Organization, Version and times are set here. Another issuer knows
// nobody: who signed in by the one before is signed out and forgotten.
func (tx *Tx) PutSingleSignOn(ctx context.Context, s claviger.Scope, change SignOnChange) (claviger.SingleSignOn, error) {
	old, err := tx.lockSignOn(ctx, s)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return claviger.SingleSignOn{}, err
	}
	now := fromMillis(millis(tx.db.now()))
	kept := old.SingleSignOn
	kept.Organization, kept.Version, kept.UpdatedAt = s.Organization(), old.Version+1, now
	if old.Issuer == "" {
		kept.CreatedAt = now
	}
	next, sealed, err := change(kept, old.sealed)
	if err != nil {
		return next, err
	}
	next.Organization, next.Version, next.CreatedAt, next.UpdatedAt = kept.Organization, kept.Version, kept.CreatedAt, kept.UpdatedAt
	if old.Issuer != "" && old.Issuer != next.Issuer {
		if _, err := tx.forgetIdentities(ctx, s); err != nil {
			return next, err
		}
	}
	return next, tx.writeSignOn(ctx, next, sealed)
}

func (tx *Tx) lockSignOn(ctx context.Context, s claviger.Scope) (sealedSignOn, error) {
	if err := organizationWide(s); err != nil {
		return sealedSignOn{}, err
	}
	if err := tx.lockOrganization(ctx, s.Organization()); err != nil {
		return sealedSignOn{}, err
	}
	return one(ctx, tx.q, scanSignOn, findSignOn, string(s.Organization()))
}

func (tx *Tx) writeSignOn(ctx context.Context, x claviger.SingleSignOn, sealed claviger.Sealed) error {
	body, err := kept(x)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO single_sign_on (organization, issuer, body, sealed, version) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (organization) DO UPDATE SET issuer = excluded.issuer, body = excluded.body, sealed = excluded.sealed, version = excluded.version`,
		string(x.Organization), x.Issuer, body, filled(sealed), x.Version)
	return err
}

// DeleteSingleSignOn removes the organization's provider, in a transaction of control: its
// ciphertext is destroyed, who signed in by it is signed out, and who they are there is
// forgotten. Only the last number stays, so that an old ciphertext cannot be passed off as
// a new one. It answers how many sessions ended.
func (tx *Tx) DeleteSingleSignOn(ctx context.Context, s claviger.Scope) (int64, error) {
	old, err := tx.lockSignOn(ctx, s)
	if err == nil && old.Issuer == "" {
		err = ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	ended, err := tx.forgetIdentities(ctx, s)
	if err != nil {
		return 0, err
	}
	return ended, tx.writeSignOn(ctx, claviger.SingleSignOn{Organization: old.Organization, Version: old.Version}, nil)
}

// forgetIdentities ends the sessions of single sign-on and forgets who people are there.
func (tx *Tx) forgetIdentities(ctx context.Context, s claviger.Scope) (ended int64, err error) {
	organization := string(s.Organization())
	ended, err = tx.exec(ctx, "DELETE FROM console_sessions WHERE organization = $1 AND proof = $2", organization, claviger.ProofSingleSignOn)
	if err != nil {
		return 0, err
	}
	_, err = tx.exec(ctx, "DELETE FROM identities WHERE organization = $1", organization)
	return ended, err
}

// HoldSingleSignOn answers the organization's provider and keeps it until the transaction
// of control ends, so that nobody signs in by one that is being removed.
func (tx *Tx) HoldSingleSignOn(ctx context.Context, s claviger.Scope) (claviger.SingleSignOn, error) {
	x, err := tx.lockSignOn(ctx, s)
	if err == nil && x.Issuer == "" {
		err = ErrNotFound
	}
	return x.SingleSignOn, err
}

// PersonOf answers whom an identity belongs to.
func (tx *Tx) PersonOf(ctx context.Context, s claviger.Scope, issuer, subject string) (claviger.UserID, error) {
	if err := organizationWide(s); err != nil {
		return "", err
	}
	return one(ctx, tx.q, scanOne[claviger.UserID], "SELECT user_id FROM identities WHERE organization = $1 AND issuer = $2 AND subject = $3",
		string(s.Organization()), issuer, subject)
}

// Linked reports whether a person signs in by single sign-on.
func (db *DB) Linked(ctx context.Context, s claviger.Scope, user claviger.UserID) (bool, error) {
	if err := organizationWide(s); err != nil {
		return false, orEmpty(err)
	}
	n, err := fromControl(ctx, db, scanOne[int64], "SELECT COUNT(*) FROM identities WHERE organization = $1 AND user_id = $2", string(s.Organization()), string(user))
	return n > 0, err
}

// Namesake answers the person of an e-mail address and whether they have a way to sign in,
// and keeps both until the transaction of control ends.
func (tx *Tx) Namesake(ctx context.Context, s claviger.Scope, email string) (u claviger.User, settled bool, err error) {
	if err := organizationWide(s); err != nil {
		return u, false, err
	}
	u, err = one(ctx, tx.q, scanUser, "SELECT "+userColumns+" FROM users WHERE organization = $1 AND email = $2"+tx.home.lock, string(s.Organization()), email)
	if err != nil {
		return u, false, err
	}
	in, err := one(ctx, tx.q, scanSignIn, "SELECT body FROM sign_ins WHERE organization = $1 AND user_id = $2", string(u.Organization), string(u.ID))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return u, false, err
	}
	n, err := one(ctx, tx.q, scanOne[int64], `SELECT (SELECT COUNT(*) FROM passkeys WHERE organization = $1 AND user_id = $2)
		+ (SELECT COUNT(*) FROM identities WHERE organization = $1 AND user_id = $2)`, string(u.Organization), string(u.ID))
	return u, in.Password != "" || n > 0, err
}

// LinkIdentity notes who a person is at the provider, in a transaction of control. An
// identity that is somebody's, or a person who has another one, is a conflict.
func (tx *Tx) LinkIdentity(ctx context.Context, s claviger.Scope, user claviger.UserID, x claviger.Identity) error {
	if err := covers(s, x.Organization, ""); err != nil {
		return err
	}
	_, err := tx.exec(ctx, "INSERT INTO identities (organization, issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4, $5)",
		string(x.Organization), x.Issuer, x.Subject, string(user), millis(tx.db.now()))
	return err
}

// UnlinkIdentity forgets who a person is at the provider, in a transaction of control.
func (tx *Tx) UnlinkIdentity(ctx context.Context, s claviger.Scope, user claviger.UserID) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	return mustTouch(ctx, tx.q, ErrNotFound, "DELETE FROM identities WHERE organization = $1 AND user_id = $2", string(s.Organization()), string(user))
}
