package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/oauth"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// jobResume is the job that goes on with a flow whose process died with the vendor's
// answer in the flow.
const jobResume = "connect.resume"

const (
	// holdTime is how long a flow that was answered is its process's alone. Afterwards
	// anybody may go on with it, whose hold then is another.
	holdTime = exchangeTimeout + 10*time.Second
	// resumeFor is how long after a flow began somebody goes on with it. Afterwards what
	// the vendor issued is revoked.
	resumeFor = time.Hour
	// spillAfter is how long the database may take to store an answer before that is put
	// on the disk beside it.
	spillAfter = 2 * time.Second
	// The pauses between two attempts to store an answer.
	firstStore, longestStore = 100 * time.Millisecond, 2 * time.Second
)

// errTaken says that somebody else goes on with a flow, or has ended it.
var errTaken = errors.New("broker: the flow is another's by now")

// holds reports whether the flow is still the one that f was read of.
func holds(f, now *claviger.ConnectFlow) bool {
	return now.Status == claviger.ConnectAnswered && now.ExpiresAt.Equal(f.ExpiresAt)
}

func (b *Broker) holdUntil() time.Time { return b.now().Add(holdTime).Truncate(time.Millisecond) }

// keep stores a vendor's answer in the flow, sealed and unread: from here on a crash
// loses nothing. While the database takes nothing it waits in the spill folder.
func (r *redemption) keep(ctx context.Context, t *gate.Ticket, raw oauth.Raw, values claviger.Credentials) error {
	b := r.broker
	text, err := raw.Journal()
	if err != nil {
		return err
	}
	kept := brought(values)
	kept[vault.JournaledAnswer] = text
	if r.query != "" {
		kept[callbackKey] = claviger.NewSecretString(r.query)
	}
	next := r.flow
	next.Revision++
	x := vault.SpilledFlow{Organization: next.Organization, Flow: next.ID, Revision: next.Revision}
	if x.Sealed, err = b.vault.SealFlow(ctx, t, &next, kept); err != nil {
		return err
	}
	failpoint.Hit("connect.journal.before")
	r.answered = true
	next, err = b.journal(ctx, &r.flow, x)
	failpoint.Hit("connect.journal.after")
	if err != nil {
		return err
	}
	r.flow = next
	if next.Status.Final() { // given up meanwhile: what was issued is being revoked
		return flowEnded()
	}
	return nil
}

// journal tries to store an answer until ctx ends, and puts it on the disk as soon as
// the database does not take it.
func (b *Broker) journal(ctx context.Context, f *claviger.ConnectFlow, x vault.SpilledFlow) (next claviger.ConnectFlow, err error) {
	onDisk := false
	spill := func() {
		if onDisk {
			return
		}
		if err := b.vault.SpillFlow(x); err != nil {
			b.log.ErrorContext(ctx, "a vendor's answer is in memory alone: neither the database nor the spill folder takes it", "flow", string(x.Flow), "error", err)
			return
		}
		onDisk = true
		b.log.WarnContext(ctx, "a vendor's answer waits in the spill folder", "flow", string(x.Flow))
	}
	for pause := firstStore; ; pause = min(2*pause, longestStore) {
		wrote := make(chan error, 1)
		go func() {
			var err error
			next, err = b.putAnswer(ctx, f, x)
			wrote <- err
		}()
		patience := time.NewTimer(spillAfter)
		select {
		case err = <-wrote:
		case <-patience.C: // a database that says nothing may say so for long
			spill()
			err = <-wrote
		}
		patience.Stop()
		if err == nil || errors.Is(err, errTaken) {
			if onDisk {
				err = errors.Join(err, b.vault.UnspillFlow(x.Flow, false))
			}
			return next, err
		}
		spill()
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return next, claviger.Errorf(claviger.KindUnavailable, "unavailable",
				"What the vendor answered could not be stored yet. Load this page again in a few minutes.").With(err)
		}
	}
}

