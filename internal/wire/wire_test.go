package wire_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/internal/wire"
)

// tokens is an Authenticator over a fixed table, which is all that wire needs to
// know of authentication.
type tokens map[string]claviger.Caller

func (t tokens) Authenticate(r *http.Request, from claviger.Request) (claviger.Caller, error) {
	c, ok := t[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		return claviger.Caller{}, claviger.Errorf(claviger.KindUnauthenticated, "invalid_token", "The token is not valid.")
	}
	c.From = from
	return c, nil
}

// entries is a Recorder that keeps what it is given.
type entries struct {
	mu   sync.Mutex
	list []claviger.Entry
}

func (e *entries) Record(_ context.Context, entry claviger.Entry) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, entry)
	return nil
}

// memory is an Idempotency in a map.
type memory struct {
	mu   sync.Mutex
	kept map[string]*wire.Prior
}

func (m *memory) Begin(_ context.Context, c claviger.Caller, key string, hash []byte) (*wire.Prior, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.kept[c.ID+key]; p != nil {
		copied := *p
		return &copied, nil
	}
	m.kept[c.ID+key] = &wire.Prior{RequestHash: hash}
	return nil, nil
}

func (m *memory) Finish(_ context.Context, c claviger.Caller, key string, answer wire.Stored) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.kept[c.ID+key]
	p.Done, p.Answer = true, answer
	return nil
}

func (m *memory) Abandon(_ context.Context, c claviger.Caller, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kept, c.ID+key)
	return nil
}

