package egress

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"claviger"
	"claviger/clavigertest/resolver"
)

func echoHost() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host+" "+r.RequestURI) })
}

func TestDo(t *testing.T) {
	v := newVendor(t, echoHost(), nil)
	for range 2 {
		resp, err := v.get(t, v.URL+"/a%2Fb?q=1;2&z=%zz")
		if err != nil {
			t.Fatal(err)
		}
		body, err := ReadAll(resp.Body, 1000)
		if err != nil || resp.StatusCode != 200 || string(body) != "127.0.0.1:"+v.port+" /a%2Fb?q=1;2&z=%zz" {
			t.Fatalf("%d %q, %v", resp.StatusCode, body, err)
		}
		if resp.ProtoMajor != 2 {
			t.Errorf("HTTP/%d, want 2", resp.ProtoMajor)
		}
		_ = resp.Body.Close()
	}
	if v.dials.count() != 1 {
		t.Errorf("%d sockets for two calls, want one kept alive", v.dials.count())
	}
}

// TestAbuse_102_HostIsPinned gives Do every way to name another host than the
// credential's, or the same in another spelling.
func TestAbuse_102_HostIsPinned(t *testing.T) {
	v := newVendor(t, echoHost(), nil)
	v.dest.Origin = "https://example.com:" + v.port
	t.Run("same", func(t *testing.T) {
		for _, authority := range []string{"example.com", "EXAMPLE.com", "example.com.", "Example.Com."} {
			for _, host := range []string{"", "example.com:" + v.port, "EXAMPLE.COM:" + v.port} {
				req := request(t, "https://"+authority+":"+v.port+"/")
				req.Host = host
				before := *req.URL
				resp, err := v.client.Do(t.Context(), v.dest, req)
				if err != nil {
					t.Fatalf("%s, Host %q: %v", authority, host, err)
				}
				body, _ := ReadAll(resp.Body, 1000)
				_ = resp.Body.Close()
				if want := "example.com:" + v.port + " /"; string(body) != want {
					t.Errorf("%s, Host %q: the vendor saw %q, want %q", authority, host, body, want)
				}
				if *req.URL != before || req.Host != host {
					t.Error("Do changed the caller's request")
				}
			}
		}
	})
	t.Run("other", func(t *testing.T) {
		dials := v.dials.count()
		for _, host := range []string{
			"evil.example", "example.com", "example.com:1", "user@example.com:" + v.port, "example.com:" + v.port + "\r\nX: y",
			"example.com:" + v.port + " ", "éxample.com:" + v.port, "example.com:0" + v.port, "xample.com:" + v.port,
		} {
			req := request(t, "https://example.com:"+v.port+"/")
			req.Host = host
			if _, err := v.client.Do(t.Context(), v.dest, req); code(t, err) != "destination_not_allowed" {
				t.Errorf("Host %q: %v", host, err)
			}
		}
		if v.dials.count() != dials {
			t.Error("a refused request opened a socket")
		}
	})
}

func TestAbuse_103_LookalikeHosts(t *testing.T) {
	dials := &recorder{}
	c := New(Config{OnDial: dials.onDial, Resolver: resolver.Start(t, func(string, int) []string { return []string{"93.184.216.34"} })})
	dest := Destination{Key: "k", Origin: "https://vendor.com", Hosts: []string{"*.vendor.com", "files.vendor.net"}}
	for _, host := range []string{
		"evilvendor.com", "vendor.com.evil", "vendor.com@evil", "vendor.com%00.evil", "vendor.com#@evil", "vendor.com\\.evil",
		"xn--endor-9q5b.com", "ｖendor.com", "vendor。com", "vendor.com。", "a。vendor.com", "vendor.co", "endor.com", ".vendor.com", "..vendor.com",
		"*.vendor.com", "vendor..com", "vendor.com..", "vendor.com:444", "vendor.com:", "vendor.com:0443", "vendor.com:+443", "a.files.vendor.net",
		"vendor.net", "evilvendor.com.vendor.com.evil", "vendor.com ", " vendor.com", "vendor.com\t", "vendor.com\x00", "vendor.com/x", "\u212a.vendor.com",
		"a_b.-x.vendor.com", strings.Repeat("a", 64) + ".vendor.com", strings.Repeat("a.", 130) + "vendor.com", "",
	} {
		req := &http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: host, Path: "/"}, Header: http.Header{}}
		if _, err := c.Do(t.Context(), dest, req); code(t, err) != "destination_not_allowed" {
			t.Errorf("%q: %v", host, err)
		}
	}
	req := request(t, "https://vendor.com/")
	req.URL.User = url.User("vendor.com")
	if _, err := c.Do(t.Context(), dest, req); code(t, err) != "destination_not_allowed" {
		t.Errorf("user information: %v", err)
	}
	req = request(t, "https://vendor.com/")
	req.URL.Opaque = "//evil.example/"
	if _, err := c.Do(t.Context(), dest, req); code(t, err) != "destination_not_allowed" {
		t.Errorf("opaque URL: %v", err)
	}
	dials.nothingLeft(t)
	for _, host := range []string{"vendor.com", "VENDOR.COM", "vendor.com.", "vendor.com:443", "a.vendor.com", "a.b.vendor.com", "files.vendor.net"} {
		if _, err := c.admit(dest, &http.Request{URL: &url.URL{Scheme: "https", Host: host}}); err != nil {
			t.Errorf("%q is the vendor's own and refused: %v", host, err)
		}
	}
}

