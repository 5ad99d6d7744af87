package clavigertest_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
)

// TestAbuse_015 lets many tenants call at once, with callers that leave at random
// points, and looks for another's credential or answer.
func TestAbuse_015_NoAnswerIsAnothers(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		const tenants, each = 20, 100
		v := acme.Start(t)
		s := clavigertest.Start(t, clavigertest.Options{Engine: engine, EgressAllow: v.Addr()})
		v.Behave(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			// Who it is for, and whose credential came: in a form that is not blotted out.
			_, _ = fmt.Fprintf(w, "%s %s", r.URL.Query().Get("for"), strings.Join(strings.Split(strings.TrimPrefix(acme.SecretOf(r), "tk_tenant_secret_"), ""), "."))
		})
		no := false
		keys, ids := make([]string, tenants), make([]string, tenants)
		for i := range tenants {
			made, err := s.Client(s.Key).CreateOrganization(t.Context(), api.CreateOrganization{Name: fmt.Sprintf("tenant %d", i)})
			if err != nil {
				t.Fatal(err)
			}
			keys[i] = made.APIKey
			c := s.Client(made.APIKey)
			if _, err := c.PutConnector(t.Context(), "acme", v.Document("acme")); err != nil {
				t.Fatal(err)
			}
			conn, err := c.CreateConnection(t.Context(), api.CreateConnection{
				Connector: "acme", AuthMethod: "bearer", Name: "crm", Validate: &no, Credentials: map[string]string{"token": fmt.Sprintf("tk_tenant_secret_%d", i)},
			})
			if err != nil {
				t.Fatal(err)
			}
			ids[i] = conn.ID
		}
		var read, left atomic.Int64
		var wg sync.WaitGroup
		for i := range tenants {
			wg.Go(func() {
				client := s.Client(keys[i]).Proxy(ids[i])
				want := fmt.Sprintf("%d %s", i, strings.Join(strings.Split(fmt.Sprint(i), ""), "."))
				for range each {
					ctx, cancel := context.WithCancel(t.Context())
					if rand.IntN(3) == 0 {
						timer := time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, cancel)
						defer timer.Stop()
					}
					req, _ := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://vendor/x?for=%d", i), nil)
					resp, err := client.Do(req)
					if err != nil {
						left.Add(1)
						cancel()
						continue
					}
					body, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					cancel()
					if err != nil {
						left.Add(1)
					} else if read.Add(1); resp.StatusCode == 200 && string(body) != want {
						t.Errorf("tenant %d was answered %q", i, body)
					}
				}
			})
		}
		wg.Wait()
		if left.Load() == 0 || read.Load() < tenants*each/2 {
			t.Errorf("%d read, %d left", read.Load(), left.Load())
		}
		t.Logf("%d tenants, %d answers read, %d callers left", tenants, read.Load(), left.Load())
	})
}

func TestAbuse_236_ABusyDatabaseIsWaitedFor(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_busy_secret")
	db := database(t, c.Server) // as a backup or a second process would hold it
	reader, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	if _, err := reader.ExecContext(t.Context(), "BEGIN; SELECT COUNT(*) FROM ledger"); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		writer, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := writer.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
			t.Fatal(err)
		}
		answers := make(chan *clavigertest.Answer, 3)
		go func() { answers <- c.through("GET", "/x", nil) }()
		go func() {
			answers <- c.Do(call{Token: c.Key, Method: "POST", Path: "/v1/workspaces", Body: map[string]string{"name": fmt.Sprintf("busy %d", round)}})
		}()
		go func() { answers <- c.Do(call{Token: c.Key, Method: "GET", Path: "/v1/connections"}) }()
		if a := <-answers; a.Status != 200 { // before the writer has ended
			t.Errorf("a read waited for the writer: %d %s", a.Status, a.Body)
		}
		hold := time.NewTimer(700 * time.Millisecond)
		select {
		case a := <-answers:
			t.Errorf("a write did not wait: %d %s", a.Status, a.Body)
		case <-hold.C:
		}
		if _, err := writer.ExecContext(t.Context(), "COMMIT"); err != nil {
			t.Fatal(err)
		}
		_ = writer.Close()
		for range 2 {
			if a := <-answers; a.Status >= 400 {
				t.Errorf("after the wait: %d %s", a.Status, a.Body)
			}
		}
	}
	if _, err := reader.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Error(err)
	}
}

