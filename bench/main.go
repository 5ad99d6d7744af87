// Command bench measures what a brokered call costs, on loopback, beside other
// proxies: nginx and the standard library's proxy that add a static header, and the
// reference program in bench/reference.
//
//	go run ./bench            measures and prints
//	go run ./bench -write     also puts the results into docs/performance.md
//
// All proxies run at the same time, idle but for the one under load, and take turns in
// several rounds; results are medians. The steady figure is CPU time per request of a
// proxy's processes, from /proc, so the command runs on Linux. It needs nginx and wrk;
// with CLAVIGER_TEST_POSTGRES it measures claviger on that PostgreSQL too.
//
// It starts every process itself, on loopback, and ends those and no others.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	rounds  int
	length  time.Duration
	many    int
	streams int
	starts  int
	only    string
	quick   bool
	write   bool
	doc     string
	profile string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "interleaved rounds")
	flag.DurationVar(&o.length, "length", 2*time.Second, "how long each measurement takes")
	flag.IntVar(&o.many, "connections", 100_000, "size of the large set of connections; 0 leaves it out")
	flag.IntVar(&o.streams, "streams", 4000, "idle event streams; 0 leaves them out")
	flag.IntVar(&o.starts, "starts", 20, "starts that are timed; 0 leaves them out")
	flag.StringVar(&o.only, "only", "", "a regular expression of the proxies to measure: "+strings.Join(names(), "; "))
	flag.BoolVar(&o.quick, "quick", false, "1 KiB answers at 64 connections alone")
	flag.BoolVar(&o.write, "write", false, "put the results into the document")
	flag.StringVar(&o.doc, "doc", "docs/performance.md", "the document")
	flag.StringVar(&o.profile, "profile", "", "folder for CPU profiles of claviger under load")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	pattern, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "claviger-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	b := &bench{options: o, folder: folder, pattern: pattern}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.build(ctx); err != nil {
		return err
	}
	if err := b.startAll(ctx); err != nil {
		return err
	}
	r := &results{cells: map[cellKey][]sample{}}
	if r.sync, err = appendSync(filepath.Join(folder, "sync")); err != nil {
		return err
	}
	if err := b.measure(ctx, r); err != nil {
		return err
	}
	if err := b.measureSize(ctx, r); err != nil {
		return err
	}
	text := r.markdown(o)
	fmt.Print(text)
	if o.write {
		return writeInto(o.doc, text)
	}
	return nil
}
