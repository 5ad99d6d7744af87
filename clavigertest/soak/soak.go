// Package soak turns tests into long runs, and keeps what those found.
//
// With the environment variable CLAVIGER_SOAK set to the path of a page, tests repeat what
// they do in CI as often as [Rounds] says, and write what came of it into their section of
// the page ([Write]). Without it they run their short form and write nothing.
// CLAVIGER_SOAK_SHARE, a number of percent, makes a long run shorter. The page holds counts and times, and what they were measured on in general
// words: no names and no paths of a machine.
//
// It is for tests alone.
package soak

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"claviger/clavigertest/postgres"
)

// Variable is the name of the environment variable that asks for a long run. It holds
// the absolute path of the page to be written.
const Variable = "CLAVIGER_SOAK"

// ShareVariable is the name of the environment variable that holds how much of a long run
// is wanted, in percent from 1 to 100.
const ShareVariable = "CLAVIGER_SOAK_SHARE"

// Document answers the path of the page, "" in a short run.
func Document() string { return os.Getenv(Variable) }

// Rounds answers how often a test does something: few times in a short run, many times in
// a long one, or as much of that as is wanted, but not less than in a short one.
func Rounds(t testing.TB, few, many int) int {
	t.Helper()
	if Document() == "" {
		return few
	}
	share := 100
	if text := os.Getenv(ShareVariable); text != "" {
		var err error
		if share, err = strconv.Atoi(text); err != nil || share < 1 || share > 100 {
			t.Fatalf("%s is %q: a number from 1 to 100 is wanted", ShareVariable, text)
		}
	}
	return max(few, many*share/100)
}

// Write replaces a section of the page: what stands between the lines "<!-- NAME: written
// by make soak -->" and "<!-- end of NAME -->". It does nothing in a short run, or when
// the test has failed: a page that says more than was proven is worse than none.
func Write(t testing.TB, name, text string) {
	t.Helper()
	file := Document()
	if file == "" || t.Failed() {
		return
	}
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page, err := replaced(old, name, machine(t)+"\n\n"+text)
	if err == nil {
		err = os.WriteFile(file, page, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// replaced answers the page with another text in the section.
func replaced(page []byte, name, text string) ([]byte, error) {
	begin, end := fmt.Sprintf("<!-- %s: written by make soak -->\n", name), fmt.Sprintf("<!-- end of %s -->\n", name)
	head, rest, ok := bytes.Cut(page, []byte(begin))
	_, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return nil, fmt.Errorf("the page has no section %q", name)
	}
	return fmt.Appendf(nil, "%s%s\n%s\n\n%s%s", head, begin, strings.TrimSpace(text), end, tail), nil
}

// machine is what a run was measured on.
func machine(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("%s, %d cores shared by nodes, callers, vendor and database; %s; PostgreSQL %s; SQLite by modernc.org/sqlite %s.",
		runtime.GOARCH, runtime.NumCPU(), runtime.Version(), postgresVersion(t), sqliteVersion(t))
}

func postgresVersion(t testing.TB) string {
	t.Helper()
	path, err := postgres.Binary("postgres")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, "--version").Output()
	version := regexp.MustCompile(`\d+(\.\d+)*`).Find(out)
	if err != nil || version == nil {
		t.Fatalf("the version of PostgreSQL: %v", err)
	}
	return string(version)
}

func sqliteVersion(t testing.TB) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", "modernc.org/sqlite").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
