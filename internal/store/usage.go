package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"claviger"
)

const usageColumns = "organization, workspace, connection, connector, action, hour, calls, failures, total, longest"

func scanUsage(r row) (claviger.UsageRow, error) {
	var u claviger.UsageRow
	var hour int64
	err := r.Scan(&u.Organization, &u.Workspace, &u.Connection, &u.Connector, &u.Action, &hour, &u.Calls, &u.Failures, &u.Total, &u.Longest)
	u.Hour = fromMillis(hour)
	return u, err
}

// usageKey is what one kept row counts.
type usageKey struct {
	organization claviger.OrganizationID
	connection   claviger.ConnectionID
	hour         int64
	action       string
}

func compareUsage(a, b usageKey) int {
	return cmp.Or(cmp.Compare(a.organization, b.organization), cmp.Compare(a.connection, b.connection),
		cmp.Compare(a.hour, b.hour), cmp.Compare(a.action, b.action))
}

// usageChunk is how many rows one statement adds.
const usageChunk = 32

// AddUsage adds counts to what is kept, in a transaction of the rows' region, and
// notes the connections as used: at the row's Hour, so call [Tx.MarkUsed] for the
// exact time. It takes no scope: it is the background's, for calls that have been
// admitted.
func (tx *Tx) AddUsage(ctx context.Context, usage []claviger.UsageRow) error {
	sums, used := sumUsage(usage)
	// In order, as MarkUsed: nodes then wait in line for the same rows, never
	// for each other.
	keys := slices.SortedFunc(maps.Keys(sums), compareUsage)
	for part := range slices.Chunk(keys, usageChunk) {
		args := make([]any, 0, 10*len(part))
		for _, k := range part {
			u := sums[k]
			args = append(args, string(u.Organization), string(u.Workspace), string(u.Connection), u.Connector, u.Action,
				k.hour, u.Calls, u.Failures, int64(u.Total), int64(u.Longest))
		}
		statement := tx.home.insert("INSERT INTO call_usage ("+usageColumns+")", len(part), 10,
			` ON CONFLICT (organization, connection, hour, action) DO UPDATE SET calls = call_usage.calls + excluded.calls,
			failures = call_usage.failures + excluded.failures, total = call_usage.total + excluded.total,
			longest = CASE WHEN excluded.longest > call_usage.longest THEN excluded.longest ELSE call_usage.longest END`)
		if _, err := tx.exec(ctx, statement, args...); err != nil {
			return err
		}
	}
	return tx.MarkUsed(ctx, used)
}

// sumUsage puts rows of the same key together (a statement may not touch a row
// twice) and finds each connection's last hour.
func sumUsage(usage []claviger.UsageRow) (map[usageKey]claviger.UsageRow, map[claviger.ConnectionID]time.Time) {
	sums := map[usageKey]claviger.UsageRow{}
	used := map[claviger.ConnectionID]time.Time{}
	for _, u := range usage {
		k := usageKey{u.Organization, u.Connection, millis(u.Hour.Truncate(time.Hour)), u.Action}
		if old, ok := sums[k]; ok {
			u.Calls += old.Calls
			u.Failures += old.Failures
			u.Total += old.Total
			u.Longest = max(u.Longest, old.Longest)
		}
		sums[k] = u
		if u.Connection != "" && u.Hour.After(used[u.Connection]) {
			used[u.Connection] = u.Hour
		}
	}
	return sums, used
}

// usageLimit bounds the rows of one answer.
const usageLimit = 20000

// Usage answers the counts of one connection, from inclusive, to exclusive, by
// hour and action. A range of more than 20,000 rows is refused.
func (db *DB) Usage(ctx context.Context, s claviger.Scope, connection claviger.ConnectionID, from, to time.Time) ([]claviger.UsageRow, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return nil, err
	}
	w.and("connection = ? AND hour >= ? AND hour < ?", string(connection), millis(from), millis(to))
	w.raw(" ORDER BY hour, action LIMIT ?", int64(usageLimit+1))
	return db.usage(ctx, "SELECT "+usageColumns+" FROM call_usage WHERE ", w)
}

// OrganizationUsage answers the counts of all connections within the scope, added
// up by workspace, connector, hour and action; Connection is empty. A range of
// more than 20,000 rows is refused.
func (db *DB) OrganizationUsage(ctx context.Context, s claviger.Scope, from, to time.Time) ([]claviger.UsageRow, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return nil, err
	}
	w.and("hour >= ? AND hour < ?", millis(from), millis(to))
	w.raw(" GROUP BY organization, workspace, connector, hour, action ORDER BY hour, workspace, connector, action LIMIT ?", int64(usageLimit+1))
	// A sum of BIGINT is NUMERIC on PostgreSQL.
	return db.usage(ctx, `SELECT organization, workspace, '', connector, action, hour, CAST(SUM(calls) AS BIGINT), CAST(SUM(failures) AS BIGINT),
		CAST(SUM(total) AS BIGINT), MAX(longest) FROM call_usage WHERE `, w)
}

func (db *DB) usage(ctx context.Context, from string, w *where) ([]claviger.UsageRow, error) {
	byHour := func(a, b claviger.UsageRow) int {
		return cmp.Or(a.Hour.Compare(b.Hour), cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Connector, b.Connector), cmp.Compare(a.Action, b.Action))
	}
	out, err := merged(ctx, db.distinct, usageLimit+1, byHour, func(ctx context.Context, q querier) ([]claviger.UsageRow, error) {
		return many(ctx, q, scanUsage, from+w.text.String(), w.args...)
	})
	if err == nil && len(out) > usageLimit {
		return nil, claviger.Invalid("from", "range_too_large", "The range holds more than %d rows. Ask for a shorter one.", usageLimit)
	}
	return out, err
}
