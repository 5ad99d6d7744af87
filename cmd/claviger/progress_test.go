package main

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	for name, tc := range map[string]struct {
		terminal bool
		want     string
	}{
		"terminal": {true, "\rtwo of ten\rten       \rten\\x1b[2J\n"},
		"file":     {false, "two of ten\nten\nten\\x1b[2J\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			g := &progress{w: &out, terminal: tc.terminal}
			for _, text := range []string{"two of ten", "two of ten", "ten", "ten\x1b[2J"} {
				g.say(text)
			}
			g.end()
			if out.String() != tc.want {
				t.Errorf("%q", out.String())
			}
		})
	}
}

func TestRevocationIsWaitedFor(t *testing.T) {
	s, c := at(t, map[string]string{
		"POST /v1/connections/revoke": `202 {"id":"rev_1","status":"stopping","counts":{"connections":3,"pending":3}}`,
		"GET /v1/revocations/rev_1":   `200 {"id":"rev_1","status":"revoking","counts":{"connections":3,"pending":1,"revoked":2}}`,
	})
	asked := 0
	s.pause = func(ctx context.Context, _ time.Duration) error {
		if asked++; asked == 3 {
			c.mu.Lock()
			c.answers["GET /v1/revocations/rev_1"] = `200 {"id":"rev_1","status":"done","counts":{"connections":3,"revoked":3}}`
			c.mu.Unlock()
		}
		return ctx.Err()
	}
	stdout, stderr := s.want(exitOK, "", "connection", "revoke", "--connector", "acme", "--wait")
	if !strings.Contains(stdout, "done") || asked != 3 {
		t.Errorf("asked %d times: %s", asked, stdout)
	}
	want := "stopping: 3 connections stopped, 3 tokens at their vendors, 0 settled\nrevoking: 3 connections stopped, 1 tokens at their vendors, 2 settled\n"
	if stderr != want {
		t.Errorf("%q", stderr)
	}
}
