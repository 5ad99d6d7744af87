package clavigertest_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/clavigertest/resolver"
)

// tenants is a vendor that gives each of its customers a host name, and a server that has
// its connector.
func tenants(t *testing.T, engine clavigertest.Engine) *connected {
	t.Helper()
	c := &connected{vendor: acme.StartTLS(t, "ak_of_the_tenant"), secret: "ak_of_the_tenant"}
	names := resolver.Of(t, map[string][]string{"good.example.com": {"127.0.0.1"}, "evil.example.com": {"127.0.0.1"}})
	c.Server = clavigertest.Start(t, clavigertest.Options{Engine: engine, EgressAllow: "127.0.0.1", Resolver: names, RootCAs: c.vendor.Roots()})
	_, port, err := net.SplitHostPort(c.vendor.Addr())
	if err != nil {
		t.Fatal(err)
	}
	document := strings.Replace(string(acme.DocumentAt("acme", "https://${tenant}.example.com:"+port+acme.Base, "*.example.com")),
		`"allowedHosts"`, `"variables":[{"key":"tenant","label":"Tenant","type":"hostLabel","required":true}],"allowedHosts"`, 1)
	if _, err := c.Client(c.Key).PutConnector(t.Context(), "acme", []byte(document)); err != nil {
		t.Fatal(err)
	}
	made, err := c.Client(c.Key).CreateConnection(t.Context(), api.CreateConnection{
		Connector: "acme", AuthMethod: "key", Name: "hosted", Credentials: map[string]string{"apiKey": c.secret}, Settings: map[string]string{"tenant": "good"},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.id = made.ID
	c.vendor.Forget()
	return c
}

// patch changes the connection.
func (c *connected) patch(body any) *clavigertest.Answer {
	return c.Do(call{Token: c.Key, Method: "PATCH", Path: "/v1/connections/" + c.id, Body: body})
}

// staysAt checks that the connection works and that its secret has gone to this host only.
func (c *connected) staysAt(t *testing.T, host string) {
	t.Helper()
	if a := c.through("GET", "/x", nil); a.Status != 200 {
		t.Errorf("it no longer works: %d %s", a.Status, a.Body)
	}
	for _, r := range c.vendor.Received() {
		if name, _, _ := net.SplitHostPort(r.Host); name != host {
			t.Errorf("the secret went to %s: %s", r.Host, r.Dump())
		}
	}
	c.vendor.Forget()
}

func TestAbuse_112_AnotherOriginNeedsTheSecretAgain(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := tenants(t, engine)
		for _, body := range []string{
			`{"settings":{"tenant":"evil"}}`,
			`{"settings":{"tenant":"evil"},"validate":false}`,
			`{"settings":{"tenant":"evil"},"credentials":{},"validate":false}`,
			`{"settings":{"tenant":"evil"},"credentials":{"apiKey":"***REDACTED***"},"validate":false}`,
			`{"settings":{"tenant":"evil"},"connectorVersion":1,"validate":false}`,
			`{"settings":{"tenant":"evil"},"allowAccountChange":true,"name":"moved","validate":false}`,
		} {
			if a := c.patch(body); a.Status != 422 || !strings.HasPrefix(a.Fault().Param, "credentials.apiKey") {
				t.Errorf("%s: %d %s", body, a.Status, a.Body)
			}
		}
		c.staysAt(t, "good.example.com")

		// The row itself points elsewhere: nothing opens, nothing leaves.
		db := database(t, c.Server)
		var settings string
		if err := db.QueryRowContext(t.Context(), "SELECT settings FROM connections WHERE id = $1", c.id).Scan(&settings); err != nil {
			t.Fatal(err)
		}
		exec(t, db, "UPDATE connections SET settings = $1 WHERE id = $2", strings.Replace(settings, "good", "evil", 1), c.id)
		exec(t, db, "UPDATE connections SET destination = replace(destination, 'good', 'evil') WHERE id = $1", c.id)
		again := c.Options()
		again.Resolver = resolver.Of(t, map[string][]string{"evil.example.com": {"127.0.0.1"}})
		again.RootCAs = c.vendor.Roots()
		key := c.Key
		c.Stop()
		refusedUnreadable(t, clavigertest.Start(t, again), key, c.id)
		if n := len(c.vendor.Received()); n != 0 {
			t.Errorf("%d requests left", n)
		}
	})
}

