package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"claviger"
	"claviger/internal/events"
	"claviger/internal/failpoint"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/store"
)

const (
	// jobInbound acts on one delivery, again and again if it must.
	jobInbound = "webhook.event"
	// readChunk and actChunk bound the deliveries that are read at a time, and those that
	// are acted upon in one transaction; actAtOnce what is opened and fetched for them at
	// the same time.
	readChunk, actChunk, actAtOnce = 500, 100, 16
	// inboundAttempts is how often acting on one delivery may fail.
	inboundAttempts = 10
	// maxPayload and maxRecord bound what an outgoing event holds of a delivery; what is
	// longer is fetched by its id.
	maxPayload, maxRecord = 32 << 10, 16 << 10
	// keepInbound is how long deliveries can be looked up and replayed, and how long a
	// copy of one is known, unless the operator says otherwise.
	keepInbound = 30 * 24 * time.Hour
)

// actingOn is what a job knows of one delivery.
type actingOn struct {
	Organization claviger.OrganizationID `json:"organization"`
	ID           claviger.InboundID      `json:"id"`
}

// WebhookKinds answers the jobs that act on what vendors delivered. The broker is asked
// for when a job runs: it is made after the queue.
func WebhookKinds(b func() *Broker) map[string]jobs.Kind {
	return map[string]jobs.Kind{
		// A batch fails only with claviger's own database: what a delivery does is its own.
		jobBatch: {
			Run: func(ctx context.Context, j jobs.Job) error { return b().actOnBatch(ctx, j) }, Timeout: jobs.DefaultTimeout, Attempts: 1000,
			Backoff: func(n int) time.Duration { return min(jobs.Backoff(n), time.Minute) },
		},
		jobInbound: {Run: func(ctx context.Context, j jobs.Job) error { return b().actOnOne(ctx, j) }, Timeout: jobs.DefaultTimeout, Attempts: inboundAttempts},
	}
}

// act is one delivery while it is acted upon.
type act struct {
	event    claviger.InboundEvent
	was      claviger.InboundStatus
	attempts int
	told     bool // some endpoint wants to know of it
	source   *hookSource
	payload  []byte
	record   json.RawMessage
	err      error
}

// actOnBatch acts on the deliveries of a batch, a chunk at a time.
func (b *Broker) actOnBatch(ctx context.Context, job jobs.Job) error {
	var what acting
	if err := json.Unmarshal(job.Args, &what); err != nil {
		return jobs.Discard(err)
	}
	failpoint.Hit("inbox.dispatched")
	for {
		open, err := b.db.OpenInbound(ctx, job.Place, what.Batch, readChunk)
		if err != nil || len(open) == 0 {
			return err
		}
		if err := b.actOnChunk(ctx, job.Place, open); err != nil {
			return err
		}
	}
}

func (b *Broker) actOnChunk(ctx context.Context, place claviger.RegionID, open []claviger.InboundEvent) error {
	var acts []*act
	idle := 0
	known := map[claviger.OrganizationID]bool{}
	for i := range open {
		a, err := b.actFor(ctx, &open[i], known)
		if err != nil {
			return err
		}
		if a.source == nil && !a.told {
			idle++
		}
		acts = append(acts, a)
	}
	if idle == len(open) {
		last := open[len(open)-1]
		return b.db.InTx(ctx, place, func(tx *store.Tx) error { return tx.PassInbound(ctx, last.Batch, last.ID, b.now()) })
	}
	for part := range slices.Chunk(acts, actChunk) {
		b.prepareAll(ctx, part)
		if ctx.Err() != nil {
			return ctx.Err() // stopping: nothing can be said of them
		}
		err := b.db.InTx(ctx, place, func(tx *store.Tx) error {
			for _, a := range part {
				if err := b.conclude(ctx, tx, a, false); err != nil {
					return err
				}
			}
			failpoint.Hit("inbox.settled")
			return nil
		})
		if err != nil {
			return err
		}
		failpoint.Hit("inbox.done")
	}
	return nil
}

// actFor answers what there is to do for a delivery. told remembers which organizations
// have an endpoint that wants to know.
func (b *Broker) actFor(ctx context.Context, e *claviger.InboundEvent, told map[claviger.OrganizationID]bool) (*act, error) {
	want, known := told[e.Organization]
	if !known {
		var err error
		if want, err = b.db.AnySubscribed(ctx, b.system(e.Organization).Scope, claviger.EventWebhookReceived); err != nil {
			return nil, err
		}
		told[e.Organization] = want
	}
	a := &act{event: *e, was: e.Status, attempts: e.Attempts, told: want}
	if e.DataSource != "" {
		s, err := b.db.System(ctx, b.system(e.Organization).Scope, e.System)
		if err == nil {
			var plan *hookPlan
			if plan, err = b.hookPlan(ctx, &s); err == nil {
				a.source = plan.source(e.DataSource)
			}
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) && !claviger.IsKind(err, claviger.KindNotFound) {
			return nil, err
		}
	}
	if s := a.source; s != nil && (s.get == "" || !s.wants(e.Type)) {
		a.source = nil
	}
	return a, nil
}

