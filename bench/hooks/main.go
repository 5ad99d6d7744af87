// Command hooks offers claviger signed webhooks at a constant rate, whether or not it
// keeps up, and counts what became of them.
//
//	go run ./bench/hooks                      5,000 a second for 60 s, on SQLite
//	go run ./bench/hooks -database postgres://...
//	go run ./bench/hooks -write               also puts the results into docs/webhooks.md
//
// The deliveries are signed before the clock starts and sent by a process of their own,
// on keep-alive connections, each at its time of a schedule that waits for nothing: what
// is late is late for its own time, not for the answer before it. The server is a process
// of the built program. After its end what it stored is counted in its database, against
// the answers 202 that the sender got.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	rate        int
	length      time.Duration
	connections int
	body        int
	database    string
	write       bool
	doc         string
	target      string // of the sending process: it is given one by the other
}

func main() {
	var o options
	flag.IntVar(&o.rate, "rate", 5000, "deliveries a second")
	flag.DurationVar(&o.length, "length", time.Minute, "how long they are sent")
	flag.IntVar(&o.connections, "connections", 2000, "keep-alive connections")
	flag.IntVar(&o.body, "body", 512, "size of a delivery's body in bytes")
	flag.StringVar(&o.database, "database", "", "a PostgreSQL database that is empty; default: SQLite in a temporary folder")
	flag.BoolVar(&o.write, "write", false, "put the results into the document")
	flag.StringVar(&o.doc, "doc", "docs/webhooks.md", "the document")
	flag.StringVar(&o.target, "target", "", "send to this address and print what became of it; the command starts itself with it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	work := measure
	if o.target != "" {
		work = send
	}
	if err := work(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "hooks:", err)
		os.Exit(1)
	}
}

// measure runs the server, the sender and the count.
func measure(ctx context.Context, o options) (err error) {
	folder, err := os.MkdirTemp("", "claviger-hooks-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	s, err := startServer(ctx, folder, o.database)
	if err != nil {
		return err
	}
	defer s.kill()
	address, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	watch := s.watch(ctx)
	sent, err := sender(ctx, o, address)
	if err != nil {
		return err
	}
	r := result{options: o, sent: sent, engine: "SQLite"}
	if o.database != "" {
		r.engine = "PostgreSQL"
	}
	r.acted, err = s.drained(ctx)
	if err != nil {
		return err
	}
	r.memory, r.cpu = watch()
	if err := s.stop(); err != nil {
		return err
	}
	if r.stored, r.processed, err = count(ctx, filepath.Join(folder, "data", "claviger.db"), o.database); err != nil {
		return err
	}
	fmt.Print(r.text())
	if r.stored != sent.Accepted || r.processed != r.stored {
		return fmt.Errorf("%d were answered 202, %d are stored, %d were acted upon", sent.Accepted, r.stored, r.processed)
	}
	if o.write {
		return r.into(o.doc)
	}
	return nil
}

// sender runs this program again, as the process that sends.
func sender(ctx context.Context, o options, address string) (sent outcome, err error) {
	self, err := os.Executable()
	if err != nil {
		return sent, err
	}
	cmd := exec.CommandContext(ctx, self, "-target", address, "-rate", strconv.Itoa(o.rate), "-length", o.length.String(),
		"-connections", strconv.Itoa(o.connections), "-body", strconv.Itoa(o.body))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return sent, fmt.Errorf("the sender: %w", err)
	}
	return sent, json.Unmarshal(out.Bytes(), &sent)
}

// result is what one run showed.
type result struct {
	options
	sent              outcome
	engine            string
	stored, processed int
	memory            []int64 // of the server, in bytes, every second
	cpu               time.Duration
	acted             time.Duration // from the last answer until the last was acted upon
}

func (r result) text() string {
	first, last, top := int64(0), int64(0), int64(0)
	if n := len(r.memory); n > 0 {
		first, last = r.memory[min(n/6, n-1)], r.memory[n-1]
		for _, m := range r.memory {
			top = max(top, m)
		}
	}
	const mib = 1 << 20
	return fmt.Sprintf("| %s | %d | %.0f | %d | %d | %d | %d | %.1f | %.1f | %.0f | %d, %d, %d | %.0f | %.1f |\n",
		r.engine, r.rate, r.sent.Rate, r.sent.Offered, r.sent.Accepted, r.sent.Limited, r.stored,
		r.sent.P50, r.sent.P99, r.sent.Late, first/mib, last/mib, top/mib,
		float64(r.cpu.Microseconds())/float64(max(r.sent.Offered, 1)), r.acted.Seconds())
}

// The marks between which a table stands in the document.
const (
	begin, end = "<!-- load -->\n", "<!-- /load -->"
	heading    = `| database | wanted a second | offered a second | offered | 202 | 429 | stored | p50 ms | p99 ms | latest start ms | memory MiB: early, at the end, most | CPU us each | s until all acted upon |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|
`
)

// into replaces the engine's line in the document.
func (r result) into(doc string) error {
	text, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no place for the results", doc)
	}
	lines := ""
	for _, line := range strings.SplitAfter(strings.TrimPrefix(table, heading), "\n") {
		if line != "" && !strings.HasPrefix(line, "| "+r.engine+" |") {
			lines += line
		}
	}
	return os.WriteFile(doc, []byte(before+begin+heading+lines+r.text()+end+after), 0o644)
}
