// Package npm puts the programs that tests run with Node.js into the user's cache:
// servers, clients and signature libraries that we did not write.
//
// A [Set] is installed with `npm ci`, once for each state of its files, so that the lock
// file says what runs. `make test` installs every set before the tests start. Node.js and
// npm are the only requirement, and without them a test fails: one that is skipped in
// silence proves nothing. Where Node.js is too old, as Debian 12's is, a newer one comes
// from npm too.
package npm

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// deadline bounds the wait for npm.
const deadline = 5 * time.Minute

// nodeVersion is the Node.js that npm has for machines whose own is too old.
const nodeVersion = "24.21.0"

// Set is what is installed together: the embedded files, package.json and
// package-lock.json among them, all in the folder that the embedding package is in.
type Set struct {
	Name  string // names the folder in the cache, for example "oidc-provider"
	Files embed.FS
}

// Install makes sure that the set is in the cache and answers its folder. It may run in
// several processes at once.
func (s Set) Install(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum, err := s.sum()
	if err != nil {
		return "", err
	}
	parent := filepath.Join(cache, "claviger-tests")
	dir := filepath.Join(parent, s.Name+"-"+sum)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(parent, "installing-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	if err := os.CopyFS(fresh, s.Files); err != nil {
		return "", err
	}
	if err := fill(ctx, fresh); err != nil {
		return "", fmt.Errorf("%s cannot be installed; `make test` installs what it needs: %w", s.Name, err)
	}
	// The folder is ours, or that of another process that was faster.
	if err := os.Rename(fresh, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr != nil {
			return "", errors.Join(err, statErr)
		}
	}
	return dir, nil
}

// fill downloads what the lock file in dir names, and Node.js where the machine's own is
// too old.
func fill(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	if err := npm(ctx, dir, "ci"); err != nil {
		return err
	}
	if recent(ctx) {
		return nil
	}
	return npm(ctx, dir, "install", "--no-save", nodePackage()+"@"+nodeVersion)
}

// sum is the state of the set's files in 16 hexadecimal digits.
func (s Set) sum() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(s.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := s.Files.ReadFile(path)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(sum, "%s %d\n", path, len(b))
		_, _ = sum.Write(b)
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil)[:8]), err
}

func npm(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "npm", append(args, "--ignore-scripts", "--no-audit", "--no-fund")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// recent reports whether the Node.js in the PATH is 22 or newer, by what that brought.
func recent(ctx context.Context) bool {
	return exec.CommandContext(ctx, "node", "-e", "process.exit(URL.parse ? 0 : 1)").Run() == nil
}

// nodePackage is npm's name of Node.js for this machine.
func nodePackage() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	return "node-" + runtime.GOOS + "-" + arch
}

// Node answers the Node.js to run what is installed in dir with.
func Node(dir string) string {
	own := filepath.Join(dir, "node_modules", nodePackage(), "bin", "node")
	if _, err := os.Stat(own); err == nil {
		return own
	}
	return "node"
}
