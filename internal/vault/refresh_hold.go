package vault

import (
	"context"
	"errors"
	"net/url"
	"time"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/gate"
	"claviger/internal/oauth"
	"claviger/internal/seal"
	"claviger/internal/store"
)

// holding is a flight that holds the lease: nobody else sends this connection's token.
type holding struct {
	*flight
	region claviger.RegionID
	grant  store.Grant
	ticket *gate.Ticket
	ending gate.Ending
	leased time.Time // just before the lease was taken, by the process's clock
}

// party is whom a flight speaks to, and with what.
type party struct {
	rules    *claviger.OAuth
	required []string // scopes that the connector needs for everything
	cfg      oauth.Config
	client   claviger.OAuthClient
	stored   claviger.Credentials // as they are sealed
	used     claviger.Credentials // with kv:// references resolved
	keys     *seal.Keyset         // that its answer is sealed under
}

// hold does what the row needs now. again asks for another lease: the answer could not
// be stored under this one.
func (h *holding) hold(ctx context.Context) (again bool, err error) {
	stop := h.beat(ctx)
	defer func() { stop(); h.release(ctx) }()
	// Inside the lease again: what was read before it may be of before somebody else's
	// refresh, and its token used up.
	if h.row, err = h.read(ctx); err != nil {
		return h.answered(), err
	}
	if h.answered() && h.answerTo != h.row.conn.Revision {
		h.forget() // somebody else was first; the row has tokens
		return false, nil
	}
	if !h.answered() {
		if !h.needs(&h.row.conn, &h.grant) {
			return false, h.leave(ctx)
		}
		if err := h.untimely(&h.grant); err != nil {
			return false, err
		}
	}
	h.look()
	if h.ticket, err = h.admit(ctx); err != nil {
		return h.answered(), err
	}
	defer func() { h.ticket.Done(h.ending) }()
	again, err = h.proceed(ctx)
	h.ending.Err = err
	return again, err
}

func (h *holding) admit(ctx context.Context) (*gate.Ticket, error) {
	k := h.vault.keep
	return k.Gate.Admit(ctx, k.Caller(h.row.conn.Organization), claviger.ConnectionsRefresh, h.row.conn.Resource(), "")
}

// leave puts off what the background found although nothing can be done to it now.
func (h *holding) leave(ctx context.Context) error {
	if !h.want.tended || h.row.conn.Status == claviger.StatusActive {
		return nil
	}
	return h.write(ctx, func(g *store.Grant, _ time.Time) { g.RetryAt = h.vault.keep.clock(h.vault.now()).Add(store.MaxRetry) })
}

// minAge is how old a token must be to be renewed because the vendor refused it.
const minAge = time.Minute

// untimely answers why the vendor is not asked now, or nil.
func (f *flight) untimely(g *store.Grant) error {
	now := f.vault.keep.clock(f.vault.now())
	// What lies further ahead than it was ever set is of before the clock was set back.
	if wait := g.RetryAt.Sub(now); g.State == store.GrantIdle && wait > 0 && wait <= store.MaxRetry {
		f.vault.keep.hush(f.id, g.RetryAt)
		return stalled(g.Cause, wait)
	}
	if f.want.past > 0 && !g.IssuedAt.IsZero() && now.Sub(g.IssuedAt).Abs() < minAge {
		return useless()
	}
	return nil
}

// stalled is the error while a failed refresh waits to be tried again.
func stalled(cause string, wait time.Duration) *claviger.Error {
	kind := claviger.KindUpstream
	switch cause {
	case "upstream_rate_limited":
		kind = claviger.KindRateLimited
	case "reauthorization_required": // of the connection whose token is exchanged
		return claviger.Errorf(claviger.KindReauthorize, cause, "The vendor no longer accepts the connection whose token is exchanged. Its owner must connect that again.")
	}
	e := claviger.Errorf(kind, cause, "The vendor did not issue a new access token. It is asked again later.")
	e.RetryAfter = max(wait, time.Second).Round(time.Second)
	return e
}

