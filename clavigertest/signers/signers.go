// Package signers lets tests sign and verify webhooks with the libraries that vendors
// publish for it, so that what claviger sends and accepts is judged by code that we did
// not write: npm's standardwebhooks, svix, stripe, @octokit/webhooks-methods, twilio,
// @slack/bolt and @shopify/shopify-api.
//
// They run in one Node.js process, which answers a line of JSON with a line of JSON and
// ends with the test. It is installed as package npm says. Two of the libraries, those
// of Slack and Shopify, verify only: what is signed for them follows their documents and
// has passed their verification.
package signers

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"sync"
	"testing"
	"time"

	"claviger/clavigertest/npm"
)

//go:embed package.json package-lock.json server.js
var files embed.FS

// answerDeadline bounds the wait for one answer, the loading of a library included.
const answerDeadline = 2 * time.Minute

// The libraries, as Sign and Verify name them.
const (
	StandardWebhooks = "standardwebhooks"
	Svix             = "svix"
	Stripe           = "stripe"
	Octokit          = "octokit" // GitHub
	Twilio           = "twilio"
	Slack            = "slack"
	Shopify          = "shopify"
)

// Set is the libraries with what asks them.
func Set() npm.Set { return npm.Set{Name: "signers", Files: files} }

// Process is a running Node.js with the libraries. It may be used by many goroutines.
type Process struct {
	mu  sync.Mutex
	in  io.Writer
	out chan []byte
}

// Start runs a process that ends with the test.
func Start(t testing.TB) *Process {
	t.Helper()
	dir, err := Set().Install(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	node := exec.Command(npm.Node(dir), "server.js")
	node.Dir, node.Stderr = dir, &stderr
	in, inErr := node.StdinPipe()
	out, outErr := node.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{in: in, out: make(chan []byte)}
	go func() {
		defer close(p.out)
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			p.out <- line
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		for line := range p.out {
			t.Logf("the signers had more to say: %s", line)
		}
		_ = node.Wait()
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("the signers said:\n%s", stderr.Bytes())
		}
	})
	return p
}

// Sign signs as the library's vendor would. args: secret; body (a text) or, for Twilio's
// forms, params; url (Twilio); id and timestamp (Unix seconds) where they are signed.
// It answers the headers, in lower case, and the body to send. For Twilio bodies that
// are no form "url" among the headers is the address to send to.
func (p *Process) Sign(t testing.TB, library string, args map[string]any) (map[string]string, []byte) {
	t.Helper()
	said := p.ask(t, "sign", library, args)
	if said.Error != "" {
		t.Fatalf("%s does not sign: %s", library, said.Error)
	}
	return said.Headers, said.Body
}

// Verify answers nil if the library accepts a webhook with these headers, in lower case,
// else what it says against it. Twilio's address stands among them as "url".
func (p *Process) Verify(t testing.TB, library, secret string, headers map[string]string, body []byte) error {
	t.Helper()
	said := p.ask(t, "verify", library, map[string]any{"secret": secret, "headers": headers, "body": string(body)})
	if said.Error != "" {
		return errors.New(said.Error)
	}
	return nil
}

// Sign is [Process.Sign] of a process for this once.
func Sign(t testing.TB, library string, args map[string]any) (map[string]string, []byte) {
	t.Helper()
	return Start(t).Sign(t, library, args)
}

// Verify is [Process.Verify] of a process for this once.
func Verify(t testing.TB, library, secret string, headers map[string]string, body []byte) error {
	t.Helper()
	return Start(t).Verify(t, library, secret, headers, body)
}

// said is an answer of the process.
type said struct {
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
	Error   string            `json:"error"`
}

func (p *Process) ask(t testing.TB, do, library string, args map[string]any) (out said) {
	t.Helper()
	asked := maps.Clone(args)
	asked["do"], asked["library"] = do, library
	if body, ok := args["body"].(string); ok {
		asked["body"] = []byte(body)
	}
	line, err := json.Marshal(asked)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	deadline := time.NewTimer(answerDeadline)
	defer deadline.Stop()
	select {
	case answer, running := <-p.out:
		if err := json.Unmarshal(answer, &out); err != nil {
			t.Fatalf("the signers (running: %t) answered %q: %v", running, answer, err)
		}
	case <-deadline.C:
		t.Fatal("the signers did not answer in time")
	}
	return out
}
