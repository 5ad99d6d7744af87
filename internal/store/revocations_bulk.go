package store

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"claviger"
)

// ReportStatus is how far the revocation of many connections has come.
type ReportStatus string

// The states of a report.
const (
	ReportStopping ReportStatus = "stopping" // connections that match are still being stopped
	ReportRevoking ReportStatus = "revoking" // none that matched can be used; vendors are being asked
)

// RevocationReport is one revocation of many connections: what was asked for.
type RevocationReport struct {
	ID           claviger.ReportID
	Organization claviger.OrganizationID
	Workspace    claviger.WorkspaceID // of the caller's reach; empty: the organization
	Status       ReportStatus
	Filter       ConnectionFilter
	Since        time.Time // from when on uses are reported
	CreatedBy    string
	CreatedAt    time.Time
}

func scanReport(r row) (RevocationReport, error) {
	var x RevocationReport
	var body string
	var created int64
	if err := r.Scan(&x.Organization, &x.ID, &x.Workspace, &x.Status, &body, &created); err != nil {
		return x, err
	}
	status := x.Status
	err := undocument(body, &x)
	x.Status, x.CreatedAt = status, fromMillis(created)
	return x, err
}

// CreateRevocationReport keeps a report.
func (tx *Tx) CreateRevocationReport(ctx context.Context, s claviger.Scope, r RevocationReport) error {
	if err := covers(s, r.Organization, r.Workspace); err != nil {
		return err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "INSERT INTO revocation_reports (organization, id, workspace, status, body, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
		string(r.Organization), string(r.ID), string(r.Workspace), string(r.Status), string(body), millis(r.CreatedAt))
	return err
}

// RevocationReport answers a report of the scope.
func (db *DB) RevocationReport(ctx context.Context, s claviger.Scope, id claviger.ReportID) (RevocationReport, error) {
	if s.Organization() == "" {
		return RevocationReport{}, ErrNoScope
	}
	return inPlaces(ctx, db, func(ctx context.Context, d *database, _ claviger.RegionID) (RevocationReport, error) {
		return one(ctx, d.reader(), scanReport, "SELECT organization, id, workspace, status, body, created_at FROM revocation_reports"+
			" WHERE organization = $1 AND id = $2 AND ($3 = '' OR workspace = $3)", string(s.Organization()), string(id), string(s.Workspace()))
	})
}

// StopEnded notes, in the report's own place, that every connection of it is stopped,
// and answers whether nobody did before.
func (tx *Tx) StopEnded(ctx context.Context, s claviger.Scope, id claviger.ReportID) (first bool, err error) {
	if s.Organization() == "" {
		return false, ErrNoScope
	}
	n, err := tx.exec(ctx, "UPDATE revocation_reports SET status = 'revoking' WHERE organization = $1 AND id = $2 AND ($3 = '' OR workspace = $3) AND status = 'stopping'",
		string(s.Organization()), string(id), string(s.Workspace()))
	return n > 0, err
}

// RevokingConnectors answers the connectors whose vendors are to be asked about tokens of
// a report that the transaction's place keeps.
func (tx *Tx) RevokingConnectors(ctx context.Context, s claviger.Scope, id claviger.ReportID) ([]string, error) {
	if s.Organization() == "" {
		return nil, ErrNoScope
	}
	return many(ctx, tx.q, scanOne[string], "SELECT DISTINCT connector FROM revocations WHERE organization = $1 AND report = $2 AND ended_at = 0 AND ($3 = '' OR workspace = $3)"+
		" ORDER BY connector LIMIT 10000", string(s.Organization()), string(id), string(s.Workspace()))
}

// RevocationCounts sums the verdicts of a report.
func (db *DB) RevocationCounts(ctx context.Context, s claviger.Scope, id claviger.ReportID) (n RevocationCounts, err error) {
	if s.Organization() == "" {
		return n, ErrNoScope
	}
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	for _, d := range db.databases() {
		part, err := one(ctx, d.reader(), func(r row) (c RevocationCounts, err error) {
			err = r.Scan(&c.Connections, &c.Pending, &c.Revoked, &c.NotSupported, &c.Failed)
			return c, err
		}, `SELECT COUNT(DISTINCT connection), COALESCE(SUM(pending), 0), COALESCE(SUM(revoked), 0), COALESCE(SUM(unsupported), 0), COALESCE(SUM(failed), 0)
			FROM revocations WHERE organization = $1 AND report = $2 AND report <> '' AND ($3 = '' OR workspace = $3)`,
			string(s.Organization()), string(id), string(s.Workspace()))
		if err != nil {
			return n, err
		}
		n.Connections, n.Pending, n.Revoked = n.Connections+part.Connections, n.Pending+part.Pending, n.Revoked+part.Revoked
		n.NotSupported, n.Failed = n.NotSupported+part.NotSupported, n.Failed+part.Failed
	}
	return n, nil
}

// RevokedConnections lists the tombstones of a report, newest connection first.
func (db *DB) RevokedConnections(ctx context.Context, s claviger.Scope, id claviger.ReportID, page Page) ([]claviger.Connection, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return nil, err
	}
	w.and("id IN (SELECT connection FROM revocations WHERE organization = ? AND report = ? AND report <> '')", string(s.Organization()), string(id))
	page.tail(w, "id")
	return merged(ctx, db.databases(), page.limit(), func(a, b claviger.Connection) int { return cmp.Compare(b.ID, a.ID) },
		func(ctx context.Context, q querier) ([]claviger.Connection, error) {
			return many(ctx, q, scanConnection, "SELECT "+connectionColumns+" FROM connections WHERE "+w.text.String(), w.args...)
		})
}

