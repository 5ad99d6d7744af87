package broker

import (
	"context"
	"crypto/subtle"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/store"
	"claviger/internal/vault"
)

const (
	// maxFinishTries is how many codes may be tried on one flow.
	maxFinishTries = 5
	// sweepBatch bounds the flows of one round of [Broker.SweepFlows].
	sweepBatch = 100
	// maxAwaiting bounds the flows of one session or connection that are looked through
	// for a code.
	maxAwaiting = 20
)

// Finish is the input of [Broker.FinishConnect]: of a session, or of a connection that
// the API began.
type Finish struct {
	Session    claviger.ConnectSessionID
	Connection claviger.ConnectionID
	Code       string
}

// await keeps credentials, sealed and of no use, until the application says that it was
// the right person, and answers what the browser carries to it. Without a code nobody can
// finish yet.
func (b *Broker) await(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow, l *live, creds claviger.Credentials, code string) (Arrival, error) {
	if err := b.vault.Prepare(ctx, f.Organization); err != nil {
		return Arrival{}, err
	}
	draft := f.Draft
	draft.SecretKeys = slices.Sorted(maps.Keys(creds))
	issued := f.Issued
	failpoint.Hit("connect.keep.before")
	err := b.gate.Change(ctx, c, f.Verb(), f.Resource(), func(tx *store.Tx, t *gate.Ticket) error {
		next, err := tx.UpdateConnectFlow(ctx, c.Scope, f.ID, func(now claviger.ConnectFlow, _ claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
			if f.Status == claviger.ConnectAnswered && !holds(f, &now) {
				return now, nil, errTaken
			}
			now.Status, now.Draft, now.Issued, now.Revision = claviger.ConnectAwaiting, draft, issued, now.Revision+1
			now.ExpiresAt = b.now().Add(flowLife)
			if code != "" {
				now.FinishHash = finishHash(now.ID, code)
			}
			sealed, err := b.vault.SealFlow(ctx, t, &now, creds)
			return now, sealed, err
		})
		if err != nil || f.Session == "" {
			*f = next
			return err
		}
		*f = next
		_, err = tx.UpdateConnectSession(ctx, c.Scope, f.Session, func(s claviger.ConnectSession) (claviger.ConnectSession, error) {
			if s.Status.Final() {
				return s, sessionEnded()
			}
			s.Status, s.Fault = claviger.ConnectAwaiting, nil
			if s.ExpiresAt.Before(next.ExpiresAt) {
				s.ExpiresAt = next.ExpiresAt // finishing has its own ten minutes
			}
			return s, nil
		})
		return err
	})
	if err != nil {
		return Arrival{}, err
	}
	failpoint.Hit("connect.keep.after")
	return arrival(f, l.connector.Name, code), nil
}

// arrival is what a browser carries to the application.
func arrival(f *claviger.ConnectFlow, connector, code string) Arrival {
	a := Arrival{Flow: *f, Connector: connector, Code: code, Origin: origin(f.ReturnURL)}
	if f.ReturnURL != "" {
		what := url.Values{"sessionId": {string(f.Session)}, "finishCode": {code}}
		if f.Session == "" {
			what = url.Values{"connectionId": {string(f.Draft.ID)}, "finishCode": {code}}
		}
		a.ReturnTo = returnTo(f.ReturnURL, what)
	}
	return a
}

func sessionEnded() *claviger.Error {
	return claviger.Errorf(claviger.KindConflict, "session_ended", "This page was used already, or its time is over. Go back to the application and start again.")
}

// FinishConnect completes what a person connected: the initiator proves with the code
// that the person who came back to it is the one who connected. Only the caller that
// began may finish; five wrong codes wipe what waits.
//
// Errors: KindConflict nothing_to_finish while nobody has come back, or too late;
// KindInvalid wrong_code; KindConflict superseded if the connection was connected anew
// by a later attempt.
func (b *Broker) FinishConnect(ctx context.Context, c claviger.Caller, in Finish) (claviger.Connection, error) {
	waiting, err := b.waiting(ctx, c, in)
	if err != nil {
		return claviger.Connection{}, err
	}
	code := in.Code
	for i := range waiting {
		f := &waiting[i]
		given := code
		if f.Delivery == claviger.DeliverCode {
			given = typed(code)
		}
		if subtle.ConstantTimeCompare(f.FinishHash, finishHash(f.ID, given)) == 1 {
			return b.complete(ctx, c, f)
		}
	}
	for i := range waiting {
		if err := b.wrongCode(ctx, c, &waiting[i]); err != nil {
			return claviger.Connection{}, err
		}
	}
	return claviger.Connection{}, b.gate.Refuse(ctx, c, waiting[0].Verb(), waiting[0].Resource(),
		claviger.Invalid("finishCode", "wrong_code", "This is not the code. After %d wrong ones the person has to connect again.", maxFinishTries))
}

