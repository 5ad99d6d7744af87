package broker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/store"
)

const (
	// stopBatch bounds the connections that one transaction stops.
	stopBatch = 500
	// resumeAfter is when somebody looks whether stopping was cut off.
	resumeAfter = 30 * time.Second
	// usesBefore is from how long before a revocation uses are reported, if nobody says.
	usesBefore = 30 * 24 * time.Hour
	// maxUsers bounds the callers that are reported for each connection.
	maxUsers = 20
)

// RevocationRequest is the input of [Broker.RevokeConnections]: a connection must match
// all that is given, and something must be.
type RevocationRequest struct {
	ConnectionFilter
	CreatedAfter, CreatedBefore time.Time
	// Since is from when on the report says who used each; zero: CreatedAfter, else 30 days.
	Since time.Time
}

// RevocationReport is how far the revocation of many connections has come.
type RevocationReport struct {
	store.RevocationReport
	Status      string // stopping, revoking or done
	Counts      store.RevocationCounts
	Connections []RevokedConnection // one page of them, newest first
	More        bool
}

// RevokedConnection is a tombstone and who used it before it was one, the last first; nil
// if the caller may not read the ledger.
type RevokedConnection struct {
	Connection claviger.Connection
	UsedBy     []ConnectionUser
}

// ConnectionUser is a caller that used a connection.
type ConnectionUser struct {
	Kind       claviger.CallerKind
	ID         string
	Uses       int
	LastUsedAt time.Time
}

// draining names a vendor's part of a report, as the argument of a job; stopping too,
// with no connector.
type draining struct {
	Organization claviger.OrganizationID `json:"organization"`
	Report       claviger.ReportID       `json:"report"`
	Connector    string                  `json:"connector,omitempty"`
}

// RevokeConnections stops all connections that match at once, as deleting each would,
// and has their tokens revoked at the vendors, at the rate that these bear. If it is cut
// off, a job goes on with it.
func (b *Broker) RevokeConnections(ctx context.Context, c claviger.Caller, in RevocationRequest) (RevocationReport, error) {
	if in.Connector == "" && in.Workspace == "" && in.TagKey == "" && in.Owner == "" && in.CreatedAfter.IsZero() && in.CreatedBefore.IsZero() {
		return RevocationReport{}, claviger.Invalid("connector", "required", "Name at least one of connector, workspaceId, tag, owner, createdAfter, createdBefore.")
	}
	if !in.CreatedBefore.IsZero() && !in.CreatedAfter.Before(in.CreatedBefore) {
		return RevocationReport{}, claviger.Invalid("createdBefore", "invalid_format", "Give a time after createdAfter.")
	}
	if err := b.inReach(ctx, c, claviger.ConnectionsRevoke, in.Workspace); err != nil {
		return RevocationReport{}, err
	}
	id, err := b.newID(claviger.PrefixRevocation)
	if err != nil {
		return RevocationReport{}, err
	}
	report := b.newReport(c, claviger.ReportID(id), in)
	if err := b.vault.Prepare(ctx, report.Organization); err != nil {
		return RevocationReport{}, err
	}
	err = b.gate.Change(ctx, c, claviger.ConnectionsRevoke, own(c, "revocation", id), func(tx *store.Tx, _ *gate.Ticket) error {
		if err := tx.CreateRevocationReport(ctx, c.Scope, report); err != nil {
			return err
		}
		return b.insert(ctx, tx, jobStop, draining{Organization: report.Organization, Report: report.ID}, jobs.Options{After: resumeAfter})
	})
	if err != nil {
		return RevocationReport{}, err
	}
	if err := b.stopAll(ctx, c, report); err != nil {
		return RevocationReport{}, err
	}
	return b.Revocation(ctx, c, report.ID, Page{Limit: 20})
}

func (b *Broker) newReport(c claviger.Caller, id claviger.ReportID, in RevocationRequest) store.RevocationReport {
	now := b.now()
	filter := visible(c, in.ConnectionFilter)
	filter.CreatedAfter, filter.CreatedBefore = in.CreatedAfter, in.CreatedBefore
	since := in.Since
	if since.IsZero() {
		since = in.CreatedAfter
	}
	if since.IsZero() {
		since = now.Add(-usesBefore)
	}
	return store.RevocationReport{
		ID: id, Organization: c.Scope.Organization(), Workspace: c.Scope.Workspace(), Status: store.ReportStopping, Filter: filter,
		Since: since, CreatedBy: c.OwnerID(), CreatedAt: now,
	}
}

// stopMatching is the job that goes on where a revocation of many was cut off.
func (b *Broker) stopMatching(ctx context.Context, job jobs.Job) error {
	var what draining
	if err := json.Unmarshal(job.Args, &what); err != nil {
		return jobs.Discard(err)
	}
	who := b.system(what.Organization)
	report, err := b.db.RevocationReport(ctx, who.Scope, what.Report)
	if err != nil || report.Status != store.ReportStopping {
		return err
	}
	if report.Workspace != "" {
		report.Filter.Workspace = report.Workspace
	}
	if err := b.vault.Prepare(ctx, what.Organization); err != nil {
		return err
	}
	return b.stopAll(ctx, who, report)
}

