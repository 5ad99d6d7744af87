//go:build unix

package keeper

import (
	"io/fs"
	"os"
	"syscall"
)

// ownedByUs reports whether the file belongs to this user or to root, who can read
// everything anyway.
func ownedByUs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Uid == 0 || int64(stat.Uid) == int64(os.Geteuid()))
}