// Returned is what a browser of the console brings back from a vendor.
type Returned struct {
	Session claviger.ConnectSessionID
	Code    string
	Console claviger.SessionID // in which the person is signed in now
	Cookie  string             // that bound the flow to its browser
}

// FinishReturned finishes without another word what a person began in the console, if
// nobody else can have had a hand in it: the console's session that began has it now, the
// browser that left for the vendor has come back with the cookie of that departure, and
// the code is the one of that flow. One person in two browsers does not do: an address
// that was sent to them could have made them connect somebody else's account.
//
// ok is false, and nothing has happened, if any of that does not hold; then the person is
// asked. Errors are those of [Broker.FinishConnect].
func (b *Broker) FinishReturned(ctx context.Context, c claviger.Caller, in Returned) (conn claviger.Connection, ok bool, err error) {
	s, err := b.db.ConnectSession(ctx, c.Scope, in.Session)
	if errors.Is(err, store.ErrNotFound) || err == nil && (in.Console == "" || s.Console != in.Console || s.Status != claviger.ConnectAwaiting) {
		return conn, false, nil
	}
	if err != nil {
		return conn, false, err
	}
	waiting, err := b.waiting(ctx, c, Finish{Session: in.Session})
	if err != nil {
		return conn, false, err
	}
	for i := range waiting {
		f := &waiting[i]
		if f.Device != nil || !sameBrowser(f, in.Cookie) { // a device's code was typed who knows where
			continue
		}
		if subtle.ConstantTimeCompare(f.FinishHash, finishHash(f.ID, in.Code)) == 1 {
			conn, err = b.complete(ctx, c, f)
			return conn, true, err
		}
	}
	return conn, false, nil
}

// typed answers a code that a person typed as it was shown: without what groups it, in
// capitals, and with the letters that it does not have read as the digits that they look
// like.
func typed(code string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		switch {
		case c == 'O':
			return '0'
		case c == 'I' || c == 'L':
			return '1'
		case c >= '0' && c <= '9' || c >= 'A' && c <= 'Z':
			return c
		}
		return -1
	}, code)
}

// waiting answers the flows that a code may belong to, if the caller began them.
func (b *Broker) waiting(ctx context.Context, c claviger.Caller, in Finish) ([]claviger.ConnectFlow, error) {
	verb, r := claviger.ConnectionsCreate, claviger.Resource{}
	foreign := false // somebody else's attempt
	if in.Session != "" {
		s, err := b.session(ctx, c, verb, in.Session)
		if err != nil {
			return nil, err
		}
		if s.Status == claviger.ConnectCompleted {
			return nil, claviger.Errorf(claviger.KindConflict, "already_finished", "This session was finished already.")
		}
		r, foreign = s.Resource(), s.Initiator != c.OwnerID()
	} else {
		conn, err := b.find(ctx, c, verb, in.Connection)
		if err != nil {
			return nil, err
		}
		r = conn.Resource()
	}
	all, err := b.db.AwaitingConnectFlows(ctx, c.Scope, in.Session, in.Connection, maxAwaiting)
	if err != nil {
		return nil, err
	}
	var out []claviger.ConnectFlow
	for _, f := range all {
		switch {
		case f.Session != in.Session: // a session's attempt is finished by its session alone
		case f.Initiator != c.OwnerID():
			foreign = true
		case b.now().Before(f.ExpiresAt):
			out = append(out, f)
		}
	}
	if foreign && len(out) == 0 {
		return nil, b.gate.Refuse(ctx, c, verb, r, claviger.Errorf(claviger.KindDenied, "not_initiator", "Only the caller that asked for the connection may finish it."))
	}
	if len(out) == 0 {
		return nil, claviger.Errorf(claviger.KindConflict, "nothing_to_finish", "Nobody has come back from connecting yet, or the ten minutes for finishing are over.")
	}
	return out, nil
}

// wrongCode counts a try, and wipes what waits after the last one.
func (b *Broker) wrongCode(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow) error {
	region, err := b.db.PlaceOf(ctx, f.Organization, f.Workspace)
	if err != nil {
		return err
	}
	err = b.db.InTx(ctx, region, func(tx *store.Tx) error {
		*f, err = tx.UpdateConnectFlow(ctx, c.Scope, f.ID, func(now claviger.ConnectFlow, sealed claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
			now.FinishTries++
			return now, sealed, nil
		})
		return err
	})
	if err != nil || f.FinishTries < maxFinishTries {
		return err
	}
	return b.abandon(ctx, c, f, claviger.ConnectFailed, claviger.Errorf(claviger.KindConflict, "too_many_codes", "The finish code was wrong too often, so what was connected has been given up."))
}

