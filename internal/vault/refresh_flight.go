package vault

import (
	"context"
	"errors"
	"time"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/oauth"
	"claviger/internal/store"
)

// row is a connection as it is stored.
type row struct {
	conn   claviger.Connection
	sealed claviger.Sealed
	creds  claviger.Credentials // while new ones are being sealed
}

// want is why a flight was begun. The zero want is a token that is due by its time.
type want struct {
	past   int64 // a revision that the vendor refuses
	tended bool  // the background's: recover, keep alive
}

// flight is the one refresh of a connection in this process. Its callers share it and
// none of them can end it.
type flight struct {
	vault *Vault
	id    claviger.ConnectionID
	scope claviger.Scope
	want  want
	// looked is closed when the flight knows whether the row is newer than its callers
	// believe. done is closed at the end; row and err are set by then. row is nil if the
	// old token is to be used.
	looked, done chan struct{}
	row          *row
	err          error
	// unsent is the fence of a lease under which the token was to be marked as sent, and
	// never left: whether the mark was committed is not known. 0: no such doubt.
	unsent int64
	// answer is what the vendor said to the token of revision answerTo, until it is in
	// the journal: it is worth a lease of its own.
	answer   *oauth.Raw
	answerTo int64
	spilled  *spilled // the same on the disk, or what an earlier flight left there
	party    *party   // nil until it is known
}

const (
	// flightTime bounds a flight beyond the vendor's own time: the wait for another
	// node's lease, and the journal.
	flightTime = 10 * time.Minute
	// answerTime is how long an answer that cannot be stored is held on to.
	answerTime = time.Hour
	// The pauses between two looks at a lease that another node holds, or at a database
	// that does not answer.
	firstLook, longestLook = 10 * time.Millisecond, 500 * time.Millisecond
)

// newer answers the row with other tokens, waiting for them. It answers nil without an
// error if the old ones are to be used meanwhile, which only a caller whose token is
// alive accepts.
func (v *Vault) newer(ctx context.Context, conn *claviger.Connection, w want, alive bool) (*row, error) {
	timer := time.NewTimer(v.keep.Wait)
	defer timer.Stop()
	for tries := 0; ; tries++ {
		f, err := v.join(ctx, conn, w)
		if err != nil {
			return nil, err
		}
		known := f.done
		if alive {
			known = f.looked
		}
		select {
		case <-known:
		case <-timer.C:
			return nil, inProgress(nil)
		case <-ctx.Done():
			return nil, inProgress(ctx.Err())
		}
		select {
		case <-f.done:
		default:
			return nil, nil
		}
		// A flight that was begun for another reason may have found nothing to do.
		if f.err == nil && f.row != nil && w.past > 0 && f.row.conn.Revision <= w.past && f.want.past == 0 && tries == 0 {
			continue
		}
		if alive && f.err != nil {
			return nil, nil
		}
		return f.row, f.err
	}
}

func inProgress(cause error) *claviger.Error {
	e := claviger.Errorf(claviger.KindTimeout, "refresh_in_progress", "The access token is being refreshed, and the vendor has not answered yet. Repeat the request in a moment.")
	e.RetryAfter = 5 * time.Second
	return e.With(cause)
}

// join answers the connection's flight, beginning one if there is none.
func (v *Vault) join(ctx context.Context, conn *claviger.Connection, w want) (*flight, error) {
	k := v.keep
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.flights[conn.ID]; f != nil {
		return f, nil
	}
	if k.closing {
		return nil, claviger.Errorf(claviger.KindUnavailable, "unavailable", "The server is stopping. Repeat the request.")
	}
	f := &flight{
		vault: v, id: conn.ID, scope: k.Caller(conn.Organization).Scope, want: w,
		looked: make(chan struct{}), done: make(chan struct{}),
	}
	k.flights[conn.ID] = f
	k.running.Add(1)
	// The caller's disconnect must not end what others wait for, nor a request that has
	// used up a token.
	go f.fly(context.WithoutCancel(ctx))
	return f, nil
}

func (f *flight) fly(ctx context.Context) {
	k := f.vault.keep
	defer k.running.Done()
	f.run(ctx)
	k.mu.Lock()
	delete(k.flights, f.id)
	k.mu.Unlock()
	f.look()
	close(f.done)
}

// look tells callers whose tokens are alive not to wait any longer.
func (f *flight) look() {
	select {
	case <-f.looked:
	default:
		close(f.looked)
	}
}

