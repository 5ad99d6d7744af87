// Package browser opens pages in real Chromium, headless, for Go tests.
//
//	b := browser.Start(t)                       // one Chromium; it ends with the test
//	p := b.Open(t, browser.Phone())             // a person: own cookies, own storage
//	p.Goto(url)
//	p.Fill("API key", "ak_...")                 // by the label that the person reads
//	p.Click("button", "Connect")                // by ARIA role and accessible name
//	p.See("Connected")                          // waits until the text is visible
//	p.Accessible()                              // axe finds nothing, nothing scrolls sideways
//	p.Look(browser.Dark())                      // the same page in another theme or size
//	p.Quiet(url)                                // no foreign origin was asked, no script failed
//	p.Screenshot("home-phone")                  // artifacts/screenshots/home-phone.png
//
// Names and labels are compared exactly. Whatever is clicked, filled in or looked for is
// waited for, up to ten seconds; what reads a page (Text, Axe, Screenshot, Focus) does
// not wait, so call [Page.See] or [Page.At] after a click that leads to another page.
// Every method ends the test if it fails, saying where the page is and what stands on it.
// Pages may be used by parallel subtests; one page belongs to one test at a time.
//
// Chromium resolves no name but localhost, so that a page under test reaches nobody
// outside of this machine. It is driven by npm's playwright-core, which is installed as
// package npm says; nothing of this is ever linked into the program.
package browser

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"

	"claviger/clavigertest/npm"
)

//go:embed package.json package-lock.json server.js
var files embed.FS

const (
	// startDeadline bounds the wait for Chromium's start.
	startDeadline = 2 * time.Minute
	// callDeadline bounds every operation; the driver's own patience is shorter, so that
	// it can still say what is on the page.
	callDeadline = 100 * time.Second
	// maxLine bounds one answer of the driver.
	maxLine = 16 << 20
)

// Set is the driver with what it is built from.
func Set() npm.Set { return npm.Set{Name: "browser", Files: files} }

// View is how a person looks at pages.
type View struct {
	Width    int    `json:"width"` // of the window, in CSS pixels
	Height   int    `json:"height"`
	Dark     bool   `json:"dark"`
	Moving   bool   `json:"moving"`   // animations are welcome; otherwise reduced motion is asked for
	NoScript bool   `json:"noScript"` // scripts do not run
	Zone     string `json:"zone"`     // IANA time zone; UTC if empty
}

// Desktop is a light page of 1280 x 800.
func Desktop() View { return View{Width: 1280, Height: 800} }

// Dark is Desktop in the dark theme.
func Dark() View { return View{Width: 1280, Height: 800, Dark: true} }

// Phone is a light page of 360 x 740.
func Phone() View { return View{Width: 360, Height: 740} }

// Browser is a running Chromium.
type Browser struct {
	in io.WriteCloser

	mu      sync.Mutex
	last    int
	waiting map[int]chan answer
	ended   chan struct{} // closed when the driver says no more
}

// answer is one line of the driver.
type answer struct {
	ID    int             `json:"id"`
	Value json.RawMessage `json:"value"`
	Error string          `json:"error"`
	Ready bool            `json:"ready"`
}

// Start starts Chromium, which must be in the PATH as chromium. It ends with the test.
func Start(t testing.TB) *Browser {
	t.Helper()
	dir, err := Set().Install(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("no chromium in the PATH; `make chromium` installs it: %v", err)
	}
	var stderr bytes.Buffer
	node := exec.Command(npm.Node(dir), "server.js")
	node.Dir, node.Stderr = dir, &stderr
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
	b := &Browser{in: in, waiting: map[int]chan answer{}, ended: make(chan struct{})}
	ready := make(chan struct{})
	go b.read(out, ready)
	t.Cleanup(func() {
		_ = in.Close()
		kill := time.AfterFunc(callDeadline, func() { _ = node.Process.Kill() })
		<-b.ended
		_ = node.Wait()
		kill.Stop()
	})
	first, err := json.Marshal(map[string]any{"chromium": chromium, "args": flags()})
	if err == nil {
		_, err = in.Write(append(first, '\n'))
	}
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-ready:
	case <-b.ended:
		_ = node.Wait() // the buffer is whole only then
		t.Fatalf("Chromium did not start: %s", stderr.Bytes())
	case <-time.After(startDeadline):
		_ = node.Process.Kill()
		t.Fatal("Chromium did not start in time")
	}
	return b
}

// flags are Chromium's: nothing calls home, and no name is resolved.
func flags() []string {
	return []string{
		// Chromium refuses to sandbox for root, and cannot where a container keeps it from
		// making namespaces. What it opens is ours.
		"--no-sandbox",
		"--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE [::1], EXCLUDE localhost",
	}
}

// read hands out the driver's answers until it ends.
func (b *Browser) read(out io.Reader, ready chan<- struct{}) {
	defer close(b.ended)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var a answer
		if json.Unmarshal(lines.Bytes(), &a) != nil {
			continue
		}
		if a.Ready {
			close(ready)
			continue
		}
		b.mu.Lock()
		to := b.waiting[a.ID]
		delete(b.waiting, a.ID)
		b.mu.Unlock()
		if to != nil {
			to <- a
		}
	}
	_, _ = io.Copy(io.Discard, out) // a driver that nobody listens to would never end
}

// Open is a person who opens a browser: a window with cookies and storage of its own. It
// closes with the test.
func (b *Browser) Open(t testing.TB, v View) *Page {
	t.Helper()
	p := &Page{b: b, t: t}
	p.number = ask[int](p, "open", "view", v)
	t.Cleanup(func() { _, _ = b.call("leave", p.number, nil) })
	return p
}

// call asks the driver for an operation and waits for its answer.
func (b *Browser) call(op string, page int, input map[string]any) (json.RawMessage, string) {
	reply := make(chan answer, 1)
	b.mu.Lock()
	b.last++
	message := map[string]any{"id": b.last, "op": op, "page": page}
	for k, v := range input {
		message[k] = v
	}
	line, err := json.Marshal(message)
	if err == nil {
		b.waiting[b.last] = reply
		_, err = b.in.Write(append(line, '\n'))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err.Error()
	}
	select {
	case a := <-reply:
		return a.Value, a.Error
	case <-b.ended:
		return nil, "the browser has ended"
	case <-time.After(callDeadline):
		return nil, "the browser did not answer in time"
	}
}

// ask is call for a page: it ends the test if the operation fails. Names and values
// alternate in input.
func ask[T any](p *Page, op string, input ...any) (out T) {
	p.t.Helper()
	in := map[string]any{"frame": p.frame}
	for i := 0; i+1 < len(input); i += 2 {
		in[input[i].(string)] = input[i+1]
	}
	value, fault := p.b.call(op, p.number, in)
	if fault == "" && string(value) != "null" {
		if err := json.Unmarshal(value, &out); err != nil {
			fault = err.Error()
		}
	}
	if fault != "" {
		p.t.Fatalf("%s %v: %s", op, input, fault)
	}
	return out
}
