package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/store"
)

const (
	// followEvery bounds how long a revocation on another node goes unnoticed.
	followEvery = time.Second
	// sweepEvery is how often what has expired is removed.
	sweepEvery = time.Minute
	// keepChanges is how long announcements to other nodes are kept.
	keepChanges = time.Hour
	// keepConnecting is how long ended connect sessions and flows can be asked for.
	keepConnecting = 7 * 24 * time.Hour
	// housekeepingTimeout bounds one round.
	housekeepingTimeout = 20 * time.Second
)

// housekeeping follows the changes that other nodes announce, notes the last use of
// API keys and sweeps out what has expired, until the app closes.
func (a *App) housekeeping(ctx context.Context, feed *store.Feed) {
	defer close(a.finished)
	follow, sweep := time.NewTicker(followEvery), time.NewTicker(sweepEvery)
	defer follow.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			a.noteUses(context.WithoutCancel(ctx))
			a.countSeals(context.WithoutCancel(ctx))
			return
		case <-follow.C:
			a.follow(ctx, feed)
		case <-sweep.C:
			a.noteUses(ctx)
			a.sweep(ctx)
		}
	}
}

// follow forgets what changed elsewhere. When it cannot be found out what did,
// everything is forgotten: a revoked token must not live on in a cache.
func (a *App) follow(ctx context.Context, feed *store.Feed) {
	ctx, cancel := context.WithTimeout(ctx, housekeepingTimeout)
	defer cancel()
	changes, err := feed.Next(ctx)
	if err != nil {
		a.forgetAll()
		if !errors.Is(err, store.ErrFlood) && ctx.Err() == nil {
			a.log.Warn("changes of other nodes could not be read; nothing is answered from memory", "error", err)
		}
		return
	}
	for _, c := range changes {
		a.tokens.Evict(c.Kind, c.ID)
		a.broker.Evict(c)
	}
	if a.config.ConnectorsDir != "" {
		a.reloadFolder(ctx)
	}
}

func (a *App) forgetAll() {
	a.tokens.Evict("organization", "")
	a.broker.Evict(claviger.Change{Kind: "workspace"})
}

// noteUses stores when API keys were last used.
func (a *App) noteUses(ctx context.Context) {
	used := a.tokens.TakeUsed()
	if len(used) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, housekeepingTimeout)
	defer cancel()
	if err := a.db.InTx(ctx, "", func(tx *store.Tx) error { return tx.TouchAPIKeys(ctx, used) }); err != nil {
		a.log.Warn("the last use of API keys could not be stored", "error", err)
	}
}

// countSeals stores how much this process has sealed that no sweep has counted.
func (a *App) countSeals(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, housekeepingTimeout)
	defer cancel()
	if _, err := a.vault.CountSeals(ctx); err != nil {
		a.log.Warn("the values that keys have sealed could not be counted", "error", err)
	}
}

// Sweep does at once what the app does each minute: it removes what has expired. It is
// for programs that have moved the clock.
func (a *App) Sweep(ctx context.Context) { a.sweep(ctx) }

// sweep removes expired tokens, kept answers and old announcements.
func (a *App) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, housekeepingTimeout)
	defer cancel()
	now := a.config.Now()
	err := errors.Join(
		a.tokens.RotateDueSigningKey(ctx),
		a.purge(ctx, now),
		a.db.PurgeChanges(ctx, now.Add(-keepChanges)),
		a.sweepConnecting(ctx, now),
		a.broker.SweepWebhooks(ctx),
		a.broker.RotateWorn(ctx),
	)
	if err != nil && ctx.Err() == nil {
		a.log.Warn("what has expired could not be removed or replaced", "error", err)
	}
}

// sweepConnecting revokes and wipes what nobody finished connecting, and forgets the
// sessions and flows of last week.
func (a *App) sweepConnecting(ctx context.Context, now time.Time) error {
	if _, err := a.broker.SweepFlows(ctx); err != nil {
		return err
	}
	for _, place := range a.db.Places() {
		err := a.db.InTx(ctx, place, func(tx *store.Tx) error {
			_, err := tx.PurgeConnecting(ctx, now.Add(-keepConnecting))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// purge removes what has expired, in batches.
func (a *App) purge(ctx context.Context, now time.Time) error {
	for {
		removed := int64(0)
		err := a.db.InTx(ctx, "", func(tx *store.Tx) (err error) {
			removed, err = tx.PurgeExpired(ctx, now)
			return err
		})
		if err != nil || removed == 0 {
			return err
		}
	}
}

// watchFolder loads the operator's own connectors. Faults in them are reported, and
// keep the file from being used, not the server from starting.
func (a *App) watchFolder() error {
	faults, err := a.catalog.LoadDir(a.config.ConnectorsDir)
	if err != nil {
		return badSetting("connectors.dir", "the folder cannot be read: "+a.config.ConnectorsDir).With(err)
	}
	a.reportFaults(faults)
	return nil
}

// reloadFolder reads what changed in the operator's folder.
func (a *App) reloadFolder(ctx context.Context) {
	before := a.catalog.List(catalog.Filter{})
	faults, err := a.catalog.Reload(ctx)
	if !slices.Equal(before, a.catalog.List(catalog.Filter{})) {
		a.broker.Evict(claviger.Change{Kind: "connector"}) // connections in memory have the old documents
	}
	if err != nil {
		a.log.Warn("the connectors folder could not be read again", "error", err)
		return
	}
	a.reportFaults(faults)
}

// reportFaults logs the faults of the operator's documents, each state of them once.
func (a *App) reportFaults(files []catalog.FileFaults) {
	text := fmt.Sprint(files)
	if text == a.lastFaults {
		return
	}
	a.lastFaults = text
	for _, f := range files {
		for _, fault := range f.Faults {
			a.log.Warn("a connector is not accepted", "file", f.File, "line", fault.Line, "column", fault.Column, "fault", fault.Message)
		}
	}
}
