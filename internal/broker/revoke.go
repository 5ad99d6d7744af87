package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// revocationLife is how long the tokens of a deleted connection are kept, sealed, for
// the vendor to confirm their end.
const revocationLife = 24 * time.Hour

// The jobs of revocation.
const (
	jobRevoke = "revocation.connection" // the tokens of one deleted connection
	jobStop   = "revocation.stop"       // go on stopping what a report asked for
	jobDrain  = "revocation.drain"      // one vendor's tokens of a report, at its rate
	jobLate   = "revocation.late"       // what no other job has done
)

// RevocationKinds are the jobs of revocation. of answers the broker that does them, which
// need not be there before the first runs.
func RevocationKinds(of func() *Broker) map[string]jobs.Kind {
	const timeout = 2 * time.Minute
	backoff := func(n int) time.Duration { return min(jobs.Backoff(n), 5*time.Minute) }
	return map[string]jobs.Kind{
		jobRevoke:     {Run: func(ctx context.Context, j jobs.Job) error { return of().revokeDeleted(ctx, j) }, Timeout: timeout, Attempts: 1000, Backoff: backoff},
		jobStop:       {Run: func(ctx context.Context, j jobs.Job) error { return of().stopMatching(ctx, j) }, Timeout: timeout, Attempts: 1000, Backoff: backoff},
		jobDrain:      {Run: func(ctx context.Context, j jobs.Job) error { return of().drain(ctx, j) }, Timeout: timeout, Attempts: 1000, Backoff: backoff},
		jobRevokeFlow: {Run: func(ctx context.Context, j jobs.Job) error { return of().revokeGivenUp(ctx, j) }, Timeout: timeout, Attempts: 1000, Backoff: backoff},
		jobLate:       {Run: func(ctx context.Context, _ jobs.Job) error { return of().revokeLate(ctx) }, Timeout: timeout, Attempts: 1, Every: 10 * time.Minute},
	}
}

// revoking names the tokens of a deleted connection, as the argument of a job.
type revoking struct {
	Organization claviger.OrganizationID `json:"organization"`
	Connection   claviger.ConnectionID   `json:"connection"`
	Revision     int64                   `json:"revision"`
}

// DeleteConnection stops a connection's use at once, destroys its ciphertext and keeps
// a tombstone with the verdict on each token. Tokens that an authorization server issued
// are kept for a day, sealed for their revocation alone, which a job sees to; their
// verdict is pending until then. Keys and passwords cannot be revoked through an
// interface of the vendors' that a connector declares, so their verdict is
// not_supported.
func (b *Broker) DeleteConnection(ctx context.Context, c claviger.Caller, id claviger.ConnectionID, force bool) (claviger.Connection, error) {
	conn, err := b.find(ctx, c, claviger.ConnectionsDelete, id)
	if err != nil || conn.Status == claviger.StatusRevoked {
		return conn, err
	}
	if err := b.vault.Prepare(ctx, conn.Organization); err != nil {
		return conn, err
	}
	err = b.gate.Change(ctx, c, claviger.ConnectionsDelete, conn.Resource(), func(tx *store.Tx, t *gate.Ticket) error {
		conn, err = b.bury(ctx, tx, t, id)
		return err
	})
	b.lives.drop(id)
	if err == nil {
		b.giveUpFlows(context.WithoutCancel(ctx), c, conn)
	}
	return conn, err
}

// bury makes a connection a tombstone and its tokens a job's.
func (b *Broker) bury(ctx context.Context, tx *store.Tx, t *gate.Ticket, id claviger.ConnectionID) (claviger.Connection, error) {
	var sets []store.Revocation
	first := false
	scope := t.Caller().Scope
	conn, err := tx.UpdateConnection(ctx, scope, id, func(old claviger.Connection, sealed claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
		if first = old.Status != claviger.StatusRevoked; !first {
			return old, nil, nil // somebody else was faster
		}
		what := store.Condemned{Connection: old, Sealed: sealed}
		answer, err := tx.JournaledAnswer(ctx, scope, id)
		switch {
		case err == nil:
			what.Answer = &answer
		case !errors.Is(err, store.ErrNotFound):
			return old, nil, err
		}
		old.Status, old.Health, old.SecretPaths, old.UpdatedAt = claviger.StatusRevoked, claviger.HealthUnknown, nil, b.now()
		old.Revocations, sets, err = b.condemn(ctx, t, what, "")
		return old, nil, err
	})
	if err != nil || !first {
		return conn, err
	}
	if !issued(&conn) {
		sets = nil // there is nothing to wait for
	}
	if err := b.enqueue(ctx, tx, sets); err != nil {
		return conn, err
	}
	return conn, b.announce(ctx, tx, claviger.EventConnectionRevoked, &conn)
}

