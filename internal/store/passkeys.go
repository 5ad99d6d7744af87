package store

import (
	"context"
	"time"

	"claviger"
)

// MaxPasskeys bounds how many passkeys one person has.
const MaxPasskeys = 20

const passkeyColumns = "organization, id, user_id, credential_hash, body"

func scanPasskey(r row) (p claviger.Passkey, err error) {
	var body string
	var organization claviger.OrganizationID
	var id claviger.PasskeyID
	var user claviger.UserID
	var hash []byte
	if err := r.Scan(&organization, &id, &user, &hash, &body); err != nil {
		return p, err
	}
	err = undocument(body, &p)
	p.Organization, p.ID, p.User, p.CredentialHash = organization, id, user, hash
	return p, err
}

// Passkeys lists a person's passkeys, the newest first.
func (db *DB) Passkeys(ctx context.Context, s claviger.Scope, user claviger.UserID) ([]claviger.Passkey, error) {
	if err := organizationWide(s); err != nil {
		return nil, orEmpty(err)
	}
	return listControl(ctx, db, scanPasskey, "SELECT "+passkeyColumns+" FROM passkeys WHERE organization = $1 AND user_id = $2 ORDER BY id DESC LIMIT $3",
		string(s.Organization()), string(user), int64(MaxPasskeys))
}

// PasskeyByHash answers the passkey of a credential. It takes no scope: who signs in has
// none yet.
func (db *DB) PasskeyByHash(ctx context.Context, hash []byte) (claviger.Passkey, error) {
	return fromControl(ctx, db, scanPasskey, "SELECT "+passkeyColumns+" FROM passkeys WHERE credential_hash = $1", filled(hash))
}

// CreatePasskey adds a passkey to a person, in a transaction of control. One too many is a
// conflict on "passkeys", a credential that is known on "credentialHash".
func (tx *Tx) CreatePasskey(ctx context.Context, s claviger.Scope, p claviger.Passkey) error {
	if err := covers(s, p.Organization, ""); err != nil {
		return err
	}
	// The person's row is the lock: two that are added at once are counted one after the other.
	if err := tx.lockPerson(ctx, s, p.User); err != nil {
		return err
	}
	n, err := one(ctx, tx.q, scanOne[int64], "SELECT COUNT(*) FROM passkeys WHERE organization = $1 AND user_id = $2", string(p.Organization), string(p.User))
	if err != nil {
		return err
	}
	if n >= MaxPasskeys {
		return &Conflict{Field: "passkeys"}
	}
	body, err := kept(p)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "INSERT INTO passkeys ("+passkeyColumns+", version) VALUES ($1, $2, $3, $4, $5, 1)",
		string(p.Organization), string(p.ID), string(p.User), filled(p.CredentialHash), body)
	return err
}

// UpdatePasskey changes a passkey, in a transaction of control; change may run again. Whose
// it is and which credential it stands for stay.
func (tx *Tx) UpdatePasskey(ctx context.Context, s claviger.Scope, id claviger.PasskeyID, change func(claviger.Passkey) (claviger.Passkey, error)) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	old, err := one(ctx, tx.q, scanPasskey, "SELECT "+passkeyColumns+" FROM passkeys WHERE organization = $1 AND id = $2"+tx.home.lock, string(s.Organization()), string(id))
	if err != nil {
		return err
	}
	next, err := change(old)
	if err != nil {
		return err
	}
	body, err := kept(next)
	if err != nil {
		return err
	}
	return mustTouch(ctx, tx.q, ErrNotFound, "UPDATE passkeys SET body = $1, version = version + 1 WHERE organization = $2 AND id = $3",
		body, string(s.Organization()), string(id))
}

// DeletePasskey removes a passkey of a person, in a transaction of control.
func (tx *Tx) DeletePasskey(ctx context.Context, s claviger.Scope, user claviger.UserID, id claviger.PasskeyID) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	return mustTouch(ctx, tx.q, ErrNotFound, "DELETE FROM passkeys WHERE organization = $1 AND user_id = $2 AND id = $3",
		string(s.Organization()), string(user), string(id))
}

// DeletePasskeys removes all passkeys of a person, in a transaction of control, and answers
// how many there were.
func (tx *Tx) DeletePasskeys(ctx context.Context, s claviger.Scope, user claviger.UserID) (int64, error) {
	if err := organizationWide(s); err != nil {
		return 0, err
	}
	return tx.exec(ctx, "DELETE FROM passkeys WHERE organization = $1 AND user_id = $2", string(s.Organization()), string(user))
}

// lockPerson lets one transaction at a time change how a person signs in.
func (tx *Tx) lockPerson(ctx context.Context, s claviger.Scope, user claviger.UserID) error {
	_, err := one(ctx, tx.q, scanOne[string], "SELECT id FROM users WHERE organization = $1 AND id = $2"+tx.home.lock, string(s.Organization()), string(user))
	return err
}

// CreateCeremony notes what a browser has begun, in a transaction of control. It takes no
// scope: who signs in has none yet.
func (tx *Tx) CreateCeremony(ctx context.Context, c claviger.Ceremony) error {
	_, err := tx.exec(ctx, "INSERT INTO ceremonies (hash, kind, body, expires_at) VALUES ($1, $2, $3, $4)",
		filled(c.Hash), c.Kind, c.Body, millis(c.ExpiresAt))
	return err
}

// TakeCeremony answers what a browser has begun and forgets it, in a transaction of
// control: of several at once, one gets it. ErrNotFound if there is none of the kind, or
// it began too long before now. It takes no scope.
func (tx *Tx) TakeCeremony(ctx context.Context, hash []byte, kind string, now time.Time) (claviger.Ceremony, error) {
	return one(ctx, tx.q, func(r row) (c claviger.Ceremony, err error) {
		var expires int64
		err = r.Scan(&c.Hash, &c.Kind, &c.Body, &expires)
		c.ExpiresAt = fromMillis(expires)
		return c, err
	}, "DELETE FROM ceremonies WHERE hash = $1 AND kind = $2 AND expires_at > $3 RETURNING hash, kind, body, expires_at", filled(hash), kind, millis(now))
}
