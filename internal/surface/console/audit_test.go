package console

import (
	"slices"
	"testing"
	"time"

	"claviger"
)

// What is taken into a spreadsheet stays text there.
func TestRecord_IsNoFormula(t *testing.T) {
	for name, want := range map[string]string{"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "\tx": "'\tx", "conn_1": "conn_1", "a=b": "a=b", "": ""} {
		row := record(&claviger.Entry{ResourceID: name, Time: time.Unix(0, 0), StatusCode: 404})
		if !slices.Contains(row, want) || row[5] != "404" || row[0] != "1970-01-01T00:00:00Z" {
			t.Errorf("%q became %q", name, row)
		}
	}
}

func TestAuditQuery(t *testing.T) {
	f, err := auditQuery{What: "conn_01jd5z8k4xe3vbmt0q6y2r9whc", From: "2026-11-21", To: "2026-11-22"}.filter()
	if err != nil || f.Connection == "" || f.ResourceID != "" || f.To.Sub(f.From) != 48*time.Hour {
		t.Errorf("%+v, %v: the last day counts", f, err)
	}
	if f, err = (auditQuery{What: "shared/acme/key"}).filter(); err != nil || f.ResourceID != "shared/acme/key" || f.Connection != "" {
		t.Errorf("%+v, %v", f, err)
	}
	for _, q := range []auditQuery{{From: "today"}, {To: "2026-02-30"}, {To: "22.11.2026"}} {
		if _, err := q.filter(); claviger.AsError(err).Param == "" {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
