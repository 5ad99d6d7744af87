package wire_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"claviger"
	"claviger/internal/wire"
)

// raw sends the bytes of a request as they are, which net/http's client would tidy.
func (s *server) raw(t *testing.T, request string) answer {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
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

func TestAbuse_041_PathsHaveOneReading(t *testing.T) {
	s := start(t, nil)
	get := func(target string) answer {
		return s.raw(t, "GET "+target+" HTTP/1.1\nHost: x\nConnection: close\n\n")
	}
	for _, target := range []string{
		"/healthz/../v1/widgets", "/v1/..;/widgets", "/v1/%2e%2e/widgets", "/v1/%2E/widgets", "//v1/widgets", "/v1//widgets",
		"/v1/./widgets", "/v1/widgets/..", "/v1%2fwidgets", "/v1/widgets;x=1", `/v1\widgets`, "/v1/widgets%00", "/v1%5cwidgets",
		"/v1/connections/c/proxy/../../widgets", "/v1/connections/c/proxy/%2e%2e/x", "/v1/connections/c/proxy/..%2fx",
		"/v1/connections/c/proxy/a%2f..%2fx", "/v1/connections/c/proxy/a//b", "/v1/connections/c/proxy/a%2f%2fb",
		"/v1/connections/c/proxy/..;x/b", "/v1/connections/c/proxy/%252e%252e/b", "/v1/connections/%2e%2e/proxy/b",
		"/v1/connections/c/proxy/a%5c..%5cb",
	} {
		if a := get(target); a.status != 400 || a.error(t).Code != "bad_path" {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
	for target, want := range map[string]string{
		"/v1/connections/c/proxy":                "GET /v1/connections/c/proxy 0",
		"/v1/connections/c/proxy/":               "GET /v1/connections/c/proxy/ 0",
		"/v1/connections/c/proxy/g%2Fp/x;v=1?a;": "GET /v1/connections/c/proxy/g%2Fp/x;v=1 0",
		"/v1/connections/c/proxy/a.b/..c/":       "GET /v1/connections/c/proxy/a.b/..c/ 0",
	} {
		if a := get(target); a.status != 200 || !strings.HasPrefix(a.body, want) {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
	for _, target := range []string{"/v1/widgets", "/v1/widgets?x=/docs", "/v1/widgets?/openapi.json"} {
		if a := get(target); a.status != 401 {
			t.Errorf("%s without a token: %d %s", target, a.status, a.body)
		}
	}
	if a := s.raw(t, "HEAD /v1/widgets HTTP/1.1\nHost: x\nUser-Agent: GoogleHC/1.0\nConnection: close\n\n"); a.status != 401 {
		t.Errorf("HEAD: %d", a.status)
	}
	if a := s.raw(t, "OPTIONS /v1/widgets HTTP/1.1\nHost: x\nConnection: close\n\n"); a.status != 405 {
		t.Errorf("OPTIONS: %d", a.status)
	}
}

func TestTargetsAndMethods(t *testing.T) {
	s := start(t, func(e *wire.Edge) { e.Hosts = []string{"x"} })
	for request, want := range map[string]int{
		"CONNECT example.com:443 HTTP/1.1\nHost: x\n\n":                                400,
		"GET http://example.com/v1/widgets HTTP/1.1\nHost: x\n\n":                      400,
		"OPTIONS * HTTP/1.1\nHost: x\n\n":                                              400,
		"TRACE /v1/widgets HTTP/1.1\nHost: x\n\n":                                      405,
		"TRACK /v1/connections/c/proxy/a HTTP/1.1\nHost: x\n\n":                        405,
		"GET /docs HTTP/1.1\nHost: evil.example\nConnection: close\n\n":                400,
		"GET /docs HTTP/1.1\nHost: X:8787\nConnection: close\n\n":                      200,
		"GET /v1/widgets HTTP/1.1\nHost: x\nX-Request-Id: mine\nConnection: close\n\n": 401,
	} {
		a := s.raw(t, request)
		if a.status != want {
			t.Errorf("%q: %d %s", request, a.status, a.body)
		}
		id := a.header.Get(wire.RequestIDHeader)
		if !claviger.ValidID("req", id) {
			t.Errorf("%q: request id %q", request, id)
		}
		for name, value := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
			if a.header.Get(name) != value {
				t.Errorf("%q: %s %q", request, name, a.header.Get(name))
			}
		}
		if want >= 400 {
			a.error(t)
		}
	}
}

func TestAbuse_030_OneCredentialInOnePlace(t *testing.T) {
	s := start(t, nil)
	for name, request := range map[string]string{
		"two Authorization": "GET /v1/widgets HTTP/1.1\nHost: x\nAuthorization: Bearer good\nAuthorization: Bearer good\n\n",
		"both headers":      "GET /v1/widgets HTTP/1.1\nHost: x\nAuthorization: Bearer good\napi-key: good\n\n",
		"access_token":      "GET /v1/widgets?access_token=good HTTP/1.1\nHost: x\n\n",
		"Token":             "GET /v1/widgets?a=1&Token=good HTTP/1.1\nHost: x\n\n",
		"api_key, embedded": "GET /api/v1/embedded/x?api_key=good HTTP/1.1\nHost: x\n\n",
		"encoded name":      "GET /v1/widgets?%74oken=good HTTP/1.1\nHost: x\n\n",
		"semicolons":        "GET /v1/widgets?a=1;token=good HTTP/1.1\nHost: x\n\n",
	} {
		if a := s.raw(t, request); a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	a := s.raw(t, "GET /v1/widgets HTTP/1.1\nHost: x\nCookie: Authorization=Bearer good; token=good\nConnection: close\n\n")
	if a.status != 401 {
		t.Errorf("cookie: %d %s", a.status, a.body)
	}
	a = s.raw(t, "GET /v1/connections/c/proxy/x?token=vendors HTTP/1.1\nHost: x\nConnection: close\n\n")
	if a.status != 200 {
		t.Errorf("a vendor's own parameter on the proxy: %d %s", a.status, a.body)
	}
}

func TestAbuse_287_ServerLimits(t *testing.T) {
	s := start(t, nil)
	if s.Config.ReadHeaderTimeout > 5e9 || s.Config.ReadHeaderTimeout <= 0 || s.Config.IdleTimeout <= 0 || s.Config.WriteTimeout != 0 {
		t.Errorf("timeouts %v %v %v", s.Config.ReadHeaderTimeout, s.Config.IdleTimeout, s.Config.WriteTimeout)
	}
	a := s.raw(t, "GET /docs HTTP/1.1\nHost: x\nX: "+strings.Repeat("a", 70<<10)+"\n\n")
	if a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("70 KiB of headers: %d", a.status)
	}
}

func TestRawBodiesAreStreamed(t *testing.T) {
	s := start(t, nil)
	a := s.do(t, "PUT", "/v1/connections/c/proxy/big", "", strings.Repeat("x", 3<<20))
	if a.status != 200 || !strings.Contains(a.body, " 3145728 <nil>") {
		t.Errorf("%d %s", a.status, a.body)
	}
}
