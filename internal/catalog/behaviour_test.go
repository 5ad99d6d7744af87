package catalog_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"claviger"
	"claviger/internal/catalog"
)

// refusal asserts an *Error of KindInvalid at a parameter that does not show the value.
func refusal(t *testing.T, err error, param, value string) {
	t.Helper()
	var e *claviger.Error
	if !errors.As(err, &e) || e.Kind != claviger.KindInvalid || e.Param != param {
		t.Fatalf("got %v, want a refusal at %s", err, param)
	}
	if len(value) > 3 && strings.Contains(err.Error(), value) {
		t.Errorf("the value is shown: %v", err)
	}
}

func TestAbuse_111_Variables(t *testing.T) {
	conn := parse(t, []byte(acme))
	for _, bad := range []string{
		"evil.com/#", "evil.com/?", "a@evil.com/", "evil.com:443/", "x.evil.com/..", `evil.com\`, "-a", "a-", strings.Repeat("a", 64), "",
		".", "..", "a.b", "a。b", "a\u3002b", "ａcme", "аcme", "a\r\nb", "a\tb", "a\n", "a b", "a%2eb", "a%00", "a\x00", "a/b", "a?b", "a#b", "a:b", "a@b",
		"a_b", "*", "[::1]", "${x}", "xn--\u00e9", "\u212Aey", "a&b", "a;b", "a'b", `a"b`, "<a>",
	} {
		_, err := catalog.CheckSettings(conn, map[string]string{"subdomain": bad})
		refusal(t, err, "settings.subdomain", bad)
		if _, err := catalog.Base(conn, map[string]string{"subdomain": bad}); err == nil {
			t.Errorf("Base accepts %q", bad)
		}
	}
	for given, want := range map[string]string{"acme": "acme", "ACME": "acme", "a": "a", "a-b-c": "a-b-c", "7": "7", strings.Repeat("a", 63): strings.Repeat("a", 63)} {
		settings, err := catalog.CheckSettings(conn, map[string]string{"subdomain": given})
		if err != nil || settings["subdomain"] != want {
			t.Errorf("%q: %v %v", given, settings, err)
		}
		u, err := catalog.Base(conn, settings)
		if err != nil || u.String() != "https://"+want+".acme.example/v2" {
			t.Errorf("%v %v", u, err)
		}
	}
	for _, bad := range []string{"..", ".", "a/b", "a%2fb", "a b", "a\r\n", "é", "a;b", strings.Repeat("a", 257)} {
		_, err := catalog.CheckSettings(conn, map[string]string{"subdomain": "a", "tenant": bad})
		refusal(t, err, "settings.tenant", bad)
	}
	_, err := catalog.CheckSettings(conn, map[string]string{"subdomain": "a", "tennant": "x"})
	refusal(t, err, "settings.tennant", "")
}

