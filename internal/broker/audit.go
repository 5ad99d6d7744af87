package broker

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"claviger"
)

// quoted answers a caller's own word, shortened, for an error message.
func quoted(s string) string {
	if len(s) > 40 {
		s = s[:40] + "..."
	}
	return strconv.Quote(strings.ToValidUTF8(s, "?"))
}

// Audit lists ledger entries of the caller's organization, newest first.
func (b *Broker) Audit(ctx context.Context, c claviger.Caller, f AuditFilter, p Page) ([]claviger.Entry, bool, error) {
	if err := b.gate.Check(ctx, c, claviger.AuditRead, own(c, "audit", "")); err != nil {
		return nil, false, err
	}
	return b.entries(ctx, c, f, p)
}

// ConnectionEvents lists a connection's ledger entries, newest first.
func (b *Broker) ConnectionEvents(ctx context.Context, c claviger.Caller, id claviger.ConnectionID, p Page) ([]claviger.Entry, bool, error) {
	if _, err := b.find(ctx, c, claviger.ConnectionsRead, id); err != nil {
		return nil, false, err
	}
	if err := b.gate.Check(ctx, c, claviger.AuditRead, own(c, "audit", "")); err != nil {
		return nil, false, err
	}
	return b.entries(ctx, c, AuditFilter{Connection: id}, p)
}

func (b *Broker) entries(ctx context.Context, c claviger.Caller, f AuditFilter, p Page) ([]claviger.Entry, bool, error) {
	list, err := b.db.Ledger(ctx, c.Scope, f, p.plusOne())
	list, more := cut(p, list)
	return list, more, err
}

// maxPoints bounds a usage report.
const maxPoints = 366

// Usage sums calls, failures and latency by span of time and by action, for one
// connection or for all in reach.
func (b *Broker) Usage(ctx context.Context, c claviger.Caller, q UsageQuery) (UsageReport, error) {
	if q.Connection != "" {
		if _, err := b.find(ctx, c, claviger.ConnectionsRead, q.Connection); err != nil {
			return UsageReport{}, err
		}
	}
	if err := b.gate.Check(ctx, c, claviger.UsageRead, own(c, "usage", "")); err != nil {
		return UsageReport{}, err
	}
	report, err := b.usageSpan(q)
	if err != nil {
		return report, err
	}
	rows, err := b.usageRows(ctx, c, q, report)
	if err != nil {
		return report, err
	}
	report.sum(rows)
	return report, nil
}

func (b *Broker) usageRows(ctx context.Context, c claviger.Caller, q UsageQuery, r UsageReport) ([]claviger.UsageRow, error) {
	if q.Connection != "" {
		return b.db.Usage(ctx, c.Scope, q.Connection, r.From, r.To)
	}
	rows, err := b.db.OrganizationUsage(ctx, c.Scope, r.From, r.To)
	return slices.DeleteFunc(rows, func(row claviger.UsageRow) bool { return q.Workspace != "" && row.Workspace != q.Workspace }), err
}

// usageSpan fills in the defaults of a query and bounds it.
func (b *Broker) usageSpan(q UsageQuery) (UsageReport, error) {
	if q.Period == "" {
		q.Period = "day"
	}
	if !slices.Contains([]string{"hour", "day", "week", "month"}, q.Period) {
		return UsageReport{}, claviger.Invalid("period", "invalid_format", "Use hour, day, week or month.")
	}
	to := q.To
	if to.IsZero() {
		to = b.now()
	}
	from := q.From
	if from.IsZero() {
		from = spanStart(to, q.Period)
		for range 23 {
			from = spanStart(from.Add(-time.Second), q.Period)
		}
	}
	if !from.Before(to) {
		return UsageReport{}, claviger.Invalid("to", "invalid_format", "The span ends before it begins.")
	}
	r := UsageReport{Period: q.Period, From: spanStart(from, q.Period), To: to.UTC()}
	points := 0
	for at := r.From; at.Before(to); at = nextSpan(at, q.Period) {
		if points++; points > maxPoints {
			return r, claviger.Invalid("from", "invalid_format", "The span has more than %d %ss. Ask for a shorter one or a longer period.", maxPoints, q.Period)
		}
	}
	return r, nil
}

// spanStart answers the beginning of the hour, day, ISO week or month, in UTC.
func spanStart(t time.Time, period string) time.Time {
	t = t.UTC()
	switch period {
	case "hour":
		return t.Truncate(time.Hour)
	case "week":
		day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
		return day.AddDate(0, 0, -(int(day.Weekday())+6)%7)
	case "month":
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

func nextSpan(t time.Time, period string) time.Time {
	switch period {
	case "hour":
		return t.Add(time.Hour)
	case "week":
		return t.AddDate(0, 0, 7)
	case "month":
		return t.AddDate(0, 1, 0)
	}
	return t.AddDate(0, 0, 1)
}

// sum adds hourly rows up. Spans without calls are left out.
func (r *UsageReport) sum(rows []claviger.UsageRow) {
	spans, actions := map[time.Time]*tally{}, map[string]*tally{}
	for i := range rows {
		row := &rows[i]
		at := spanStart(row.Hour, r.Period)
		if spans[at] == nil {
			spans[at] = &tally{}
		}
		spans[at].add(row)
		if actions[row.Action] == nil {
			actions[row.Action] = &tally{}
		}
		actions[row.Action].add(row)
	}
	for at, t := range spans {
		p := t.point()
		p.Start = at
		r.Points = append(r.Points, p)
	}
	for name, t := range actions {
		p := t.point()
		p.Action = name
		r.ByAction = append(r.ByAction, p)
	}
	slices.SortFunc(r.Points, func(a, b UsagePoint) int { return a.Start.Compare(b.Start) })
	slices.SortFunc(r.ByAction, func(a, b UsagePoint) int { return strings.Compare(a.Action, b.Action) })
}

// tally is a running sum.
type tally struct {
	calls, failures int64
	total, longest  time.Duration
}

func (t *tally) add(row *claviger.UsageRow) {
	t.calls += row.Calls
	t.failures += row.Failures
	t.total += row.Total
	t.longest = max(t.longest, row.Longest)
}

func (t *tally) point() UsagePoint {
	p := UsagePoint{Calls: t.calls, Failures: t.failures, Longest: t.longest}
	if t.calls > 0 {
		p.Average = t.total / time.Duration(t.calls)
	}
	return p
}
