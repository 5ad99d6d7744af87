package jobs_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"claviger/internal/jobs"
	"claviger/internal/store"
)

// childVariable makes this test program a process that takes a job and never ends it.
const childVariable = "CLAVIGER_TEST_JOBS_CHILD"

// child takes a job of each kind, says so, and waits to be killed. Of the kind once
// nobody may try a second time.
func child(url string) {
	ctx := context.Background()
	db, err := store.Open(ctx, store.Config{URL: url, Now: time.Now})
	if err != nil {
		panic(err.Error())
	}
	hold := func(_ context.Context, j jobs.Job) error {
		fmt.Println(text(j))
		select {}
	}
	q, err := jobs.New(jobs.Config{Store: db, Beat: crashBeat, Kinds: map[string]jobs.Kind{"fragile": {Run: hold}, "once": {Run: hold, Attempts: 1}}})
	if err != nil {
		panic(err.Error())
	}
	for _, kind := range []string{"fragile", "once"} {
		if err := insert(ctx, db, q, kind, "taken", jobs.Options{}); err != nil {
			panic(err.Error())
		}
	}
	if err := q.Start(ctx); err != nil {
		panic(err.Error())
	}
	select {}
}

// crashBeat is how often the processes of these tests say that they are alive.
const crashBeat = 500 * time.Millisecond

// Whatever River's own patience, what a process held when it was killed is taken up when
// it has not been heard of for three beats, and what a living one holds is not.
func TestAbuse_230_AKilledProcessLosesNoJob(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		done, held, release := make(chan string, 10), make(chan int, 10), make(chan struct{})
		kinds := map[string]jobs.Kind{
			"fragile": recorder(done),
			"once":    {Attempts: 1, Run: recorder(done).Run},
			"long":    {Run: func(_ context.Context, j jobs.Job) error { held <- j.Attempt; <-release; return nil }},
		}
		// It is alive, and has no hand free for what the other process is to take.
		living := start(t, url, jobs.Config{Rescue: 24 * time.Hour, Beat: time.Minute, Kinds: kinds, Workers: 1})
		living.insert("long", "held", jobs.Options{})
		if n := receive(t, held); n != 1 {
			t.Fatalf("attempt %d", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		t.Cleanup(cancel)
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"="+url)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line := bufio.NewScanner(out)
		for range 2 {
			if !line.Scan() || line.Text() != "taken" {
				t.Fatalf("the other process said %q", line.Text())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		r := start(t, url, jobs.Config{Rescue: 24 * time.Hour, Beat: crashBeat, Kinds: kinds})
		if got := receive(t, done); got != "taken" {
			t.Errorf("%q ran", got)
		}
		r.waitState("fragile", "completed")
		r.waitState("once", "discarded")
		r.waitState("long", "running")
		close(release)
		r.waitState("long", "completed")
		if len(done) != 0 || len(held) != 0 {
			t.Errorf("%d and %d ran once more", len(done), len(held))
		}
	})
}
