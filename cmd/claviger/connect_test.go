package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// desk is a shell that is logged in to a server with a vendor, and its person's browser.
type desk struct {
	*shell
	server *clavigertest.Server
	vendor *oauthserver.Server
	http   *http.Client
}

func newDesk(t *testing.T, o clavigertest.Options, policy oauthserver.Policy) *desk {
	t.Helper()
	v := oauthserver.Start(t, policy)
	o.RootCAs, o.EgressAllow = v.Roots(), "127.0.0.1"
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{shell: newShell(t), server: clavigertest.Start(t, o), vendor: v, http: &http.Client{
		Jar: jar, Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: v.Roots()}},
	}}
	t.Cleanup(d.http.CloseIdleConnections)
	d.env["CLAVIGER_URL"], d.env["CLAVIGER_API_KEY"] = d.server.URL, d.server.Key
	c := d.server.Client(d.server.Key)
	for key, grant := range map[string]string{"acme": `"grant":"authorizationCode","authorizeUrl":"%[2]s/authorize"`, "television": `"grant":"device","deviceUrl":"%[2]s/device"`} {
		document := fmt.Sprintf(`{"key":%q,"name":"Acme CRM","kind":"http","baseUrl":"%[2]s","allowedHosts":["127.0.0.1"],"auth":[
			{"key":"oauth","type":"oauth2","label":"Sign in","oauth2":{`+grant+`,"clientAuth":"client_secret_basic","tokenUrl":"%[2]s/token","scopes":["contacts.read"]},
			"test":{"method":"GET","path":"/userinfo","expectStatus":[200],"account":{"id":"$.sub","name":"$.name"}},"permissions":"none"},
			{"key":"app","type":"oauth2","fields":[{"key":"clientId","required":true},{"key":"clientSecret","secret":true,"required":true}],
			"oauth2":{"grant":"clientCredentials","clientAuth":"client_secret_basic","tokenUrl":"%[2]s/token","scopes":[]},"test":"none","permissions":"none"},
			{"key":"token","type":"bearer","label":"Token","fields":[{"key":"token","label":"Token","secret":true,"required":true}],
			"inject":[{"in":"header","name":"Authorization","value":"Bearer ${token}"}],"test":"none","permissions":"none"}]}`, key, v.URL)
		if _, err := c.PutConnector(t.Context(), key, []byte(document)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.PutOAuthClient(t.Context(), key, api.PutOAuthClient{ClientID: v.Client.ID, ClientSecret: reveal(v.Client.Secret)}); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// open goes where an address leads and answers where that was, and what stood there.
func (d *desk) open(ctx context.Context, address string) (*url.URL, string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	resp, err := d.http.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.Request.URL, string(text)
}

// nothingLeft checks that the failed attempt left no connection and no name behind.
func (d *desk) nothingLeft() {
	d.t.Helper()
	if stdout, _ := d.want(exitOK, "", "connection", "list"); !strings.Contains(stdout, "No connections.") {
		d.t.Errorf("there is still:\n%s", stdout)
	}
}

func TestConnectByBrowser(t *testing.T) {
	d := newDesk(t, clavigertest.Options{}, oauthserver.Policy{})
	d.browse = func(ctx context.Context, address string) error {
		at, text := d.open(ctx, address)
		if at.Hostname() != "127.0.0.1" || len(at.Path) < 20 || !strings.Contains(text, "can be closed") {
			t.Errorf("the browser ended at %s: %s", at, text)
		}
		if status, _ := visit(ctx, "http://"+at.Host+"/?"+at.RawQuery, ""); status != http.StatusNotFound {
			t.Errorf("another path of the listener answers %d", status)
		}
		if status, _ := visit(ctx, at.String(), "evil.example"); status != http.StatusBadRequest {
			t.Errorf("by another name the listener answers %d", status)
		}
		return nil
	}
	stdout, stderr := d.want(exitOK, "", "connect", "acme", "--name", "mine")
	for _, want := range []string{"mine", "active", "user-1 Ada", "contacts.read"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it prints no %q:\n%s%s", want, stdout, stderr)
		}
	}
	if _, stderr := d.want(exitRefused, "", "connect", "acme", "--name", "mine"); !strings.Contains(stderr, "name") {
		t.Error(stderr)
	}
	if _, stderr := d.want(exitUsage, "", "connect", "acme", "--method", "token"); !strings.Contains(stderr, "claviger connection create --connector acme") {
		t.Error(stderr)
	}
	d.want(exitNotFound, "", "connect", "nothing-of-that-name")
}

func TestConnectIsRefusedByTheVendor(t *testing.T) {
	d := newDesk(t, clavigertest.Options{}, oauthserver.Policy{})
	d.browse = func(ctx context.Context, address string) error {
		d.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, err := d.http.Get(address)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		to, err := resp.Location()
		if err != nil {
			return err
		}
		_, page := d.open(ctx, to.Query().Get("redirect_uri")+"?"+url.Values{"state": to.Query()["state"], "error": {"access_denied"}}.Encode())
		back := regexp.MustCompile(`class="button" href="([^"]+)"`).FindStringSubmatch(page)
		if back == nil {
			return errors.New("no way back")
		}
		d.open(ctx, back[1])
		return nil
	}
	if _, stderr := d.want(exitRefused, "", "connect", "acme"); !strings.Contains(stderr, "access_denied") {
		t.Error(stderr)
	}
	d.nothingLeft()
}

// typing is a person who types when asked, one line at a time.
type typing func() string

// Read implements io.Reader.
func (f typing) Read(b []byte) (int, error) { return copy(b, f()), nil }

func TestConnectByCode(t *testing.T) {
	d := newDesk(t, clavigertest.Options{}, oauthserver.Policy{})
	p, out := d.program("")
	line := ""
	lines := []func() string{
		func() string { return "AAAA-AAAA\n" }, // nobody has been there yet
		func() string {
			_, page := d.open(t.Context(), strings.Fields(strings.SplitAfter(out.errs.String(), "browser:\n")[1])[0])
			return strings.ToLower(regexp.MustCompile(`class="code"[^>]*>([0-9A-Z-]{9})<`).FindStringSubmatch(page)[1]) + "\n"
		},
	}
	p.stdin = typing(func() string {
		if line == "" {
			line, lines = lines[0](), lines[1:]
		}
		one := line[:1]
		line = line[1:]
		return one
	})
	if code := p.execute(t.Context(), []string{"connect", "acme", "--no-browser"}); code != exitOK || !strings.Contains(out.out.String(), "user-1 Ada") {
		t.Errorf("exit %d: %s%s", code, out.out.String(), out.errs.String())
	}
	if _, stderr := d.want(exitUsage, "", "connect", "acme", "--no-browser", "--name", "two"); !strings.Contains(stderr, "No code was given") {
		t.Error(stderr)
	}
	if stdout, _ := d.want(exitOK, "", "connection", "list"); strings.Contains(stdout, "two") {
		t.Error(stdout)
	}
}

func TestConnectOnAnotherDevice(t *testing.T) {
	d := newDesk(t, clavigertest.Options{}, oauthserver.Policy{})
	d.pause = func(ctx context.Context, _ time.Duration) error { return pause(ctx, 20*time.Millisecond) }
	stdout, stderr := d.want(exitOK, "", "connect", "television")
	if !strings.Contains(stdout, "user-1 Ada") || !strings.Contains(stderr, "type the code") {
		t.Errorf("%s%s", stdout, stderr)
	}
}

func TestConnectDoesNotWaitForever(t *testing.T) {
	behind := func() time.Time { return time.Now().Add(-11 * time.Minute) } // ten minutes that are over
	d := newDesk(t, clavigertest.Options{Now: behind}, oauthserver.Policy{Now: behind})
	if _, stderr := d.want(exitFailure, "", "connect", "acme"); !strings.Contains(stderr, "nobody came back in time") || !strings.Contains(stderr, "Open in a browser on this machine") {
		t.Error(stderr)
	}
	d.nothingLeft()
}
