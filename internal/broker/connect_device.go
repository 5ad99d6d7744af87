package broker

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/oauth"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// jobPairing is the job that asks a vendor whether a person has decided.
const jobPairing = "connect.pairing"

const (
	// deviceKey names the device code among a flow's sealed values.
	deviceKey = "deviceCode"
	// longestPairing bounds how long a device flow waits, whatever its vendor says.
	longestPairing = 30 * time.Minute
	// pairingTimeout bounds one question, with the test call that may follow it.
	pairingTimeout = 3 * time.Minute
)

// ConnectKinds are the jobs of connecting. of answers the broker that does them, which
// need not be there before the first runs.
func ConnectKinds(of func() *Broker) map[string]jobs.Kind {
	return map[string]jobs.Kind{
		jobResume:  {Run: func(ctx context.Context, j jobs.Job) error { return of().resumeJob(ctx, j) }, Timeout: pairingTimeout},
		jobPairing: {Run: func(ctx context.Context, j jobs.Job) error { return of().askPairing(ctx, j) }, Timeout: pairingTimeout, Attempts: 100},
	}
}

// pairing names a device flow, as the argument of a job.
type pairing struct {
	Organization claviger.OrganizationID `json:"organization"`
	Flow         claviger.FlowID         `json:"flow"`
}

// pair begins a flow at the vendor (RFC 8628, section 3.1): it sets f's Device and times,
// and answers values with the device code and what else the tokens will need.
func (b *Broker) pair(ctx context.Context, c claviger.Caller, l *live, f *claviger.ConnectFlow, values claviger.Credentials) (out claviger.Credentials, err error) {
	cfg, err := b.oauthConfig(ctx, c.Scope, l)
	if err != nil {
		return nil, err
	}
	r := f.Resource()
	r.Host = hostOf(cfg.Endpoints.Device)
	t, err := b.gate.Admit(ctx, c, f.Verb(), r, "")
	if err != nil {
		return nil, err
	}
	defer func() { t.Done(gate.Ending{Err: err, Host: r.Host}) }()
	client, err := b.vault.ClientOf(ctx, t, l.connector.Key, l.method, values)
	if err != nil {
		return nil, err
	}
	d, err := b.connecting.oauth.StartDevice(ctx, cfg, client, f.Scopes)
	if err != nil {
		return nil, err
	}
	out = claviger.Credentials{}
	maps.Copy(out, values)
	out[deviceKey] = d.DeviceCode
	if cfg.Rules.DPoP {
		if out[vault.ProofKey], err = b.connecting.oauth.NewProofKey(); err != nil {
			return nil, err
		}
	}
	f.Status, f.ExpiresAt = claviger.ConnectStarted, d.ExpiresAt
	if latest := f.CreatedAt.Add(longestPairing); latest.Before(f.ExpiresAt) {
		f.ExpiresAt = latest
	}
	f.Device = &claviger.Pairing{
		UserCode: d.UserCode, VerificationURI: d.VerificationURI, VerificationURIComplete: d.VerificationURIComplete,
		Interval: d.Interval, NextAt: f.CreatedAt.Add(d.Interval),
	}
	return out, nil
}

// askPairing asks the vendor once, and comes again until the flow is over.
func (b *Broker) askPairing(ctx context.Context, job jobs.Job) error {
	var what pairing
	if err := json.Unmarshal(job.Args, &what); err != nil {
		return jobs.Discard(err)
	}
	b.replayFlows(ctx) // the vendor must not be asked again for what is on the disk
	f, sealed, err := b.db.ConnectFlowByID(ctx, what.Flow)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	c := b.connecting.act(f.Organization, f.Workspace, string(f.ID), claviger.Request{})
	switch {
	case f.Organization != what.Organization || f.Device == nil:
		return nil
	case f.Status == claviger.ConnectAwaiting && f.Session == "":
		return b.paired(ctx, c, &f)
	case f.Status == claviger.ConnectAnswered: // its process died on the way
		if early := f.ExpiresAt.Sub(b.now()); early > 0 {
			return jobs.Snooze(early)
		}
		return b.resumeFlow(ctx, c, &f)
	case f.Status != claviger.ConnectStarted:
		return nil
	}
	if early := f.Device.NextAt.Sub(b.now()); early > 0 {
		return jobs.Snooze(early)
	}
	r := redemption{broker: b, caller: c, flow: f, sealed: sealed}
	next, err := r.poll(ctx)
	if next > 0 {
		return jobs.Snooze(next)
	}
	if ours(err) {
		return err
	}
	return r.settle(ctx, err)
}

