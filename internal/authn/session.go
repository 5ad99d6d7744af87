package authn

import (
	"context"
	"errors"
	"time"

	"claviger"
	"claviger/internal/store"
)

const (
	sessionPrefix = "clv_session_"
	// sessionIdle ends a session that nobody used, sessionLife every session.
	sessionIdle = 12 * time.Hour
	sessionLife = 7 * 24 * time.Hour
	// halfLife is how long the second factor is waited for.
	halfLife = 10 * time.Minute
	// sessionSeen is how exactly it is known when a session was used.
	sessionSeen = time.Minute
	// freshFor is how long after signing in a person may change how they sign in.
	freshFor = 15 * time.Minute
	maxAgent = 200 // bytes kept of what a browser calls itself
)

// SignedIn is a browser's new session. The token, which the browser keeps as its cookie,
// is shown this once.
type SignedIn struct {
	Session claviger.Session
	Token   claviger.Secret
	User    claviger.User
}

// Visit is where a person signs in from: the request, what the browser calls itself, and
// the cookie that it showed, whose session ends with the new one.
type Visit struct {
	From   claviger.Request
	Agent  string
	Cookie string
}

// person answers a person as the caller that signs in and out and chooses how: it may do
// that, and nothing else.
func person(u *claviger.User, from claviger.Request) claviger.Caller {
	rights, _ := claviger.PermissionsOf(claviger.SessionsCreate, claviger.SessionsDelete, claviger.SignInsUpdate)
	return claviger.Caller{
		Kind: claviger.CallerSession, ID: string(u.ID), User: u.ID, Role: u.Role,
		Scope: claviger.Authenticated(u.Organization, ""), Permissions: rights, From: from,
	}
}

// openSession gives a browser a session, always with a value that nobody knew before, and
// ends the one it showed. also runs in the same transaction, before it, and may run again.
// A half session is no sign-in yet, and no entry of the ledger.
func (a *Authority) openSession(ctx context.Context, u *claviger.User, stage claviger.SessionStage, proof string, v Visit, also func(*store.Tx) error) (SignedIn, error) {
	id, err := claviger.NewID(claviger.PrefixSession, a.now(), a.random)
	if err != nil {
		return SignedIn{}, err
	}
	text, hash, err := newToken(sessionPrefix, a.random)
	if err != nil {
		return SignedIn{}, err
	}
	now, life := a.now(), sessionLife
	if stage == claviger.SessionHalf {
		life = halfLife
	}
	s := claviger.Session{
		ID: claviger.SessionID(id), Organization: u.Organization, User: u.ID, Stage: stage, TokenHash: hash, Proof: proof,
		Agent: printable(v.Agent), CreatedAt: now, SeenAt: now, ExpiresAt: now.Add(life),
	}
	if v.From.Address.IsValid() {
		s.Address = v.From.Address.Unmap().String()
	}
	c := person(u, v.From)
	write := func(tx *store.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		if err := a.endShown(ctx, tx, v.Cookie); err != nil {
			return err
		}
		return tx.CreateSession(ctx, c.Scope, s)
	}
	if stage == claviger.SessionHalf {
		err = a.db.InTx(ctx, "", write)
	} else {
		err = a.ledger.Change(ctx, c, claviger.SessionsCreate, sessionResource(&s), write)
	}
	return SignedIn{Session: s, Token: claviger.NewSecretString(text), User: *u}, err
}

