package clavigertest_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"claviger/clavigertest"
)

var (
	series  = regexp.MustCompile(`(?m)^(claviger_[a-z_]+)(\{[^}]*\})? (\S+)$`)
	labels  = regexp.MustCompile(`([a-z]+)="([^"]*)"`)
	omitted = regexp.MustCompile(`(?m)^claviger_ledger_omitted_total (\S+)$`)
	dropped = regexp.MustCompile(`(?m)^claviger_log_dropped_total (\S+)$`)
)

// TestAbuse_293_LabelsComeFromTheRouter sends what is never the same twice, and counts the
// series that metrics have of it.
func TestAbuse_293_LabelsComeFromTheRouter(t *testing.T) {
	w := clavigertest.NewTwins(t, clavigertest.Options{})
	names := []string{"", "none"}
	for _, r := range w.App.Routes() {
		names = append(names, r.Name)
	}
	for n := range 600 {
		unique := fmt.Sprintf("canary-%d", n)
		for _, c := range []call{
			{Method: "GET", Path: "/" + unique},
			{Method: "GET", Path: "/v1/" + unique + "/" + unique},
			{Method: "GET", Path: "/v1/connections/" + unique},
			{Method: "GET", Path: proxy(w.A.Connections[0], "/"+unique)},
			{Method: "GET", Path: "/v1/connections?search=" + unique},
			{Method: strings.ToUpper(fmt.Sprintf("M%x", n)), Path: "/v1/whoami"},
		} {
			c.Token, c.Header = w.A.Owner, http.Header{"User-Agent": {unique}, "X-Forwarded-For": {unique}, "X-Tenant": {unique}}
			w.Do(c)
		}
	}
	page := string(w.Admin("/metrics").Body)
	count := map[string]int{}
	for _, m := range series.FindAllStringSubmatch(page, -1) {
		count[m[1]]++
		for _, label := range labels.FindAllStringSubmatch(m[2], -1) {
			switch name, value := label[1], label[2]; name {
			case "operation":
				if !slices.Contains(names, value) {
					t.Errorf("%s has the operation %q, which is no route's", m[1], value)
				}
			case "status":
				if !slices.Contains([]string{"1xx", "2xx", "3xx", "4xx", "5xx"}, value) {
					t.Errorf("%s has the status %q", m[1], value)
				}
			case "le":
			default:
				t.Errorf("%s has the label %s", m[1], name)
			}
		}
	}
	if strings.Contains(page, "canary") || strings.Contains(page, w.A.ID) || count["claviger_http_requests_total"] < 3 {
		t.Errorf("series: %v", count)
	}
	// None of it is missing in the ledger.
	w.Stop()
	entries := 0
	for _, row := range contents(t, database(t, w.Server), "ledger") {
		if strings.Contains(row, "verb=connections:proxy") && strings.Contains(row, "outcome=allowed") {
			entries++
		}
	}
	if entries != 600 {
		t.Errorf("%d of 600 calls are in the ledger", entries)
	}
}

// TestAbuse_293_RefusedTokensAreListedOrCounted: who is refused cannot fill the ledger,
// and what it does not list is counted.
func TestAbuse_293_RefusedTokensAreListedOrCounted(t *testing.T) {
	const tried = 300
	c := &clock{at: time.Now()} // nothing is given back while it stands
	s := clavigertest.Start(t, clavigertest.Options{Now: c.now})
	for range tried {
		if a := s.Do(call{Token: "clv_key_unknown", Path: "/v1/whoami"}); a.Status != 401 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	m := omitted.FindSubmatch(s.Admin("/metrics").Body)
	if m == nil {
		t.Fatal("what the ledger does not list is not counted")
	}
	left, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	db := database(t, s)
	eventually(t, fmt.Sprintf("of %d refusals all but %d are listed", tried, left), func() bool {
		var listed int
		err := db.QueryRow("SELECT COUNT(*) FROM ledger WHERE verb = 'authentication:fail'").Scan(&listed)
		return err == nil && left > 0 && listed == tried-left
	})
}

// TestAbuse_293_TheLogIsCapped makes every request fail in a way that is logged.
func TestAbuse_293_TheLogIsCapped(t *testing.T) {
	const failing = 500
	c := connect(t, clavigertest.Options{}, "ak_flooding_secret")
	release := block(t, clavigertest.SQLite, database(t, c.Server))
	before := strings.Count(c.Logs.String(), `"request failed"`)
	for range failing {
		if a := c.Do(call{Token: c.Key, Method: "POST", Path: "/v1/workspaces", Body: `{"name":"flood"}`}); a.Status < 500 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	written := strings.Count(c.Logs.String(), `"request failed"`) - before
	m := dropped.FindSubmatch(c.Admin("/metrics").Body)
	if m == nil {
		t.Fatal("what was left out is not counted")
	}
	left, err := strconv.Atoi(string(m[1]))
	if err != nil || left == 0 || written == 0 || written+left < failing {
		t.Errorf("of %d lines %d were written and %d left out: %v", failing, written, left, err)
	}
	release()
	eventually(t, "it recovers", func() bool { return c.through("GET", "/x", nil).Status == 200 })
}