type widget struct {
	Name   string            `json:"name" minLength:"1" maxLength:"20" doc:"What it is called"`
	Count  int               `json:"count,omitempty" minimum:"0"`
	Site   string            `json:"site,omitempty" format:"uri"`
	Due    *time.Time        `json:"due,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Color  string            `json:"color,omitempty" enum:"red,green"`
}

type widgetInput struct{ Body widget }

type shownOnce struct {
	Name   string `json:"name"`
	Secret string `json:"secret"`
}

func (s shownOnce) Redacted() any { return shownOnce{s.Name, "***REDACTED***"} }

type widgetOutput struct{ Body shownOnce }

type listInput struct {
	wire.Paging
	Color string `query:"color" enum:"red,green"`
}

type listOutput struct{ Body wire.List[string] }

// server is a surface with one route of each sort.
type server struct {
	*httptest.Server
	api    *wire.API
	ledger *entries
	log    *bytes.Buffer
	calls  int
	fail   error
	gate   chan struct{} // if not nil, creating waits for it
	began  chan struct{}
}

func start(t *testing.T, change func(*wire.Edge)) *server {
	t.Helper()
	s := &server{ledger: &entries{}, log: &bytes.Buffer{}, began: make(chan struct{}, 8)}
	mux := http.NewServeMux()
	log := slog.New(slog.NewTextHandler(s.log, nil))
	api, err := wire.New(wire.Config{
		Mux: mux, Title: "Test", Version: "1", Log: log, Recorder: s.ledger,
		Authenticator: tokens{
			"good":   {Kind: claviger.CallerAPIKey, ID: "key_1", Scope: claviger.Authenticated("org_1", "")},
			"scoped": {Kind: claviger.CallerScoped, ID: "ws_1", Scope: claviger.Authenticated("org_1", "ws_1")},
		},
		Idempotency: &memory{kept: map[string]*wire.Prior{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.api = api
	s.mount()
	edge := wire.Edge{Log: log}
	if change != nil {
		change(&edge)
	}
	s.Server = httptest.NewUnstartedServer(nil)
	s.Config = wire.NewServer(edge.Front(mux), log)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *server) mount() {
	wire.Handle(s.api, wire.Route{
		Method: http.MethodPost, Path: "/v1/widgets", Name: "createWidget", Summary: "Make a widget", Tags: []string{"Widgets"},
		Verb: claviger.ConnectorsWrite, Kinds: []claviger.CallerKind{claviger.CallerAPIKey}, Status: http.StatusCreated,
	}, func(_ context.Context, _ claviger.Caller, in *widgetInput) (*widgetOutput, error) {
		s.calls++
		if s.gate != nil {
			s.began <- struct{}{}
			<-s.gate
		}
		if s.fail != nil {
			return nil, s.fail
		}
		return &widgetOutput{shownOnce{in.Body.Name, "the-secret"}}, nil
	})
	wire.Handle(s.api, wire.Route{
		Method: http.MethodGet, Path: "/v1/widgets", Name: "listWidgets", Tags: []string{"Widgets"}, Verb: claviger.ConnectorsRead,
	}, func(_ context.Context, c claviger.Caller, _ *listInput) (*listOutput, error) {
		return &listOutput{wire.NewList([]string{c.ID, c.From.Address.String()}, "")}, s.fail
	})
	wire.Handle(s.api, wire.Route{Method: http.MethodGet, Path: "/v1/panic", Name: "panic", Verb: claviger.ConnectorsRead},
		func(context.Context, claviger.Caller, *struct{}) (*listOutput, error) { panic("sk_live_panic") })
	wire.HandleRaw(s.api, wire.Route{Path: "/v1/connections/{id}/proxy/{path...}", Name: "proxy", OwnAuth: true, MaxBody: -1, Verb: claviger.ConnectionsProxy},
		func(w http.ResponseWriter, r *http.Request, _ claviger.Caller) {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, r.Method, " ", r.URL.EscapedPath(), " ", n, " ", err)
		})
	s.api.MountDocs()
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) error(t *testing.T) wire.ErrorDetail {
	t.Helper()
	var e wire.ErrorBody
	dec := json.NewDecoder(strings.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil || e.Error.Code == "" || e.Error.Message == "" || e.Error.Type == "" {
		t.Fatalf("not an error body: %q (%v)", a.body, err)
	}
	return e.Error
}

func (s *server) do(t *testing.T, method, target, token, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Del(header[i])
		req.Header.Add(header[i], header[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func TestErrorsHaveOneShape(t *testing.T) {
	reconnect := &claviger.Error{
		Kind: claviger.KindReauthorize, Code: "secret_missing", Message: "No value.", Reconnect: "https://x.example/r", Path: "kv://shared/a",
		Missing: []string{"read"}, References: []claviger.Reference{{Type: "port", ID: "p1", LastUsedAt: time.Unix(1, 0)}}, Err: errors.New("sk_live_cause"),
	}
	for _, c := range []struct {
		err    error
		status int
		kind   string
		code   string
	}{
		{claviger.Errorf(claviger.KindUnreadable, "x", "m"), 400, "validation_error", "x"},
		{claviger.Invalid("a.b", "x", "m"), 422, "validation_error", "x"},
		{claviger.Errorf(claviger.KindUnauthenticated, "", "m"), 401, "authentication_error", "unauthenticated"},
		{claviger.Errorf(claviger.KindDenied, "", "m"), 403, "permission_error", "denied"},
		{claviger.NotFound("thing"), 404, "not_found", "not_found"},
		{claviger.Errorf(claviger.KindConflict, "", "m"), 409, "conflict", "conflict"},
		{claviger.Errorf(claviger.KindRateLimited, "", "m"), 429, "rate_limited", "rate_limited"},
		{reconnect, 424, "reauthorization_required", "secret_missing"},
		{claviger.Errorf(claviger.KindUpstream, "", "m"), 502, "upstream_error", "upstream"},
		{claviger.Errorf(claviger.KindTimeout, "", "m"), 504, "upstream_error", "timeout"},
		{claviger.Errorf(claviger.KindTooLarge, "", "m"), 413, "validation_error", "too_large"},
		{claviger.Errorf(claviger.KindUnavailable, "audit_unavailable", "m"), 503, "unavailable", "audit_unavailable"},
		{errors.New("pq: password authentication failed pw=sk_live_cause"), 500, "internal", "internal"},
	} {
		t.Run(c.kind+" "+c.code, func(t *testing.T) {
			s := start(t, nil)
			s.fail = c.err
			a := s.do(t, "GET", "/v1/widgets", "good", "")
			e := a.error(t)
			if a.status != c.status || e.Type != c.kind || e.Code != c.code {
				t.Errorf("got %d %s %s", a.status, e.Type, e.Code)
			}
			if e.RequestID == "" || e.RequestID != a.header.Get(wire.RequestIDHeader) || e.Docs != "/docs#errors" {
				t.Errorf("request id %q, header %q, docs %q", e.RequestID, a.header.Get(wire.RequestIDHeader), e.Docs)
			}
			if strings.Contains(a.body, "sk_live") {
				t.Errorf("the cause is in the answer: %s", a.body)
			}
			if want := c.status == 429 || c.status == 503; (a.header.Get("Retry-After") != "") != want {
				t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
			}
			if want := c.status == 401; (a.header.Get("WWW-Authenticate") == "Bearer") != want {
				t.Errorf("WWW-Authenticate %q", a.header.Get("WWW-Authenticate"))
			}
			if c.status == 424 && (e.ReconnectURL == "" || e.Path == "" || len(e.Missing) != 1 || len(e.References) != 1) {
				t.Errorf("members are missing: %s", a.body)
			}
		})
	}
}

func TestValidationNamesTheFieldAndEchoesNothing(t *testing.T) {
	s := start(t, nil)
	const marked = "sk_live_marked"
	for _, c := range []struct{ body, code, param string }{
		{`{"name":"` + strings.Repeat(marked, 3) + `"}`, "invalid_value", "name"},
		{`{"name":"a","count":"` + marked + `"}`, "invalid_value", "count"},
		{`{"name":"a","site":"http://` + marked + `.example:%zz"}`, "invalid_value", "site"},
		{`{"name":"a","due":"` + marked + `"}`, "invalid_value", "due"},
		{`{"name":"a","color":"` + marked + `"}`, "invalid_value", "color"},
		{`{"name":"a","labels":{"k":{"` + marked + `":1}}}`, "invalid_value", "labels.k"},
		{`{"name":"a","surprise":"` + marked + `"}`, "unknown_field", "surprise"},
		{`{"name":"a","Name":"` + marked + `"}`, "unknown_field", "Name"},
		{`{"count":1,"site":"` + marked + `"}`, "required", "name"},
		{`["` + marked + `"]`, "invalid_value", ""},
		{`"` + marked + `"`, "invalid_value", ""},
	} {
		a := s.do(t, "POST", "/v1/widgets", "good", c.body)
		e := a.error(t)
		if a.status != 422 || e.Code != c.code || e.Param != c.param {
			t.Errorf("%s: got %d %s %q", c.body, a.status, e.Code, e.Param)
		}
		if strings.Contains(a.body, marked) {
			t.Errorf("%s: a submitted value is in the answer: %s", c.body, a.body)
		}
	}
	for target, want := range map[string]string{
		"/v1/widgets?limit=" + marked: "limit", "/v1/widgets?limit=101": "limit",
		"/v1/widgets?color=" + marked: "color", "/v1/widgets?colour=red": "colour",
	} {
		a := s.do(t, "GET", target, "good", "")
		if e := a.error(t); a.status != 422 || e.Param != want || strings.Contains(a.body, marked) {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
	if strings.Contains(s.log.String(), marked) {
		t.Error("a submitted value is in the log")
	}
}

func TestAbuse_288_JSONBombs(t *testing.T) {
	s := start(t, nil)
	var keys strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&keys, `"k%d":1,`, i)
	}
	for name, body := range map[string]string{
		"depth":        strings.Repeat(`{"name":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		"depth arrays": strings.Repeat("[", 33) + strings.Repeat("]", 33),
		"keys":         "{" + keys.String() + `"name":"a"}`,
		"exponent":     `{"name":"a","count":1e999}`,
		"long number":  `{"name":"a","count":` + strings.Repeat("1", 100) + "}",
	} {
		t.Run(name, func(t *testing.T) {
			a := s.do(t, "POST", "/v1/widgets", "good", body)
			if e := a.error(t); a.status != 400 || e.Code != "invalid_json" {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
	t.Run("size", func(t *testing.T) {
		a := s.do(t, "POST", "/v1/widgets", "good", `{"name":"`+strings.Repeat("a", 10<<20)+`"}`)
		if a.status != 413 || a.error(t).Code != "too_large" {
			t.Errorf("got %d %s", a.status, a.body)
		}
	})
	t.Run("query", func(t *testing.T) {
		a := s.do(t, "GET", "/v1/widgets?"+strings.Repeat("a=1&", 2000), "good", "")
		if a.status != 400 || a.error(t).Code != "bad_query" {
			t.Errorf("got %d %s", a.status, a.body)
		}
	})
	t.Run("CPU", func(t *testing.T) {
		bomb := []byte(strings.Repeat("[", 1<<20))
		result := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				if wire.CheckJSON(bomb) == nil {
					b.Fatal("accepted")
				}
			}
		})
		if each := time.Duration(result.NsPerOp()); each > 10*time.Millisecond {
			t.Errorf("%v for one bomb", each)
		}
	})
	if s.calls != 0 {
		t.Errorf("the handler ran %d times", s.calls)
	}
}

func TestAbuse_308_OneReadingOnly(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"plain":                {`{"a":[1,-2.5e3,true,null,"x\u00e9\ud83d\ude00"]}`, true},
		"scalar":               {`"x"`, true},
		"spaces":               {" {} \n", true},
		"duplicate":            {`{"a":1,"a":2}`, false},
		"duplicate by escape":  {`{"a":1,"\u0061":2}`, false},
		"same key in siblings": {`[{"a":1},{"a":2}]`, true},
		"nested duplicate":     {`{"x":{"a":1,"a":2}}`, false},
		"trailing":             {`{} {}`, false},
		"trailing garbage":     {`{}x`, false},
		"trailing comma":       {`{"a":1,}`, false},
		"array comma":          {`[1,]`, false},
		"no colon":             {`{"a" 1}`, false},
		"half surrogate":       {`{"a":"\ud83d"}`, false},
		"low surrogate":        {`{"a":"\ude00"}`, false},
		"NUL":                  {`{"a\u0000":1}`, false},
		"escaped backslash":    {`{"a":"\\ud83d"}`, true},
		"invalid UTF-8":        {"{\"a\":\"\xff\"}", false},
		"byte order mark":      {"\ufeff{}", false},
		"NaN":                  {`{"a":NaN}`, false},
		"comment":              {`{/*x*/}`, false},
		"empty":                {``, false},
		"depth 32":             {strings.Repeat("[", 32) + strings.Repeat("]", 32), true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := wire.CheckJSON([]byte(c.text)); (err == nil) != c.ok {
				t.Errorf("%s: %v", c.text, err)
			}
		})
	}
}