// usesLimit bounds the ledger entries that UsesSince answers.
const usesLimit = 5000

// UsesSince answers the newest ledger entries since a time of uses of some connections
// that were admitted, those of claviger itself too, 5000 at most.
func (db *DB) UsesSince(ctx context.Context, s claviger.Scope, ids []claviger.ConnectionID, since time.Time) ([]claviger.Entry, error) {
	w, err := scoped(s, "workspace")
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	w.and("id >= ? AND at >= ? AND outcome = 'allowed' AND connection IN (", idFloor(since.Add(-idSlack)), millis(since))
	for i, id := range ids {
		if i > 0 {
			w.raw(", ")
		}
		w.raw("?", string(id))
	}
	w.raw(") ORDER BY id DESC LIMIT ?", int64(usesLimit))
	return merged(ctx, db.databases(), usesLimit, func(a, b claviger.Entry) int { return cmp.Compare(b.ID, a.ID) },
		func(ctx context.Context, q querier) ([]claviger.Entry, error) {
			return many(ctx, q, scanEntry, "SELECT "+ledgerColumns+" FROM ledger WHERE "+w.text.String(), w.args...)
		})
}

// Condemned is a living connection that is to become a tombstone. Answer is its grant if
// a vendor's answer waits in the journal, else nil.
type Condemned struct {
	claviger.Connection
	Sealed claviger.Sealed
	Answer *Grant
}

// RevokeConnections turns up to limit living connections of a filter, in the
// transaction's place, into tombstones, with what condemn answers: the verdicts to show,
// and what is to be revoked. It answers the tombstones. Call it again, in a transaction
// of its own, until it answers none.
func (tx *Tx) RevokeConnections(ctx context.Context, s claviger.Scope, f ConnectionFilter, limit int, condemn func(Condemned) ([]claviger.Revocation, []Revocation, error)) ([]claviger.Connection, error) {
	all, err := tx.condemned(ctx, s, f, limit)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	now := tx.db.now()
	out := make([]claviger.Connection, len(all))
	ids := make([]claviger.ConnectionID, len(all))
	byVerdict := map[string][]claviger.ConnectionID{}
	var sets []Revocation
	for i, c := range all {
		verdicts, add, err := condemn(c)
		if err != nil {
			return nil, err
		}
		ids[i], out[i] = c.ID, c.Connection
		out[i].Status, out[i].Health, out[i].SecretPaths = claviger.StatusRevoked, claviger.HealthUnknown, nil
		out[i].Revocations, out[i].Version, out[i].UpdatedAt = verdicts, c.Version+1, fromMillis(millis(now))
		byVerdict[revocationsText(verdicts)] = append(byVerdict[revocationsText(verdicts)], c.ID)
		sets = append(sets, add...)
	}
	for text, of := range byVerdict {
		err := tx.ofConnections(ctx, s, "id", of, "UPDATE connections SET status = 'revoked', health = 'unknown', sealed = NULL, secret_paths = '',"+
			" revocations = ?, version = version + 1, updated_at = ?", text, millis(now))
		if err != nil {
			return nil, err
		}
	}
	for _, table := range []string{"grants", "connection_tags", "connection_secrets"} {
		if err := tx.ofConnections(ctx, s, "connection", ids, "DELETE FROM "+table); err != nil {
			return nil, err
		}
	}
	if err := tx.AddRevocations(ctx, sets); err != nil {
		return nil, err
	}
	return out, addChanges(ctx, tx, changeConnection, ids)
}

func (tx *Tx) condemned(ctx context.Context, s claviger.Scope, f ConnectionFilter, limit int) ([]Condemned, error) {
	w, err := f.conditions(s)
	if err != nil {
		return nil, err
	}
	w.raw(" ORDER BY id LIMIT ?"+tx.home.lock, int64(min(max(limit, 1), revocationLimit)))
	rows, err := many(ctx, tx.q, scanSealedConnection, "SELECT "+connectionColumns+", sealed FROM connections WHERE "+w.text.String(), w.args...)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	out := make([]Condemned, len(rows))
	at := map[claviger.ConnectionID]int{}
	set := &where{}
	set.raw("organization = ? AND state = 'journaled' AND connection IN (", string(s.Organization()))
	for i, r := range rows {
		out[i], at[r.ID] = Condemned{Connection: r.Connection, Sealed: r.sealed}, i
		if i > 0 {
			set.raw(", ")
		}
		set.raw("?", string(r.ID))
	}
	set.raw(") LIMIT ?"+tx.home.lock, int64(len(rows)))
	grants, err := many(ctx, tx.q, scanGrant, "SELECT "+grantColumns+" FROM grants WHERE "+set.text.String(), set.args...)
	for i := range grants {
		out[at[grants[i].Connection]].Answer = &grants[i]
	}
	return out, err
}

// ofConnections runs a statement on the rows of some connections.
func (tx *Tx) ofConnections(ctx context.Context, s claviger.Scope, column string, ids []claviger.ConnectionID, statement string, args ...any) error {
	w := &where{}
	w.raw(statement+" WHERE organization = ? AND "+column+" IN (", append(args, string(s.Organization()))...)
	for i, id := range ids {
		if i > 0 {
			w.raw(", ")
		}
		w.raw("?", string(id))
	}
	w.raw(")")
	_, err := tx.exec(ctx, w.text.String(), w.args...)
	return err
}
