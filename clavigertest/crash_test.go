package clavigertest_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/clavigertest/postgres"
	"claviger/clavigertest/soak"
	"claviger/client"
	"claviger/internal/app"
)

// world is a server as a process that may die at any time, and the vendor behind it,
// which does not.
type world struct {
	program  clavigertest.Program
	vendor   *acme.Vendor
	settings app.Settings
	env      []string
	child    *clavigertest.Child
	key, id  string

	mu       sync.Mutex
	answered []string       // request ids of calls that were answered with the vendor's answer
	arrived  map[string]int // calls that reached the vendor, by the number that the caller gave them
}

func newWorld(t *testing.T, program clavigertest.Program, engine clavigertest.Engine) *world {
	t.Helper()
	w := &world{program: program, vendor: acme.Start(t, "ak_crash_secret"), arrived: map[string]int{}}
	w.settings.Data = filepath.Join(t.TempDir(), "data")
	w.env = []string{"CLAVIGER_DATA=" + w.settings.Data, "CLAVIGER_EGRESS_ALLOW=" + w.vendor.Addr(), "CLAVIGER_LEDGER_MODE=strict"}
	if engine == clavigertest.PostgreSQL {
		w.settings.DatabaseURL = postgres.URL(t)
		w.env = append(w.env, "CLAVIGER_DATABASE_URL="+w.settings.DatabaseURL)
	}
	w.start(t, "")
	s := w.child.As(t)
	w.key = w.child.Key
	w.id = s.Connect(t, w.vendor, "acme", "key", map[string]string{"apiKey": "ak_crash_secret"})
	w.vendor.Behave(func(rw http.ResponseWriter, r *http.Request) {
		if number := r.Header.Get("X-Call"); number != "" {
			w.mu.Lock()
			w.arrived[number]++
			w.mu.Unlock()
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("X-Scopes", "contacts.read")
		_, _ = fmt.Fprint(rw, `{"id":"acct_7","name":"Acme"}`)
	})
	return w
}

// start starts the process; failpoint, if given, says where it is to die.
func (w *world) start(t *testing.T, failpoint string) {
	t.Helper()
	env := w.env
	if failpoint != "" {
		env = append(slices.Clone(env), "CLAVIGER_FAILPOINT="+failpoint)
	}
	w.child = w.program.Serve(t, env)
	if w.child == nil && failpoint == "" {
		t.Fatal("the server did not start")
	}
}

// call makes one call through the connection; the vendor learns its number.
func (w *world) call(ctx context.Context, http1 *http.Client, number string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.child.URL+proxy(w.id, "/x"), strings.NewReader(number))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+w.key)
	req.Header.Set("X-Call", number)
	resp, err := http1.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		w.mu.Lock()
		w.answered = append(w.answered, resp.Header.Get("Claviger-Request-Id"))
		w.mu.Unlock()
	}
	return resp.Body.Close()
}

// prove verifies the chain of a stopped world and that every call that reached the
// vendor is in the ledger as allowed, and answers how many are. Those that were answered
// are known by their request id; of those that were cut off only the number is known.
func (w *world) prove(t *testing.T) (allowed int) {
	t.Helper()
	if r := verify(t, w.settings); !r.Intact() {
		t.Errorf("the ledger is broken: %+v", r.Findings)
	}
	s := &clavigertest.Server{Settings: w.settings}
	if s.Settings.DatabaseURL == "" {
		s.Settings.DatabaseURL = "sqlite:" + filepath.Join(w.settings.Data, "claviger.db")
	}
	db := database(t, s)
	rows, err := db.QueryContext(t.Context(), "SELECT request_id FROM ledger WHERE outcome = 'allowed' AND verb = 'connections:proxy'")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	entries := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		entries[id] = true
		allowed++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := 0
	for _, n := range w.arrived {
		sent += n
	}
	if sent > allowed {
		t.Errorf("%d calls reached the vendor, %d are in the ledger", sent, allowed)
	}
	for _, id := range w.answered {
		if !entries[id] {
			t.Errorf("request %s was answered by the vendor and is not in the ledger", id)
		}
	}
	return allowed
}

// TestAbuse_217_233_KilledAtRandom makes calls from many goroutines while the process is
// killed again and again. 10,000 calls with 20 kills in `make soak`, else 2,000.
func TestAbuse_217_233_KilledAtRandom(t *testing.T) {
	const kills, callers = 20, 8
	calls := soak.Rounds(t, 2_000, 10_000)
	program := clavigertest.Build(t, "failpoints")
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := newWorld(t, program, engine)
		var made, answered atomic.Int64
		var starts []time.Duration
		for killed := 0; killed < kills || made.Load() < int64(calls); killed++ {
			ctx, cancel := context.WithCancel(t.Context())
			transport := &http.Transport{MaxIdleConnsPerHost: callers}
			http1 := &http.Client{Transport: transport, Timeout: longest}
			quota := made.Load() + int64(calls/kills)
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for ctx.Err() == nil && made.Load() < quota+int64(callers) {
						if w.call(ctx, http1, strconv.FormatInt(made.Add(1), 10)) == nil {
							answered.Add(1)
						} else if ctx.Err() == nil {
							return // the process is dead
						}
					}
				})
			}
			dies := quota - rand.Int64N(int64(calls/kills)/2) // somewhere in the second half of the round
			eventually(t, "the round's calls", func() bool { return made.Load() >= dies })
			w.child.Kill()
			cancel()
			wg.Wait()
			transport.CloseIdleConnections()
			began := time.Now()
			w.start(t, "")
			starts = append(starts, time.Since(began))
		}
		w.child.Kill()
		allowed := w.prove(t)
		slices.Sort(starts)
		usual := starts[len(starts)/2]
		t.Logf("%d calls made, %d answered, %d reached the vendor, %d in the ledger, %d kills; half of the starts took %s, the slowest %s", made.Load(), answered.Load(), len(w.arrived), allowed, kills, usual, slices.Max(starts))
		if len(w.arrived) < calls/4 || len(w.answered) < calls/4 {
			t.Errorf("%d calls arrived, %d were answered", len(w.arrived), len(w.answered))
		}
	})
}

