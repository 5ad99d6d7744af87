package vault_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
)

// Ten thousand tokens that were issued in one second and would die of idleness do not come
// due in one second.
func TestAbuse_095_TokensOfOneSecondAreSpread(t *testing.T) {
	s := newStand(t, "sqlite:"+t.TempDir()+"/vault.db", oauthserver.Policy{}, 1, nil)
	rules := claviger.OAuth{Grant: claviger.GrantAuthorizationCode, Refresh: claviger.OAuthRefresh{IdleLimit: 90 * 24 * time.Hour}}
	issued := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tokens := claviger.Tokens{
		Access: claviger.NewSecretString("a"), Refresh: claviger.NewSecretString("r"), Type: "Bearer", IssuedAt: issued, ExpiresAt: issued.Add(time.Hour),
	}
	const all = 10_000
	minutes, first, last := map[int64]int{}, issued.Add(48*time.Hour), issued
	for range all {
		_, g := s.nodes[0].vault.Issued(&claviger.Connection{}, &rules, tokens, nil, nil)
		minutes[g.KeepAt.Unix()/60]++
		first, last = minTime(first, g.KeepAt), maxTime(last, g.KeepAt)
	}
	for minute, n := range minutes {
		if n > all/50 {
			t.Errorf("%d of %d come due in the minute %d", n, all, minute)
		}
	}
	if first.Before(issued.Add(19*time.Hour)) || last.After(issued.Add(24*time.Hour)) || last.Sub(first) < 4*time.Hour {
		t.Errorf("due from %v to %v", first.Sub(issued), last.Sub(issued))
	}
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func maxTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Many tokens that are due at once are no herd before their vendor, and all are renewed.
func TestAbuse_095_AVendorIsNotRunOver(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		const all, atOnce = 48, 16
		s := newStand(t, url, oauthserver.Policy{Rotates: true, RevokeFamily: true}, 1, nil)
		ids := make([]claviger.ConnectionID, all)
		for i := range ids {
			ids[i], _ = s.connect(time.Hour)
		}
		s.pass(2 * time.Hour)
		reached, hold := make(chan struct{}, all), make(chan struct{})
		s.server.Always(&oauthserver.Fault{Reached: reached, Hold: hold})
		var using sync.WaitGroup
		for _, id := range ids {
			using.Go(func() {
				if _, err := s.nodes[0].use(t.Context(), id); err != nil {
					t.Error(err)
				}
			})
		}
		for range atOnce {
			<-reached
		}
		for range 1000 {
			runtime.Gosched()
			if n := len(s.server.Received("/token")); n > atOnce {
				t.Errorf("%d refreshes at the same time", n)
				break
			}
		}
		close(hold)
		using.Wait()
		if rotations, reuses := s.server.Refreshed(); rotations != all || reuses != 0 {
			t.Errorf("%d rotations, %d reuses", rotations, reuses)
		}
	})
}
