package vault

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"maps"
	"sync"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/oauth"
	"claviger/internal/store"
)

// Refresh is what the vault needs to keep the tokens of OAuth connections fresh. Gate,
// OAuth, Caller and Method are required.
type Refresh struct {
	Gate  *gate.Gate
	OAuth *oauth.Client
	// Caller answers claviger's own caller of an organization: every refresh is in the
	// ledger as its act.
	Caller func(claviger.OrganizationID) claviger.Caller
	// Method answers the auth method of a connection as its connector declares it now.
	Method func(ctx context.Context, s claviger.Scope, conn *claviger.Connection) (*claviger.AuthMethod, error)
	// Changed is told of each connection whose row was changed here, so that what is
	// remembered of it is forgotten. nil: nobody wants to know.
	Changed func(claviger.ConnectionID)
	// Announce records an event about a connection in the transaction of its change:
	// updated when scopes narrowed, refresh_failed at the first failure in a row,
	// reauthorization_required. It may run again. nil: nobody wants to know.
	Announce func(ctx context.Context, tx *store.Tx, event claviger.EventType, conn *claviger.Connection) error
	// Discard is handed the tokens of a connection that was deleted while they were on
	// their way. If it is nil or fails, they are revoked at the vendor, once.
	Discard func(ctx context.Context, conn *claviger.Connection, tokens claviger.Credentials) error
	// Node names this process in leases; a random name if empty.
	Node string
	// Spill is the folder where vendors' answers wait, sealed, while the database takes no
	// writes. Empty: they wait in memory alone, and a crash loses them.
	Spill string
	// Lease is how long a lease lasts without a heartbeat; 10 s if zero.
	Lease time.Duration
	// Wait is how long a caller waits for a token; 30 s if zero.
	Wait time.Duration
	Log  *slog.Logger // nil: discarded
}

const (
	leaseTTL   = 10 * time.Second
	callerWait = 30 * time.Second
)

// keeping is the running side of Refresh.
type keeping struct {
	Refresh
	spill   *spill    // nil: none
	base    time.Time // when it began; with a monotonic reading, if the clock has one
	mu      sync.Mutex
	flights map[claviger.ConnectionID]*flight
	// quiet remembers until when a connection need not be looked at again.
	quiet   map[claviger.ConnectionID]time.Time
	running sync.WaitGroup
	closing bool
}

// maxQuiet bounds what is remembered of connections that wait; beyond it they are looked
// at again.
const maxQuiet = 10_000

// KeepFresh lets the vault refresh. It is called once, before the first connection is
// used; without it tokens are used as they are stored.
func (v *Vault) KeepFresh(r Refresh) error {
	if r.Node == "" {
		node, err := claviger.NewID("node", v.now(), v.random)
		if err != nil {
			return err
		}
		r.Node = node
	}
	if r.Lease == 0 {
		r.Lease = leaseTTL
	}
	if r.Wait == 0 {
		r.Wait = callerWait
	}
	if r.Changed == nil {
		r.Changed = func(claviger.ConnectionID) {}
	}
	if r.Announce == nil {
		r.Announce = func(context.Context, *store.Tx, claviger.EventType, *claviger.Connection) error { return nil }
	}
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	var folder *spill
	if r.Spill != "" {
		var err error
		if folder, err = openSpill(r.Spill); err != nil {
			return err
		}
	}
	v.keep = &keeping{Refresh: r, spill: folder, base: v.now(), flights: map[claviger.ConnectionID]*flight{}, quiet: map[claviger.ConnectionID]time.Time{}}
	return nil
}

