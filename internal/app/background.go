package app

import (
	"context"
	"maps"

	"claviger/internal/broker"
	"claviger/internal/egress"
	"claviger/internal/events"
	"claviger/internal/jobs"
	"claviger/internal/store"
)

// openBackground makes what works behind the requests: events, and the queue that sends
// them. Nothing runs before the queue is started.
func (a *App) openBackground(out *egress.Client) (err error) {
	c := a.config
	a.events = events.New(events.Config{
		Store: a.db, Secrets: a.vault, Egress: out, Now: c.Now, Random: randomSource, Log: a.log,
		Insert: func(ctx context.Context, tx *store.Tx, kind string, args any, o jobs.Options) error {
			return a.jobs.Insert(ctx, tx, kind, args, o)
		},
	})
	a.jobs, err = jobs.New(jobs.Config{Store: a.db, Kinds: a.kinds(), Now: c.clock, Log: a.log})
	return err
}

// kinds are all jobs that this instance can do.
func (a *App) kinds() map[string]jobs.Kind {
	all := map[string]jobs.Kind{}
	maps.Copy(all, a.events.Kinds())
	maps.Copy(all, broker.RevocationKinds(func() *broker.Broker { return a.broker }))
	maps.Copy(all, broker.ConnectKinds(func() *broker.Broker { return a.broker }))
	maps.Copy(all, broker.WebhookKinds(func() *broker.Broker { return a.broker }))
	return all
}
