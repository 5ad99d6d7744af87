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

// child works on a database as if an hour ago, says which job it has begun, and waits
// to be killed.
func child(url string) {
	ctx := context.Background()
	then := time.Now().Add(-time.Hour)
	now := func() time.Time { return then }
	db, err := store.Open(ctx, store.Config{URL: url, Now: now})
	if err != nil {
		panic(err.Error())
	}
	q, err := jobs.New(jobs.Config{Store: db, Now: now, Kinds: map[string]jobs.Kind{"fragile": {Run: func(_ context.Context, j jobs.Job) error {
		fmt.Println(text(j))
		select {}
	}}}})
	if err != nil {
		panic(err.Error())
	}
	if err := insert(ctx, db, q, "fragile", "taken", jobs.Options{}); err != nil {
		panic(err.Error())
	}
	if err := q.Start(ctx); err != nil {
		panic(err.Error())
	}
	select {}
}

func TestAbuse_230_AKilledProcessLosesNoJob(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
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
		if !line.Scan() || line.Text() != "taken" {
			t.Fatalf("the other process said %q", line.Text())
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		done := make(chan string, 10)
		r := start(t, url, jobs.Config{Rescue: 2 * time.Minute, Kinds: map[string]jobs.Kind{"fragile": {
			Backoff: func(int) time.Duration { return 0 },
			Run:     recorder(done).Run,
		}}})
		if got := receive(t, done); got != "taken" {
			t.Errorf("%q ran", got)
		}
		r.waitState("fragile", "completed")
		if n := len(done); n != 0 {
			t.Errorf("it ran %d times more", n)
		}
	})
}
