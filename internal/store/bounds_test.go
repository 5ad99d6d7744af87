package store

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/postgres"
)

// TestAbuse_294_AStatementEnds: a question that would be computed for ever is broken off at
// its deadline, with nothing left running, on both engines; and PostgreSQL has a deadline
// of its own for when the node is gone.
func TestAbuse_294_AStatementEnds(t *testing.T) {
	const endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
	for name, url := range map[string]func() string{
		"sqlite":   func() string { return "sqlite:" + filepath.Join(t.TempDir(), "bounds.db") },
		"postgres": func() string { return postgres.URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			db, err := Open(t.Context(), Config{URL: url(), Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}()
			var all sync.WaitGroup
			for range 2 * sqliteReaders { // more than there are connections that read
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
					defer cancel()
					if n, err := one(ctx, db.control.reader(), scanOne[int64], endless); err == nil {
						t.Errorf("for ever came to %d", n)
					}
				})
			}
			all.Wait() // which it would not if one went on
			if err := db.Ready(t.Context()); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			ctx, cancel := bounded(t.Context(), readDeadline)
			defer cancel()
			if end, ok := ctx.Deadline(); !ok || time.Until(end) > readDeadline {
				t.Errorf("what has no deadline of its own gets none: %v", end)
			}
			if name == "postgres" {
				limit, err := one(t.Context(), db.control.reader(), scanOne[string], "SHOW statement_timeout")
				if err != nil || limit != "30s" {
					t.Errorf("the server's own deadline: %s, %v", limit, err)
				}
			}
		})
	}
}

// TestAbuse_294_PagesAreBounded: whatever is asked for, a page has so many rows at most,
// begins at a key and not at a number, and a pattern of the caller's stands for itself.
func TestAbuse_294_PagesAreBounded(t *testing.T) {
	scope := claviger.Authenticated("org_a", "")
	for _, limit := range []int{-1, 0, 1, 100, 101, 1 << 30} {
		for _, search := range []string{"", "%", "_", `\`, "%_%_%_%_%", strings.Repeat("%a", 60)} {
			w, err := ConnectionFilter{Search: search}.conditions(scope)
			if err != nil {
				t.Fatal(err)
			}
			page := Page{Limit: limit, After: "conn_x"}
			page.tail(w, "id")
			text := w.text.String()
			if strings.Contains(text, "OFFSET") || !strings.Contains(text, "id < $") || !strings.Contains(text, "LIMIT $") {
				t.Errorf("a page is no range of keys: %s", text)
			}
			if n := page.limit(); n < 1 || n > 1001 {
				t.Errorf("a limit of %d became %d", limit, n)
			}
			for _, a := range w.args {
				inner, found := strings.CutPrefix(asText(a), "%")
				if inner = strings.TrimSuffix(inner, "%"); !found || search == "" {
					continue
				}
				if plain := strings.NewReplacer(`\\`, "", `\%`, "", `\_`, "").Replace(inner); strings.ContainsAny(plain, `%_\`) {
					t.Errorf("%q reaches the database as the pattern %q", search, inner)
				}
			}
		}
	}
}

func asText(v any) string { s, _ := v.(string); return s }
