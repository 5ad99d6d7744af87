package broker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/gate"
)

// The names of a validation's steps.
const (
	stepFormat     = "format"
	stepLive       = "live"
	stepPermission = "permission"
)

// probed is what a validation found out about a credential.
type probed struct {
	steps   []TestStep
	account claviger.Account
	scopes  []string
	err     *claviger.Error // of the first step that failed; nil if none did
	host    string
	status  int
}

func (p *probed) fail(name string, began, now time.Time, status int, err *claviger.Error) {
	p.steps = append(p.steps, TestStep{
		Name: name, Status: "failed", Code: err.FineCode(), Message: err.Message,
		StatusCode: status, Missing: err.Missing, Duration: now.Sub(began),
	})
	p.err = err
}

func (p *probed) pass(name string, began, now time.Time, status int) {
	p.steps = append(p.steps, TestStep{Name: name, Status: "passed", StatusCode: status, Duration: now.Sub(began)})
}

// skip closes the list: what was not reached, or does not exist for this method.
func (p *probed) skip(names ...string) {
	for _, name := range names {
		p.steps = append(p.steps, TestStep{Name: name, Status: "skipped"})
	}
}

// probe takes the three steps with given credentials: format, live, permission. The
// ticket admits to using them; nothing is stored.
func (b *Broker) probe(ctx context.Context, l *live, creds claviger.Credentials, formatErr error) probed {
	p := probed{host: l.base.Host}
	began := b.now()
	if formatErr != nil {
		p.fail(stepFormat, began, b.now(), 0, claviger.AsError(formatErr))
		p.skip(stepLive, stepPermission)
		return p
	}
	p.pass(stepFormat, began, b.now(), 0)
	if l.method.Test == nil {
		p.skip(stepLive, stepPermission)
		return p
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began = b.now()
	header, body, status, err := b.ask(ctx, l, l.method.Test, creds)
	p.status = status
	if err == nil {
		err = judge(l, header, body, status)
	}
	if err != nil {
		p.fail(stepLive, began, b.now(), status, err)
		p.skip(stepPermission)
		return p
	}
	p.pass(stepLive, began, b.now(), status)
	p.account = catalog.ReadAccount(l.method.Test, body)
	b.probePermissions(ctx, l, creds, header, body, &p)
	return p
}

// probePermissions compares what the vendor granted with what the method requires.
func (b *Broker) probePermissions(ctx context.Context, l *live, creds claviger.Credentials, header http.Header, body []byte, p *probed) {
	spec := l.method.Permissions
	if spec == nil {
		p.skip(stepPermission)
		return
	}
	began := b.now()
	status := p.status
	if spec.Request != nil {
		var err *claviger.Error
		header, body, status, err = b.ask(ctx, l, spec.Request, creds)
		if err == nil {
			err = judge(l, header, body, status)
		}
		if err != nil {
			p.fail(stepPermission, began, b.now(), status, err)
			return
		}
	}
	scopes, known := catalog.ReadScopes(spec, header, body)
	if !known {
		p.skip(stepPermission)
		return
	}
	p.scopes = scopes
	if missing := catalog.MissingScopes(spec, scopes); len(missing) > 0 {
		e := claviger.Invalid("credentials", "insufficient_scope", "The credential is valid, but lacks permissions that this connector needs. Grant them at the vendor and try again.")
		e.Missing = missing
		p.fail(stepPermission, began, b.now(), status, e)
		return
	}
	p.pass(stepPermission, began, b.now(), status)
}

// maxProbe bounds the answer to a test call.
const maxProbe = 1 << 20

// ask makes one test call. A vendor that could not be reached is the validation's
// "unreachable"; egress rules keep their own codes.
func (b *Broker) ask(ctx context.Context, l *live, probe *claviger.Probe, creds claviger.Credentials) (http.Header, []byte, int, *claviger.Error) {
	req, err := catalog.ProbeRequest(l.connector, probe, l.conn.Settings)
	if err != nil {
		return nil, nil, 0, claviger.AsError(err)
	}
	s, err := b.deliver(ctx, l, req, creds)
	if err != nil {
		return nil, nil, 0, unreachable(err)
	}
	body, err := readAll(s.response.Body, maxProbe)
	if err != nil {
		return nil, nil, s.response.StatusCode, unreachable(err)
	}
	return s.response.Header, body, s.response.StatusCode, nil
}

func unreachable(err error) *claviger.Error {
	e := claviger.AsError(err)
	if e.Kind != claviger.KindUpstream && e.Kind != claviger.KindTimeout {
		return e
	}
	u := claviger.Invalid("", "unreachable", "The vendor could not be reached, so the credential was not tried. Check the settings and try again.")
	u.Err = err
	return u
}

// judge turns a vendor's answer to a test call into a verdict on the credential.
func judge(l *live, header http.Header, body []byte, status int) *claviger.Error {
	if catalog.Passed(l.method.Test, status, body) && !catalog.Expired(l.connector, status, header, body) {
		return nil
	}
	switch {
	case status == http.StatusTooManyRequests:
		return claviger.Invalid("", "upstream_rate_limited", "The vendor is limiting requests, so the credential was not tried. Try again later.")
	case status >= 500:
		return claviger.Invalid("", "unreachable", "The vendor answered with status %d, so the credential was not tried. Try again later.", status)
	case status == http.StatusForbidden:
		return claviger.Invalid("credentials", "insufficient_scope", "The vendor knows the credential but does not let it make the test call (status 403).")
	default:
		return claviger.Invalid("credentials", "invalid_credentials", "The vendor refused the credential (status %d). Check it and try again.", status)
	}
}

// TestConnection takes the three steps with the stored credentials and remembers what
// they found.
func (b *Broker) TestConnection(ctx context.Context, c claviger.Caller, id claviger.ConnectionID) (TestReport, error) {
	l, err := b.live(ctx, c, claviger.ConnectionsTest, id)
	if err != nil {
		return TestReport{}, err
	}
	if e := l.conn.Status.Refusal(); e != nil && l.conn.Status != claviger.StatusReauthorize {
		return TestReport{}, b.gate.Refuse(ctx, c, claviger.ConnectionsTest, l.resource, e)
	}
	if e := l.displaced(); e != nil {
		return TestReport{}, b.gate.Refuse(ctx, c, claviger.ConnectionsTest, l.resource, e)
	}
	p, err := b.testAdmitted(ctx, c, l)
	if err != nil {
		return TestReport{}, err
	}
	if err := b.remember(ctx, c, l, p); err != nil {
		return TestReport{}, err
	}
	report := TestReport{Status: "passed", Steps: p.steps, TestedAt: b.now()}
	if p.err != nil {
		report.Status = "failed"
	}
	return report, nil
}

func (b *Broker) testAdmitted(ctx context.Context, c claviger.Caller, l *live) (p probed, err error) {
	t, err := b.gate.Admit(ctx, c, claviger.ConnectionsTest, l.resource, "")
	if err != nil {
		return p, err
	}
	ending := gate.Ending{Err: claviger.Errorf(claviger.KindInternal, "", "The test did not end.")}
	defer func() { t.Done(ending) }()
	creds, err := b.vault.Fresh(ctx, t, &l.conn, l.sealed)
	if claviger.IsKind(err, claviger.KindReauthorize) {
		p = b.probe(ctx, l, nil, err)
		ending = gate.Ending{Err: err}
		return p, nil
	}
	if err != nil {
		ending = gate.Ending{Err: err}
		return p, err
	}
	var formatErr error
	if l.method.OAuth == nil { // tokens have no format but the vendor's, which was checked when they came
		_, formatErr = catalog.CheckCredentials(l.method, creds)
	}
	p = b.probe(ctx, l, creds, formatErr)
	ending = gate.Ending{StatusCode: p.status, Host: p.host}
	if p.err != nil {
		ending.Err = p.err
	}
	return p, nil
}

// remember stores what a test found: health, fault, account, scopes, time.
func (b *Broker) remember(ctx context.Context, c claviger.Caller, l *live, p probed) error {
	health, fault := verdict(p)
	_, err := b.change(ctx, c, claviger.ConnectionsTest, l.conn.ID, func(conn claviger.Connection) (claviger.Connection, error) {
		conn.LastCheckedAt = b.now()
		if conn.Status == claviger.StatusReauthorize && conn.LastError != nil && p.err != nil && p.err.Kind == claviger.KindReauthorize {
			return conn, nil // the cause is known more precisely
		}
		conn.Health, conn.LastError = health, fault
		if p.account.ID != "" && (conn.Account.ID == "" || conn.Account.ID == p.account.ID) {
			conn.Account = p.account
		}
		if p.scopes != nil {
			conn.GrantedScopes = p.scopes
		}
		return conn, nil
	})
	return err
}

// verdict turns a validation into a health. What says nothing about the credential,
// such as a vendor that is down, still means that it does not work now.
func verdict(p probed) (claviger.Health, *claviger.Fault) {
	if p.err != nil {
		return claviger.HealthUnhealthy, &claviger.Fault{Code: p.err.FineCode(), Message: p.err.Message}
	}
	for _, s := range p.steps {
		if s.Name == stepLive && s.Status == "passed" {
			return claviger.HealthHealthy, nil
		}
	}
	return claviger.HealthUnknown, nil
}

// validate takes the three steps with credentials that are not stored yet, under a
// ticket, and answers what they found; its error is that of the first failing step.
func (b *Broker) validate(ctx context.Context, c claviger.Caller, v claviger.Verb, l *live, creds claviger.Credentials) (p probed, err error) {
	t, err := b.gate.Admit(ctx, c, v, l.resource, "")
	if err != nil {
		return p, err
	}
	ending := gate.Ending{Err: claviger.Errorf(claviger.KindInternal, "", "The validation did not end.")}
	defer func() { t.Done(ending) }()
	resolved, err := b.vault.Resolve(ctx, t, creds)
	if err != nil {
		ending = gate.Ending{Err: err}
		return p, err
	}
	p = b.probe(ctx, l, resolved, nil)
	ending = gate.Ending{StatusCode: p.status, Host: p.host}
	if p.err != nil {
		ending.Err = p.err
		return p, p.err
	}
	return p, nil
}

// isStale reports whether a change lost a race and may be tried again.
func isStale(err error) bool { return errors.Is(err, errStale) }
