package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"claviger"
)

// Revocation is the tokens that one revision of a deleted connection had, on their way
// to be revoked at the vendor. Its methods take no scope: it is the background's, made
// by a deletion that was decided.
type Revocation struct {
	Organization claviger.OrganizationID
	Connection   claviger.ConnectionID
	Revision     int64
	Workspace    claviger.WorkspaceID
	Connector    string
	Report       claviger.ReportID     // empty: the connection was deleted by itself
	Tokens       []claviger.Revocation // the verdict on each
	Attempts     int
	Reason       string    // why the last attempt failed, in claviger's words
	NextAt       time.Time // no attempt before it
	GiveUpAt     time.Time // no attempt after it
	CreatedAt    time.Time
	EndedAt      time.Time       // zero while a verdict is pending
	Sealed       claviger.Sealed // what the vendor is asked with; nil once it has ended
}

// Pending reports whether a token still waits for its verdict.
func (r *Revocation) Pending() bool { return countVerdicts(r.Tokens).Pending > 0 }

// RevocationCounts is how many tokens have which verdict.
type RevocationCounts struct{ Connections, Pending, Revoked, NotSupported, Failed int64 }

func countVerdicts(tokens []claviger.Revocation) (n RevocationCounts) {
	for _, t := range tokens {
		switch verdict, _, _ := strings.Cut(t.Verdict, ":"); verdict {
		case claviger.VerdictPending:
			n.Pending++
		case claviger.VerdictRevoked:
			n.Revoked++
		case claviger.VerdictNotSupported:
			n.NotSupported++
		default:
			n.Failed++
		}
	}
	return n
}

const revocationColumns = "organization, connection, revision, workspace, connector, report, tokens, pending, revoked, unsupported, failed," +
	" attempts, reason, next_at, give_up_at, created_at, ended_at, sealed"

func scanRevocation(r row) (Revocation, error) {
	var x Revocation
	var n RevocationCounts
	var tokens string
	var next, giveUp, created, ended int64
	var sealed []byte
	err := r.Scan(&x.Organization, &x.Connection, &x.Revision, &x.Workspace, &x.Connector, &x.Report, &tokens, &n.Pending, &n.Revoked,
		&n.NotSupported, &n.Failed, &x.Attempts, &x.Reason, &next, &giveUp, &created, &ended, &sealed)
	x.NextAt, x.GiveUpAt, x.CreatedAt, x.EndedAt, x.Sealed = fromMillis(next), fromMillis(giveUp), fromMillis(created), fromMillis(ended), sealed
	return x, errors.Join(err, undocument(tokens, &x.Tokens))
}

func revocationArgs(r Revocation) []any {
	n := countVerdicts(r.Tokens)
	return []any{
		string(r.Organization), string(r.Connection), r.Revision, string(r.Workspace), r.Connector, string(r.Report), revocationsText(r.Tokens),
		n.Pending, n.Revoked, n.NotSupported, n.Failed, int64(r.Attempts), r.Reason, millis(r.NextAt), millis(r.GiveUpAt), millis(r.CreatedAt),
		millis(r.EndedAt), nullable(r.Sealed),
	}
}

// revocationChunk is how many rows one statement adds.
const revocationChunk = 32

// AddRevocations keeps what is to be revoked, in the transaction that deletes. What is
// there already stays as it is.
func (tx *Tx) AddRevocations(ctx context.Context, all []Revocation) error {
	for len(all) > 0 {
		part := all[:min(len(all), revocationChunk)]
		all = all[len(part):]
		var args []any
		for _, r := range part {
			args = append(args, revocationArgs(r)...)
		}
		statement := tx.home.insert("INSERT INTO revocations ("+revocationColumns+")", len(part), 18, " ON CONFLICT (organization, connection, revision) DO NOTHING")
		if _, err := tx.exec(ctx, statement, args...); err != nil {
			return err
		}
	}
	return nil
}

// Revocation answers one, from the place that it is kept in.
func (db *DB) Revocation(ctx context.Context, place claviger.RegionID, organization claviger.OrganizationID, id claviger.ConnectionID, revision int64) (Revocation, error) {
	d, err := db.place(place)
	if err != nil {
		return Revocation{}, err
	}
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	return one(ctx, d.reader(), scanRevocation, "SELECT "+revocationColumns+" FROM revocations WHERE organization = $1 AND connection = $2 AND revision = $3",
		string(organization), string(id), revision)
}