// paired completes a flow that the API began. Its initiator has shown the code itself, so
// that there is nothing which a code of ours could prove to it.
func (b *Broker) paired(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow) error {
	if !b.now().Before(f.ExpiresAt) {
		return nil // its process died, and it is too late: the sweep gives it up
	}
	_, err := b.complete(ctx, c, f)
	if claviger.IsKind(err, claviger.KindConflict) {
		return nil // it was finished or given up meanwhile, and says so itself
	}
	return err
}

// poll asks the vendor once. Without an error, next is when to ask again, or zero if the
// tokens are kept, sealed.
func (r *redemption) poll(ctx context.Context) (next time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	b := r.broker
	if !b.now().Before(r.flow.ExpiresAt) {
		return 0, unanswered()
	}
	if r.live, err = b.flowLive(ctx, r.caller, &r.flow); err != nil {
		return 0, err
	}
	if r.config, err = b.oauthConfig(ctx, r.caller.Scope, r.live); err != nil {
		return 0, err
	}
	wait, err := r.askVendor(ctx)
	if err != nil || wait > 0 {
		return wait, err
	}
	_, err = r.conclude(ctx, "")
	return 0, err
}

func unanswered() *claviger.Error {
	return claviger.Errorf(claviger.KindConflict, "flow_expired", "Nobody allowed the connection at the vendor in time. Begin again.")
}

// askVendor sends one question under a ticket and takes the tokens, if they are its
// answer.
func (r *redemption) askVendor(ctx context.Context) (wait time.Duration, err error) {
	b := r.broker
	res := r.flow.Resource()
	res.Host = hostOf(r.config.Endpoints.Token)
	t, err := b.gate.Admit(ctx, r.caller, r.flow.Verb(), res, "")
	if err != nil {
		return 0, err
	}
	ending := gate.Ending{Host: res.Host}
	defer func() {
		ending.Err = err
		t.Done(ending)
	}()
	values, err := b.vault.OpenFlow(ctx, t, &r.flow, r.sealed)
	if err != nil {
		return 0, err
	}
	if r.client, err = b.vault.ClientOf(ctx, t, r.live.connector.Key, r.live.method, values); err != nil {
		return 0, err
	}
	d := oauth.Device{DeviceCode: values[deviceKey], Interval: r.flow.Device.Interval, ExpiresAt: r.flow.ExpiresAt}
	failpoint.Hit("connect.poll.before")
	attempt := b.connecting.oauth.PollDevice(ctx, r.config, r.client, d, r.proof(values))
	failpoint.Hit("connect.poll.after")
	ending.StatusCode = attempt.Raw.Status
	class := oauth.Class{Verdict: oauth.Unavailable}
	if attempt.Outcome == oauth.Answered {
		class = oauth.Classify(r.config, attempt.Raw)
	}
	if class.Verdict == oauth.Granted {
		if err := r.keep(ctx, t, attempt.Raw, values); err != nil {
			return 0, err
		}
		return 0, r.take(ctx, attempt.Raw, values)
	}
	d, again := d.Next(class, b.now())
	if !again {
		if class.Verdict == oauth.Expired || class.Verdict == oauth.Pending || class.Verdict == oauth.SlowDown || class.Retry() {
			return 0, unanswered()
		}
		return 0, class.Err()
	}
	return d.Interval, r.later(ctx, d.Interval)
}

