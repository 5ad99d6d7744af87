package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"claviger/api"
	"claviger/client"
	"claviger/internal/app"
)

// proxied is a running server with one connection to a vendor.
type proxied struct {
	t      *testing.T
	client *client.Client
	key    string
	id     string
}

// newProxied starts the server, and makes a connection to a vendor that demands its
// key in X-API-Key and that nothing of claviger's comes with it.
func newProxied(t *testing.T, vendor http.HandlerFunc) *proxied {
	t.Helper()
	simulated := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-API-Key") != "ak_first12345" {
			t.Errorf("the vendor got the key %q", r.Header.Get("X-API-Key"))
		}
		if all := fmt.Sprint(r.Header, r.URL); strings.Contains(all, "clv_") || r.Header.Get("Cookie") != "" {
			t.Errorf("something of claviger's reached the vendor: %s", all)
		}
		vendor(w, r)
	}))
	t.Cleanup(simulated.Close)
	server := httptest.NewUnstartedServer(nil)
	a, err := app.Open(t.Context(), app.Config{
		Settings: app.Settings{Data: t.TempDir(), PublicURL: "http://" + server.Listener.Addr().String(), EgressAllow: simulated.Listener.Addr().String()},
		Log:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = a.Handler()
	server.Start()
	t.Cleanup(func() {
		server.Close()
		if err := a.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	p := &proxied{t: t, key: reveal(a.FirstStart().APIKey)}
	if p.client, err = client.New(server.URL, p.key); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.PutConnector(t.Context(), "acme", fmt.Appendf(nil, acmeDocument, simulated.URL)); err != nil {
		t.Fatal(err)
	}
	no := false
	conn, err := p.client.CreateConnection(t.Context(), api.CreateConnection{
		Connector: "acme", AuthMethod: "key", Name: "n", Credentials: map[string]string{"apiKey": "ak_first12345"}, Validate: &no,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.id = conn.ID
	return p
}

// as sends a request as a vendor's own SDK would, with the headers it is given.
func (p *proxied) as(method, path string, header http.Header, body io.Reader) *http.Response {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.client.ProxyURL(p.id)+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header = header
	h := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := h.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func (p *proxied) bearer() http.Header { return http.Header{"Authorization": {"Bearer " + p.key}} }

func TestProxyForVendorsOwnClients(t *testing.T) {
	p := newProxied(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Vendor", "1")
		w.Header().Set("Set-Cookie", "session=vendor")
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
	})
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for name, header := range map[string]http.Header{
		"bearer":         p.bearer(),
		"vendor's own":   {"X-Api-Key": {p.key}},
		"another scheme": {"Authorization": {"Token token=" + p.key}},
		"basic user":     {"Authorization": {basic(p.key, "x")}},
		"basic password": {"Authorization": {basic("x", p.key)}},
		"with a cookie":  {"Authorization": {"Bearer " + p.key}, "Cookie": {"a=b"}},
	} {
		t.Run(name, func(t *testing.T) {
			resp := p.as("REPORT", "/a%20b/c?x=1&y=%2F", header, strings.NewReader("body"))
			text, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusTeapot || string(text) != "REPORT /v2/a%20b/c?x=1&y=%2F body" {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
			if resp.Header.Get("X-Vendor") != "1" || resp.Header.Get("Claviger-Error") != "" || resp.Header.Get("Claviger-Request-Id") == "" {
				t.Errorf("%v", resp.Header)
			}
		})
	}
}

func TestProxyRefusals(t *testing.T) {
	p := newProxied(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s reached the vendor", r.URL) })
	both := p.bearer()
	both.Set("X-Api-Key", p.key)
	upgrade := p.bearer()
	upgrade.Set("Connection", "Upgrade")
	upgrade.Set("Upgrade", "websocket")
	for name, tc := range map[string]struct {
		path   string
		header http.Header
		status int
		code   string
	}{
		"no token":     {"/x", http.Header{}, 401, "missing_token"},
		"wrong token":  {"/x", http.Header{"Authorization": {"Bearer clv_key_wrong"}}, 401, ""},
		"two places":   {"/x", both, 400, "ambiguous_credentials"},
		"in the query": {"/x?api_key=" + p.key, p.bearer(), 400, "token_in_query"},
		"an upgrade":   {"/x", upgrade, 400, "upgrade_unsupported"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := p.as("GET", tc.path, tc.header, nil)
			got := resp.Header.Get("Claviger-Error")
			if resp.StatusCode != tc.status || got == "" || tc.code != "" && got != tc.code {
				t.Errorf("%d %q", resp.StatusCode, got)
			}
		})
	}
	if _, err := p.client.DisableConnection(t.Context(), p.id); err != nil {
		t.Fatal(err)
	}
	if resp := p.as("GET", "/x", p.bearer(), nil); resp.StatusCode != 403 || resp.Header.Get("Claviger-Error") != "connection_disabled" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

func TestProxyStreamsEvents(t *testing.T) {
	next := make(chan struct{})
	p := newProxied(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	resp, err := p.client.Proxy(p.id).Get("http://vendor/events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for i := range 3 { // the vendor sends the next one only after this one has come
		want := fmt.Sprintf("data: %d\n\n", i)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
			t.Fatalf("%q %v", got, err)
		}
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
		t.Errorf("%q %v", rest, err)
	}
}

// TestProxyStreamsBothWays proves that nothing is buffered on the way up: the vendor
// answers what it has read of a body that has not ended yet.
func TestProxyStreamsBothWays(t *testing.T) {
	p := newProxied(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		b := make([]byte, 4)
		for {
			if _, err := io.ReadFull(r.Body, b); err != nil {
				return
			}
			_, _ = w.Write(bytes.ToUpper(b))
			w.(http.Flusher).Flush()
		}
	})
	body, sender := io.Pipe()
	first := make(chan error, 1)
	go func() {
		_, err := io.WriteString(sender, "ping")
		first <- err
	}()
	resp := p.as("POST", "/echo", p.bearer(), body)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PING", "PONG"} {
		got := make([]byte, 4)
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
			t.Fatalf("%q %v", got, err)
		}
		if want == "PING" {
			if _, err := io.WriteString(sender, "pong"); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = sender.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
		t.Errorf("%q %v", rest, err)
	}
}

func TestProxyPassesLargeBodiesUnchanged(t *testing.T) {
	p := newProxied(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Sum", fmt.Sprintf("%d %x", n, sum.Sum(nil)))
		_, _ = io.Copy(w, io.LimitReader(new(endless), n))
	})
	const size = 12 << 20 // beyond every cap of the other routes
	want := sha256.New()
	_, _ = io.Copy(want, io.LimitReader(new(endless), size))
	resp := p.as("PUT", "/file", p.bearer(), io.LimitReader(new(endless), size))
	got := sha256.New()
	n, err := io.Copy(got, resp.Body)
	if err != nil || n != size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("down: %d bytes, %v", n, err)
	}
	if resp.Header.Get("X-Sum") != fmt.Sprintf("%d %x", size, want.Sum(nil)) {
		t.Errorf("up: %s", resp.Header.Get("X-Sum"))
	}
}

// endless is a pattern that repeats at no power of two.
type endless struct{ at int }

// Read implements io.Reader.
func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(e.at % 251)
		e.at++
	}
	return len(b), nil
}

func TestProxyAnswersRedirects(t *testing.T) {
	p := newProxied(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", map[string]string{"/v2/in": "/v2/next?x=1", "/v2/out": "https://elsewhere.example/"}[r.URL.Path])
		w.WriteHeader(http.StatusFound)
	})
	if resp := p.as("GET", "/in", p.bearer(), nil); resp.StatusCode != 302 || resp.Header.Get("Location") != "/v1/connections/"+p.id+"/proxy/next?x=1" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if resp := p.as("GET", "/out", p.bearer(), nil); resp.StatusCode != 302 || resp.Header.Get("Location") != "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}
