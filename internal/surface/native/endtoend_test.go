package native_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
)

func TestWhatIsShownOnceIsShownOnce(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	for path, secrets := range map[string][]string{
		"/v1/api-keys": {"key"}, "/v1/applications": {"clientSecret"}, "/v1/organizations": {"clientSecret", "apiKey"},
	} {
		t.Run(path, func(t *testing.T) {
			c := clavigertest.Call{
				Token: s.Key, Method: http.MethodPost, Path: path, Body: map[string]any{"name": "once"},
				Header: http.Header{"Idempotency-Key": {path}},
			}
			first, again := s.Do(c), s.Do(c)
			if first.Status != 201 || again.Status != 201 || first.Field("id") == "" || first.Field("id") != again.Field("id") {
				t.Fatalf("%d %s\n%d %s", first.Status, first.Body, again.Status, again.Body)
			}
			for _, name := range secrets {
				if !strings.HasPrefix(first.Field(name), "clv_") || again.Field(name) != api.RedactedMark {
					t.Errorf("%s: first %q, again %q", name, first.Field(name), again.Field(name))
				}
			}
			list := s.Do(clavigertest.Call{Token: s.Key, Method: http.MethodGet, Path: path})
			for _, name := range secrets {
				if list.Status != 200 || strings.Contains(string(list.Body), first.Field(name)) {
					t.Errorf("the list shows the %s", name)
				}
			}
		})
	}
}

func TestAbuse_008_ARefusedFieldLeavesTheRowAsItIs(t *testing.T) {
	v := acme.Start(t, "ak_1234567890")
	s := clavigertest.Start(t, clavigertest.Options{EgressAllow: v.Addr()})
	id := s.Connect(t, v, "acme", "key", map[string]string{"apiKey": "ak_1234567890"})
	path := "/v1/connections/" + id
	before := s.Do(clavigertest.Call{Token: s.Key, Method: http.MethodGet, Path: path})
	for _, field := range []string{"ownerId", "owner_id", "id", "usage", "workspaceId", "connector", "status", "visibility", "encrypted_blob", "NAME"} {
		a := s.Do(clavigertest.Call{Token: s.Key, Method: http.MethodPatch, Path: path, Body: map[string]any{"name": "taken over", field: "x"}})
		if a.Status != 422 || a.Fault().Code != "unknown_field" || a.Fault().Param != field {
			t.Errorf("%s: %d %s", field, a.Status, a.Body)
		}
	}
	after := s.Do(clavigertest.Call{Token: s.Key, Method: http.MethodGet, Path: path})
	if string(before.Body) != string(after.Body) {
		t.Errorf("before %s\nafter %s", before.Body, after.Body)
	}
}

func TestListsInPages(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	for _, name := range []string{"one", "two", "three", "four"} {
		if a := s.Do(clavigertest.Call{Token: s.Key, Method: http.MethodPost, Path: "/v1/workspaces", Body: map[string]any{"name": name}}); a.Status != 201 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	for path, want := range map[string]int{"/v1/workspaces?limit=2": 5, "/v1/connectors?limit=3": 10, "/v1/actions?limit=7&connector=github": 1, "/v1/audit?limit=2&verb=workspaces:create": 4} {
		var ids []string
		for cursor := ""; ; {
			at := path
			if cursor != "" {
				at += "&after=" + cursor
			}
			var page api.List[struct{ ID, Key, ActionIdentifier string }]
			a := s.Do(clavigertest.Call{Token: s.Key, Method: http.MethodGet, Path: at})
			if a.Status != 200 || json.Unmarshal(a.Body, &page) != nil || page.Object != "list" || page.HasMore != (page.NextCursor != "") || len(ids) > 1000 {
				t.Fatalf("%s: %d %s", at, a.Status, a.Body)
			}
			for _, item := range page.Data {
				ids = append(ids, item.ID+item.Key+item.ActionIdentifier)
			}
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		sorted := slices.Compact(slices.Sorted(slices.Values(ids)))
		if len(ids) < want || len(sorted) != len(ids) {
			t.Errorf("%s: %v", path, ids)
		}
	}
}

// TestEveryRouteWithAnIdKnowsIt proves that path parameters reach the core: an id
// that does not exist is a 404, not a fault of the request.
func TestEveryRouteWithAnIdKnowsIt(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	for _, route := range []struct {
		method, path string
		body         any
	}{
		{"GET", "/v1/organizations/org_00000000000000000000000000", nil},
		{"GET", "/v1/workspaces/ws_00000000000000000000000000", nil},
		{"PATCH", "/v1/workspaces/ws_00000000000000000000000000", map[string]any{"name": "n"}},
		{"DELETE", "/v1/workspaces/ws_00000000000000000000000000", nil},
		{"GET", "/v1/users/usr_00000000000000000000000000", nil},
		{"PATCH", "/v1/users/usr_00000000000000000000000000", map[string]any{"name": "n"}},
		{"DELETE", "/v1/users/usr_00000000000000000000000000", nil},
		{"DELETE", "/v1/applications/app_00000000000000000000000000", nil},
		{"DELETE", "/v1/api-keys/key_00000000000000000000000000", nil},
		{"GET", "/v1/connectors/no-such", nil},
		{"GET", "/v1/connectors/github?version=9", nil},
		{"DELETE", "/v1/connectors/no-such", nil},
		{"GET", "/v1/connections/conn_00000000000000000000000000", nil},
		{"PATCH", "/v1/connections/conn_00000000000000000000000000", map[string]any{"name": "n"}},
		{"DELETE", "/v1/connections/conn_00000000000000000000000000?force=true", nil},
		{"POST", "/v1/connections/conn_00000000000000000000000000/test", nil},
		{"POST", "/v1/connections/conn_00000000000000000000000000/disable", nil},
		{"POST", "/v1/connections/conn_00000000000000000000000000/enable", nil},
		{"GET", "/v1/connections/conn_00000000000000000000000000/references", nil},
		{"GET", "/v1/connections/conn_00000000000000000000000000/usage?period=day", nil},
		{"GET", "/v1/connections/conn_00000000000000000000000000/events", nil},
		{"GET", "/v1/connections/conn_00000000000000000000000000/proxy/x", nil},
		{"GET", "/v1/secrets/shared/no/such", nil},
		{"DELETE", "/v1/secrets/shared/no/such", nil},
	} {
		a := s.Do(clavigertest.Call{Token: s.Key, Method: route.method, Path: route.path, Body: route.body})
		if a.Status != 404 || a.Fault().Code != "not_found" {
			t.Errorf("%s %s: %d %s", route.method, route.path, a.Status, a.Body)
		}
	}
}

func TestARevokedKeyStopsAtOnce(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	owner := s.Client(s.Key)
	k, err := owner.CreateAPIKey(t.Context(), api.CreateAPIKey{Name: "k"})
	if err != nil {
		t.Fatal(err)
	}
	holder := s.Client(k.Key)
	if _, err := holder.Whoami(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.RevokeAPIKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Whoami(t.Context()); err == nil {
		t.Error("a revoked key still works on the node that revoked it")
	}
}
