package clavigertest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
)

// handshake is what a browser asks a server for a WebSocket with (RFC 6455, section 4.1).
const handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// TestAbuse_130_NoConnectorSwitchesProtocols: there is no opt-in, so every upgrade is
// refused before anything is sent.
func TestAbuse_130_NoConnectorSwitchesProtocols(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_upgrade_secret")
	authorized := "Host: x\r\nAuthorization: Bearer " + c.Key + "\r\n"
	get := "GET " + proxy(c.id, "/socket") + " HTTP/1.1\r\n" + authorized
	post := "POST " + proxy(c.id, "/socket") + " HTTP/1.1\r\n" + authorized
	smuggled := "GET " + proxy(c.id, "/smuggled") + " HTTP/1.1\r\n" + authorized + "\r\n"
	for name, request := range map[string]string{
		"websocket":             get + handshake + "\r\n",
		"its own origin":        get + handshake + "Origin: " + c.URL + "\r\n\r\n",
		"another origin":        get + handshake + "Origin: https://evil.example\r\n\r\n",
		"no origin":             get + handshake + "Origin: null\r\n\r\n",
		"small letters":         get + strings.ToLower(handshake) + "\r\n",
		"h2c":                   get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
		"h2c with a body":       post + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 2\r\n\r\nok",
		"tls":                   get + "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n",
		"several":               get + "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n",
		"twice, first empty":    get + "Connection: Upgrade\r\nUpgrade: \r\nUpgrade: websocket\r\n\r\n",
		"twice":                 get + "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
		"empty":                 get + "Connection: Upgrade\r\nUpgrade:\r\n\r\n",
		"without Connection":    get + "Upgrade: websocket\r\n\r\n",
		"close, Upgrade":        get + "Connection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"POST":                  post + handshake + "Content-Length: 0\r\n\r\n",
		"request as body":       post + handshake + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(smuggled)) + smuggled,
		"request behind":        get + handshake + "\r\n" + smuggled,
		"request in chunks":     post + handshake + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(smuggled)) + smuggled + "\r\n0\r\n\r\n",
		"frames at once":        get + handshake + "\r\n\x81\x05hello\x88\x00",
		"a frame of a gibibyte": get + handshake + "\r\n\x82\x7f\x00\x00\x00\x00\x40\x00\x00\x00" + strings.Repeat("x", 4096),
	} {
		t.Run(name, func(t *testing.T) {
			c.vendor.Forget()
			status, text := c.raw(t, request)
			if status < 400 || status == 401 || status > 499 {
				t.Errorf("%d: %s", status, text)
			}
			if strings.Contains(text, "101 Switching") {
				t.Errorf("it switched: %s", text)
			}
			for _, r := range c.vendor.Received() {
				// What stands behind a refused upgrade without a body is a request of its own.
				if name != "request behind" || !strings.HasSuffix(r.Target, "/smuggled") {
					t.Errorf("the vendor got %s", r.Dump())
				}
			}
		})
	}
	if status, text := c.raw(t, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); status < 400 {
		t.Errorf("HTTP/2 without being asked: %d %s", status, text)
	}
}

func TestAbuse_130_NoRouteSwitchesProtocols(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_upgrade_secret")
	for _, path := range []string{"/v1/whoami", "/v1/connections", "/mcp/builder", "/console", "/connect", "/webhooks/x/y", "/docs", "/healthz", "/"} {
		for _, upgrade := range []string{handshake, "Connection: Upgrade\r\nUpgrade: h2c\r\n"} {
			status, text := c.raw(t, "GET "+path+" HTTP/1.1\r\nHost: "+c.Addr+"\r\nAuthorization: Bearer "+c.Key+"\r\n"+upgrade+"\r\n")
			if status == 101 || status == 0 || strings.Contains(text, "101 Switching") {
				t.Errorf("%s: %d %s", path, status, text)
			}
		}
	}
}