// proceed goes on from where the last holder stopped.
func (h *holding) proceed(ctx context.Context) (again bool, err error) {
	if h.party == nil {
		if h.party, err = h.vault.party(ctx, h.ticket, h.scope, h.row); err != nil {
			return h.answered(), h.postpone(ctx, err)
		}
	}
	h.ending.Host = host(h.party.cfg.Endpoints.Token)
	if h.spilled != nil && h.answer == nil {
		if err := h.unseal(ctx); err != nil {
			return h.answered(), err
		}
	}
	if h.answer != nil {
		return h.journal(ctx)
	}
	state := h.grant.State
	if state != store.GrantIdle && h.grant.SentRevision != h.row.conn.Revision || h.neverLeft() {
		state = store.GrantIdle // what was sent is no longer the connection's, or was not sent
		h.grant.Sends = 0
	}
	if state == store.GrantIntent && h.grant.Sends > 0 {
		state = store.GrantSending // to be repeated, which it may by now be too late for
	}
	switch state {
	case store.GrantJournaled:
		return h.adopt(ctx)
	case store.GrantSending, store.GrantUncertain: // its holder is gone, and the answer with it
		return h.doubt(ctx, nil)
	default:
		return h.refresh(ctx)
	}
}

// neverLeft reports whether the token of the last attempt is known not to have left,
// whatever its mark says: it was this flight's, and nobody held the lease since.
func (h *holding) neverLeft() bool {
	if h.unsent == 0 || h.unsent != h.grant.Fence-1 {
		h.unsent = 0
		return false
	}
	h.unsent = h.grant.Fence
	return true
}

// adopt uses the answer that a holder who is gone left in the journal.
func (h *holding) adopt(ctx context.Context) (again bool, err error) {
	k, err := h.vault.opening(ctx, h.row.conn.Organization, h.grant.Answer)
	if err != nil {
		return false, err
	}
	plain, err := k.Open(h.answerBinding(), h.grant.Answer)
	if err != nil {
		h.vault.keep.Log.Error("a journalled answer is not the one that belongs here", "connection", string(h.id))
		return false, unreadable(err)
	}
	raw, err := oauth.FromJournal(claviger.NewSecret(plain))
	clear(plain)
	if err != nil {
		return false, err
	}
	return h.settle(ctx, raw)
}

func (h *holding) answerBinding() claviger.Binding { return answerBinding(&h.row.conn) }

func answerBinding(conn *claviger.Connection) claviger.Binding {
	b := conn.Binding()
	b.Purpose = "grant-answer"
	return b
}

// refresh sends the connection's token, once or, where that does no harm, twice.
func (h *holding) refresh(ctx context.Context) (again bool, err error) {
	if !mints(h.party.rules) && h.party.used[RefreshToken].Empty() {
		return false, h.end(ctx, codeNoMore, "The vendor issued no refresh token, and the access token has ended.")
	}
	if !mints(h.party.rules) && Ended(&h.grant) && h.grant.SentRevision == h.row.conn.Revision {
		return false, h.end(ctx, h.grant.Cause, noLongerAccepted) // switched off and on again
	}
	failpoint.Hit("refresh.intent.before")
	anew := h.unsent != 0
	err = h.write(ctx, func(g *store.Grant, now time.Time) {
		if g.SentRevision != h.row.conn.Revision || g.State == store.GrantIdle || anew {
			g.SentRevision, g.Sends = h.row.conn.Revision, 0
		}
		if g.Sends == 0 {
			g.IntentAt = now
		}
		g.State, g.Answer = store.GrantIntent, nil
	})
	if err != nil {
		return false, err
	}
	failpoint.Hit("refresh.intent.after")
	attempt := h.send(ctx)
	switch attempt.Outcome {
	case oauth.Answered:
		h.answer, h.answerTo = &attempt.Raw, h.row.conn.Revision
		return h.journal(ctx)
	case oauth.Uncertain:
		return h.doubt(ctx, attempt.Err)
	}
	switch {
	case h.unsent != 0:
		return true, attempt.Err // the mark may be there, and says too much
	case h.grant.Sends > 0: // it has left before, and that is as doubtful as it was
		err := h.write(ctx, func(g *store.Grant, _ time.Time) { g.State = store.GrantSending })
		return false, errors.Join(attempt.Err, err)
	}
	return false, h.postpone(ctx, attempt.Err)
}