// endShown ends the session of a cookie, whoever it belongs to: who has the cookie could
// sign it out.
func (a *Authority) endShown(ctx context.Context, tx *store.Tx, cookie string) error {
	if !wellFormed(sessionPrefix, cookie) {
		return nil
	}
	old, err := a.db.SessionByHash(ctx, HashToken(cookie))
	if err == nil {
		err = tx.EndSession(ctx, claviger.Authenticated(old.Organization, ""), old.User, old.ID)
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func sessionResource(s *claviger.Session) claviger.Resource {
	return claviger.Resource{Type: "session", ID: string(s.ID), Organization: s.Organization}
}

// printable answers what may be shown of a browser's own word.
func printable(s string) string {
	out := make([]byte, 0, min(len(s), maxAgent))
	for i := 0; i < len(s) && len(out) < maxAgent; i++ {
		if s[i] >= ' ' && s[i] < 0x7f {
			out = append(out, s[i])
		}
	}
	return string(out)
}

// Seated is a person in their session.
type Seated struct {
	Caller   claviger.Caller // with the rights that the person has now
	Session  claviger.Session
	User     claviger.User
	Password bool // whether they have a password
	Factor   bool // whether that has a second factor
}

// AuthenticateSession finds the person behind a cookie. It asks the database each time, so
// that a session which was ended anywhere is over at once.
//
// Errors: KindUnauthenticated "signed_out"; KindConflict "second_factor_required" for a
// session whose second factor is owed, with which only [Authority.SecondFactor] can do
// anything.
func (a *Authority) AuthenticateSession(ctx context.Context, cookie string, from claviger.Request) (Seated, error) {
	s, who, err := a.session(ctx, cookie)
	if err != nil {
		return Seated{}, err
	}
	if s.Stage != claviger.SessionProven {
		return Seated{}, claviger.Errorf(claviger.KindConflict, "second_factor_required", "Enter the code of your authenticator app.")
	}
	org, err := a.db.OrganizationByID(ctx, s.Organization)
	if err != nil {
		return Seated{}, unavailable(err)
	}
	c := person(&who.User, from)
	c.Permissions, c.ExpiresAt = who.User.Role.Permissions(), s.ExpiresAt
	c.InstanceAdmin = org.Instance && who.User.Role == claviger.RoleOwner
	if now := a.now(); now.Sub(s.SeenAt) >= sessionSeen {
		err := a.db.InTx(ctx, "", func(tx *store.Tx) error { return tx.SeeSession(ctx, c.Scope, s.ID, now) })
		if errors.Is(err, store.ErrNotFound) {
			return Seated{}, signedOut()
		}
		if err != nil {
			a.log.WarnContext(ctx, "the use of a session could not be noted", "error", err)
		}
	}
	return Seated{Caller: c, Session: s, User: who.User, Password: who.SignIn.Password != "", Factor: len(who.SignIn.Factor) > 0}, nil
}

// session answers the session of a cookie and its person, whatever its stage.
func (a *Authority) session(ctx context.Context, cookie string) (claviger.Session, store.Candidate, error) {
	if !wellFormed(sessionPrefix, cookie) {
		return claviger.Session{}, store.Candidate{}, signedOut()
	}
	s, err := a.db.SessionByHash(ctx, HashToken(cookie))
	now := a.now()
	if errors.Is(err, store.ErrNotFound) || err == nil && (!now.Before(s.ExpiresAt) || now.Sub(s.SeenAt) >= sessionIdle) {
		return s, store.Candidate{}, signedOut()
	}
	if err != nil {
		return s, store.Candidate{}, unavailable(err)
	}
	who, err := a.db.CandidateByID(ctx, s.User)
	if errors.Is(err, store.ErrNotFound) { // removed, or disabled
		return s, who, signedOut()
	}
	if err != nil {
		return s, who, unavailable(err)
	}
	return s, who, nil
}

func signedOut() *claviger.Error {
	return claviger.Errorf(claviger.KindUnauthenticated, "signed_out", "You are not signed in, or your session is over. Sign in.")
}

// Sessions lists where the person is signed in, the newest first.
func (a *Authority) Sessions(ctx context.Context, in Seated) ([]claviger.Session, error) {
	return a.db.Sessions(ctx, in.Caller.Scope, in.User.ID)
}

// EndSession signs one of the person's browsers out, their own included.
func (a *Authority) EndSession(ctx context.Context, in Seated, id claviger.SessionID) error {
	c := person(&in.User, in.Caller.From)
	r := claviger.Resource{Type: "session", ID: string(id), Organization: in.User.Organization}
	return a.ledger.Change(ctx, c, claviger.SessionsDelete, r, func(tx *store.Tx) error {
		err := tx.EndSession(ctx, c.Scope, in.User.ID, id)
		if errors.Is(err, store.ErrNotFound) {
			return claviger.NotFound("session")
		}
		return err
	})
}
