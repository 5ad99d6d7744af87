// Package conformance runs the conformance tests of the Model Context Protocol, which its
// makers publish as npm's @modelcontextprotocol/conformance, against a server.
//
// Its server scenarios come in two kinds: those that any server can pass, and those that
// call tools, resources and prompts which only a server made for them has. The first kind
// is what is run here. It is installed as package npm says.
package conformance

import (
	"context"
	"embed"
	"os/exec"
	"strings"
	"testing"
	"time"

	"claviger/clavigertest/npm"
)

//go:embed package.json package-lock.json glob.mjs
var files embed.FS

// deadline bounds one scenario.
const deadline = 2 * time.Minute

// Scenarios are those that any server with tools can pass.
func Scenarios() []string {
	return []string{"server-initialize", "ping", "tools-list", "dns-rebinding-protection"}
}

// Set is the tests with what starts them.
func Set() npm.Set { return npm.Set{Name: "conformance", Files: files} }

// Run runs a scenario against the server at url, which needs no credentials.
func Run(t testing.TB, scenario, url string) {
	t.Helper()
	dir, err := Set().Install(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	node := exec.CommandContext(ctx, npm.Node(dir), "--import", "./glob.mjs", "node_modules/@modelcontextprotocol/conformance/dist/index.js",
		"server", "--url", url, "--scenario", scenario)
	node.Dir = dir
	said, err := node.CombinedOutput()
	if err != nil || !strings.Contains(string(said), ", 0 failed, 0 warnings") {
		t.Errorf("%s: %v\n%s", scenario, err, said)
	}
}
