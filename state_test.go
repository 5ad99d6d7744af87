package claviger_test

import (
	"errors"
	"fmt"
	"net/url"
	"testing"

	"claviger"
)

func TestScopeCovers(t *testing.T) {
	whole := claviger.Authenticated("org_a", "")
	one := claviger.Authenticated("org_a", "ws_1")
	for _, c := range []struct {
		name         string
		scope        claviger.Scope
		organization claviger.OrganizationID
		workspace    claviger.WorkspaceID
		want         bool
	}{
		{"own organization", whole, "org_a", "", true},
		{"any workspace of it", whole, "org_a", "ws_1", true},
		{"another organization", whole, "org_b", "", false},
		{"another organization's workspace", whole, "org_b", "ws_1", false},
		{"no organization", whole, "", "", false},
		{"own workspace", one, "org_a", "ws_1", true},
		{"another workspace", one, "org_a", "ws_2", false},
		{"what belongs to the organization", one, "org_a", "", false},
		{"a workspace of the same id elsewhere", one, "org_b", "ws_1", false},
		{"zero scope, nothing", claviger.Scope{}, "", "", false},
		{"zero scope, something", claviger.Scope{}, "org_a", "ws_1", false},
		{"no organization in the scope", claviger.Authenticated("", "ws_1"), "", "ws_1", false},
	} {
		if got := c.scope.Covers(c.organization, c.workspace); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	if one.Organization() != "org_a" || one.Workspace() != "ws_1" {
		t.Errorf("the scope answers %q and %q", one.Organization(), one.Workspace())
	}
}

func TestStatusRefusal(t *testing.T) {
	for _, c := range []struct {
		status claviger.Status
		kind   claviger.Kind
		code   string
	}{
		{claviger.StatusPending, claviger.KindConflict, "connection_pending"},
		{claviger.StatusReauthorize, claviger.KindReauthorize, "reauthorization_required"},
		{claviger.StatusDisabled, claviger.KindDenied, "connection_disabled"},
		{claviger.StatusRevoked, claviger.KindConflict, "connection_revoked"},
		{"", claviger.KindConflict, "connection_revoked"},
		{"something new", claviger.KindConflict, "connection_revoked"},
	} {
		err := c.status.Refusal()
		if err == nil {
			t.Errorf("%q may be used", c.status)
		} else if err.Kind != c.kind || err.FineCode() != c.code || err.Message == "" {
			t.Errorf("%q: got %s %s %q, want %s %s and a message", c.status, err.Kind, err.FineCode(), err.Message, c.kind, c.code)
		}
	}
	if err := claviger.StatusActive.Refusal(); err != nil {
		t.Errorf("an active connection is refused: %v", err)
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("pq: password=hunter2")
	e := claviger.Invalid("credentials.apiKey", "invalid_format", "The value of %s has the wrong form.", "apiKey").With(cause)
	if e.Kind != claviger.KindInvalid || e.Param != "credentials.apiKey" || e.FineCode() != "invalid_format" || !errors.Is(e, cause) {
		t.Errorf("Invalid made %+v", *e)
	}
	if e.Message != "The value of apiKey has the wrong form." {
		t.Errorf("Message = %q", e.Message)
	}
	wrapped := fmt.Errorf("while testing: %w", e)
	if got := claviger.AsError(wrapped); got != e || !claviger.IsKind(wrapped, claviger.KindInvalid) || claviger.IsKind(wrapped, claviger.KindInternal) {
		t.Errorf("AsError lost the error: %v", got)
	}
	if claviger.AsError(nil) != nil || claviger.IsKind(nil, claviger.KindInternal) {
		t.Error("nil is no error")
	}
	if got := (&claviger.Error{Kind: claviger.KindDenied, Op: "broker.Call", Message: "No.", Err: cause}).Error(); got != "broker.Call: denied: No.: pq: password=hunter2" {
		t.Errorf("for the log: %q", got)
	}
	template := claviger.StatusDisabled.Refusal()
	if _ = template.With(cause); template.Err != nil {
		t.Error("With must answer a copy")
	}
}

func TestUnknownErrorsAreWithheld(t *testing.T) {
	for _, text := range []string{"pq: password=hunter2", "SELECT secret FROM connections", "Get \"https://v.example/?key=" + canary + "\": EOF", canary} {
		got := claviger.AsError(fmt.Errorf("wrapped: %w", errors.New(text)))
		if got.Kind != claviger.KindInternal || leak(got.Message) != "" || got.Message != claviger.AsError(errors.New("other")).Message {
			t.Errorf("%q: shown as %s %q; want one internal message for all", text, got.Kind, got.Message)
		}
		if got.Err == nil {
			t.Errorf("%q: the cause is lost to the log", text)
		}
	}
	if a, b := claviger.NotFound("connection"), claviger.NotFound("connection"); a.Message != b.Message || a.FineCode() != "not_found" {
		t.Errorf("NotFound = %q, %q", a.Message, a.FineCode())
	}
}

func TestConnectionBinding(t *testing.T) {
	c := claviger.Connection{ID: "conn_1", Organization: "org_1", Workspace: "ws_1", Revision: 3, Destination: "https://api.example.com", Owner: "usr_1", Visibility: claviger.VisibilityPersonal, Connector: "acme", Usage: claviger.UsageAPI}
	if got, want := c.Binding(), (claviger.Binding{Purpose: "connection", Organization: "org_1", ID: "conn_1", Revision: 3, Destination: "https://api.example.com"}); got != want {
		t.Errorf("Binding = %+v, want %+v", got, want)
	}
	r := c.Resource()
	if r.Type != "connection" || r.ID != "conn_1" || r.Organization != "org_1" || r.Workspace != "ws_1" || r.Owner != "usr_1" || r.Visibility != claviger.VisibilityPersonal || r.Connection != "conn_1" || r.Connector != "acme" || r.Usage != claviger.UsageAPI {
		t.Errorf("Resource = %+v: a fact that decides who may is missing", r)
	}
	if len(claviger.Usages()) != 7 {
		t.Errorf("Usages = %v", claviger.Usages())
	}
}

func TestOrigin(t *testing.T) {
	for in, want := range map[string]string{
		"https://API.example.com/v1": "https://api.example.com", "https://api.example.com:443": "https://api.example.com",
		"https://api.example.com:8443/x": "https://api.example.com:8443", "http://h:80/": "http://h", "http://h:443/": "http://h:443",
		"https://[2001:DB8::1]:8443/": "https://[2001:db8::1]:8443", "https://[::1]:443": "https://[::1]",
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := claviger.Origin(u); got != want {
			t.Errorf("Origin(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestConnectorLookups(t *testing.T) {
	c := claviger.Connector{
		Auth:    []claviger.AuthMethod{{Key: "a"}, {Key: "key", Fields: []claviger.Field{{Key: "apiKey", Secret: true}}}},
		Actions: []claviger.Action{{Key: "list"}, {Key: "get"}},
	}
	m, ok := c.Method("key")
	if !ok || m != &c.Auth[1] {
		t.Errorf("Method = %v, %v", m, ok)
	}
	if f, ok := m.Field("apiKey"); !ok || f != &c.Auth[1].Fields[0] {
		t.Errorf("Field = %v, %v", f, ok)
	}
	if a, ok := c.Action("get"); !ok || a != &c.Actions[1] {
		t.Errorf("Action = %v, %v", a, ok)
	}
	_, method := c.Method("Key")
	_, field := m.Field("")
	if _, action := c.Action("drop"); method || field || action {
		t.Error("an unknown key must not be found")
	}
}
