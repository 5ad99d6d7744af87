package clavigertest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/client"
)

// initialize is the first message of a session.
const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// post sends one message to the builder; session and headers in pairs of name and value.
func post(s *clavigertest.Server, token, body string, header ...string) *clavigertest.Answer {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return s.Do(call{Token: token, Method: http.MethodPost, Path: "/mcp/builder", Body: body, Header: h})
}

func TestAbuse_307_SessionsBelongToWhoBeganThem(t *testing.T) {
	w := clavigertest.NewTwins(t, clavigertest.Options{})
	a := connectMCP(t, w.Server, w.A.Owner)
	list := `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`
	colleague, _ := w.APIKey(t, w.A, api.CreateAPIKey{Name: "of a colleague"})
	for name, c := range map[string]struct {
		token, session string
		status         int
	}{
		"its own":           {w.A.Owner, a.ID(), 200},
		"another tenant's":  {w.B.Owner, a.ID(), 404},
		"another key's":     {colleague, a.ID(), 404},
		"the application's": {w.A.Operator, a.ID(), 404},
		"guessed":           {w.A.Owner, strings.Repeat("A", len(a.ID())), 404},
		"without a token":   {"", a.ID(), 401},
	} {
		t.Run(name, func(t *testing.T) {
			if got := post(w.Server, c.token, list, "Mcp-Session-Id", c.session); got.Status != c.status {
				t.Errorf("a message: %d %s", got.Status, got.Body)
			}
			if c.status == 200 {
				return
			}
			if got := w.Do(call{Token: c.token, Method: http.MethodDelete, Path: "/mcp/builder", Header: http.Header{"Mcp-Session-Id": {c.session}}}); got.Status != c.status {
				t.Errorf("an end: %d %s", got.Status, got.Body)
			}
		})
	}
	if got := post(w.Server, "", initialize); got.Status != 401 || got.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("nobody: %d %v", got.Status, got.Header)
	}
	if got := post(w.Server, w.A.Owner, list, "Mcp-Session-Id", a.ID()); got.Status != 200 {
		t.Errorf("after the attempts: %d %s", got.Status, got.Body)
	}
	_ = a.Close()
	if got := post(w.Server, w.A.Owner, list, "Mcp-Session-Id", a.ID()); got.Status != 404 {
		t.Errorf("after its end: %d %s", got.Status, got.Body)
	}
}

func TestAbuse_308_AmbiguousMessages(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	a := connectMCP(t, s, s.Key)
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	calling := func(params string) string {
		return `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":` + params + `}`
	}
	for name, body := range map[string]string{
		"two names in two cases":  calling(`{"name":"help","Name":"upload","arguments":{"topic":"section"}}`),
		"the same name twice":     calling(`{"name":"help","name":"upload","arguments":{"topic":"section"}}`),
		"a folded letter":         calling(`{"name":"help","argumentſ":{"topic":"section"}}`),
		"a method in upper case":  `{"jsonrpc":"2.0","id":2,"method":"tools/list","Method":"tools/call"}`,
		"a Kelvin sign":           `{"jsonrpc":"2.0","id":2,"method":"tools/list","\u212Aey":1}`,
		"a NUL":                   calling(`{"name":"help\u0000","arguments":{}}`),
		"a NUL behind it":         `{"jsonrpc":"2.0","id":2,"method":"tools/list"}` + "\x00",
		"a batch":                 `[{"jsonrpc":"2.0","id":2,"method":"tools/list"}]`,
		"a batch of very many":    "[" + strings.Repeat(`{"jsonrpc":"2.0","method":"x"},`, 12000) + "1]",
		"an id that is an object": `{"jsonrpc":"2.0","id":{},"method":"tools/list"}`,
		"an id that is a boolean": `{"jsonrpc":"2.0","id":true,"method":"tools/list"}`,
		"an id with a fraction":   `{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}`,
		"an id that is null":      `{"jsonrpc":"2.0","id":null,"method":"tools/list"}`,
		"another version":         `{"jsonrpc":"1.0","id":2,"method":"tools/list"}`,
		"a method that is a list": `{"jsonrpc":"2.0","id":2,"method":["tools/list"]}`,
		"parameters in a list":    `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":["help"]}`,
		"very deep":               calling(`{"name":"help","arguments":` + deep + `}`),
		"two messages":            `{"jsonrpc":"2.0","id":2,"method":"tools/list"}{"jsonrpc":"2.0","id":3,"method":"tools/list"}`,
		"no JSON":                 `help`,
		"nothing":                 ``,
	} {
		t.Run(name, func(t *testing.T) {
			got := post(s, s.Key, body, "Mcp-Session-Id", a.ID())
			var answer struct{ Error struct{ Code int } }
			if err := json.Unmarshal(got.Body, &answer); err != nil || got.Status != 400 || answer.Error.Code != -32600 && answer.Error.Code != -32700 {
				t.Errorf("%d %s", got.Status, got.Body)
			}
		})
	}
	large := post(s, s.Key, calling(`{"name":"help","arguments":{"topic":"`+strings.Repeat("x", 1<<20)+`"}}`), "Mcp-Session-Id", a.ID())
	if large.Status != 413 {
		t.Errorf("a large message: %d %.200s", large.Status, large.Body)
	}
	for _, arguments := range []string{`{"Topic":"section"}`, `{"topic":"section","TOPIC":"ui"}`, `{"topic":"section","other":1}`, `{"topic":1}`, `{}`, `{"topic":"nonsense"}`} {
		got := post(s, s.Key, calling(`{"name":"help","arguments":`+arguments+`}`), "Mcp-Session-Id", a.ID())
		if got.Status != 200 || got.Header.Get("Content-Type") != "application/json" || !bytes.Contains(got.Body, []byte(`"isError":true`)) || bytes.Contains(got.Body, []byte("nonsense")) {
			t.Errorf("arguments %s: %d %s", arguments, got.Status, got.Body)
		}
	}
}

