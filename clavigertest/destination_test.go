package clavigertest_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
)

// public is a resolver that knows only names that lead to this machine, however
// innocent they look; what it is asked is not what is tested here.
func public(t *testing.T) *net.Resolver {
	t.Helper()
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("there is no name server in this test")
	}}
}

func TestAbuse_103_140_144_HostsThatNoConnectorMayName(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{Resolver: public(t)})
	c := s.Client(s.Key)
	for _, base := range []string{
		"https://127.0.0.1/v2", "https://2130706433/v2", "https://0177.0.0.1/v2", "https://0x7f000001/v2", "https://0x7f.1/v2", "https://127.1/v2", "https://[::1]/v2",
		"https://[::ffff:127.0.0.1]/v2", "https://[::ffff:7f00:1]/v2", "https://[64:ff9b::7f00:1]/v2", "https://[::1%25lo]/v2", "https://localhost/v2", "https://localhost./v2",
		"https://LOCALHOST/v2", "https://foo.localhost/v2", "https://printer.local/v2", "https://metadata.google.internal/v2", "https://169.254.169.254/v2", "https://2852039166/v2",
		"https://0xa9fea9fe/v2", "https://[fd00:ec2::254]/v2", "https://10.0.0.1/v2", "https://100.64.0.1/v2", "https://0.0.0.0/v2", "https://[::]/v2", "https://１２７.0.0.1/v2",
		"https://127。0。0。1/v2", "https://ｌocalhost/v2", "http://127.0.0.1/v2", "http://vendor.example/v2", "HTTP://vendor.example/v2", "gopher://vendor.example/", "file:///etc/passwd",
		"ftp://vendor.example/", "unix:/run/x.sock", "//vendor.example/v2", "https:/vendor.example", "https:\\\\vendor.example", " https://vendor.example/", "https://user@vendor.example/v2",
		"https://vendor.example:0/v2", "https://vendor.example:22/v2", "https://vendor.example@evil.example/", "https://vendor.example%00.evil.example/", "https://vendor.example#@evil.example/",
		"https://vеndor.example/v2", "https://127.0.0.1.nip.io/v2", s.URL, strings.Replace(s.URL, "127.0.0.1", "localhost", 1),
	} {
		t.Run(base, func(t *testing.T) {
			host := base
			if _, rest, ok := strings.Cut(base, "://"); ok {
				host, _, _ = strings.Cut(rest, "/")
			}
			if h, _, err := net.SplitHostPort(host); err == nil {
				host = h
			}
			if _, err := c.PutConnector(t.Context(), "trap", acme.DocumentAt("trap", base, strings.Trim(host, "[]"))); err != nil {
				return // refused where it is written
			}
			conn, err := c.CreateConnection(t.Context(), api.CreateConnection{
				Connector: "trap", AuthMethod: "bearer", Name: base, Credentials: map[string]string{"token": "tk_to_be_trapped"},
			})
			if err == nil {
				t.Fatalf("connected: %s", conn.ID)
			}
			no := false
			conn, err = c.CreateConnection(t.Context(), api.CreateConnection{
				Connector: "trap", AuthMethod: "bearer", Name: base, Credentials: map[string]string{"token": "tk_to_be_trapped"}, Validate: &no,
			})
			if err != nil {
				return
			}
			a := s.Do(call{Token: s.Key, Method: http.MethodGet, Path: proxy(conn.ID, "/x")})
			if a.Status < 400 || a.Header.Get("Claviger-Error") == "" {
				t.Errorf("used: %d %s", a.Status, a.Body)
			}
			if strings.Contains(string(a.Body), "169.254") || strings.Contains(string(a.Body), "refused") {
				t.Errorf("the refusal tells what was found there: %s", a.Body)
			}
		})
	}
	if all := s.Dials.All(); len(all) != 0 {
		t.Errorf("dialled: %v", all)
	}
}

