package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"claviger"
)

// GrantState is how far a refresh has come. A crash leaves the state behind, and what
// may be done next follows from it alone.
type GrantState string

// The states of a grant.
const (
	// GrantIdle: no refresh is under way.
	GrantIdle GrantState = "idle"
	// GrantIntent: a refresh was begun and nothing has been sent: it may begin again.
	GrantIntent GrantState = "intent"
	// GrantSending: the token may have left. If the holder is gone, nobody knows whether
	// the vendor has used it up.
	GrantSending GrantState = "sending"
	// GrantJournaled: the answer is here, sealed and unread.
	GrantJournaled GrantState = "journaled"
	// GrantUncertain: the token may have been used up and the answer is lost.
	GrantUncertain GrantState = "uncertain"
)

// Grant is the life of one OAuth connection's tokens: when they end, who refreshes them
// and how far that has come.
type Grant struct {
	Organization claviger.OrganizationID
	Connection   claviger.ConnectionID
	Generation   int64 // refreshes that were stored
	Owner        string
	Fence        int64
	LeaseUntil   time.Time
	State        GrantState
	SentRevision int64 // of the connection whose token is being sent
	Sends        int   // how often that token may have been sent
	IntentAt     time.Time
	Answer       claviger.Sealed // of GrantJournaled
	Cause        string          // code of the last failure; empty after a success
	Failures     int             // in a row
	RetryAt      time.Time       // no attempt before it
	Rotates      bool            // an answer has replaced the refresh token

	IssuedAt         time.Time
	ExpiresAt        time.Time // of the access token; zero if unknown
	RefreshExpiresAt time.Time // zero if unknown
	LastRefreshedAt  time.Time
	KeepAt           time.Time // when to refresh although nobody uses it; zero for never
	RequestedScopes  []string
}

// The errors of leases, told apart with errors.Is.
var (
	// ErrLeased: somebody else holds the lease.
	ErrLeased = errors.New("store: the lease is held")
	// ErrFenced: the lease has passed on, or the row is gone; what was done under it
	// must not be written.
	ErrFenced = errors.New("store: the lease has passed on")
	// errGone is ErrFenced for want of the row.
	errGone = fmt.Errorf("%w: %w", ErrFenced, ErrNotFound)
)

const grantColumns = "organization, connection, generation, owner, fence, lease_until, state, sent_revision, sends, intent_at, answer, cause," +
	" failures, retry_at, rotates, issued_at, expires_at, refresh_expires_at, last_refreshed_at, keep_at, requested_scopes"

func scanGrant(r row) (Grant, error) {
	var g Grant
	var answer []byte
	var until, intent, retry, rotates, issued, expires, refreshExpires, refreshed, keep int64
	var scopes string
	err := r.Scan(&g.Organization, &g.Connection, &g.Generation, &g.Owner, &g.Fence, &until, &g.State, &g.SentRevision, &g.Sends, &intent, &answer,
		&g.Cause, &g.Failures, &retry, &rotates, &issued, &expires, &refreshExpires, &refreshed, &keep, &scopes)
	g.LeaseUntil, g.IntentAt, g.RetryAt = fromMillis(until), fromMillis(intent), fromMillis(retry)
	g.IssuedAt, g.ExpiresAt, g.RefreshExpiresAt = fromMillis(issued), fromMillis(expires), fromMillis(refreshExpires)
	g.LastRefreshedAt, g.KeepAt, g.Rotates, g.Answer = fromMillis(refreshed), fromMillis(keep), rotates == 1, answer
	return g, errors.Join(err, undocument(scopes, &g.RequestedScopes))
}

func grantArgs(g Grant) []any {
	return []any{
		string(g.Organization), string(g.Connection), g.Generation, g.Owner, g.Fence, millis(g.LeaseUntil), string(g.State), g.SentRevision,
		int64(g.Sends), millis(g.IntentAt), nullable(g.Answer), g.Cause, int64(g.Failures), millis(g.RetryAt), bit(g.Rotates), millis(g.IssuedAt),
		millis(g.ExpiresAt), millis(g.RefreshExpiresAt), millis(g.LastRefreshedAt), millis(g.KeepAt), document(g.RequestedScopes),
	}
}

// inScope is the condition that a grant's connection lies in the scope ($1, $3), alive.
const inScope = ` FROM grants WHERE organization = $1 AND connection = $2 AND EXISTS (SELECT 1 FROM connections c
	WHERE c.organization = $1 AND c.id = $2 AND c.status <> 'revoked' AND ($3 = '' OR c.workspace = $3))`

func readGrant(ctx context.Context, q querier, s claviger.Scope, id claviger.ConnectionID, lock string) (Grant, error) {
	if s.Organization() == "" {
		return Grant{}, ErrNoScope
	}
	return one(ctx, q, scanGrant, "SELECT "+grantColumns+inScope+lock, string(s.Organization()), string(id), string(s.Workspace()))
}

