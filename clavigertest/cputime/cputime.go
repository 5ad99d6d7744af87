//go:build unix

// Package cputime measures what something costs on a machine that is busy with other
// things too. Time on the wall says how loaded the machine is; time on the processor says
// how much was done, and is what hostile input must not make large.
package cputime

import (
	"syscall"
	"testing"
	"time"
)

// Of answers the time that all processors spent in this process while f ran. Tests that
// run beside it count too, so f belongs into a test that is not parallel.
func Of(t testing.TB, f func()) time.Duration {
	t.Helper()
	before := spent(t)
	f()
	return spent(t) - before
}

func spent(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