func TestAbuse_309_BrowsersCannotReachTheBuilder(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	for name, c := range map[string]struct {
		header []string
		status int
	}{
		"no browser":             {nil, 200},
		"our own page":           {[]string{"Origin", s.URL, "Sec-Fetch-Site", "same-origin"}, 200},
		"another site":           {[]string{"Origin", "http://evil.example"}, 403},
		"a page without a place": {[]string{"Origin", "null"}, 403},
		"a port of this host":    {[]string{"Origin", "http://127.0.0.1:1"}, 403},
		"an older browser":       {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"a page of a neighbour":  {[]string{"Sec-Fetch-Site", "same-site"}, 403},
		"a form":                 {[]string{"Content-Type", "text/plain"}, 415},
		"a form with JSON in it": {[]string{"Content-Type", "text/plain; application/json"}, 415},
		"an encoded body":        {[]string{"Content-Encoding", "gzip"}, 415},
		"a charset":              {[]string{"Content-Type", "application/json; charset=utf-16"}, 415},
		"JSON in UTF-8":          {[]string{"Content-Type", "application/json; charset=UTF-8"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			if got := post(s, s.Key, initialize, c.header...); got.Status != c.status || got.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%d %s", got.Status, got.Body)
			}
		})
	}
	rebound := func(host string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/mcp/builder", strings.NewReader(initialize))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Origin", "http://"+host) // the page's own, once its name leads here
		resp, err := bearer(s.Key).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for host, want := range map[string]int{"evil.example": 403, "evil.example:80": 403, "127.0.0.1.evil.example": 403, "localhost": 200, s.Addr: 200} {
		if got := rebound(host); got != want {
			t.Errorf("the name %s: %d, want %d", host, got, want)
		}
	}
	if got := s.Do(call{Token: s.Key, Method: http.MethodGet, Path: "/mcp/builder", Header: http.Header{"Accept": {"text/event-stream"}}}); got.Status != 405 || got.Header.Get("Allow") != "DELETE, POST" {
		t.Errorf("a stream: %d %v", got.Status, got.Header)
	}
}

