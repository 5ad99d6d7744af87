// Command abuse reads the event stream of "go test -json" on its standard input,
// prints what go test prints without it, and then says which abuse cases the run
// proved.
//
//	go test -json ./... | go run ./clavigertest/abuse
//
// A case of docs/abuse-cases.tsv is proven if at least one test that carries its id
// (TestAbuse_139_AddressTable) passed and none failed or was skipped; a test may
// carry several ids (TestAbuse_119_120_Headers). All other cases of the list are
// printed as "waiting: ID WHAT". The last line is "N passed, M failed", which counts
// tests and sub-tests.
//
// It exits with 1 if anything failed, did not end, did not build, or names a case
// that the list does not have. Its input is trusted: it comes from the Go tool.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	list := flag.String("list", "docs/abuse-cases.tsv", "the list of abuse cases")
	flag.Parse()
	os.Exit(run(os.Stdin, os.Stdout, *list))
}

// run reads events, reports on out and answers the exit code.
func run(events io.Reader, out io.Writer, listFile string) int {
	cases, err := readCases(listFile)
	if err != nil {
		_, _ = fmt.Fprintln(out, "abuse:", err)
		return 1
	}
	r := newReport(out)
	if err := r.read(events); err != nil {
		_, _ = fmt.Fprintln(out, "abuse: reading test events:", err)
		r.failed++
	}
	r.finish()
	unlisted := r.printCases(cases)
	_, _ = fmt.Fprintf(out, "%d passed, %d failed\n", r.passed, r.failed)
	if r.failed > 0 || unlisted {
		return 1
	}
	return 0
}

// abuseCase is one row of the list: its id, three digits, and what it waits for, "-"
// if nothing.
type abuseCase struct{ id, waitsFor string }

func readCases(name string) ([]abuseCase, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var cases []abuseCase
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		columns := strings.Split(line, "\t")
		if len(columns) != 4 {
			return nil, fmt.Errorf("%s:%d: %d columns, want id, priority, case, waits for", name, i+1, len(columns))
		}
		if i > 0 {
			cases = append(cases, abuseCase{id: columns[0], waitsFor: columns[3]})
		}
	}
	return cases, nil
}
