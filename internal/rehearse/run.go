package rehearse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/catalog/simulate"
	"claviger/internal/inject"
)

// The steps of one auth method's run, in their order.
const (
	StepConnect = "connect" // the credential's format and test; consent, exchange and discovery of oauth2
	StepCall    = "call"    // every action
	StepExpire  = "expire"  // the vendor's ways to say "expired" and "too many", and a credential that is wrong
	StepRefresh = "refresh"
	StepRevoke  = "revoke"
)

// Outcome is how a step ended.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped" // a step before it failed
	None    Outcome = "none"    // the document declares none
)

// Step is one step of one auth method's run.
type Step struct {
	Method, Name string
	Outcome      Outcome
	Why          string // of a failure
	Calls        int    // requests that were sent
}

// Report is a connector's run.
type Report struct {
	Connector string
	Steps     []Step
}

// Err answers why the connector did not pass, or nil if it did.
func (r Report) Err() error {
	for _, s := range r.Steps {
		if s.Outcome == Failed {
			return fmt.Errorf("%s.%s: %s: %s", r.Connector, s.Method, s.Name, s.Why)
		}
	}
	return nil
}

// errNone is the result of a step that the document declares none of.
var errNone = errors.New("none")

// run is the run of one connector.
type run struct {
	*World
	ctx      context.Context
	conn     *claviger.Connector
	vendor   *simulate.Vendor
	settings map[string]string
	calls    int
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) ok() bool { return a.status/100 == 2 }

// Run runs one connector. The error says what of the document cannot be simulated at
// all; how the steps ended is in the report.
func (w *World) Run(ctx context.Context, conn *claviger.Connector) (Report, error) {
	v, err := simulate.New(conn, time.Now)
	if err != nil {
		return Report{}, err
	}
	return w.against(ctx, conn, v), nil
}

// against runs a connector against a vendor, which may be that of another document.
func (w *World) against(ctx context.Context, conn *claviger.Connector, v *simulate.Vendor) Report {
	w.add(conn.Key, v)
	report := Report{Connector: conn.Key}
	for i := range conn.Auth {
		m := &conn.Auth[i]
		r := &run{World: w, ctx: ctx, conn: conn.For(m.Key), vendor: v, settings: v.Settings(m.Key)}
		steps := r.fixed(m)
		if m.OAuth != nil {
			steps = r.granted(m)
		}
		report.Steps = append(report.Steps, r.take(m.Key, steps)...)
	}
	return report
}

// named is a step that is to be taken.
type named struct {
	name string
	take func() error
}

// take takes a method's steps until one fails.
func (r *run) take(method string, steps []named) []Step {
	out := make([]Step, len(steps))
	failed := false
	for i, s := range steps {
		out[i] = Step{Method: method, Name: s.name, Outcome: Skipped}
		if failed {
			continue
		}
		r.calls = 0
		err := s.take()
		faults := r.vendor.Faults()
		switch {
		case errors.Is(err, errNone):
			out[i].Outcome = None
		case err != nil:
			out[i].Outcome, out[i].Why = Failed, err.Error()
		case len(faults) > 0:
			out[i].Outcome, out[i].Why = Failed, fmt.Sprintf("the vendor complains: %q", faults)
		default:
			out[i].Outcome = Passed
		}
		failed, out[i].Calls = out[i].Outcome == Failed, r.calls
	}
	return out
}

func none() error { return errNone }

// fixed answers the steps of a method whose credential a person brings.
func (r *run) fixed(m *claviger.AuthMethod) []named {
	creds := sealed(r.vendor.Values(m.Key))
	return []named{
		{StepConnect, func() error {
			if warnings, err := catalog.CheckCredentials(m, creds); err != nil || len(warnings) > 0 {
				return fmt.Errorf("a made-up credential is refused: %v %v", warnings, err)
			}
			if m.Test == nil {
				return errNone
			}
			return r.test(m, creds)
		}},
		{StepCall, func() error { return r.actions(m, creds) }},
		{StepExpire, func() error {
			if err := r.limits(m, creds); err != nil {
				return err
			}
			return r.wrong(m)
		}},
		{StepRefresh, none},
		{StepRevoke, none},
	}
}

// wrong expects that each field and each place of a credential counts.
func (r *run) wrong(m *claviger.AuthMethod) error {
	values := r.vendor.Values(m.Key)
	for i := range m.Inject {
		if len(m.Inject[i].Value.Names())+len(m.Inject[i].Username.Names())+len(m.Inject[i].Password.Names()) == 0 {
			continue
		}
		less := *m
		less.Inject = slices.Delete(slices.Clone(m.Inject), i, i+1)
		if err := r.refused(&less, sealed(values)); err != nil {
			return fmt.Errorf("without injection %d: %w", i, err)
		}
	}
	for name := range values {
		if !injected(m, name) {
			return fmt.Errorf("the field %s goes nowhere", name)
		}
		other := maps.Clone(values)
		other[name] += "x"
		if err := r.refused(m, sealed(other)); err != nil {
			return fmt.Errorf("with another %s: %w", name, err)
		}
	}
	return nil
}

func injected(m *claviger.AuthMethod, field string) bool {
	return slices.ContainsFunc(m.Inject, func(in claviger.Injection) bool {
		return slices.Contains(slices.Concat(in.Value.Names(), in.Username.Names(), in.Password.Names()), field)
	})
}

