package clavigertest_test

import (
	"fmt"
	"net/http"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
)

// TestAbuse_224_FromTheVendorsLogToTheCaller takes the request id that the vendor has seen
// of every call, and asks the ledger once.
func TestAbuse_224_FromTheVendorsLogToTheCaller(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine})
		key, keyID := w.APIKey(t, w.A, api.CreateAPIKey{Name: "caller"})
		id := w.A.Connections[0]
		run := func(action string) call {
			return call{Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme." + action, "connectionId": id, "input": map[string]any{}}}
		}
		callers := []struct{ kind, token, id string }{{"api_key", key, keyID}, {"operator", w.A.Operator, ""}, {"scoped", w.ScopedA1, ""}}
		calls := []call{
			{Method: "GET", Path: proxy(id, "/x")},
			{Method: "POST", Path: proxy(id, "/x"), Body: `{"a":1}`},
			{Method: "DELETE", Path: proxy(id, "/fail")},
			{Method: "GET", Path: proxy(id, "/fail")},
			{Method: "HEAD", Path: proxy(id, "/x")},
			{Method: "GET", Path: proxy(id, "/x"), Header: http.Header{"Claviger-Request-Id": {"req_00000000000000000000000000"}, "claviger_request_id": {"mine"}, "Connection": {"Claviger-Request-Id"}}},
			run("list-contacts"), run("echo"), run("fail"),
		}
		seen := map[string]bool{}
		for _, who := range callers {
			for n, c := range calls {
				what := fmt.Sprintf("%s %s by %s (%d)", c.Method, c.Path, who.kind, n)
				w.Vendor.Forget()
				c.Token = who.token
				a := w.Do(c)
				got := w.Vendor.Received()
				if len(got) == 0 {
					t.Errorf("%s did not reach the vendor: %d %s", what, a.Status, a.Body)
					continue
				}
				request := ""
				for _, r := range got { // attempts are one call
					values := r.Header.Values("Claviger-Request-Id")
					if len(values) != 1 || values[0] != a.Header.Get("Claviger-Request-Id") || r.Header.Get("Claviger_request_id") != "" {
						t.Errorf("%s: the vendor saw %v, the caller %s", what, values, a.Header.Get("Claviger-Request-Id"))
						continue
					}
					request = values[0]
				}
				if seen[request] {
					t.Errorf("%s has the id of another call", what)
				}
				seen[request] = true
				var entries []api.Entry
				eventually(t, what+" is in the ledger", func() bool {
					entries = w.Audit(t, w.A.Owner, "requestId="+request)
					return len(entries) == 2 // its beginning and its end
				})
				for _, e := range entries {
					if e.ConnectionID != id || e.Connector != "acme" || e.Host != w.Vendor.Addr() || e.Actor.Kind != who.kind || e.Actor.ID == "" || who.id != "" && e.Actor.ID != who.id || e.WorkspaceID != w.A.Workspaces[0] {
						t.Errorf("%s: %+v", what, e)
					}
				}
				if len(w.Audit(t, w.B.Owner, "requestId="+request)) != 0 {
					t.Errorf("%s: another tenant finds it", what)
				}
			}
		}
	})
}