func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `[1,2,{"a":"\ud83d\ude00"}]`, `{"a":1,"a":2}`, `"\ud83d"`, `1e999`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if wire.CheckJSON(data) != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted what is no JSON: %q", data)
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.CheckJSON(again); err != nil {
			t.Fatalf("%q is accepted, written again as %q it is not: %v", data, again, err)
		}
	})
}

func TestMediaTypes(t *testing.T) {
	s := start(t, nil)
	for ct, want := range map[string]int{
		"application/json": 201, "application/json; charset=UTF-8": 201, "application/json; charset=latin1": 415,
		"text/plain": 415, "application/x-www-form-urlencoded": 415, "application/json/x": 415, "application/xml": 415,
	} {
		a := s.do(t, "POST", "/v1/widgets", "good", `{"name":"a"}`, "Content-Type", ct)
		if a.status != want {
			t.Errorf("%s: %d %s", ct, a.status, a.body)
		}
		if want == 415 && a.error(t).Code != "unsupported_media_type" {
			t.Errorf("%s: %s", ct, a.body)
		}
	}
	if a := s.do(t, "POST", "/v1/widgets", "good", ""); a.status != 400 || a.error(t).Code != "body_required" {
		t.Errorf("without a body: %d %s", a.status, a.body)
	}
}

