package clavigertest_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// flowRounds is how often a long run kills at each place, on each engine.
const flowRounds = 14

// flowCell is a cell of the grid that the page shows.
type flowCell struct {
	at           string
	device, late bool
}

// flowTally counts what became of attempts to connect.
type flowTally struct {
	mu     sync.Mutex
	counts map[flowCell]map[fate]int
}

// add counts the attempts of a world that has settled as it should.
func (c *flowTally) add(t *testing.T, w *flowWorld, late bool) {
	t.Helper()
	if t.Failed() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range w.attempts {
		cell := flowCell{a.at, w.device, late}
		if c.counts[cell] == nil {
			c.counts[cell] = map[fate]int{}
		}
		c.counts[cell][a.fate(late)]++
	}
}

// markdown is the grid as the page shows it.
func (c *flowTally) markdown() string {
	places := make([]string, 0, len(codePlaces)+len(devicePlaces))
	for _, p := range slices.Concat(codePlaces, devicePlaces) {
		if !slices.Contains(places, p.at) {
			places = append(places, p.at)
		}
	}
	columns := []flowCell{{}, {late: true}, {device: true}, {device: true, late: true}}
	sums := make([]map[fate]int, len(columns))
	var rows strings.Builder
	killed := 0
	for _, at := range places {
		fmt.Fprintf(&rows, "| %s |", at)
		for i, cell := range columns {
			cell.at = at
			if sums[i] == nil {
				sums[i] = map[fate]int{}
			}
			for f, n := range c.counts[cell] {
				sums[i][f] += n
				killed += n
			}
			fmt.Fprintf(&rows, " %s |", fates(c.counts[cell]))
		}
		rows.WriteString("\n")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d processes killed, on both engines.\n\n", killed)
	b.WriteString("| killed at | a code, and somebody comes back | a code, and nobody does | a device, soon | a device, too late |\n|---|---|---|---|---|\n")
	b.WriteString(rows.String() + "| all |")
	for _, sum := range sums {
		fmt.Fprintf(&b, " %s |", fates(sum))
	}
	return b.String() + "\n"
}

// fates spells out how many had which fate.
func fates(counts map[fate]int) string {
	var words []string
	for _, f := range []fate{completed, expired, lostFate} {
		if n := counts[f]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, f))
		}
	}
	return strings.Join(words, ", ")
}