func TestHostnameVariable(t *testing.T) {
	conn := parse(t, []byte(strings.NewReplacer("https://${subdomain}.acme.example/v2", "https://${subdomain}/v2", "type: hostLabel, required: true", "type: hostname, default: acme.example", `allowedHosts: ["*.acme.example"]`, "").Replace(acme)))
	settings, err := catalog.CheckSettings(conn, nil)
	if err != nil || settings["subdomain"] != "acme.example" {
		t.Fatalf("%v %v", settings, err)
	}
	for _, bad := range []string{"localhost", "127.1", "0x7f.1", "a.example:8443", "a.example/x", "u@a.example", "a.example.", "a..example", "https://a.example", "a.example?x", "*.example", "1.2.3", "a\r\n.example", "é.example"} {
		_, err := catalog.CheckSettings(conn, map[string]string{"subdomain": bad})
		refusal(t, err, "settings.subdomain", bad)
	}
	for _, good := range []string{"gitlab.internal.example", "192.0.2.1"} {
		if _, err := catalog.CheckSettings(conn, map[string]string{"subdomain": good}); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestCheckCredentials(t *testing.T) {
	conn := parse(t, change(t, `pattern: "^ak_`, `softPattern: "^ak_.{12}$", pattern: "^ak_`))
	m := &conn.Auth[0]
	for value, warns := range map[string]int{"ak_0123456789": 1, "ak_012345678901": 0, "kv://shared/acme/key": 0} {
		if warnings, err := catalog.CheckCredentials(m, claviger.Credentials{"apiKey": claviger.NewSecretString(value)}); err != nil || len(warnings) != warns {
			t.Errorf("%s: %v %v", value, warnings, err)
		}
	}
	for _, bad := range []string{"", "nope-nope", "ak_0123456789\n", " ak_0123456789", "***REDACTED***", "ak_***REDACTED***", "ak_" + strings.Repeat("a", 64<<10)} {
		_, err := catalog.CheckCredentials(m, claviger.Credentials{"apiKey": claviger.NewSecretString(bad)})
		var e *claviger.Error
		if !errors.As(err, &e) || e.Code != "invalid_format" || e.Param != "credentials.apiKey" || !strings.Contains(e.Message, "Settings, API") {
			t.Errorf("%.20q: %v", bad, err)
		}
		if bad == "nope-nope" {
			refusal(t, err, "credentials.apiKey", bad)
		}
	}
	_, err := catalog.CheckCredentials(m, claviger.Credentials{"apikey": claviger.NewSecretString("ak_0123456789")})
	refusal(t, err, "credentials.apikey", "ak_0123456789")
	if !strings.Contains(err.Error(), "Did you mean apiKey?") {
		t.Errorf("%v", err)
	}
	_, err = catalog.CheckCredentials(m, claviger.Credentials{"ak_0123456789": claviger.NewSecretString("x")})
	refusal(t, err, "credentials", "ak_0123456789")
}

// build runs an action of acme and answers what would be sent.
func build(t *testing.T, key, raw string) (string, error) {
	t.Helper()
	conn := parse(t, []byte(acme))
	act, ok := conn.Action(key)
	if !ok {
		t.Fatalf("no action %s", key)
	}
	var input map[string]any
	dec := json.NewDecoder(strings.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&input); err != nil {
		t.Fatal(err)
	}
	if err := act.Input.Validate(input); err != nil {
		return "", err
	}
	req, err := catalog.Request(conn, act, map[string]string{"subdomain": "x"}, input)
	if err != nil {
		return "", err
	}
	line := req.Method + " " + req.URL.String()
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil || int64(len(body)) != req.ContentLength {
			t.Fatalf("%d bytes of %d: %v", len(body), req.ContentLength, err)
		}
		line += " " + string(body)
	}
	if req.Header.Get("Accept") != "application/json" || req.Header.Values("X-Tenant") != nil {
		t.Errorf("headers: %v", req.Header)
	}
	return line, nil
}

func TestRequest(t *testing.T) {
	for _, c := range []struct{ key, input, want string }{
		{"list-contacts", `{}`, "GET https://x.acme.example/v2/contacts"},
		{"list-contacts", `{"limit":5}`, "GET https://x.acme.example/v2/contacts?limit=5"},
		{
			"create-contact", `{"name":"A&<é>","owner":{"id":"a/b ü?#;..%2f"}}`,
			`POST https://x.acme.example/v2/contacts/a%2Fb%20%C3%BC%3F%23%3B..%252f/x {"fixed":[1,true,null],"greeting":"Hello A&<é>","name":"A&<é>","owner":{"id":"a/b ü?#;..%2f"}}`,
		},
		{
			"create-contact", `{"name":"A","age":12345678901234567,"tags":["x","y"],"owner":{"id":"1"}}`,
			`POST https://x.acme.example/v2/contacts/1/x {"age":12345678901234567,"fixed":[1,true,null],"greeting":"Hello A","name":"A","owner":{"id":"1"},"tags":["x","y"]}`,
		},
	} {
		got, err := build(t, c.key, c.input)
		if err != nil || got != c.want {
			t.Errorf("%s %s\n got %s (%v)\nwant %s", c.key, c.input, got, err, c.want)
		}
	}
	for _, c := range []struct{ key, input, param, value string }{
		{"list-contacts", `{"limit":"12345"}`, "input.limit", "12345"},
		{"list-contacts", `{"limit":-98765}`, "input.limit", "98765"},
		{"list-contacts", `{"limit":1,"evil":"secretvalue"}`, "input.evil", "secretvalue"},
		{"list-contacts", `{"sk_live_0123456789 x":1}`, "input", "sk_live"},
		{"create-contact", `{}`, "input.name", ""},
		{"create-contact", `{"name":"a name that is far too long"}`, "input.name", "far too long"},
		{"create-contact", `{"name":"A","tags":[1]}`, "input.tags.0", ""},
		{"create-contact", `{"name":"A"}`, "input.owner.id", ""},
		{"create-contact", `{"name":"A","owner":{"id":""}}`, "input.owner.id", ""},
		{"create-contact", `{"name":"A","owner":{"id":".."}}`, "input.owner.id", ""},
		{"create-contact", `{"name":"A","owner":{"id":"a\r\nX: 1"}}`, "input.owner.id", "X: 1"},
		{"create-contact", `{"name":"A","owner":{"id":"a\u0000b"}}`, "input.owner.id", ""},
	} {
		_, err := build(t, c.key, c.input)
		refusal(t, err, c.param, c.value)
	}
}

func TestFormsAndLists(t *testing.T) {
	doc := strings.NewReplacer("body: {name:", "bodyFormat: form\n      query: {tag: \"${input.tags}\"}\n      body: {name:", "/contacts/${input.owner.id}/x", "/c").Replace(acme)
	conn := parse(t, []byte(doc))
	act, _ := conn.Action("create-contact")
	req, err := catalog.Request(conn, act, map[string]string{"subdomain": "x"}, map[string]any{"name": "A", "tags": []any{"x y", "&"}, "owner": map[string]any{"id": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	want := "fixed%5B0%5D=1&fixed%5B1%5D=true&fixed%5B2%5D=&greeting=Hello+A&name=A&owner%5Bid%5D=1&tags%5B0%5D=x+y&tags%5B1%5D=%26"
	if err != nil || string(body) != want || req.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("%s (%v)", body, err)
	}
	if req.URL.RawQuery != "tag=x+y&tag=%26" {
		t.Errorf("query %s", req.URL.RawQuery)
	}
	_, err = catalog.Request(conn, act, map[string]string{"subdomain": "x"}, map[string]any{"name": "A", "tags": []any{"a\nb"}})
	refusal(t, err, "input.tags", "")
}

func TestAnswers(t *testing.T) {
	conn := parse(t, []byte(acme))
	p := conn.Auth[0].Test
	if a := catalog.ReadAccount(p, []byte(`{"id":12345678901234567890,"name":"Ada"}`)); a.ID != "12345678901234567890" || a.Name != "Ada" {
		t.Errorf("%+v", a)
	}
	if a := catalog.ReadAccount(p, []byte(`{"id":{"x":1},"name":"a\nb"}`)); a != (claviger.Account{}) {
		t.Errorf("%+v", a)
	}
	if a := catalog.ReadAccount(p, []byte(`{"id":"a\u200b1","name":"\u202eadA\u2066 Ünï"}`)); a != (claviger.Account{Name: "adA Ünï"}) {
		t.Errorf("%+q", a)
	}
	if a := catalog.ReadAccount(p, []byte(`<html>`)); a != (claviger.Account{}) {
		t.Errorf("%+v", a)
	}
	pp := conn.Auth[0].Permissions
	scopes, known := catalog.ReadScopes(pp, http.Header{"X-Scopes": {"contacts.read, a,,b", "a"}}, nil)
	if !known || !slices.Equal(scopes, []string{"a", "b", "contacts.read"}) || catalog.MissingScopes(pp, scopes) != nil {
		t.Errorf("%q %v", scopes, known)
	}
	if _, known := catalog.ReadScopes(pp, http.Header{}, nil); known {
		t.Error("scopes are known without a header")
	}
	if missing := catalog.MissingScopes(pp, nil); !slices.Equal(missing, []string{"contacts.read"}) {
		t.Errorf("%q", missing)
	}
	any := &claviger.PermissionProbe{Path: "$.s", Required: []string{"repo|public_repo"}}
	if missing := catalog.MissingScopes(any, []string{"public_repo"}); missing != nil {
		t.Errorf("%q", missing)
	}
	if scopes, known := catalog.ReadScopes(any, nil, []byte(`{"s":["b","a",1]}`)); !known || !slices.Equal(scopes, []string{"a", "b"}) {
		t.Errorf("%q", scopes)
	}
	spaced := &claviger.PermissionProbe{Path: "$.scope", Separator: " "}
	if scopes, _ := catalog.ReadScopes(spaced, nil, []byte(`{"scope":"b  a"}`)); !slices.Equal(scopes, []string{"a", "b"}) {
		t.Errorf("%q", scopes)
	}
	for _, c := range []struct {
		status int
		body   string
		want   bool
	}{{401, "", true}, {403, "", false}, {200, `{"error":"token_expired"}`, true}, {200, `{"error":"other"}`, false}, {200, `no json`, false}, {500, `{"error":"token_expired"}`, false}} {
		if got := catalog.Expired(conn, c.status, nil, []byte(c.body)); got != c.want {
			t.Errorf("%d %s: %v", c.status, c.body, got)
		}
	}
	if !catalog.ExpiryNeedsBody(conn, 200) || catalog.ExpiryNeedsBody(conn, 401) {
		t.Error("which statuses need a body")
	}
}

func TestThrottledAndNextPage(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		limit  claviger.RateLimit
		status int
		header http.Header
		after  time.Duration
		want   bool
	}{
		{claviger.RateLimit{}, 429, http.Header{"Retry-After": {"5"}}, 5 * time.Second, true},
		{claviger.RateLimit{}, 429, http.Header{"Retry-After": {"Fri, 02 Jan 2026 03:04:15 GMT"}}, 10 * time.Second, true},
		{claviger.RateLimit{}, 429, http.Header{"Retry-After": {"-5"}}, 0, true},
		{claviger.RateLimit{}, 429, http.Header{"Retry-After": {"99999999"}}, time.Hour, true},
		{claviger.RateLimit{}, 200, http.Header{"Retry-After": {"5"}}, 0, false},
		{claviger.RateLimit{Status: []int{403}, RemainingHeader: "Left"}, 403, http.Header{}, 0, false},
		{claviger.RateLimit{Status: []int{403}, RemainingHeader: "Left", ResetHeader: "Reset", ResetFormat: "epochSeconds"}, 403, http.Header{"Left": {"0"}, "Reset": {"1767323048"}}, 3 * time.Second, true},
		{claviger.RateLimit{ResetHeader: "Reset", ResetFormat: "epochMilliseconds"}, 429, http.Header{"Reset": {"1767323047000"}}, 2 * time.Second, true},
		{claviger.RateLimit{ResetHeader: "Reset", ResetFormat: "deltaSeconds"}, 429, http.Header{"Reset": {"NaN"}}, 0, true},
		{claviger.RateLimit{ResetHeader: "Reset", ResetFormat: "rfc3339"}, 429, http.Header{"Reset": {"2026-01-02T03:04:06Z"}}, time.Second, true},
		{claviger.RateLimit{ResetHeader: "Reset", ResetFormat: "duration"}, 429, http.Header{"Reset": {"1m2s"}}, 62 * time.Second, true},
	} {
		after, got := catalog.Throttled(&claviger.Connector{RateLimit: c.limit}, c.status, c.header, now)
		if after != c.after || got != c.want {
			t.Errorf("%+v: %v %v", c, after, got)
		}
	}
	link := &claviger.Pagination{Type: "link", Param: "page"}
	cursor := &claviger.Pagination{Type: "cursor", Param: "t", Next: "$.next"}
	for _, c := range []struct {
		p          *claviger.Pagination
		link, body string
		want       string
	}{
		{link, `<https://a.example/?page=1>; rel="prev", <https://evil.example/?x=1&page=3>; rel="next"`, "", "3"},
		{link, `<https://a.example/?page=1>; rel="last"`, "", ""},
		{link, `<<<`, "", ""},
		{cursor, "", `{"next":"abc"}`, "abc"},
		{cursor, "", `{"next":null}`, ""},
		{cursor, "", `{"next":"https://evil.example/?t=9"}`, "9"},
		{cursor, "", `{"next":"/x?t=8"}`, "8"},
		{cursor, "", `{"next":7}`, "7"},
	} {
		if got := catalog.NextPage(c.p, http.Header{"Link": {c.link}}, []byte(c.body)); got != c.want {
			t.Errorf("%s %s: %q", c.link, c.body, got)
		}
	}
}

func TestPath(t *testing.T) {
	tree := map[string]any{"a": []any{map[string]any{"b": 1, "c d": nil}, map[string]any{"b": 2}}, "z": map[string]any{"y": 3, "x": 4}}
	for path, want := range map[string]string{
		"$": fmt.Sprint([]any{tree}), "$.a[0].b": "[1]", "$.a[-1].b": "[2]", "$.a[*].b": "[1 2]", "$.a[9]": "[]", "$.z.*": "[4 3]", "$['z'][\"y\"]": "[3]",
		"$.a[0]['c d']": "[<nil>]", "$.a.b": "[]", "$.z[0]": "[]", "$[*][*].b": "[1 2]",
	} {
		p, err := catalog.ParsePath(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got := fmt.Sprint(p.All(tree)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestFolder(t *testing.T) {
	builtin := fstest.MapFS{"acme.yaml": {Data: []byte(acme)}, "readme.md": {Data: []byte("#")}}
	c, err := catalog.Load(builtin, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	now := time.Now()
	write := func(name, key string, document []byte) {
		t.Helper()
		now = now.Add(time.Second)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Replace(string(document), "key: acme\n", "key: "+key+"\n", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
	}
	reload := func(want ...string) {
		t.Helper()
		faults, err := c.Reload(t.Context())
		var got []string
		for _, f := range faults {
			got = append(got, f.File)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("faults in %v (%v), want %v", faults, err, want)
		}
	}
	name := func(key string) string {
		if conn, ok := c.Get(key); ok {
			return conn.Name
		}
		return ""
	}
	write("own.yaml", "own", []byte(acme))
	write("taken.yaml", "acme", change(t, "name: Acme CRM", "name: Evil"))
	write("alike.yaml", "acm3", []byte(acme))
	write("broken.yaml", "broken", []byte("key: [\n"))
	if faults, err := c.LoadDir(dir); err != nil || len(faults) != 3 {
		t.Fatalf("%v %v", faults, err)
	}
	if name("own") != "Acme CRM" || name("acme") != "Acme CRM" || name("acm3") != "" {
		t.Error("what the folder holds")
	}
	write("own.yaml", "own", change(t, "name: Acme CRM", "name: Second"))
	reload("alike.yaml", "broken.yaml", "taken.yaml")
	if name("own") != "Second" {
		t.Errorf("own is %q", name("own"))
	}
	write("own.yaml", "own", []byte("key: own\nname: [")) // the last good one stays
	reload("alike.yaml", "broken.yaml", "own.yaml", "taken.yaml")
	if name("own") != "Second" {
		t.Errorf("own is %q", name("own"))
	}
	for _, gone := range []string{"own.yaml", "alike.yaml", "broken.yaml", "taken.yaml"} {
		if err := os.Remove(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(outside, []byte(strings.Replace(acme, "key: acme\n", "key: outside\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	reload("link.yaml")
	if name("own") != "" || name("outside") != "" {
		t.Error("a file that is gone or outside is in the catalog")
	}
	if got := c.List(catalog.Filter{Search: "aCm", Category: "crm", Kind: "http"}); len(got) != 1 {
		t.Errorf("%d match", len(got))
	}
	for _, f := range []catalog.Filter{{Search: "zzz"}, {Category: "x"}, {Kind: "sql"}} {
		if got := c.List(f); len(got) != 0 {
			t.Errorf("%+v: %d match", f, len(got))
		}
	}
	if _, err := c.LoadDir(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there")
	}
	if _, err := catalog.Load(fstest.MapFS{"a.yaml": {Data: []byte("x")}}, catalog.Options{}); err == nil {
		t.Error("a broken built-in document")
	}
}
