package broker_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/store"
)

func limited(perSecond float64, burst int) map[string]any {
	return map[string]any{"rateLimit": map[string]any{"requestsPerSecond": perSecond, "burst": burst}}
}

// What a connection has used up of its vendor's limit is not given back by a change of
// the connection, and a repeat counts like a first attempt.
func TestRateLimitOutlivesChanges(t *testing.T) {
	r := newRoom(t)
	r.publish(limited(0.5, 2))
	id := r.connect(r.owner, "one", "ak_good", nil).ID
	name := "renamed"
	for n, wait := range []time.Duration{0, 0, 2 * time.Second, 2 * time.Second} {
		before := len(r.waits)
		must(r.run(id))(t)
		if waited := r.waits[before:]; wait == 0 && len(waited) > 0 || wait > 0 && !slices.Equal(waited, []time.Duration{wait}) {
			t.Errorf("call %d waited %v, want %v", n+1, waited, wait)
		}
		must(r.broker.UpdateConnection(t.Context(), r.owner, broker.ConnectionChange{ID: id, Name: &name}))(t)
	}
	r.vendor.status = []int{503}
	before := len(r.waits)
	if out := must(r.run(id))(t); !out.Succeeded {
		t.Errorf("%+v", out)
	}
	// its own place, the pause before the repeat, the repeat's place; the limiter
	// reckons in fractions, and may be a nanosecond short
	if waited := r.waits[before:]; len(waited) != 3 || (waited[1]+waited[2]).Round(time.Microsecond) < 2*time.Second {
		t.Errorf("a repeat waited %v", waited)
	}
}

func TestRateLimitTooLongToWait(t *testing.T) {
	r := newRoom(t)
	r.publish(limited(0.05, 1))
	id := r.connect(r.owner, "one", "ak_good", nil).ID
	must(r.run(id))(t)
	_, calls := r.vendor.header("")
	_, err := r.run(id)
	if e := claviger.AsError(err); !claviger.IsKind(err, claviger.KindRateLimited) || e.RetryAfter < 19*time.Second || e.RetryAfter > 20*time.Second {
		t.Errorf("%v", err)
	}
	if _, now := r.vendor.header(""); now != calls {
		t.Error("the vendor was called")
	}
}

func TestRepeats(t *testing.T) {
	r := newRoom(t)
	r.publish(nil)
	id := r.connect(r.owner, "one", "ak_good", nil).ID
	for _, c := range []struct {
		name    string
		answers []int
		want    int // status in the end
		calls   int
	}{
		{"once", []int{200}, 200, 1},
		{"stumbles", []int{503, 200}, 200, 2},
		{"throttled", []int{429, 200}, 200, 2},
		{"down", []int{500, 502, 504, 200}, 504, 3},
		{"refused", []int{400, 200}, 400, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.vendor.status = c.answers
			_, before := r.vendor.header("")
			out := must(r.run(id))(t)
			_, after := r.vendor.header("")
			if out.StatusCode != c.want || out.Succeeded != (c.want < 400) || after-before != c.calls {
				t.Errorf("%d after %d calls", out.StatusCode, after-before)
			}
			if strings.Contains(string(out.Output), "ak_good") {
				t.Errorf("the credential came back: %s", out.Output)
			}
		})
	}
}

// A refusal that comes back after the credential was replaced says nothing of the new one.
func TestRefusalMarksTheCredentialThatWasTried(t *testing.T) {
	r := newRoom(t)
	r.publish(nil)
	id := r.connect(r.owner, "one", "ak_good", nil).ID
	r.vendor.status = []int{401}
	if out := must(r.run(id))(t); out.Succeeded {
		t.Error("401 succeeded")
	}
	conn := must(r.broker.Connection(t.Context(), r.owner, id))(t)
	if conn.Health != claviger.HealthUnhealthy || conn.LastError == nil || conn.LastError.Code != "invalid_credentials" || conn.Status != claviger.StatusActive {
		t.Errorf("%s %+v", conn.Health, conn.LastError)
	}
	if report := must(r.broker.TestConnection(t.Context(), r.owner, id))(t); report.Status != "passed" || len(report.Steps) != 3 {
		t.Errorf("%+v", report)
	}
	if conn = must(r.broker.Connection(t.Context(), r.owner, id))(t); conn.Health != claviger.HealthHealthy || conn.LastError != nil {
		t.Errorf("%s %+v", conn.Health, conn.LastError)
	}
}

