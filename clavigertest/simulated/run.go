package simulated

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/catalog/simulate"
	"claviger/internal/inject"
)

// The steps that a document may declare none of.
const (
	StepTest        = "test"
	StepPermissions = "permissions"
	StepActions     = "actions"
	StepRefresh     = "refresh"
	StepRevoke      = "revoke"
)

// Report says what a connector's run did.
type Report struct {
	Calls int            // requests that were sent
	None  map[string]int // auth methods that declare a step none, by step; of actions, 1
}

// run is the run of one connector.
type run struct {
	*World
	ctx      context.Context
	conn     *claviger.Connector
	vendor   *simulate.Vendor
	settings map[string]string
	report   Report
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) ok() bool { return a.status/100 == 2 }

// Run runs one connector. The error says which step failed and why.
func (w *World) Run(ctx context.Context, conn *claviger.Connector) (Report, error) {
	v, err := simulate.New(conn, time.Now)
	if err != nil {
		return Report{}, err
	}
	return w.against(ctx, conn, v)
}

// against runs a connector against a vendor, which may be that of another document.
func (w *World) against(ctx context.Context, conn *claviger.Connector, v *simulate.Vendor) (Report, error) {
	w.add(conn.Key, v)
	r := &run{World: w, ctx: ctx, conn: conn, vendor: v, settings: v.Settings(), report: Report{None: map[string]int{}}}
	if len(conn.Actions) == 0 {
		r.report.None[StepActions] = 1
	}
	for i := range conn.Auth {
		m := &conn.Auth[i]
		step := r.fixed
		if m.OAuth != nil {
			step = r.granted
		}
		if err := step(m); err != nil {
			return r.report, fmt.Errorf("%s.%s: %w", conn.Key, m.Key, err)
		}
	}
	if faults := v.Faults(); len(faults) > 0 {
		return r.report, fmt.Errorf("%s: the vendor complains: %q", conn.Key, faults)
	}
	return r.report, nil
}

