package broker

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/oauth"
	"claviger/internal/store"
	"claviger/internal/vault"
)

const (
	// The pauses between two attempts at a vendor that does not confirm.
	firstAgain, longestAgain = 5 * time.Second, 15 * time.Minute
	// revokeTimeout bounds one attempt for one connection.
	revokeTimeout = 40 * time.Second
	// revokeRate and revokeBurst are what a vendor is asked at most, per second, whose
	// connector declares no limit.
	revokeRate, revokeBurst = 10, 10
	// drainBatch bounds one run of a drain, drainAtOnce what it asks at the same time.
	drainBatch, drainAtOnce = 100, 8
	// lateAfter is how long an attempt may be overdue before it is seen to all the same.
	lateAfter = 10 * time.Minute
)

// revokeDeleted is the job of one deleted connection's tokens.
func (b *Broker) revokeDeleted(ctx context.Context, job jobs.Job) error {
	var what revoking
	if err := json.Unmarshal(job.Args, &what); err != nil {
		return jobs.Discard(err)
	}
	r, err := b.db.Revocation(ctx, job.Place, what.Organization, what.Connection, what.Revision)
	if errors.Is(err, store.ErrNotFound) || err == nil && !r.EndedAt.IsZero() {
		return nil
	}
	if err != nil {
		return err
	}
	if early := r.NextAt.Sub(b.now()); early > 0 {
		return jobs.Snooze(early)
	}
	if r, err = b.attemptRevocation(ctx, job.Place, r); err != nil || !r.EndedAt.IsZero() {
		return err
	}
	return jobs.Snooze(r.NextAt.Sub(b.now()))
}

// drain is the job of one vendor's tokens of a report.
func (b *Broker) drain(ctx context.Context, job jobs.Job) error {
	var what draining
	if err := json.Unmarshal(job.Args, &what); err != nil {
		return jobs.Discard(err)
	}
	due, err := b.db.DueRevocations(ctx, job.Place, what.Organization, what.Report, what.Connector, b.now(), drainBatch)
	if err != nil {
		return err
	}
	if err := b.attemptAll(ctx, job.Place, due); err != nil {
		return err
	}
	next, err := b.db.NextRevocation(ctx, job.Place, what.Organization, what.Report, what.Connector)
	if err != nil || next.IsZero() {
		return err
	}
	return jobs.Snooze(next.Sub(b.now()))
}

// revokeLate sees to what no other job has done, above all to what has been kept for a
// day and must go.
func (b *Broker) revokeLate(ctx context.Context) error {
	var all []error
	for _, place := range b.db.Places() {
		late, err := b.db.OverdueRevocations(ctx, place, b.now().Add(-lateAfter), drainBatch)
		all = append(all, err, b.attemptAll(ctx, place, late))
	}
	return errors.Join(all...)
}

