package events

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"claviger"
	"claviger/internal/egress"
	"claviger/internal/jobs"
	"claviger/internal/store"
)

// The kinds of job, and the times of a delivery.
const (
	jobDeliver = "event.deliver"
	jobPurge   = "event.purge"
	// Window is how long a delivery is tried.
	Window = 24 * time.Hour
	// Overlap is how long the secret before a rotation signs beside the new one.
	Overlap = 24 * time.Hour
	// Keep is how long a finished delivery can be looked up and replayed.
	Keep = 30 * 24 * time.Hour

	defaultTimeout = 15 * time.Second
	jobTimeout     = 45 * time.Second
	// maxAnswer is how much of an endpoint's answer is read, and thrown away, so that
	// its connection can be used again.
	maxAnswer = 16 << 10
	maxBody   = 64 << 10
)

// Inserter adds a job to a transaction: [jobs.Queue.Insert].
type Inserter func(ctx context.Context, tx *store.Tx, kind string, args any, o jobs.Options) error

// Opener opens the signing secrets of endpoints: the vault.
type Opener interface {
	// OpenEventSecret opens the ciphertext of a version of an endpoint's secret.
	OpenEventSecret(ctx context.Context, e *claviger.EventEndpoint, version int64, sealed claviger.Sealed) (claviger.Secret, error)
}

// Sender sends a request to where the tenant's policy lets it: [egress.Client].
type Sender interface {
	// Do sends one request and follows no redirect.
	Do(ctx context.Context, dest egress.Destination, req *http.Request) (*http.Response, error)
}

// Config is what Events is made of. Store, Insert, Secrets and Egress are required.
type Config struct {
	Store   *store.DB
	Insert  Inserter
	Secrets Opener
	Egress  Sender
	// Timeout bounds one attempt, the reading of the answer included; 15 seconds if zero,
	// 30 at most.
	Timeout time.Duration
	Now     func() time.Time // nil: time.Now
	Random  io.Reader        // nil: crypto/rand
	Log     *slog.Logger     // nil: discarded
}

// Events writes events down and sends them. It may be used by many goroutines.
type Events struct {
	db      *store.DB
	insert  Inserter
	secrets Opener
	egress  Sender
	timeout time.Duration
	now     func() time.Time
	random  io.Reader
	log     *slog.Logger
}

// New makes an Events. Its [Events.Kinds] must be run by the queue that Insert adds to.
func New(c Config) *Events {
	e := &Events{db: c.Store, insert: c.Insert, secrets: c.Secrets, egress: c.Egress, now: c.Now, random: c.Random, log: c.Log}
	e.timeout = min(cmp.Or(c.Timeout, defaultTimeout), 30*time.Second)
	if e.now == nil {
		e.now = time.Now
	}
	if e.random == nil {
		e.random = rand.Reader
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	return e
}

// Kinds answers the jobs that send events and that forget old ones.
func (e *Events) Kinds() map[string]jobs.Kind {
	return map[string]jobs.Kind{
		// How often and until when a delivery is tried is the delivery's business: it
		// snoozes. What fails here is claviger's own database.
		jobDeliver: {Run: e.deliver, Timeout: jobTimeout, Attempts: 1000, Backoff: func(n int) time.Duration { return min(jobs.Backoff(n), time.Minute) }},
		jobPurge:   {Run: e.purge, Timeout: jobTimeout, Every: time.Hour, Attempts: 1},
	}
}

// message is what an endpoint receives.
type message struct {
	Type      claviger.EventType `json:"type"`
	Timestamp time.Time          `json:"timestamp"`
	Data      any                `json:"data"`
}

// delivering is what a job knows of its delivery.
type delivering struct {
	Organization claviger.OrganizationID `json:"organization"`
	ID           claviger.DeliveryID     `json:"id"`
}

// Emit writes an event down for every endpoint of the organization that wants it, in
// the transaction of the change that it tells of. data becomes JSON of at most 64 KiB
// and must hold no secret.
func (e *Events) Emit(ctx context.Context, tx *store.Tx, organization claviger.OrganizationID, workspace claviger.WorkspaceID, t claviger.EventType, data any) error {
	endpoints, err := tx.Subscribed(ctx, organization, t)
	if err != nil || len(endpoints) == 0 {
		return err
	}
	now := e.now().UTC().Truncate(time.Millisecond)
	body, err := json.Marshal(message{Type: t, Timestamp: now, Data: data})
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	if len(body) > maxBody {
		return fmt.Errorf("events: %s of %d bytes", t, len(body))
	}
	event, err := claviger.NewID(claviger.PrefixEvent, now, e.random)
	if err != nil {
		return err
	}
	for _, endpoint := range endpoints {
		id, err := claviger.NewID(claviger.PrefixDelivery, now, e.random)
		if err != nil {
			return err
		}
		d := claviger.EventDelivery{
			ID: claviger.DeliveryID(id), Organization: organization, Workspace: workspace, Endpoint: endpoint, Event: claviger.EventID(event),
			Type: t, Body: body, Status: claviger.DeliveryPending, Since: now, NextAt: now, CreatedAt: now,
		}
		if err := tx.AddEventDelivery(ctx, d); err != nil {
			return err
		}
		if err := e.enqueue(ctx, tx, &d); err != nil {
			return err
		}
	}
	return nil
}

// Replay sends a delivery that has ended once more, for another day if it must, with the
// id that the event always had. Run it in the place that the delivery's Region names.
func (e *Events) Replay(ctx context.Context, tx *store.Tx, s claviger.Scope, endpoint claviger.EndpointID, id claviger.DeliveryID) (claviger.EventDelivery, error) {
	d, err := tx.ReplayEventDelivery(ctx, s, endpoint, id, e.now())
	if err != nil {
		return d, err
	}
	return d, e.enqueue(ctx, tx, &d)
}

func (e *Events) enqueue(ctx context.Context, tx *store.Tx, d *claviger.EventDelivery) error {
	return e.insert(ctx, tx, jobDeliver, delivering{Organization: d.Organization, ID: d.ID}, jobs.Options{})
}

// purge forgets old deliveries.
func (e *Events) purge(ctx context.Context, _ jobs.Job) error {
	for {
		n, err := e.db.PurgeEventDeliveries(ctx, e.now().Add(-Keep))
		if err != nil || n == 0 {
			return err
		}
	}
}

// pauses are how long a delivery waits after its attempts: a receiver that restarts is
// found soon, one that is down for a day is not hammered.
func pauses() []time.Duration {
	return []time.Duration{
		5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour,
		2 * time.Hour, 3 * time.Hour, 4 * time.Hour, 6 * time.Hour,
	}
}

// pause answers how long to wait after the n-th attempt since the delivery was made,
// but at least as long as the endpoint asked for.
func pause(n int, asked time.Duration) time.Duration {
	all := pauses()
	return max(all[min(max(n, 1), len(all))-1], min(asked, time.Hour))
}

// errDone is answered inside when there is nothing left to send.
var errDone = errors.New("events: nothing to send")