// complete makes a connection of what waits.
func (b *Broker) complete(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow) (claviger.Connection, error) {
	creds, err := b.openWaiting(ctx, c, f)
	if err != nil {
		return claviger.Connection{}, err
	}
	left, err := b.left(ctx, c, f)
	if err := firstError(err, b.keepRefresh(ctx, c, f, creds), b.vault.Prepare(ctx, f.Organization)); err != nil {
		return claviger.Connection{}, err
	}
	var conn claviger.Connection
	r := f.Draft.Resource()
	r.Owner, r.Visibility = "", "" // the initiator finishes for the person who will own it
	failpoint.Hit("connect.finish.before")
	err = b.gate.Change(ctx, c, f.Verb(), r, func(tx *store.Tx, t *gate.Ticket) (err error) {
		newer, err := tx.NewerFlowCompleted(ctx, c.Scope, *f)
		if err != nil {
			return err
		}
		if newer {
			return claviger.Errorf(claviger.KindConflict, "superseded", "The connection was connected anew by a later attempt, which stays.")
		}
		if conn, err = b.put(ctx, tx, t, c, f, creds); err != nil {
			return err
		}
		if err := b.close(ctx, tx, t, c, f, left); err != nil {
			return err
		}
		failpoint.Hit("connect.finish.inside")
		event := claviger.EventConnectionUpdated
		if !f.Reconnect || conn.Revision == 1 && conn.Slot == "" { // or waited until now, and nobody was told
			event = claviger.EventConnectionCreated
		}
		return b.announce(ctx, tx, event, &conn)
	})
	failpoint.Hit("connect.finish.after")
	b.lives.drop(f.Draft.ID)
	if claviger.IsKind(err, claviger.KindConflict) {
		return conn, errors.Join(err, b.abandon(ctx, c, f, claviger.ConnectFailed, claviger.AsError(err)))
	}
	return conn, conflict(err)
}

// openWaiting opens the credentials that wait. It is a use, so it is admitted and
// recorded before the change that stores them.
func (b *Broker) openWaiting(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow) (claviger.Credentials, error) {
	now, sealed, err := b.db.ConnectFlowByID(ctx, f.ID)
	if err != nil {
		return nil, err
	}
	if now.Status != claviger.ConnectAwaiting || sealed == nil {
		return nil, claviger.Errorf(claviger.KindConflict, "already_finished", "This was finished or given up already.")
	}
	*f = now
	t, err := b.gate.Admit(ctx, c, f.Verb(), f.Resource(), "")
	if err != nil {
		return nil, err
	}
	creds, err := b.vault.OpenFlow(ctx, t, f, sealed)
	t.Done(gate.Ending{Err: err})
	return creds, err
}

// put stores the connection with its credentials and, for tokens, their grant.
func (b *Broker) put(ctx context.Context, tx *store.Tx, t *gate.Ticket, c claviger.Caller, f *claviger.ConnectFlow, creds claviger.Credentials) (conn claviger.Connection, err error) {
	draft := f.Draft
	draft.Status, draft.UpdatedAt = claviger.StatusActive, b.now()
	if f.Existing {
		conn, err = tx.UpdateConnection(ctx, c.Scope, draft.ID, func(old claviger.Connection, _ claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
			if old.Status == claviger.StatusRevoked {
				return old, nil, old.Status.Refusal()
			}
			next := renewed(old, draft)
			sealed, err := b.vault.Seal(ctx, t, &next, creds)
			return next, sealed, err
		})
	} else {
		draft.Revision = 1
		sealed, sealErr := b.vault.Seal(ctx, t, &draft, creds)
		if sealErr != nil {
			return draft, sealErr
		}
		conn, err = draft, tx.CreateConnection(ctx, c.Scope, draft, sealed)
	}
	if err == nil && !creds[vault.AccessToken].Empty() {
		err = tx.PutGrant(ctx, c.Scope, grantOf(f))
	}
	return conn, err
}

// renewed answers a connection with what a flow found out. Names, tags and what else
// people changed meanwhile stay theirs, and a switched-off connection stays off.
func renewed(old, draft claviger.Connection) claviger.Connection {
	next := old
	next.ConnectorVersion, next.AuthMethod, next.Settings = draft.ConnectorVersion, draft.AuthMethod, draft.Settings
	next.Account, next.GrantedScopes, next.Health, next.LastError = draft.Account, draft.GrantedScopes, draft.Health, draft.LastError
	next.SecretKeys, next.SecretPaths, next.Destination = draft.SecretKeys, draft.SecretPaths, draft.Destination
	next.ExpiresAt, next.RefreshAt, next.LastCheckedAt, next.Revision = draft.ExpiresAt, draft.RefreshAt, draft.LastCheckedAt, old.Revision+1
	if old.Status != claviger.StatusDisabled {
		next.Status = claviger.StatusActive
	}
	return next
}

