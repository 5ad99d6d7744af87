package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The command itself, for two seconds at a rate that any machine keeps: it fails unless
// every delivery that was answered 202 is stored and acted upon.
func TestAShortRunLosesNothing(t *testing.T) {
	program := filepath.Join(t.TempDir(), "hooks")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), program, "-rate", "300", "-length", "2s", "-connections", "64").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
