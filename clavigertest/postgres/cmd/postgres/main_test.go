//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"claviger/clavigertest/postgres"
)

// sandbox makes the temporary folders of this test land in one place, where what
// is left behind can be seen. The unprivileged user must be able to pass.
func sandbox(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/tmp", "claviger-postgres-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", folder)
	return folder
}

func nothingLeft(t *testing.T, folder string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(folder, "claviger-postgres-*"))
	if err != nil || len(left) > 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}

func TestTheCommandsCodeIsTheAnswer(t *testing.T) {
	folder := sandbox(t)
	psql, err := postgres.Binary("psql")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	script := `"$0" -X -q -d "$` + postgres.Variable + `" -c 'CREATE TABLE t (id int)' && exit 7`
	if code, err := run(true, []string{"sh", "-c", script, psql}, nil, &log); err != nil || code != 7 {
		t.Errorf("code %d, %v; %s", code, err, log.String())
	}
	nothingLeft(t, folder)
	for script, want := range map[string]int{"exit 0": 0, "kill -9 $$": 128 + 9} {
		if code, err := beside([]string{"sh", "-c", script}, "", nil); err != nil || code != want {
			t.Errorf("%q: code %d, want %d; %v", script, code, want, err)
		}
	}
}

func TestACommandThatIsNotThere(t *testing.T) {
	folder := sandbox(t)
	if code, err := run(true, []string{"/no/such/command"}, nil, &bytes.Buffer{}); err == nil || code != 1 {
		t.Errorf("code %d, %v", code, err)
	}
	nothingLeft(t, folder)
}

// A signal ends the command and then the cluster.
func TestSignalsReachTheCommand(t *testing.T) {
	folder := sandbox(t)
	ready := filepath.Join(folder, "ready")
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	signals := make(chan os.Signal, 1)
	go func() {
		_, _ = os.ReadFile(ready) // until the command has written
		signals <- syscall.SIGTERM
	}()
	var log bytes.Buffer
	code, err := run(true, []string{"sh", "-c", `trap 'exit 9' TERM; echo ready > "$0"; while :; do read line < "$0"; done`, ready}, signals, &log)
	if err != nil || code != 9 {
		t.Errorf("code %d, %v; %s", code, err, log.String())
	}
	nothingLeft(t, folder)
}

// A signal before the cluster is up ends it too; one that comes as it is up ends
// the command.
func TestSignalsWhileStarting(t *testing.T) {
	folder := sandbox(t)
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGINT
	code, err := run(true, []string{"sleep", "60"}, signals, &bytes.Buffer{})
	if code == 0 || err == nil && code != 128+int(syscall.SIGINT) {
		t.Errorf("code %d, %v", code, err)
	}
	nothingLeft(t, folder)
}

func TestExitCode(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "exit 3")
	started := time.Now()
	if err := ignoreExit(cmd.Run()); err != nil || exitCode(cmd.ProcessState) != 3 {
		t.Errorf("code %d, %v after %v", exitCode(cmd.ProcessState), err, time.Since(started))
	}
}
