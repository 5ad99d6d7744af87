// Package leaks fails the tests of a package that leave goroutines behind: what is
// stopped must have stopped, or it works on with a database that is closed.
//
// Only what goes on is a leak. The check that goleak offers gives up after half a second,
// in which a loaded machine may not come to end what was told to end.
package leaks

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// looks bounds the wait for goroutines to end, half a second each.
const looks = 60

// Run runs a package's tests and answers the code to exit with: theirs, or 1 if
// goroutines do not end.
func Run(m *testing.M) (code int) {
	code = m.Run()
	var left error
	for range looks {
		if left = goleak.Find(); left == nil {
			return code
		}
	}
	fmt.Fprintln(os.Stderr, left)
	return max(code, 1)
}
