package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

// parallel runs n functions at the same moment and answers their errors.
func parallel(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			errs[i] = fn(i)
		})
	}
	close(start)
	all.Wait()
	return errs
}

func none(t testing.TB, errs []error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestNoUpdateIsLost(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		c := a.connect(a.connection("one"))
		const n = 100
		none(t, parallel(n, func(int) error {
			_, err := a.update(c.ID, func(c *claviger.Connection) { c.Revision++ })
			return err
		}))
		got := readOnly(f, a, c.ID)
		if got.Revision != c.Revision+n || got.Version != c.Version+n {
			t.Fatalf("after %d updates revision %d, version %d", n, got.Revision, got.Version)
		}
	})
}

// Two transactions that lock two rows in opposite orders, each waiting for the
// other, run to their end: one is repeated, and again if its repetition is faster than
// the other, which has yet to wake up.
func TestDeadlocksAreRepeated(t *testing.T) {
	f := open(t, store.Config{URL: engines[1].url(t)})
	a := f.tenant("a")
	ids := []claviger.ConnectionID{a.connect(a.connection("one")).ID, a.connect(a.connection("two")).ID}
	var runs atomic.Int64
	var both sync.WaitGroup
	both.Add(2)
	none(t, parallel(2, func(i int) error {
		first := true
		return f.try(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error {
			runs.Add(1)
			for j := range ids {
				_, err := tx.UpdateConnection(ctx, a.scope, ids[(i+j)%2], func(c claviger.Connection, s claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
					c.Revision++
					return c, s, nil
				})
				if err != nil {
					return err
				}
				if first { // both hold their first row now
					first = false
					both.Done()
					both.Wait()
				}
			}
			return nil
		})
	}))
	if runs.Load() < 3 {
		t.Errorf("the transactions ran %d times, so none was repeated", runs.Load())
	}
	for _, id := range ids {
		if got := readOnly(f, a, id); got.Revision != 3 {
			t.Errorf("revision %d, want 3", got.Revision)
		}
	}
}

func TestOneNameWins(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		for noun, create := range map[string]func(context.Context, *store.Tx, int) error{
			"instance": func(ctx context.Context, tx *store.Tx, i int) error {
				return tx.CreateOrganization(ctx, claviger.Organization{ID: claviger.OrganizationID(fmt.Sprint("org_", i)), Instance: true})
			},
			"name": func(ctx context.Context, tx *store.Tx, i int) error {
				c := a.connection("the one")
				return tx.CreateConnection(ctx, a.scope, c, nil)
			},
		} {
			won := 0
			for _, err := range parallel(20, func(i int) error {
				return f.try("", func(ctx context.Context, tx *store.Tx) error { return create(ctx, tx, i) })
			}) {
				if err == nil {
					won++
				} else {
					conflict(t, err, noun)
				}
			}
			if won != 1 {
				t.Errorf("%d of 20 won the %s", won, noun)
			}
		}
	})
}

func TestVersionsAreHandedOutOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		var versions, secrets sync.Map
		none(t, parallel(20, func(int) error {
			var version int
			var secret claviger.SecretMeta
			err := f.try("", func(ctx context.Context, tx *store.Tx) (err error) {
				if version, err = tx.PutConnector(ctx, a.scope, "acme", []byte("{}"), ""); err != nil {
					return err
				}
				secret, err = tx.PutSecret(ctx, a.scope, "p", func(int64) (claviger.Sealed, error) { return claviger.Sealed("x"), nil })
				return err
			})
			if _, again := versions.LoadOrStore(version, true); again {
				return fmt.Errorf("connector version %d twice", version)
			}
			if _, again := secrets.LoadOrStore(secret.Version, true); again {
				return fmt.Errorf("secret version %d twice", secret.Version)
			}
			return err
		}))
	})
}

// A workspace is deleted while others connect in it: never is a connection left
// without its workspace.
func TestDeleteWorkspaceAgainstConnect(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		for round := range 10 {
			w := a.addWorkspace(fmt.Sprint("w", round), claviger.DefaultRegion)
			errs := parallel(2, func(i int) error {
				return f.try(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error {
					if i == 0 {
						return tx.DeleteWorkspace(ctx, a.scope, w.ID)
					}
					c := a.connection("one")
					c.Workspace = w.ID
					return tx.CreateConnection(ctx, a.scope, c, nil)
				})
			})
			if errs[0] == nil {
				wants(t, errs[1], store.ErrNotFound)
			} else {
				conflict(t, errs[0], "connections")
				wants(t, errs[1], nil)
			}
		}
	})
}