// The kill switch leaves out what the caller may not know of, and every connection that
// it reached has an entry of its own.
func TestBulkSwitch(t *testing.T) {
	r := newRoom(t)
	r.publish(nil)
	shared := r.connect(r.owner, "shared", "ak_good", nil).ID
	second := r.connect(r.owner, "second", "ak_good", nil).ID
	personal := r.connect(r.owner, "personal", "ak_good", func(in *broker.NewConnection) { in.Visibility = claviger.VisibilityPersonal }).ID
	if _, err := r.broker.DisableConnections(t.Context(), r.owner, broker.ConnectionFilter{}); code(err) != "required connector" {
		t.Errorf("everything at once: %v", err)
	}
	if n := must(r.broker.DisableConnections(t.Context(), r.developer(), broker.ConnectionFilter{Connector: "acme"}))(t); n != 2 {
		t.Errorf("disabled %d, want 2", n)
	}
	for id, want := range map[claviger.ConnectionID]claviger.Status{shared: claviger.StatusDisabled, second: claviger.StatusDisabled, personal: claviger.StatusActive} {
		if conn := must(r.broker.Connection(t.Context(), r.owner, id))(t); conn.Status != want {
			t.Errorf("%s is %s", conn.Name, conn.Status)
		}
	}
	if _, err := r.run(shared); code(err) != "connection_disabled" {
		t.Errorf("used: %v", err)
	}
	if n := must(r.broker.DisableConnections(t.Context(), r.owner, broker.ConnectionFilter{Owner: "usr_owner"}))(t); n != 1 {
		t.Errorf("an administrator disabled %d more", n)
	}
	list := r.entries(store.LedgerFilter{Connection: shared, Verb: claviger.ConnectionsDisable})
	if len(list) != 1 || list[0].ActorID != "key_dev" || list[0].Outcome != claviger.OutcomeSucceeded || list[0].Workspace != r.ws {
		t.Errorf("%+v", list)
	}
}

func TestRefusedUsesAreRecorded(t *testing.T) {
	r := newRoom(t)
	r.publish(nil)
	revoked := r.connect(r.owner, "revoked", "ak_good", nil).ID
	gone := must(r.broker.DeleteConnection(t.Context(), r.owner, revoked, false))(t)
	if gone.Status != claviger.StatusRevoked || len(gone.Revocations) != 1 || gone.Revocations[0].Verdict != "not_supported" {
		t.Errorf("%+v", gone)
	}
	r.connect(r.owner, "revoked", "ak_good", nil) // the name is free again
	callback := r.connect(r.owner, "callback", "ak_good", func(in *broker.NewConnection) { in.Usage = claviger.UsageCallback }).ID
	disabled := r.connect(r.owner, "disabled", "ak_good", nil).ID
	must(r.broker.DisableConnection(t.Context(), r.owner, disabled))(t)
	refused := map[claviger.ConnectionID]string{revoked: "connection_revoked", callback: "missing_slot", disabled: "connection_disabled"}
	for id, want := range refused {
		if _, err := r.run(id); code(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
		if x := must(r.broker.Explain(t.Context(), r.owner, broker.Question{Connection: id}))(t); x.Allowed || x.Code != want {
			t.Errorf("explained as %+v, want %s", x, want)
		}
	}
	for id, want := range refused {
		list := r.entries(store.LedgerFilter{Connection: id, Outcome: claviger.OutcomeDenied})
		if len(list) != 1 || list[0].Code != want || list[0].Verb != claviger.ActionsRun {
			t.Errorf("%s: %+v", want, list)
		}
	}
}

func TestExplain(t *testing.T) {
	r := newRoom(t)
	r.publish(limited(5, 10))
	id := r.connect(r.owner, "one", "ak_good", nil).ID
	reader := r.owner
	reader.Permissions, _ = claviger.PermissionsOf(claviger.ConnectionsRead)
	for _, c := range []struct {
		name   string
		caller claviger.Caller
		q      broker.Question
		code   string // empty: allowed
		url    string
	}{
		{"path", r.owner, broker.Question{Path: "/things"}, "", "/v2/things"},
		{"path with a query", r.owner, broker.Question{Path: "/things?a=1"}, "", "/v2/things?a=1"},
		{"action", r.owner, broker.Question{Action: "acme.list", Input: map[string]any{"limit": 2.0}}, "", "/v2/things?limit=2"},
		{"dots", r.owner, broker.Question{Path: "/../x"}, "invalid_path", ""},
		{"input", r.owner, broker.Question{Action: "acme.list", Input: map[string]any{"limit": 0.0}}, "invalid_format", ""},
		{"no such action", r.owner, broker.Question{Action: "acme.none"}, "unknown_action", ""},
		{"another connector", r.owner, broker.Question{Action: "other.list"}, "connector_mismatch", ""},
		{"no permission", reader, broker.Question{Path: "/things"}, "permission_denied", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.q.Connection = id
			_, before := r.vendor.header("")
			x := must(r.broker.Explain(t.Context(), c.caller, c.q))(t)
			if x.Code != c.code || x.Allowed != (c.code == "") || x.Message == "" && c.code != "" {
				t.Errorf("%q: %s", x.Code, x.Message)
			}
			if _, after := r.vendor.header(""); after != before {
				t.Error("the vendor was called")
			}
			if c.code != "" {
				return
			}
			if !strings.HasSuffix(x.URL, c.url) || x.RateLimit.Burst != 10 || !strings.HasSuffix(x.Host, ":"+r.vendor.port(t)) {
				t.Errorf("%+v", x)
			}
			if got := x.Headers["X-Api-Key"]; !slices.Equal(got, []string{"***REDACTED***"}) {
				t.Errorf("header %v", got)
			}
		})
	}
	if _, err := r.broker.Explain(t.Context(), r.owner, broker.Question{Connection: "conn_none"}); !claviger.IsKind(err, claviger.KindNotFound) {
		t.Errorf("%v", err)
	}
}

