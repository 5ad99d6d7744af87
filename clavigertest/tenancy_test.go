package clavigertest_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
)

// faceless answers an answer's text with the parts taken out that differ between any two
// answers: the ids of the request and of the object that was asked for, and the date.
func faceless(a *clavigertest.Answer, id string) string {
	h := a.Header.Clone()
	request := h.Get("Claviger-Request-Id")
	h.Del("Claviger-Request-Id")
	h.Del("Date")
	header, _ := json.Marshal(h)
	return http.StatusText(a.Status) + string(header) + strings.NewReplacer(request, "REQUEST", id, "ID").Replace(string(a.Body))
}

func TestAbuse_002_004_019_ForeignLooksLikeAbsent(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine})
		foreign, err := claviger.NewID(claviger.PrefixConnection, time.Now(), strings.NewReader("ten bytes and ten more"))
		if err != nil {
			t.Fatal(err)
		}
		w.Vendor.Forget()
		for name, each := range map[string]struct {
			method, path string
			body         any
		}{
			"get": {"GET", "/v1/connections/ID", nil}, "rename": {"PATCH", "/v1/connections/ID", map[string]string{"name": "mine"}},
			"rotate": {"PATCH", "/v1/connections/ID", map[string]any{"credentials": map[string]string{"apiKey": "ak_secret_of_b_0001"}}},
			"delete": {"DELETE", "/v1/connections/ID?force=true", nil}, "test": {"POST", "/v1/connections/ID/test", nil},
			"disable": {"POST", "/v1/connections/ID/disable", nil}, "enable": {"POST", "/v1/connections/ID/enable", nil},
			"references": {"GET", "/v1/connections/ID/references", nil}, "usage": {"GET", "/v1/connections/ID/usage", nil},
			"events": {"GET", "/v1/connections/ID/events", nil}, "proxy": {"GET", "/v1/connections/ID/proxy/contacts", nil},
			"run":     {"POST", "/v1/actions/run", map[string]any{"actionIdentifier": "acme.list-contacts", "connectionId": "ID"}},
			"explain": {"POST", "/v1/explain", map[string]any{"connectionId": "ID", "method": "GET", "path": "/x"}},
		} {
			t.Run(name, func(t *testing.T) {
				ask := func(id string) *clavigertest.Answer {
					var body any
					if each.body != nil {
						text, _ := json.Marshal(each.body)
						body = strings.ReplaceAll(string(text), "ID", id)
					}
					return w.Do(call{Token: w.B.Owner, Method: each.method, Path: strings.ReplaceAll(each.path, "ID", id), Body: body})
				}
				theirs, nobodys := ask(w.A.Connections[0]), ask(foreign)
				if theirs.Status != http.StatusNotFound {
					t.Errorf("%d %s", theirs.Status, theirs.Body)
				}
				if a, b := faceless(theirs, w.A.Connections[0]), faceless(nobodys, foreign); a != b {
					t.Errorf("a foreign object can be told from none:\n%s\n%s", a, b)
				}
			})
		}
		if n := len(w.Vendor.Received()); n != 0 {
			t.Errorf("%d requests left for the vendor", n)
		}
		deniedInOneLedger(t, w)
	})
}

// deniedInOneLedger checks that the attempts stand in the ledger of who tried, and that
// the other's knows nothing of them.
func deniedInOneLedger(t *testing.T, w *clavigertest.Twins) {
	t.Helper()
	eventually(t, "denials in B's ledger", func() bool { return len(w.Audit(t, w.B.Owner, "outcome=denied&limit=100")) >= 26 })
	for _, e := range w.Audit(t, w.B.Owner, "limit=100") {
		if e.OrganizationID != w.B.ID {
			t.Errorf("B's ledger shows an entry of %s", e.OrganizationID)
		}
	}
	for _, e := range w.Audit(t, w.A.Owner, "limit=100") {
		if e.OrganizationID != w.A.ID || e.Outcome == "denied" {
			t.Errorf("A's ledger shows %+v", e)
		}
	}
}

// longest bounds every wait.
const longest = clavigertest.Patience

// eventually waits for what another goroutine of the server does within moments; the queue
// looks for jobs that were put off every five seconds, and on PostgreSQL that of a process
// that was killed leads on for some seconds before another's does.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(longest)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %s", longest, what)
		}
	}
}