// enqueue keeps what is to be revoked, with a job for each.
func (b *Broker) enqueue(ctx context.Context, tx *store.Tx, sets []store.Revocation) error {
	if err := tx.AddRevocations(ctx, sets); err != nil {
		return err
	}
	for _, r := range sets {
		if !r.EndedAt.IsZero() {
			continue
		}
		if err := b.insert(ctx, tx, jobRevoke, revoking{r.Organization, r.Connection, r.Revision}, jobs.Options{}); err != nil {
			return err
		}
	}
	return nil
}

// condemn answers what a tombstone shows of its tokens, and what is to be revoked of
// them. The ticket covers the connection.
func (b *Broker) condemn(ctx context.Context, t *gate.Ticket, what store.Condemned, report claviger.ReportID) ([]claviger.Revocation, []store.Revocation, error) {
	now, conn := b.now(), &what.Connection
	set := store.Revocation{
		Organization: conn.Organization, Connection: conn.ID, Revision: conn.Revision, Workspace: conn.Workspace, Connector: conn.Connector,
		Report: report, NextAt: now, GiveUpAt: now.Add(revocationLife), CreatedAt: now,
	}
	if !issued(conn) {
		set.EndedAt = now
		if len(conn.SecretKeys) > 0 {
			set.Tokens = []claviger.Revocation{{Token: claviger.TokenCredential, Verdict: claviger.VerdictNotSupported}}
		}
		return set.Tokens, []store.Revocation{set}, nil
	}
	set.Tokens = pendingTokens(slices.Contains(conn.SecretKeys, vault.RefreshToken))
	sealed, err := b.vault.SealRevocation(ctx, t, conn, what.Sealed)
	switch {
	case claviger.IsKind(err, claviger.KindInternal): // deleting must work all the same
		giveUp(&set, "the stored tokens could not be read", now)
	case err != nil:
		return nil, nil, err
	}
	set.Sealed = sealed
	shown, sets := set.Tokens, []store.Revocation{set}
	if what.Answer == nil || what.Answer.SentRevision != conn.Revision {
		return shown, sets, nil
	}
	// A refresh was answered and nobody has read it yet: there are newer tokens.
	next := set
	next.Revision, next.Tokens, next.EndedAt = conn.Revision+1, pendingTokens(true), time.Time{}
	if next.Sealed, err = b.vault.SealAnswer(ctx, t, conn, what.Answer.Answer); err != nil {
		b.log.ErrorContext(ctx, "a journalled answer could not be kept to be revoked", "connection", string(conn.ID), "error", err)
		return shown, sets, nil
	}
	return slices.Concat(shown, next.Tokens), append(sets, next), nil
}

// issued reports whether a connection's credentials are tokens of an authorization
// server.
func issued(conn *claviger.Connection) bool {
	return !conn.RefreshAt.IsZero() && slices.Contains(conn.SecretKeys, vault.AccessToken)
}

func pendingTokens(refresh bool) []claviger.Revocation {
	out := []claviger.Revocation{{Token: claviger.TokenAccess, Verdict: claviger.VerdictPending}}
	if refresh {
		out = append(out, claviger.Revocation{Token: claviger.TokenRefresh, Verdict: claviger.VerdictPending})
	}
	return out
}

// giveUp makes what is pending a failure.
func giveUp(r *store.Revocation, why string, now time.Time) {
	for i := range r.Tokens {
		if r.Tokens[i].Verdict == claviger.VerdictPending {
			r.Tokens[i].Verdict = claviger.VerdictFailed + ": " + why
		}
	}
	r.Reason, r.EndedAt, r.Sealed = why, now, nil
}

// RevokeIssued sees to the end of tokens that a vendor issued for a connection that was
// deleted meanwhile: deleting wins, and they must not live on. tokens are they, or the
// answer that they are in ([vault.JournaledAnswer]). The job that it makes is the
// deletion's.
func (b *Broker) RevokeIssued(ctx context.Context, conn *claviger.Connection, tokens claviger.Credentials) error {
	now, who := b.now(), b.system(conn.Organization)
	set := store.Revocation{
		Organization: conn.Organization, Connection: conn.ID, Revision: conn.Revision + 1, Workspace: conn.Workspace, Connector: conn.Connector,
		Tokens: pendingTokens(tokens[vault.AccessToken].Empty() || !tokens[vault.RefreshToken].Empty()), NextAt: now, GiveUpAt: now.Add(revocationLife), CreatedAt: now,
	}
	err := b.gate.Change(ctx, who, claviger.ConnectionsRevoke, conn.Resource(), func(tx *store.Tx, t *gate.Ticket) (err error) {
		if set.Sealed, err = b.vault.SealIssued(ctx, t, conn, set.Revision, tokens); err != nil {
			return err
		}
		if err := b.enqueue(ctx, tx, []store.Revocation{set}); err != nil {
			return err
		}
		return tx.ShowRevocations(ctx, conn.Organization, conn.ID)
	})
	b.lives.drop(conn.ID)
	return err
}
