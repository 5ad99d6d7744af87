package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"claviger"
	"claviger/internal/authn"
	"claviger/internal/egress"
	"claviger/internal/events"
	"claviger/internal/oauth"
	"claviger/internal/store"
	"claviger/internal/vault"
)

const (
	// tendEvery is how often the background looks for refreshes that were cut off and
	// for tokens that would die of idleness.
	tendEvery = time.Minute
	// tendBatch and tendAtOnce bound one look: many tokens that come due together wait
	// for the next one.
	tendBatch  = 200
	tendAtOnce = 8
)

// keepFresh lets the vault refresh tokens through the same way out as calls take.
func (a *App) keepFresh(out *egress.Client) error {
	return a.vault.KeepFresh(vault.Refresh{
		Gate: a.gate, OAuth: &oauth.Client{Egress: out, Now: a.config.Now, Random: randomSource, Nonces: oauth.NewNonces()}, Caller: authn.System,
		Method: a.broker.RefreshMethod, Changed: a.broker.Refreshed, Announce: a.announce, Discard: a.broker.RevokeIssued,
		Spill: a.config.SpillDir, Log: a.log,
	})
}

// announce sends an event about a connection to the organization's endpoints.
func (a *App) announce(ctx context.Context, tx *store.Tx, event claviger.EventType, conn *claviger.Connection) error {
	return a.events.Emit(ctx, tx, conn.Organization, conn.Workspace, event, events.OfConnection(conn))
}

// tend looks after tokens that no call looks after, at once and then again and again
// until ctx ends: what an earlier process left behind first.
func (a *App) tend(ctx context.Context) {
	defer close(a.tended)
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for rewrapped := false; ; {
		a.vault.Replay(ctx)
		a.tendOnce(ctx)
		if !rewrapped {
			rewrapped = a.rewrap(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a *App) tendOnce(ctx context.Context) {
	due, err := a.db.DueGrants(ctx, a.config.Now(), tendBatch)
	if err != nil {
		if ctx.Err() == nil {
			a.log.Warn("connections to refresh could not be found", "error", err)
		}
		return
	}
	places := make(chan struct{}, tendAtOnce)
	var running sync.WaitGroup
	for _, g := range due {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			running.Wait()
			return
		}
		running.Go(func() {
			defer func() { <-places }()
			a.tendOne(ctx, g)
		})
	}
	running.Wait()
}

func (a *App) tendOne(ctx context.Context, g store.DueGrant) {
	if err := a.vault.Tend(ctx, g); err != nil && ctx.Err() == nil {
		a.log.Warn("a connection could not be kept fresh", "connection", string(g.Connection), "error", err)
	}
}

// rewrap finishes the replacement of the master key, and reports whether it has. One pass
// that went through is enough: this process wraps under the present key alone.
func (a *App) rewrap(ctx context.Context) bool {
	n, err := a.vault.Rewrap(ctx)
	if n > 0 {
		err = errors.Join(err, a.ledger.Record(ctx, claviger.Entry{
			ActorKind: claviger.CallerSystem, ActorID: "system", Verb: claviger.KeysRotate, ResourceType: "master_key", Outcome: claviger.OutcomeSucceeded,
		}))
	}
	if err != nil {
		if ctx.Err() == nil {
			a.log.Warn("the replacement of the master key goes on in a minute", "error", err)
		}
		return false
	}
	if n > 0 || !a.config.MasterKeyPrevious.Empty() {
		a.log.Info("everything is wrapped under the master key; the one before is no longer needed", "keysets", n)
	}
	return true
}
