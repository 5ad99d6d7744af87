package console

import (
	"encoding/csv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/surface/pagekit"
)

const (
	auditPath = "/console/audit"
	// maxExport bounds how many entries one file has; a shorter span of time has the rest.
	maxExport = 10_000
)

// audit is the ledger, narrowed to what a person looks for.
type audit struct {
	frame
	auditQuery
	Entries  []entryRow
	Outcomes []claviger.Outcome
	Narrowed bool
	Next     string // address of the rest
	Export   string // address of the file of the same entries
}

// auditQuery is what a person asked for, as their form has it.
type auditQuery struct {
	Verb, Who, What, Request, From, To string
	Outcome                            claviger.Outcome
}

// entryRow is an entry as people read it.
type entryRow struct {
	claviger.Entry
	Who  string // "you", a person's name, or what acted
	What string
}

func auditQueryOf(q url.Values) auditQuery {
	text := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	return auditQuery{
		Verb: text("verb"), Who: text("who"), What: text("what"), Request: text("request"), From: text("from"), To: text("to"), Outcome: claviger.Outcome(text("outcome")),
	}
}

// filter answers what the query asks the core for. Days are those of UTC, the last one
// included.
func (q auditQuery) filter() (broker.AuditFilter, error) {
	f := broker.AuditFilter{Verb: claviger.Verb(q.Verb), ActorID: q.Who, RequestID: q.Request, Outcome: q.Outcome}
	if claviger.ValidID(claviger.PrefixConnection, q.What) {
		f.Connection = claviger.ConnectionID(q.What)
	} else {
		f.ResourceID = q.What
	}
	for _, day := range []struct {
		param, text string
		to          *time.Time
		plus        int
	}{{"from", q.From, &f.From, 0}, {"to", q.To, &f.To, 1}} {
		if day.text == "" {
			continue
		}
		at, err := time.Parse(time.DateOnly, day.text)
		if err != nil {
			return f, claviger.Invalid(day.param, "invalid_format", "Write a day as year, month and day, for example 2026-11-22.")
		}
		*day.to = at.AddDate(0, 0, day.plus)
	}
	return f, nil
}

func (s *surface) audit(w http.ResponseWriter, r *http.Request, in *seat) {
	q := r.URL.Query()
	page := audit{frame: in.frame.titled("audit", "Audit"), auditQuery: auditQueryOf(q), Outcomes: outcomes()}
	page.Narrowed = page.auditQuery != auditQuery{}
	f, err := page.filter()
	var list []claviger.Entry
	var more bool
	if err == nil {
		list, more, err = s.core.Audit(r.Context(), in.Caller, f, broker.Page{After: q.Get("after"), Limit: pageSize})
	}
	if e, own := refused(err); own {
		page.Faulty, page.Notice = true, e.Message
		s.show(w, pagekit.Status(e.Kind), "audit", page)
		return
	}
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	for i := range list {
		page.Entries = append(page.Entries, rowOf(&list[i], in))
	}
	if more {
		q.Set("after", string(list[len(list)-1].ID))
		page.Next = auditPath + "?" + q.Encode()
	}
	q.Del("after")
	page.Export = auditPath + "/export?" + q.Encode()
	s.show(w, http.StatusOK, "audit", page)
}

func outcomes() []claviger.Outcome {
	return []claviger.Outcome{claviger.OutcomeAllowed, claviger.OutcomeSucceeded, claviger.OutcomeFailed, claviger.OutcomeDenied}
}

func rowOf(e *claviger.Entry, in *seat) entryRow {
	row := entryRow{Entry: *e, Who: strings.TrimSpace(words(string(e.ActorKind)) + " " + e.ActorID), What: strings.TrimSpace(words(e.ResourceType) + " " + e.ResourceID)}
	if e.ActorID == string(in.User.ID) {
		row.Who = "you"
	}
	return row
}

// exportAudit answers the entries that the page shows, all of them, as a table (RFC 4180).
func (s *surface) exportAudit(w http.ResponseWriter, r *http.Request, in *seat) {
	f, err := auditQueryOf(r.URL.Query()).filter()
	var list []claviger.Entry
	more := true
	page := broker.Page{Limit: 100}
	if err == nil { // the first page tells whether the person may
		list, more, err = s.core.Audit(r.Context(), in.Caller, f, page)
	}
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="claviger-audit.csv"`)
	out := csv.NewWriter(w)
	_ = out.Write([]string{"time", "id", "verb", "outcome", "code", "status", "duration_ms", "actor_kind", "actor", "resource_type", "resource", "workspace", "connection", "connector", "host", "action", "address", "request"})
	for n := 0; ; {
		for i := range list {
			_ = out.Write(record(&list[i]))
		}
		if n += len(list); !more || n >= maxExport {
			break
		}
		page.After = string(list[len(list)-1].ID)
		if list, more, err = s.core.Audit(r.Context(), in.Caller, f, page); err != nil {
			// Half a file must not pass for a whole one.
			s.log.WarnContext(r.Context(), "an export of the ledger broke off", "error", err)
			panic(http.ErrAbortHandler)
		}
	}
	out.Flush()
}

// record answers an entry's row. A name that a spreadsheet would take for a formula is
// marked as text.
func record(e *claviger.Entry) []string {
	status := ""
	if e.StatusCode != 0 {
		status = strconv.Itoa(e.StatusCode)
	}
	row := []string{
		e.Time.UTC().Format(time.RFC3339Nano), string(e.ID), string(e.Verb), string(e.Outcome), e.Code, status, strconv.FormatInt(e.Duration.Milliseconds(), 10),
		string(e.ActorKind), e.ActorID, e.ResourceType, e.ResourceID, string(e.Workspace), string(e.Connection), e.Connector, e.Host, e.Action, e.Address, e.RequestID,
	}
	for i, cell := range row {
		if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
			row[i] = "'" + cell
		}
	}
	return row
}
