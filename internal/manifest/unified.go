package manifest

import (
	"fmt"
	"slices"
	"strings"

	"claviger/internal/document"
)

// unified answers the difference of two texts in unified form with three lines of
// context, "" if there is none. old is nil for a new file. Lines of the old text
// that are in hidden are not shown, nor is any that holds what looks like a
// credential. What changed is taken to lie between the first and the last line that
// differ, and is compared line by line there.
func unified(name string, old, now []byte, hidden map[int]bool) string {
	if string(old) == string(now) {
		return ""
	}
	from := "a/" + name
	if old == nil {
		from = "/dev/null"
	}
	a, b := lines(old), lines(now)
	edits := compare(a, b)
	const context = 3
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ b/%s\n", from, name)
	for i := 0; i < len(edits); {
		for i < len(edits) && edits[i].mark == ' ' {
			i++
		}
		if i == len(edits) {
			break
		}
		start, end := max(0, i-context), i
		for quiet := 0; end < len(edits) && quiet <= 2*context; end++ {
			if edits[end].mark != ' ' {
				quiet = 0
				i = end + 1
			} else {
				quiet++
			}
		}
		end = min(len(edits), i+context)
		writeHunk(&out, edits, start, end, hidden)
		i = end
	}
	return out.String()
}

type edit struct {
	mark byte // ' ', '-' or '+'
	line string
}

func writeHunk(out *strings.Builder, edits []edit, start, end int, hidden map[int]bool) {
	oldLine, newLine := 1, 1
	for _, e := range edits[:start] {
		if e.mark != '+' {
			oldLine++
		}
		if e.mark != '-' {
			newLine++
		}
	}
	shown := slices.Clone(edits[start:end])
	for i, at := 0, oldLine; i < len(shown); i++ {
		if shown[i].mark != '+' && hidden[at] || document.KnownSecret(shown[i].line) || document.RandomRun(shown[i].line) {
			shown[i].line = "[a line with a secret]\n"
		}
		if shown[i].mark != '+' {
			at++
		}
	}
	olds, news := 0, 0
	for _, e := range edits[start:end] {
		if e.mark != '+' {
			olds++
		}
		if e.mark != '-' {
			news++
		}
	}
	if olds == 0 {
		oldLine--
	}
	if news == 0 {
		newLine--
	}
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", oldLine, olds, newLine, news)
	for _, e := range shown {
		out.WriteByte(e.mark)
		out.WriteString(e.line)
		if !strings.HasSuffix(e.line, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

func lines(text []byte) []string {
	out := strings.SplitAfter(string(text), "\n")
	if out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// maxCompared bounds the table of the comparison; a larger change is shown as
// everything out and everything in.
const maxCompared = 4 << 20

func compare(a, b []string) []edit {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var out []edit
	for _, line := range a[:head] {
		out = append(out, edit{' ', line})
	}
	out = append(out, between(a[head:len(a)-tail], b[head:len(b)-tail])...)
	for _, line := range a[len(a)-tail:] {
		out = append(out, edit{' ', line})
	}
	return out
}

// between compares by the longest common subsequence.
func between(a, b []string) (out []edit) {
	width := len(b) + 1
	var common []int
	if len(a)*len(b) <= maxCompared {
		common = make([]int, (len(a)+1)*width)
		for i := len(a) - 1; i >= 0; i-- {
			for j := len(b) - 1; j >= 0; j-- {
				if a[i] == b[j] {
					common[i*width+j] = common[(i+1)*width+j+1] + 1
				} else {
					common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
				}
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j] && common != nil:
			out = append(out, edit{' ', a[i]})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common == nil || common[(i+1)*width+j] >= common[i*width+j+1]):
			out = append(out, edit{'-', a[i]})
			i++
		default:
			out = append(out, edit{'+', b[j]})
			j++
		}
	}
	return out
}