func TestAbuse_144_Schemes(t *testing.T) {
	dials := &recorder{}
	c := New(Config{OnDial: dials.onDial, Allow: mustAllow(t, "dev.internal:8080"), Resolver: resolver.Start(t, func(string, int) []string { return nil })})
	dest := Destination{Key: "k", Origin: "https://vendor.com"}
	for _, u := range []url.URL{
		{Scheme: "http", Host: "vendor.com"},
		{Scheme: "HTTP", Host: "vendor.com"},
		{Scheme: "hTTps", Host: "vendor.com"},
		{Scheme: "gopher", Host: "vendor.com"},
		{Scheme: "file", Path: "/etc/passwd"},
		{Scheme: "file", Host: "vendor.com", Path: "/etc/passwd"},
		{Scheme: "ftp", Host: "vendor.com"},
		{Scheme: "unix", Path: "/run/x.sock"},
		{Scheme: "dict", Host: "vendor.com:2628"},
		{Scheme: "", Host: "vendor.com"},
		{Scheme: "https", Host: ""},
		{Scheme: "https", Opaque: "vendor.com"},
		{Scheme: " https", Host: "vendor.com"},
		{Scheme: "\thttps", Host: "vendor.com"},
		{Scheme: "https", Host: "vendor.com:0"},
		{Scheme: "https", Host: "vendor.com:22"},
		{Scheme: "https", Host: "vendor.com:25"},
		{Scheme: "https", Host: "vendor.com:80"},
		{Scheme: "https", Host: "vendor.com:6379"},
		{Scheme: "https", Host: "vendor.com:65979"},
	} {
		req := &http.Request{Method: "GET", URL: &u, Header: http.Header{}}
		if _, err := c.Do(t.Context(), dest, req); code(t, err) != "destination_not_allowed" {
			t.Errorf("%q: %v", u.String(), err)
		}
	}
	for _, origin := range []string{"http://vendor.com", "HTTPS://vendor.com", "//vendor.com", "vendor.com", "gopher://vendor.com", "https:/vendor.com", "https:\\\\vendor.com", ""} {
		req := request(t, "http://vendor.com/")
		if _, err := c.Do(t.Context(), Destination{Key: "k", Origin: origin}, req); code(t, err) != "destination_not_allowed" {
			t.Errorf("origin %q: %v", origin, err)
		}
	}
	dials.nothingLeft(t)
	if _, err := c.Do(t.Context(), Destination{Key: "k", Origin: "http://dev.internal:8080"}, request(t, "http://dev.internal:8080/")); code(t, err) != "unreachable" {
		t.Errorf("a host that the operator opened: %v; want only its missing name to matter", err)
	}
}