// prepareAll does for several deliveries what comes before the transaction.
func (b *Broker) prepareAll(ctx context.Context, acts []*act) {
	slots := make(chan struct{}, actAtOnce)
	var wg sync.WaitGroup
	for _, a := range acts {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			a.err = b.prepareSafely(ctx, a)
		})
	}
	wg.Wait()
}

// prepareSafely keeps one delivery that nobody can act upon from holding up the others.
func (b *Broker) prepareSafely(ctx context.Context, a *act) (err error) {
	defer func() {
		if p := recover(); p != nil {
			b.log.Error("acting on a delivery panicked", "event", a.event.ID, "type", reflect.TypeOf(p).String())
			err = claviger.Errorf(claviger.KindInternal, "panic", "Acting on the delivery failed.")
		}
	}()
	return b.prepare(ctx, a)
}

// prepare opens the body and fetches the record that it is about, under the slot for
// work without a caller and no other.
func (b *Broker) prepare(ctx context.Context, a *act) (err error) {
	if a.source == nil && !a.told {
		return nil
	}
	c := b.system(a.event.Organization)
	_, sealed, err := b.db.InboundAt(ctx, a.event.Region, a.event.Organization, a.event.ID)
	if err != nil {
		return err
	}
	t, err := b.gate.Admit(ctx, c, claviger.WebhooksProcess, a.event.Resource(), "")
	if err != nil {
		return err
	}
	defer func() { t.Done(gate.Ending{Err: err}) }()
	if a.payload, err = b.vault.OpenInbound(ctx, t, &a.event, sealed); err != nil || a.source == nil {
		return err
	}
	id, ok := a.recordID()
	if !ok {
		a.event.Code = "no_record_id"
		return nil
	}
	slot, err := b.syncSlot(ctx, c, claviger.ActionsRun, a.event.System, "")
	if err != nil {
		return err
	}
	result, err := b.runInBackground(ctx, c, slot, a.source.get, map[string]any{a.source.input: id})
	switch {
	case err != nil:
		return err
	case result.Succeeded:
		a.record = result.Output
	case result.StatusCode >= 500 || result.StatusCode == 429 || result.StatusCode == 401:
		return claviger.Errorf(claviger.KindUpstream, "vendor_error", "The vendor answered with an error.")
	default: // the record is gone, or not to be seen: that is what happened
		a.event.Code = fmt.Sprintf("record_%d", result.StatusCode)
	}
	return nil
}

// recordID finds the id of the record in the payload.
func (a *act) recordID() (any, bool) {
	decoder := json.NewDecoder(bytes.NewReader(a.payload))
	decoder.UseNumber()
	var tree any
	if !declaresJSON(a.event.ContentType) || decoder.Decode(&tree) != nil || decoder.More() {
		return nil, false
	}
	found, ok := a.source.id.First(tree)
	if !ok {
		return nil, false
	}
	switch x := found.(type) {
	case string:
		return x, x != "" && len(x) <= 512
	case json.Number:
		return x.String(), true
	}
	return nil, false
}

// declaresJSON reports whether a body says that it is JSON in UTF-8. Nothing else is
// parsed.
func declaresJSON(contentType string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	if charset := params["charset"]; err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return false
	}
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

// conclude stores what came of acting on a delivery, with the events that tell of it: in
// one transaction, so that they are there once. One that failed gets a job of its own.
func (b *Broker) conclude(ctx context.Context, tx *store.Tx, a *act, last bool) error {
	e := a.event
	e.Attempts, e.ProcessedAt, e.Status = a.attempts+1, b.now(), claviger.InboundProcessed
	if a.err != nil {
		f := claviger.AsError(a.err)
		e.Code, e.Status = f.FineCode(), a.was
		switch {
		case e.Code == "missing_slot" || e.Code == "secret_missing" || e.Code == "connection_pending":
			e.Status = claviger.InboundParked
		case last || f.Kind == claviger.KindInvalid || e.Code == "credential_unreadable":
			e.Status = claviger.InboundFailed
		}
	}
	err := tx.SettleInbound(ctx, e, a.was, a.attempts)
	if errors.Is(err, store.ErrNotFound) {
		return nil // another run of the job was first
	}
	if err != nil {
		return err
	}
	if a.err != nil {
		if e.Status == claviger.InboundReceived && !last && a.attempts == 0 {
			return b.insert(ctx, tx, jobInbound, actingOn{e.Organization, e.ID}, jobs.Options{After: jobs.Backoff(1)})
		}
		return nil
	}
	if a.told && b.events != nil {
		return b.events.Emit(ctx, tx, e.Organization, e.Workspace, claviger.EventWebhookReceived, a.data())
	}
	return nil
}