// putAnswer stores an answer once. A flow that is over meanwhile keeps it to have it
// revoked. It may run again with what it has stored already.
//
// Errors: errTaken if the flow has gone on without it.
func (b *Broker) putAnswer(ctx context.Context, f *claviger.ConnectFlow, x vault.SpilledFlow) (next claviger.ConnectFlow, err error) {
	region, err := b.db.PlaceOf(ctx, f.Organization, f.Workspace)
	if err != nil {
		return next, err
	}
	c := b.system(f.Organization)
	err = b.db.InTx(ctx, region, func(tx *store.Tx) error {
		next, err = tx.UpdateConnectFlow(ctx, c.Scope, f.ID, func(now claviger.ConnectFlow, kept claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
			switch {
			case now.Revision == x.Revision && bytes.Equal(kept, x.Sealed):
				return now, kept, nil
			case now.Revision != x.Revision-1:
				return now, nil, errTaken
			case now.Status.Final():
				b.revokeLater(&now, true)
			case now.Status == claviger.ConnectExchanging || now.Status == claviger.ConnectStarted && now.Device != nil:
				now.Status, now.ExpiresAt = claviger.ConnectAnswered, b.holdUntil()
			default:
				return now, nil, errTaken
			}
			now.Revision = x.Revision
			return now, x.Sealed, nil
		})
		if err != nil || next.Revoking == nil {
			return err
		}
		return b.insert(ctx, tx, jobRevokeFlow, givenUp{next.Organization, next.ID}, jobs.Options{Unique: string(next.ID)})
	})
	return next, err
}

// replayFlows takes up the answers on the disk, those of an earlier process too.
func (b *Broker) replayFlows(ctx context.Context) {
	for _, x := range b.vault.SpilledFlows() {
		f, _, err := b.db.ConnectFlowByID(ctx, x.Flow)
		absent := errors.Is(err, store.ErrNotFound)
		if err == nil {
			_, err = b.putAnswer(ctx, &f, x)
		}
		if err == nil || absent || errors.Is(err, errTaken) {
			err = b.vault.UnspillFlow(x.Flow, absent)
		}
		if err != nil {
			b.log.ErrorContext(ctx, "a spilled answer cannot be taken up", "flow", string(x.Flow), "error", err)
		}
	}
}

// unfinished reports whether a process died before the browser got its finish code, so
// that a browser which brings the same back once more is let in.
func (b *Broker) unfinished(f *claviger.ConnectFlow) bool {
	switch over := !b.now().Before(f.ExpiresAt); f.Status {
	case claviger.ConnectAnswered:
		return over
	case claviger.ConnectAwaiting:
		return !over && len(f.FinishHash) == 0
	}
	return false
}

// comeAgain gives the browser of a flow that is unfinished its finish code. The vendor
// is not sent the code again.
func (b *Broker) comeAgain(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow) (Arrival, error) {
	code, err := b.finishCode(f.Delivery)
	if err != nil {
		return Arrival{}, err
	}
	r := redemption{broker: b, caller: c, flow: *f}
	if f.Status == claviger.ConnectAnswered {
		a, err := r.resume(ctx, code)
		return r.ended(ctx, a, err)
	}
	l, err := b.flowLive(ctx, c, f)
	if err != nil {
		return Arrival{}, err
	}
	err = b.gate.Change(ctx, c, f.Verb(), f.Resource(), func(tx *store.Tx, _ *gate.Ticket) error {
		next, err := tx.UpdateConnectFlow(ctx, c.Scope, f.ID, func(now claviger.ConnectFlow, sealed claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
			if !b.unfinished(&now) {
				return now, nil, errTaken
			}
			now.FinishHash = finishHash(now.ID, code)
			return now, sealed, nil
		})
		r.flow = next
		return err
	})
	return r.ended(ctx, arrival(&r.flow, l.connector.Name, code), err)
}

// ended answers what became of a redemption. One that somebody else goes on with, or will
// when its hold is over, is not failed.
func (r *redemption) ended(ctx context.Context, a Arrival, err error) (Arrival, error) {
	b, f := r.broker, &r.flow
	switch {
	case err == nil:
		return a, nil
	case errors.Is(err, errTaken):
		return Arrival{}, b.gate.Refuse(ctx, r.caller, f.Verb(), f.Resource(), badCallback("state_used", "It was used already"))
	case f.Status.Final() || r.answered && (ours(err) || claviger.IsKind(err, claviger.KindUnavailable)):
		return Arrival{}, err
	}
	return b.failed(ctx, r.caller, r, err)
}

