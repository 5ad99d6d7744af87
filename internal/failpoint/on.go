//go:build failpoints

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

var (
	once sync.Once
	name string
	left int
	mu   sync.Mutex
)

// Hit kills the process if the environment asked for it at this mark and pass.
func Hit(at string) {
	once.Do(func() {
		var count string
		name, count, _ = strings.Cut(os.Getenv("CLAVIGER_FAILPOINT"), "@")
		left, _ = strconv.Atoi(count)
		left = max(left, 1)
	})
	if at != name {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	if left--; left == 0 {
		// Not os.Exit: nothing may be flushed or closed on the way.
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
