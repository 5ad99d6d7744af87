package broker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// jobRevokeFlow is the job of the tokens of a connect flow that was given up.
const jobRevokeFlow = "revocation.flow"

// givenUp names a flow, as the argument of a job.
type givenUp struct {
	Organization claviger.OrganizationID `json:"organization"`
	Flow         claviger.FlowID         `json:"flow"`
}

// condemnFlow makes what waits in a flow that is being given up a job's, and answers the
// ciphertext that the flow keeps for it. The flow is before its end; next is after it.
func (b *Broker) condemnFlow(before claviger.ConnectFlow, next *claviger.ConnectFlow, sealed claviger.Sealed) claviger.Sealed {
	keys := before.Draft.SecretKeys
	switch before.Status {
	case claviger.ConnectAnswered: // nobody has looked yet, and it may hold both
		keys = []string{vault.AccessToken, vault.RefreshToken}
	case claviger.ConnectAwaiting:
	default:
		return nil // a code verifier at most
	}
	if sealed == nil || !slices.Contains(keys, vault.AccessToken) {
		return nil
	}
	b.revokeLater(next, slices.Contains(keys, vault.RefreshToken))
	return sealed
}

// revokeLater has a flow's tokens revoked. The job is its caller's to insert.
func (b *Broker) revokeLater(f *claviger.ConnectFlow, refresh bool) {
	now := b.now()
	f.Revoking = &claviger.FlowRevocation{Tokens: pendingTokens(refresh), NextAt: now, GiveUpAt: now.Add(revocationLife)}
	f.ExpiresAt = now.Add(lateAfter)
}

// giveUpFlows gives up what waits to be finished for connections that were deleted: its
// tokens need not live until its ten minutes are over. It is the deletion's, which has
// happened; what fails here is done when they are.
func (b *Broker) giveUpFlows(ctx context.Context, c claviger.Caller, gone ...claviger.Connection) {
	only, limit := claviger.ConnectionID(""), maxWaiting
	if len(gone) == 1 {
		only, limit = gone[0].ID, maxAwaiting
	}
	flows, err := b.db.AwaitingConnectFlows(ctx, c.Scope, "", only, limit)
	for i := range flows {
		f := &flows[i]
		if slices.ContainsFunc(gone, func(conn claviger.Connection) bool { return conn.ID == f.Draft.ID }) {
			err = errors.Join(err, b.abandon(ctx, c, f, claviger.ConnectFailed, claviger.StatusRevoked.Refusal()))
		}
	}
	if err != nil {
		b.log.WarnContext(ctx, "what waits to be finished for deleted connections is not given up yet", "error", err)
	}
}

// maxWaiting bounds the flows of an organization that are looked through when many
// connections are deleted.
const maxWaiting = 1000

// sharesGrant reports whether the connection lives on the same account of the vendor as
// tokens that are given up, as far as is known: many vendors end the whole grant with one
// of its tokens (RFC 7009, section 2.1), and the connection with it. Such tokens are only
// forgotten, and so are those of a reconnect that ended before it was known whose they are.
func (b *Broker) sharesGrant(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow) bool {
	conn, sealed, err := b.db.Connection(ctx, c.Scope, f.Draft.ID)
	if err != nil || sealed == nil {
		return false
	}
	was, is := conn.Account.ID, f.Draft.Account.ID
	return was == "" || is == "" || was == is
}

// revokeGivenUp is the job of one flow's tokens.
func (b *Broker) revokeGivenUp(ctx context.Context, job jobs.Job) error {
	var what givenUp
	if err := json.Unmarshal(job.Args, &what); err != nil {
		return jobs.Discard(err)
	}
	f, sealed, err := b.db.ConnectFlowByID(ctx, what.Flow)
	if errors.Is(err, store.ErrNotFound) || err == nil && (f.Revoking == nil || sealed == nil || f.Organization != what.Organization) {
		return nil
	}
	if err != nil {
		return err
	}
	if early := f.Revoking.NextAt.Sub(b.now()); early > 0 {
		return jobs.Snooze(early)
	}
	r, err := b.attemptFlow(ctx, &f, sealed)
	if err != nil || !r.EndedAt.IsZero() {
		return err
	}
	return jobs.Snooze(r.NextAt.Sub(b.now()))
}

// attemptFlow asks the vendor once about a flow's tokens and keeps what it said. An error
// means that nothing was kept.
func (b *Broker) attemptFlow(ctx context.Context, f *claviger.ConnectFlow, sealed claviger.Sealed) (store.Revocation, error) {
	who, left := b.system(f.Organization), f.Revoking
	r := store.Revocation{
		Organization: f.Organization, Connection: f.Draft.ID, Workspace: f.Workspace, Connector: f.Draft.Connector, Tokens: slices.Clone(left.Tokens),
		Attempts: left.Attempts, Reason: left.Reason, NextAt: left.NextAt, GiveUpAt: left.GiveUpAt, Sealed: sealed,
	}
	what := doomed{conn: &f.Draft, resource: f.Resource(), open: func(ctx context.Context, t *gate.Ticket, m *claviger.AuthMethod) (claviger.Credentials, claviger.OAuthClient, error) {
		return b.vault.OpenGivenUp(ctx, t, f, m, sealed)
	}}
	if b.sharesGrant(ctx, who, f) {
		r.Sealed, r.EndedAt = nil, b.now() // connected again meanwhile
	} else if err := b.advance(ctx, &r, func(ctx context.Context) error { return b.askVendor(ctx, &r, what) }); err != nil {
		return r, err
	}
	region, err := b.db.PlaceOf(ctx, f.Organization, f.Workspace)
	if err != nil {
		return r, err
	}
	return r, b.db.InTx(ctx, region, func(tx *store.Tx) error {
		_, err := tx.UpdateConnectFlow(ctx, who.Scope, f.ID, func(now claviger.ConnectFlow, kept claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
			if now.Revoking == nil || kept == nil {
				return now, nil, nil
			}
			now.Revoking = &claviger.FlowRevocation{Tokens: r.Tokens, Attempts: r.Attempts, Reason: r.Reason, NextAt: r.NextAt, GiveUpAt: r.GiveUpAt}
			now.ExpiresAt = r.NextAt.Add(lateAfter)
			if !r.EndedAt.IsZero() {
				kept = nil
			}
			return now, kept, nil
		})
		return err
	})
}

// lateFlow sees to a given-up flow whose job is late, or lost.
func (b *Broker) lateFlow(ctx context.Context, f *claviger.ConnectFlow) error {
	now, sealed, err := b.db.ConnectFlowByID(ctx, f.ID)
	if err != nil || now.Revoking == nil || sealed == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout+5*time.Second)
	defer cancel()
	_, err = b.attemptFlow(ctx, &now, sealed)
	return err
}
