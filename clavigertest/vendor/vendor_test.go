package vendor_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/vendor"
	"claviger/connectors"
	"claviger/internal/catalog"
	"claviger/internal/inject"
)

// inputs holds one valid input for every action of the built-in connectors.
var inputs = map[string]string{
	"github.get-user":               `{}`,
	"github.list-repositories":      `{"visibility":"public","perPage":2}`,
	"github.list-issues":            `{"owner":"octocat","repo":"hello","state":"open"}`,
	"github.create-issue":           `{"owner":"octocat","repo":"hello","title":"It broke","labels":["bug"]}`,
	"gitlab.get-user":               `{}`,
	"gitlab.list-projects":          `{"membership":true}`,
	"gitlab.create-issue":           `{"project":"acme/site","title":"It broke"}`,
	"clickup.get-user":              `{}`,
	"clickup.list-workspaces":       `{}`,
	"clickup.list-tasks":            `{"listId":"900","page":0}`,
	"clickup.create-task":           `{"listId":"900","name":"Write it down","priority":2}`,
	"jira.get-myself":               `{}`,
	"jira.search-issues":            `{"jql":"project = ACME","maxResults":10}`,
	"jira.create-issue":             `{"projectKey":"ACME","issueType":"Bug","summary":"It broke"}`,
	"stripe.get-balance":            `{}`,
	"stripe.list-customers":         `{"limit":2}`,
	"stripe.create-customer":        `{"email":"ada@example.com","metadata":{"plan":"pro"}}`,
	"sendgrid.send-email":           `{"from":{"email":"a@example.com"},"to":[{"email":"b@example.com"}],"subject":"Hello","content":[{"type":"text/plain","value":"Hi"}]}`,
	"sendgrid.list-templates":       `{"pageSize":10}`,
	"openai.list-models":            `{}`,
	"openai.create-chat-completion": `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"temperature":0.5}`,
	"openai.create-embedding":       `{"model":"text-embedding-3-small","text":["a","b"]}`,
	"notion.get-self":               `{}`,
	"notion.search":                 `{"query":"plan"}`,
	"notion.get-page":               `{"pageId":"59833787-2cf9-4fdf-8782-e53db20768a5"}`,
	"notion.create-page":            `{"parent":{"page_id":"x"},"properties":{}}`,
	"linear.list-teams":             `{"first":5}`,
	"linear.list-issues":            `{"filter":{"state":{"name":{"eq":"Todo"}}}}`,
	"linear.create-issue":           `{"teamId":"t1","title":"It broke"}`,
	"twilio.send-message":           `{"to":"+15005550006","from":"+15005550001","body":"Hi & bye"}`,
	"twilio.list-messages":          `{"pageSize":1}`,
}

// bench is one simulated world and the client that reaches it.
type bench struct {
	t       *testing.T
	server  *vendor.Server
	client  *http.Client
	catalog *catalog.Catalog
}

