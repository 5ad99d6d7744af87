package clavigertest_test

import (
	"encoding/csv"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	chromium "claviger/clavigertest/browser"
)

// TestConsole_Audit: what was done is found by what, by whom and when, and taken along.
func TestConsole_Audit(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	c := s.Client(s.Key)
	made, err := c.CreateWorkspace(t.Context(), api.CreateWorkspace{Name: "engines"})
	if err != nil {
		t.Fatal(err)
	}
	p := chromium.Start(t).Open(t, chromium.Desktop())
	settleIn(t, s, p)
	p.Goto(s.URL + "/console/")
	p.Click("link", "Audit")
	p.SeeRole("heading", "Audit")
	p.See("workspaces:create")
	p.See("by you")
	looksGood(t, p, "audit")
	p.Fill("What was done", "workspaces:create")
	p.Fill("To what", made.ID)
	p.Click("button", "Find")
	p.See(made.ID)
	if strings.Contains(p.Text(), "sessions:create") {
		t.Error("what was not asked for is there")
	}
	p.Click("link", "all of its request")
	p.At(s.URL + "/console/audit?request=req_")
	p.See(made.ID)
	p.Goto(s.URL + "/console/audit?outcome=failed")
	p.See("Nothing is like that")
	looksGood(t, p, "audit-nothing")
	p.Goto(s.URL + "/console/audit?to=1999-12-31")
	p.See("Nothing is like that")
	p.Goto(s.URL + "/console/audit?from=yesterday")
	p.See("Write a day")
	looksGood(t, p, "audit-wrong")
	p.Quiet(s.URL)
}

// The file has what the page has, all of it, and nothing that a spreadsheet would run.
func TestConsole_AuditExport(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		s := clavigertest.Start(t, clavigertest.Options{Engine: engine})
		b := owner(t, s)
		for range 120 { // more than a page of the core
			s.Do(call{Token: s.Key, Method: http.MethodGet, Path: "/v1/connections/" + url.PathEscape("=cmd()")})
		}
		var rows [][]string
		eventually(t, "every refusal is written", func() bool {
			file := b.get("/console/audit/export?outcome=denied&verb=connections:read")
			if file.Status != http.StatusOK || !strings.HasPrefix(file.Header.Get("Content-Type"), "text/csv") || !strings.HasPrefix(file.Header.Get("Content-Disposition"), "attachment") {
				t.Fatalf("the export answered %d %v", file.Status, file.Header)
			}
			var err error
			if rows, err = csv.NewReader(strings.NewReader(file.Body)).ReadAll(); err != nil {
				t.Fatal(err)
			}
			return len(rows) >= 121
		})
		if len(rows) != 121 || rows[0][0] != "time" {
			t.Errorf("%d rows", len(rows))
		}
		seen := map[string]bool{}
		for _, row := range rows[1:] {
			if seen[row[1]] || row[3] != "denied" || row[2] != "connections:read" {
				t.Errorf("a row is %v", row)
			}
			seen[row[1]] = true
			for _, cell := range row {
				if cell != "" && strings.Contains("=+-@", cell[:1]) {
					t.Errorf("a spreadsheet would run %q", cell)
				}
			}
		}
		if first := b.get("/console/audit"); strings.Count(first.Body, "<time ") != 50 || !strings.Contains(first.Body, "Older entries") {
			t.Errorf("the first page has %d entries", strings.Count(first.Body, "<time "))
		}
		viewer := another(t, s, "developer")
		if page := viewer.get("/console/audit"); page.Status != http.StatusForbidden {
			t.Errorf("who may not read the ledger was answered %d", page.Status)
		}
		if page := viewer.get("/console/audit/export"); page.Status != http.StatusForbidden {
			t.Errorf("the export answered them %d", page.Status)
		}
		if home := viewer.get("/console/"); strings.Contains(home.Body, auditLink) || !strings.Contains(b.get("/console/").Body, auditLink) {
			t.Error("the page is offered to who may not read it, or not to who may")
		}
	})
}

const auditLink = `href="/console/audit"`