// Grant answers the grant of a living OAuth connection.
func (db *DB) Grant(ctx context.Context, s claviger.Scope, id claviger.ConnectionID) (Grant, error) {
	return inRegions(ctx, db, func(ctx context.Context, d *database) (Grant, error) {
		return readGrant(ctx, d.reader(), s, id, "")
	})
}

// clock answers the time that leases are measured by: the database's own, which all
// nodes share, or on SQLite the process's.
func (tx *Tx) clock(ctx context.Context) (time.Time, error) {
	if tx.home.clock == "" {
		return tx.db.now(), nil
	}
	ms, err := one(ctx, tx.q, scanOne[int64], tx.home.clock)
	return fromMillis(ms), err
}

const putGrant = `INSERT INTO grants (` + grantColumns + `)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
	ON CONFLICT (organization, connection) DO UPDATE SET generation = excluded.generation, owner = excluded.owner, fence = excluded.fence,
	lease_until = excluded.lease_until, state = excluded.state, sent_revision = excluded.sent_revision, sends = excluded.sends,
	intent_at = excluded.intent_at, answer = excluded.answer, cause = excluded.cause, failures = excluded.failures,
	retry_at = excluded.retry_at, rotates = excluded.rotates, issued_at = excluded.issued_at, expires_at = excluded.expires_at,
	refresh_expires_at = excluded.refresh_expires_at, last_refreshed_at = excluded.last_refreshed_at, keep_at = excluded.keep_at,
	requested_scopes = excluded.requested_scopes`

// PutGrant keeps the grant of tokens that somebody has just consented to, in the
// transaction that stores them in their connection: whatever a refresh of the tokens
// before is doing loses its lease. Only the times, the scopes and Rotates are taken
// from g.
func (tx *Tx) PutGrant(ctx context.Context, s claviger.Scope, g Grant) error {
	if err := tx.reaches(ctx, s, g.Connection); err != nil {
		return err
	}
	old, err := readGrant(ctx, tx.q, s, g.Connection, tx.home.lock)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	g.Organization, g.Generation, g.Fence, g.State = s.Organization(), old.Generation, old.Fence+1, GrantIdle
	g.Owner, g.LeaseUntil, g.SentRevision, g.Sends, g.IntentAt, g.Answer = "", time.Time{}, 0, 0, time.Time{}, nil
	g.Cause, g.Failures, g.RetryAt = "", 0, time.Time{}
	_, err = tx.exec(ctx, putGrant, grantArgs(g)...)
	return err
}

// reaches reports ErrNotFound unless the connection is alive, in the scope and in this
// transaction's database.
func (tx *Tx) reaches(ctx context.Context, s claviger.Scope, id claviger.ConnectionID) error {
	if s.Organization() == "" {
		return ErrNoScope
	}
	_, err := one(ctx, tx.q, scanOne[string],
		"SELECT id FROM connections WHERE organization = $1 AND id = $2 AND status <> 'revoked' AND ($3 = '' OR workspace = $3)",
		string(s.Organization()), string(id), string(s.Workspace()))
	return err
}

// MaxLease is the longest that a lease lasts without a heartbeat. One that ends later is
// of before the clock was set back, and no longer held: whoever is alive beats by the new
// clock at once.
const MaxLease = 5 * time.Minute

// MaxRetry is the longest that a refresh is put off; a later time is of before the clock
// was set back.
const MaxRetry = time.Hour