// TestAbuse_130_AVendorThatSwitchesUnasked: bytes behind a 101 are nobody's answer.
func TestAbuse_130_AVendorThatSwitchesUnasked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hungUp := make(chan error, 8)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(longest))
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x06secret")
			}
			_, err = io.Copy(io.Discard, conn)
			_ = conn.Close()
			hungUp <- err
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	s := clavigertest.Start(t, clavigertest.Options{EgressAllow: l.Addr().String()})
	if _, err := s.Client(s.Key).PutConnector(t.Context(), "switch", acme.DocumentAt("switch", "http://"+l.Addr().String(), "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	no := false
	made, err := s.Client(s.Key).CreateConnection(t.Context(), api.CreateConnection{
		Connector: "switch", AuthMethod: "bearer", Name: "switch", Credentials: map[string]string{"token": "tk_to_a_switch"}, Validate: &no,
	})
	if err != nil {
		t.Fatal(err)
	}
	a := s.Do(call{Token: s.Key, Method: "GET", Path: proxy(made.ID, "/x")})
	if a.Status != 502 || a.Header.Get("Claviger-Error") == "" || strings.Contains(string(a.Body), "secret") {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	select {
	case err := <-hungUp:
		if err != nil {
			t.Errorf("the socket stayed open: %v", err)
		}
	case <-time.After(longest):
		t.Error("the socket stayed open")
	}
}

func TestAbuse_110_AddressesInHeadersAreNotFollowed(t *testing.T) {
	c := connect(t, clavigertest.Options{EgressAllow: "127.0.0.1"}, "ak_signpost_secret")
	trap := acme.Start(t, c.secret)
	to := "http://" + trap.Addr() + "/v2/steal"
	for name, answer := range map[string]struct {
		status int
		header http.Header
	}{
		"realm":             {401, http.Header{"Www-Authenticate": {`Bearer realm="` + to + `",service="registry",scope="pull"`}}},
		"metadata":          {401, http.Header{"Www-Authenticate": {`Bearer resource_metadata="` + to + `", authorization_uri="` + to + `"`}}},
		"proxy":             {407, http.Header{"Proxy-Authenticate": {`Basic realm="` + to + `"`}, "Location": {to}}},
		"upload made":       {201, http.Header{"Location": {to}, "Content-Location": {to}}},
		"upload goes on":    {202, http.Header{"Location": {to}, "Range": {"0-1"}, "Azure-Asyncoperation": {to}, "Operation-Location": {to}}},
		"resume":            {308, http.Header{"Location": {to}, "Range": {"bytes=0-1"}}},
		"pre-signed":        {307, http.Header{"Location": {to + "?X-Amz-Signature=0&X-Amz-Credential=1"}}},
		"use proxy":         {305, http.Header{"Location": {to}}},
		"choices":           {300, http.Header{"Location": {to}, "Alternates": {to}}},
		"moved service":     {200, http.Header{"Alt-Svc": {`http/1.1="` + trap.Addr() + `"; ma=86400; persist=1, h2="` + trap.Addr() + `", h3="` + trap.Addr() + `"`}, "Alt-Used": {trap.Addr()}}},
		"strict transport":  {200, http.Header{"Strict-Transport-Security": {"max-age=31536000; includeSubDomains; preload"}, "Public-Key-Pins": {`pin-sha256="AA=="; max-age=9`}}},
		"refresh":           {200, http.Header{"Refresh": {"0; url=" + to}}},
		"next page":         {200, http.Header{"Link": {"<" + to + `>; rel="next", <` + to + `>; rel=preload`}, "X-Next": {to}}},
		"retry there":       {503, http.Header{"Retry-After": {"0"}, "Location": {to}}},
		"misdirected":       {421, http.Header{"Location": {to}, "Alt-Svc": {`h2="` + trap.Addr() + `"`}}},
		"internal redirect": {200, http.Header{"X-Accel-Redirect": {to}, "X-Sendfile": {to}, "X-Reproxy-Url": {to}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.vendor.Behave(func(w http.ResponseWriter, _ *http.Request) {
				for key, values := range answer.header {
					w.Header()[key] = values
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(answer.status)
				if answer.status >= 200 {
					_, _ = fmt.Fprintf(w, `{"next":%q,"url":%q}`, to, to)
				}
			})
			for _, attack := range []call{
				{Method: "GET", Path: proxy(c.id, "/x")},
				{Method: "PUT", Path: proxy(c.id, "/upload"), Body: `{"a":1}`},
				{Method: "POST", Path: proxy(c.id, "/upload"), Body: `{"a":1}`},
				{Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme.list-contacts", "connectionId": c.id}},
				{Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme.fail", "connectionId": c.id}},
				{Method: "POST", Path: "/v1/connections/" + c.id + "/test"},
			} {
				attack.Token = c.Key
				a := c.Do(attack)
				for _, dropped := range []string{"Location", "Alt-Svc", "Refresh", "Strict-Transport-Security", "Public-Key-Pins", "X-Accel-Redirect", "X-Sendfile"} {
					if v := a.Header.Get(dropped); v != "" {
						t.Errorf("%s %s passes on %s: %s", attack.Method, attack.Path, dropped, v)
					}
				}
			}
			c.vendor.Behave(nil)
			// What it said is not remembered either.
			if a := c.through("GET", "/after", nil); a.Status != 200 {
				t.Errorf("afterwards: %d %s", a.Status, a.Body)
			}
		})
	}
	if n := len(trap.Received()); n != 0 {
		t.Errorf("%d requests reached the trap, the last: %s", n, trap.Last(t).Dump())
	}
	for _, address := range c.Dials.All() {
		if address != c.vendor.Addr() {
			t.Errorf("dialled %s", address)
		}
	}
}

// TestARefusedBodyLeavesTheConnection: what follows a refusal on one connection is
// answered too.
func TestARefusedBodyLeavesTheConnection(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_refused_secret")
	for _, token := range []string{c.Key, "clv_key_that_is_none"} {
		refused := "POST " + proxy(c.id, "/x") + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello"
		_, text := c.raw(t, refused+refused+refused)
		if strings.Count(text, "HTTP/1.1 40") != 3 || !strings.Contains(text, `{"status":"ok"}`) {
			t.Errorf("%s", text)
		}
	}
}

// TestAbuse_117_ReadingWritesNothing: to use a connection is a permission of its own,
// whatever the method, and who may use it cannot dress one method up as another. There
// are no grants by method, path or GraphQL operation: an action names what it does.
func TestAbuse_117_ReadingWritesNothing(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine})
		reader, _ := w.APIKey(t, w.A, api.CreateAPIKey{Name: "reader", Scopes: []string{
			"connections:read", "connectors:read", "actions:read", "audit:read", "usage:read", "workspaces:read", "secrets:read", "systems:read", "events:read",
		}})
		id := w.A.Connections[0]
		mutation := url.QueryEscape(`mutation { deleteEverything { ok } }`)
		attacks := []call{
			{Method: "GET", Path: proxy(id, "/graphql?query="+mutation)},
			{Method: "GET", Path: proxy(id, "/delete?id=1&_method=DELETE")},
			{Method: "GET", Path: proxy(id, "/x"), Header: http.Header{"X-Http-Method-Override": {"DELETE"}, "X-Method-Override": {"DELETE"}, "X-Http-Method": {"DELETE"}}},
			{Method: "HEAD", Path: proxy(id, "/x")},
			{Method: "OPTIONS", Path: proxy(id, "/x")},
			{Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme.list-contacts", "connectionId": id}},
			{Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme.create-contact", "connectionId": id, "input": map[string]string{"name": "x"}}},
			{Method: "POST", Path: "/v1/connections/" + id + "/test"},
		}
		for _, kind := range []string{"application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/graphql", ""} {
			for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "GET", "REPORT", "QUERY"} {
				attacks = append(attacks, call{Method: method, Path: proxy(id, "/graphql"), Body: `{"query":"mutation { deleteEverything { ok } }"}`, Header: http.Header{"Content-Type": {kind}}})
			}
		}
		for who, token := range map[string]string{"a viewer": w.Viewer, "a reader": reader} {
			w.Vendor.Forget()
			dials := len(w.Dials.All())
			for _, attack := range attacks {
				attack.Token = token
				if a := w.Do(attack); a.Status != 403 {
					t.Errorf("%s: %s %s: %d %s", who, attack.Method, attack.Path, a.Status, a.Body)
				}
			}
			if n := len(w.Vendor.Received()); n != 0 || len(w.Dials.All()) != dials {
				t.Errorf("%s sent %s", who, w.Vendor.Last(t).Dump())
			}
		}
		// Who may use it sends the method that the ledger and the vendor see, and no other.
		w.Vendor.Forget()
		for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x_http_method_override"} {
			if a := w.Do(call{Token: w.ProxyOnly, Method: "GET", Path: proxy(id, "/x"), Header: http.Header{name: {"DELETE"}}}); a.Status != 200 {
				t.Errorf("%s: %d %s", name, a.Status, a.Body)
			}
			if got := w.Vendor.Last(t); got.Method != "GET" || strings.Contains(got.Dump(), "DELETE") {
				t.Errorf("%s reached the vendor: %s", name, got.Dump())
			}
		}
	})
}
