// Package oidcprovider runs npm's oidc-provider for tests: a certified OpenID provider
// that we did not write, on a loopback port of its own, with PKCE demanded, refresh
// tokens rotated strictly, DPoP nonces demanded, and a person who logs in and consents
// by plain HTTP.
//
// It is installed as package npm says, and ends with the test, or with the test's process.
package oidcprovider

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"testing"
	"time"

	"claviger/clavigertest/npm"
)

// files is what an installation is made of.
//
//go:embed package.json package-lock.json server.js
var files embed.FS

// startDeadline bounds the wait for the server's start.
const startDeadline = 2 * time.Minute

// Set is the server with what it is built from.
func Set() npm.Set { return npm.Set{Name: "oidc-provider", Files: files} }

// Client is a client's metadata as OpenID Connect Dynamic Client Registration names
// them, for example {"client_id": ..., "redirect_uris": [...]}.
type Client map[string]any

// Provider is a running server.
type Provider struct {
	Issuer string
}

// People are who logs in, by the name that they type, with the claims that the server
// holds of them. Who is not among them logs in too, and is known by that name alone.
type People map[string]map[string]any

// Start runs a server that knows the clients and, beside openid and offline_access, the
// scopes. It ends with the test.
func Start(t testing.TB, clients []Client, scopes []string) *Provider {
	t.Helper()
	return StartFor(t, clients, scopes, People{})
}

// StartFor is [Start] with people of whom the server knows more than a name.
func StartFor(t testing.TB, clients []Client, scopes []string, people People) *Provider {
	t.Helper()
	dir, err := Set().Install(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(map[string]any{"clients": clients, "scopes": scopes, "people": people})
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	node := exec.Command(npm.Node(dir), "server.js")
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
