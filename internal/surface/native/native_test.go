package native

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

// anyone accepts one token, so that requests reach the checks of their form.
type anyone struct{ caller claviger.Caller }

const goodToken = "clv_key_good"

func (a anyone) Authenticate(r *http.Request, from claviger.Request) (claviger.Caller, error) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return a.AuthenticateToken(r.Context(), token, from)
}

func (a anyone) AuthenticateToken(_ context.Context, token string, from claviger.Request) (claviger.Caller, error) {
	if token != goodToken {
		return claviger.Caller{}, claviger.Errorf(claviger.KindUnauthenticated, "invalid_token", "No.")
	}
	c := a.caller
	c.From = from
	return c, nil
}

type discard struct{}

func (discard) Record(context.Context, claviger.Entry) error { return nil }

// mounted answers the surface over a core that must not be reached: these tests are
// about what is refused before it.
func mounted(t *testing.T, kind claviger.CallerKind) (http.Handler, *wire.API) {
	t.Helper()
	mux := http.NewServeMux()
	who := anyone{claviger.Caller{Kind: kind, ID: "key_1", Permissions: claviger.RoleOwner.Permissions()}}
	a, err := wire.New(wire.Config{Mux: mux, Title: "t", Version: "1", Authenticator: who, Recorder: discard{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	cursors, err := wire.NewCursors([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Mount(a, Config{Broker: new(broker.Broker), Cursors: cursors, Tokens: who}); err != nil {
		t.Fatal(err)
	}
	return wire.Edge{}.Front(mux), a
}

func call(t *testing.T, h http.Handler, method, path, body string) (int, wire.ErrorDetail) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+goodToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var e wire.ErrorBody
	_ = json.Unmarshal(w.Body.Bytes(), &e)
	return w.Code, e.Error
}

func TestMountNeedsItsParts(t *testing.T) {
	if err := Mount(nil, Config{}); err == nil {
		t.Error("a surface without parts was mounted")
	}
}

func TestAbuse_008_FieldsThatACallerMayNotSetAreRefused(t *testing.T) {
	h, _ := mounted(t, claviger.CallerAPIKey)
	for _, field := range []string{
		"org_id", "organizationId", "ownerId", "owner_id", "id", "status", "healthStatus", "connector", "authMethod", "workspaceId",
		"usage", "visibility", "adapter_type", "encrypted_blob", "enabled", "revision", "createdAt", "Name", "account", "grantedScopes",
	} {
		t.Run("patch connection "+field, func(t *testing.T) {
			status, e := call(t, h, "PATCH", "/v1/connections/conn_1", `{"name":"n","`+field+`":"marked"}`)
			if status != 422 || e.Code != "unknown_field" || e.Param != field || strings.Contains(e.Message, "marked") {
				t.Errorf("%d %+v", status, e)
			}
		})
	}
	for path, fields := range map[string][]string{
		"/v1/connections":   {"ownerId", "status", "id", "organizationId", "secretKeys"},
		"/v1/workspaces":    {"id", "organizationId"},
		"/v1/users":         {"id", "disabled", "permissions"},
		"/v1/api-keys":      {"userId", "createdBy", "hash", "permissions", "key"},
		"/v1/applications":  {"clientId", "clientSecret", "secretHash"},
		"/v1/organizations": {"instance", "id", "clientSecret"},
		"/v1/actions/run":   {"method", "url", "headers"},
	} {
		for _, field := range fields {
			t.Run("post "+path+" "+field, func(t *testing.T) {
				required := map[string]string{
					"/v1/connections": `"connector":"a","authMethod":"b","name":"n",`, "/v1/users": `"name":"n","email":"a@b.c","role":"viewer",`,
					"/v1/actions/run": `"actionIdentifier":"a.b","connectionId":"c",`,
				}[path]
				if required == "" {
					required = `"name":"n",`
				}
				status, e := call(t, h, "POST", path, `{`+required+`"`+field+`":"marked"}`)
				if status != 422 || e.Code != "unknown_field" || e.Param != field {
					t.Errorf("%d %+v", status, e)
				}
			})
		}
	}
}

func TestFormIsCheckedBeforeTheCore(t *testing.T) {
	h, _ := mounted(t, claviger.CallerAPIKey)
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		code, param        string
	}{
		"no name":         {"POST", "/v1/workspaces", `{}`, 422, "required", "name"},
		"empty name":      {"POST", "/v1/workspaces", `{"name":""}`, 422, "invalid_value", "name"},
		"bad enum":        {"POST", "/v1/connections", `{"connector":"a","authMethod":"b","name":"n","usage":"all"}`, 422, "invalid_value", "usage"},
		"no string":       {"POST", "/v1/connections", `{"connector":"a","authMethod":"b","name":"n","credentials":{"k":1}}`, 422, "invalid_value", "credentials.k"},
		"bad limit":       {"GET", "/v1/connections?limit=101", "", 422, "invalid_value", "limit"},
		"bad filter":      {"GET", "/v1/connections?status=dead", "", 422, "invalid_value", "status"},
		"unknown filter":  {"GET", "/v1/connections?organization=x", "", 422, "unknown_parameter", "organization"},
		"bad tag":         {"GET", "/v1/connections?tag=nocolon", "", 422, "invalid_value", "tag"},
		"bad sweep tag":   {"POST", "/v1/connections/disable", `{"tag":"nocolon"}`, 422, "invalid_value", "tag"},
		"bad cursor":      {"GET", "/v1/workspaces?after=xyz", "", 422, "invalid_cursor", "after"},
		"bad time":        {"GET", "/v1/audit?from=yesterday", "", 422, "invalid_value", "from"},
		"bad period":      {"GET", "/v1/usage?period=decade", "", 422, "invalid_value", "period"},
		"empty secret":    {"PUT", "/v1/secrets/shared/a", `{"value":""}`, 422, "invalid_value", "value"},
		"unreadable":      {"POST", "/v1/workspaces", `{"name":`, 400, "", ""},
		"twice":           {"POST", "/v1/workspaces", `{"name":"a","name":"b"}`, 400, "invalid_json", ""},
		"no such route":   {"GET", "/v1/nothing", "", 404, "no_route", ""},
		"no such method":  {"PUT", "/v1/workspaces", `{}`, 405, "method_not_allowed", ""},
		"yaml where JSON": {"POST", "/v1/workspaces", "name: a", 400, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, e := call(t, h, tc.method, tc.path, tc.body)
			if status != tc.status || tc.code != "" && e.Code != tc.code || tc.param != "" && e.Param != tc.param {
				t.Errorf("%d %+v", status, e)
			}
		})
	}
}

func TestEveryRouteIsDescribed(t *testing.T) {
	_, a := mounted(t, claviger.CallerAPIKey)
	names := map[string]bool{}
	for _, r := range a.Routes() {
		if r.Name == "" || names[r.Name] || r.Summary == "" || len(r.Tags) != 1 || !strings.HasPrefix(r.Path, "/v1/") {
			t.Errorf("%s %s: name %q, summary %q, tags %v", r.Method, r.Path, r.Name, r.Summary, r.Tags)
		}
		names[r.Name] = true
		public := slices.Contains([]string{"listSchemas", "connectorSchema", "systemSchema", "datasourceSchema", "beginLogin", "redeemLogin"}, r.Name)
		if r.Verb == "" && r.Name != "whoami" && !public {
			t.Errorf("%s decides nothing", r.Name)
		}
		if r.Public != public || !r.Public && len(r.Kinds) == 0 {
			t.Errorf("%s: public %v, kinds %v", r.Name, r.Public, r.Kinds)
		}
	}
	if len(names) < 45 {
		t.Errorf("only %d routes", len(names))
	}
}

func TestAbuse_021_AScopedTokenDoesNotReachTheOrganization(t *testing.T) {
	h, a := mounted(t, claviger.CallerScoped)
	tried := 0
	for _, r := range a.Routes() {
		if r.Public || r.Raw || strings.Contains(strings.Join(kinds(r), " "), "scoped") {
			continue
		}
		tried++
		path := strings.NewReplacer("{id}", "x", "{key}", "x", "{path...}", "shared/x").Replace(r.Path)
		if status, e := call(t, h, r.Method, path, ""); status != 403 || e.Code != "wrong_token_kind" {
			t.Errorf("%s: %d %+v", r.Name, status, e)
		}
	}
	if tried < 25 {
		t.Errorf("only %d routes are closed to scoped tokens", tried)
	}
}

func kinds(r wire.Route) []string { return strs(r.Kinds) }

func TestProxyTokenPlaces(t *testing.T) {
	jwt := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + ".e30.c2ln"
	}
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	s := &surface{tokens: anyone{}}
	for name, tc := range map[string]struct {
		header http.Header
		query  string
		code   string // "" for accepted
		left   string // a header that must stay
	}{
		"bearer":            {http.Header{"Authorization": {"Bearer " + goodToken}}, "", "", ""},
		"api-key":           {http.Header{"Api-Key": {goodToken}}, "", "", ""},
		"any scheme":        {http.Header{"Authorization": {"PRIVATE " + goodToken}}, "", "", ""},
		"token=":            {http.Header{"Authorization": {`Token token="` + goodToken + `"`}}, "", "", ""},
		"bare":              {http.Header{"Authorization": {goodToken}}, "", "", ""},
		"basic user":        {http.Header{"Authorization": {basic(goodToken, "")}}, "", "", ""},
		"basic password":    {http.Header{"Authorization": {basic("api", goodToken)}}, "", "", ""},
		"vendor's header":   {http.Header{"X-Shopify-Access-Token": {goodToken}}, "", "", ""},
		"beside another":    {http.Header{"Authorization": {"Bearer " + goodToken}, "X-Assertion": {jwt(`{"typ":"JWT"}`)}}, "", "", "X-Assertion"},
		"none":              {http.Header{}, "", "missing_token", ""},
		"foreign":           {http.Header{"Authorization": {"Bearer sk_live_x"}}, "", "invalid_token", ""},
		"foreign JWT":       {http.Header{"Authorization": {"Bearer " + jwt(`{"typ":"JWT"}`)}}, "", "invalid_token", ""},
		"our kind of JWT":   {http.Header{"X-Api-Key": {jwt(`{"typ":"operator+jwt"}`)}}, "", "invalid_token", ""},
		"wrong key":         {http.Header{"X-Api-Key": {"clv_key_other"}}, "", "invalid_token", ""},
		"two headers":       {http.Header{"Authorization": {"Bearer " + goodToken}, "X-Api-Key": {goodToken}}, "", "ambiguous_credentials", ""},
		"one header twice":  {http.Header{"X-Api-Key": {goodToken, goodToken}}, "", "ambiguous_credentials", ""},
		"both of basic":     {http.Header{"Authorization": {basic(goodToken, goodToken)}}, "", "ambiguous_credentials", ""},
		"query":             {http.Header{"Authorization": {"Bearer " + goodToken}}, "key=clv_key_x", "token_in_query", ""},
		"ill-formed basic":  {http.Header{"Authorization": {"Basic !!"}}, "", "invalid_token", ""},
		"dots, no JWT":      {http.Header{"Authorization": {"Bearer a.b.c"}}, "", "invalid_token", ""},
		"JWT of no object":  {http.Header{"Authorization": {"Bearer " + jwt(`[]`)}}, "", "invalid_token", ""},
		"long header of it": {http.Header{"Authorization": {"Bearer " + strings.Repeat("a", 2000) + ".b.c"}}, "", "invalid_token", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/connections/c/proxy/x?"+tc.query, nil)
			r.Header = tc.header
			_, err := s.proxyCaller(r, claviger.Request{})
			code := ""
			if err != nil {
				code = claviger.AsError(err).Code
			}
			if code != tc.code {
				t.Fatalf("%q, want %q", code, tc.code)
			}
			if tc.left != "" && r.Header.Get(tc.left) == "" {
				t.Errorf("%s was taken away", tc.left)
			}
			if err == nil && strings.Contains(strings.Join(flat(r.Header), " "), goodToken) {
				t.Errorf("the token is still on the request: %v", r.Header)
			}
		})
	}
}

