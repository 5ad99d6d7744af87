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
