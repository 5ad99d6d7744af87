package vault

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/gate"
	"claviger/internal/oauth"
	"claviger/internal/store"
)

// commit stores the new tokens, if the connection still has those that were sent. Only
// then are they used. A connection that a person switched off meanwhile keeps its
// tokens and stays off: the vendor may have ended the old ones, and it must be possible
// to switch it on again.
func (h *holding) commit(ctx context.Context, tokens claviger.Tokens) (again bool, err error) {
	var next row
	failpoint.Hit("refresh.commit.before")
	err = h.vault.db.InTx(ctx, h.region, func(tx *store.Tx) error {
		var issued store.Grant
		var narrowed bool
		_, err := tx.UpdateConnection(ctx, h.scope, h.id, func(old claviger.Connection, _ claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
			if old.Revision != h.row.conn.Revision || old.Status == claviger.StatusPending || old.Status == claviger.StatusRevoked {
				return old, nil, errSuperseded
			}
			next.conn = old
			issued, narrowed = h.take(&next, tokens)
			var err error
			next.sealed, err = h.vault.Seal(ctx, h.ticket, &next.conn, next.creds)
			return next.conn, next.sealed, err
		})
		if err != nil {
			return err
		}
		if err := h.update(ctx, tx, func(g *store.Grant, _ time.Time) { h.renew(g, issued, tokens) }); err != nil {
			return err
		}
		if narrowed {
			return h.vault.keep.Announce(ctx, tx, claviger.EventConnectionUpdated, &next.conn)
		}
		return nil
	})
	switch {
	case errors.Is(err, errSuperseded):
		h.forget()
		if h.row, err = h.read(ctx); err == nil && h.row.conn.Status == claviger.StatusRevoked {
			return false, h.revoke(ctx, tokens)
		}
		return false, err
	case errors.Is(err, store.ErrFenced) && h.deleted(ctx):
		h.forget()
		return false, h.revoke(ctx, tokens)
	case err != nil:
		return h.answer != nil, err
	}
	failpoint.Hit("refresh.commit.after")
	h.forget()
	h.row = &next
	h.vault.keep.Changed(h.id)
	return false, nil
}

// take puts new tokens into a copy of the row.
func (h *holding) take(next *row, tokens claviger.Tokens) (issued store.Grant, narrowed bool) {
	before := next.conn.GrantedScopes
	if tokens.Scopes == nil { // RFC 6749, section 6: as they were
		tokens.Scopes = before
	}
	next.creds, issued = h.vault.Issued(&next.conn, h.party.rules, tokens, h.grant.RequestedScopes, h.party.stored)
	next.conn.Revision++
	if next.conn.Status == claviger.StatusReauthorize {
		next.conn.Status = claviger.StatusActive
	}
	if f := next.conn.LastError; f != nil && (f.Code == codeUncertain || f.Code == codeDead) {
		next.conn.LastError, next.conn.Health = nil, claviger.HealthUnknown
	}
	narrowed = h.weigh(&next.conn, before)
	return issued, narrowed
}

// weigh judges the scopes of new tokens by what was asked for and by what the connector
// needs, and reports whether some were lost.
func (h *holding) weigh(conn *claviger.Connection, before []string) (narrowed bool) {
	without := func(scopes, have []string) []string {
		return slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return slices.Contains(have, scope) })
	}
	wanted := slices.Concat(h.grant.RequestedScopes, h.party.required)
	lost := without(before, conn.GrantedScopes)
	if missed := without(lost, without(lost, wanted)); len(missed) > 0 {
		conn.Health = claviger.HealthUnhealthy
		conn.LastError = &claviger.Fault{Code: codeScope, Message: "The vendor now grants less than was asked for. Missing: " + strings.Join(missed, ", ") + ". Connect again and allow it."}
	} else if f := conn.LastError; f != nil && f.Code == codeScope && len(without(conn.GrantedScopes, before)) > 0 && len(without(h.grant.RequestedScopes, conn.GrantedScopes)) == 0 {
		conn.LastError, conn.Health = nil, claviger.HealthUnknown
	}
	return len(lost) > 0
}

// codeScope is the fault of a connection that was granted less than was asked for.
const codeScope = "insufficient_scope"

