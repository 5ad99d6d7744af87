package clavigertest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"claviger/clavigertest"
	"claviger/clavigertest/acme"
)

// connected is a server with one connection to a vendor.
type connected struct {
	*clavigertest.Server
	vendor *acme.Vendor
	id     string
	secret string
}

func connect(t *testing.T, o clavigertest.Options, secret string) *connected {
	t.Helper()
	v := acme.Start(t, secret)
	if o.EgressAllow == "" {
		o.EgressAllow = v.Addr()
	}
	s := clavigertest.Start(t, o)
	id := s.Connect(t, v, "acme", "key", map[string]string{"apiKey": secret})
	v.Forget()
	return &connected{Server: s, vendor: v, id: id, secret: secret}
}

// through sends a request through the connection.
func (c *connected) through(method, path string, header http.Header) *clavigertest.Answer {
	return c.Do(call{Token: c.Key, Method: method, Path: proxy(c.id, path), Header: header})
}

// nothingLeft checks that no socket was opened to anybody since dials were counted.
func (c *connected) nothingLeft(t *testing.T, dials int) {
	t.Helper()
	if n := len(c.vendor.Received()); n != 0 {
		t.Errorf("%d requests reached the vendor, the last: %s", n, c.vendor.Last(t).Dump())
	}
	if all := c.Dials.All(); len(all) != dials {
		t.Errorf("dialled: %v", all[dials:])
	}
}

func TestAbuse_106_107_RedirectsAreNotFollowed(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_redirect_secret")
	other := acme.Start(t)
	outside := []string{
		"http://" + other.Addr() + "/v2/steal", "http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data/", "https://" + c.vendor.Addr() + "/v2/x",
		"//" + other.Addr() + "/x", "http://user@" + c.vendor.Addr() + "/v2/x", c.URL + "/v1/whoami", "gopher://" + c.vendor.Addr(), "/v1/outside", "../../outside", "/v2evil/x",
	}
	inside := map[string]string{
		"/v2/next?page=2": proxy(c.id, "/next?page=2"),
		"http://" + c.vendor.Addr() + "/v2/next#part": proxy(c.id, "/next#part"),
	}
	redirect := func(status int, to string) *clavigertest.Answer {
		t.Helper()
		c.vendor.Behave(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Location"] = []string{to}
			w.WriteHeader(status)
		})
		c.vendor.Forget()
		dials := len(c.Dials.All())
		a := c.through("POST", "/start", nil)
		if a.Status != status || len(c.vendor.Received()) != 1 || len(other.Received()) != 0 {
			t.Errorf("%d to %s: status %d, %d requests here, %d there", status, to, a.Status, len(c.vendor.Received()), len(other.Received()))
		}
		for _, address := range c.Dials.All()[dials:] {
			if address != c.vendor.Addr() {
				t.Errorf("%d to %s: dialled %s", status, to, address)
			}
		}
		return a
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range outside {
			if a := redirect(status, to); a.Header.Get("Location") != "" {
				t.Errorf("%d to %s was passed on as %s", status, to, a.Header.Get("Location"))
			}
		}
		for to, want := range inside {
			if got := redirect(status, to).Header.Get("Location"); got != want && got != c.URL+want {
				t.Errorf("%d to %s was rewritten to %q, want %q", status, to, got, want)
			}
		}
	}
}

