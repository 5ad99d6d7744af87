// Package oidcprovider runs npm's oidc-provider for tests: a certified OpenID provider
// that we did not write, on a loopback port of its own, with PKCE demanded, refresh
// tokens rotated strictly, DPoP nonces demanded, and a person who logs in and consents
// by plain HTTP.
//
// [Install] puts it into the user's cache with `npm ci`, once for each state of the
// lock file; `make test` does so before the tests start. Node.js and npm are the only
// requirement, and without them a test fails: one that is skipped in silence proves
// nothing. Where Node.js is too old for the provider, as Debian 12's is, a newer one
// comes from npm too. The process ends with the test, or with the test's process.
package oidcprovider

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// files is what an installation is made of.
//
//go:embed package.json package-lock.json server.js
var files embed.FS

// The waits for npm and for the server's start.
const (
	installDeadline = 5 * time.Minute
	startDeadline   = 30 * time.Second
)

// Install makes sure that the provider is in the cache and answers its folder. It may
// run in several processes at once.
func Install(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	names, err := fs.Glob(files, "*")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		b, err := files.ReadFile(name)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(sum, "%s %d\n", name, len(b))
		_, _ = sum.Write(b)
	}
	parent := filepath.Join(cache, "claviger-tests")
	dir := filepath.Join(parent, "oidc-provider-"+hex.EncodeToString(sum.Sum(nil)[:8]))
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
	if err := os.CopyFS(fresh, files); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, installDeadline)
	defer cancel()
	if err := npm(ctx, fresh, "ci"); err != nil {
		return "", err
	}
	if !recent(ctx) {
		if err := npm(ctx, fresh, "install", "--no-save", nodePackage()+"@"+nodeVersion); err != nil {
			return "", err
		}
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr != nil {
			return "", err
		}
	}
	return dir, nil // ours, or that of another process that was faster
}

func npm(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "npm", append(args, "--ignore-scripts", "--no-audit", "--no-fund")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// recent reports whether the Node.js in the PATH has what the provider needs.
func recent(ctx context.Context) bool {
	return exec.CommandContext(ctx, "node", "-e", "process.exit(URL.parse ? 0 : 1)").Run() == nil
}

// nodeVersion is the Node.js that npm has for machines whose own is too old.
const nodeVersion = "24.21.0"

// nodePackage is npm's name of Node.js for this machine.
func nodePackage() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	return "node-" + runtime.GOOS + "-" + arch
}

// nodeIn answers the Node.js to run an installation with.
func nodeIn(dir string) string {
	own := filepath.Join(dir, "node_modules", nodePackage(), "bin", "node")
	if _, err := os.Stat(own); err == nil {
		return own
	}
	return "node"
}

// Client is a client's metadata as OpenID Connect Dynamic Client Registration names
// them, for example {"client_id": ..., "redirect_uris": [...]}.
type Client map[string]any

// Provider is a running server.
type Provider struct {
	Issuer string
}

// Start runs a server that knows the clients and, beside openid and offline_access, the
// scopes. It ends with the test.
func Start(t testing.TB, clients []Client, scopes []string) *Provider {
	t.Helper()
	dir, err := Install(context.Background())
	if err != nil {
		t.Fatalf("oidc-provider cannot be installed; `make test` installs what it needs: %v", err)
	}
	settings, err := json.Marshal(map[string]any{"clients": clients, "scopes": scopes})
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	node := exec.Command(nodeIn(dir), "server.js")
	node.Dir = dir
	node.Stderr = &stderr
	in, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = in.Close()
		<-drained
		_ = node.Wait()
		if t.Failed() {
			t.Logf("oidc-provider said:\n%s", stderr.Bytes())
		}
	})
	issuer := make(chan string, 1)
	go func() {
		defer close(drained)
		issuer <- readIssuer(out)
		_, _ = io.Copy(io.Discard, out) // the server dies if nobody reads what it prints
	}()
	if _, err := in.Write(append(settings, '\n')); err != nil {
		t.Fatal(err)
	}
	select {
	case address := <-issuer:
		if address == "" {
			t.Fatal(errors.New("oidc-provider did not start"))
		}
		return &Provider{Issuer: address}
	case <-time.After(startDeadline):
		_ = node.Process.Kill()
		t.Fatal("oidc-provider did not start in time")
		return nil
	}
}

// readIssuer reads the first line that is the server's own; warnings may precede it.
func readIssuer(out io.Reader) string {
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadBytes('\n')
		var said struct {
			Issuer string `json:"issuer"`
		}
		if json.Unmarshal(line, &said) == nil && said.Issuer != "" {
			return said.Issuer
		}
		if err != nil {
			return ""
		}
	}
}