// later notes when the vendor may be asked again.
func (r *redemption) later(ctx context.Context, interval time.Duration) error {
	b := r.broker
	region, err := b.db.PlaceOf(ctx, r.flow.Organization, r.flow.Workspace)
	if err != nil {
		return err
	}
	return b.db.InTx(ctx, region, func(tx *store.Tx) error {
		_, err := tx.UpdateConnectFlow(ctx, r.caller.Scope, r.flow.ID, func(now claviger.ConnectFlow, sealed claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
			if now.Device != nil {
				next := *now.Device
				next.Interval, next.NextAt = interval, b.now().Add(interval)
				now.Device = &next
			}
			return now, sealed, nil
		})
		return err
	})
}

// decides reports whether a device flow waits for its person, or for what the vendor's
// answer to it leads to.
func decides(f *claviger.ConnectFlow) bool {
	return f.Status == claviger.ConnectStarted || f.Status == claviger.ConnectAnswered
}

// showPairing answers what a browser shows of a device flow: the code while the person is
// at the vendor, then the way back. The first browser that looks is the flow's, so that
// somebody who is sent the address learns neither the code nor how to finish.
func (b *Broker) showPairing(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow, cookie string) (Departure, error) {
	l, err := b.flowLive(ctx, c, f)
	if err != nil {
		return Departure{}, err
	}
	d := Departure{Brand: b.Brand(ctx, f.Organization), Connector: l.connector.Name, Pairing: f.Device, Cookie: cookie}
	waits := decides(f)
	switch {
	case f.Status.Final() && f.Fault != nil && sameBrowser(f, cookie):
		why := claviger.Errorf(claviger.KindConflict, f.Fault.Code, "%s", f.Fault.Message)
		d.Arrival = &Arrival{Flow: *f, Connector: l.connector.Name, Failure: why, ReturnTo: f.ReturnURL}
		return d, nil
	case !waits && f.Status != claviger.ConnectAwaiting || f.Status != claviger.ConnectAnswered && !b.now().Before(f.ExpiresAt) || f.Session == "":
		return d, b.gate.Refuse(ctx, c, f.Verb(), f.Resource(), flowEnded())
	case len(f.BrowserHash) > 0 && !sameBrowser(f, cookie):
		return d, b.gate.Refuse(ctx, c, f.Verb(), f.Resource(), badCallback("browser_mismatch", "It was started in another browser"))
	}
	if waits && sameBrowser(f, cookie) {
		return d, nil // looks again, and there is nothing to change
	}
	if !validBrowser(cookie) {
		if d.Cookie, err = b.connecting.oauth.NewState(); err != nil {
			return d, err
		}
	}
	code, err := b.finishCode(f.Delivery)
	if err != nil {
		return d, err
	}
	ready := false
	err = b.gate.Change(ctx, c, f.Verb(), f.Resource(), func(tx *store.Tx, _ *gate.Ticket) error {
		next, err := tx.UpdateConnectFlow(ctx, c.Scope, f.ID, func(now claviger.ConnectFlow, sealed claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
			if len(now.BrowserHash) > 0 && !sameBrowser(&now, d.Cookie) {
				return now, nil, badCallback("browser_mismatch", "It was started in another browser")
			}
			now.BrowserHash = digest(d.Cookie)
			if ready = now.Status == claviger.ConnectAwaiting; ready {
				now.FinishHash = finishHash(now.ID, code) // the last one shown is the one that counts
			}
			return now, sealed, nil
		})
		*f = next
		return err
	})
	if err == nil && ready {
		a := arrival(f, l.connector.Name, code)
		d.Arrival = &a
	}
	return d, err
}

// PairingOver reports whether the page of a device flow has something else to show than
// its code, to the browser that shows it and to no other. It makes no finish code and
// changes nothing, so that a page may ask as often as it likes.
//
// Errors: KindNotFound for any other flow or browser.
func (b *Broker) PairingOver(ctx context.Context, id claviger.FlowID, cookie string) (bool, error) {
	f, _, err := b.flow(ctx, id)
	if err != nil {
		return false, err
	}
	if f.Device == nil || !sameBrowser(&f, cookie) {
		return false, claviger.NotFound("page")
	}
	return !decides(&f) || f.Status == claviger.ConnectStarted && !b.now().Before(f.ExpiresAt), nil
}