// stopAll stops what a report asks for in every place, in batches that each hold, and lets
// the vendors be asked.
func (b *Broker) stopAll(ctx context.Context, c claviger.Caller, report store.RevocationReport) error {
	for _, place := range b.db.Places() {
		if err := b.stopIn(ctx, c, report, place); err != nil {
			return err
		}
	}
	home, err := b.db.PlaceOf(ctx, report.Organization, report.Workspace)
	if err != nil {
		return err
	}
	return b.db.InTx(ctx, home, func(tx *store.Tx) error {
		_, err := tx.StopEnded(ctx, c.Scope, report.ID)
		return err
	})
}

// stopIn stops what a place has of a report. When there is nothing more, the vendors of
// what was stopped are asked, by jobs of that place.
func (b *Broker) stopIn(ctx context.Context, c claviger.Caller, report store.RevocationReport, place claviger.RegionID) error {
	resource := claviger.Resource{Type: "revocation", ID: string(report.ID), Organization: report.Organization, Workspace: report.Workspace}
	for {
		var stopped []claviger.Connection
		err := b.gate.ChangeIn(ctx, place, c, claviger.ConnectionsRevoke, resource, func(tx *store.Tx, t *gate.Ticket) (err error) {
			stopped, err = tx.RevokeConnections(ctx, c.Scope, report.Filter, stopBatch, func(what store.Condemned) ([]claviger.Revocation, []store.Revocation, error) {
				return b.condemn(ctx, t.Also(what.Resource()), what, report.ID)
			})
			for i := range stopped {
				if err == nil {
					err = b.announce(ctx, tx, claviger.EventConnectionRevoked, &stopped[i])
				}
			}
			if err == nil && len(stopped) == 0 {
				err = b.letDrain(ctx, tx, c, report)
			}
			return err
		})
		for i := range stopped {
			b.lives.drop(stopped[i].ID)
		}
		if err == nil && len(stopped) > 0 {
			b.giveUpFlows(context.WithoutCancel(ctx), c, stopped...)
		}
		if err != nil || len(stopped) == 0 {
			return err
		}
	}
}

// letDrain begins to ask the vendors of what the transaction's place has of a report.
func (b *Broker) letDrain(ctx context.Context, tx *store.Tx, c claviger.Caller, report store.RevocationReport) error {
	connectors, err := tx.RevokingConnectors(ctx, c.Scope, report.ID)
	for _, connector := range connectors {
		if err == nil {
			what := draining{report.Organization, report.ID, connector}
			err = b.insert(ctx, tx, jobDrain, what, jobs.Options{Unique: string(report.ID) + "/" + connector})
		}
	}
	return err
}

// Revocation answers a report with one page of its connections.
func (b *Broker) Revocation(ctx context.Context, c claviger.Caller, id claviger.ReportID, p Page) (RevocationReport, error) {
	kept, err := b.db.RevocationReport(ctx, c.Scope, id)
	resource := claviger.Resource{Type: "revocation", ID: string(id), Organization: kept.Organization, Workspace: kept.Workspace}
	if errors.Is(err, store.ErrNotFound) {
		return RevocationReport{}, b.gate.Absent(ctx, c, claviger.ConnectionsRevoke, resource)
	}
	if err != nil {
		return RevocationReport{}, err
	}
	if err := b.gate.Check(ctx, c, claviger.ConnectionsRevoke, resource); err != nil {
		return RevocationReport{}, err
	}
	out := RevocationReport{RevocationReport: kept, Status: string(kept.Status)}
	if out.Counts, err = b.db.RevocationCounts(ctx, c.Scope, id); err != nil {
		return out, err
	}
	if kept.Status == store.ReportRevoking && out.Counts.Pending == 0 {
		out.Status = "done"
	}
	list, err := b.db.RevokedConnections(ctx, c.Scope, id, p.plusOne())
	if err != nil {
		return out, err
	}
	list, out.More = cut(p, list)
	users, err := b.usersOf(ctx, c, list, kept.Since)
	for _, conn := range list {
		out.Connections = append(out.Connections, RevokedConnection{Connection: conn, UsedBy: users[conn.ID]})
	}
	return out, err
}

// usersOf answers who used each of some connections since a time, as the ledger has it.
// Claviger's own acts, and those of connecting, are no uses.
func (b *Broker) usersOf(ctx context.Context, c claviger.Caller, list []claviger.Connection, since time.Time) (map[claviger.ConnectionID][]ConnectionUser, error) {
	if !c.May(claviger.AuditRead) {
		return nil, nil
	}
	ids := make([]claviger.ConnectionID, len(list))
	out := map[claviger.ConnectionID][]ConnectionUser{}
	for i := range list {
		ids[i] = list[i].ID
		out[list[i].ID] = []ConnectionUser{}
	}
	entries, err := b.db.UsesSince(ctx, c.Scope, ids, since)
	for _, e := range entries {
		if e.ActorKind == claviger.CallerSystem || e.Verb == claviger.ConnectionsCreate || e.Verb == claviger.ConnectionsUpdate {
			continue
		}
		users := out[e.Connection]
		at := slices.IndexFunc(users, func(u ConnectionUser) bool { return u.Kind == e.ActorKind && u.ID == e.ActorID })
		switch {
		case at >= 0:
			users[at].Uses++
		case len(users) < maxUsers:
			out[e.Connection] = append(users, ConnectionUser{Kind: e.ActorKind, ID: e.ActorID, Uses: 1, LastUsedAt: e.Time})
		}
	}
	return out, err
}
