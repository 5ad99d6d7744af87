package client

import (
	"net/http"
	"net/url"
	"testing"
)

func TestListsAreWalkedToTheirEnd(t *testing.T) {
	var queries []string
	c, _ := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		switch r.URL.Query().Get("after") {
		case "":
			answer(w, 200, `{"object":"list","data":[{"id":"a"},{"id":"b"}],"hasMore":true,"nextCursor":"c1"}`)
		default:
			answer(w, 200, `{"object":"list","data":[{"id":"c"}],"hasMore":false}`)
		}
	})
	all, err := Collect(c.Connections(t.Context(), ConnectionQuery{Tag: "team:sales", Connector: "acme"}), 0)
	if err != nil || len(all) != 3 || all[0].ID != "a" || all[2].ID != "c" {
		t.Fatal(all, err)
	}
	for i, q := range queries {
		v, _ := url.ParseQuery(q)
		if v.Get("limit") != "100" || v.Get("tag") != "team:sales" || v.Get("connector") != "acme" || v.Has("status") {
			t.Errorf("query %d: %s", i, q)
		}
	}
	queries = nil
	two, err := Collect(c.Connections(t.Context(), ConnectionQuery{}), 2)
	if err != nil || len(two) != 2 || len(queries) != 1 {
		t.Error(two, err, queries)
	}
}

func TestAListThatDoesNotMoveOnIsAnError(t *testing.T) {
	for _, cursor := range []string{"same", ""} {
		c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"object":"list","data":[{"id":"a"}],"hasMore":true,"nextCursor":"`+cursor+`"}`)
		})
		if _, err := Collect(c.Workspaces(t.Context()), 0); !HasCode(err, "bad_answer") {
			t.Error(err)
		}
	}
}