func open(t *testing.T) *bench {
	t.Helper()
	c, err := catalog.Load(connectors.Files, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := vendor.Start(t)
	transport := s.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	return &bench{t: t, server: s, catalog: c, client: &http.Client{Transport: transport, Timeout: time.Minute}}
}

// send applies the credentials and answers the vendor's status, header and body.
// connectors answers those that are simulated here.
func (b *bench) connectors() []*claviger.Connector {
	b.t.Helper()
	var out []*claviger.Connector
	for _, key := range vendor.Keys() {
		conn, ok := b.catalog.Get(key)
		if !ok {
			b.t.Fatalf("there is no connector %s", key)
		}
		out = append(out, conn.For(fixed(conn).Key))
	}
	return out
}

// fixed answers a connector's first method whose credential a person brings.
func fixed(conn *claviger.Connector) *claviger.AuthMethod {
	for i := range conn.Auth {
		if conn.Auth[i].Type != claviger.AuthOAuth2 {
			return &conn.Auth[i]
		}
	}
	return nil
}

// sealed answers values as the secrets that they are.
func sealed(values map[string]string) claviger.Credentials {
	creds := claviger.Credentials{}
	for k, v := range values {
		creds[k] = claviger.NewSecretString(v)
	}
	return creds
}

func (b *bench) send(req *http.Request, m *claviger.AuthMethod, values, settings map[string]string) (int, http.Header, []byte) {
	b.t.Helper()
	creds := sealed(values)
	once, err := inject.Apply(req, m, creds, settings)
	if err != nil {
		b.t.Fatal(err)
	}
	ready, err := inject.Apply(once, m, creds, settings)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Do(ready)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, body
}

func (b *bench) settings(conn *claviger.Connector) map[string]string {
	b.t.Helper()
	settings, err := catalog.CheckSettings(conn, vendor.Settings(conn.Key))
	if err != nil {
		b.t.Fatal(err)
	}
	return settings
}

// wrong changes the last character of every value, so that it keeps its format.
func wrong(values map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range values {
		last := byte('0')
		if v[len(v)-1] == last {
			last = '1'
		}
		out[k] = v[:len(v)-1] + string(last)
	}
	return out
}

func TestEveryMethodProvesItself(t *testing.T) {
	b := open(t)
	for _, conn := range b.connectors() {
		for i := range conn.Auth {
			m := &conn.Auth[i]
			if m.Type == claviger.AuthOAuth2 { // its tokens are no fixed credential
				continue
			}
			t.Run(conn.Key+"."+m.Key, func(t *testing.T) {
				b := &bench{t: t, server: b.server, client: b.client, catalog: b.catalog}
				b.prove(conn, m)
			})
		}
	}
}

func (b *bench) prove(conn *claviger.Connector, m *claviger.AuthMethod) {
	t, values, settings := b.t, vendor.Credentials(conn.Key, m.Key), b.settings(conn)
	if len(values) != len(m.Fields) {
		t.Fatalf("simulated values %d, fields %d", len(values), len(m.Fields))
	}
	if warnings, err := catalog.CheckCredentials(m, sealed(values)); err != nil || len(warnings) > 0 {
		t.Fatalf("the vendor's own form is refused: %v %v", warnings, err)
	}
	req, err := catalog.ProbeRequest(conn, m.Test, settings)
	if err != nil {
		t.Fatal(err)
	}
	status, header, body := b.send(req, m, values, settings)
	if !catalog.Passed(m.Test, status, body) {
		t.Fatalf("test failed: %d %s", status, body)
	}
	if account := catalog.ReadAccount(m.Test, body); m.Test.AccountID != "" && (account.ID == "" || account.Name == "") {
		t.Errorf("no account in %s", body)
	}
	if catalog.Expired(conn, status, header, body) {
		t.Error("a good answer counts as expired")
	}
	if m.Permissions != nil {
		if m.Permissions.Request != nil {
			req, err := catalog.ProbeRequest(conn, m.Permissions.Request, settings)
			if err != nil {
				t.Fatal(err)
			}
			_, header, body = b.send(req, m, values, settings)
		}
		scopes, known := catalog.ReadScopes(m.Permissions, header, body)
		if !known || len(scopes) != 2 {
			t.Errorf("scopes = %q, known %v", scopes, known)
		}
		var all []string
		for i := range conn.Actions {
			all = append(all, conn.Actions[i].Key)
		}
		if missing := catalog.MissingScopes(m.Permissions, scopes, all...); missing != nil {
			t.Errorf("missing %q of %q", missing, scopes)
		}
	}
	again, err := catalog.ProbeRequest(conn, m.Test, settings)
	if err != nil {
		t.Fatal(err)
	}
	status, header, body = b.send(again, m, wrong(values), settings)
	if catalog.Passed(m.Test, status, body) || !catalog.Expired(conn, status, header, body) {
		t.Errorf("a wrong credential: status %d, expired %v", status, catalog.Expired(conn, status, header, body))
	}
}

func TestEveryActionRuns(t *testing.T) {
	b := open(t)
	ran := 0
	for _, conn := range b.connectors() {
		settings := b.settings(conn)
		for i := range conn.Actions {
			act := &conn.Actions[i]
			name := conn.Key + "." + act.Key
			ran++
			t.Run(name, func(t *testing.T) {
				b := &bench{t: t, server: b.server, client: b.client, catalog: b.catalog}
				for j := range conn.Auth {
					if conn.Auth[j].Type == claviger.AuthOAuth2 {
						continue
					}
					b.run(conn, act, &conn.Auth[j], settings, inputs[name])
				}
			})
		}
	}
	if ran != len(inputs) {
		t.Errorf("%d actions, %d inputs", ran, len(inputs))
	}
}

func (b *bench) run(conn *claviger.Connector, act *claviger.Action, m *claviger.AuthMethod, settings map[string]string, raw string) {
	t := b.t
	var input map[string]any
	dec := json.NewDecoder(strings.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&input); err != nil {
		t.Fatal(err)
	}
	if err := act.Input.Validate(input); err != nil {
		t.Fatal(err)
	}
	values := vendor.Credentials(conn.Key, m.Key)
	for _, right := range []bool{true, false} {
		req, err := catalog.Request(conn, act, settings, input)
		if err != nil {
			t.Fatal(err)
		}
		if !right {
			values = wrong(values)
		}
		status, header, body := b.send(req, m, values, settings)
		if ok := status/100 == 2; ok != right {
			t.Errorf("right key %v: %d %s", right, status, body)
		}
		if right && act.Pagination != nil && act.Pagination.Type != "page" {
			if next := catalog.NextPage(act.Pagination, header, body); next == "" && conn.Key+"."+act.Key != "github.list-issues" && conn.Key != "gitlab" {
				t.Errorf("no next page in %v %s", header, body)
			}
			if _, ok := catalog.PageInput(act); !ok {
				t.Error("no input takes the next page's position")
			}
		}
	}
}

func TestMissingScopeIsForbidden(t *testing.T) {
	b := open(t)
	for _, name := range []string{"github.create-issue", "gitlab.create-issue", "sendgrid.send-email"} {
		key, action, _ := strings.Cut(name, ".")
		b.server.Grant(key, "read_user")
		conn, _ := b.catalog.Get(key)
		act, _ := conn.Action(action)
		m := fixed(conn)
		conn = conn.For(m.Key)
		var input map[string]any
		if err := json.Unmarshal([]byte(inputs[name]), &input); err != nil {
			t.Fatal(err)
		}
		settings := b.settings(conn)
		req, err := catalog.Request(conn, act, settings, input)
		if err != nil {
			t.Fatal(err)
		}
		if status, _, body := b.send(req, m, vendor.Credentials(key, m.Key), settings); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, status, body)
		}
		if missing := catalog.MissingScopes(m.Permissions, []string{"read_user"}, action); len(missing) == 0 {
			t.Errorf("%s: nothing missing", name)
		}
	}
}

