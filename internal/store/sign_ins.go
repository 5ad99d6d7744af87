package store

import (
	"context"
	"errors"
	"time"

	"claviger"
)

// maxNamesakes bounds how many people of one address a sign-in tries: one per
// organization that knows the address.
const maxNamesakes = 4

// maxBrowsers bounds how many sessions of one person are listed, and kept.
const maxBrowsers = 50

// Candidate is a person who may be the one that signs in, and how they would prove it.
type Candidate struct {
	User   claviger.User
	SignIn claviger.SignIn
}

func scanCandidate(r row) (c Candidate, err error) {
	var disabled, created, updated int64
	var body string
	u := &c.User
	err = r.Scan(&u.Organization, &u.ID, &u.Name, &u.Email, &u.Role, &disabled, &u.Version, &created, &updated, &body)
	if err != nil {
		return c, err
	}
	u.Disabled, u.CreatedAt, u.UpdatedAt = disabled == 1, fromMillis(created), fromMillis(updated)
	return c, undocument(body, &c.SignIn)
}

const candidates = `SELECT u.organization, u.id, u.name, u.email, u.role, u.disabled, u.version, u.created_at, u.updated_at, s.body
	FROM users u JOIN sign_ins s ON s.organization = u.organization AND s.user_id = u.id WHERE u.disabled = 0 AND `

// Candidates answers who may sign in with an e-mail address, the oldest first. It takes no
// scope: who signs in has none yet.
func (db *DB) Candidates(ctx context.Context, email string) ([]Candidate, error) {
	return listControl(ctx, db, scanCandidate, candidates+"u.email = $1 ORDER BY u.id LIMIT $2", email, int64(maxNamesakes))
}

// CandidateByID answers a person who may sign in. It takes no scope: authentication calls
// it.
func (db *DB) CandidateByID(ctx context.Context, id claviger.UserID) (Candidate, error) {
	return fromControl(ctx, db, scanCandidate, candidates+"u.id = $1", string(id))
}

func scanSignIn(r row) (s claviger.SignIn, err error) {
	var body string
	if err := r.Scan(&body); err != nil {
		return s, err
	}
	return s, undocument(body, &s)
}