// LeaseGrant takes the lease of a connection's refresh for at most MaxLease, unless
// somebody holds it ([ErrLeased]), and answers the grant with the new fence. State tells what the
// last holder left behind. A connection without a grant gets one.
func (tx *Tx) LeaseGrant(ctx context.Context, s claviger.Scope, id claviger.ConnectionID, owner string, ttl time.Duration) (Grant, error) {
	if err := tx.reaches(ctx, s, id); err != nil {
		return Grant{}, err
	}
	// The row must be there before it is locked: of two nodes that find none, one makes it.
	empty := Grant{Organization: s.Organization(), Connection: id, State: GrantIdle}
	_, err := tx.exec(ctx, "INSERT INTO grants ("+grantColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
		ON CONFLICT (organization, connection) DO NOTHING`, grantArgs(empty)...)
	if err != nil {
		return Grant{}, err
	}
	g, err := readGrant(ctx, tx.q, s, id, tx.home.lock)
	if err != nil {
		return Grant{}, err
	}
	now, err := tx.clock(ctx)
	if err != nil {
		return Grant{}, err
	}
	if left := g.LeaseUntil.Sub(now); g.Owner != "" && left > 0 && left <= MaxLease {
		return g, ErrLeased
	}
	g.Owner, g.Fence, g.LeaseUntil = owner, g.Fence+1, now.Add(ttl)
	_, err = tx.exec(ctx, "UPDATE grants SET owner = $1, fence = $2, lease_until = $3 WHERE organization = $4 AND connection = $5",
		owner, g.Fence, millis(g.LeaseUntil), string(s.Organization()), string(id))
	return g, err
}

// ExtendGrant is the holder's heartbeat; [ErrFenced] if the lease has passed on.
func (tx *Tx) ExtendGrant(ctx context.Context, s claviger.Scope, id claviger.ConnectionID, fence int64, ttl time.Duration) error {
	now, err := tx.clock(ctx)
	if err != nil {
		return err
	}
	return tx.moveLease(ctx, s, id, fence, "owner", now.Add(ttl))
}

// ReleaseGrant gives the lease back. One that has passed on stays its new holder's, and
// the answer is [ErrFenced].
func (tx *Tx) ReleaseGrant(ctx context.Context, s claviger.Scope, id claviger.ConnectionID, fence int64) error {
	return tx.moveLease(ctx, s, id, fence, "''", time.Time{})
}

// moveLease sets the end of a lease that is still held, and its owner by an expression.
func (tx *Tx) moveLease(ctx context.Context, s claviger.Scope, id claviger.ConnectionID, fence int64, owner string, until time.Time) error {
	if err := tx.reaches(ctx, s, id); errors.Is(err, ErrNotFound) {
		return errGone
	} else if err != nil {
		return err
	}
	return mustTouch(ctx, tx.q, ErrFenced, "UPDATE grants SET owner = "+owner+", lease_until = $1 WHERE organization = $2 AND connection = $3 AND fence = $4 AND owner <> ''",
		millis(until), string(s.Organization()), string(id), fence)
}

// UpdateGrant changes a grant under the lease of the given fence: [ErrFenced] if that
// has passed on or the connection is gone. change gets the time of the lease's clock. It
// may run again. Fence, owner and the lease's end stay.
func (tx *Tx) UpdateGrant(ctx context.Context, s claviger.Scope, id claviger.ConnectionID, fence int64, change func(g *Grant, now time.Time)) (Grant, error) {
	old, err := readGrant(ctx, tx.q, s, id, tx.home.lock)
	switch {
	case errors.Is(err, ErrNotFound):
		return Grant{}, errGone
	case err != nil:
		return Grant{}, err
	case old.Fence != fence || old.Owner == "":
		return Grant{}, ErrFenced
	}
	now, err := tx.clock(ctx)
	if err != nil {
		return Grant{}, err
	}
	next := old
	change(&next, now)
	next.Organization, next.Connection = old.Organization, old.Connection
	next.Fence, next.Owner, next.LeaseUntil = old.Fence, old.Owner, old.LeaseUntil
	_, err = tx.exec(ctx, putGrant, grantArgs(next)...)
	return next, err
}

// dropGrant ends the grant of a connection that is deleted: whatever a refresh of it is
// doing cannot be stored any more.
func (tx *Tx) dropGrant(ctx context.Context, organization claviger.OrganizationID, id claviger.ConnectionID) error {
	_, err := tx.exec(ctx, "DELETE FROM grants WHERE organization = $1 AND connection = $2", string(organization), string(id))
	return err
}

// DueGrant names a grant that the background has to look after.
type DueGrant struct {
	Organization claviger.OrganizationID
	Connection   claviger.ConnectionID
	State        GrantState
}

// dueLimit bounds what DueGrants answers at once.
const dueLimit = 1000

// DueGrants answers up to limit grants that nobody holds and that a refresh was cut off
// in, or whose time to be kept alive has come. It takes no scope: it is the
// background's, which asks for each of them as the system's caller.
func (db *DB) DueGrants(ctx context.Context, now time.Time, limit int) ([]DueGrant, error) {
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	limit = min(max(limit, 1), dueLimit)
	var out []DueGrant
	for _, d := range db.distinct {
		clock := "$1"
		if d.clock != "" {
			clock = "(" + d.clock + ")"
		}
		ready := past("lease_until", clock, MaxLease) + " AND " + past("retry_at", "$1", MaxRetry)
		part, err := many(ctx, d.reader(), scanDue,
			"SELECT organization, connection, state FROM grants WHERE state IN ('intent', 'sending', 'journaled') AND "+ready+" ORDER BY lease_until LIMIT $2",
			millis(now), int64(limit))
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
		part, err = many(ctx, d.reader(), scanDue,
			"SELECT organization, connection, state FROM grants WHERE keep_at > 0 AND keep_at <= $1 AND state = 'idle' AND "+ready+" ORDER BY keep_at LIMIT $2",
			millis(now), int64(limit))
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return slices.Clip(out[:min(len(out), limit)]), nil
}

// past is the condition that the time in a column is over by a clock, or further ahead
// than it was ever set.
func past(column, clock string, longest time.Duration) string {
	return fmt.Sprintf("(%[1]s <= %[2]s OR %[1]s > %[2]s + %[3]d)", column, clock, longest.Milliseconds())
}

func scanDue(r row) (g DueGrant, err error) {
	err = r.Scan(&g.Organization, &g.Connection, &g.State)
	return g, err
}