func TestAbuse_147_TheServerDoesNotCallItself(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{EgressAllow: "127.0.0.0/8,localhost"})
	c := s.Client(s.Key)
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{s.URL, s.URL + "/v1", s.AdminURL, "http://localhost:" + port, "http://127.0.0.2:" + port} {
		no := false
		if _, err := c.PutConnector(t.Context(), "mirror", acme.DocumentAt("mirror", base, strings.Split(strings.TrimPrefix(base, "http://"), ":")[0])); err != nil {
			continue
		}
		conn, err := c.CreateConnection(t.Context(), api.CreateConnection{
			Connector: "mirror", AuthMethod: "bearer", Name: base, Credentials: map[string]string{"token": s.Key}, Validate: &no,
		})
		if err != nil {
			continue
		}
		dials := len(s.Dials.All())
		a := s.Do(call{Token: s.Key, Method: http.MethodGet, Path: proxy(conn.ID, "/v1/whoami")})
		if base == "http://127.0.0.2:"+port {
			continue // nobody listens there: another machine, as far as anybody can tell
		}
		if a.Status < 400 || a.Header.Get("Claviger-Error") == "" || len(s.Dials.All()) != dials {
			t.Errorf("%s: %d %s, dialled %v", base, a.Status, a.Body, s.Dials.All()[dials:])
		}
	}
}

func TestAbuse_111_VariablesAreNoURLs(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{Resolver: public(t)})
	c := s.Client(s.Key)
	document := `{"key":"vary","name":"Vary","kind":"http","baseUrl":"https://${subdomain}.vendor.example/${tenant}","allowedHosts":["*.vendor.example"],
	"variables":[{"key":"subdomain","label":"Subdomain","type":"hostLabel","required":true},{"key":"tenant","label":"Tenant","type":"pathSegment","required":true}],
	"auth":[{"key":"key","type":"bearer","label":"Key","fields":[{"key":"token","label":"Token","secret":true,"required":true}],
	"inject":[{"in":"header","name":"Authorization","value":"Bearer ${token}"}],"test":{"method":"GET","path":"/me","expectStatus":[200]},"permissions":"none"}]}`
	if _, err := c.PutConnector(t.Context(), "vary", []byte(document)); err != nil {
		t.Fatal(err)
	}
	no := false
	create := func(subdomain, tenant string) *clavigertest.Answer {
		return s.Do(call{Token: s.Key, Method: "POST", Path: "/v1/connections", Body: api.CreateConnection{
			Connector: "vary", AuthMethod: "key", Name: "n", Credentials: map[string]string{"token": "tk_secret"}, Validate: &no,
			Settings: map[string]string{"subdomain": subdomain, "tenant": tenant},
		}})
	}
	for _, bad := range []string{
		"evil.com/#", "evil.com/?", "a@evil.com/", "evil.com:443/", "x.evil.com/..", `evil.com\`, "-a", strings.Repeat("a", 64), "", ".", "a。b", "a\r\nb", "a\tb", "a.b", "ä", "a%2eb", "${token}",
	} {
		if a := create(bad, "t"); a.Status != 422 || !strings.HasPrefix(a.Fault().Param, "settings.subdomain") {
			t.Errorf("subdomain %q: %d %s", bad, a.Status, a.Body)
		}
	}
	for _, bad := range []string{"..", ".", "a/b", "a%2fb", `a\b`, "a?b", "a#b", "", "a b", "a;b=c/..", "%2e%2e"} {
		if a := create("acme", bad); a.Status != 422 || !strings.HasPrefix(a.Fault().Param, "settings.tenant") {
			t.Errorf("tenant %q: %d %s", bad, a.Status, a.Body)
		}
	}
	made := create("acme", "t-1")
	if made.Status != 201 {
		t.Fatalf("a good one: %d %s", made.Status, made.Body)
	}
	// Another origin needs the secret again: it was given for this one.
	path := "/v1/connections/" + made.Field("id")
	if a := s.Do(call{Token: s.Key, Method: "PATCH", Path: path, Body: `{"settings":{"subdomain":"attacker"},"validate":false}`}); a.Status != 422 {
		t.Errorf("the credential was taken to another origin: %d %s", a.Status, a.Body)
	}
}
