package clavigertest_test

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
)

// block makes every insert into the ledger fail, through a connection of its own, and
// answers how to let them through again.
func block(t *testing.T, engine clavigertest.Engine, db *sql.DB) (release func()) {
	t.Helper()
	make, drop := []string{"CREATE TRIGGER full_disk BEFORE INSERT ON ledger BEGIN SELECT RAISE(FAIL, 'the disk is full'); END"}, "DROP TRIGGER full_disk"
	if engine == clavigertest.PostgreSQL {
		make = []string{
			"CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$",
			"CREATE TRIGGER full_disk BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION full_disk()",
		}
		drop = "DROP TRIGGER full_disk ON ledger"
	}
	for _, statement := range make {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if _, err := db.ExecContext(t.Context(), drop); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAbuse_216_WithoutTheLedgerNothingIsDone(t *testing.T) {
	for _, mode := range []string{"strict", "relaxed"} {
		t.Run(mode, func(t *testing.T) {
			clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
				c := connect(t, clavigertest.Options{Engine: engine, LedgerMode: mode}, "ak_unwritten_secret")
				db := database(t, c.Server)
				if a := c.through("GET", "/x", nil); a.Status != 200 || c.Admin("/readyz").Status != 200 {
					t.Fatalf("%d, ready %d", a.Status, c.Admin("/readyz").Status)
				}
				release := block(t, engine, db)
				if mode == "relaxed" { // here it is noticed with the first flush
					eventually(t, "the writer notices", func() bool { c.through("GET", "/unnoticed", nil); return c.Admin("/readyz").Status == 503 })
				}
				c.vendor.Forget()
				for _, each := range []call{
					{Method: "GET", Path: proxy(c.id, "/x")},
					{Method: "POST", Path: "/v1/connections/" + c.id + "/test"},
					{Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme.list-contacts", "connectionId": c.id}},
				} {
					each.Token = c.Key
					if a := c.Do(each); a.Status != 503 || a.Fault().Code != "audit_unavailable" || a.Header.Get("Retry-After") == "" {
						t.Errorf("%s: %d %s", each.Path, a.Status, a.Body)
					}
				}
				managementRefused(t, c)
				if n := len(c.vendor.Received()); n != 0 {
					t.Errorf("%d requests left for the vendor", n)
				}
				if a := c.Admin("/readyz"); a.Status != 503 || !strings.Contains(string(a.Body), "audit_unavailable") {
					t.Errorf("readiness: %d %s", a.Status, a.Body)
				}
				if a := c.Do(call{Token: c.Key, Method: "GET", Path: "/v1/connections/" + c.id}); a.Status != 200 {
					t.Errorf("a plain read: %d %s", a.Status, a.Body)
				}
				release()
				eventually(t, "it recovers by itself", func() bool { return c.Admin("/readyz").Status == 200 && c.through("GET", "/x", nil).Status == 200 })
				c.Stop()
				if r := verify(t, c.Settings); !r.Intact() {
					t.Errorf("afterwards: %+v", r.Findings)
				}
			})
		})
	}
}

// managementRefused tries changes, each of which commits with its entry or not at all.
func managementRefused(t *testing.T, c *connected) {
	t.Helper()
	for _, each := range []call{
		{Method: "POST", Path: "/v1/workspaces", Body: map[string]string{"name": "unwritten"}},
		{Method: "DELETE", Path: "/v1/connections/" + c.id},
		{Method: "POST", Path: "/v1/api-keys", Body: map[string]string{"name": "unwritten"}},
		{Method: "PUT", Path: "/v1/secrets/shared/a/b", Body: map[string]string{"value": "unwritten"}},
		{Method: "POST", Path: "/api/v1/account/applications/token", Body: map[string]string{"client_id": c.ClientID, "client_secret": c.ClientSecret}},
	} {
		each.Token = c.Key
		if each.Path == "/api/v1/account/applications/token" {
			each.Token = ""
		}
		if a := c.Do(each); a.Status < 500 {
			t.Errorf("%s: %d %s", each.Path, a.Status, a.Body)
		} else if strings.Contains(string(a.Body), "disk") || strings.Contains(string(a.Body), "unwritten") {
			t.Errorf("%s tells too much: %s", each.Path, a.Body)
		}
	}
	for _, path := range []string{"/v1/workspaces", "/v1/api-keys", "/v1/secrets"} {
		if a := c.Do(call{Token: c.Key, Method: "GET", Path: path}); strings.Contains(string(a.Body), "unwritten") || strings.Contains(string(a.Body), "shared/a/b") {
			t.Errorf("%s shows what was refused: %s", path, a.Body)
		}
	}
	if a := c.Do(call{Token: c.Key, Method: "GET", Path: "/v1/connections/" + c.id}); a.Field("status") != "active" {
		t.Errorf("the refused deletion left %s", a.Body)
	}
}

func TestAbuse_217_TheEntryIsThereBeforeTheFirstByte(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		const callers, each = 16, 25
		c := connect(t, clavigertest.Options{Engine: engine}, "ak_order_secret")
		db := database(t, c.Server) // another connection: it sees only what is committed
		var arrived atomic.Int64
		c.vendor.Behave(func(w http.ResponseWriter, r *http.Request) {
			var allowed int64
			n := arrived.Add(1) // of requests that arrived, at least n must be allowed by now
			if err := db.QueryRowContext(r.Context(), "SELECT COUNT(*) FROM ledger WHERE connection = $1 AND verb = 'connections:proxy' AND outcome = 'allowed'", c.id).Scan(&allowed); err != nil || allowed < n {
				t.Errorf("request %d arrived and %d are in the ledger: %v", n, allowed, err)
			}
			w.WriteHeader(http.StatusNoContent)
		})
		proxied := c.Client(c.Key).Proxy(c.id)
		done := make(chan error, callers)
		for range callers {
			go func() {
				var err error
				for range each {
					resp, e := proxied.Get("http://vendor/x")
					if e != nil {
						err = e
						break
					}
					_ = resp.Body.Close()
				}
				done <- err
			}()
		}
		for range callers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if n := arrived.Load(); n != callers*each {
			t.Errorf("%d of %d calls arrived", n, callers*each)
		}
		t.Logf("%d calls", arrived.Load())
	})
}