func TestSecretsTakeEffectAtTheNextUse(t *testing.T) {
	r := newRoom(t)
	r.publish(nil)
	put := func(value string) claviger.SecretMeta {
		t.Helper()
		return must(r.broker.PutSecret(t.Context(), r.owner, "acme/key", claviger.NewSecretString(value)))(t)
	}
	put("ak_one")
	id := r.connect(r.owner, "one", "kv://acme/key", nil).ID
	for _, value := range []string{"ak_one", "ak_two"} {
		if meta := put(value); !slices.Contains(meta.UsedBy, id) {
			t.Errorf("used by %v", meta.UsedBy)
		}
		must(r.run(id))(t)
		if key, _ := r.vendor.header("X-Api-Key"); key != value {
			t.Errorf("the vendor got %s, want %s", key, value)
		}
	}
	if err := r.broker.DeleteSecret(t.Context(), r.owner, "acme/key"); err != nil {
		t.Fatal(err)
	}
	_, err := r.run(id)
	if e := claviger.AsError(err); e.Kind != claviger.KindReauthorize || e.Code != "secret_missing" || e.Path != "acme/key" {
		t.Errorf("%v", err)
	}
	report := must(r.broker.TestConnection(t.Context(), r.owner, id))(t)
	if report.Status != "failed" || report.Steps[0].Code != "secret_missing" || report.Steps[1].Status != "skipped" {
		t.Errorf("%+v", report)
	}
	if _, err := r.broker.PutSecret(t.Context(), r.owner, "other/key", claviger.NewSecretString("x")); code(err) != "foreign_secret_path path" {
		t.Errorf("%v", err)
	}
}

func TestEncryptionRotatesUnderUse(t *testing.T) {
	r := newRoom(t)
	r.publish(nil)
	must(r.broker.PutSecret(t.Context(), r.owner, "shared/key", claviger.NewSecretString("ak_secret")))(t)
	one := r.connect(r.owner, "one", "ak_good", nil).ID
	two := r.connect(r.owner, "two", "kv://shared/key", nil).ID
	before := must(r.broker.Encryption(t.Context(), r.owner))(t)
	must(r.run(one))(t) // so that its old ciphertext is in memory
	for range 2 {
		after := must(r.broker.RotateEncryption(t.Context(), r.owner))(t)
		if after.Outdated != 0 || after.Sealed != before.Sealed || after.Generation == before.Generation {
			t.Errorf("%+v after %+v", after, before)
		}
		for id, want := range map[claviger.ConnectionID]string{one: "ak_good", two: "ak_secret"} {
			must(r.run(id))(t)
			if key, _ := r.vendor.header("X-Api-Key"); key != want {
				t.Errorf("the vendor got %s, want %s", key, want)
			}
		}
		before = after
	}
	if _, err := r.broker.RotateEncryption(t.Context(), r.developer()); !claviger.IsKind(err, claviger.KindDenied) {
		t.Errorf("a developer: %v", err)
	}
}

