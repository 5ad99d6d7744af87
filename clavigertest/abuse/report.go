package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// event is one line of "go test -json" (go doc cmd/test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output and build-fail
	Test       string
	Output     string
}

// maxLine bounds one event: a test's output line, escaped.
const maxLine = 16 << 20

// progress lines say nothing that the result lines do not say again.
var (
	progress = regexp.MustCompile(`^=== (RUN|PAUSE|CONT|NAME|ATTR)\b`)
	abuseIDs = regexp.MustCompile(`^TestAbuse((?:_\d{3})+)(?:_|$)`)
)

// report collects one run.
type report struct {
	out            io.Writer
	passed, failed int
	open           map[string]map[string][]string // package, test: output so far
	failedIn       map[string]int                 // package: failed tests
	proven, spoilt map[string]bool                // case ids
	started        bool
}

func newReport(out io.Writer) *report {
	return &report{
		out: out, open: map[string]map[string][]string{}, failedIn: map[string]int{},
		proven: map[string]bool{}, spoilt: map[string]bool{},
	}
}

// read takes events until the stream ends. A line that is no event is printed as it is.
func (r *report) read(events io.Reader) error {
	lines := bufio.NewScanner(events)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Action == "" {
			r.print(lines.Text() + "\n")
			continue
		}
		switch {
		case e.Action == "build-output":
			r.print(e.Output)
		case e.Test != "":
			r.test(e)
		case e.Package != "":
			r.pkg(e)
		}
	}
	return lines.Err()
}

func (r *report) test(e event) {
	tests := r.open[e.Package]
	if tests == nil {
		tests = map[string][]string{}
		r.open[e.Package] = tests
	}
	switch e.Action {
	case "run":
		tests[e.Test] = nil
	case "output":
		if !progress.MatchString(e.Output) {
			tests[e.Test] = append(tests[e.Test], e.Output)
		}
	case "pass", "skip", "fail":
		if e.Action == "fail" {
			r.print(tests[e.Test]...)
			r.failed++
			r.failedIn[e.Package]++
		} else if e.Action == "pass" {
			r.passed++
		}
		r.mark(e.Test, e.Action == "pass")
		delete(tests, e.Test)
	}
}

// mark notes the cases that a test carries in its name.
func (r *report) mark(test string, passed bool) {
	m := abuseIDs.FindStringSubmatch(test)
	if m == nil || strings.Contains(test, "/") {
		return
	}
	for _, id := range strings.Split(m[1][1:], "_") {
		if passed {
			r.proven[id] = true
		} else {
			r.spoilt[id] = true
		}
	}
}

func (r *report) pkg(e event) {
	switch e.Action {
	case "start":
		r.started = true
		r.open[e.Package] = map[string][]string{}
	case "output":
		if e.Output != "PASS\n" {
			r.print(e.Output)
		}
	case "fail":
		r.abandon(e.Package)
		if r.failedIn[e.Package] == 0 {
			r.failed++ // did not build, or died outside a test
		}
		delete(r.open, e.Package)
	case "pass", "skip":
		delete(r.open, e.Package)
	}
}

// abandon counts the tests of a package that began and never ended, as after a panic.
func (r *report) abandon(pkg string) {
	for _, test := range slices.Sorted(maps.Keys(r.open[pkg])) {
		r.print(r.open[pkg][test]...)
		r.print(fmt.Sprintf("--- FAIL: %s (did not end)\n", test))
		r.mark(test, false)
		r.failed++
		r.failedIn[pkg]++
	}
}

// finish counts what the end of the stream cut off.
func (r *report) finish() {
	for _, pkg := range slices.Sorted(maps.Keys(r.open)) {
		r.abandon(pkg)
		r.print("FAIL\t" + pkg + " [did not end]\n")
		if r.failedIn[pkg] == 0 {
			r.failed++
		}
	}
	if !r.started {
		r.print("abuse: no package was tested\n")
		r.failed++
	}
}

// printCases reports on the list, and whether a test names a case that it lacks.
func (r *report) printCases(cases []abuseCase) (unlisted bool) {
	listed := map[string]bool{}
	var proven, waiting []string
	for _, c := range cases {
		listed[c.id] = true
		if r.proven[c.id] && !r.spoilt[c.id] {
			proven = append(proven, c.id)
		} else {
			waiting = append(waiting, "waiting: "+c.id+" "+c.waitsFor+"\n")
		}
	}
	r.print(strings.TrimSuffix(fmt.Sprintf("abuse cases: %d proven: %s", len(proven), strings.Join(proven, " ")), " ") + "\n")
	r.print(waiting...)
	for _, id := range slices.Sorted(maps.Keys(r.proven)) {
		if !listed[id] {
			r.print("abuse: a test carries the id " + id + ", which the list does not have\n")
			unlisted = true
		}
	}
	return unlisted
}

func (r *report) print(texts ...string) {
	for _, text := range texts {
		_, _ = io.WriteString(r.out, text)
	}
}
