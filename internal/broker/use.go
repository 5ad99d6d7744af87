package broker

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/egress"
	"claviger/internal/failpoint"
	"claviger/internal/gate"
	"claviger/internal/inject"
	"claviger/internal/vault"
)

const (
	// callTimeout bounds one brokered call with all its attempts. Streams are bounded
	// by egress, which watches for silence instead.
	callTimeout = 60 * time.Second
	// attempts is how often an idempotent request is sent at most.
	attempts = 3
	// patience is the longest wait between two attempts, and for the rate limit.
	patience = 10 * time.Second
)

// sent is a vendor's answer within an admitted call.
type sent struct {
	response *http.Response
	sent     *url.URL // where it went, for a Location that is relative to it
	scrub    *egress.Scrubber
}

// attempt takes the one way down for one request: open, inject, send. The ticket was
// made by the gate; the request by the catalogue or from the caller's.
func (b *Broker) attempt(ctx context.Context, t *gate.Ticket, l *live, req *http.Request) (sent, error) {
	creds, err := b.vault.Fresh(ctx, t, &l.conn, l.sealed)
	if err != nil {
		return sent{}, b.reconnectable(l.conn.ID, err)
	}
	if id := t.Caller().From.ID; id != "" && req.Header != nil {
		req.Header[sentRequestID] = []string{id} // in place of a caller's, which was dropped
	}
	return b.deliver(ctx, l, req, creds)
}

// sentRequestID tells the vendor under which id the call is in the ledger: what stands in
// the vendor's log leads to who called, in one query.
const sentRequestID = "Claviger-Request-Id"

// deliver puts credentials on a request and sends it to the one place where they may
// go.
func (b *Broker) deliver(ctx context.Context, l *live, req *http.Request, creds claviger.Credentials) (sent, error) {
	req, err := inject.Apply(req, l.method, asClient(creds), l.conn.Settings)
	if err != nil {
		return sent{}, err
	}
	failpoint.Hit("call.send.before")
	res, err := b.send(ctx, l, req, creds)
	failpoint.Hit("call.send.after")
	if err != nil {
		return sent{}, err
	}
	return sent{response: res, sent: req.URL, scrub: egress.NewScrubber(secretValues(l.method, creds)...)}, nil
}

// secretValues answers the values whose echoes are blotted out of answers.
func secretValues(m *claviger.AuthMethod, creds claviger.Credentials) []claviger.Secret {
	out := make([]claviger.Secret, 0, len(creds))
	for key, value := range creds {
		if f, ok := m.Field(key); ok && f.Secret || m.OAuth != nil && key == vault.AccessToken {
			out = append(out, value)
		}
	}
	return out
}

// throttle keeps the connection's rate limit. A short wait is waited, a long one is
// the caller's to plan.
func (b *Broker) throttle(ctx context.Context, l *live) error {
	if l.limiter == nil {
		return nil
	}
	r := l.limiter.ReserveN(b.now(), 1)
	d := r.DelayFrom(b.now())
	if d == 0 {
		return nil
	}
	if !r.OK() || d > patience {
		r.CancelAt(b.now())
		e := claviger.Errorf(claviger.KindRateLimited, "rate_limited", "The vendor's rate limit for this connection is used up. Try again later.")
		e.RetryAfter = d.Round(time.Second)
		return e
	}
	if err := b.wait(ctx, d); err != nil {
		return claviger.Errorf(claviger.KindTimeout, "timeout", "The request ended while it waited for the vendor's rate limit.").With(err)
	}
	return nil
}

// idempotent reports whether a method may be repeated (RFC 9110, section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// again says whether a status is worth another attempt, and how long the vendor asks
// to wait before it.
func (b *Broker) again(l *live, res *http.Response, attempt int) (time.Duration, bool) {
	d, throttled := catalog.Throttled(l.connector, res.StatusCode, res.Header, b.now())
	if !throttled && !slices.Contains([]int{500, 502, 503, 504}, res.StatusCode) {
		return 0, false
	}
	if d == 0 {
		// Doubled with each attempt, and spread, so that many callers whose vendor
		// stumbled do not come back at the same moment.
		d = 200*time.Millisecond<<attempt + time.Duration(b.now().UnixNano()%int64(100*time.Millisecond))
	}
	return d, d <= patience
}

// noteFailure remembers that the vendor no longer accepts a credential. It is a fact
// about the connection, not a decision: it changes its health alone.
func (b *Broker) noteFailure(ctx context.Context, t *gate.Ticket, l *live) {
	if l.conn.Health == claviger.HealthUnhealthy {
		return
	}
	fault := &claviger.Fault{Code: "invalid_credentials", Message: "The vendor refused the credential during a call."}
	if err := b.setHealth(ctx, t.Caller(), &l.conn, claviger.HealthUnhealthy, fault); err != nil {
		b.log.WarnContext(ctx, "health could not be stored", "connection", string(l.conn.ID), "error", err)
	}
}