func TestAbuse_140_TextForms(t *testing.T) {
	dials := &recorder{}
	lookups := atomic.Int32{}
	c := New(Config{OnDial: dials.onDial, Resolver: resolver.Start(t, func(string, int) []string { lookups.Add(1); return []string{"127.0.0.1"} })})
	try := func(host string) string {
		origin := "https://" + host
		req := &http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: host, Path: "/"}, Header: http.Header{}}
		_, err := c.Do(t.Context(), Destination{Key: "k", Origin: origin}, req)
		return code(t, err)
	}
	for _, host := range []string{
		"2130706433", "0x7f000001", "0X7F000001", "0177.0.0.1", "0x7f.0.0.1", "0x7f.1", "127.1", "127.0.1", "127.0.0.1", "0", "0.0.0.0", "127.0.0.01",
		"１２７.０.０.１", "127。0。0。1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:8.8.8.8]", "[::1%25eth0]", "[fe80::1%eth0]", "[0:0:0:0:0:0:0:1]", "[::]", "::1", "[::1",
		"localhost", "localhost.", "LOCALHOST", "foo.localhost", "foo.localhost.", "printer.local", "x.internal", "metadata.google.internal", "metadata.google.internal.",
		"metadata", "kubernetes", "kubernetes.default.svc.cluster.local", "router.lan", "nas.home.arpa", "intranet", "a.localdomain", "evil.com.0x7f000001", "a.127",
	} {
		if got := try(host); got != "destination_not_allowed" {
			t.Errorf("%q: %q", host, got)
		}
	}
	if lookups.Load() != 0 {
		t.Errorf("%d names were looked up", lookups.Load())
	}
	for _, host := range []string{"127.0.0.1.nip.io", "localtest.me", "7f000001.nip.io"} {
		if got := try(host); got != "destination_not_allowed" {
			t.Errorf("%q: %q", host, got)
		}
	}
	dials.nothingLeft(t)
}

func TestAbuse_106_RedirectsAreNotFollowed(t *testing.T) {
	var targets atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { targets.Add(1) }))
	defer elsewhere.Close()
	for _, status := range []int{300, 301, 302, 303, 307, 308} {
		for _, location := range []string{
			elsewhere.URL + "/steal", "http://169.254.169.254/latest/meta-data/", "https://sub.example.com/", "/next", "//evil.example/", "file:///etc/passwd",
		} {
			var calls atomic.Int32
			v := newVendor(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			}), nil)
			resp, err := v.get(t, v.URL+"/start")
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != status || resp.Header.Get("Location") != location || calls.Load() != 1 || v.dials.count() != 1 {
				t.Errorf("%d to %s: status %d, %d calls, %d sockets", status, location, resp.StatusCode, calls.Load(), v.dials.count())
			}
		}
	}
	if targets.Load() != 0 {
		t.Errorf("%d requests reached another host", targets.Load())
	}
}

// TestAbuse_107_SecretsStayOnRedirect sends secrets where Go's own client would
// carry them on: a header of the vendor's, the query and a body.
func TestAbuse_107_SecretsStayOnRedirect(t *testing.T) {
	var leaked atomic.Value
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		leaked.Store(r.URL.String() + r.Header.Get("X-Api-Key") + string(body))
	}))
	defer elsewhere.Close()
	v := newVendor(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/?"+r.URL.RawQuery, http.StatusTemporaryRedirect)
	}), nil)
	req := request(t, v.URL+"/?api_key=sk_secret")
	req.Method, req.Body, req.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader("token=sk_secret")), 15
	req.Header.Set("X-Api-Key", "sk_secret")
	resp, err := v.client.Do(t.Context(), v.dest, req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect || leaked.Load() != nil || v.dials.count() != 1 {
		t.Fatalf("status %d, %d sockets, elsewhere saw %v", resp.StatusCode, v.dials.count(), leaked.Load())
	}
}

// TestAbuse_145_RedirectChainToPrivate: the first hop is answered as it is, and the
// second, if somebody asks for it, is a new request that the policy refuses.
func TestAbuse_145_RedirectChainToPrivate(t *testing.T) {
	v := newVendor(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Refresh", "0; url=http://127.0.0.1:1/")
		w.Header().Set("Location", "https://10.0.0.1/")
		w.WriteHeader(http.StatusFound)
	}), nil)
	resp, err := v.get(t, v.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	next := resp.Header.Get("Location")
	CleanResponseHeader(resp.Header)
	if v.dials.count() != 1 || resp.Header.Get("Refresh") != "" {
		t.Errorf("%d sockets; Refresh %q", v.dials.count(), resp.Header.Get("Refresh"))
	}
	for _, hop := range []string{next, strings.Replace(v.URL, "https", "http", 1), "https://127.0.0.1:1/"} {
		if _, err := v.get(t, hop); code(t, err) != "destination_not_allowed" {
			t.Errorf("hop to %s: %v", hop, err)
		}
	}
	if _, err := v.client.Do(t.Context(), Destination{Key: "k", Origin: "https://10.0.0.1"}, request(t, next)); code(t, err) != "destination_not_allowed" || v.dials.count() != 1 {
		t.Errorf("a connector of that origin: %v, %d sockets", err, v.dials.count())
	}
}

