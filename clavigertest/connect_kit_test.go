package clavigertest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
	"claviger/client"
)

// consent is a server with a connector of a scripted vendor, whose OAuth client is set.
type consent struct {
	*clavigertest.Server
	t      *testing.T
	vendor *oauthserver.Server
	api    *client.Client
}

// vendorDocument is a connector whose tokens come from the vendor's consent page and
// whose API is the vendor's userinfo.
func vendorDocument(v *oauthserver.Server, key string) []byte {
	return fmt.Appendf(nil, `{"key":%q,"name":"Acme CRM","kind":"http","baseUrl":%q,"allowedHosts":["127.0.0.1"],"auth":[{
		"key":"oauth","type":"oauth2","label":"Sign in","oauth2":{"grant":"authorizationCode","clientAuth":"client_secret_basic",
		"authorizeUrl":"%[2]s/authorize","tokenUrl":"%[2]s/token","revokeUrl":"%[2]s/revoke","scopes":["contacts.read","contacts.write"]},
		"test":{"method":"GET","path":"/userinfo","expectStatus":[200],"account":{"id":"$.sub","name":"$.name"}},"permissions":"none"},
		{"key":"token","type":"bearer","label":"Token","fields":[{"key":"token","label":"Token","secret":true,"required":true,"pattern":"^at_[A-Za-z0-9_-]{4,}$","hint":"Settings, Tokens"}],
		"inject":[{"in":"header","name":"Authorization","value":"Bearer ${token}"}],"test":"none","permissions":"none"}],
		"actions":[{"key":"whoami","name":"Who am I","readOnly":true,"input":{"type":"object","properties":{},"additionalProperties":false},
		"request":{"method":"GET","path":"/userinfo"}}]}`, key, v.URL)
}

func newConsent(t *testing.T, o clavigertest.Options, policy oauthserver.Policy) *consent {
	t.Helper()
	v := oauthserver.Start(t, policy)
	o.RootCAs, o.EgressAllow = v.Roots(), "127.0.0.1"
	s := clavigertest.Start(t, o)
	x := &consent{Server: s, t: t, vendor: v, api: s.Client(s.Key)}
	x.connector("acme")
	return x
}

// connector stores the vendor's document under a key and the client for it.
func (x *consent) connector(key string) api.OAuthClient {
	x.t.Helper()
	if _, err := x.api.PutConnector(x.t.Context(), key, vendorDocument(x.vendor, key)); err != nil {
		x.t.Fatal(err)
	}
	out, err := x.api.PutOAuthClient(x.t.Context(), key, api.PutOAuthClient{ClientID: x.vendor.Client.ID, ClientSecret: reveal(x.vendor.Client.Secret)})
	if err != nil {
		x.t.Fatal(err)
	}
	return out
}

// begin creates a connection that waits for consent.
func (x *consent) begin(name string) api.Connection {
	x.t.Helper()
	conn, err := x.api.CreateConnection(x.t.Context(), api.CreateConnection{Connector: "acme", AuthMethod: "oauth", Name: name})
	if err != nil {
		x.t.Fatal(err)
	}
	return conn
}

// session asks for a page for a person.
func (x *consent) session(in api.CreateConnectSession) api.ConnectSessionMade {
	x.t.Helper()
	if in.User.ID == "" {
		in.User.ID = "user-42"
	}
	if in.AllowedConnectors == nil && in.ConnectionID == "" {
		in.AllowedConnectors = []string{"acme"}
	}
	s, err := x.api.CreateConnectSession(x.t.Context(), in)
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// page is what a browser got.
type page struct {
	Status   int
	Header   http.Header
	Location string
	Body     string
}

// browser is a person's browser: it keeps cookies and follows nothing by itself.
type browser struct {
	t    *testing.T
	http *http.Client
	base string
}

func (x *consent) browser() *browser {
	x.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		x.t.Fatal(err)
	}
	return &browser{t: x.t, base: x.URL, http: &http.Client{
		Jar: jar, Timeout: longest, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (b *browser) do(method, address, body string, header map[string]string) page {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.base + address
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read whole
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{res.StatusCode, res.Header, res.Header.Get("Location"), string(text)}
}

func (b *browser) get(address string) page {
	b.t.Helper()
	return b.do(http.MethodGet, address, "", nil)
}

// post sends a form of the page as its own browser does.
func (b *browser) post(address string, form url.Values) page {
	b.t.Helper()
	return b.do(http.MethodPost, address, form.Encode(), map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", "Origin": b.base,
	})
}

// leave starts a flow and answers the vendor's address.
func (b *browser) leave(start string) string {
	b.t.Helper()
	p := b.get(start)
	if p.Status != http.StatusSeeOther {
		b.t.Fatalf("the start answered %d: %s", p.Status, p.Body)
	}
	return p.Location
}

// callback answers the address that the vendor sends the browser back to.
func (x *consent) callback(authorize string) string {
	x.t.Helper()
	back := query(x.t, authorize).Get("redirect_uri")
	return back + "?" + x.vendor.Approve(x.t, authorize)
}

func query(t testing.TB, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// shownCode finds the finish code on a page.
func shownCode(t testing.TB, p page) string {
	t.Helper()
	found := regexp.MustCompile(`class="code"[^>]*>([0-9A-Z]{4}-[0-9A-Z]{4})<`).FindStringSubmatch(p.Body)
	if found == nil {
		t.Fatalf("no code on the page (status %d): %s", p.Status, p.Body)
	}
	return found[1]
}

// exchanges counts the codes that the vendor was asked to redeem.
func (x *consent) exchanges() (n int) {
	for _, r := range x.vendor.Received("/token") {
		if r.Form.Get("grant_type") == "authorization_code" {
			n++
		}
	}
	return n
}

// connect goes the whole way with one browser and answers the connection.
func (x *consent) connect(name string) api.Connection {
	x.t.Helper()
	conn, b := x.begin(name), x.browser()
	code := shownCode(x.t, b.get(x.callback(b.leave(conn.AuthorizeURL))))
	done, err := x.api.FinishConnection(x.t.Context(), conn.ID, code)
	if err != nil {
		x.t.Fatal(err)
	}
	return done
}

// refused fails the test unless err is the API's refusal of that status and code.
func refused(t testing.TB, err error, status int, code string) {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) || e.Status != status || e.Code != code {
		t.Errorf("answered %v, want %d %s", err, status, code)
	}
}

// reveal answers a test's own secret.
func reveal(s claviger.Secret) (text string) {
	s.Use(func(b []byte) { text = string(b) })
	return text
}

// operator mints a token of the first application.
func (x *consent) operator() string {
	x.t.Helper()
	a := x.Do(call{Method: "POST", Path: "/api/v1/account/applications/token", Body: map[string]string{"client_id": x.ClientID, "client_secret": x.ClientSecret}})
	if a.Status >= 300 {
		x.t.Fatalf("%d %s", a.Status, a.Body)
	}
	return a.Field("access_token")
}

// clock is a clock that is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func sorted(list []string) string {
	list = slices.Clone(list)
	slices.Sort(list)
	return strings.Join(list, " ")
}

// noted fails the test unless the ledger has an entry of this code.
func (x *consent) noted(code string) {
	x.t.Helper()
	eventually(x.t, "the ledger has "+code, func() bool {
		for e, err := range x.api.Audit(x.t.Context(), client.AuditQuery{}) {
			if err != nil {
				x.t.Fatal(err)
			}
			if e.Code == code {
				return true
			}
		}
		return false
	})
}
