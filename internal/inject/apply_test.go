package inject_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"claviger"
	"claviger/internal/inject"
)

// method makes an auth method with the fields key (required) and extra (optional).
func method(injections ...claviger.Injection) *claviger.AuthMethod {
	return &claviger.AuthMethod{
		Key: "m", Type: claviger.AuthCustom, Inject: injections,
		Fields: []claviger.Field{{Key: "key", Required: true}, {Key: "extra"}},
	}
}

func at(place, name, value string) claviger.Injection {
	return claviger.Injection{In: place, Name: name, Value: claviger.MustTemplate(value)}
}

func basic(user, password string) claviger.Injection {
	return claviger.Injection{In: "basic", Username: claviger.MustTemplate(user), Password: claviger.MustTemplate(password)}
}

func creds(pairs ...string) claviger.Credentials {
	out := claviger.Credentials{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = claviger.NewSecretString(pairs[i+1])
	}
	return out
}

func dump(t *testing.T, req *http.Request) string {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\n", req.Method, req.URL)
	if err := req.Header.Write(&b); err != nil {
		t.Fatal(err)
	}
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%d %s", req.ContentLength, text)
	}
	return b.String()
}

func TestApply(t *testing.T) {
	for _, c := range []struct {
		name     string
		method   *claviger.AuthMethod
		settings map[string]string
		request  string
		header   http.Header
		want     string
	}{
		{name: "header", method: method(at("header", "X-API-Key", "${key}")), want: "GET https://v.example/\nX-Api-Key: s3cret\r\n"},
		{
			name: "header replaces every spelling", method: method(at("header", "X-API-Key", "${key}")),
			header: http.Header{"X-Api-Key": {"a", "b"}, "x-api-key": {"c"}}, want: "GET https://v.example/\nX-Api-Key: s3cret\r\n",
		},
		{name: "function", method: method(at("header", "Authorization", "Basic ${base64(key)}")), want: "GET https://v.example/\nAuthorization: Basic czNjcmV0\r\n"},
		{
			name: "query keeps the others' bytes", method: method(at("query", "key", "${key}")), request: "https://v.example/?a=%7e+x&KEY=1&b;k%65y=2&c=",
			want: "GET https://v.example/?a=%7e+x&b&c=&key=s3cret\n",
		},
		{name: "basic", method: method(basic("${key}", "${extra}")), want: "GET https://v.example/\nAuthorization: Basic czNjcmV0Og==\r\n"},
		{
			name: "variable as user", method: method(basic("${account}", "${key}")), settings: map[string]string{"account": "AC1"},
			want: "GET https://v.example/\nAuthorization: Basic QUMxOnMzY3JldA==\r\n",
		},
		{
			name: "two cookies on one line", method: method(at("cookie", "a", "${key}"), at("cookie", "b", "${key}")), header: http.Header{"Cookie": {"x=1"}},
			want: "GET https://v.example/\nCookie: a=s3cret; b=s3cret\r\n",
		},
		{name: "optional and absent", method: method(at("header", "X-Org", "${extra}"), at("header", "X-Key", "${key}")), want: "GET https://v.example/\nX-Key: s3cret\r\n"},
		{name: "none", method: &claviger.AuthMethod{Type: claviger.AuthNone}, header: http.Header{"Accept": {"*/*"}}, want: "GET https://v.example/\nAccept: */*\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.request == "" {
				c.request = "https://v.example/"
			}
			req := httptest.NewRequest(http.MethodGet, c.request, nil)
			if c.header != nil {
				req.Header = c.header
			}
			before := dump(t, req)
			out, err := inject.Apply(req, c.method, creds("key", "s3cret"), c.settings)
			if err != nil {
				t.Fatal(err)
			}
			if got := dump(t, out); got != c.want {
				t.Errorf("got\n%q\nwant\n%q", got, c.want)
			}
			if dump(t, req) != before {
				t.Error("the caller's request was changed")
			}
			twice, err := inject.Apply(out, c.method, creds("key", "s3cret"), c.settings)
			if err != nil {
				t.Fatal(err)
			}
			if got := dump(t, twice); got != c.want {
				t.Errorf("the second time\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

// refused asserts a 422 that names the field and does not show the value.
func refused(t *testing.T, err error, code, param, secret string) {
	t.Helper()
	var e *claviger.Error
	if !errors.As(err, &e) || e.FineCode() != code || e.Param != param {
		t.Fatalf("got %v, want %s at %q", err, code, param)
	}
	if secret != "" && strings.Contains(err.Error(), secret) {
		t.Errorf("the error shows the value: %v", err)
	}
}

func TestAbuse_123_ControlCharacters(t *testing.T) {
	for _, bad := range []string{"ab\r\nX-Evil: 1", "ab\n", "ab\rc", "a\x00b", "a\tb", "a\x7fb", "a\x1bb"} {
		for place, m := range map[string]*claviger.AuthMethod{
			"header": method(at("header", "X-Key", "Token ${key}")),
			"query":  method(at("query", "key", "${key}")),
			"cookie": method(at("cookie", "sid", "${key}")),
			"user":   method(basic("${key}", "x")),
			"basic":  method(basic("me", "${key}")),
		} {
			t.Run(fmt.Sprintf("%s %q", place, bad), func(t *testing.T) {
				_, err := inject.Apply(httptest.NewRequest(http.MethodGet, "https://v.example/", nil), m, creds("key", bad), nil)
				refused(t, err, "bad_credential_value", "credentials.key", bad)
			})
		}
	}
	t.Run("colon in a user name", func(t *testing.T) {
		_, err := inject.Apply(httptest.NewRequest(http.MethodGet, "https://v.example/", nil), method(basic("${key}", "x")), creds("key", "a:b"), nil)
		refused(t, err, "bad_credential_value", "credentials.key", "a:b")
	})
}

func TestAbuse_137_Cookies(t *testing.T) {
	for _, bad := range []string{"a; Domain=evil.example", "a;b", "a,b", `a"b`, "a b", `a\b`, "é", "a\r\n"} {
		_, err := inject.Apply(httptest.NewRequest(http.MethodGet, "https://v.example/", nil), method(at("cookie", "__Host-sid", "${key}")), creds("key", bad), nil)
		refused(t, err, "bad_credential_value", "credentials.key", bad)
	}
	req := httptest.NewRequest(http.MethodGet, "https://v.example/", nil)
	req.Header.Add("Cookie", "__Host-sid=forged; other=1")
	req.Header.Add("Cookie", "__host-sid=forged")
	out, err := inject.Apply(req, method(at("cookie", "__Host-sid", "${key}")), creds("key", "v=1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.Header.Values("Cookie"); !slices.Equal(got, []string{"__Host-sid=v=1"}) {
		t.Errorf("cookies: %q", got)
	}
}

// replayable makes a request as an action does.
func replayable(contentType, body string) *http.Request {
	req := httptest.NewRequest(http.MethodPost, "https://v.example/", strings.NewReader(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	req.Header.Set("Content-Type", contentType)
	return req
}

func TestAbuse_135_Bodies(t *testing.T) {
	m := method(at("body", "api_key", "${key}"))
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for name, req := range map[string]*http.Request{
		"duplicate name":        replayable("application/json", `{"a":1,"a":2}`),
		"duplicate name nested": replayable("application/json", `{"a":[{"b":1,"b":2}]}`),
		"two documents":         replayable("application/json", `{"a":1}{"api_key":"x"}`),
		"no object":             replayable("application/json", `[1]`),
		"no JSON":               replayable("application/json", `{"a":`),
		"too deep":              replayable("application/json", deep),
		"other charset":         replayable("application/json; charset=utf-7", `{"a":1}`),
		"other form charset":    replayable("application/x-www-form-urlencoded; charset=utf-16", `a=1`),
		"bad form":              replayable("application/x-www-form-urlencoded", `a=1;api_key=2`),
		"multipart":             replayable("multipart/form-data; boundary=x", "--x--"),
		"text":                  replayable("text/plain", `{"a":1}`),
		"no type":               replayable("", `{"a":1}`),
		"too large":             replayable("application/json", `{"a":"`+strings.Repeat("x", 4<<20)+`"}`),
		"no body to have":       httptest.NewRequest(http.MethodGet, "https://v.example/", nil),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := inject.Apply(req, m, creds("key", "s3cret"), nil)
			refused(t, err, "body_injection_unsupported", "", "s3cret")
		})
	}
	t.Run("compressed", func(t *testing.T) {
		req := replayable("application/json", `{"a":1}`)
		req.Header.Set("Content-Encoding", "gzip")
		_, err := inject.Apply(req, m, creds("key", "s3cret"), nil)
		refused(t, err, "body_injection_unsupported", "", "s3cret")
	})
	t.Run("streamed", func(t *testing.T) {
		req := replayable("application/json", `{"a":1}`)
		req.GetBody = nil
		_, err := inject.Apply(req, m, creds("key", "s3cret"), nil)
		refused(t, err, "body_injection_unsupported", "", "s3cret")
	})
}

func TestBodiesAreWrittenAnew(t *testing.T) {
	m := method(at("body", "api_key", "${key}"))
	for _, c := range []struct{ kind, body, want string }{
		{"application/json", `{"n": 12345678901234567890.10, "api_key":"forged", "API_KEY":1, "x":"<&>"}`, `{"api_key":"s\"<3","n":12345678901234567890.10,"x":"<&>"}`},
		{"application/json; charset=UTF-8", `{}`, `{"api_key":"s\"<3"}`},
		{"application/x-www-form-urlencoded", "b=2&api_key=forged&a=%26&Api_Key=x", "a=%26&api_key=s%22%3C3&b=2"},
	} {
		req := replayable(c.kind, c.body)
		for range 2 {
			out, err := inject.Apply(req, m, creds("key", `s"<3`), nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(out.Body)
			if err != nil || string(got) != c.want || out.ContentLength != int64(len(c.want)) {
				t.Errorf("got %s (%d, %v), want %s", got, out.ContentLength, err, c.want)
			}
			req = out
		}
	}
}

func TestMissingValue(t *testing.T) {
	_, err := inject.Apply(httptest.NewRequest(http.MethodGet, "https://v.example/", nil), method(at("header", "X-Key", "${key}")), nil, nil)
	refused(t, err, "secret_missing", "credentials.key", "")
	if !claviger.IsKind(err, claviger.KindReauthorize) {
		t.Errorf("kind of %v", err)
	}
}

func TestQueryAppearsOnce(t *testing.T) {
	m := method(at("query", "api_key", "${key}"))
	rapid.Check(t, func(rt *rapid.T) {
		raw := rapid.StringMatching(`([a-c&;=%+_]|api_key|API_KEY|%61pi_key){0,30}`).Draw(rt, "query")
		secret := rapid.StringMatching(`[ -~]{1,20}`).Draw(rt, "secret")
		req := httptest.NewRequest(http.MethodGet, "https://v.example/", nil)
		req.URL.RawQuery = raw
		once, err := inject.Apply(req, m, creds("key", secret), nil)
		if err != nil {
			rt.Fatal(err)
		}
		twice, err := inject.Apply(once, m, creds("key", secret), nil)
		if err != nil || twice.URL.RawQuery != once.URL.RawQuery {
			rt.Fatalf("%q, then %q (%v)", once.URL.RawQuery, twice.URL.RawQuery, err)
		}
		n := 0
		for _, piece := range strings.FieldsFunc(once.URL.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
			name, value, _ := strings.Cut(piece, "=")
			if name, err := url.QueryUnescape(name); err == nil && strings.EqualFold(name, "api_key") {
				n++
				if v, err := url.QueryUnescape(value); err != nil || v != secret {
					rt.Fatalf("value %q", v)
				}
			}
		}
		if n != 1 {
			rt.Fatalf("%d times in %q", n, once.URL.RawQuery)
		}
	})
}

func TestNamesAndCallerKey(t *testing.T) {
	m := method(at("header", "x-api-key", "${key}"), at("query", "token", "${key}"), at("cookie", "sid", "${key}"), at("body", "k", "${key}"), basic("${key}", ""))
	p := inject.Names(m)
	if got := fmt.Sprint(p); got != "{[X-Api-Key Cookie Authorization] [token] [sid] [k]}" {
		t.Errorf("Names = %s", got)
	}
	basicHeader := "Basic " + base64.StdEncoding.EncodeToString([]byte("clv_key_u:clv_key_p"))
	for _, c := range []struct {
		header http.Header
		query  string
		want   []string
	}{
		{http.Header{"Authorization": {"Bearer k1"}}, "", []string{"k1"}},
		{http.Header{"Authorization": {"token k1"}}, "", []string{"k1"}},
		{http.Header{"Authorization": {`Token token="k1"`}}, "", []string{"k1"}},
		{http.Header{"Authorization": {"k1"}}, "", []string{"k1"}},
		{http.Header{"Authorization": {basicHeader}}, "", []string{"clv_key_u", "clv_key_p"}},
		{http.Header{"Authorization": {"Basic !!"}}, "", nil},
		{http.Header{"X-Api-Key": {"k2"}, "Authorization": {"Bearer k2"}}, "", []string{"k2"}},
		{http.Header{"X-Api-Key": {"Bearer k3"}}, "a=1&token=k%34", []string{"k3", "k4"}},
		{http.Header{"X-Api-Key": {strings.Repeat("x", 9000)}}, "token=%zz", nil},
		{nil, "", nil},
	} {
		if got := inject.CallerKey(c.header, c.query, m); !slices.Equal(got, c.want) {
			t.Errorf("CallerKey(%v, %q) = %q, want %q", c.header, c.query, got, c.want)
		}
	}
	if got := inject.CallerKey(http.Header{"X-Api-Key": {"k"}, "Authorization": {"Bearer z"}}, "", nil); !slices.Equal(got, []string{"z"}) {
		t.Errorf("without a method: %q", got)
	}
}

func FuzzApply(f *testing.F) {
	f.Add("a=1&key=2", `{"key":1}`, "s3cret")
	f.Add(";key=2", `{"a":{"key":1}}`, "a b")
	m := method(at("header", "X-Key", "${key}"), at("query", "key", "${key}"), at("body", "key", "${key}"))
	f.Fuzz(func(t *testing.T, query, body, secret string) {
		req := replayable("application/json", body)
		req.URL.RawQuery = query
		out, err := inject.Apply(req, m, creds("key", secret), nil)
		if err != nil {
			if claviger.AsError(err).Kind == claviger.KindInternal {
				t.Fatalf("%v", err)
			}
			return
		}
		if v := out.Header["X-Key"]; len(v) != 1 || strings.ContainsAny(v[0], "\r\n\x00") {
			t.Fatalf("header %q", v)
		}
		got, err := io.ReadAll(out.Body)
		var object map[string]any
		if err != nil || json.Unmarshal(got, &object) != nil {
			t.Fatalf("body %q (%v)", got, err)
		}
		if want := strings.ToValidUTF8(secret, "\uFFFD"); object["key"] != want && secret == want {
			t.Fatalf("member %q, want %q", object["key"], want)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	m := method(at("header", "Authorization", "Bearer ${key}"))
	c := creds("key", "ghp_abcdefghijklmnopqrstuvwxyz0123456789")
	req := httptest.NewRequest(http.MethodGet, "https://v.example/user?page=2", nil)
	for name, value := range map[string]string{"Accept": "application/json", "User-Agent": "x", "Content-Type": "application/json", "X-Request-Id": "1"} {
		req.Header.Set(name, value)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := inject.Apply(req, m, c, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func TestWhatChecksInboundCallsIsPutOnNone(t *testing.T) {
	m := &claviger.AuthMethod{Key: "webhook", Type: claviger.AuthInbound, Fields: []claviger.Field{{Key: "signingSecret", Secret: true}}}
	req, err := http.NewRequest(http.MethodGet, "https://api.example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := inject.Apply(req, m, claviger.Credentials{"signingSecret": claviger.NewSecret([]byte("s3cr3t-value"))}, nil)
	if out != nil || !claviger.IsKind(err, claviger.KindConflict) {
		t.Fatalf("answered %v, %v: a call would go out without a credential", out, err)
	}
}