// actions calls every action.
func (r *run) actions(m *claviger.AuthMethod, creds claviger.Credentials) error {
	if len(r.conn.Actions) == 0 {
		return errNone
	}
	for i := range r.conn.Actions {
		if err := r.action(m, &r.conn.Actions[i], creds); err != nil {
			return fmt.Errorf("action %s: %w", r.conn.Actions[i].Key, err)
		}
	}
	return nil
}

// test runs the test and the permission check.
func (r *run) test(m *claviger.AuthMethod, creds claviger.Credentials) error {
	p := m.Permissions
	var a answer
	var err error
	if m.Test != nil {
		if a, err = r.probe(m, m.Test, creds); err != nil {
			return fmt.Errorf("test: %w", err)
		}
		if !catalog.Passed(m.Test, a.status, a.body) {
			return fmt.Errorf("the test fails: %d %s, %q", a.status, a.body, r.vendor.Faults())
		}
		account := catalog.ReadAccount(m.Test, a.body)
		if (m.Test.AccountID != "") != (account.ID != "") || (m.Test.AccountName != "") != (account.Name != "") {
			return fmt.Errorf("the account is %q, %q in %s", account.ID, account.Name, a.body)
		}
		if catalog.Expired(r.conn, a.status, a.header, a.body) {
			return errors.New("a good answer counts as expired")
		}
	}
	if p == nil || p.From == "token" {
		return nil
	}
	if p.Request != nil {
		if a, err = r.probe(m, p.Request, creds); err != nil {
			return fmt.Errorf("permissions: %w", err)
		}
	}
	scopes, known := catalog.ReadScopes(p, a.header, a.body)
	want := slices.Sorted(slices.Values(simulate.Granted(p)))
	if !known || !slices.Equal(scopes, want) {
		return fmt.Errorf("the scopes are %q (%v), want %q", scopes, known, want)
	}
	if missing := catalog.MissingScopes(p, scopes); missing != nil {
		return fmt.Errorf("the scopes %q are missing", missing)
	}
	return nil
}

func (r *run) action(m *claviger.AuthMethod, act *claviger.Action, creds claviger.Credentials) error {
	input, err := r.vendor.Input(act)
	if err != nil {
		return fmt.Errorf("a made-up input: %w", err)
	}
	req, err := catalog.Request(r.conn, act, r.settings, input)
	if err != nil {
		return err
	}
	a, err := r.send(m, req, creds)
	if err != nil {
		return err
	}
	if !a.ok() {
		return fmt.Errorf("answered %d %s, %q", a.status, a.body, r.vendor.Faults())
	}
	if act.Pagination == nil || act.Pagination.Type == "page" || act.Pagination.Type == "offset" {
		return nil
	}
	if next := catalog.NextPage(act.Pagination, a.header, a.body); next != simulate.NextPage {
		return fmt.Errorf("the next page is %q in %s", next, a.body)
	}
	if _, ok := catalog.PageInput(act); !ok {
		return errors.New("no input takes the position of the next page")
	}
	return nil
}

// limits runs each way to say expired, and each status that means too many.
func (r *run) limits(m *claviger.AuthMethod, creds claviger.Credentials) error {
	defer r.vendor.Behave(simulate.Normal, 0)
	for i := range r.conn.Expiry {
		r.vendor.Behave(simulate.Expired, i)
		a, err := r.any(m, creds)
		if err != nil {
			return err
		}
		if !catalog.Expired(r.conn, a.status, a.header, a.body) {
			return fmt.Errorf("expiry signal %d is not read: %d %s", i, a.status, a.body)
		}
	}
	for i := range max(1, len(r.conn.RateLimit.Status)) {
		r.vendor.Behave(simulate.Throttled, i)
		a, err := r.any(m, creds)
		if err != nil {
			return err
		}
		if after, ok := catalog.Throttled(r.conn, a.status, a.header, time.Now()); !ok || after < 50*time.Second || after > 70*time.Second {
			return fmt.Errorf("too many requests: %v, after %s, from %d", ok, after, a.status)
		}
	}
	return nil
}

// refused expects that a credential is not accepted, and that the answer is read so.
func (r *run) refused(m *claviger.AuthMethod, creds claviger.Credentials) error {
	a, err := r.any(m, creds)
	if err != nil {
		return err
	}
	if !catalog.Expired(r.conn, a.status, a.header, a.body) {
		return fmt.Errorf("accepted: %d %s", a.status, a.body)
	}
	return nil
}

// any sends the cheapest call that there is: the test, else a bare one to the base.
func (r *run) any(m *claviger.AuthMethod, creds claviger.Credentials) (answer, error) {
	if m.Test != nil {
		return r.probe(m, m.Test, creds)
	}
	return r.probe(m, &claviger.Probe{Method: http.MethodGet, Path: claviger.MustTemplate("/")}, creds)
}

func (r *run) probe(m *claviger.AuthMethod, p *claviger.Probe, creds claviger.Credentials) (answer, error) {
	req, err := catalog.ProbeRequest(r.conn, p, r.settings)
	if err != nil {
		return answer{}, err
	}
	return r.send(m, req, creds)
}

// send puts the credential on a request, twice, which must not differ from once, and
// sends it.
func (r *run) send(m *claviger.AuthMethod, req *http.Request, creds claviger.Credentials) (answer, error) {
	once, err := inject.Apply(req, m, creds, r.settings)
	if err != nil {
		return answer{}, err
	}
	ready, err := inject.Apply(once, m, creds, r.settings)
	if err != nil {
		return answer{}, err
	}
	r.calls++
	return r.World.send(r.ctx, r.conn.Key, ready)
}