func TestAbuse_112_WithTheSecretItMoves(t *testing.T) {
	c := tenants(t, clavigertest.SQLite)
	a := c.patch(map[string]any{"settings": map[string]string{"tenant": "evil"}, "credentials": map[string]string{"apiKey": c.secret}})
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	c.vendor.Forget()
	c.staysAt(t, "evil.example.com")
}

func TestAbuse_113_AnEditedBaseURLInheritsNothing(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		old, next := acme.Start(t, "ak_given_for_the_old"), acme.Start(t, "ak_given_for_the_old")
		w := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine, EgressAllow: "127.0.0.1"})
		put := func(v *acme.Vendor) {
			t.Helper()
			if _, err := w.Client(w.A.Owner).PutConnector(t.Context(), "edited", v.Document("edited")); err != nil {
				t.Fatal(err)
			}
		}
		put(old)
		made, err := w.Client(w.A.Owner).CreateConnection(t.Context(), api.CreateConnection{
			Connector: "edited", AuthMethod: "key", Name: "of the old", WorkspaceID: w.A.Workspaces[0], Credentials: map[string]string{"apiKey": "ak_given_for_the_old"},
		})
		if err != nil {
			t.Fatal(err)
		}
		put(next)
		path := "/v1/connections/" + made.ID
		use := func(token string) {
			w.Do(call{Token: token, Method: "GET", Path: path + "/proxy/x"})
			w.Do(call{Token: token, Method: "POST", Path: path + "/test"})
			w.Do(call{Token: token, Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "edited.list-contacts", "connectionId": made.ID}})
		}
		use(w.A.Owner)
		if len(next.Received()) != 0 || len(old.Received()) < 3 {
			t.Errorf("the new origin got %d requests, the old one %d", len(next.Received()), len(old.Received()))
		}
		// Nobody but who owns it, or administers users, approves; another tenant not at all.
		developer, _ := w.APIKey(t, w.A, api.CreateAPIKey{Name: "developer", Scopes: []string{"connections:update", "connections:read", "connections:proxy", "connections:test", "actions:run", "connectors:write"}})
		for who, token := range map[string]string{"a scoped token": w.ScopedA1, "another tenant": w.B.Owner, "a viewer": w.Viewer} {
			if a := w.Do(call{Token: token, Method: "PATCH", Path: path, Body: `{"connectorVersion":2,"validate":false}`}); a.Status != 403 && a.Status != 404 {
				t.Errorf("%s approved: %d %s", who, a.Status, a.Body)
			}
		}
		use(w.ScopedA1)
		use(developer)
		if len(next.Received()) != 0 {
			t.Errorf("unapproved, the new origin got %s", next.Last(t).Dump())
		}
		if a := w.Do(call{Token: w.A.Owner, Method: "PATCH", Path: path, Body: `{"connectorVersion":2}`}); a.Status != 200 {
			t.Fatalf("the owner's approval: %d %s", a.Status, a.Body)
		}
		old.Forget()
		use(w.A.Owner)
		if len(next.Received()) == 0 || len(old.Received()) != 0 {
			t.Errorf("approved, the new origin got %d requests, the old one %d", len(next.Received()), len(old.Received()))
		}
	})
}