func TestAbuse_104_PathsStayBelowTheBase(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_path_secret")
	dials := len(c.Dials.All())
	for _, path := range []string{
		"/../admin", "/a/../../admin", "/..", "/.", "/./x", "/%2e%2e/admin", "/%2E%2e/admin", "/.%2e/admin", "/%2e./admin", "/%252e%252e/admin", "/%25252e%25252e/x",
		"/%2e%2e%2fadmin", "/..%2fadmin", "/..%5cadmin", "/a%5c..%5cb", "/.;/admin", "/..;/admin", "/..;a=b/admin", "/%2e%2e;/admin", "//admin", "/a//b", "/%2f%2fadmin",
		"/a%2f..%2f..%2fb", "/v1%2f..", "/a%00b", "/%c0%ae%c0%ae/admin", "/..%c0%afadmin", "/a\\b", "/..%20/admin", "/%0d%0aHost:%20evil/", "/a%09b",
	} {
		status, _ := c.raw(t, "GET "+proxy(c.id, path)+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+c.Key+"\r\nConnection: close\r\n\r\n")
		if status != 400 {
			t.Errorf("%s: %d", path, status)
		}
	}
	c.nothingLeft(t, dials)
	for sent, arrives := range map[string]string{
		"/a.b/c..d/...e": "/v2/a.b/c..d/...e", "/a%20b": "/v2/a%20b", "/%C3%A4": "/v2/%C3%A4", "": "/v2", "/": "/v2/", "/x/": "/v2/x/", "/a;v=1/b": "/v2/a;v=1/b", "/a%3Ab@c": "/v2/a%3Ab@c",
	} {
		if a := c.through("GET", sent, nil); a.Status != 200 || c.vendor.Last(t).Target != arrives {
			t.Errorf("%q: %d, arrived as %s, want %s", sent, a.Status, c.vendor.Last(t).Target, arrives)
		}
	}
}

func TestAbuse_105_MethodsThatAreNotForwarded(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_method_secret")
	dials := len(c.Dials.All())
	for method, want := range map[string]int{
		"CONNECT": 400, "TRACE": 405, "TRACK": 405, "get": 400, "GET\x00": 400, strings.Repeat("A", 10<<10): 400, "G@T": 400, "": 400,
	} {
		status, _ := c.raw(t, method+" "+proxy(c.id, "/x")+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+c.Key+"\r\nConnection: close\r\n\r\n")
		if status != want {
			t.Errorf("%.20q: %d, want %d", method, status, want)
		}
	}
	c.nothingLeft(t, dials)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PROPFIND"} {
		a := c.through(method, "/x", http.Header{"X-Http-Method-Override": {"DELETE"}, "X-Method-Override": {"DELETE"}})
		got := c.vendor.Last(t)
		if a.Status != 200 || got.Method != method || got.Header.Get("X-Http-Method-Override")+got.Header.Get("X-Method-Override") != "" {
			t.Errorf("%s: %d, arrived: %s", method, a.Status, got.Dump())
		}
	}
}

func TestAbuse_102_TheHostIsTheConnectors(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_host_secret")
	tail := "Authorization: Bearer " + c.Key + "\r\nConnection: close\r\n\r\n"
	path := proxy(c.id, "/x")
	for name, head := range map[string]string{
		"another":     "GET " + path + " HTTP/1.1\r\nHost: evil.example\r\n",
		"user":        "GET " + path + " HTTP/1.1\r\nHost: user@evil.example\r\n",
		"two":         "GET " + path + " HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n",
		"forwarded":   "GET " + path + " HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n",
		"rewrite":     "GET " + path + " HTTP/1.1\r\nHost: x\r\nX-Original-URL: /v1/whoami\r\nX-Rewrite-URL: http://evil.example/\r\n",
		"absolute":    "GET http://evil.example" + path + " HTTP/1.1\r\nHost: evil.example\r\n",
		"absolute2":   "GET http://" + c.Addr + path + " HTTP/1.1\r\nHost: " + c.Addr + "\r\n",
		"asterisk":    "OPTIONS * HTTP/1.1\r\nHost: x\r\n",
		"authority":   "GET evil.example:80 HTTP/1.1\r\nHost: x\r\n",
		"other paths": "GET " + proxy(c.id, "/http://evil.example/") + " HTTP/1.1\r\nHost: x\r\n",
		"at sign":     "GET " + proxy(c.id, "@evil.example/") + " HTTP/1.1\r\nHost: x\r\n",
	} {
		c.vendor.Forget()
		status, _ := c.raw(t, head+tail)
		for _, got := range c.vendor.Received() {
			if got.Host != c.vendor.Addr() || !strings.HasPrefix(got.Target, "/v2/") || strings.Contains(got.Dump(), "evil") {
				t.Errorf("%s: arrived: %s", name, got.Dump())
			}
		}
		if strings.HasPrefix(name, "absolute") && (status != 400 || len(c.vendor.Received()) != 0) {
			t.Errorf("%s: %d", name, status)
		}
		for _, address := range c.Dials.All() {
			if address != c.vendor.Addr() {
				t.Errorf("%s: dialled %s", name, address)
			}
		}
	}
}