// data is what an organization's endpoints are told of a delivery.
func (a *act) data() events.WebhookData {
	e := &a.event
	d := events.WebhookData{
		ID: string(e.ID), SystemKey: e.System, WorkspaceID: string(e.Workspace), DataSource: e.DataSource, Type: e.Type, DeliveryID: e.Delivery,
		ReceivedAt: e.ReceivedAt.UTC(), ContentType: e.ContentType,
	}
	switch {
	case len(a.payload) > maxPayload || !utf8.Valid(a.payload):
		d.PayloadOmitted = true
	case declaresJSON(e.ContentType) && json.Valid(a.payload):
		d.Payload = a.payload
	case bytes.IndexByte(a.payload, 0) < 0:
		d.Payload, _ = json.Marshal(string(a.payload)) // a text always encodes
	}
	if len(d.Payload) > maxPayload {
		d.Payload, d.PayloadOmitted = nil, true
	}
	if len(a.record) <= maxRecord {
		d.Record = a.record
	}
	return d
}

// actOnOne acts on a delivery by itself: one that failed, or waited.
func (b *Broker) actOnOne(ctx context.Context, job jobs.Job) error {
	var what actingOn
	if err := json.Unmarshal(job.Args, &what); err != nil {
		return jobs.Discard(err)
	}
	e, _, err := b.db.InboundAt(ctx, job.Place, what.Organization, what.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && e.Status != claviger.InboundReceived && e.Status != claviger.InboundParked {
		return nil
	}
	if err != nil {
		return err
	}
	a, err := b.actFor(ctx, &e, map[claviger.OrganizationID]bool{})
	if err != nil {
		return err
	}
	a.err = b.prepareSafely(ctx, a)
	if ctx.Err() != nil && !job.Last {
		return ctx.Err()
	}
	ctx = context.WithoutCancel(ctx)
	again := false
	err = b.db.InTx(ctx, job.Place, func(tx *store.Tx) error {
		again = a.err != nil && a.was == claviger.InboundReceived && !job.Last
		if err := b.conclude(ctx, tx, a, job.Last); err != nil {
			return err
		}
		if a.err != nil || a.was != claviger.InboundParked {
			return nil
		}
		return b.unpark(ctx, tx, &e)
	})
	if err != nil || !again {
		return err
	}
	if kind := claviger.AsError(a.err).FineCode(); kind == "missing_slot" || kind == "secret_missing" || kind == "connection_pending" {
		return nil // it waits now
	}
	return a.err
}

// unpark lets the other deliveries of a system follow the one that has just gone through.
func (b *Broker) unpark(ctx context.Context, tx *store.Tx, e *claviger.InboundEvent) error {
	batch, err := b.newID("whb")
	if err != nil {
		return err
	}
	n, err := tx.UnparkInbound(ctx, e.Organization, e.System, batch)
	if err != nil || n == 0 {
		return err
	}
	return b.insert(ctx, tx, jobBatch, acting{Batch: batch}, jobs.Options{})
}

// SweepWebhooks tries again what waits for a slot, forgets what is too
// old, and wipes secrets whose time beside their successors is over.
func (b *Broker) SweepWebhooks(ctx context.Context) error {
	now := b.now()
	all := []error{b.db.PurgeInbound(ctx, now.Add(-b.keep))}
	all = append(all, b.db.InTx(ctx, "", func(tx *store.Tx) error { return tx.PurgePrevious(ctx, now) }))
	for _, place := range b.db.Places() {
		parked, err := b.db.ParkedInbound(ctx, place)
		all = append(all, err)
		if len(parked) == 0 {
			continue
		}
		all = append(all, b.db.InTx(ctx, place, func(tx *store.Tx) error {
			for i := range parked {
				what := actingOn{parked[i].Organization, parked[i].ID}
				if err := b.insert(ctx, tx, jobInbound, what, jobs.Options{Unique: string(what.ID)}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return errors.Join(all...)
}