func TestAbuse_113_AnEditedFileInheritsNothing(t *testing.T) {
	old, next := acme.Start(t, "ak_given_for_the_old"), acme.Start(t, "ak_given_for_the_old")
	folder := t.TempDir()
	write := func(v *acme.Vendor) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, "edited.json"), v.Document("edited"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(old)
	s := clavigertest.Start(t, clavigertest.Options{EgressAllow: "127.0.0.1", ConnectorsDir: folder})
	made, err := s.Client(s.Key).CreateConnection(t.Context(), api.CreateConnection{
		Connector: "edited", AuthMethod: "key", Name: "of the old", Credentials: map[string]string{"apiKey": "ak_given_for_the_old"},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(next)
	eventually(t, "the edited file is read", func() bool {
		a := s.Do(call{Token: s.Key, Method: "GET", Path: proxy(made.ID, "/x")})
		return a.Status == 409 && a.Header.Get("Claviger-Error") == "destination_changed"
	})
	for _, c := range []call{
		{Method: "POST", Path: "/v1/connections/" + made.ID + "/test"},
		{Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "edited.list-contacts", "connectionId": made.ID}},
		{Method: "PATCH", Path: "/v1/connections/" + made.ID, Body: `{"name":"renamed"}`},
		{Method: "PATCH", Path: "/v1/connections/" + made.ID, Body: `{"settings":{},"validate":false}`},
	} {
		c.Token = s.Key
		if a := s.Do(c); a.Status == 200 && c.Method == "PATCH" {
			t.Errorf("%v: %d %s", c.Body, a.Status, a.Body)
		}
	}
	if n := len(next.Received()); n != 0 {
		t.Errorf("unapproved, the new origin got %s", next.Last(t).Dump())
	}
	if a := s.Do(call{Token: s.Key, Method: "PATCH", Path: "/v1/connections/" + made.ID, Body: `{"credentials":{"apiKey":"ak_given_for_the_old"}}`}); a.Status != 200 {
		t.Fatalf("given again: %d %s", a.Status, a.Body)
	}
	if a := s.Do(call{Token: s.Key, Method: "GET", Path: proxy(made.ID, "/x")}); a.Status != 200 || len(next.Received()) == 0 {
		t.Errorf("given again, it is not used: %d %s", a.Status, a.Body)
	}
}

func TestAbuse_114_TestingHasNoFreedomOfItsOwn(t *testing.T) {
	c := connect(t, clavigertest.Options{EgressAllow: "127.0.0.1"}, "ak_to_be_tested")
	trap := acme.Start(t, c.secret)
	url := "http://" + trap.Addr() + "/v2/me"
	elsewhere := []string{"url", "baseUrl", "baseURL", "host", "path", "test", "endpoint", "headers", "header", "destination", "proxy", "allowedHosts", "redirect"}
	headers := http.Header{
		"X-Forwarded-Host": {trap.Addr()}, "X-Original-Url": {url}, "X-Rewrite-Url": {url}, "Forwarded": {"host=" + trap.Addr()}, "X-Host": {trap.Addr()},
		"Claviger-Base-Url": {url}, "X-Api-Key": {"mine"}, "X-Extra": {"mine"}, "Referer": {url}, "Origin": {"http://" + trap.Addr()},
	}
	body := func(field string, of map[string]any) map[string]any {
		out := map[string]any{field: url}
		for name, value := range of {
			out[name] = value
		}
		return out
	}
	creation := map[string]any{"connector": "acme", "authMethod": "key", "name": "tested", "credentials": map[string]string{"apiKey": c.secret}}
	for _, field := range elsewhere {
		for _, attack := range []call{
			{Method: "POST", Path: "/v1/connections/" + c.id + "/test", Body: body(field, nil)},
			{Method: "POST", Path: "/v1/connections/" + c.id + "/test?" + field + "=" + url},
			{Method: "POST", Path: "/v1/connections/" + c.id + "/test", Header: headers},
			{Method: "POST", Path: "/v1/connections", Body: body(field, creation)},
			{Method: "POST", Path: "/v1/connections", Body: body("settings", creation), Header: headers},
			{Method: "POST", Path: "/v1/connections", Body: func() any {
				out := body("name", creation)
				out["settings"] = map[string]string{field: url}
				return out
			}()},
			{Method: "PATCH", Path: "/v1/connections/" + c.id, Body: body(field, map[string]any{"credentials": map[string]string{"apiKey": c.secret}})},
			{Method: "PATCH", Path: "/v1/connections/" + c.id, Body: map[string]any{"settings": map[string]string{field: url}, "credentials": map[string]string{"apiKey": c.secret}}},
			{Method: "POST", Path: "/v1/explain", Body: body(field, map[string]any{"connectionId": c.id})},
		} {
			attack.Token = c.Key
			a := c.Do(attack)
			if strings.Contains(string(a.Body), trap.Addr()) {
				t.Errorf("%s %s with %s repeats the address: %d %s", attack.Method, attack.Path, field, a.Status, a.Body)
			}
		}
	}
	if n := len(trap.Received()); n != 0 {
		t.Errorf("%d requests reached the trap, the last: %s", n, trap.Last(t).Dump())
	}
	for _, address := range c.Dials.All() {
		if address != c.vendor.Addr() {
			t.Errorf("dialled %s", address)
		}
	}
	tested := 0
	for _, r := range c.vendor.Received() {
		if r.Method != "GET" || r.Target != "/v2/me" || r.Host != c.vendor.Addr() || strings.Contains(r.Dump(), "mine") || strings.Contains(r.Dump(), trap.Addr()) {
			t.Errorf("not the connector's own test: %s", r.Dump())
		}
		tested++
	}
	if tested == 0 {
		t.Error("nothing was tested")
	}
}

func TestAbuse_132_HTTPSDoesNotFallToHTTP(t *testing.T) {
	c := connect(t, clavigertest.Options{EgressAllow: "127.0.0.1", Resolver: public(t)}, "ak_over_tls_only")
	at := func(base string) []byte {
		host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(base, "https://"), "http://"), "/")
		return acme.DocumentAt("safe", base, strings.Split(host, ":")[0])
	}
	put := func(base string) *clavigertest.Answer {
		return c.Do(call{Token: c.Key, Method: "PUT", Path: "/v1/connectors/safe", Body: string(at(base))})
	}
	if a := put("https://crm.vendor.example/v2"); a.Status != 201 && a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	for _, base := range []string{"http://crm.vendor.example/v2", "HTTP://crm.vendor.example/v2", "http://crm.vendor.example:443/v2", "//crm.vendor.example/v2", "crm.vendor.example/v2", "http://8.8.8.8/v2", "ws://crm.vendor.example/v2"} {
		if a := put(base); a.Status != 422 {
			t.Errorf("%s: %d %s", base, a.Status, a.Body)
		}
	}
	known, err := c.Client(c.Key).Connector(t.Context(), "safe", 0)
	if err != nil || known.Version != 1 || !strings.HasPrefix(known.BaseURL, "https://") {
		t.Errorf("the connector is now %+v, %v", known, err)
	}
	no := false
	made, err := c.Client(c.Key).CreateConnection(t.Context(), api.CreateConnection{
		Connector: "safe", AuthMethod: "key", Name: "safe", Credentials: map[string]string{"apiKey": c.secret}, Validate: &no,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		`{"connectorVersion":2}`, `{"settings":{"scheme":"http"},"validate":false}`, `{"settings":{"baseUrl":"http://crm.vendor.example"},"validate":false}`, `{"baseUrl":"http://crm.vendor.example"}`,
	} {
		if a := c.Do(call{Token: c.Key, Method: "PATCH", Path: "/v1/connections/" + made.ID, Body: body}); a.Status != 422 {
			t.Errorf("%s: %d %s", body, a.Status, a.Body)
		}
	}
}

