package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"claviger"
	"claviger/internal/egress"
	"claviger/internal/jobs"
	"claviger/internal/store"
)

// The codes of what came of an attempt, beside those of package egress.
const (
	codeStatus   = "unexpected_status" // neither 2xx nor one of the below
	codeRedirect = "redirect_refused"
	codeGone     = "endpoint_gone" // it answered 410: never again
	codeDisabled = "endpoint_disabled"
	codeDeleted  = "endpoint_deleted"
	// OwnerRemoved is why an endpoint is disabled whose owner may do nothing any more.
	OwnerRemoved = "owner_removed"
	// Gone is why one is disabled that answered 410.
	Gone = "gone"
)

// deliver makes one attempt of a delivery and says when the next one follows.
func (e *Events) deliver(ctx context.Context, job jobs.Job) error {
	var what delivering
	if err := json.Unmarshal(job.Args, &what); err != nil {
		return jobs.Discard(err)
	}
	d, err := e.db.DeliveryToSend(ctx, job.Place, what.Organization, what.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && d.Status != claviger.DeliveryPending {
		return nil
	}
	if err != nil {
		return err
	}
	// A job that was taken up again after a crash may come before the delivery is due.
	if early := d.NextAt.Sub(e.now()); early > 0 {
		return jobs.Snooze(early)
	}
	endpoint, secrets, err := e.target(ctx, &d)
	if errors.Is(err, errDone) {
		return e.store(ctx, d, d.Attempts)
	}
	if err != nil {
		return err
	}
	before := d.Attempts
	asked, err := e.attempt(ctx, &d, endpoint, secrets)
	if err != nil {
		return err
	}
	return e.conclude(ctx, d, before, asked)
}

// target answers where the delivery goes now and under which secrets. If nowhere, it
// ends the delivery and answers errDone.
func (e *Events) target(ctx context.Context, d *claviger.EventDelivery) (*claviger.EventEndpoint, []claviger.Secret, error) {
	endpoint, sealed, owned, err := e.db.EndpointToCall(ctx, d.Organization, d.Endpoint)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, cancel(d, codeDeleted)
	}
	if err != nil {
		return nil, nil, err
	}
	if endpoint.Disabled == "" && !owned {
		endpoint.Disabled = OwnerRemoved
		if err := e.disable(ctx, d, OwnerRemoved); err != nil {
			return nil, nil, err
		}
	}
	if endpoint.Disabled != "" {
		return nil, nil, cancel(d, codeDisabled)
	}
	secrets, err := e.open(ctx, &endpoint, sealed)
	return &endpoint, secrets, err
}

func cancel(d *claviger.EventDelivery, code string) error {
	d.Status, d.Code, d.NextAt = claviger.DeliveryCanceled, code, time.Time{}
	return errDone
}

// open answers the secrets that sign now: the current one, and after a rotation the one
// before it.
func (e *Events) open(ctx context.Context, endpoint *claviger.EventEndpoint, sealed store.EndpointSecrets) ([]claviger.Secret, error) {
	current, err := e.secrets.OpenEventSecret(ctx, endpoint, endpoint.Version, sealed.Current)
	if err != nil {
		return nil, err
	}
	if sealed.Previous == nil || !e.now().Before(endpoint.PreviousUntil) {
		return []claviger.Secret{current}, nil
	}
	previous, err := e.secrets.OpenEventSecret(ctx, endpoint, endpoint.Version-1, sealed.Previous)
	return []claviger.Secret{current, previous}, err
}

// attempt sends the delivery once and notes what came of it. asked is how long the
// endpoint wants to be left alone. An error means that nothing can be said of it:
// claviger is stopping.
func (e *Events) attempt(ctx context.Context, d *claviger.EventDelivery, endpoint *claviger.EventEndpoint, secrets []claviger.Secret) (asked time.Duration, err error) {
	now := e.now()
	req, dest, err := request(ctx, d, endpoint, now, secrets)
	if err != nil {
		return 0, err
	}
	sending, done := context.WithTimeout(ctx, e.timeout)
	defer done()
	d.Attempts++
	d.LastAt, d.StatusCode, d.Code = now, 0, ""
	resp, err := e.egress.Do(sending, dest, req.WithContext(sending))
	if err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		d.Code = claviger.AsError(err).FineCode()
		if d.Code == "canceled" { // by the attempt's own deadline
			d.Code = "upstream_timeout"
		}
		return 0, nil
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	d.StatusCode = resp.StatusCode
	d.Code = verdict(resp.StatusCode)
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		asked = time.Duration(min(seconds, 3600)) * time.Second
	}
	return asked, nil
}

func verdict(status int) string {
	switch {
	case status >= 200 && status < 300:
		return ""
	case status >= 300 && status < 400:
		return codeRedirect
	case status == http.StatusGone:
		return codeGone
	}
	return codeStatus
}

// conclude stores what came of an attempt.
func (e *Events) conclude(ctx context.Context, d claviger.EventDelivery, before int, asked time.Duration) error {
	d.NextAt = time.Time{}
	switch d.Code {
	case "":
		d.Status = claviger.DeliverySucceeded
	case codeGone:
		d.Status = claviger.DeliveryFailed
		if err := e.disable(ctx, &d, Gone); err != nil {
			return err
		}
	default:
		end := d.Since.Add(Window)
		if !d.LastAt.Before(end) {
			d.Status = claviger.DeliveryFailed
			break
		}
		// The last attempt is at the window's end: a receiver that comes back after
		// twenty hours must not be too late because the next pause is long.
		if d.NextAt = d.LastAt.Add(pause(d.Attempts, asked)); d.NextAt.After(end) {
			d.NextAt = end
		}
	}
	if err := e.store(ctx, d, before); err != nil || d.NextAt.IsZero() {
		return err
	}
	return jobs.Snooze(d.NextAt.Sub(e.now()))
}

// store keeps what came of an attempt, unless another run of the job was first.
func (e *Events) store(ctx context.Context, d claviger.EventDelivery, before int) error {
	err := e.db.InTx(ctx, d.Region, func(tx *store.Tx) error { return tx.SaveEventDelivery(ctx, d, before) })
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func (e *Events) disable(ctx context.Context, d *claviger.EventDelivery, why string) error {
	e.log.Warn("an event endpoint was disabled", "organization", d.Organization, "endpoint", d.Endpoint, "why", why)
	return e.db.InTx(ctx, "", func(tx *store.Tx) error { return tx.DisableEventEndpoint(ctx, d.Organization, d.Endpoint, why) })
}

// request makes the signed request of an attempt, and where it may go: to the
// endpoint's own origin.
func request(ctx context.Context, d *claviger.EventDelivery, endpoint *claviger.EventEndpoint, now time.Time, secrets []claviger.Secret) (*http.Request, egress.Destination, error) {
	u, err := url.Parse(endpoint.URL)
	if err != nil {
		return nil, egress.Destination{}, err
	}
	origin, ok := egress.CanonicalOrigin(u)
	if !ok {
		return nil, egress.Destination{}, errors.New("events: the endpoint has no origin")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint.URL, bytes.NewReader(d.Body))
	if err != nil {
		return nil, egress.Destination{}, err
	}
	signatures, err := sign(d.Event, now, d.Body, secrets)
	if err != nil {
		return nil, egress.Destination{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "claviger")
	req.Header.Set("webhook-id", string(d.Event))
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("webhook-signature", signatures)
	return req, egress.Destination{Key: string(endpoint.Organization) + "/events/" + string(endpoint.ID), Origin: origin}, nil
}
