// Package failpoint marks the places where a crash is tried in tests. In a build
// without the tag "failpoints" a mark compiles to nothing.
//
// With the tag, the environment variable CLAVIGER_FAILPOINT names one mark and when it
// acts: "ledger.flush.before@3" kills the process, as kill -9 would, the third time
// that the mark is passed. The supervisor in the tests starts the program again and
// checks what must always hold.
package failpoint
