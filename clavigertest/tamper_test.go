package clavigertest_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/clavigertest"
	"claviger/internal/app"
	"claviger/internal/gate"
)

// book is a server that has been used and stopped, with its database open to whoever
// wants to forge its ledger.
type book struct {
	*connected
	db       *sql.DB
	settings app.Settings
	stream   string // of calls
	entries  int64  // in it
}

func verify(t *testing.T, s app.Settings) *gate.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	r, err := app.VerifyLedger(ctx, s, time.Time{}, time.Time{})
	if err != nil {
		t.Fatalf("verifying: %v", err)
	}
	return r
}

// written makes calls on a server, stops it and opens its database.
func written(t *testing.T, engine clavigertest.Engine) *book {
	t.Helper()
	c := connect(t, clavigertest.Options{Engine: engine}, "ak_ledger_secret")
	b := &book{connected: c, settings: c.Settings}
	for range 12 {
		if a := c.through("GET", "/x", nil); a.Status != 200 {
			t.Fatal(a.Status)
		}
	}
	c.Stop()
	b.db = database(t, c.Server)
	row := b.db.QueryRowContext(t.Context(), "SELECT stream, COUNT(*) FROM ledger WHERE verb = 'connections:proxy' GROUP BY stream")
	if err := row.Scan(&b.stream, &b.entries); err != nil || b.entries < 20 {
		t.Fatalf("%d entries: %v", b.entries, err)
	}
	if err := b.db.QueryRowContext(t.Context(), "SELECT MAX(sequence) FROM ledger WHERE stream = $1", b.stream).Scan(&b.entries); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, b.settings); !r.Intact() || r.Entries < 20 || r.Checkpoints == 0 {
		t.Fatalf("before anybody touched it: %+v", r)
	}
	return b
}

// again opens a new life on the same files, for one more call, so that a restart does
// not bury what was done.
func (b *book) again(t *testing.T) {
	t.Helper()
	s := clavigertest.Start(t, b.Options())
	if a := s.Do(call{Token: b.Key, Method: "GET", Path: proxy(b.id, "/again")}); a.Status != 200 {
		t.Errorf("after the forgery: %d %s", a.Status, a.Body)
	}
	s.Stop()
}

