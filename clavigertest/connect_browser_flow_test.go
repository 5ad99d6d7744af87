package clavigertest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	chromium "claviger/clavigertest/browser"
	"claviger/clavigertest/oauthserver"
	"claviger/clavigertest/oidcprovider"
)

// application is a web application that asks its users to connect something: it opens the
// page of a session in a window, listens for what that window says, and finishes with
// what a browser brings to /back. At /frame?src= it frames an address.
type application struct {
	URL string

	mu      sync.Mutex
	finish  func(sessionID, code string) (api.Connection, error)
	fetched []string // addresses that its pages were asked for
}

const applicationPage = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Application</title></head><body><main><h1>Application</h1>
<p id="said" role="status">nothing yet</p>
<button onclick="open(new URLSearchParams(location.search).get('connect'), 'connect', 'width=480,height=760')">Connect an account</button></main>
<script>
addEventListener("message", async (e) => {
  const answer = await fetch("/finish", { method: "POST", body: new URLSearchParams({ sessionId: e.data.sessionId, finishCode: e.data.finishCode }) });
  document.getElementById("said").textContent = [e.origin, e.data.type, await answer.text()].join(" ");
  e.source.close();
});
</script></body></html>`

func newApplication(t testing.TB) *application {
	t.Helper()
	a := &application{}
	mux := http.NewServeMux()
	page := func(body func(r *http.Request) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			a.mu.Lock()
			a.fetched = append(a.fetched, r.URL.String())
			a.mu.Unlock()
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, body(r))
		}
	}
	end := func(r *http.Request) string {
		conn, err := a.finish(r.FormValue("sessionId"), r.FormValue("finishCode"))
		if err != nil {
			return "refused: " + err.Error()
		}
		return fmt.Sprintf("connected %s as %s", conn.Connector, conn.Account.ID)
	}
	mux.HandleFunc("GET /{$}", page(func(*http.Request) string { return applicationPage }))
	mux.HandleFunc("GET /frame", page(func(r *http.Request) string {
		return fmt.Sprintf(`<!doctype html><title>Frame</title><iframe src=%q width="600" height="600"></iframe>`, r.FormValue("src"))
	}))
	mux.HandleFunc("GET /back", page(end))
	mux.HandleFunc("POST /finish", page(end))
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	a.URL = s.URL
	return a
}

// elsewhere is the same application under another name of this machine: another site.
func (a *application) elsewhere() string {
	return strings.Replace(a.URL, "127.0.0.1", "localhost", 1)
}

// resource is an API whose tokens are another server's: it asks that one about each
// (RFC 7662) and remembers the last that was shown.
type resource struct {
	URL    string
	issuer string

	mu   sync.Mutex
	last string
}

// active asks the issuer whether a token is good, and whose it is.
func (s *resource) active(token string) (subject string, ok bool) {
	req, err := http.NewRequest(http.MethodPost, s.issuer+"/token/introspection", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		return "", false
	}
	req.SetBasicAuth("broker", "a-secret-of-the-test-only")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", false
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	var said struct {
		Active bool   `json:"active"`
		Sub    string `json:"sub"`
	}
	err = json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&said)
	return said.Sub, err == nil && said.Active
}

func (s *resource) token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func newResource(t testing.TB) *resource {
	t.Helper()
	s := &resource{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		subject, ok := s.active(token)
		w.Header().Set("Content-Type", "application/json")
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{}`)
			return
		}
		s.mu.Lock()
		s.last = token
		s.mu.Unlock()
		_, _ = fmt.Fprintf(w, `{"id":%q,"name":"Person %s"}`, subject, subject)
	}))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// providerDocument is a connector for the resource, whose tokens are the provider's.
func providerDocument(issuer, base string) []byte {
	return []byte(strings.NewReplacer("ISSUER", issuer, "BASE", base).Replace(`{"key":"provider","name":"Provider","kind":"http","baseUrl":"BASE","allowedHosts":["127.0.0.1"],
		"auth":[{"key":"oauth","type":"oauth2","label":"Sign in","oauth2":{"grant":"authorizationCode","clientAuth":"client_secret_basic","issuer":"ISSUER",
		"scopes":["openid","offline_access","contacts.read"],"authorizeParams":{"prompt":"consent"},"checkIssuer":true,"oidc":{"nonce":true,"idToken":true},"refresh":{"rotates":true}},
		"test":{"method":"GET","path":"/me","expectStatus":[200],"account":{"id":"$.id","name":"$.name"}},"permissions":"none"}],
		"actions":[{"key":"me","name":"Me","readOnly":true,"input":{"type":"object","properties":{},"additionalProperties":false},"request":{"method":"GET","path":"/me"}}]}`))
}

