package store

import (
	"context"
	"time"

	"claviger"
)

const loginColumns = "id, code_hash, user_hash, status, body, expires_at"

// loginBody is what a login's row keeps beside its columns. Permissions are kept by
// name: one that a later version no longer knows is left out of the key.
type loginBody struct {
	Challenge string
	Host      string
	Address   string
	Key       claviger.APIKey
	Rights    []claviger.Verb
	Interval  time.Duration
	PolledAt  time.Time
	CreatedAt time.Time
}

func scanLogin(r row) (l claviger.Login, err error) {
	var text string
	var expires int64
	if err := r.Scan(&l.ID, &l.CodeHash, &l.UserHash, &l.Status, &text, &expires); err != nil {
		return l, err
	}
	var b loginBody
	err = undocument(text, &b)
	l.Challenge, l.Host, l.Address, l.Key, l.Interval = b.Challenge, b.Host, b.Address, b.Key, b.Interval
	l.PolledAt, l.CreatedAt, l.ExpiresAt = b.PolledAt, b.CreatedAt, fromMillis(expires)
	l.Key.Permissions, _ = claviger.PermissionsOf(b.Rights...)
	return l, err
}

func keptLogin(l claviger.Login) (string, error) {
	b := loginBody{l.Challenge, l.Host, l.Address, l.Key, l.Key.Permissions.Verbs(), l.Interval, l.PolledAt, l.CreatedAt}
	b.Key.Permissions = claviger.Permissions{}
	return kept(b)
}

// LoginByCode answers the login of what a command line redeems, expired ones too. It
// takes no scope: a command line has none before it is let in.
func (db *DB) LoginByCode(ctx context.Context, hash []byte) (claviger.Login, error) {
	return fromControl(ctx, db, scanLogin, "SELECT "+loginColumns+" FROM logins WHERE code_hash = $1", filled(hash))
}

// LoginByUserCode answers the newest login that waits for the code that a person types. It
// takes no scope: which organization the command line enters is that person's to say.
func (db *DB) LoginByUserCode(ctx context.Context, hash []byte) (claviger.Login, error) {
	if len(hash) == 0 {
		return claviger.Login{}, ErrNotFound
	}
	return fromControl(ctx, db, scanLogin, "SELECT "+loginColumns+" FROM logins WHERE user_hash = $1 AND status = 'pending' ORDER BY id DESC LIMIT 1", hash)
}

// CreateLogin adds a login, in a transaction of control. It takes no scope: anybody may
// ask to be let in.
func (tx *Tx) CreateLogin(ctx context.Context, l claviger.Login) error {
	body, err := keptLogin(l)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "INSERT INTO logins ("+loginColumns+") VALUES ($1, $2, $3, $4, $5, $6)",
		string(l.ID), filled(l.CodeHash), filled(l.UserHash), string(l.Status), body, millis(l.ExpiresAt))
	return err
}

// UpdateLogin changes a login, in a transaction of control; change may run again. The
// codes stay. It takes no scope: it is found by a code that only its parties have.
func (tx *Tx) UpdateLogin(ctx context.Context, id claviger.LoginID, change func(claviger.Login) (claviger.Login, error)) error {
	old, err := one(ctx, tx.q, scanLogin, "SELECT "+loginColumns+" FROM logins WHERE id = $1"+tx.home.lock, string(id))
	if err != nil {
		return err
	}
	next, err := change(old)
	if err != nil {
		return err
	}
	body, err := keptLogin(next)
	if err != nil {
		return err
	}
	return mustTouch(ctx, tx.q, ErrNotFound, "UPDATE logins SET status = $1, body = $2 WHERE id = $3", string(next.Status), body, string(id))
}
