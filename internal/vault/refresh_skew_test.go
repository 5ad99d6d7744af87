package vault_test

import (
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/clavigertest/postgres"
	"claviger/internal/vault"
)

// The clocks of two nodes are twenty minutes apart: leases are measured by the
// database's, and the nodes refresh once together.
func TestAbuse_239_SkewedNodesRefreshOnce(t *testing.T) {
	s := newStand(t, postgres.URL(t), strict, 0, nil)
	s.openSkewed(vault.Refresh{}, 10*time.Minute)
	s.openSkewed(vault.Refresh{}, -10*time.Minute)
	s.found()
	id, _ := s.connect(time.Hour)
	for round := 1; round <= 10; round++ {
		s.pass(2 * time.Hour)
		if tokens := s.storm(id, 20); len(tokens) != 1 {
			t.Fatalf("round %d: %d tokens", round, len(tokens))
		}
		if rotations, reuses := s.server.Refreshed(); rotations != round || reuses != 0 || s.sent() != round {
			t.Fatalf("round %d: %d rotations, %d reuses, %d requests", round, rotations, reuses, s.sent())
		}
	}
}

// What was written while the clock was a day ahead holds nothing up when it is set right.
func TestAbuse_239_TheClockIsSetBack(t *testing.T) {
	const day = 24 * time.Hour
	t.Run("a lease of a dead process", func(t *testing.T) {
		s := newStand(t, sqlite(t), strict, 1, nil)
		id, _ := s.connect(time.Nanosecond)
		s.pass(day)
		cmd, out := s.spawn(id, "refresh.intent.after")
		_ = cmd.Wait()
		wasKilled(t, cmd, out)
		s.pass(-day)
		if token := s.nodes[0].must(id); token == "at_first" || s.sent() != 1 {
			t.Errorf("%q after %d requests", token, s.sent())
		}
	})
	t.Run("a failure", func(t *testing.T) {
		s := newStand(t, sqlite(t), strict, 1, nil)
		id, _ := s.connect(time.Nanosecond)
		s.pass(day)
		s.server.Next(oauthserver.Fault{Skip: true, Status: 503, Body: "later"})
		if _, err := s.nodes[0].use(t.Context(), id); err == nil {
			t.Fatal("the vendor was away")
		}
		s.pass(-day)
		if token := s.nodes[0].must(id); token == "at_first" || s.sent() != 2 {
			t.Errorf("%q after %d requests", token, s.sent())
		}
	})
	t.Run("a token that the vendor refuses", func(t *testing.T) {
		s := newStand(t, sqlite(t), strict, 1, nil)
		s.pass(day)
		id, _ := s.connect(time.Hour)
		s.pass(-day)
		conn, _ := s.nodes[0].row(id)
		if err := s.nodes[0].renew(t.Context(), conn); err != nil || s.sent() != 1 {
			t.Errorf("%v after %d requests", err, s.sent())
		}
	})
}

// Tokens that end beyond what 32 bits or a duration can hold are used until the vendor
// refuses them, and then renewed like any other.
func TestAbuse_239_DistantEnds(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		s := newStand(t, url, strict, 1, nil)
		n := s.nodes[0]
		for _, end := range []time.Time{
			time.Date(2038, time.January, 19, 3, 14, 8, 0, time.UTC), time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC),
		} {
			sent := s.sent()
			id := s.store(claviger.Tokens{
				Access: claviger.NewSecretString("at_first"), Refresh: claviger.NewSecretString(s.server.Grant("a")), Type: "Bearer",
				IssuedAt: s.now().Add(-time.Hour), ExpiresAt: end,
			})
			conn, _ := n.row(id)
			if token := n.must(id); token != "at_first" || !conn.ExpiresAt.Equal(end) || s.sent() != sent {
				t.Errorf("%s: %q, ends %s, %d requests", end, token, conn.ExpiresAt, s.sent())
			}
			if err := n.renew(t.Context(), conn); err != nil || n.must(id) == "at_first" || s.sent() != sent+1 {
				t.Errorf("%s: refused: %v, %d requests", end, err, s.sent())
			}
			if conn, _ := n.row(id); conn.ExpiresAt.After(s.now().Add(2 * time.Hour)) {
				t.Errorf("renewed, and ends %s", conn.ExpiresAt)
			}
		}
	})
}
