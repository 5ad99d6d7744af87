package egress

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"claviger"
)

func TestAbuse_104_PathEscapes(t *testing.T) {
	for _, p := range []string{
		"..", ".", "/..", "/.", "/../admin", "/a/../b", "/a/..", "/./a", "/a/./b", "a/..", "/%2e%2e/admin", "/%2E%2E/admin", "/.%2e/", "/%2e./", "/%2e", "%2e%2e%2f", "..%2f",
		"..%5c", "/..%5Cadmin", "/v1%2f..", "/v1%2F..%2F..", "/a%2fb", "/a%5cb", "/a\\b", "\\", "/..\\", "//", "//evil.example", "/a//b", "/a//", "///",
		"/.;/", "/..;/", "/..;x=y/admin", "/.;a", "/%2e%2e;/", "/..%3b/", "/%2e%2e%3bx/", "/..%20/", "/.. /", "/%20../x\x00", "/..%20%20",
		"/%252e%252e/", "/%252e%252e%252f", "/a%252fb", "/a%255cb", "/%25252e%25252e/", "/a%25252fb", "/%2525252525252e", "/x%25%252f..",
		"/a%00b", "/%00", "/a%0d%0aX:%20y", "/a%0a", "/a%09", "/a%7f", "/a\x00", "/a\n", "/a\r", "/a\t", "/a b", "/a\x7f",
		"/%c0%ae%c0%ae/", "/%c0%af", "/%e0%80%ae", "/%ff", "/é", "/a%", "/a%2", "/a%zz", "/a%u002e", "/%", "/a?b", "/a#b", "/" + strings.Repeat("a", 8<<10),
	} {
		err := CheckPath(p)
		if e := claviger.AsError(err); err == nil || e.Kind != claviger.KindUnreadable || e.FineCode() != "invalid_path" || e.Param != "path" {
			t.Errorf("%q: %v", p, err)
		}
		base, _ := url.Parse("https://api.acme.example/v1")
		if u, err := Join(base, p, ""); err == nil {
			t.Errorf("%q joined to %s", p, u)
		}
	}
}