func TestAbuse_119_120_HeadersOfTheCaller(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_header_secret")
	for name, header := range map[string]string{
		"own":           "X-API-Key: mine\r\nx-api-key: mine\r\nX_Api_Key: mine\r\nCookie: a=mine\r\nProxy-Authorization: Basic mine\r\nX-Amz-Security-Token: mine\r\n",
		"close auth":    "Connection: close, Authorization\r\n",
		"close key":     "Connection: X-Api-Key, Host, Content-Length, keep-alive\r\nX-Other: 1\r\n",
		"hop by hop":    "Keep-Alive: timeout=5\r\nTE: trailers, deflate\r\nTrailer: X-Api-Key\r\nProxy-Connection: keep-alive\r\nConnection: Proxy-Connection\r\n",
		"named by hop":  "Connection: X-Secret-Hop\r\nX-Secret-Hop: mine\r\n",
		"tracing":       "Traceparent: 00-mine-1\r\nBaggage: mine=1\r\nX-Forwarded-For: 10.0.0.1\r\nForwarded: for=mine\r\nVia: mine\r\n",
		"two spellings": "X-Api-Key: mine\r\nX_API_Key: mine2\r\n",
	} {
		c.vendor.Forget()
		status, text := c.raw(t, "GET "+proxy(c.id, "/x")+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+c.Key+"\r\n"+header+"\r\n")
		if status != 200 {
			t.Errorf("%s: %d %s", name, status, text)
			continue
		}
		got := c.vendor.Last(t)
		if keys := got.Header.Values("X-Api-Key"); len(keys) != 1 || keys[0] != c.secret {
			t.Errorf("%s: the vendor got the credential as %v", name, keys)
		}
		for _, no := range []string{"mine", c.Key, "clv_", "10.0.0.1"} {
			if strings.Contains(got.Dump(), no) {
				t.Errorf("%s: %q reached the vendor: %s", name, no, got.Dump())
			}
		}
	}
	if a := c.through("GET", "/x", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"h2c"}}); a.Status != 400 || a.Header.Get("Claviger-Error") != "upgrade_unsupported" {
		t.Errorf("upgrade: %d %s", a.Status, a.Body)
	}
}

func TestTheCallersKeyMayStandWhereTheSDKPutsIt(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_sdk_secret")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Key+":"))
	for name, header := range map[string]http.Header{
		"its own header": {"X-Api-Key": {c.Key}}, "token scheme": {"Authorization": {"token " + c.Key}}, "basic": {"Authorization": {basic}}, "api-key": {"Api-Key": {c.Key}},
	} {
		a := c.Do(call{Method: "GET", Path: proxy(c.id, "/x"), Header: header})
		if got := c.vendor.Last(t); a.Status != 200 || strings.Contains(got.Dump(), "clv_") || got.Header.Get("X-Api-Key") != c.secret || got.Header.Get("Authorization") != "" {
			t.Errorf("%s: %d, arrived: %s", name, a.Status, got.Dump())
		}
	}
	if a := c.Do(call{Token: c.Key, Method: "GET", Path: proxy(c.id, "/x"), Header: http.Header{"X-Api-Key": {c.Key}}}); a.Status != 400 {
		t.Errorf("in two places: %d", a.Status)
	}
	if a := c.Do(call{Method: "GET", Path: proxy(c.id, "/x?key="+c.Key)}); a.Status != 400 {
		t.Errorf("in the query: %d", a.Status)
	}
}

