package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"claviger/api"
)

const testToken = "clv_key_test-token-that-must-not-show"

// newClient makes a client of h that does not wait between attempts and tells how
// long it would have.
func newClient(t *testing.T, h http.HandlerFunc, opts ...Option) (*Client, *[]time.Duration) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := New(server.URL, testToken, opts...)
	if err != nil {
		t.Fatal(err)
	}
	var pauses []time.Duration
	c.pause = func(ctx context.Context, d time.Duration) error { pauses = append(pauses, d); return ctx.Err() }
	return c, &pauses
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func TestNewRefusesAddresses(t *testing.T) {
	for _, tc := range []struct {
		url string
		ok  bool
	}{
		{"https://claviger.example", true},
		{"https://claviger.example/broker/", true},
		{"http://127.0.0.1:8787", true},
		{"http://localhost:8787", true},
		{"http://[::1]:8787", true},
		{"http://[::ffff:127.0.0.1]", true},
		{"http://claviger.example", false},
		{"http://localhost.claviger.example", false},
		{"http://127.0.0.1.claviger.example", false},
		{"http://10.0.0.1", false},
		{"https://user:pass@claviger.example", false},
		{"https://claviger.example?x=1", false},
		{"https://claviger.example#x", false},
		{"ftp://claviger.example", false},
		{"claviger.example", false},
		{"", false},
		{"https://", false},
		{"://", false},
	} {
		if _, err := New(tc.url, testToken); (err == nil) != tc.ok {
			t.Errorf("New(%q): %v", tc.url, err)
		}
	}
	if _, err := New("http://claviger.example", testToken, AllowPlainHTTP()); err != nil {
		t.Error("the option does not allow plain http:", err)
	}
	if _, err := New("https://claviger.example", ""); err == nil {
		t.Error("a client without a token was made")
	}
}

func TestPrintingAClientShowsNoToken(t *testing.T) {
	c, err := New("https://claviger.example", testToken, WithUserAgent("test"))
	if err != nil {
		t.Fatal(err)
	}
	op, err := New("https://claviger.example", "", Operator("id", testToken))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, client := range []*Client{c, op} {
			if out := fmt.Sprintf(verb+verb, client, *client); strings.Contains(out, "must-not-show") {
				t.Errorf("%s shows the token", verb)
			}
		}
	}
}

func TestRequestsAndAnswers(t *testing.T) {
	c, _ := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer "+testToken {
			t.Errorf("Authorization: %q", got)
		}
		body, _ := io.ReadAll(r.Body)
		switch r.Method + " " + r.URL.EscapedPath() + "?" + r.URL.RawQuery + " " + string(body) {
		case "GET /v1/connections/a%2Fb? ":
			answer(w, 200, `{"id":"a/b","object":"connection","futureField":1}`)
		case "DELETE /v1/connections/x?force=true ":
			answer(w, 200, `{"id":"x","status":"revoked","revocations":[{"token":"credential","verdict":"revoked"}]}`)
		case `PUT /v1/secrets/shared/a%20b/c%3Fd? {"value":"v"}`:
			answer(w, 200, `{"path":"shared/a b/c?d","version":3}`)
		case `PATCH /v1/connections/x? {"credentials":{"apiKey":null,"user":"u"}}`:
			answer(w, 200, `{"id":"x"}`)
		case "PUT /v1/connectors/acme? key: acme":
			if ct := r.Header.Get("Content-Type"); ct != "application/yaml" {
				t.Errorf("Content-Type: %q", ct)
			}
			answer(w, 200, `{"key":"acme","version":2,"created":false,"changes":[{"path":"allowedHosts","security":true}]}`)
		default:
			t.Errorf("unexpected %s %s %s", r.Method, r.URL, body)
			answer(w, 500, `{}`)
		}
	})
	ctx := t.Context()
	if conn, err := c.Connection(ctx, "a/b"); err != nil || conn.ID != "a/b" {
		t.Error(conn, err)
	}
	if conn, err := c.DeleteConnection(ctx, "x", true); err != nil || conn.Revocations[0].Verdict != "revoked" {
		t.Error(conn, err)
	}
	if s, err := c.PutSecret(ctx, "kv://shared/a b/c?d", "v"); err != nil || s.Version != 3 {
		t.Error(s, err)
	}
	user := "u"
	if _, err := c.UpdateConnection(ctx, "x", api.UpdateConnection{Credentials: map[string]*string{"apiKey": nil, "user": &user}}); err != nil {
		t.Error(err)
	}
	if k, err := c.PutConnector(ctx, "acme", []byte("key: acme")); err != nil || k.Version != 2 || !k.Changes[0].Security {
		t.Error(k, err)
	}
}

func TestErrorsCarryWhatTheServerSaid(t *testing.T) {
	body := `{"error":{"message":"Not like that.","type":"validation_error","code":"insufficient_scope","param":"credentials.apiKey",
		"requestId":"req_1","missing":["repo"],"references":[{"type":"port","id":"p","name":"crm","lastUsedAt":null}],"reconnectUrl":"https://x","path":"kv://a"}}`
	c, pauses := newClient(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, 422, body) })
	_, err := c.CreateConnection(t.Context(), api.CreateConnection{})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	if e.Status != 422 || e.Type != "validation_error" || e.Code != "insufficient_scope" || e.Param != "credentials.apiKey" ||
		e.RequestID != "req_1" || e.Missing[0] != "repo" || e.References[0].Name != "crm" || e.ReconnectURL != "https://x" || e.Path != "kv://a" {
		t.Errorf("%+v", e)
	}
	if len(*pauses) != 0 {
		t.Error("a refusal was repeated")
	}
	if !HasCode(err, "insufficient_scope") || HasCode(err, "other") || HasCode(nil, "") {
		t.Error("HasCode")
	}
}