// run gets the lease and holds it, again and again, until there is an outcome.
func (f *flight) run(ctx context.Context) {
	began := f.vault.now()
	f.recall()
	for pause := firstLook; ; pause = min(2*pause, longestLook) {
		attempt, cancel := context.WithTimeout(ctx, flightTime)
		again, err := f.once(attempt)
		cancel()
		if !again && (err == nil || f.unsent == 0) {
			if f.err = err; err != nil {
				f.row = nil
			}
			return
		}
		limit := flightTime
		if f.answered() {
			limit = answerTime
		}
		if f.vault.now().Sub(began) > limit {
			f.vault.keep.Log.Error("a refresh was given up", "connection", string(f.id), "answered", f.answered(), "error", err)
			if f.err = err; err == nil {
				f.err = inProgress(nil)
			}
			return
		}
		wait := time.NewTimer(pause)
		<-wait.C
	}
}

// once looks at the row and, if it needs it, tries for the lease. again asks for another
// try: somebody else holds the lease, or an answer could not be stored.
func (f *flight) once(ctx context.Context) (again bool, err error) {
	v := f.vault
	if f.row, err = f.read(ctx); err != nil {
		if claviger.IsKind(err, claviger.KindNotFound) {
			f.answer = nil
			f.unspill(spillAside) // not even a tombstone: a database from before the connection
		}
		return f.answered(), err
	}
	if !f.answered() && !f.want.tended && !f.needs(&f.row.conn, nil) {
		return false, nil
	}
	if !f.answered() { // a glance spares a lease where nothing can be done now
		if g, err := v.db.Grant(ctx, f.scope, f.id); err == nil {
			if err := f.untimely(&g); err != nil {
				return false, err
			}
		}
	}
	region, err := v.db.PlaceOf(ctx, f.row.conn.Organization, f.row.conn.Workspace)
	if err != nil {
		return f.answered(), err
	}
	var grant store.Grant
	failpoint.Hit("refresh.lease.before")
	asked := v.now()
	err = v.db.InTx(ctx, region, func(tx *store.Tx) (err error) {
		grant, err = tx.LeaseGrant(ctx, f.scope, f.id, v.keep.Node, v.keep.Lease)
		return err
	})
	failpoint.Hit("refresh.lease.after")
	switch {
	case errors.Is(err, store.ErrLeased):
		f.look() // whoever holds it asks the vendor
		return true, nil
	case errors.Is(err, store.ErrNotFound) && !f.answered():
		return false, claviger.StatusRevoked.Refusal()
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return f.answered(), err
	}
	h := &holding{flight: f, region: region, grant: grant, leased: asked}
	if err != nil { // the connection is gone, and the answer has nowhere to go
		return h.discard(ctx)
	}
	return h.hold(ctx)
}

func (f *flight) read(ctx context.Context) (*row, error) {
	conn, sealed, err := f.vault.db.Connection(ctx, f.scope, f.id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, claviger.NotFound("connection")
	}
	return &row{conn: conn, sealed: sealed}, err
}

// needs reports whether the row has to be refreshed; g is nil until the lease is held.
func (f *flight) needs(conn *claviger.Connection, g *store.Grant) bool {
	if conn.Status != claviger.StatusActive {
		return false
	}
	now := f.vault.keep.clock(f.vault.now())
	switch {
	case f.want.past > 0 && conn.Revision <= f.want.past:
		return true
	case !conn.RefreshAt.IsZero() && !now.Before(conn.RefreshAt):
		return true
	case !f.want.tended:
		return false
	}
	return g == nil || g.State != store.GrantIdle || !g.KeepAt.IsZero() && !now.Before(g.KeepAt)
}

// beat extends the lease until stop is called.
func (h *holding) beat(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	v, fence := h.vault, h.grant.Fence
	go func() {
		defer close(ended)
		tick := time.NewTicker(v.keep.Lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			err := v.db.InTx(ctx, h.region, func(tx *store.Tx) error {
				return tx.ExtendGrant(ctx, h.scope, h.id, fence, v.keep.Lease)
			})
			if errors.Is(err, store.ErrFenced) {
				return
			}
			if err != nil && ctx.Err() == nil {
				v.keep.Log.Warn("a lease could not be extended", "connection", string(h.id), "error", err)
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// release gives the lease back. One that passed on is somebody else's and stays so.
func (h *holding) release(ctx context.Context) {
	failpoint.Hit("refresh.release.before")
	err := h.vault.db.InTx(ctx, h.region, func(tx *store.Tx) error {
		return tx.ReleaseGrant(ctx, h.scope, h.id, h.grant.Fence)
	})
	failpoint.Hit("refresh.release.after")
	if err != nil && !errors.Is(err, store.ErrFenced) {
		h.vault.keep.Log.Warn("a lease could not be given back, and will run out", "connection", string(h.id), "error", err)
	}
}