func TestPanicIsAGeneric500(t *testing.T) {
	s := start(t, nil)
	a := s.do(t, "GET", "/v1/panic", "good", "")
	if e := a.error(t); a.status != 500 || e.Code != "internal" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if strings.Contains(a.body+s.log.String(), "sk_live") {
		t.Error("the value of a panic is shown")
	}
	if !strings.Contains(s.log.String(), a.header.Get(wire.RequestIDHeader)) {
		t.Error("the log does not name the request")
	}
}

func TestNotFoundAndMethodNotAllowed(t *testing.T) {
	s := start(t, nil)
	if a := s.do(t, "GET", "/nowhere", "", ""); a.status != 404 || a.error(t).Type != "not_found" {
		t.Errorf("404: %d %s", a.status, a.body)
	}
	a := s.do(t, "DELETE", "/v1/widgets", "good", "")
	if a.status != 405 || a.error(t).Code != "method_not_allowed" || !strings.Contains(a.header.Get("Allow"), "POST") {
		t.Errorf("405: %d %q %s", a.status, a.header.Get("Allow"), a.body)
	}
	if a := s.do(t, "GET", "/v1/widgets/", "good", ""); a.status != 404 {
		t.Errorf("trailing slash: %d %s", a.status, a.body)
	}
}

func TestAbuse_021_WrongKindIs403AndRecorded(t *testing.T) {
	s := start(t, nil)
	a := s.do(t, "POST", "/v1/widgets", "scoped", `{"name":"a"}`)
	if e := a.error(t); a.status != 403 || e.Code != "wrong_token_kind" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if len(s.ledger.list) != 1 {
		t.Fatalf("%d entries", len(s.ledger.list))
	}
	e := s.ledger.list[0]
	if e.ActorID != "ws_1" || e.Verb != claviger.ConnectorsWrite || e.Outcome != claviger.OutcomeDenied || e.RequestID == "" || e.Organization != "org_1" {
		t.Errorf("entry %+v", e)
	}
	if s.calls != 0 {
		t.Error("the handler ran")
	}
}