// send marks the token as sent at the last moment before it is, and sends it.
func (h *holding) send(ctx context.Context) oauth.Attempt {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var unmarked error
	sends := h.grant.Sends + 1 // however often the vendor wants a nonce before it looks at the token
	marked := oauth.OnSend(ctx, func() {
		failpoint.Hit("refresh.sending.before")
		unmarked = h.write(ctx, func(g *store.Grant, _ time.Time) {
			g.State, g.Sends = store.GrantSending, sends
		})
		if unmarked != nil {
			cancel() // not a byte has left yet
		}
		failpoint.Hit("refresh.sending.after")
	})
	failpoint.Hit("refresh.send.before")
	attempt := h.ask(marked)
	failpoint.Hit("refresh.send.after")
	if unmarked != nil && attempt.Outcome != oauth.Answered {
		if sends == 1 { // and not the repeat of one that may have arrived
			h.unsent = h.grant.Fence
		}
		return oauth.Attempt{Outcome: oauth.NotSent, Err: unmarked}
	}
	return attempt
}

// host answers the host of an address, for the ledger.
func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// requested answers the scopes to mint with, nil for the connector's own.
func (h *holding) requested() []string {
	if len(h.grant.RequestedScopes) == 0 {
		return nil
	}
	return h.grant.RequestedScopes
}

// spillAfter is how long the database may take to store an answer before that is put on
// the disk beside it.
const spillAfter = 2 * time.Second

// journal stores the answer, sealed and unread: from here on a crash loses nothing.
func (h *holding) journal(ctx context.Context) (again bool, err error) {
	sealed, err := h.sealAnswer(ctx)
	if err != nil {
		return true, err
	}
	failpoint.Hit("refresh.journal.before")
	wrote := make(chan error, 1)
	go func() {
		wrote <- h.write(ctx, func(g *store.Grant, _ time.Time) {
			g.State, g.SentRevision, g.Answer = store.GrantJournaled, h.answerTo, sealed
		})
	}()
	patience := time.NewTimer(spillAfter)
	defer patience.Stop()
	select {
	case err = <-wrote:
	case <-patience.C: // a database that says nothing may say so for long
		h.save(sealed)
		err = <-wrote
	}
	if err != nil {
		h.save(sealed)
		h.vault.keep.Log.Warn("a vendor's answer is not stored yet", "connection", string(h.id), "error", err)
		return true, err
	}
	failpoint.Hit("refresh.journal.after")
	h.unspill("")
	return h.settle(ctx, *h.answer)
}

func (h *holding) sealAnswer(ctx context.Context) (sealed claviger.Sealed, err error) {
	text, err := h.answer.Journal()
	if err != nil {
		return nil, err
	}
	k, err := h.keyed(ctx)
	if err != nil {
		return nil, err
	}
	text.Use(func(b []byte) { sealed, err = k.Seal(h.answerBinding(), b) })
	return sealed, err
}

// settle reads an answer that is in the journal, and acts on it.
func (h *holding) settle(ctx context.Context, raw oauth.Raw) (again bool, err error) {
	h.ending.StatusCode = raw.Status
	class := oauth.Classify(h.party.cfg, raw)
	switch {
	case class.Verdict == oauth.Granted:
		tokens, err := oauth.Parse(h.party.cfg, h.party.client, raw)
		if err != nil { // the token may be used up, and what came for it is of no use
			h.forget()
			return h.doubt(ctx, err)
		}
		return h.commit(ctx, tokens)
	case class.Verdict == oauth.Unintelligible:
		h.forget()
		return h.doubt(ctx, class.Err())
	}
	h.forget()
	if class.Dead() || class.Verdict == oauth.Expired {
		if h.grant.Sends > 1 {
			return false, h.end(ctx, codeUncertain, "A refresh broke off, and when it was repeated the vendor had used the refresh token up.")
		}
		if mints(h.party.rules) {
			return false, h.end(ctx, codeDead, "The vendor no longer issues tokens for the connection's credentials: they were withdrawn, or have expired.")
		}
		return false, h.end(ctx, codeDead, noLongerAccepted)
	}
	if class.Registration() {
		h.vault.keep.Log.Error("a vendor refuses an OAuth client, which all its connections share", "connector", h.row.conn.Connector,
			"organization", string(h.row.conn.Organization), "verdict", string(class.Verdict))
		return false, h.postpone(ctx, claviger.Errorf(claviger.KindUpstream, "oauth_client_refused",
			"The vendor refused the connector's OAuth client. Check its client id, its secret or key, and the grants that it is allowed.").With(class.Err()))
	}
	return false, h.postpone(ctx, class.Err())
}