// PutSignIn changes how a person signs in, from nothing at first, in a transaction of
// control; change may run again.
func (tx *Tx) PutSignIn(ctx context.Context, s claviger.Scope, user claviger.UserID, change func(claviger.SignIn) (claviger.SignIn, error)) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	organization := string(s.Organization())
	// The person's own row is the lock: there may be no other yet.
	if err := tx.lockPerson(ctx, s, user); err != nil {
		return err
	}
	old, err := one(ctx, tx.q, scanSignIn, "SELECT body FROM sign_ins WHERE organization = $1 AND user_id = $2", organization, string(user))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	next, err := change(old)
	if err != nil {
		return err
	}
	next.Organization, next.User, next.UpdatedAt = s.Organization(), user, fromMillis(millis(tx.db.now()))
	body, err := kept(next)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO sign_ins (organization, user_id, body, version) VALUES ($1, $2, $3, 1)
		ON CONFLICT (organization, user_id) DO UPDATE SET body = excluded.body, version = sign_ins.version + 1`, organization, string(user), body)
	return err
}

func scanSetupLink(r row) (l claviger.SetupLink, err error) {
	var expires int64
	err = r.Scan(&l.Hash, &l.Organization, &l.User, &expires)
	l.ExpiresAt = fromMillis(expires)
	return l, err
}

const setupColumns = "hash, organization, user_id, expires_at"

// SetupLinkByHash answers a link that has not been used, expired ones too. It takes no
// scope: who follows it has none yet.
func (db *DB) SetupLinkByHash(ctx context.Context, hash []byte) (claviger.SetupLink, error) {
	return fromControl(ctx, db, scanSetupLink, "SELECT "+setupColumns+" FROM setup_links WHERE hash = $1", filled(hash))
}

// CreateSetupLink adds a link for a person of the scope, in place of any before, in a
// transaction of control.
func (tx *Tx) CreateSetupLink(ctx context.Context, s claviger.Scope, l claviger.SetupLink) error {
	if err := covers(s, l.Organization, ""); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, "DELETE FROM setup_links WHERE organization = $1 AND user_id = $2", string(l.Organization), string(l.User)); err != nil {
		return err
	}
	_, err := tx.exec(ctx, "INSERT INTO setup_links ("+setupColumns+") VALUES ($1, $2, $3, $4)",
		filled(l.Hash), string(l.Organization), string(l.User), millis(l.ExpiresAt))
	return err
}

// TakeSetupLink uses a link up, in a transaction of control. Of several at once, one gets
// it; the others get ErrNotFound.
func (tx *Tx) TakeSetupLink(ctx context.Context, s claviger.Scope, hash []byte) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	return mustTouch(ctx, tx.q, ErrNotFound, "DELETE FROM setup_links WHERE organization = $1 AND hash = $2", string(s.Organization()), filled(hash))
}

const browserColumns = "body, token_hash, seen_at, expires_at"

func scanBrowser(r row) (b claviger.Session, err error) {
	var body string
	var hash []byte
	var seen, expires int64
	if err := r.Scan(&body, &hash, &seen, &expires); err != nil {
		return b, err
	}
	err = undocument(body, &b)
	b.TokenHash, b.SeenAt, b.ExpiresAt = hash, fromMillis(seen), fromMillis(expires)
	return b, err
}

// SessionByHash answers the session of a cookie, expired ones too. It takes no scope:
// authentication calls it to make one.
func (db *DB) SessionByHash(ctx context.Context, hash []byte) (claviger.Session, error) {
	return fromControl(ctx, db, scanBrowser, "SELECT "+browserColumns+" FROM console_sessions WHERE token_hash = $1", filled(hash))
}

// Sessions lists a person's sessions, the newest first.
func (db *DB) Sessions(ctx context.Context, s claviger.Scope, user claviger.UserID) ([]claviger.Session, error) {
	if err := organizationWide(s); err != nil {
		return nil, orEmpty(err)
	}
	return listControl(ctx, db, scanBrowser, "SELECT "+browserColumns+" FROM console_sessions WHERE organization = $1 AND user_id = $2 ORDER BY id DESC LIMIT $3",
		string(s.Organization()), string(user), int64(maxBrowsers))
}

// CreateSession adds a session and forgets the oldest of the same person, if there are too
// many, in a transaction of control.
func (tx *Tx) CreateSession(ctx context.Context, s claviger.Scope, b claviger.Session) error {
	if err := covers(s, b.Organization, ""); err != nil {
		return err
	}
	body, err := kept(b)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "INSERT INTO console_sessions (organization, id, user_id, proof, "+browserColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		string(b.Organization), string(b.ID), string(b.User), b.Proof, body, filled(b.TokenHash), millis(b.SeenAt), millis(b.ExpiresAt))
	if err != nil {
		return err
	}
	// Of sessions of one millisecond the order is left to chance: the new one stays in any case.
	_, err = tx.exec(ctx, `DELETE FROM console_sessions WHERE organization = $1 AND user_id = $2 AND id <> $3 AND id NOT IN
		(SELECT id FROM console_sessions WHERE organization = $1 AND user_id = $2 AND id <> $3 ORDER BY id DESC LIMIT $4)`,
		string(b.Organization), string(b.User), string(b.ID), int64(maxBrowsers-1))
	return err
}

// SeeSession notes that a session was used, in a transaction of control.
func (tx *Tx) SeeSession(ctx context.Context, s claviger.Scope, id claviger.SessionID, at time.Time) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	return mustTouch(ctx, tx.q, ErrNotFound, "UPDATE console_sessions SET seen_at = $1 WHERE organization = $2 AND id = $3",
		millis(at), string(s.Organization()), string(id))
}

// EndSession removes a session of a person, in a transaction of control.
func (tx *Tx) EndSession(ctx context.Context, s claviger.Scope, user claviger.UserID, id claviger.SessionID) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	return mustTouch(ctx, tx.q, ErrNotFound, "DELETE FROM console_sessions WHERE organization = $1 AND user_id = $2 AND id = $3",
		string(s.Organization()), string(user), string(id))
}

// EndSessions removes all sessions of a person, in a transaction of control, and answers
// how many there were.
func (tx *Tx) EndSessions(ctx context.Context, s claviger.Scope, user claviger.UserID) (int64, error) {
	if err := organizationWide(s); err != nil {
		return 0, err
	}
	return tx.exec(ctx, "DELETE FROM console_sessions WHERE organization = $1 AND user_id = $2", string(s.Organization()), string(user))
}

// purgeSignIns forgets links, sessions and ceremonies that expired before a time.
func (tx *Tx) purgeSignIns(ctx context.Context, before int64) (int64, error) {
	links, err := tx.exec(ctx, "DELETE FROM setup_links WHERE hash IN (SELECT hash FROM setup_links WHERE expires_at < $1 LIMIT $2)", before, int64(purgeBatch))
	if err != nil {
		return 0, err
	}
	sessions, err := tx.exec(ctx, `DELETE FROM console_sessions WHERE (organization, id) IN
		(SELECT organization, id FROM console_sessions WHERE expires_at < $1 LIMIT $2)`, before, int64(purgeBatch))
	if err != nil {
		return 0, err
	}
	begun, err := tx.exec(ctx, "DELETE FROM ceremonies WHERE hash IN (SELECT hash FROM ceremonies WHERE expires_at < $1 LIMIT $2)", before, int64(purgeBatch))
	return links + sessions + begun, err
}