// Close waits for the refreshes that run, until ctx ends, and begins no more. One that is
// cut off by the end of the process is taken up by the next, or by another node.
func (v *Vault) Close(ctx context.Context) error {
	k := v.keep
	if k == nil {
		return nil
	}
	k.mu.Lock()
	k.closing = true
	k.mu.Unlock()
	done := make(chan struct{})
	go func() { k.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clock answers the time that tokens expire by.
func (k *keeping) clock(now time.Time) time.Time { return steady(k.base, now, now.Sub(k.base)) }

// steady answers the later of the wall clock and of what the monotonic clock says. The
// wall clock may be set back, and an expired token must not come back to life with it;
// the monotonic one stands still while a machine sleeps.
func steady(base, wall time.Time, passed time.Duration) time.Time {
	wall, counted := wall.Round(0), base.Round(0).Add(passed)
	if wall.Before(counted) {
		return counted
	}
	return wall
}

// freshTokens is [Vault.Fresh] for a connection whose access token expires.
func (v *Vault) freshTokens(ctx context.Context, t *gate.Ticket, conn *claviger.Connection, sealed claviger.Sealed) (claviger.Credentials, error) {
	if !t.Covers(conn.Organization, conn.ID) {
		return nil, ErrNoTicket
	}
	now := v.keep.clock(v.now())
	if now.Before(conn.RefreshAt) {
		return v.inUse(ctx, t, conn, sealed)
	}
	alive := now.Before(conn.ExpiresAt)
	if alive && v.keep.isQuiet(conn.ID, now) {
		return v.inUse(ctx, t, conn, sealed)
	}
	row, err := v.newer(ctx, conn, want{}, alive)
	if err != nil {
		return nil, err
	}
	if row == nil { // a refresh is under way, and until it ends the old token serves
		return v.inUse(ctx, t, conn, sealed)
	}
	if refusal := row.conn.Status.Refusal(); refusal != nil {
		return nil, refusal
	}
	if row.conn.Destination != conn.Destination {
		return nil, claviger.Errorf(claviger.KindConflict, "destination_changed", "The connection was changed while it was being used. Repeat the request.")
	}
	return v.inUse(ctx, t, &row.conn, row.sealed)
}

// The credentials of an OAuth connection.
const (
	AccessToken  = "accessToken"
	RefreshToken = "refreshToken"
	IDToken      = "idToken"
	TokenType    = "tokenType"
	ProofKey     = "proofKey" // of DPoP
)

// inUse opens a connection for a call. What only the authorization server may see stays
// behind.
func (v *Vault) inUse(ctx context.Context, t *gate.Ticket, conn *claviger.Connection, sealed claviger.Sealed) (claviger.Credentials, error) {
	creds, err := v.Stored(ctx, t, conn, sealed)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(creds, func(name string, _ claviger.Secret) bool { return !forCalls(name) })
	if len(conn.SecretPaths) == 0 {
		return creds, nil
	}
	return v.Resolve(ctx, t, creds)
}

// Renew gets other tokens than those of conn's revision, which the vendor refused in a
// call although they had not expired. Afterwards the row has them; a revision that
// somebody else replaced already asks nobody. Each revision is renewed once at most, and
// one that is younger than a minute not at all: a token that was issued a moment ago and
// is refused is refused for another reason.
//
// Errors: those of a refresh; KindUpstream with code refresh_useless where another
// token would not help.
func (v *Vault) Renew(ctx context.Context, t *gate.Ticket, conn *claviger.Connection) error {
	if !t.Covers(conn.Organization, conn.ID) {
		return ErrNoTicket
	}
	if v.keep == nil {
		return useless()
	}
	_, err := v.newer(ctx, conn, want{past: conn.Revision}, false)
	return err
}

func useless() *claviger.Error {
	return claviger.Errorf(claviger.KindUpstream, "refresh_useless", "The vendor refuses a token that it issued a moment ago. Another one would not help.")
}

// Tend refreshes what the background found due: see [store.DB.DueGrants]. It waits for
// the end.
func (v *Vault) Tend(ctx context.Context, due store.DueGrant) error {
	if v.keep == nil {
		return nil
	}
	conn := claviger.Connection{Organization: due.Organization, ID: due.Connection}
	_, err := v.newer(ctx, &conn, want{tended: true}, false)
	return err
}

// jitter spreads a duration over its last fifth, so that what began together does not
// come back together.
func (v *Vault) jitter(d time.Duration) time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(v.random, b[:]); err != nil || d <= 0 {
		return d
	}
	fifth := uint64(d / 5)
	return d - time.Duration(binary.LittleEndian.Uint64(b[:])%(fifth+1))
}

func (k *keeping) isQuiet(id claviger.ConnectionID, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	until, ok := k.quiet[id]
	if ok && !now.Before(until) {
		delete(k.quiet, id)
		return false
	}
	return ok
}

func (k *keeping) hush(id claviger.ConnectionID, until time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.quiet) >= maxQuiet {
		clear(k.quiet)
	}
	k.quiet[id] = until
}