// TestAbuse_132_APlainConnectorIsOpenedByTheInstanceAlone takes a database whose instance
// had opened a plain origin to one that has not: what is stored opens nothing.
func TestAbuse_132_APlainConnectorIsOpenedByTheInstanceAlone(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := connect(t, clavigertest.Options{Engine: engine}, "ak_of_a_plain_origin")
		again := c.Options()
		c.Stop()
		again.EgressAllow = ""
		strict := clavigertest.Start(t, again)
		a := strict.Do(call{Token: c.Key, Method: "GET", Path: proxy(c.id, "/x")})
		if a.Status < 400 || a.Header.Get("Claviger-Error") == "" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if len(c.vendor.Received()) != 0 || len(strict.Dials.All()) != 0 {
			t.Errorf("%d requests, dialled %v", len(c.vendor.Received()), strict.Dials.All())
		}
	})
}

func TestAbuse_183_ASecretStaysWithItsConnection(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine, EgressAllow: "127.0.0.1"})
		trap := acme.Start(t, w.A.Secret)
		if _, err := w.Client(w.A.Owner).PutConnector(t.Context(), "trap", trap.Document("trap")); err != nil {
			t.Fatal(err)
		}
		id := w.A.Connections[0]
		path := "/v1/connections/" + id
		before := w.Do(call{Token: w.A.Owner, Method: "GET", Path: path})
		for field, value := range map[string]any{
			"connector": "trap", "authMethod": "bearer", "kind": "sql", "type": "sql", "usage": "syncExecution", "ownerId": "usr_01jd5z8k4xe3vbmt0q6y2r9whc", "owner": "me",
			"workspaceId": w.A.Workspaces[1], "organizationId": w.B.ID, "visibility": "personal", "destination": "trap http://" + trap.Addr(), "baseUrl": "http://" + trap.Addr(),
			"host": trap.Addr(), "slot": "x", "id": w.A.Connections[1], "account": map[string]string{"id": "other"}, "status": "active", "revision": 1, "allowedHosts": []string{"*"},
		} {
			for _, with := range []map[string]any{{field: value}, {field: value, "validate": false}, {field: value, "name": "moved"}, {"metadata": map[string]string{"a": "b"}, field: value}} {
				if a := w.Do(call{Token: w.A.Owner, Method: "PATCH", Path: path, Body: with}); a.Status != 422 {
					t.Errorf("%s: %d %s", field, a.Status, a.Body)
				}
			}
		}
		for _, c := range []call{
			{Method: "POST", Path: path + "/move", Body: `{"workspaceId":"` + w.A.Workspaces[1] + `"}`},
			{Method: "POST", Path: path + "/copy"},
			{Method: "PUT", Path: path, Body: `{"connector":"trap"}`},
			{Method: "POST", Path: "/v1/connections", Body: map[string]any{"connector": "trap", "authMethod": "key", "name": "copy", "credentials": map[string]string{"apiKey": id}, "copyFrom": id}},
			{Method: "POST", Path: "/v1/connections", Body: map[string]any{"connector": "trap", "authMethod": "key", "name": "copy", "credentials": map[string]string{"apiKey": "***REDACTED***"}}},
		} {
			c.Token = w.A.Owner
			if a := w.Do(c); a.Status < 400 {
				t.Errorf("%s %s: %d %s", c.Method, c.Path, a.Status, a.Body)
			}
		}
		after := w.Do(call{Token: w.A.Owner, Method: "GET", Path: path})
		if string(before.Body) != string(after.Body) {
			t.Errorf("it changed:\n%s\n%s", before.Body, after.Body)
		}
		if n := len(trap.Received()); n != 0 {
			t.Errorf("the trap got %s", trap.Last(t).Dump())
		}
		// Nor does the database move it: the row's facts are bound in.
		db := database(t, w.Server)
		exec(t, db, "UPDATE connections SET connector = 'trap', connector_version = 1, destination = $1 WHERE id = $2", "trap http://"+trap.Addr(), id)
		again := w.Options()
		w.Stop()
		s := clavigertest.Start(t, again)
		if a := s.Do(call{Token: w.A.Owner, Method: "GET", Path: proxy(id, "/x")}); a.Status != 500 || a.Header.Get("Claviger-Error") != "credential_unreadable" {
			t.Errorf("the moved row: %d %s", a.Status, a.Body)
		}
		if n := len(trap.Received()); n != 0 {
			t.Errorf("the trap got %s", trap.Last(t).Dump())
		}
	})
}