func TestKnobs(t *testing.T) {
	b := open(t)
	conn, _ := b.catalog.Get("github")
	m, values := &conn.Auth[0], vendor.Credentials("github", "token")
	probe := func() *http.Request {
		req, err := catalog.ProbeRequest(conn, m.Test, nil)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	b.server.Behave("github", vendor.Behaviour{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"7"}}})
	status, header, _ := b.send(probe(), m, values, nil)
	if after, ok := catalog.Throttled(conn, status, header, time.Now()); !ok || after != 7*time.Second {
		t.Errorf("throttled %v after %v", ok, after)
	}
	b.server.Behave("github", vendor.Behaviour{Redirect: "https://evil.example/"})
	if status, header, _ := b.send(probe(), m, values, nil); status != http.StatusTemporaryRedirect || header.Get("Location") != "https://evil.example/" {
		t.Errorf("redirect: %d %v", status, header)
	}
	b.server.Behave("github", vendor.Behaviour{Echo: true})
	if _, _, body := b.send(probe(), m, values, nil); !bytes.Contains(body, []byte(values["token"])) {
		t.Error("no echo")
	}
	b.server.Behave("github", vendor.Behaviour{Close: true})
	if resp, err := b.client.Do(probe()); err == nil {
		_ = resp.Body.Close()
		t.Error("the connection was not closed")
	}
	release := make(chan struct{})
	b.server.Behave("github", vendor.Behaviour{Hold: release})
	held := probe()
	answered := make(chan error, 1)
	go func() {
		resp, err := b.client.Do(held)
		if err == nil {
			err = resp.Body.Close()
		}
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("answered before the release: %v", err)
	default:
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("after the hold: %v", err)
	}
	b.server.Behave("github", vendor.Behaviour{})
	b.server.Revoke("github")
	if status, _, _ := b.send(probe(), m, values, nil); status != http.StatusUnauthorized {
		t.Errorf("revoked: %d", status)
	}
	got := b.server.Requests("github")
	if i := slices.IndexFunc(got, func(r vendor.Received) bool { return r.Path == "/user" && r.Header.Get("User-Agent") == "claviger" }); i < 0 {
		t.Errorf("nothing recorded: %v", got)
	}
}