// A stream has one writer by design; should there be two, no number is given twice.
func TestLedgerHeadsMoveOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		wants(t, f.appendTo("", "n", a.entries("n", 1, 1)), nil)
		none(t, parallel(20, func(i int) error {
			return f.try("", func(ctx context.Context, tx *store.Tx) error {
				s, err := tx.Stream(ctx, "n")
				if err != nil {
					return err
				}
				e := a.entries("n", int(s.Head.Sequence)+1, 3)
				s.Head = store.Head{Sequence: e[2].Sequence, MAC: e[2].MAC}
				return tx.AppendLedger(ctx, s, e)
			})
		}))
		count := int64(0)
		wants(t, f.WalkStream(t.Context(), "", "n", 1, func(e claviger.Entry) error {
			if count++; e.Sequence != count {
				return fmt.Errorf("number %d in place %d", e.Sequence, count)
			}
			return nil
		}), nil)
		if count != 61 {
			t.Fatalf("%d entries, want 61", count)
		}
	})
}

func TestReadersDoNotWaitForTheWriter(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		c := a.connect(a.connection("one"))
		f.in(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.UpdateConnection(ctx, a.scope, c.ID, func(c claviger.Connection, s claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
				c.Name = "changed"
				return c, s, nil
			})
			if got := readOnly(f, a, c.ID); got.Name != "one" {
				t.Errorf("a reader sees %q, which is not committed", got.Name)
			}
			return err
		})
		if got := readOnly(f, a, c.ID); got.Name != "changed" {
			t.Errorf("a reader sees %q after the commit", got.Name)
		}
	})
}

// Two hundred transactions that read first and then write, and a second process's
// long reader and writer in their way: nobody sees "database is locked".
func TestAbuse_236_BusyStorm(t *testing.T) {
	path := t.TempDir() + "/claviger.db"
	f := open(t, store.Config{URL: "sqlite:" + path})
	a := f.tenant("a")
	c := a.connect(a.connection("one"))
	other, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	reader, err := other.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := reader.ExecContext(t.Context(), "BEGIN DEFERRED"); err != nil {
		t.Fatal(err)
	}
	if err := reader.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM connections").Scan(&n); err != nil {
		t.Fatal(err)
	}
	const writers = 200
	none(t, parallel(writers, func(i int) error {
		if i%20 == 0 { // another process writes too
			tx, err := other.BeginTx(t.Context(), nil)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(t.Context(), "UPDATE connections SET revision = revision + 1, version = version + 1"); err != nil {
				return err
			}
			return tx.Commit()
		}
		_, err := a.update(c.ID, func(c *claviger.Connection) { c.Revision++ })
		return err
	}))
	if got := readOnly(f, a, c.ID); got.Revision != 1+writers {
		t.Fatalf("revision %d, want %d", got.Revision, 1+writers)
	}
	if _, err := reader.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	reader.Close()
	// With the long reader gone the log is written back and begins anew.
	for range 50 {
		ok(a.update(c.ID, func(c *claviger.Connection) { c.Revision++ }))(t)
	}
	if info, err := os.Stat(path + "-wal"); err != nil || info.Size() > 64<<20 {
		t.Fatalf("the write-ahead log: %v, %v", info, err)
	}
}

// A writer that another process keeps out for longer than the patience gets an
// answer to try again, not the engine's words.
func TestAbuse_236_LockedOutIsUnavailable(t *testing.T) {
	path := t.TempDir() + "/claviger.db"
	f := open(t, store.Config{URL: "sqlite:" + path})
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	err = f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.AddChange(ctx, "user", "x") })
	known := claviger.AsError(err)
	if known.Kind != claviger.KindUnavailable || known.RetryAfter == 0 || strings.Contains(known.Message, "SQLITE") {
		t.Fatalf("locked out: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	wants(t, f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.AddChange(ctx, "user", "x") }), nil)
}

func TestManyOpenOneFreshDatabase(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			url := e.url(t)
			none(t, parallel(8, func(int) error {
				db, err := store.Open(t.Context(), store.Config{URL: url, Now: time.Now})
				if err != nil {
					return err
				}
				return errors.Join(db.Ready(t.Context()), db.Close())
			}))
		})
	}
}

