package clavigertest_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/soak"
)

// multiply makes so many copies of a connection.
func multiply(t *testing.T, s *clavigertest.Server, id string, copies int) {
	t.Helper()
	db := database(t, s)
	rows, err := db.QueryContext(t.Context(), "SELECT * FROM connections WHERE id = $1", id)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := rows.Columns()
	_ = rows.Close()
	if err != nil {
		t.Fatal(err)
	}
	values := slices.Clone(columns)
	for i, column := range columns {
		switch column {
		case "id":
			values[i] = "'conn_0' || CAST(1000000000 + i AS TEXT) || '000000000000000'"
		case "name", "name_folded":
			values[i] = "'bulk ' || CAST(i AS TEXT)"
		}
	}
	exec(t, db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) INSERT INTO connections ("+strings.Join(columns, ", ")+
		") SELECT "+strings.Join(values, ", ")+" FROM connections, n WHERE id = $2", copies, id)
}

// TestAbuse_294_ListsAreBoundedAtAnySize asks a large table for more than it should give.
// A million rows in `make soak`, else 20,000.
func TestAbuse_294_ListsAreBoundedAtAnySize(t *testing.T) {
	copies := 20_000
	if soak.Document() != "" {
		copies = 1_000_000
	}
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := connect(t, clavigertest.Options{Engine: engine}, "ak_listed_secret")
		multiply(t, c.Server, c.id, copies)
		list := func(query string) (page api.List[api.Connection]) {
			t.Helper()
			a := c.Do(call{Token: c.Key, Method: "GET", Path: "/v1/connections?" + query})
			if a.Status != 200 || json.Unmarshal(a.Body, &page) != nil {
				t.Fatalf("%.100s: %d %.300s", query, a.Status, a.Body)
			}
			return page
		}
		for search, want := range map[string]int{
			"": 100, "bulk": 100, "bulk 1999": 11, "BULK 19999": 1, "%": 0, "_": 0, "%%%%%%%%": 0, "b%k": 0, "bulk _": 0, `\`: 0, "(b+)+$": 0, ".*": 0, "*": 0, "[a-z]": 0, "' OR 1=1 --": 0,
			strings.Repeat("%_", 64): 0, strings.Repeat("a", 128): 0,
		} {
			if search == "bulk 1999" && copies > 20_000 {
				continue // there are more of these
			}
			if page := list("limit=100&search=" + url.QueryEscape(search)); len(page.Data) != want {
				t.Errorf("%q found %d, want %d", search, len(page.Data), want)
			}
		}
		for _, query := range []string{
			"limit=101", "limit=1000000", "limit=0", "limit=-1", "limit=1e9", "limit=NaN", "offset=100000", "page=5000", "skip=1", "after=conn_01jd5z8k4xe3vbmt0q6y2r9whc", "after=%25", "search=" + strings.Repeat("a", 129),
			"tag=" + strings.Repeat("a", 600), "id=" + strings.Repeat("conn_01jd5z8k4xe3vbmt0q6y2r9whc,", 2000), strings.Repeat("connector=acme&", 300), "owner=" + strings.Repeat("o", 300), "sort=name", "order=random", "filter=name~.*",
		} {
			if a := c.Do(call{Token: c.Key, Method: "GET", Path: "/v1/connections?" + query}); a.Status/100 != 4 {
				t.Errorf("%.60s: %d %.300s", query, a.Status, a.Body)
			}
		}
		// Pages are as deep as one likes, and each goes on where the last one ended.
		seen, after := map[string]bool{}, ""
		for range 30 {
			page := list("limit=100" + after)
			for _, each := range page.Data {
				if seen[each.ID] {
					t.Errorf("%s is on two pages", each.ID)
				}
				seen[each.ID] = true
			}
			after = "&after=" + url.QueryEscape(page.NextCursor)
		}
		if len(seen) != 3000 {
			t.Errorf("30 pages had %d", len(seen))
		}
	})
}
