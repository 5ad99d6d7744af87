package app

import "golang.org/x/sys/unix"

// harden keeps the process's memory, which holds opened keys, out of core dumps and out
// of reach of other processes of the same user (prctl(2), PR_SET_DUMPABLE). Root can
// read it always.
func harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