func TestAbuse_218_RefusalsAreWrittenDown(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine})
		conn := w.A.Connections[0]
		for name, each := range map[string]struct {
			call
			verb, code string
		}{
			"no permission": {call{Token: w.Viewer, Method: "DELETE", Path: "/v1/connections/" + conn}, "connections:delete", "permission_denied"},
			"wrong kind":    {call{Token: w.ScopedA1, Method: "GET", Path: "/v1/audit"}, "audit:read", "wrong_token_kind"},
			"out of scope":  {call{Token: w.ScopedA2, Method: "GET", Path: proxy(conn, "/x")}, "connections:proxy", "not_found"},
			"revoked key":   {call{Token: w.Revoked, Method: "GET", Path: "/v1/whoami"}, "authentication:fail", ""},
			"bad path":      {call{Token: w.A.Owner, Method: "GET", Path: proxy(conn, "/%25252e%25252e/x")}, "connections:proxy", "invalid_path"},
			"bad client":    {call{Method: "POST", Path: "/api/v1/account/applications/token", Body: map[string]string{"client_id": w.A.ClientID, "client_secret": "wrong"}}, "authentication:fail", ""},
		} {
			t.Run(name, func(t *testing.T) {
				a := w.Do(each.call)
				if a.Status < 400 {
					t.Fatalf("%d %s", a.Status, a.Body)
				}
				id := a.Header.Get("Claviger-Request-Id")
				var found []api.Entry
				eventually(t, "its entry, request "+id, func() bool {
					found = w.Audit(t, w.A.Owner, "outcome=denied&requestId="+id)
					return len(found) > 0
				})
				e := found[0]
				if e.Verb != each.verb || each.code != "" && e.Code != each.code || e.Code == "" || e.Address != "127.0.0.1" || e.OrganizationID != w.A.ID || e.Actor.Kind == "" {
					t.Errorf("%+v", e)
				}
			})
		}
	})
}

func TestAbuse_221_NamesCannotForgeALine(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_lines_secret")
	for _, name := range []string{
		"a\nb", "a\r\nlevel=ERROR msg=forged", "\x1b[31mred\x1b[0m", "a\u2028b", "a\u202eb", `a","outcome":"allowed`, "=cmd|' /C calc'!A0", strings.Repeat("x", 1<<20), "a\xffb", "\x00",
	} {
		c.Do(call{Token: c.Key, Method: "POST", Path: "/v1/workspaces", Body: map[string]string{"name": name}})
		c.Do(call{Token: c.Key, Method: "PATCH", Path: "/v1/connections/" + c.id, Body: map[string]string{"name": name}})
		header := http.Header{"User-Agent": {strings.Map(printable, name)}, "X-Request-Id": {strings.Map(printable, name)}}
		if _, err := c.Send(call{Token: c.Key, Method: "GET", Path: proxy(c.id, "/x"), Header: header}); err != nil && len(name) < 1<<19 {
			t.Errorf("%q: %v", name, err)
		}
	}
	c.Stop()
	for i, line := range strings.Split(strings.TrimSpace(c.Logs.String()), "\n") {
		var record map[string]any
		if line != "" && json.Unmarshal([]byte(line), &record) != nil {
			t.Errorf("line %d of the log is no record: %q", i, line)
		}
		if strings.ContainsAny(line, "\x1b\u2028\r") || len(line) > 16<<10 {
			t.Errorf("line %d of the log is raw or too long: %.200q", i, line)
		}
	}
	if r := verify(t, c.Settings); !r.Intact() {
		t.Errorf("%+v", r.Findings)
	}
}

// printable drops what no header can carry.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}