func TestAbuse_219_EveryForgeryIsFound(t *testing.T) {
	for name, forgery := range map[string]struct {
		forge func(t *testing.T, b *book)
		found string // the problem that the report must name
	}{
		"edit a field": {func(t *testing.T, b *book) {
			exec(t, b.db, "UPDATE ledger SET facts = replace(facts, 'actor_id=key_', 'actor_id=key_somebody_else_') WHERE stream = $1 AND sequence = 5", b.stream)
		}, "edited"},
		"edit a column": {func(t *testing.T, b *book) {
			exec(t, b.db, "UPDATE ledger SET verb = 'connections:read' WHERE stream = $1 AND sequence = 5", b.stream)
		}, "edited"},
		"add a second value of a field": {func(t *testing.T, b *book) {
			exec(t, b.db, `UPDATE ledger SET facts = facts || 'host=elsewhere.example
' WHERE stream = $1 AND sequence = 5`, b.stream)
		}, "edited"},
		"edit a status": {func(t *testing.T, b *book) {
			exec(t, b.db, "UPDATE ledger SET status_code = status_code + 1 WHERE stream = $1 AND sequence = $2", b.stream, b.entries)
		}, "edited"},
		"swap two rows": {func(t *testing.T, b *book) {
			exec(t, b.db, "UPDATE ledger SET sequence = -1 WHERE stream = $1 AND sequence = 4", b.stream)
			exec(t, b.db, "UPDATE ledger SET sequence = 4 WHERE stream = $1 AND sequence = 6", b.stream)
			exec(t, b.db, "UPDATE ledger SET sequence = 6 WHERE stream = $1 AND sequence = -1", b.stream)
		}, "edited"},
		"delete a middle row": {func(t *testing.T, b *book) {
			exec(t, b.db, "DELETE FROM ledger WHERE stream = $1 AND sequence = 7", b.stream)
		}, "missing"},
		"delete the first row": {func(t *testing.T, b *book) {
			exec(t, b.db, "DELETE FROM ledger WHERE stream = $1 AND sequence = 1", b.stream)
		}, "missing"},
		"delete the last rows": {func(t *testing.T, b *book) {
			exec(t, b.db, "DELETE FROM ledger WHERE stream = $1 AND sequence > $2", b.stream, b.entries-3)
		}, "truncated"},
		"truncate to empty": {func(t *testing.T, b *book) {
			exec(t, b.db, "DELETE FROM ledger")
		}, "truncated"},
		"renumber": {func(t *testing.T, b *book) {
			exec(t, b.db, "DELETE FROM ledger WHERE stream = $1 AND sequence = 3", b.stream)
			for i := int64(4); i <= b.entries; i++ {
				exec(t, b.db, "UPDATE ledger SET sequence = $1 WHERE stream = $2 AND sequence = $3", i-1, b.stream, i)
			}
		}, "edited"},
		"cut and set the head back": {func(t *testing.T, b *book) {
			exec(t, b.db, "DELETE FROM ledger WHERE stream = $1 AND sequence > 8", b.stream)
			exec(t, b.db, "UPDATE streams SET sequence = 8, mac = (SELECT mac FROM ledger WHERE stream = $1 AND sequence = 8) WHERE id = $1", b.stream)
		}, "stream"},
		"delete a whole stream": {func(t *testing.T, b *book) {
			exec(t, b.db, "DELETE FROM ledger WHERE stream = $1", b.stream)
			exec(t, b.db, "DELETE FROM streams WHERE id = $1", b.stream)
		}, "stream"},
		"edit the head": {func(t *testing.T, b *book) {
			exec(t, b.db, "UPDATE streams SET sequence = sequence + 1 WHERE id = $1", b.stream)
		}, "stream"},
		"insert a row": {func(t *testing.T, b *book) {
			exec(t, b.db, strings.ReplaceAll(`INSERT INTO ledger SELECT stream, sequence + 1, 'evt_x', COLS FROM ledger WHERE stream = $1 AND sequence = $2`, "COLS",
				"at, organization, workspace, connection, verb, outcome, status_code, duration, request_id, facts, mac"), b.stream, b.entries)
		}, "stream"},
		"delete a checkpoint": {func(t *testing.T, b *book) {
			b.again(t) // so that there is a later one
			exec(t, b.db, "DELETE FROM checkpoints WHERE sequence = 1")
		}, "checkpoint"},
		"edit a checkpoint": {func(t *testing.T, b *book) {
			exec(t, b.db, "UPDATE checkpoints SET body = mac WHERE sequence = 1")
		}, "checkpoint"},
		"the chain under another key": {func(t *testing.T, b *book) {
			exec(t, b.db, "UPDATE ledger SET outcome = 'forged', mac = $1 WHERE stream = $2 AND sequence = $3", make([]byte, 32), b.stream, b.entries)
			exec(t, b.db, "UPDATE streams SET mac = $1, head_mac = $1 WHERE id = $2", make([]byte, 32), b.stream)
		}, "edited"},
	} {
		t.Run(name, func(t *testing.T) {
			clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
				b := written(t, engine)
				forgery.forge(t, b)
				named(t, verify(t, b.settings), forgery.found)
				b.again(t)
				named(t, verify(t, b.settings), forgery.found)
			})
		})
	}
}

// named checks that a report names a problem and where it is.
func named(t *testing.T, r *gate.Report, problem string) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Problem == problem && (f.Stream != "" || f.Sequence != 0) && f.Detail != "" {
			return
		}
	}
	t.Errorf("%q was not found: %+v", problem, r.Findings)
}

// TestAbuse_219_AnOldDatabaseIsFound brings back an older copy of everything that the
// database holds; only the anchor, outside of it, knows more.
func TestAbuse_219_AnOldDatabaseIsFound(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_replay_secret")
	c.through("GET", "/x", nil)
	c.Stop()
	copied := map[string][]byte{}
	for path, content := range c.Files() {
		if strings.HasPrefix(filepath.Base(path), "claviger.db") {
			copied[path] = content
		}
	}
	s := clavigertest.Start(t, c.Options())
	for i := range 5 {
		s.Do(call{Token: c.Key, Method: "GET", Path: proxy(c.id, fmt.Sprintf("/later/%d", i))})
	}
	s.Stop()
	if r := verify(t, c.Settings); !r.Intact() {
		t.Fatalf("before: %+v", r)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(c.DatabasePath() + suffix)
	}
	for path, content := range copied {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	named(t, verify(t, c.Settings), "stream")
	if err := os.Remove(filepath.Join(c.Settings.Data, "ledger-anchor.jsonl")); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, c.Settings); !r.Intact() {
		t.Errorf("without the anchor an old copy is a whole one, so it was something else that was found: %+v", r.Findings)
	}
}