// The whole life of a connection: a person, a certified authorization server that is not
// ours with its own pages, an API that asks that server about every token.
func TestConnect_ThroughAProvidersOwnPages(t *testing.T) {
	clock := &clock{at: time.Now()}
	x := &consent{t: t, Server: clavigertest.Start(t, clavigertest.Options{EgressAllow: "127.0.0.1", Now: clock.now})}
	x.api = x.Client(x.Key)
	shop, rs := newApplication(t), newResource(t)
	shop.finish = func(id, code string) (api.Connection, error) {
		return x.api.FinishConnectSession(t.Context(), id, code)
	}
	org := x.Do(call{Token: x.Key, Method: "GET", Path: "/v1/whoami"}).Field("organizationId")
	provider := oidcprovider.Start(t, []oidcprovider.Client{{
		"client_id": "broker", "client_secret": "a-secret-of-the-test-only", "redirect_uris": []string{x.URL + "/oauth/callback/" + org + "/provider"},
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}, "token_endpoint_auth_method": "client_secret_basic",
	}}, []string{"contacts.read"})
	rs.issuer = provider.Issuer
	if _, err := x.api.PutConnector(t.Context(), "provider", providerDocument(provider.Issuer, rs.URL)); err != nil {
		t.Fatal(err)
	}
	if _, err := x.api.PutOAuthClient(t.Context(), "provider", api.PutOAuthClient{ClientID: "broker", ClientSecret: "a-secret-of-the-test-only"}); err != nil {
		t.Fatal(err)
	}
	s := x.session(api.CreateConnectSession{AllowedConnectors: []string{"provider", "github"}, ReturnURL: shop.URL + "/back"})

	p := chromium.Start(t).Open(t, chromium.Phone())
	p.Goto(s.ConnectURL)
	p.Click("link", "Provider Sign in at "+provider.Issuer)
	p.See("What is asked for")
	p.Click("button", "Continue to Provider")
	p.At(provider.Issuer + "/interaction/")
	p.Fill("Enter any login", "ada")
	p.Fill("and password", "anything")
	p.Click("button", "Sign-in")
	p.See("contacts.read")
	p.Click("button", "Continue")
	p.At(shop.URL + "/back?")
	p.See("connected provider as ada")
	for _, c := range p.Cookies() {
		if c.Name == "claviger_browser" && (!c.HTTPOnly || c.SameSite != "Lax" || c.Path != "/") {
			t.Errorf("the cookie is %+v", c)
		}
	}

	state, err := x.api.ConnectSession(t.Context(), s.ID)
	if err != nil || state.Status != "completed" {
		t.Fatalf("the session stands at %+v, %v", state, err)
	}
	conn, err := x.api.Connection(t.Context(), state.ConnectionID)
	if err != nil || conn.Account != (api.Account{ID: "ada", Name: "Person ada"}) || conn.Status != "active" || !strings.Contains(sorted(conn.GrantedScopes), "contacts.read") {
		t.Fatalf("the connection is %+v, %v", conn, err)
	}
	first := x.me(conn.ID, rs)
	clock.move(2 * time.Hour)
	second := x.me(conn.ID, rs)
	clock.move(2 * time.Hour)
	third := x.me(conn.ID, rs) // the refresh token was rotated in between
	if first == second || second == third {
		t.Error("an old token was used again")
	}
	if _, ok := rs.active(third); !ok {
		t.Error("the last token is not good before the deletion")
	}
	if _, err := x.api.DeleteConnection(t.Context(), conn.ID, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the provider has ended the token", func() bool { _, ok := rs.active(third); return !ok })
	eventually(t, "every token has its verdict", func() bool {
		gone, err := x.api.Connection(t.Context(), conn.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range gone.Revocations {
			if r.Verdict != "revoked" {
				return false
			}
		}
		return len(gone.Revocations) == 2
	})
}

// me runs the connector's action and answers the token that the API was shown.
func (x *consent) me(id string, rs *resource) string {
	x.t.Helper()
	run, err := x.api.RunAction(x.t.Context(), api.RunAction{ActionIdentifier: "provider.me", ConnectionID: id})
	if err != nil || run.Status != "succeeded" || !strings.Contains(string(run.Output), "ada") {
		x.t.Fatalf("the action answered %+v, %v", run, err)
	}
	return rs.token()
}

func TestConnect_AConnectionsOwnReturnAddress(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	in := api.CreateConnection{Connector: "acme", AuthMethod: "oauth", Name: "mine", ReturnURL: "https://app.example/done"}
	_, err := x.api.CreateConnection(t.Context(), in)
	refused(t, err, 422, "return_url_not_registered")
	in.AuthMethod, in.Credentials = "token", map[string]string{"token": "at_right"}
	_, err = x.api.CreateConnection(t.Context(), in)
	refused(t, err, 422, "no_return")
	in.AuthMethod, in.Credentials, in.ReturnURL = "oauth", nil, "http://127.0.0.1:39999/back"
	conn, err := x.api.CreateConnection(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	b := x.browser()
	arrived := b.get(x.callback(b.leave(conn.AuthorizeURL)))
	q := query(t, arrived.Location)
	if !strings.HasPrefix(arrived.Location, in.ReturnURL+"?") || q.Get("connectionId") != conn.ID || len(q) != 2 {
		t.Errorf("the browser goes to %q", arrived.Location)
	}
	done, err := x.api.FinishConnection(t.Context(), conn.ID, q.Get("finishCode"))
	if err != nil || done.Status != "active" {
		t.Errorf("finished: %+v, %v", done, err)
	}
}