func TestAbuse_310_ToolsFollowTheGate(t *testing.T) {
	w := clavigertest.NewTwins(t, clavigertest.Options{})
	if got := w.Do(call{Token: w.A.Owner, Method: http.MethodPut, Path: "/v1/systems/shop", Body: systemBody("shop", "of A")}); got.Status != 200 {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	b := connectMCP(t, w.Server, w.B.Owner)
	absent := args{"systemKey": "nothing", "section": "system"}
	theirs := args{"systemKey": "shop", "section": "system"}
	if x, y := b.refused("not_found", "read_section", absent), b.refused("not_found", "read_section", theirs); x != y {
		t.Errorf("another tenant's system is told from none: %q, %q", x, y)
	}
	for tool, in := range map[string]args{
		"patch_section": patchOf("shop", "system.displayName", "v", "mine"), "validate": {"systemKey": "shop"}, "repair": {"systemKey": "shop"},
		"upload": {"systemKey": "shop", "confirmSecurityChanges": true}, "help": {"topic": "connectedSystemUi", "systemKey": "shop"},
	} {
		b.refused("not_found", tool, in)
	}
	reader, _ := w.APIKey(t, w.A, api.CreateAPIKey{Name: "reader", Scopes: []string{"systems:read"}})
	r := connectMCP(t, w.Server, reader)
	name := r.read("shop", "system.displayName")
	r.patch("shop", "system.displayName", name.Version, "Renamed")
	r.refused("permission_denied", "upload", args{"systemKey": "shop", "confirmSecurityChanges": true})
	if stored, err := w.Client(w.A.Owner).System(t.Context(), "shop", 0); err != nil || stored.DisplayName != "of A" || stored.Version != 1 {
		t.Errorf("a reader uploaded: %+v %v", stored, err)
	}
	for who, c := range map[string]struct {
		token  string
		status int
	}{"a viewer of connections": {w.Viewer, 403}, "a scoped token": {w.ScopedA1, 403}, "a revoked key": {w.Revoked, 401}, "an operator": {w.A.Operator, 200}} {
		if got := post(w.Server, c.token, initialize); got.Status != c.status {
			t.Errorf("%s: %d %s", who, got.Status, got.Body)
		}
	}
}

func TestAbuse_315_AnswersAreCapped(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	a := connectMCP(t, s, s.Key)
	for _, topic := range []string{"connectedSystemUi", "section", "workflow", "authentication", "authentication catalog"} {
		if text, failed := a.try("help", args{"topic": topic}); failed || len(text) < 200 {
			t.Errorf("help about %s: %s", topic, text)
		}
	}
	var begun section
	a.call("read_section", args{"systemKey": "large", "section": "system", "create": true}, &begun)
	next := begun
	for i := range 5 {
		field := fmt.Sprintf("x%c", 'a'+i)
		text, failed := a.try("patch_section", patchOf("large", "system", next.Version, args{field: strings.Repeat("many words ", 20_000)}))
		if failed {
			if !strings.HasPrefix(text, "too_large: ") || i < 2 {
				t.Errorf("patch %d: %.200s", i, text)
			}
			return
		}
		if err := json.Unmarshal([]byte(text), &next); err != nil {
			t.Fatal(err)
		}
	}
	t.Error("a draft grows without end")
}

// vendorKey has a form that every scanner of secrets knows.
const vendorKey = "sk_" + "live_51HqLyjWDarjtT1zdp7dcXYZ"

func TestAbuse_316_NoToolTakesASecret(t *testing.T) {
	s, _, c := crmServer(t, clavigertest.SQLite)
	setSecrets(t, c, "example-crm/apiKey", crmAPIKey)
	a := connectMCP(t, s, s.Key)
	page := s.URL + "/console/systems/example-crm?tab=authentication"
	tools, err := a.ListTools(t.Context(), nil)
	if err != nil || len(tools.Tools) != 6 {
		t.Fatalf("the tools: %+v %v", tools, err)
	}
	for _, tool := range tools.Tools {
		schema, err := json.Marshal(tool.InputSchema)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{`"password"`, `"apiKey"`, `"value"`, `"token"`, `"secret"`} {
			if bytes.Contains(schema, []byte(word)) {
				t.Errorf("%s asks for %s", tool.Name, word)
			}
		}
	}
	slots := a.read("example-crm", "system.authentications")
	if slots.AssignSecretsAt != page || strings.Contains(slots.Text, crmAPIKey) || !strings.Contains(slots.Text, "kv://example-crm/apiKey") {
		t.Errorf("read: %+v", slots)
	}
	for _, literal := range []string{vendorKey, "hunter2", crmAPIKey} {
		text := a.refused("literal_secret", "patch_section", patchOf("example-crm", "system.authentications", slots.Version, []args{
			{"op": "replace", "path": "/0/credential/security/apiKey", "value": literal},
		}))
		if strings.Contains(text, literal) || !strings.Contains(text, page) {
			t.Errorf("the refusal: %s", text)
		}
	}
	if text := a.refused("literal_secret", "patch_section", patchOf("example-crm", "system.description", a.read("example-crm", "system.description").Version, "use "+vendorKey)); strings.Contains(text, vendorKey) {
		t.Errorf("the refusal: %s", text)
	}
	withIntent := patchOf("example-crm", "system.tags", a.read("example-crm", "system.tags").Version, []string{"crm"})
	withIntent["intent"] = "the person said " + vendorKey
	if text := a.refused("invalid_intent", "patch_section", withIntent); strings.Contains(text, vendorKey) {
		t.Errorf("the refusal: %s", text)
	}
	if text := a.refused("unknown_topic", "help", args{"topic": vendorKey}); strings.Contains(text, vendorKey) {
		t.Errorf("the refusal: %s", text)
	}
	if text := a.refused("invalid_arguments", "help", args{"topic": "section", "password": vendorKey}); strings.Contains(text, vendorKey) {
		t.Errorf("the refusal: %s", text)
	}
	if now := a.read("example-crm", "system.authentications"); now.Draft || now.Text != slots.Text {
		t.Errorf("a refused patch changed the draft: %+v", now)
	}
	a.refused("blind_patch", "patch_section", patchOf("example-crm", "system", a.read("example-crm", "system").Version, args{"authentications": nil}))
	a.refused("blind_patch", "patch_section", patchOf("example-crm", "system.authentications", "", []args{}))
	// What moves a credential is listed, and asks for a person's consent.
	current := a.read("example-crm", "system.authentications")
	a.patch("example-crm", "system.authentications", current.Version, []args{{"op": "replace", "path": "/0/credential/variables/baseUrl", "value": "https://elsewhere.example"}})
	listed := a.upload("example-crm", false)
	if listed.Uploaded || !listed.NeedsConfirmation || len(listed.Dropped) != 1 || !listed.Changes[0].Security || listed.Changes[0].Reason == "" {
		t.Errorf("a moved destination: %+v", listed)
	}
	if done := a.upload("example-crm", true); !done.Uploaded || done.Version != 2 || done.Slots[0].Secrets[0].HasValue {
		t.Errorf("confirmed: %+v", done)
	}
}

func TestAbuse_317_EveryToolCallIsInTheLedger(t *testing.T) {
	s, _, c := crmServer(t, clavigertest.SQLite)
	a := connectMCP(t, s, s.Key)
	part := a.read("example-crm", "system.description")
	a.patch("example-crm", "system.description", part.Version, "Changed.")
	a.refused("blind_patch", "patch_section", patchOf("example-crm", "system.authentications", vendorKey, nil))
	a.refused("invalid_arguments", "help", args{"password": vendorKey})
	a.refused("invalid_key", "read_section", args{"systemKey": vendorKey, "section": vendorKey})
	if _, err := a.CallTool(t.Context(), &mcp.CallToolParams{Name: vendorKey, Arguments: args{}}); err != nil {
		t.Errorf("an unknown tool: %v", err)
	}
	a.upload("example-crm", true)
	me, err := c.Whoami(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	eventually(t, "the end of the upload is written", func() bool {
		clear(got)
		for e, err := range c.Audit(t.Context(), client.AuditQuery{}) {
			if err != nil {
				t.Fatal(err)
			}
			if text := fmt.Sprintf("%+v", e); strings.Contains(text, vendorKey) {
				t.Errorf("an entry quotes the arguments: %s", text)
			}
			if !strings.HasPrefix(e.Action, "builder.") {
				continue
			}
			if e.Actor.ID != me.ID || e.RequestID == "" || e.Address == "" {
				t.Errorf("an entry names nobody: %+v", e)
			}
			got[strings.Join([]string{e.Action, string(e.Verb), e.Resource.ID, e.Outcome, e.Code}, "|")]++
		}
		return got["builder.upload|systems:write|example-crm|succeeded|"] == 1
	})
	for _, want := range []string{
		"builder.initialize|systems:read||succeeded|",
		"builder.read_section system.description|systems:read|example-crm|allowed|",
		"builder.read_section system.description|systems:read|example-crm|succeeded|",
		"builder.patch_section system.description|systems:read|example-crm|succeeded|",
		"builder.patch_section system.authentications|systems:read|example-crm|failed|blind_patch",
		"builder.help|systems:read||failed|invalid_arguments",
		"builder.read_section|systems:read||failed|invalid_key",
		"builder.unknown|systems:read||failed|invalid_arguments",
		"builder.upload|systems:write|example-crm|allowed|",
	} {
		if got[want] != 1 {
			t.Errorf("%d entries %s in %v", got[want], want, got)
		}
	}
	if strings.Contains(s.Logs.String(), vendorKey) {
		t.Error("the log quotes the arguments")
	}
}

func TestSessionsAreBounded(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	var ids []string
	for range 9 {
		got := post(s, s.Key, initialize)
		if got.Status != 200 {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
		ids = append(ids, got.Header.Get("Mcp-Session-Id"))
	}
	for i, id := range ids {
		want := 200
		if i == 0 {
			want = 404 // made room for the ninth
		}
		if got := post(s, s.Key, `{"jsonrpc":"2.0","id":2,"method":"ping"}`, "Mcp-Session-Id", id); got.Status != want {
			t.Errorf("session %d: %d %s", i, got.Status, got.Body)
		}
	}
	if got := post(s, s.Key, `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`); got.Status != 400 || !bytes.Contains(got.Body, []byte(`"id":7`)) {
		t.Errorf("without a session: %d %s", got.Status, got.Body)
	}
}