func TestErrorsOfForeignShapes(t *testing.T) {
	for name, tc := range map[string]struct {
		status     int
		body, code string
		message    string
	}{
		"html":      {502, "<html>bad gateway</html>", "http_502", "The server answered 502"},
		"detail":    {401, `{"detail":"Invalid authentication credentials"}`, "http_401", "Invalid authentication credentials."},
		"redirect":  {302, "", "http_302", "The server answered 302"},
		"no json":   {200, "<html>hello secret</html>", "bad_answer", "The server's answer cannot be read."},
		"too large": {200, strings.Repeat(" ", answerCap+1), "answer_too_large", "The server's answer is larger"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://127.0.0.1:1/")
				answer(w, tc.status, tc.body)
			})
			_, err := c.Whoami(t.Context())
			var e *Error
			if !errors.As(err, &e) || e.Code != tc.code || !strings.HasPrefix(e.Message, tc.message) {
				t.Errorf("%+v", err)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c, err := New(server.URL, testToken)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range c.Connections(t.Context(), ConnectionQuery{Search: "marked-query"}) {
		var e *Error
		if !errors.As(err, &e) || e.Code != "unreachable" || e.Status != 0 || errors.Unwrap(err) == nil {
			t.Errorf("%+v", err)
		}
		if strings.Contains(fmt.Sprint(err, errors.Unwrap(err)), "marked-query") {
			t.Error("the error repeats the query")
		}
	}
}

func TestRepeats(t *testing.T) {
	for name, tc := range map[string]struct {
		status     int
		retryAfter string
		call       func(context.Context, *Client) error
		wantCalls  int32
		wantPause  time.Duration
	}{
		"get, asked to wait":     {429, "2", whoami, 4, 2 * time.Second},
		"get, unavailable":       {503, "", whoami, 4, firstPause},
		"get, asked for a year":  {429, "31536000", whoami, 1, 0},
		"get, other":             {500, "", whoami, 1, 0},
		"post":                   {503, "1", disable, 1, 0},
		"post with a key":        {503, "1", disableWithKey, 4, time.Second},
		"patch":                  {503, "1", rename, 1, 0},
		"get, date in the past":  {503, "Mon, 02 Jan 2006 15:04:05 GMT", whoami, 4, firstPause},
		"get, ill-formed header": {503, "-1", whoami, 4, firstPause},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			c, pauses := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				w.Header().Set("Retry-After", tc.retryAfter)
				answer(w, tc.status, `{"error":{"message":"m","code":"c"}}`)
			})
			if err := tc.call(t.Context(), c); !HasCode(err, "c") {
				t.Error(err)
			}
			if calls.Load() != tc.wantCalls {
				t.Errorf("%d calls, want %d", calls.Load(), tc.wantCalls)
			}
			if tc.wantPause != 0 && (*pauses)[0] != tc.wantPause {
				t.Errorf("paused %v, want %v", *pauses, tc.wantPause)
			}
		})
	}
}

func whoami(ctx context.Context, c *Client) error { _, err := c.Whoami(ctx); return err }

func disable(ctx context.Context, c *Client) error {
	_, err := c.DisableConnection(ctx, "x")
	return err
}

func disableWithKey(ctx context.Context, c *Client) error {
	_, err := c.DisableConnection(ctx, "x", IdempotencyKey("k"))
	return err
}

func rename(ctx context.Context, c *Client) error {
	_, err := c.UpdateConnection(ctx, "x", api.UpdateConnection{})
	return err
}

func TestARepeatSendsTheBodyAndTheKeyAgain(t *testing.T) {
	var bodies, keys []string
	c, _ := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies, keys = append(bodies, string(b)), append(keys, r.Header.Get("Idempotency-Key"))
		if len(bodies) < 3 {
			answer(w, 503, `{}`)
			return
		}
		answer(w, 201, `{"id":"ws_1"}`)
	})
	ws, err := c.CreateWorkspace(t.Context(), api.CreateWorkspace{Name: "n"}, IdempotencyKey("once"))
	if err != nil || ws.ID != "ws_1" {
		t.Fatal(ws, err)
	}
	for i := range bodies {
		if bodies[i] != `{"name":"n"}` || keys[i] != "once" {
			t.Errorf("attempt %d: %s %s", i, bodies[i], keys[i])
		}
	}
}

func TestACancelledContextEndsTheWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, 503, `{}`) })
	c.pause = func(ctx context.Context, d time.Duration) error { cancel(); return sleep(ctx, d) }
	if err := whoami(ctx, c); !HasCode(err, "http_503") {
		t.Error(err)
	}
}

func TestAbuse_021_TheServersVerdictOnATokensKindIsPassedOn(t *testing.T) {
	for _, status := range []int{401, 403} {
		var calls atomic.Int32
		c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			answer(w, status, `{"error":{"message":"This token is for something else.","type":"permission_error","code":"wrong_token_kind"}}`)
		})
		if err := whoami(t.Context(), c); !HasCode(err, "wrong_token_kind") || calls.Load() != 1 {
			t.Errorf("%d: %v after %d calls", status, err, calls.Load())
		}
	}
}

func TestATokenThatCannotBeAHeaderIsNotSent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("sent") }))
	t.Cleanup(server.Close)
	for _, token := range []string{"a b", "a\r\nX: y", "schlüssel", " "} {
		c, err := New(server.URL, token)
		if err != nil {
			t.Fatal(err)
		}
		if err := whoami(t.Context(), c); !HasCode(err, "bad_token") || strings.Contains(err.Error(), token) && token != " " {
			t.Errorf("%q: %v", token, err)
		}
	}
}