func flat(h http.Header) []string {
	var out []string
	for _, v := range h {
		out = append(out, v...)
	}
	return out
}

func TestRefusalsOfTheProxyAreMarked(t *testing.T) {
	h, _ := mounted(t, claviger.CallerAPIKey)
	r := httptest.NewRequestWithContext(t.Context(), "PURGE", "/v1/connections/conn_1/proxy/x", strings.NewReader("body"))
	r.Header.Set("Authorization", "Bearer wrong")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 401 || w.Header().Get(wire.ErrorHeader) != "invalid_token" || !strings.Contains(w.Body.String(), `"invalid_token"`) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// TestRelayPassesEventsOn proves that what has been read is sent before more is
// read: the vendor's second event is written only after the first one arrived.
func TestRelayPassesEventsOn(t *testing.T) {
	vendor, events := io.Pipe()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		if err := relay(w, &broker.Forwarded{Body: vendor, Flush: true}, newBuffers()); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	resp, err := server.Client().Get(server.URL) // answers although no event has come yet
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for _, event := range []string{"data: 1\n\n", "data: 2\n\n"} {
		if _, err := io.WriteString(events, event); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(event))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != event {
			t.Fatalf("%q %v", got, err)
		}
	}
	_ = events.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
		t.Errorf("%q %v", rest, err)
	}
}