const noLongerAccepted = "The vendor no longer accepts the refresh token: access was withdrawn, or it has expired."

// codeUncertain is the cause of connections whose refresh token may be used up.
const codeUncertain = "refresh_uncertain"

// doubt decides what to do about a token that may have been used up: send it once more
// where the vendor bears that, else go on with the old access token as long as it lives.
func (h *holding) doubt(ctx context.Context, cause error) (again bool, err error) {
	if h.repeatable() {
		return h.refresh(ctx)
	}
	conn := &h.row.conn
	alive := conn.ExpiresAt.IsZero() || h.vault.keep.clock(h.vault.now()).Before(conn.ExpiresAt)
	if !alive || h.want.past == conn.Revision {
		return false, h.end(ctx, codeUncertain, "A refresh broke off after it was sent. The vendor may have replaced the refresh token, and its answer is lost.")
	}
	return false, h.distrust(ctx, cause)
}

// repeatable reports whether the vendor bears the same token a second time. What the
// connector says counts; where it says nothing, what the vendor has done so far.
func (h *holding) repeatable() bool {
	rules := h.party.rules
	switch {
	case h.grant.Sends > 1:
		return false
	case mints(rules), rules.Refresh.Idempotent:
		return true
	case rules.Refresh.Rotates || h.grant.Rotates:
		// By the lease's own clock up to the lease, by ours from there.
		elapsed := h.grant.LeaseUntil.Add(-h.vault.keep.Lease).Sub(h.grant.IntentAt) + h.vault.now().Sub(h.leased)
		// Without a grace never, however the clocks are rounded.
		return rules.Refresh.Grace > 0 && elapsed < rules.Refresh.Grace
	}
	return true
}

// write changes the grant under the lease and remembers it.
func (h *holding) write(ctx context.Context, change func(g *store.Grant, now time.Time)) error {
	err := h.vault.db.InTx(ctx, h.region, func(tx *store.Tx) error { return h.update(ctx, tx, change) })
	if err == nil {
		h.unsent = 0
	}
	return err
}

func (h *holding) update(ctx context.Context, tx *store.Tx, change func(g *store.Grant, now time.Time)) error {
	g, err := tx.UpdateGrant(ctx, h.scope, h.id, h.grant.Fence, change)
	if err == nil {
		until := h.grant.LeaseUntil // stays that of the beginning, which repeatable counts from
		h.grant = g
		h.grant.LeaseUntil = until
	}
	return err
}

// party finds out whom a connection's tokens are refreshed at, and opens what that takes.
func (v *Vault) party(ctx context.Context, t *gate.Ticket, s claviger.Scope, r *row) (*party, error) {
	method, err := v.keep.Method(ctx, s, &r.conn)
	if err != nil {
		return nil, err
	}
	if method.OAuth == nil {
		return nil, claviger.Invalid("authMethod", "unknown_auth_method", "The connection's auth method is not one of type oauth2.")
	}
	p := &party{rules: method.OAuth}
	if method.Permissions != nil {
		p.required = method.Permissions.Required
	}
	p.cfg, err = oauth.Resolve(method.OAuth, string(r.conn.Organization)+"/"+r.conn.Connector, func(name string) (string, bool) {
		value, ok := r.conn.Settings[name]
		return value, ok
	})
	if err != nil {
		return nil, err
	}
	if p.cfg.Endpoints.Token == "" && p.cfg.Issuer != "" {
		if p.cfg, err = v.Discovered(ctx, s, v.keep.OAuth, &r.conn, p.cfg); err != nil {
			return nil, err
		}
	}
	if p.keys, err = v.keyset(ctx, r.conn.Organization); err != nil {
		return nil, err
	}
	if p.stored, err = v.Stored(ctx, t, &r.conn, r.sealed); err != nil {
		return nil, err
	}
	if p.used, err = v.Resolve(ctx, t, p.stored); err != nil {
		return nil, err
	}
	p.client, err = v.ClientOf(ctx, t, r.conn.Connector, method, p.used)
	return p, err
}

// superseded is answered inside a change whose row got other tokens meanwhile.
var errSuperseded = errors.New("vault: the connection has other tokens by now")
