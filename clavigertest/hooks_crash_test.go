package clavigertest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/clavigertest"
	"claviger/clavigertest/postgres"
	"claviger/client"
)

func TestAbuse_161_WhatWasTakenOutlivesTheProcess(t *testing.T) {
	program := clavigertest.Build(t, "failpoints")
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		marks := []string{"", "inbox.flush.before", "inbox.flush.inside", "inbox.flush.after"}
		if engine == clavigertest.PostgreSQL {
			marks = marks[:1]
		}
		for _, where := range marks {
			t.Run("killed at "+strings.TrimPrefix(where, "inbox."), func(t *testing.T) { killedAt(t, program, engine, where) })
		}
	})
}

// killedAt floods a process that dies, by kill -9 or at a place of its own, starts it
// again, and counts that all it had answered for is there and is acted upon once.
func killedAt(t *testing.T, program clavigertest.Program, engine clavigertest.Engine, where string) {
	x := startTold(t)
	env := []string{"CLAVIGER_DATA=" + filepath.Join(t.TempDir(), "data"), "CLAVIGER_EGRESS_ALLOW=" + x.addr()}
	if engine == clavigertest.PostgreSQL {
		env = append(env, "CLAVIGER_DATABASE_URL="+postgres.URL(t))
	}
	child := program.Serve(t, env)
	s := child.As(t)
	h := &hooked{Server: s, Client: s.Client(child.Key), t: t}
	h.upload("forge", githubSlot("forge"))
	setSecrets(t, h.Client, "forge/hook", hookSecret)
	x.listen(t, h.Client)
	h.path = h.address("forge")
	if where != "" {
		child.Kill()
		child = program.Serve(t, append(env, "CLAVIGER_FAILPOINT="+where+"@8"))
		h.Server.URL = child.URL
	}
	taken := flood(t, h, child)
	child = program.Serve(t, env)
	again := child.As(t)
	again.Key = h.Key
	h = &hooked{Server: again, Client: again.Client(h.Key), t: t}
	stored := map[string]string{}
	for _, e := range h.events(client.InboundQuery{}) {
		stored[e.ID] = e.Status
	}
	for id := range taken {
		if stored[id] == "" {
			t.Errorf("%s was answered 202 and is gone", id)
		}
	}
	if engine == clavigertest.PostgreSQL {
		return // a job that ran when its process died is rescued in minutes: package jobs proves that
	}
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
		pauseFor(t, 50*time.Millisecond)
	}
	for id := range taken {
		if stored[id] != "processed" {
			t.Errorf("%s was answered 202 and is %q", id, stored[id])
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

// flood delivers until the process is dead, and answers what was taken.
func flood(t *testing.T, h *hooked, child *clavigertest.Child) map[string]bool {
	t.Helper()
	taken := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 10_000 {
				body := fmt.Sprintf(`{"w":%d,"i":%d}`, w, i)
				a, err := h.Send(clavigertest.Call{Method: http.MethodPost, Path: h.path, Body: body, Header: signedHeader(hookSecret, body, fmt.Sprint(w, ".", i))})
				if err != nil {
					return // it is dead
				}
				var answer struct{ ID string }
				if a.Status != http.StatusAccepted || json.Unmarshal(a.Body, &answer) != nil {
					t.Errorf("a delivery: %d %s", a.Status, a.Body)
					return
				}
				mu.Lock()
				taken[answer.ID] = true
				enough := len(taken) == 150
				mu.Unlock()
				if enough {
					child.Kill()
				}
			}
		})
	}
	wg.Wait()
	<-child.Ended()
	return taken
}
