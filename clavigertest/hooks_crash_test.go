package clavigertest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"claviger/clavigertest"
	"claviger/clavigertest/postgres"
	"claviger/client"
)

// One process after the other is flooded and dies, each at another mark between the
// reading of a delivery and the end of its job, the last by kill -9 after it has answered.
// What any of them answered for is there, acted upon, and told of once.
func TestAbuse_161_231_WhatWasTakenOutlivesTheProcess(t *testing.T) {
	program := clavigertest.Build(t, "failpoints")
	marks := failpoints(t, "inbox.")
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := startTold(t)
		env := []string{"CLAVIGER_DATA=" + filepath.Join(t.TempDir(), "data"), "CLAVIGER_EGRESS_ALLOW=" + x.addr()}
		if engine == clavigertest.PostgreSQL {
			env = append(env, "CLAVIGER_DATABASE_URL="+postgres.URL(t))
		}
		first := program.Serve(t, env)
		h := &hooked{Server: first.As(t), Client: first.As(t).Client(first.Key), t: t}
		h.upload("forge", githubSlot("forge"))
		setSecrets(t, h.Client, "forge/hook", hookSecret)
		x.listen(t, h.Client)
		path, key := h.address("forge"), first.Key
		first.Kill()
		taken := map[string]string{} // what was answered 202, and by which process
		for _, mark := range append(marks, "") {
			child := program.Serve(t, append(slices.Clone(env), "CLAVIGER_FAILPOINT="+passed(mark)))
			if mark == "" && engine == clavigertest.PostgreSQL {
				// The other node that goes on with everything is there already.
				other := program.Serve(t, env)
				h = onChild(t, other, key)
			}
			flooded := onChild(t, child, key)
			flooded.path = path
			flood(t, flooded, child, mark, taken)
		}
		if engine != clavigertest.PostgreSQL {
			h = onChild(t, program.Serve(t, env), key)
		}
		allActedUpon(t, h, x, taken)
	})
}

// passed says when a process dies at a mark: after some deliveries, or with the first job.
func passed(mark string) string {
	switch mark {
	case "", "inbox.dispatched", "inbox.settled", "inbox.done":
		return mark
	}
	return mark + "@8"
}

// onChild is the vendor and the operator before a process that others were before.
func onChild(t *testing.T, child *clavigertest.Child, key string) *hooked {
	s := child.As(t)
	s.Key = key
	return &hooked{Server: s, Client: s.Client(key), t: t}
}

// flood delivers until the process is dead, by its mark or, without one, by kill -9, and
// adds what it took.
func flood(t *testing.T, h *hooked, child *clavigertest.Child, mark string, taken map[string]string) {
	t.Helper()
	const enough = 150
	var mu sync.Mutex
	var wg sync.WaitGroup
	count := 0
	for w := range 8 {
		wg.Go(func() {
			for i := range enough {
				body := fmt.Sprintf(`{"mark":%q,"w":%d,"i":%d}`, mark, w, i)
				a, err := h.Send(clavigertest.Call{Method: http.MethodPost, Path: h.path, Body: body, Header: signedHeader(hookSecret, body, fmt.Sprint(mark, w, ".", i))})
				if err != nil {
					return // it is dead
				}
				var answer struct{ ID string }
				if a.Status != http.StatusAccepted || json.Unmarshal(a.Body, &answer) != nil {
					t.Errorf("a delivery: %d %s", a.Status, a.Body)
					return
				}
				mu.Lock()
				taken[answer.ID] = "the process that died at " + mark
				count++
				full := count >= enough
				mu.Unlock()
				if full {
					break
				}
			}
		})
	}
	wg.Wait()
	if mark == "" {
		child.Kill()
	}
	select {
	case <-child.Ended():
	case <-time.After(time.Minute):
		t.Fatalf("the process passed %d deliveries and lives on, the mark is %q", count, mark)
	}
}

// allActedUpon waits until nothing is left to be done, and holds what came of it against
// what was answered.
func allActedUpon(t *testing.T, h *hooked, x *told, taken map[string]string) {
	t.Helper()
	stored := map[string]string{}
	deadline := time.Now().Add(4 * time.Minute)
	for open := true; open; {
		open = false
		for _, e := range h.events(client.InboundQuery{}) {
			stored[e.ID] = e.Status
			open = open || e.Status == "received"
		}
		if open && time.Now().After(deadline) {
			t.Fatal("some are still to be acted upon")
		}
		pauseFor(t, 200*time.Millisecond)
	}
	for id, by := range taken {
		if stored[id] != "processed" {
			t.Errorf("%s was answered 202 by %s and is %q", id, by, stored[id])
		}
	}
	for id := range stored {
		x.of(t, id)
		if n := x.messages(id); n != 1 {
			t.Errorf("%s was told of by %d events", id, n)
		}
	}
	t.Logf("%d answered, %d stored", len(taken), len(stored))
}