func TestRelayReportsABrokenVendor(t *testing.T) {
	body := io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, 3*bufferSize)), brokenReader{}))
	w := httptest.NewRecorder()
	if err := relay(w, &broker.Forwarded{Body: body}, newBuffers()); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
	if w.Body.Len() != 3*bufferSize {
		t.Errorf("%d bytes passed", w.Body.Len())
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestSchemasAreListed: the index names what is served, to everybody, and is nothing else.
func TestSchemasAreListed(t *testing.T) {
	h, _ := mounted(t, claviger.CallerNobody)
	ask := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		return w
	}
	var index api.List[api.Schema]
	if w := ask("/v1/schemas/"); w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &index) != nil {
		t.Fatalf("the index answered %d: %s", w.Code, w.Body)
	}
	var names []string
	for _, x := range index.Data {
		names = append(names, x.Name)
		w := ask(x.URL)
		var schema map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &schema); err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/schema+json" || schema["$schema"] == nil {
			t.Errorf("%s answered %d %s, %v", x.URL, w.Code, w.Header().Get("Content-Type"), err)
		}
	}
	if strings.Join(names, " ") != "connector datasource system" || index.HasMore {
		t.Errorf("the index is %+v", index)
	}
	for _, path := range []string{"/v1/schemas", "/v1/schemas/nosuch.json", "/v1/schemas/connector.json/"} {
		if w := ask(path); w.Code != http.StatusNotFound {
			t.Errorf("%s answered %d", path, w.Code)
		}
	}
}