// close ends a flow and its session well. The tokens of an account that was left, if there
// are any, are a job's from then on.
func (b *Broker) close(ctx context.Context, tx *store.Tx, t *gate.Ticket, c claviger.Caller, f *claviger.ConnectFlow, left *leaving) error {
	_, err := tx.UpdateConnectFlow(ctx, c.Scope, f.ID, func(now claviger.ConnectFlow, _ claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
		if now.Status != claviger.ConnectAwaiting {
			return now, nil, claviger.Errorf(claviger.KindConflict, "already_finished", "This was finished or given up already.")
		}
		now.Status = claviger.ConnectCompleted
		sealed, err := b.condemnLeft(ctx, t, &now, left)
		return now, sealed, err
	})
	if err == nil && left != nil {
		err = b.insert(ctx, tx, jobRevokeFlow, givenUp{f.Organization, f.ID}, jobs.Options{Unique: string(f.ID)})
	}
	if err != nil || f.Session == "" {
		return err
	}
	_, err = tx.UpdateConnectSession(ctx, c.Scope, f.Session, func(s claviger.ConnectSession) (claviger.ConnectSession, error) {
		if s.Status.Final() {
			return s, sessionEnded()
		}
		s.Status, s.Connection, s.Fault = claviger.ConnectCompleted, f.Draft.ID, nil
		return s, nil
	})
	return err
}

// abandon gives a flow up: what waits in it is a job's to revoke at the vendor.
func (b *Broker) abandon(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow, status claviger.ConnectStatus, why *claviger.Error) error {
	_, err := b.endFlow(context.WithoutCancel(ctx), c, f, status, why, "", false)
	if errors.Is(err, store.ErrConflict) {
		return nil // it was finished meanwhile
	}
	return err
}

// SweepFlows ends the flows whose time is over: what waits for nobody is revoked at the
// vendor, and wiped when that has an end. Those that a process has left behind with the
// vendor's answer are gone on with. It is the background's, and answers how many it saw to.
func (b *Broker) SweepFlows(ctx context.Context) (int, error) {
	b.replayFlows(ctx)
	stale, err := b.db.StaleConnectFlows(ctx, b.now(), sweepBatch)
	if err != nil {
		return 0, err
	}
	why := claviger.Errorf(claviger.KindConflict, "flow_expired", "Nobody finished connecting within ten minutes, so it was given up.")
	for i := range stale {
		f := &stale[i]
		if f.Revoking != nil {
			if err := b.lateFlow(ctx, f); err != nil {
				return i, err
			}
			continue
		}
		if f.Status == claviger.ConnectAnswered && b.now().Sub(f.CreatedAt) < resumeFor {
			if err := b.resumeLater(ctx, f); err != nil {
				return i, err
			}
			continue
		}
		c := b.connecting.act(f.Organization, f.Workspace, string(f.ID), claviger.Request{})
		if err := b.abandon(ctx, c, f, claviger.ConnectExpired, why); err != nil {
			return i, err
		}
	}
	return len(stale), nil
}

// grantOf answers what is kept of new tokens beside their values.
func grantOf(f *claviger.ConnectFlow) store.Grant {
	return store.Grant{
		Connection: f.Draft.ID, IssuedAt: f.Issued.IssuedAt, ExpiresAt: f.Issued.ExpiresAt, RefreshExpiresAt: f.Issued.RefreshExpiresAt,
		LastRefreshedAt: f.Issued.IssuedAt, KeepAt: f.Issued.KeepAt, RequestedScopes: f.Scopes,
	}
}

// keepRefresh gives new tokens that came without a refresh token the connection's old
// one: vendors that issue it at the first consent only mean it to stay. It is the same
// account's, or nobody's.
func (b *Broker) keepRefresh(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow, creds claviger.Credentials) error {
	if !f.Reconnect || creds[vault.AccessToken].Empty() || !creds[vault.RefreshToken].Empty() || !creds[vault.ProofKey].Empty() {
		return nil // or the old one is bound to the key before
	}
	old, sealed, err := b.db.Connection(ctx, c.Scope, f.Draft.ID)
	if err != nil || sealed == nil || old.Account.ID == "" || old.Account.ID != f.Draft.Account.ID || !slices.Contains(old.SecretKeys, vault.RefreshToken) {
		return err
	}
	stored, err := b.openBefore(ctx, c, f, &old, sealed)
	if err != nil || stored[vault.RefreshToken].Empty() {
		return err
	}
	creds[vault.RefreshToken] = stored[vault.RefreshToken]
	f.Draft.SecretKeys = slices.Sorted(maps.Keys(creds))
	return nil
}