// resume goes on with the answer that a process left behind. With an empty code the
// browser has to come for one.
func (r *redemption) resume(ctx context.Context, code string) (Arrival, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	b, err := r.broker, error(nil)
	r.answered = true
	if err := r.seize(ctx); err != nil {
		return Arrival{}, err
	}
	if r.live, err = b.flowLive(ctx, r.caller, &r.flow); err != nil {
		return Arrival{}, err
	}
	if r.config, err = b.oauthConfig(ctx, r.caller.Scope, r.live); err != nil {
		return Arrival{}, err
	}
	if err := r.reopen(ctx); err != nil {
		return Arrival{}, err
	}
	return r.conclude(ctx, code)
}

// seize makes the flow this process's. errTaken if it is another's, or too old.
func (r *redemption) seize(ctx context.Context) error {
	b, f := r.broker, &r.flow
	region, err := b.db.PlaceOf(ctx, f.Organization, f.Workspace)
	if err != nil {
		return err
	}
	return b.db.InTx(ctx, region, func(tx *store.Tx) error {
		next, err := tx.UpdateConnectFlow(ctx, r.caller.Scope, f.ID, func(now claviger.ConnectFlow, sealed claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
			if now.Status != claviger.ConnectAnswered || b.now().Before(now.ExpiresAt) || b.now().Sub(now.CreatedAt) >= resumeFor {
				return now, nil, errTaken
			}
			now.ExpiresAt, r.sealed = b.holdUntil(), sealed
			return now, sealed, nil
		})
		r.flow = next
		return err
	})
}

// reopen reads the answer that waits in the flow, under a ticket.
func (r *redemption) reopen(ctx context.Context) (err error) {
	b := r.broker
	t, err := b.gate.Admit(ctx, r.caller, r.flow.Verb(), r.flow.Resource(), "")
	if err != nil {
		return err
	}
	defer func() { t.Done(gate.Ending{Err: err}) }()
	values, err := b.vault.OpenFlow(ctx, t, &r.flow, r.sealed)
	if err != nil {
		return err
	}
	if r.client, err = b.vault.ClientOf(ctx, t, r.live.connector.Key, r.live.method, values); err != nil {
		return err
	}
	raw, err := oauth.FromJournal(values[vault.JournaledAnswer])
	if err != nil {
		return err
	}
	values[callbackKey].Use(func(query []byte) { r.query = string(query) })
	return r.take(ctx, raw, values)
}

// resumeLater has a job go on with a flow.
func (b *Broker) resumeLater(ctx context.Context, f *claviger.ConnectFlow) error {
	region, err := b.db.PlaceOf(ctx, f.Organization, f.Workspace)
	if err != nil {
		return err
	}
	return b.db.InTx(ctx, region, func(tx *store.Tx) error {
		return b.insert(ctx, tx, jobResume, pairing{f.Organization, f.ID}, jobs.Options{Unique: string(f.ID)})
	})
}

func (b *Broker) resumeJob(ctx context.Context, job jobs.Job) error {
	var what pairing
	if err := json.Unmarshal(job.Args, &what); err != nil {
		return jobs.Discard(err)
	}
	f, _, err := b.db.ConnectFlowByID(ctx, what.Flow)
	if errors.Is(err, store.ErrNotFound) || err == nil && (f.Organization != what.Organization || f.Status != claviger.ConnectAnswered || !b.unfinished(&f)) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.resumeFlow(ctx, b.connecting.act(f.Organization, f.Workspace, string(f.ID), claviger.Request{}), &f)
}

// resumeFlow goes on with a flow for which no browser waits.
func (b *Broker) resumeFlow(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow) error {
	r := redemption{broker: b, caller: c, flow: *f}
	_, err := r.resume(ctx, "")
	return r.settle(ctx, err)
}

// settle ends a redemption that a job has done. One that the API began by device is
// complete: see [Broker.paired].
func (r *redemption) settle(ctx context.Context, err error) error {
	if errors.Is(err, errTaken) {
		return nil
	}
	if _, err := r.ended(context.WithoutCancel(ctx), Arrival{}, err); err != nil {
		return err
	}
	if f := &r.flow; f.Status == claviger.ConnectAwaiting && f.Device != nil && f.Session == "" {
		return r.broker.paired(ctx, r.caller, f)
	}
	return nil
}