func TestAbuse_005_ListsStayAtHome(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine})
		for _, path := range []string{
			"/v1/connections", "/v1/workspaces", "/v1/users", "/v1/applications", "/v1/api-keys", "/v1/connectors", "/v1/actions", "/v1/secrets", "/v1/audit", "/v1/usage",
		} {
			for _, query := range []string{
				"", "?org_id=" + w.A.ID, "?organizationId=" + w.A.ID, "?filter[org]=" + w.A.ID, "?workspace=" + w.A.Workspaces[0], "?workspaceId=" + w.A.Workspaces[0],
				"?workspaceId=" + w.B.Workspaces[0] + "&workspaceId=" + w.A.Workspaces[0], "?workspaceId[]=" + w.A.Workspaces[0], "?owner=" + w.A.ID,
			} {
				a := w.Do(call{Token: w.B.Owner, Method: "GET", Path: path + query})
				if a.Status >= 500 || a.Status < 400 && a.Status != 200 {
					t.Errorf("%s%s: %d", path, query, a.Status)
				}
				for _, id := range slices.Concat([]string{w.A.ID, w.ViewerID, "crm of a"}, w.A.Workspaces, w.A.Connections) {
					if strings.Contains(string(a.Body), id) && !strings.Contains(query, id) {
						t.Errorf("%s%s shows %s", path, query, id)
					}
				}
				if a.Status == 200 && strings.Contains(query, "=") && !strings.Contains(query, w.B.Workspaces[0]) && strings.Contains(query, w.A.Workspaces[0]) && strings.Contains(string(a.Body), `"id":"conn_`) {
					t.Errorf("%s%s answers rows: %s", path, query, a.Body)
				}
			}
		}
	})
}