// attemptAll makes an attempt at each, some at the same time.
func (b *Broker) attemptAll(ctx context.Context, place claviger.RegionID, due []store.Revocation) error {
	places := make(chan struct{}, drainAtOnce)
	failures := make(chan error, len(due))
	var running sync.WaitGroup
	for _, r := range due {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			_, err := b.attemptRevocation(ctx, place, r)
			failures <- err
		})
	}
	running.Wait()
	close(failures)
	var all []error
	for err := range failures {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// attemptRevocation asks the vendor once about what is pending, keeps what it said and
// answers that. An error means that nothing was kept: claviger could not do its part. What
// another job is asking about at the moment is left to it.
func (b *Broker) attemptRevocation(ctx context.Context, place claviger.RegionID, r store.Revocation) (store.Revocation, error) {
	until, mine := b.now().Add(revokeTimeout+5*time.Second), false
	err := b.db.InTx(ctx, place, func(tx *store.Tx) (err error) {
		mine, err = tx.ClaimRevocation(ctx, r, until)
		return err
	})
	if err != nil || !mine {
		r.NextAt = until
		return r, err
	}
	if err := b.advance(ctx, &r, func(ctx context.Context) error { return b.askToRevoke(ctx, &r) }); err != nil {
		return r, err
	}
	err = b.db.InTx(ctx, place, func(tx *store.Tx) error { return tx.SaveRevocation(ctx, r) })
	b.lives.drop(r.Connection)
	return r, err
}

// advance asks the vendor once, if there is still time for it, and puts what follows from
// that into r. An error is claviger's own, and r stays as it was.
func (b *Broker) advance(ctx context.Context, r *store.Revocation, ask func(context.Context) error) error {
	if b.now().Before(r.GiveUpAt) {
		asking, done := context.WithTimeout(ctx, revokeTimeout)
		err := ask(asking)
		done()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if ours(err) {
			return err
		}
		b.noteAttempt(r, err)
	}
	now := b.now()
	switch {
	case !r.Pending():
		r.EndedAt, r.Sealed = now, nil
	case !now.Before(r.GiveUpAt):
		why := r.Reason
		if why == "" {
			why = "the vendor was not reached within a day"
		}
		giveUp(r, why, now)
	}
	return nil
}

// doomed is what tokens are revoked of: a connection that was deleted, or a flow's draft
// of one that was given up.
type doomed struct {
	conn     *claviger.Connection
	resource claviger.Resource
	open     func(context.Context, *gate.Ticket, *claviger.AuthMethod) (claviger.Credentials, claviger.OAuthClient, error)
}

// ours reports whether an error is claviger's own, which says nothing about the tokens:
// its database or its ledger did not answer.
func ours(err error) bool {
	if err == nil {
		return false
	}
	e := claviger.AsError(err)
	return e.Code == "audit_unavailable" || e.Kind == claviger.KindInternal && e.Code != "credential_unreadable"
}

// noteAttempt decides from an attempt's error, which said nothing about a single token,
// whether there is another.
func (b *Broker) noteAttempt(r *store.Revocation, err error) {
	r.Attempts++
	pause := min(firstAgain<<min(r.Attempts-1, 10), longestAgain)
	if err != nil {
		e := claviger.AsError(err)
		r.Reason = plainReason(e.Message)
		pause = max(pause, min(e.RetryAfter, longestAgain))
		switch e.Kind {
		case claviger.KindUpstream, claviger.KindTimeout, claviger.KindRateLimited, claviger.KindUnavailable:
		default: // it will not be otherwise tomorrow
			giveUp(r, r.Reason, b.now())
		}
	}
	r.NextAt = b.now().Add(pause)
	if r.GiveUpAt.Before(r.NextAt) {
		r.NextAt = r.GiveUpAt
	}
}

// plainReason makes a sentence a reason: it follows a colon.
func plainReason(message string) string { return strings.TrimSuffix(message, ".") }

// askToRevoke asks the vendor to end what is pending and puts its verdicts into r. The
// error is that of what is still pending then, or of what stood in the way.
func (b *Broker) askToRevoke(ctx context.Context, r *store.Revocation) error {
	conn, _, err := b.db.Connection(ctx, b.system(r.Organization).Scope, r.Connection)
	if err != nil {
		return err
	}
	return b.askVendor(ctx, r, doomed{conn: &conn, resource: conn.Resource(), open: func(ctx context.Context, t *gate.Ticket, m *claviger.AuthMethod) (claviger.Credentials, claviger.OAuthClient, error) {
		return b.vault.OpenRevocation(ctx, t, &conn, m, *r)
	}})
}

func (b *Broker) askVendor(ctx context.Context, r *store.Revocation, what doomed) error {
	who, conn := b.system(r.Organization), what.conn
	connector, err := b.connector(ctx, who.Scope, conn.Connector, conn.ConnectorVersion)
	if err != nil {
		return err
	}
	method, _ := connector.Method(conn.AuthMethod)
	cfg, err := b.revocationConfig(ctx, method, conn)
	if err != nil {
		return err
	}
	if cfg.Endpoints.Revoke == "" {
		for i := range r.Tokens {
			settle(&r.Tokens[i], claviger.VerdictNotSupported)
		}
		return nil
	}
	if moved := grantMoved(conn, method); moved != nil {
		return moved
	}
	resource := what.resource
	resource.Host = hostOf(cfg.Endpoints.Revoke)
	t, err := b.gate.Admit(ctx, who, claviger.ConnectionsRevoke, resource, "")
	if err != nil {
		return err
	}
	asked := asking{broker: b, cfg: cfg, method: method, limiter: b.revokeLimiter(r.Organization, connector), revocation: r}
	err = asked.all(ctx, t, what)
	if err == nil {
		err = asked.again
	}
	t.Done(gate.Ending{Err: errors.Join(err, asked.refused), StatusCode: asked.status, Host: resource.Host})
	return err
}

// revocationConfig answers how the tokens of a method are revoked. Where there is no
// address for it, the vendor has no way.
func (b *Broker) revocationConfig(ctx context.Context, method *claviger.AuthMethod, conn *claviger.Connection) (oauth.Config, error) {
	if method == nil || method.OAuth == nil {
		return oauth.Config{}, nil
	}
	cfg, err := oauth.Resolve(method.OAuth, string(conn.Organization)+"/"+conn.Connector, func(name string) (string, bool) {
		value, ok := conn.Settings[name]
		return value, ok
	})
	if err != nil || cfg.Endpoints.Revoke != "" || cfg.Issuer == "" {
		return cfg, err
	}
	return b.vault.Discovered(ctx, b.system(conn.Organization).Scope, b.connecting.oauth, conn, cfg)
}

// revokeLimiter answers what limits the requests for revocation that this process sends
// to a connector's vendor for an organization.
func (b *Broker) revokeLimiter(organization claviger.OrganizationID, connector *claviger.Connector) *rate.Limiter {
	perSecond, burst := connector.RateLimit.RequestsPerSecond, connector.RateLimit.Burst
	if perSecond <= 0 {
		perSecond, burst = revokeRate, revokeBurst
	}
	fresh := limit{perSecond, burst, rate.NewLimiter(rate.Limit(perSecond), max(burst, 1))}
	key := string(organization) + "/" + connector.Key
	return b.drains.settle(key, fresh, func(old limit) bool { return old.perSecond == perSecond && old.burst == burst }).limiter
}

// asking is one attempt at one vendor.
type asking struct {
	broker     *Broker
	cfg        oauth.Config
	method     *claviger.AuthMethod
	limiter    *rate.Limiter
	revocation *store.Revocation
	status     int
	again      error // why a token is still pending
	refused    error // why one was refused for good
}

// all opens the tokens and asks about each that is pending, the refresh token first: at
// many vendors it takes the access token with it.
func (a *asking) all(ctx context.Context, t *gate.Ticket, what doomed) error {
	r := a.revocation
	values, client, err := what.open(ctx, t, a.method)
	if err != nil {
		return err
	}
	if !values[vault.JournaledAnswer].Empty() {
		if values, err = vault.IssuedIn(a.cfg, client, values); err != nil {
			return err
		}
	}
	held := r.Tokens[:0]
	for _, token := range r.Tokens {
		if value := values[valueOf(token.Token)]; !value.Empty() || token.Verdict != claviger.VerdictPending {
			held = append(held, token)
		}
	}
	r.Tokens = held
	for i := len(r.Tokens) - 1; i >= 0; i-- {
		token := &r.Tokens[i]
		if token.Verdict != claviger.VerdictPending {
			continue
		}
		if err := a.limiter.Wait(ctx); err != nil {
			return claviger.Errorf(claviger.KindTimeout, "revocation_waits", "The vendor's rate limit left no time for it.").With(err)
		}
		a.one(ctx, client, values[valueOf(token.Token)], token)
	}
	return nil
}

// valueOf answers the credential that a verdict is about.
func valueOf(token string) string {
	if token == claviger.TokenRefresh {
		return vault.RefreshToken
	}
	return vault.AccessToken
}

// one asks about one token.
func (a *asking) one(ctx context.Context, client claviger.OAuthClient, value claviger.Secret, token *claviger.Revocation) {
	hint := oauth.HintAccess
	if token.Token == claviger.TokenRefresh {
		hint = oauth.HintRefresh
	}
	said := a.broker.connecting.oauth.Revoke(ctx, a.cfg, client, value, hint)
	if said.Class.Status != 0 {
		a.status = said.Class.Status
	}
	switch {
	case said.Verdict == oauth.Revoked:
		settle(token, claviger.VerdictRevoked)
	case said.Verdict == oauth.NotSupported:
		settle(token, claviger.VerdictNotSupported)
	case said.Retry || said.Class.Status == 0 || said.Class.Status >= 500:
		e := claviger.Errorf(claviger.KindUpstream, "revocation_failed", "%s", said.Reason)
		e.RetryAfter = said.Class.After
		a.again = e
	default:
		settle(token, claviger.VerdictFailed+": "+plainReason(said.Reason))
		a.refused = claviger.Errorf(claviger.KindUpstream, "revocation_failed", "%s", said.Reason)
	}
}

func settle(token *claviger.Revocation, verdict string) {
	if token.Verdict == claviger.VerdictPending {
		token.Verdict = verdict
	}
}