func TestSelfOriginsAreRefused(t *testing.T) {
	v := newVendor(t, echoHost(), func(c *Config) { c.SelfOrigins = []string{"https://Example.com", "http://127.0.0.1:8788"} })
	for _, origin := range []string{"https://example.com", "https://127.0.0.1:8788"} {
		if _, err := v.client.Do(t.Context(), Destination{Key: "k", Origin: origin}, request(t, origin+"/")); code(t, err) != "destination_not_allowed" {
			t.Errorf("%s: %v", origin, err)
		}
	}
	v.dials.nothingLeft(t)
}

func TestMethods(t *testing.T) {
	v := newVendor(t, echoHost(), nil)
	for _, method := range []string{"CONNECT", "connect", "TRACE", "TRACK", "Track", "GET /x", "GET\x00", "G\r\nX", strings.Repeat("M", 10<<10)} {
		req := request(t, v.URL)
		req.Method = method
		if _, err := v.client.Do(t.Context(), v.dest, req); code(t, err) != "invalid_method" {
			t.Errorf("%.20q: %v", method, err)
		}
	}
	v.dials.nothingLeft(t)
	req := request(t, v.URL)
	req.Method = "PROPFIND"
	resp, err := v.client.Do(t.Context(), v.dest, req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// TestAbuse_146_PolicyIsTheInstances: what tenants fill has no field that could
// weaken the policy.
func TestAbuse_146_PolicyIsTheInstances(t *testing.T) {
	var fields []string
	for f := range reflect.TypeFor[Destination]().Fields() {
		fields = append(fields, f.Name)
	}
	if want := []string{"Key", "Origin", "Hosts", "Certificate", "Patience"}; !reflect.DeepEqual(fields, want) {
		t.Errorf("Destination has %v, want %v: anything else must not open what the instance closed", fields, want)
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[claviger.Connector](), reflect.TypeFor[claviger.Connection](), reflect.TypeFor[claviger.AuthMethod](), reflect.TypeFor[claviger.Organization](),
	} {
		for f := range typ.Fields() {
			for _, word := range []string{"private", "insecure", "verify", "resolver", "proxy", "rootca", "egress"} {
				if strings.Contains(strings.ToLower(f.Name), word) {
					t.Errorf("%s.%s looks like a switch of the egress policy", typ.Name(), f.Name)
				}
			}
		}
	}
	dials := &recorder{}
	c := New(Config{OnDial: dials.onDial})
	dest := Destination{Key: "k", Origin: "https://10.0.0.1", Hosts: []string{"10.0.0.1", "*", "*.internal", "169.254.169.254"}}
	for _, target := range []string{"https://10.0.0.1/", "https://x.internal/", "https://169.254.169.254/", "http://10.0.0.1/"} {
		if _, err := c.Do(t.Context(), dest, request(t, target)); code(t, err) != "destination_not_allowed" {
			t.Errorf("%s: %v", target, err)
		}
	}
	dials.nothingLeft(t)
}

// TestAbuse_133_EnvironmentIsIgnored: net/http reads these variables once, so the
// transport itself is looked at too.
func TestAbuse_133_EnvironmentIsIgnored(t *testing.T) {
	var proxied atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied.Add(1) }))
	defer proxy.Close()
	log := t.TempDir() + "/keys"
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("SSLKEYLOGFILE", log)
	v := newVendor(t, echoHost(), nil)
	resp, err := v.get(t, v.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	p := v.client.newPartition(nil, 0)
	if proxied.Load() != 0 || p.h2.Proxy != nil || p.tls.KeyLogWriter != nil || p.tls.InsecureSkipVerify {
		t.Fatal("the environment diverts traffic")
	}
	if v.dials.dials[0] != v.Listener.Addr().String() {
		t.Fatalf("dialed %v", v.dials.dials)
	}
	if fileExists(log) {
		t.Fatal("TLS keys were logged")
	}
	env := map[string]string{"HTTPS_PROXY": "x", "SSLKEYLOGFILE": "y", "HOME": "/root", "SSL_CERT_FILE": ""}
	got := SurprisingEnv(func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	if want := []string{"HTTPS_PROXY", "SSLKEYLOGFILE"}; !reflect.DeepEqual(got, want) {
		t.Errorf("SurprisingEnv = %v, want %v", got, want)
	}
}

func TestCanceledCaller(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	v := newVendor(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-release }), nil)
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	_, err := v.client.Do(ctx, v.dest, request(t, v.URL))
	if code(t, err) != "canceled" || !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
}