func TestCheckPathAccepts(t *testing.T) {
	for _, p := range []string{
		"", "/", "/a", "a", "a/b", "/a/", "/a/b/c", "/contacts/42", "/v1.2/items", "/.well-known/x", "/...", "/..a", "/a..", "/a..b", "/a.b.c", "/x;y=1/z", "/%20", "/a%20b", "/100%25",
		"/100%2525", "/a%3Fb", "/a%23b", "/a%3Bb", "/%C3%A9", "/a@b", "/a:b", "/a+b", "/a=b&c", "/~x", "/a,b", "/(x)", "/a%40b", "/..%41", "/a!$'*", "/users/ada%40x.example/messages",
	} {
		if err := CheckPath(p); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func TestJoin(t *testing.T) {
	for _, c := range []struct{ base, path, query, want string }{
		{"https://api.acme.example", "", "", "https://api.acme.example"},
		{"https://api.acme.example", "/x", "", "https://api.acme.example/x"},
		{"https://api.acme.example/v1", "", "a=1", "https://api.acme.example/v1?a=1"},
		{"https://api.acme.example/v1/", "x", "", "https://api.acme.example/v1/x"},
		{"https://api.acme.example/v1", "/", "", "https://api.acme.example/v1/"},
		{"https://api.acme.example:8443/v%201", "/a%20b/%C3%A9", "q=%zz;b&&=", "https://api.acme.example:8443/v%201/a%20b/%C3%A9?q=%zz;b&&="},
		{"https://api.acme.example/v1", `/{id}|"<%40>`, "", "https://api.acme.example/v1/%7Bid%7D%7C%22%3C%40%3E"},
		{"https://api.acme.example/v1", "/a!$&'()*+,;=:@b", "", "https://api.acme.example/v1/a!$&'()*+,;=:@b"},
	} {
		base, err := url.Parse(c.base)
		if err != nil {
			t.Fatal(err)
		}
		u, err := Join(base, c.path, c.query)
		if err != nil || u.String() != c.want {
			t.Errorf("Join(%s, %q, %q) = %v, %v; want %s", c.base, c.path, c.query, u, err, c.want)
		}
	}
}

// FuzzJoin: whatever is accepted stays below the base in every reading.
func FuzzJoin(f *testing.F) {
	for _, p := range []string{"/a", "/../x", "/%2e%2e/x", "/a%2fb", "/..;/x", "//evil", "/%252e", "/a?b", "@evil", ":80"} {
		f.Add(p, "a=b")
	}
	f.Fuzz(func(t *testing.T, p, query string) {
		base := &url.URL{Scheme: "https", Host: "api.acme.example", Path: "/v1/base"}
		u, err := Join(base, p, query)
		if err != nil {
			return
		}
		if u.Scheme != "https" || u.Host != "api.acme.example" || u.User != nil || u.RawQuery != query {
			t.Fatalf("%q, %q: %s", p, query, u)
		}
		sent := u.EscapedPath()
		if want := "/v1/base" + escapeBare(p); sent != want && sent != "/v1/base/"+escapeBare(p) {
			t.Fatalf("%q is sent as %q", p, sent)
		}
		for range 5 { // a server may decode any number of times, then clean
			if sent = unescape(sent); strings.ContainsAny(sent, "\\\x00\r\n") {
				t.Fatalf("%q hides %q", p, sent)
			}
			if cleaned := path.Clean(sent); cleaned != "/v1/base" && !strings.HasPrefix(cleaned, "/v1/base/") {
				t.Fatalf("%q leaves the base: %q", p, cleaned)
			}
		}
	})
}

func TestAbuse_124_Query(t *testing.T) {
	for name, query := range map[string]string{
		"too many":            strings.Repeat("a&", 10_000) + "api_key=attacker",
		"too many semicolons": strings.Repeat(";", 10_000),
		"too long":            strings.Repeat("a", 64<<10+1),
		"line end":            "a=1\r\nX: y",
		"space":               "a=1 HTTP/1.0",
		"fragment":            "a=1#b",
		"NUL":                 "a\x00",
	} {
		if e := claviger.AsError(CheckQuery(query)); e == nil || e.Kind != claviger.KindUnreadable || e.FineCode() != "invalid_query" {
			t.Errorf("%s: %v", name, e)
		}
	}
	for _, query := range []string{"", "a=1;b=2&c=%zz", "&&", "a[]=1&a[]=2", "q=%20+x", strings.Repeat("a&", 9_999)} {
		if err := CheckQuery(query); err != nil {
			t.Errorf("%.30q: %v", query, err)
		}
	}
	for query, want := range map[string]string{
		"":                                      "",
		"api_key=x":                             "",
		"a=1&api_key=x&b=2":                     "a=1&b=2",
		"api_key=x&api_key=y&a=1":               "a=1",
		"a=1;api_key=x;b=2":                     "a=1;b=2",
		"a=1&b=2;api_key=x":                     "a=1&b=2",
		"a=%zz&%61pi_key=x":                     "a=%zz",
		"API_KEY=x&Api_Key=y&a":                 "a",
		"api%5Fkey=x&api%5fkey&a":               "a",
		"api%255Fkey=x&a":                       "a",
		"api.key=x&api+key=y&api%20key=z&a":     "a",
		"api_key[]=x&api_key%5B0%5D=y&a":        "a",
		"+api_key=x&api_key%00z=y&a":            "a",
		"api_key":                               "",
		"my_api_key=1&api_keys=2&x=api_key&q=;": "my_api_key=1&api_keys=2&x=api_key&q=;",
		"a=1;b=2&c=%zz&&d=":                     "a=1;b=2&c=%zz&&d=",
	} {
		if got := StripQuery(query, "api_key"); got != want {
			t.Errorf("StripQuery(%q) = %q, want %q", query, got, want)
		}
	}
	if got := StripQuery("a=1&b=2"); got != "a=1&b=2" {
		t.Errorf("without names: %q", got)
	}
	if got := StripQuery("k=1&s=2&x=3", "k", "S"); got != "x=3" {
		t.Errorf("two names: %q", got)
	}
}

func FuzzStripQuery(f *testing.F) {
	for _, q := range []string{"api_key=x", "a;api_key=x", "%61pi_key", "a=%zz&b"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		out := StripQuery(query, "api_key")
		if again := StripQuery(out, "api_key"); again != out {
			t.Fatalf("%q: %q, then %q", query, out, again)
		}
		values, _ := url.ParseQuery(out)
		if values.Has("api_key") {
			t.Fatalf("%q: %q still has the parameter", query, out)
		}
		if old, err := url.ParseQuery(query); err == nil && !values.Has("api_key") {
			for name := range values {
				if !old.Has(name) {
					t.Fatalf("%q: %q has a new parameter %q", query, out, name)
				}
			}
		}
	})
}

func TestRewriteLocation(t *testing.T) {
	base, _ := url.Parse("https://api.acme.example/v1")
	sent, _ := url.Parse("https://api.acme.example/v1/jobs/7?x=1")
	const prefix = "/v1/connections/conn_1/proxy"
	for location, want := range map[string]string{
		"https://api.acme.example/v1/jobs/8":       prefix + "/jobs/8",
		"https://API.acme.example:443/v1/jobs?a=b": prefix + "/jobs?a=b",
		"/v1/jobs/9#part":                          prefix + "/jobs/9#part",
		"//api.acme.example/v1":                    prefix,
		"8":                                        prefix + "/jobs/8",
		"?page=2":                                  prefix + "/jobs/7?page=2",
		"../other":                                 prefix + "/other",
		"/v1/a%20b":                                prefix + "/a%20b",
	} {
		if got, ok := RewriteLocation(location, sent, base, prefix); !ok || got != want {
			t.Errorf("%q: %q, %v; want %q", location, got, ok, want)
		}
	}
	for _, location := range []string{
		"", "https://evil.example/v1/jobs", "http://api.acme.example/v1/jobs", "https://api.acme.example:8443/v1/x", "https://user@api.acme.example/v1/x",
		"https://sub.api.acme.example/v1/x", "/v2/x", "/v10", "/", "/v1/../admin", "../../admin", "//evil.example/v1/", "\\\\evil.example", "/\\evil.example", "/v1/%2e%2e/x", "/v1/a%2fb", "/v1//x",
		"javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "/v1/x\r\nX: y", "/v1/x y", "mailto:a@b", "https:api.acme.example/v1", "https://api.acme.example.evil/v1/x", "%zz",
	} {
		if got, ok := RewriteLocation(location, sent, base, prefix); ok && location != "/v1/../admin" || ok && !strings.HasPrefix(got, prefix) {
			t.Errorf("%q became %q", location, got)
		}
	}
}