// fixed runs a method whose credential a person brings.
func (r *run) fixed(m *claviger.AuthMethod) error {
	values := r.vendor.Values(m.Key)
	if warnings, err := catalog.CheckCredentials(m, sealed(values)); err != nil || len(warnings) > 0 {
		return fmt.Errorf("a made-up credential is refused: %v %v", warnings, err)
	}
	if err := r.working(m, values); err != nil {
		return err
	}
	for i := range m.Inject { // each place counts
		if len(m.Inject[i].Value.Names())+len(m.Inject[i].Username.Names())+len(m.Inject[i].Password.Names()) == 0 {
			continue
		}
		less := *m
		less.Inject = slices.Delete(slices.Clone(m.Inject), i, i+1)
		if err := r.refused(&less, values); err != nil {
			return fmt.Errorf("without injection %d: %w", i, err)
		}
	}
	for name := range values {
		if !injected(m, name) {
			return fmt.Errorf("the field %s goes nowhere", name)
		}
		wrong := map[string]string{}
		for k, v := range values {
			wrong[k] = v
		}
		wrong[name] += "x"
		if err := r.refused(m, wrong); err != nil {
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

// working runs everything that a valid credential does.
func (r *run) working(m *claviger.AuthMethod, values map[string]string) error {
	if err := r.test(m, values); err != nil {
		return err
	}
	for i := range r.conn.Actions {
		if err := r.action(m, &r.conn.Actions[i], values); err != nil {
			return fmt.Errorf("action %s: %w", r.conn.Actions[i].Key, err)
		}
	}
	return r.limits(m, values)
}

// test runs the test and the permission check.
func (r *run) test(m *claviger.AuthMethod, values map[string]string) error {
	p := m.Permissions
	if m.Test == nil {
		r.report.None[StepTest]++
	}
	if p == nil {
		r.report.None[StepPermissions]++
	}
	var a answer
	var err error
	if m.Test != nil {
		if a, err = r.probe(m, m.Test, values); err != nil {
			return fmt.Errorf("test: %w", err)
		}
		if !catalog.Passed(m.Test, a.status, a.body) {
			return fmt.Errorf("the test fails: %d %s, %q", a.status, a.body, r.vendor.Faults())
		}
		account := catalog.ReadAccount(m.Test, a.body)
		if (m.Test.AccountID != "") != (account.ID != "") || (m.Test.AccountName != "") != (account.Name != "") {
			return fmt.Errorf("the account is %+v in %s", account, a.body)
		}
		if catalog.Expired(r.conn, a.status, a.header, a.body) {
			return errors.New("a good answer counts as expired")
		}
	}
	if p == nil || p.From == "token" {
		return nil
	}
	if p.Request != nil {
		if a, err = r.probe(m, p.Request, values); err != nil {
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

func (r *run) action(m *claviger.AuthMethod, act *claviger.Action, values map[string]string) error {
	input, err := r.vendor.Input(act)
	if err != nil {
		return fmt.Errorf("a made-up input: %w", err)
	}
	req, err := catalog.Request(r.conn, act, r.settings, input)
	if err != nil {
		return err
	}
	a, err := r.send(m, req, values)
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
func (r *run) limits(m *claviger.AuthMethod, values map[string]string) error {
	defer r.vendor.Behave(simulate.Normal, 0)
	for i := range r.conn.Expiry {
		r.vendor.Behave(simulate.Expired, i)
		a, err := r.any(m, values)
		if err != nil {
			return err
		}
		if !catalog.Expired(r.conn, a.status, a.header, a.body) {
			return fmt.Errorf("expiry signal %d is not read: %d %s", i, a.status, a.body)
		}
	}
	for i := range max(1, len(r.conn.RateLimit.Status)) {
		r.vendor.Behave(simulate.Throttled, i)
		a, err := r.any(m, values)
		if err != nil {
			return err
		}
		if after, ok := catalog.Throttled(r.conn, a.status, a.header, time.Now()); !ok || after < 50*time.Second || after > 70*time.Second {
			return fmt.Errorf("too many requests: %v, after %s, from %d %v", ok, after, a.status, a.header)
		}
	}
	return nil
}

// refused expects that a credential is not accepted, and that the answer is read so.
func (r *run) refused(m *claviger.AuthMethod, values map[string]string) error {
	a, err := r.any(m, values)
	if err != nil {
		return err
	}
	if !catalog.Expired(r.conn, a.status, a.header, a.body) {
		return fmt.Errorf("accepted: %d %s", a.status, a.body)
	}
	return nil
}

// any sends the cheapest call that there is: the test, else a bare one to the base.
func (r *run) any(m *claviger.AuthMethod, values map[string]string) (answer, error) {
	if m.Test != nil {
		return r.probe(m, m.Test, values)
	}
	return r.probe(m, &claviger.Probe{Method: http.MethodGet, Path: claviger.MustTemplate("/")}, values)
}

func (r *run) probe(m *claviger.AuthMethod, p *claviger.Probe, values map[string]string) (answer, error) {
	req, err := catalog.ProbeRequest(r.conn, p, r.settings)
	if err != nil {
		return answer{}, err
	}
	return r.send(m, req, values)
}

// send puts the credential on a request, twice, which must not differ from once, and
// sends it.
func (r *run) send(m *claviger.AuthMethod, req *http.Request, values map[string]string) (answer, error) {
	creds := sealed(values)
	once, err := inject.Apply(req, m, creds, r.settings)
	if err != nil {
		return answer{}, err
	}
	ready, err := inject.Apply(once, m, creds, r.settings)
	if err != nil {
		return answer{}, err
	}
	if ready.URL, err = r.address(r.conn.Key, ready.URL); err != nil {
		return answer{}, err
	}
	ready.Host = ""
	r.report.Calls++
	resp, err := r.client.Do(ready.WithContext(r.ctx))
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{resp.StatusCode, resp.Header, body}, err
}

// sealed answers values as the secrets that they are.
func sealed(values map[string]string) claviger.Credentials {
	creds := claviger.Credentials{}
	for k, v := range values {
		creds[k] = claviger.NewSecretString(v)
	}
	return creds
}