func TestIdempotency(t *testing.T) {
	s := start(t, nil)
	post := func(key, body string) answer {
		return s.do(t, "POST", "/v1/widgets", "good", body, wire.IdempotencyHeader, key)
	}
	first := post("k1", `{"name":"a"}`)
	if first.status != 201 || !strings.Contains(first.body, "the-secret") {
		t.Fatalf("first: %d %s", first.status, first.body)
	}
	again := post("k1", `{"name":"a"}`)
	if again.status != 201 || again.header.Get(wire.ReplayedHeader) != "true" || s.calls != 1 {
		t.Errorf("again: %d %q, %d calls", again.status, again.header.Get(wire.ReplayedHeader), s.calls)
	}
	if strings.Contains(again.body, "the-secret") || !strings.Contains(again.body, `"name":"a"`) {
		t.Errorf("again shows %s", again.body)
	}
	if a := post("k1", `{"name":"b"}`); a.status != 409 || a.error(t).Code != "idempotency_key_reused" {
		t.Errorf("reused: %d %s", a.status, a.body)
	}
	for _, bad := range []string{strings.Repeat("k", 256), "é"} {
		if a := post(bad, `{"name":"a"}`); a.status != 422 || a.error(t).Code != "invalid_idempotency_key" {
			t.Errorf("key %q: %d %s", bad, a.status, a.body)
		}
	}
	t.Run("a refusal is kept", func(t *testing.T) {
		s.calls, s.fail = 0, claviger.Errorf(claviger.KindConflict, "taken", "Taken.")
		post("k2", `{"name":"a"}`)
		if a := post("k2", `{"name":"a"}`); a.status != 409 || a.error(t).Code != "taken" || s.calls != 1 {
			t.Errorf("%d %s, %d calls", a.status, a.body, s.calls)
		}
	})
	t.Run("a fault is not", func(t *testing.T) {
		s.calls, s.fail = 0, errors.New("broken")
		post("k3", `{"name":"a"}`)
		s.fail = nil
		if a := post("k3", `{"name":"a"}`); a.status != 201 || s.calls != 2 {
			t.Errorf("%d %s, %d calls", a.status, a.body, s.calls)
		}
	})
	t.Run("while it runs", func(t *testing.T) {
		s.gate = make(chan struct{})
		done := make(chan answer)
		go func() { done <- post("k4", `{"name":"a"}`) }()
		<-s.began
		if a := post("k4", `{"name":"a"}`); a.status != 409 || a.error(t).Code != "idempotency_in_progress" {
			t.Errorf("%d %s", a.status, a.body)
		}
		close(s.gate)
		if a := <-done; a.status != 201 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

func TestAbuse_006_Cursors(t *testing.T) {
	c, err := wire.NewCursors(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	a := claviger.Caller{Scope: claviger.Authenticated("org_a", "")}
	b := claviger.Caller{Scope: claviger.Authenticated("org_b", "")}
	bound := claviger.Caller{Scope: claviger.Authenticated("org_a", "ws_1")}
	cursor := c.Seal(a, "listConnections", "tag=x", "conn_1")
	if after, err := c.Open(a, "listConnections", "tag=x", cursor); err != nil || after != "conn_1" {
		t.Fatalf("own cursor: %q %v", after, err)
	}
	refused := func(name string, caller claviger.Caller, route, filter, cursor string) {
		t.Helper()
		_, err := c.Open(caller, route, filter, cursor)
		if e := claviger.AsError(err); e == nil || e.Kind != claviger.KindInvalid || e.Code != "invalid_cursor" {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("other organization", b, "listConnections", "tag=x", cursor)
	refused("other workspace", bound, "listConnections", "tag=x", cursor)
	refused("other route", a, "listSecrets", "tag=x", cursor)
	refused("other filter", a, "listConnections", "tag=y", cursor)
	refused("not base64", a, "listConnections", "tag=x", "!"+cursor)
	refused("too short", a, "listConnections", "tag=x", cursor[:8])
	for i := range len(cursor) {
		for _, r := range "AbZ0_" {
			flipped := cursor[:i] + string(r) + cursor[i+1:]
			if flipped != cursor {
				refused(fmt.Sprintf("flipped at %d", i), a, "listConnections", "tag=x", flipped)
			}
		}
	}
}

func TestRoutesAreListed(t *testing.T) {
	s := start(t, nil)
	var names []string
	for _, r := range s.api.Routes() {
		if r.Name == "" || r.Path == "" || !r.Public && r.Verb == "" {
			t.Errorf("route %+v says too little", r)
		}
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "createWidget listWidgets panic proxy getOpenAPI getDocs" {
		t.Error(got)
	}
}

func TestDocuments(t *testing.T) {
	s := start(t, nil)
	a := s.do(t, "GET", "/openapi.json", "", "")
	var doc struct {
		OpenAPI    string                    `json:"openapi"`
		Paths      map[string]map[string]any `json:"paths"`
		Components struct {
			SecuritySchemes map[string]any `json:"securitySchemes"`
			Schemas         map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || a.status != 200 {
		t.Fatalf("%d %v", a.status, err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Paths["/v1/widgets"]["post"] == nil || doc.Paths["/v1/connections/{id}/proxy/{path}"]["get"] == nil {
		t.Errorf("paths %v", doc.Paths)
	}
	if len(doc.Components.SecuritySchemes) != 2 || doc.Components.Schemas["ErrorBody"] == nil {
		t.Errorf("components: %v", doc.Components)
	}
	page := s.do(t, "GET", "/docs", "", "")
	for _, want := range []string{"createWidget", "What it is called", "connectors:write", `id="errors"`, `id="roles"`, "reauthorization_required", "curl -X POST"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	csp := page.header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "sha256-") || strings.Contains(page.body, "<script") || strings.Contains(page.body, "src=\"http") {
		t.Errorf("CSP %q", csp)
	}
	if strings.Contains(page.body, "ZgotmplZ") {
		t.Error("the template refused something")
	}
}

func TestAbuse_040_ForwardedHeaders(t *testing.T) {
	s := start(t, nil)
	spoof := []string{"X-Forwarded-For", "203.0.113.9", "X-Real-Ip", "203.0.113.9", "Forwarded", "for=203.0.113.9"}
	if a := s.do(t, "GET", "/v1/widgets", "good", "", spoof...); !strings.Contains(a.body, `"127.0.0.1"`) {
		t.Errorf("an untrusted peer is believed: %s", a.body)
	}
	trusting := start(t, func(e *wire.Edge) {
		e.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	for xff, want := range map[string]string{
		"203.0.113.9":                     "203.0.113.9",
		"198.51.100.1, 203.0.113.9":       "203.0.113.9", // what stands before the last stranger is a claim
		"203.0.113.9, 10.0.0.7":           "203.0.113.9",
		"203.0.113.9, nonsense":           "127.0.0.1",
		"::ffff:203.0.113.9":              "203.0.113.9",
		"198.51.100.1, garbage, 10.1.1.1": "10.1.1.1",
	} {
		if a := trusting.do(t, "GET", "/v1/widgets", "good", "", "X-Forwarded-For", xff); !strings.Contains(a.body, `"`+want+`"`) {
			t.Errorf("%s: %s", xff, a.body)
		}
	}
}
