package soak

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const page = "# Page\n\n<!-- one: written by make soak -->\nold\n<!-- end of one -->\nbetween\n<!-- two: written by make soak -->\n<!-- end of two -->\n"

func TestWriteReplacesItsSectionAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(Variable, file)
	for range 2 { // the second time over what the first wrote
		Write(t, "one", "three kills\n")
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if strings.Contains(text, "old") || strings.Count(text, "three kills") != 1 || !strings.Contains(text, "PostgreSQL 1") ||
		!strings.HasSuffix(text, "\n<!-- end of one -->\nbetween\n<!-- two: written by make soak -->\n<!-- end of two -->\n") {
		t.Errorf("%s", text)
	}
}

func TestRounds(t *testing.T) {
	for _, c := range []struct {
		page, share string
		want        int
	}{
		{"", "", 3},
		{"", "50", 3},
		{"page", "", 200},
		{"page", "50", 100},
		{"page", "1", 3},
	} {
		t.Setenv(Variable, c.page)
		t.Setenv(ShareVariable, c.share)
		if got := Rounds(t, 3, 200); got != c.want {
			t.Errorf("%q, share %q: %d, want %d", c.page, c.share, got, c.want)
		}
	}
}

func TestAShortRunWritesNothing(t *testing.T) {
	t.Setenv(Variable, "")
	Write(t, "one", "nothing")
	if _, err := replaced([]byte(page), "three", "x"); err == nil {
		t.Error("a section that is not there was replaced")
	}
}
