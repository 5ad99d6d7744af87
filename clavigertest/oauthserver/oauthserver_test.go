package oauthserver_test

import (
	"crypto/rand"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/oauth"
)

// refresher refreshes at a server and answers the new refresh token, empty if there is
// none, and the verdict.
func refresher(t *testing.T, server *oauthserver.Server) func(token string) (string, oauth.Verdict) {
	t.Helper()
	rules := server.Rules()
	cfg, err := oauth.Resolve(&rules, "p", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &oauth.Client{Egress: server.Egress(t, nil), Now: time.Now, Random: rand.Reader}
	return func(token string) (next string, verdict oauth.Verdict) {
		t.Helper()
		a := client.Refresh(t.Context(), cfg, server.Client, claviger.NewSecretString(token), nil, nil)
		if a.Outcome != oauth.Answered {
			return "", oauth.Verdict(a.Outcome)
		}
		tokens, err := oauth.Parse(cfg, server.Client, a.Raw)
		if err == nil {
			tokens.Refresh.Use(func(b []byte) { next = string(b) })
		}
		return next, oauth.Classify(cfg, a.Raw).Verdict
	}
}

// What the policies promise about a refresh token's second use, and how many are alive
// after it.
func TestPolicies(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	for _, c := range []struct {
		name   string
		policy oauthserver.Policy
		later  time.Duration
		second oauth.Verdict
		live   int
		reuses int
	}{
		{"kept", oauthserver.Policy{}, 0, oauth.Granted, 1, 0},
		{"strict", oauthserver.Policy{Rotates: true}, 0, oauth.InvalidGrant, 1, 1},
		{"within grace", oauthserver.Policy{Rotates: true, Grace: time.Minute}, 59 * time.Second, oauth.Granted, 1, 1},
		{"after grace", oauthserver.Policy{Rotates: true, Grace: time.Minute}, time.Minute, oauth.InvalidGrant, 1, 1},
		{"by family", oauthserver.Policy{Rotates: true, RevokeFamily: true}, 0, oauth.InvalidGrant, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.policy.Now = clock
			server := oauthserver.Start(t, c.policy)
			refresh := refresher(t, server)
			first := server.Grant("a")
			next, verdict := refresh(first)
			if verdict != oauth.Granted || (next != "") != c.policy.Rotates || server.Alive(first) == c.policy.Rotates {
				t.Fatalf("first use: %s", verdict)
			}
			now = now.Add(c.later)
			again, verdict := refresh(first)
			if verdict != c.second || again != "" && again != next {
				t.Errorf("second use: %s", verdict)
			}
			if _, reuses := server.Refreshed(); server.Live() != c.live || reuses != c.reuses {
				t.Errorf("%d alive, %d reuses", server.Live(), reuses)
			}
		})
	}
}

// An answer that is lost after it took effect burns a strict server's token, and one
// that is lost before does not.
func TestFaults_BeforeAndAfter(t *testing.T) {
	for name, skip := range map[string]bool{"before": true, "after": false} {
		server := oauthserver.Start(t, oauthserver.Policy{Rotates: true})
		refresh := refresher(t, server)
		token := server.Grant("a")
		server.Next(oauthserver.Fault{Skip: skip, Reset: true})
		if _, verdict := refresh(token); verdict != oauth.Verdict(oauth.Uncertain) {
			t.Errorf("%s: %s", name, verdict)
		}
		if server.Alive(token) != skip || server.Live() != 1 {
			t.Errorf("%s: alive %v, %d in all", name, server.Alive(token), server.Live())
		}
	}
	server := oauthserver.Start(t, oauthserver.Policy{})
	server.Always(&oauthserver.Fault{Status: 503, Body: "x"})
	refresh := refresher(t, server)
	token := server.Grant("a")
	for range 2 {
		if _, verdict := refresh(token); verdict != oauth.Unavailable {
			t.Errorf("%s", verdict)
		}
	}
	server.Always(nil)
	if _, verdict := refresh(token); verdict != oauth.Granted {
		t.Errorf("%s", verdict)
	}
	server.RevokeAll()
	if _, verdict := refresh(token); verdict != oauth.InvalidGrant || server.Live() != 0 {
		t.Errorf("%s", verdict)
	}
}