// failpoints answers the marks in the source whose names begin with prefix; without one
// those that have no grid of their own.
func failpoints(t *testing.T, prefix string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(filepath.Join("..", "internal"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok || len(c.Args) != 1 {
				return true
			}
			f, ok := c.Fun.(*ast.SelectorExpr)
			mark, isText := c.Args[0].(*ast.BasicLit)
			if !ok || !isText || f.Sel.Name != "Hit" || fmt.Sprint(f.X) != "failpoint" {
				return true
			}
			name := strings.Trim(mark.Value, `"`)
			own := slices.ContainsFunc([]string{"refresh.", "connect.", "inbox.", "masters."}, func(p string) bool { return strings.HasPrefix(name, p) })
			if prefix == "" && !own || prefix != "" && strings.HasPrefix(name, prefix) {
				out = append(out, name)
			}
			return true
		})
		return nil
	})
	if err != nil || len(out) < 8 {
		t.Fatalf("%d marks: %v", len(out), err)
	}
	return out
}

// TestAbuse_232_KilledAtEveryMark kills the process at each mark of the source, each in
// the middle of calls and changes, and looks at what is left.
func TestAbuse_232_KilledAtEveryMark(t *testing.T) {
	program := clavigertest.Build(t, "failpoints")
	marks := failpoints(t, "")
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := newWorld(t, program, engine)
		w.child.Kill()
		for i, mark := range marks {
			fresh := w
			if mark == "keyset.made" { // passed when an instance is new
				fresh = bare(t, program, engine, w)
			}
			if !fresh.dies(t, mark, i) {
				t.Errorf("the mark %s was not passed: nothing was proven about it", mark)
			}
			fresh.start(t, "")
			if fresh == w {
				w.consistent(t, i)
			}
			fresh.child.Kill()
			if fresh == w {
				w.prove(t)
			} else if r := verify(t, fresh.settings); !r.Intact() {
				t.Errorf("after %s: %+v", mark, r.Findings)
			}
		}
		t.Logf("%d marks: %s", len(marks), strings.Join(marks, " "))
	})
}

// bare is a world whose database and folder are empty.
func bare(t *testing.T, program clavigertest.Program, engine clavigertest.Engine, like *world) *world {
	t.Helper()
	b := &world{program: program, vendor: like.vendor, arrived: map[string]int{}}
	b.settings.Data = filepath.Join(t.TempDir(), "data")
	b.env = []string{"CLAVIGER_DATA=" + b.settings.Data}
	if engine == clavigertest.PostgreSQL {
		b.settings.DatabaseURL = postgres.URL(t)
		b.env = append(b.env, "CLAVIGER_DATABASE_URL="+b.settings.DatabaseURL)
	}
	return b
}

// dies works the server until it dies at the mark, and reports whether it did.
func (w *world) dies(t *testing.T, mark string, round int) bool {
	t.Helper()
	w.start(t, mark)
	if w.child == nil {
		return true // while it started
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	c, err := client.New(w.child.URL, w.key)
	if err != nil {
		t.Fatal(err)
	}
	http1 := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for n := 0; ; n++ {
		select {
		case <-w.child.Ended():
			return true
		case <-ctx.Done():
			w.child.Kill()
			return false
		default:
		}
		_ = w.call(ctx, http1, fmt.Sprintf("%s-%d", mark, n))
		_, _ = c.CreateWorkspace(ctx, api.CreateWorkspace{Name: fmt.Sprintf("round %d, %d", round, n)})
		if strings.HasPrefix(mark, "reseal") {
			_, _ = c.RotateEncryption(ctx)
		}
	}
}

// consistent looks at a world that was started again after a crash.
func (w *world) consistent(t *testing.T, round int) {
	t.Helper()
	s := w.child.As(t)
	if a := s.Do(call{Token: w.key, Method: "GET", Path: proxy(w.id, "/after")}); a.Status != 200 {
		t.Errorf("round %d: the connection answers %d %s", round, a.Status, a.Body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	created := map[string]bool{}
	for e, err := range s.Client(w.key).Audit(ctx, client.AuditQuery{Verb: "workspaces:create", Outcome: "succeeded"}) {
		if err != nil {
			t.Fatal(err)
		}
		created[e.Resource.ID] = true
	}
	for ws, err := range s.Client(w.key).Workspaces(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if ws.Name != "default" && !created[ws.ID] {
			t.Errorf("round %d: workspace %q is there and not in the ledger", round, ws.Name)
		}
		delete(created, ws.ID)
	}
	for id := range created {
		t.Errorf("round %d: workspace %s is in the ledger and not there", round, id)
	}
}
