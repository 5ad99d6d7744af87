package jobs_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"claviger/clavigertest/leaks"
	"claviger/clavigertest/postgres"
	"claviger/internal/jobs"
	"claviger/internal/store"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"; the store has registered SQLite's
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childVariable); url != "" {
		child(url)
	}
	os.Exit(leaks.Run(m))
}

// patience bounds every wait of these tests; nothing takes nearly as long.
const patience = 2 * time.Minute

// onEngines runs a test on an empty database of each engine.
func onEngines(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); test(t, "sqlite:"+filepath.Join(t.TempDir(), "jobs.db")) })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); test(t, postgres.URL(t)) })
}

// clock stands until it is moved.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Now().UnixMilli())
	return c
}

func (c *clock) now() time.Time       { return time.UnixMilli(c.at.Load()).UTC() }
func (c *clock) pass(d time.Duration) { c.at.Add(d.Milliseconds()) }

// room is a store with a queue that works.
type room struct {
	t     *testing.T
	url   string
	db    *store.DB
	queue *jobs.Queue
}

func openStore(t *testing.T, url string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: url, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// start opens a store and a queue on it that is stopped when the test ends.
func start(t *testing.T, url string, c jobs.Config) *room {
	t.Helper()
	r := &room{t: t, url: url, db: openStore(t, url)}
	c.Store = r.db
	c.Poll = 20 * time.Millisecond
	c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	var err error
	if r.queue, err = jobs.New(c); err != nil {
		t.Fatal(err)
	}
	if err := r.queue.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.queue.Abort(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// insert adds a job in a transaction that commits.
func (r *room) insert(kind string, args any, o jobs.Options) {
	r.t.Helper()
	if err := insert(r.t.Context(), r.db, r.queue, kind, args, o); err != nil {
		r.t.Fatal(err)
	}
}

func insert(ctx context.Context, db *store.DB, q *jobs.Queue, kind string, args any, o jobs.Options) error {
	return db.InTx(ctx, "", func(tx *store.Tx) error { return q.Insert(ctx, tx, kind, args, o) })
}

// read answers one value of the job table as it is now.
func (r *room) read(query string, args ...any) string {
	r.t.Helper()
	driver, source := "pgx", r.url
	if strings.HasPrefix(r.url, "sqlite:") {
		driver, source = "sqlite", "file:"+strings.TrimPrefix(r.url, "sqlite:")+"?mode=ro&_pragma=busy_timeout(60000)"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	value := ""
	if err := db.QueryRowContext(r.t.Context(), query, args...).Scan(&value); err != nil {
		r.t.Fatal(err)
	}
	return value
}

// wait reads until the value is the wanted one.
func (r *room) wait(want, query string, args ...any) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	got := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if got = r.read(query, args...); got == want {
			return
		}
	}
	r.t.Fatalf("%s: %s, want %s", query, got, want)
}

// waitState waits for the state of the only job of a kind.
func (r *room) waitState(kind, want string) {
	r.t.Helper()
	r.wait(want, "SELECT CAST(state AS TEXT) FROM river_job WHERE kind = $1", kind)
}

// waitDone waits until so many jobs are completed.
func (r *room) waitDone(n int) {
	r.t.Helper()
	r.wait(strconv.Itoa(n), "SELECT CAST(count(*) AS TEXT) FROM river_job WHERE state = 'completed'")
}

// errors answers what is stored of all failures.
func (r *room) errors() string {
	if strings.HasPrefix(r.url, "sqlite:") {
		return r.read("SELECT group_concat(json(errors)) FROM river_job WHERE errors IS NOT NULL")
	}
	return r.read("SELECT string_agg(CAST(errors AS TEXT), ' ') FROM river_job")
}

// receive answers the next value, or fails the test.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// text answers a job's argument, which these tests make a string.
func text(j jobs.Job) string {
	var s string
	if err := json.Unmarshal(j.Args, &s); err != nil {
		return err.Error()
	}
	return s
}