func TestAbuse_124_TheInjectedParameterStandsAlone(t *testing.T) {
	v := acme.Start(t, "ak_query_secret")
	s := clavigertest.Start(t, clavigertest.Options{EgressAllow: v.Addr()})
	id := s.Connect(t, v, "acme", "query", map[string]string{"apiKey": "ak_query_secret"})
	for query, want := range map[string]int{
		"a=1&api_key=mine": 200, "api_key=mine&api_key=mine2": 200, "api%5Fkey=mine": 200, "API_KEY=mine": 200, "a=1;api_key=mine": 200, "api_key=mine;a=1": 200, "api%255Fkey=mine": 200, "a=%zz": 200,
		strings.Repeat("a=1&", 10_001): 400, "api_key[]=mine": 200,
	} {
		v.Forget()
		a := s.Do(call{Token: s.Key, Method: "GET", Path: proxy(id, "/x?"+query)})
		if a.Status != want && !(want == 400 && a.Status == 414) {
			t.Errorf("%.40s: %d %.200s", query, a.Status, a.Body)
		}
		if want != 200 {
			if n := len(v.Received()); n != 0 {
				t.Errorf("%.40s: reached the vendor", query)
			}
			continue
		}
		_, sent, _ := strings.Cut(v.Last(t).Target, "?")
		if strings.Contains(sent, "mine") || strings.Count(sent, "api_key=ak_query_secret") != 1 || strings.Count(strings.ToLower(sent), "api") != 1 {
			t.Errorf("%s: arrived as %s", query, sent)
		}
	}
}

func TestAbuse_125_126_EchoesAreBlotted(t *testing.T) {
	const secret = `ak_echo+/="secret" 123456`
	c := connect(t, clavigertest.Options{}, secret)
	c.vendor.Behave(func(w http.ResponseWriter, r *http.Request) {
		s := acme.SecretOf(r)
		w.Header()["X-Url"] = []string{url.QueryEscape(s)}
		w.Header()["Set-Cookie"] = []string{"a=" + url.QueryEscape(s)}
		for _, name := range []string{"Clear-Site-Data", "Access-Control-Allow-Origin", "Strict-Transport-Security", "Content-Security-Policy", "Service-Worker-Allowed", "Alt-Svc"} {
			w.Header().Set(name, "*")
		}
		acme.Echo(w, r)
		flush := http.NewResponseController(w)
		for _, b := range []byte(s + url.QueryEscape(s) + url.PathEscape(s)) { // one byte at a time
			_, _ = w.Write([]byte{b})
			_ = flush.Flush()
		}
	})
	quoted, _ := json.Marshal(secret)
	forms := []string{secret, strings.Trim(string(quoted), `"`), base64.StdEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret), url.PathEscape(secret)}
	check := func(where string, a *clavigertest.Answer) {
		t.Helper()
		text := fmt.Sprint(a.Header) + string(a.Body)
		for _, form := range forms {
			if strings.Contains(text, form) {
				t.Errorf("%s: holds %s: %s", where, form, text)
			}
		}
	}
	a := c.through("GET", "/echo", nil)
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	check("proxy", a)
	for _, name := range []string{"Set-Cookie", "Clear-Site-Data", "Access-Control-Allow-Origin", "Strict-Transport-Security", "Service-Worker-Allowed", "Alt-Svc"} {
		if v := a.Header.Get(name); v != "" {
			t.Errorf("%s was passed on: %s", name, v)
		}
	}
	c.vendor.Behave(acme.Echo)
	run := c.Do(call{Token: c.Key, Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme.echo", "connectionId": c.id}})
	if run.Status != 200 {
		t.Errorf("%d %s", run.Status, run.Body)
	}
	check("action", run)
	c.vendor.Behave(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "wrong key: "+acme.SecretOf(r))
	})
	check("test", c.Do(call{Token: c.Key, Method: "POST", Path: "/v1/connections/" + c.id + "/test"}))
	check("connection", c.Do(call{Token: c.Key, Method: "GET", Path: "/v1/connections/" + c.id}))
}
