package store_test

import (
	"context"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

const victimsReport = claviger.ReportID("rev_of_the_victim")

// revokeOne deletes a second connection of the victim's under a report that is still
// stopping others, leaves an answer in the journal of the first, and a use of it in the
// ledger.
func (v *victim) revokeOne() {
	v.f.t.Helper()
	second := v.tenant.connection("two")
	second.Tags = map[string]string{"fate": "sealed"}
	v.connect(second)
	v.f.in(v.workspace.Region, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateRevocationReport(ctx, v.scope, v.report(victimsReport)); err != nil {
			return err
		}
		_, err := tx.RevokeConnections(ctx, v.scope, store.ConnectionFilter{TagKey: "fate", TagValue: "sealed"}, 10, v.condemn)
		return err
	})
	wants(v.f.t, v.write(v.connection, 1, func(g *store.Grant, _ time.Time) {
		g.State, g.Answer = store.GrantJournaled, claviger.Sealed("answer")
	}), nil)
	uses := v.entries("uses-of-"+string(v.org.ID), 1, 1)
	uses[0].Connection, uses[0].Outcome, uses[0].Workspace = v.connection, claviger.OutcomeAllowed, v.workspace.ID
	wants(v.f.t, v.f.appendTo("", "uses-of-"+string(v.org.ID), uses), nil)
}

func (v *victim) report(id claviger.ReportID) store.RevocationReport {
	return store.RevocationReport{ID: id, Organization: v.org.ID, Workspace: v.workspace.ID, Status: store.ReportStopping, CreatedAt: v.f.time()}
}

// condemn makes two tokens of a connection wait for their revocation.
func (v *victim) condemn(c store.Condemned) ([]claviger.Revocation, []store.Revocation, error) {
	tokens := []claviger.Revocation{{Token: "access", Verdict: "pending"}, {Token: "refresh", Verdict: "pending"}}
	return tokens, []store.Revocation{{
		Organization: c.Organization, Connection: c.ID, Revision: c.Revision, Workspace: c.Workspace, Connector: c.Connector, Report: victimsReport,
		Tokens: tokens, NextAt: v.f.time(), GiveUpAt: v.f.time().Add(time.Hour), CreatedAt: v.f.time(), Sealed: claviger.Sealed("tokens"),
	}}, nil
}

func TestRevocations(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("one")
		place := ok(f.PlaceOf(t.Context(), v.org.ID, v.workspace.ID))(t)
		due := ok(f.DueRevocations(t.Context(), place, v.org.ID, victimsReport, "acme", f.time(), 10))(t)
		if len(due) != 1 || string(due[0].Sealed) != "tokens" || !due[0].Pending() {
			t.Fatalf("due are %+v", due)
		}
		next := ok(f.NextRevocation(t.Context(), place, v.org.ID, victimsReport, "acme"))(t)
		same(t, due[0].NextAt, next)
		r := due[0]
		save := func() {
			t.Helper()
			f.in(place, func(ctx context.Context, tx *store.Tx) error { return tx.SaveRevocation(ctx, r) })
		}
		for _, want := range []bool{true, false} { // of two that have read the same row
			f.in(place, func(ctx context.Context, tx *store.Tx) error {
				mine, err := tx.ClaimRevocation(ctx, r, f.time().Add(30*time.Second))
				same(t, want, mine)
				return err
			})
		}
		r.Tokens[0].Verdict, r.Attempts, r.NextAt = "revoked", 1, f.time().Add(time.Minute)
		save()
		if again := ok(f.DueRevocations(t.Context(), place, v.org.ID, victimsReport, "acme", f.time(), 10))(t); len(again) != 0 {
			t.Fatalf("it is due again: %+v", again)
		}
		r.Tokens[1].Verdict, r.EndedAt = "failed: why", f.time()
		save()
		kept := ok(f.Revocation(t.Context(), place, v.org.ID, r.Connection, r.Revision))(t)
		if kept.Sealed != nil || kept.Attempts != 1 || kept.EndedAt.IsZero() {
			t.Fatalf("what has ended is kept as %+v", kept)
		}
		r.Tokens[1].Verdict = "revoked" // too late
		save()
		tombstone, sealed, err := f.Connection(t.Context(), v.scope, r.Connection)
		wants(t, err, nil)
		same(t, []claviger.Revocation{{Token: "access", Verdict: "revoked"}, {Token: "refresh", Verdict: "failed: why"}}, tombstone.Revocations)
		if sealed != nil || tombstone.Status != claviger.StatusRevoked {
			t.Fatalf("the tombstone is %s, with a ciphertext of %d bytes", tombstone.Status, len(sealed))
		}
		counts := ok(f.RevocationCounts(t.Context(), v.scope, victimsReport))(t)
		same(t, store.RevocationCounts{Connections: 1, Revoked: 1, Failed: 1}, counts)
		if next := ok(f.NextRevocation(t.Context(), place, v.org.ID, victimsReport, "acme"))(t); !next.IsZero() {
			t.Fatalf("there is a next attempt, at %s", next)
		}
	})
}