func TestUsageReports(t *testing.T) {
	r := newRoom(t)
	r.publish(nil)
	id := r.connect(r.owner, "one", "ak_good", nil).ID
	at := func(s string) time.Time { return must(time.Parse(time.RFC3339, s))(t) }
	row := func(hour, action string, calls, failures int64, total, longest time.Duration) claviger.UsageRow {
		return claviger.UsageRow{
			Organization: r.owner.Scope.Organization(), Workspace: r.ws, Connection: id, Connector: "acme", Action: action,
			Hour: at(hour), Calls: calls, Failures: failures, Total: total, Longest: longest,
		}
	}
	err := r.db.InTx(t.Context(), "", func(tx *store.Tx) error {
		return tx.AddUsage(t.Context(), []claviger.UsageRow{
			row("2026-02-28T23:00:00Z", "proxy", 1, 1, 10*time.Millisecond, 10*time.Millisecond), // a Saturday
			row("2026-03-01T00:00:00Z", "proxy", 2, 0, 10*time.Millisecond, 8*time.Millisecond),  // a Sunday, of the same ISO week
			row("2026-03-01T00:00:00Z", "acme.list", 1, 0, 2*time.Millisecond, 2*time.Millisecond),
			row("2026-03-02T05:00:00Z", "acme.list", 4, 2, 8*time.Millisecond, 5*time.Millisecond),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for period, want := range map[string][]string{
		"hour":  {"2026-02-28T23:00:00Z 1/1", "2026-03-01T00:00:00Z 3/0", "2026-03-02T05:00:00Z 4/2"},
		"day":   {"2026-02-28T00:00:00Z 1/1", "2026-03-01T00:00:00Z 3/0", "2026-03-02T00:00:00Z 4/2"},
		"week":  {"2026-02-23T00:00:00Z 4/1", "2026-03-02T00:00:00Z 4/2"},
		"month": {"2026-02-01T00:00:00Z 1/1", "2026-03-01T00:00:00Z 7/2"},
	} {
		q := broker.UsageQuery{Connection: id, Period: period, From: at("2026-02-25T00:00:00Z"), To: at("2026-03-03T00:00:00Z")}
		report := must(r.broker.Usage(t.Context(), r.owner, q))(t)
		if got := points(report.Points); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", period, got, want)
		}
		if a := report.ByAction; len(a) != 2 || a[0].Action != "acme.list" || a[0].Calls != 5 || a[0].Average != 2*time.Millisecond ||
			a[1].Failures != 1 || a[1].Longest != 10*time.Millisecond {
			t.Errorf("%s by action: %+v", period, a)
		}
		q.Connection = ""
		if all := must(r.broker.Usage(t.Context(), r.owner, q))(t); !slices.Equal(points(all.Points), want) {
			t.Errorf("%s of all: %v", period, points(all.Points))
		}
	}
	for want, q := range map[string]broker.UsageQuery{
		"invalid_format period": {Period: "year"},
		"invalid_format to":     {From: at("2026-03-02T00:00:00Z"), To: at("2026-03-01T00:00:00Z")},
		"invalid_format from":   {Period: "hour", From: at("2026-01-01T00:00:00Z"), To: at("2026-03-01T00:00:00Z")},
	} {
		if _, err := r.broker.Usage(t.Context(), r.owner, q); code(err) != want {
			t.Errorf("%q, want %q", code(err), want)
		}
	}
}

func points(list []broker.UsagePoint) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.Start.Format(time.RFC3339) + " " + string('0'+rune(p.Calls)) + "/" + string('0'+rune(p.Failures))
	}
	return out
}