// SaveRevocation keeps what came of an attempt, and shows it on the tombstone. One that
// has ended stays as it is, and one that ends loses its ciphertext, which is not changed here
// otherwise: keys may have rotated meanwhile.
func (tx *Tx) SaveRevocation(ctx context.Context, r Revocation) error {
	n := countVerdicts(r.Tokens)
	touched, err := tx.exec(ctx, `UPDATE revocations SET tokens = $1, pending = $2, revoked = $3, unsupported = $4, failed = $5, attempts = $6,
		reason = $7, next_at = $8, ended_at = $9, sealed = CASE WHEN CAST($9 AS BIGINT) > 0 THEN NULL ELSE sealed END
		WHERE organization = $10 AND connection = $11 AND revision = $12 AND ended_at = 0`,
		revocationsText(r.Tokens), n.Pending, n.Revoked, n.NotSupported, n.Failed, int64(r.Attempts), r.Reason, millis(r.NextAt), millis(r.EndedAt),
		string(r.Organization), string(r.Connection), r.Revision)
	if err != nil || touched == 0 {
		return err
	}
	return tx.ShowRevocations(ctx, r.Organization, r.Connection)
}

// ClaimRevocation puts the next attempt off until a time and reports whether it is the
// caller's: of several that have read the same row, it is one's.
func (tx *Tx) ClaimRevocation(ctx context.Context, r Revocation, until time.Time) (bool, error) {
	touched, err := tx.exec(ctx, "UPDATE revocations SET next_at = $1 WHERE organization = $2 AND connection = $3 AND revision = $4 AND ended_at = 0 AND next_at = $5",
		millis(until), string(r.Organization), string(r.Connection), r.Revision, millis(r.NextAt))
	return touched > 0, err
}

// ShowRevocations writes the verdicts on a deleted connection's tokens, of all its
// revisions, on the tombstone.
func (tx *Tx) ShowRevocations(ctx context.Context, organization claviger.OrganizationID, id claviger.ConnectionID) error {
	// The tombstone first: two revisions that end at once would overwrite each other's.
	_, err := one(ctx, tx.q, scanOne[string], "SELECT id FROM connections WHERE organization = $1 AND id = $2 AND status = 'revoked'"+tx.home.lock,
		string(organization), string(id))
	if err != nil {
		return err
	}
	sets, err := many(ctx, tx.q, scanRevocation,
		"SELECT "+revocationColumns+" FROM revocations WHERE organization = $1 AND connection = $2 ORDER BY revision LIMIT 16", string(organization), string(id))
	if err != nil {
		return err
	}
	var shown []claviger.Revocation
	for _, r := range sets {
		shown = append(shown, r.Tokens...)
	}
	_, err = tx.exec(ctx, "UPDATE connections SET revocations = $1, version = version + 1, updated_at = $2 WHERE organization = $3 AND id = $4",
		revocationsText(shown), millis(tx.db.now()), string(organization), string(id))
	if err != nil {
		return err
	}
	return tx.AddChange(ctx, changeConnection, string(id))
}

// revocationLimit bounds what one question answers.
const revocationLimit = 500

// DueRevocations answers up to limit revocations of a report and a connector whose time
// for an attempt has come, the earliest first.
func (db *DB) DueRevocations(ctx context.Context, place claviger.RegionID, organization claviger.OrganizationID, report claviger.ReportID, connector string, now time.Time, limit int) ([]Revocation, error) {
	return db.waiting(ctx, place, limit, "organization = $3 AND report = $4 AND connector = $5 AND next_at <= $2", millis(now),
		string(organization), string(report), connector)
}

// NextRevocation answers when the next attempt of a report and a connector is due; zero
// if nothing is pending.
func (db *DB) NextRevocation(ctx context.Context, place claviger.RegionID, organization claviger.OrganizationID, report claviger.ReportID, connector string) (time.Time, error) {
	next, err := db.waiting(ctx, place, 1, "organization = $2 AND report = $3 AND connector = $4", string(organization), string(report), connector)
	if err != nil || len(next) == 0 {
		return time.Time{}, err
	}
	return next[0].NextAt, nil
}

// OverdueRevocations answers up to limit revocations, of all organizations, whose attempt
// was due before a time: their job has been lost, or is late.
func (db *DB) OverdueRevocations(ctx context.Context, place claviger.RegionID, before time.Time, limit int) ([]Revocation, error) {
	return db.waiting(ctx, place, limit, "next_at <= $2", millis(before))
}

func (db *DB) waiting(ctx context.Context, place claviger.RegionID, limit int, condition string, args ...any) ([]Revocation, error) {
	d, err := db.place(place)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	return many(ctx, d.reader(), scanRevocation, "SELECT "+revocationColumns+" FROM revocations WHERE ended_at = 0 AND "+condition+" ORDER BY next_at LIMIT $1",
		append([]any{int64(min(max(limit, 1), revocationLimit))}, args...)...)
}

// JournaledAnswer answers the grant of a living connection if a vendor's answer to a
// refresh is in its journal and not yet read, else ErrNotFound. Nobody changes it until
// the transaction ends.
func (tx *Tx) JournaledAnswer(ctx context.Context, s claviger.Scope, id claviger.ConnectionID) (Grant, error) {
	g, err := readGrant(ctx, tx.q, s, id, tx.home.lock)
	if err == nil && (g.State != GrantJournaled || len(g.Answer) == 0) {
		return Grant{}, ErrNotFound
	}
	return g, err
}