func TestAbuse_006_ACursorOfAnotherTenantIsNone(t *testing.T) {
	w := clavigertest.NewTwins(t, clavigertest.Options{})
	page := w.Do(call{Token: w.A.Owner, Method: "GET", Path: "/v1/connections?limit=1"})
	cursor := page.Field("nextCursor")
	if cursor == "" {
		t.Fatalf("no second page: %s", page.Body)
	}
	if a := w.Do(call{Token: w.A.Owner, Method: "GET", Path: "/v1/connections?limit=1&after=" + cursor}); a.Status != 200 {
		t.Errorf("its own page: %d %s", a.Status, a.Body)
	}
	flipped := []byte(cursor)
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]call{
		"another tenant": {Token: w.B.Owner, Path: "/v1/connections?limit=1&after=" + cursor},
		"another route":  {Token: w.A.Owner, Path: "/v1/workspaces?limit=1&after=" + cursor},
		"another filter": {Token: w.A.Owner, Path: "/v1/connections?limit=1&status=active&after=" + cursor},
		"changed":        {Token: w.A.Owner, Path: "/v1/connections?limit=1&after=" + string(flipped)},
	} {
		c.Method = "GET"
		if a := w.Do(c); a.Status != 422 || a.Fault().Code != "invalid_cursor" {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}

func TestAbuse_012_APersonalConnectionServesItsOwner(t *testing.T) {
	w := clavigertest.NewTwins(t, clavigertest.Options{})
	admin := w.Client(w.A.Owner)
	conn, err := w.Client(w.ScopedA1).CreateConnection(t.Context(), api.CreateConnection{
		Connector: "acme", AuthMethod: "key", Name: "mine", Visibility: "personal", Credentials: map[string]string{"apiKey": w.A.Secret},
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := w.Do(call{Token: w.ScopedA1, Method: "GET", Path: proxy(conn.ID, "/contacts")}); a.Status != 200 {
		t.Errorf("its owner: %d %s", a.Status, a.Body)
	}
	w.Vendor.Forget()
	if seen, err := admin.Connection(t.Context(), conn.ID); err != nil || seen.ID != conn.ID {
		t.Errorf("an owner of the organization does not see that it exists: %v", err)
	}
	for name, c := range map[string]call{
		"proxy":    {Method: "GET", Path: proxy(conn.ID, "/contacts")},
		"action":   {Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme.list-contacts", "connectionId": conn.ID}},
		"test":     {Method: "POST", Path: "/v1/connections/" + conn.ID + "/test"},
		"re-point": {Method: "PATCH", Path: "/v1/connections/" + conn.ID, Body: map[string]any{"credentials": map[string]string{"apiKey": "ak_something_else"}}},
	} {
		c.Token = w.A.Owner
		if a := w.Do(c); a.Status != 403 || a.Fault().Code != "personal_connection" {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
		c.Token = w.Viewer
		if a := w.Do(c); a.Status != 403 && a.Status != 404 {
			t.Errorf("%s by a viewer: %d %s", name, a.Status, a.Body)
		}
	}
	if n := len(w.Vendor.Received()); n != 0 {
		t.Errorf("%d requests left", n)
	}
	if _, err := admin.DeleteConnection(t.Context(), conn.ID, false); err != nil {
		t.Errorf("an owner of the organization cannot delete it: %v", err)
	}
}

func TestAbuse_013_ADisabledPersonIsOutOnEveryNode(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		one := clavigertest.Start(t, clavigertest.Options{Engine: engine})
		options := one.Options()
		if engine == clavigertest.PostgreSQL {
			options.Data = copyKey(t, one)
		}
		c := &clock{at: time.Now()}
		options.Now = c.now
		two := clavigertest.Start(t, options)
		who, err := one.Client(one.Key).Whoami(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		operator := one.Mint(t, one.ClientID, one.ClientSecret)
		if a := two.Do(call{Token: one.Key, Method: "GET", Path: "/v1/whoami"}); a.Status != 200 {
			t.Fatalf("the second node: %d %s", a.Status, a.Body)
		}
		disabled := map[string]any{"disabled": true}
		second, err := one.Client(operator).CreateUser(t.Context(), api.CreateUser{Name: "Grace", Email: "grace@acme.example", Role: "owner"})
		if err != nil {
			t.Fatal(err)
		}
		if a := one.Do(call{Token: operator, Method: "PATCH", Path: "/v1/users/" + who.UserID, Body: disabled}); a.Status != 200 {
			t.Fatalf("disabling %s beside %s: %d %s", who.UserID, second.ID, a.Status, a.Body)
		}
		if a := one.Do(call{Token: one.Key, Method: "GET", Path: "/v1/whoami"}); a.Status != 401 {
			t.Errorf("the node itself: %d", a.Status)
		}
		c.move(5 * time.Second) // what it remembers is not believed for longer
		if a := two.Do(call{Token: one.Key, Method: "GET", Path: "/v1/whoami"}); a.Status != 401 {
			t.Errorf("the other node: %d", a.Status)
		}
	})
}

func TestAbuse_016_ConnectionsToTheVendorAreNotShared(t *testing.T) {
	w := clavigertest.NewTwins(t, clavigertest.Options{})
	var mu sync.Mutex
	secrets := map[string]map[string]bool{} // by the socket that they came over
	w.Vendor.Behave(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if secrets[r.RemoteAddr] == nil {
			secrets[r.RemoteAddr] = map[string]bool{}
		}
		secrets[r.RemoteAddr][acme.SecretOf(r)] = true
		rw.Header().Set("Cache-Control", "max-age=3600")
		rw.Header().Set("Etag", `"1"`)
		_, _ = rw.Write([]byte(acme.SecretOf(r)[:14]))
	})
	for range 20 {
		for token, id := range map[string]string{w.A.Owner: w.A.Connections[0], w.B.Owner: w.B.Connections[0]} {
			want := w.A.Secret
			if token == w.B.Owner {
				want = w.B.Secret
			}
			if a := w.Do(call{Token: token, Method: "GET", Path: proxy(id, "/same")}); a.Status != 200 || string(a.Body) != want[:14] {
				t.Fatalf("%d %s, want %s", a.Status, a.Body, want[:14])
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for socket, seen := range secrets {
		if len(seen) != 1 {
			t.Errorf("over one socket (%s) came credentials of %d tenants", socket, len(seen))
		}
	}
	if len(secrets) >= 40 {
		t.Errorf("%d sockets for 40 calls: nothing was kept alive, so nothing was proven", len(secrets))
	}
}

func TestAbuse_223_TheLedgerOfATenantIsItsOwn(t *testing.T) {
	w := clavigertest.NewTwins(t, clavigertest.Options{})
	for _, token := range []string{w.A.Owner, w.A.Operator, w.Key} {
		for _, e := range w.Audit(t, token, "limit=100") {
			if e.OrganizationID == w.B.ID {
				t.Errorf("an entry of B is shown to another: %+v", e)
			}
		}
	}
	for _, c := range []call{
		{Token: w.ScopedA1, Method: "GET", Path: "/v1/audit"},
		{Token: w.Viewer, Method: "GET", Path: "/v1/audit"},
		{Token: w.A.Owner, Method: "DELETE", Path: "/v1/audit"},
		{Token: w.A.Owner, Method: "PATCH", Path: "/v1/audit", Body: "{}"},
		{Token: w.A.Owner, Method: "POST", Path: "/v1/audit", Body: "{}"},
		{Token: w.A.Owner, Method: "PUT", Path: "/v1/audit", Body: "{}"},
	} {
		if a := w.Do(c); a.Status != 403 && a.Status != 405 {
			t.Errorf("%s %s: %d %s", c.Method, c.Path, a.Status, a.Body)
		}
	}
}
