package gate

import (
	"context"
	"time"

	"claviger"
	"claviger/internal/store"
)

// usage gathers counts of ended calls until they are added up in the database.
type usage map[usageKey]*claviger.UsageRow

type usageKey struct {
	connection claviger.ConnectionID
	action     string
	hour       int64
}

func (u usage) add(entries []claviger.Entry) {
	for i := range entries {
		e := &entries[i]
		if e.Connection == "" || (e.Verb != claviger.ActionsRun && e.Verb != claviger.ConnectionsProxy) ||
			(e.Outcome != claviger.OutcomeSucceeded && e.Outcome != claviger.OutcomeFailed) {
			continue
		}
		hour := e.Time.Truncate(time.Hour)
		action := e.Action
		if action == "" {
			action = "proxy"
		}
		key := usageKey{e.Connection, action, hour.Unix()}
		row := u[key]
		if row == nil {
			row = &claviger.UsageRow{
				Organization: e.Organization, Workspace: e.Workspace, Connection: e.Connection,
				Connector: e.Connector, Action: action, Hour: hour,
			}
			u[key] = row
		}
		row.Calls++
		if e.Outcome == claviger.OutcomeFailed {
			row.Failures++
		}
		row.Total += e.Duration
		row.Longest = max(row.Longest, e.Duration)
		row.LastUsed = e.Time
	}
}

// countUsage adds the gathered counts up in the database when their window is over.
// A failure keeps them for the next time.
func (w *writer) countUsage(now bool) {
	if len(w.usage) == 0 {
		w.usageSince = w.gate.now()
		return
	}
	if !now && w.gate.now().Sub(w.usageSince) < usageWindow {
		return
	}
	rows := make([]claviger.UsageRow, 0, len(w.usage))
	used := make(map[claviger.ConnectionID]time.Time, len(w.usage))
	for _, row := range w.usage {
		rows = append(rows, *row)
		if row.LastUsed.After(used[row.Connection]) {
			used[row.Connection] = row.LastUsed
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	err := w.gate.db.InTx(ctx, w.region, func(tx *store.Tx) error {
		if err := tx.AddUsage(ctx, rows); err != nil {
			return err
		}
		return tx.MarkUsed(ctx, used)
	})
	if err != nil {
		w.gate.log.Warn("usage could not be counted yet", "error", err)
		return
	}
	clear(w.usage)
	w.usageSince = w.gate.now()
}