// renew is the grant after a refresh.
func (h *holding) renew(g *store.Grant, issued store.Grant, tokens claviger.Tokens) {
	g.Generation++
	g.State, g.Answer, g.Sends, g.Cause, g.Failures, g.RetryAt = store.GrantIdle, nil, 0, "", 0, time.Time{}
	g.IssuedAt, g.ExpiresAt, g.LastRefreshedAt, g.KeepAt = issued.IssuedAt, issued.ExpiresAt, issued.LastRefreshedAt, issued.KeepAt
	replaced := !tokens.Refresh.Empty() && !same(tokens.Refresh, h.party.used[RefreshToken])
	if replaced || !issued.RefreshExpiresAt.IsZero() {
		g.RefreshExpiresAt = issued.RefreshExpiresAt
	}
	g.Rotates = g.Rotates || replaced
}

func same(a, b claviger.Secret) (equal bool) {
	a.Use(func(x []byte) { b.Use(func(y []byte) { equal = bytes.Equal(x, y) }) })
	return equal
}

// discard ends the tokens of a connection that was deleted while they were on their way:
// deleting wins, and what the vendor issued must not live on. An answer that was recalled is handed on as it is, and kept until that has worked.
func (h *holding) discard(ctx context.Context) (again bool, err error) {
	if h.party == nil {
		return h.handOn(ctx)
	}
	raw := *h.answer
	h.forget()
	tokens, err := oauth.Parse(h.party.cfg, h.party.client, raw)
	if err != nil {
		return false, claviger.StatusRevoked.Refusal()
	}
	return false, h.revoke(ctx, tokens)
}

// handOn gives a recalled answer of a deleted connection to whoever revokes its tokens.
func (h *holding) handOn(ctx context.Context) (again bool, err error) {
	k := h.vault.keep
	if h.ticket, err = h.admit(ctx); err != nil {
		return true, err
	}
	defer func() { h.ticket.Done(gate.Ending{Err: err}) }()
	if err = h.unseal(ctx); err != nil {
		return h.answered(), err
	}
	text, err := h.answer.Journal()
	if err == nil && k.Discard != nil {
		err = k.Discard(ctx, &h.row.conn, claviger.Credentials{JournaledAnswer: text})
	}
	if err != nil {
		return true, err
	}
	h.forget()
	return false, claviger.StatusRevoked.Refusal()
}

// deleted reports whether the connection is gone, and not only the lease.
func (h *holding) deleted(ctx context.Context) bool {
	row, err := h.read(ctx)
	return err == nil && row.conn.Status == claviger.StatusRevoked
}

// revoke hands on the tokens of a deleted connection, or revokes them itself.
func (h *holding) revoke(ctx context.Context, tokens claviger.Tokens) error {
	gone := claviger.StatusRevoked.Refusal()
	k := h.vault.keep
	if k.Discard != nil {
		err := k.Discard(ctx, &h.row.conn, claviger.Credentials{AccessToken: tokens.Access, RefreshToken: tokens.Refresh})
		if err == nil {
			return gone
		}
		k.Log.Error("tokens of a deleted connection could not be kept to be revoked", "connection", string(h.id), "error", err)
	}
	for hint, token := range map[string]claviger.Secret{oauth.HintRefresh: tokens.Refresh, oauth.HintAccess: tokens.Access} {
		if token.Empty() {
			continue
		}
		verdict := k.OAuth.Revoke(ctx, h.party.cfg, h.party.client, token, hint)
		k.Log.Info("a token of a deleted connection was revoked", "connection", string(h.id), "token", hint, "verdict", verdict.Verdict)
	}
	return gone
}

// The back-off after failures.
const (
	firstBackoff = 5 * time.Second
	maxBackoff   = 15 * time.Minute
)

// postpone notes a failure that says nothing about the token, and answers it. Until the
// next attempt the old access token is used as long as it lives.
func (h *holding) postpone(ctx context.Context, cause error) error {
	e := claviger.AsError(cause)
	now := h.vault.keep.clock(h.vault.now())
	var until time.Time
	err := h.vault.db.InTx(ctx, h.region, func(tx *store.Tx) error {
		first := false
		err := h.update(ctx, tx, func(g *store.Grant, _ time.Time) {
			first = g.Failures == 0
			wait := min(firstBackoff<<min(g.Failures, 10), maxBackoff)
			until = now.Add(max(h.vault.jitter(wait), min(e.RetryAfter, maxBackoff)))
			g.State, g.Answer, g.Sends = store.GrantIdle, nil, 0
			g.Failures, g.Cause, g.RetryAt = g.Failures+1, e.FineCode(), until
		})
		if err != nil || !first {
			return err
		}
		conn := h.row.conn
		conn.LastError = &claviger.Fault{Code: e.FineCode(), Message: e.Message}
		return h.vault.keep.Announce(ctx, tx, claviger.EventConnectionRefreshFailed, &conn)
	})
	if err != nil {
		return err
	}
	h.unsent = 0
	h.vault.keep.hush(h.id, until)
	out := *e
	out.RetryAfter = max(until.Sub(now), time.Second).Round(time.Second)
	return &out
}