// openerVariable makes this test binary a process that opens a database.
const openerVariable = "CLAVIGER_TEST_OPEN"

func TestManyProcessesOpenOneFreshDatabase(t *testing.T) {
	if url := os.Getenv(openerVariable); url != "" {
		db, err := store.Open(t.Context(), store.Config{URL: url, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		none(t, []error{db.Ready(t.Context()), db.Close()})
		return
	}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			url := e.url(t)
			none(t, parallel(4, func(int) error {
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestManyProcessesOpenOneFreshDatabase$")
				cmd.Env = append(os.Environ(), openerVariable+"="+url)
				if out, err := cmd.CombinedOutput(); err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				return nil
			}))
		})
	}
}

// Many tenants read and write at once while their requests are cancelled at random
// points: no answer ever holds another's row.
func TestAbuse_015_CancelledRequestsNeverMix(t *testing.T) {
	queries := 20000
	if testing.Short() {
		queries = 2000
	}
	onEngines(t, func(t *testing.T, f *fixture) {
		var tenants []*tenant
		var ids []claviger.ConnectionID
		for i := range 40 {
			a := f.tenant(fmt.Sprint("canary-", i))
			tenants = append(tenants, a)
			ids = append(ids, a.connect(a.connection("canary-"+string(a.org.ID))).ID)
		}
		var left atomic.Int64
		left.Store(int64(queries))
		var finished, cancelled atomic.Int64
		none(t, parallel(16, func(worker int) error {
			random := rand.New(rand.NewPCG(uint64(worker), 15))
			for left.Add(-1) >= 0 {
				i := random.IntN(len(tenants))
				// Most run to their end, the others end anywhere, before the
				// first statement included.
				ctx, cancel := context.WithCancel(t.Context())
				if random.IntN(3) == 0 {
					time.AfterFunc(time.Duration(random.IntN(400))*time.Microsecond, cancel)
				}
				err := tenants[i].probe(ctx, ids[i], random.IntN(10))
				cancel()
				switch {
				case err == nil:
					finished.Add(1)
				case errors.Is(err, context.Canceled):
					cancelled.Add(1)
				default:
					return err
				}
			}
			return nil
		}))
		if finished.Load() == 0 || cancelled.Load() == 0 {
			t.Fatalf("%d finished, %d cancelled: proves nothing", finished.Load(), cancelled.Load())
		}
		for i, a := range tenants { // and none was damaged
			wants(t, a.probe(t.Context(), ids[i], 1), nil)
		}
	})
}

var errMixed = errors.New("another tenant's row")

// probe reads or changes the tenant's connection and checks whose the answer is.
func (t *tenant) probe(ctx context.Context, id claviger.ConnectionID, kind int) error {
	check := func(c claviger.Connection, sealed claviger.Sealed) error {
		if want := "canary-" + string(t.org.ID); c.ID != id || c.Organization != t.org.ID || c.Name != want || sealed != nil && string(sealed) != "sealed "+want {
			return fmt.Errorf("%w: %s in %s, sealed %q", errMixed, c.Name, t.org.ID, sealed)
		}
		return nil
	}
	switch kind {
	case 0:
		return t.f.InTx(ctx, claviger.DefaultRegion, func(tx *store.Tx) error {
			_, err := tx.UpdateConnection(ctx, t.scope, id, func(c claviger.Connection, s claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
				return c, s, check(c, s)
			})
			return err
		})
	case 1, 2:
		all, err := t.f.Connections(ctx, t.scope, store.ConnectionFilter{}, store.Page{})
		if err != nil {
			return err
		}
		if len(all) != 1 {
			return fmt.Errorf("%w: %d rows", errMixed, len(all))
		}
		return check(all[0], nil)
	default:
		c, sealed, err := t.f.Connection(ctx, t.scope, id)
		if err != nil {
			return err
		}
		return check(c, sealed)
	}
}