func TestAbuse_237_ConnectionsToPostgresAreCut(t *testing.T) {
	c := connect(t, clavigertest.Options{Engine: clavigertest.PostgreSQL}, "ak_cut_secret")
	db := database(t, c.Server)
	cut := func() {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
			t.Error(err)
		}
	}
	var arrived atomic.Int64
	c.vendor.Behave(func(w http.ResponseWriter, _ *http.Request) { arrived.Add(1); w.WriteHeader(http.StatusNoContent) })
	stop := make(chan struct{})
	var made, good, refused atomic.Int64
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				made.Add(1)
				a := c.through("POST", fmt.Sprintf("/x/%d/%d", worker, n), nil)
				switch {
				case a.Status == 204:
					good.Add(1)
				case a.Status >= 500:
					refused.Add(1)
				default:
					t.Errorf("%d %s", a.Status, a.Body)
				}
			}
		})
	}
	for round := range 10 {
		at := good.Load()
		cut()
		eventually(t, fmt.Sprintf("calls go on after cut %d", round), func() bool { return good.Load() > at+20 })
	}
	close(stop)
	wg.Wait()
	if arrived.Load() > good.Load()+refused.Load() {
		t.Errorf("%d calls made %d requests: something was sent twice", good.Load()+refused.Load(), arrived.Load())
	}
	c.Stop()
	if r := verify(t, c.Settings); !r.Intact() {
		t.Errorf("%+v", r.Findings)
	}
	var allowed int64
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM ledger WHERE outcome = 'allowed' AND verb = 'connections:proxy'").Scan(&allowed); err != nil || allowed < arrived.Load() {
		t.Errorf("%d requests arrived, %d are in the ledger: %v", arrived.Load(), allowed, err)
	}
	t.Logf("%d calls, %d answered, %d refused with 5xx, %d arrived, %d in the ledger", made.Load(), good.Load(), refused.Load(), arrived.Load(), allowed)
}

// TestAbuse_148 compares what refusals of the policy say: nothing of what is there.
func TestAbuse_148_RefusalsTellNothingOfTheNetwork(t *testing.T) {
	closed := acme.Start(t)
	s := clavigertest.Start(t, clavigertest.Options{Resolver: public(t)})
	c := s.Client(s.Key)
	no := false
	seen := map[string][]string{}
	for i, host := range []string{"10.1.2.3", "192.168.0.1", "169.254.169.254", "127.0.0.1", "[::1]", "100.64.1.1"} {
		key := fmt.Sprintf("probe-%d", i)
		if _, err := c.PutConnector(t.Context(), key, acme.DocumentAt(key, "https://"+host+"/v2", strings.Trim(host, "[]"))); err != nil {
			seen[fmt.Sprint(err)] = append(seen[fmt.Sprint(err)], host)
			continue
		}
		conn, err := c.CreateConnection(t.Context(), api.CreateConnection{Connector: key, AuthMethod: "bearer", Name: key, Validate: &no, Credentials: map[string]string{"token": "tk_probe_secret"}})
		if err != nil {
			seen[fmt.Sprint(err)] = append(seen[fmt.Sprint(err)], host)
			continue
		}
		f := s.Do(call{Token: s.Key, Method: "GET", Path: proxy(conn.ID, "/x")}).Fault()
		seen[f.Code+": "+f.Message] = append(seen[f.Code+": "+f.Message], host)
	}
	for text := range seen {
		for _, no := range []string{"10.1.2.3", "refused", "timeout", "no route", closed.Addr()} {
			if strings.Contains(text, no) {
				t.Errorf("a refusal says %q", text)
			}
		}
	}
	if len(seen) > 1 {
		t.Errorf("refusals can be told apart: %v", seen)
	}
	if all := s.Dials.All(); len(all) != 0 {
		t.Errorf("dialled: %v", all)
	}
}