// distrust notes that the refresh token may be used up while the access token lives.
func (h *holding) distrust(ctx context.Context, cause error) error {
	fault := &claviger.Fault{Code: codeUncertain, Message: "A refresh broke off after it was sent, and the vendor may have replaced the refresh token. The access token still works; connect again before it ends."}
	if h.grant.State != store.GrantUncertain {
		stands, err := h.conclude(ctx, claviger.EventConnectionRefreshFailed,
			func(c *claviger.Connection) { c.Health, c.LastError = claviger.HealthUnhealthy, fault },
			func(g *store.Grant) {
				g.State, g.Answer, g.Cause, g.KeepAt = store.GrantUncertain, nil, codeUncertain, time.Time{}
			})
		if err != nil || !stands {
			return err
		}
	}
	h.vault.keep.hush(h.id, h.vault.keep.clock(h.vault.now()).Add(time.Minute))
	return claviger.Errorf(claviger.KindUpstream, codeUncertain, "%s", fault.Message).With(cause)
}

// The causes that end a grant, beside [codeUncertain].
const (
	codeDead   = "invalid_grant"
	codeNoMore = "no_refresh_token"
)

// Ended reports whether a grant's refresh token is known to be of no use any more, or used
// up: it is not sent again.
func Ended(g *store.Grant) bool {
	return g.State == store.GrantIdle && (g.Cause == codeDead || g.Cause == codeNoMore || g.Cause == codeUncertain)
}

// end asks for the connection's owner, unless somebody else got tokens meanwhile. The
// dead token is never sent again: the state forbids it.
func (h *holding) end(ctx context.Context, code, why string) error {
	stands, err := h.conclude(ctx, claviger.EventConnectionReauthorize,
		func(c *claviger.Connection) {
			if c.Status == claviger.StatusActive {
				c.Status = claviger.StatusReauthorize
			}
			c.Health, c.LastError = claviger.HealthUnhealthy, &claviger.Fault{Code: code, Message: why}
		},
		func(g *store.Grant) {
			g.State, g.Answer, g.Sends, g.Cause, g.KeepAt = store.GrantIdle, nil, 0, code, time.Time{}
		})
	if err != nil || !stands {
		return err
	}
	again := "Its owner must connect again."
	if h.party != nil && mints(h.party.rules) {
		again = "Correct them, or the OAuth client, and enable the connection again."
	}
	return claviger.Errorf(claviger.KindReauthorize, "reauthorization_required", "%s %s", why, again)
}

// conclude stores a verdict with the connection and its grant and tells of it. It does not
// stand if the connection has other tokens by now, which h.row has then.
func (h *holding) conclude(ctx context.Context, event claviger.EventType, change func(*claviger.Connection), note func(*store.Grant)) (stands bool, err error) {
	err = h.vault.db.InTx(ctx, h.region, func(tx *store.Tx) error {
		conn, err := h.mark(ctx, tx, change)
		if err != nil {
			return err
		}
		if err := h.update(ctx, tx, func(g *store.Grant, _ time.Time) { note(g) }); err != nil {
			return err
		}
		return h.vault.keep.Announce(ctx, tx, event, &conn)
	})
	if errors.Is(err, errSuperseded) {
		h.row, err = h.read(ctx)
		return false, err
	}
	if err != nil {
		return false, err
	}
	h.vault.keep.Changed(h.id)
	return true, nil
}

// mark changes what is known of the connection, if it still has the tokens of this
// flight.
func (h *holding) mark(ctx context.Context, tx *store.Tx, change func(*claviger.Connection)) (claviger.Connection, error) {
	return tx.UpdateConnection(ctx, h.scope, h.id, func(old claviger.Connection, sealed claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
		if old.Revision != h.row.conn.Revision || old.Status == claviger.StatusRevoked {
			return old, nil, errSuperseded
		}
		change(&old)
		return old, sealed, nil
	})
}
