package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// markdown answers the results as the document shows them.
func (r *results) markdown(o options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured with %d interleaved rounds of %v, medians; %s, %d cores shared by the load generator, the proxy and the vendor; Linux, %s.\n",
		r.rounds, o.length, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	fmt.Fprintf(&b, "Appending 4 KiB to a file and making it durable took %s in the same run.\n\n", micro(r.sync))
	r.busyTable(&b, "1 KiB of JSON, 64 connections", smallBusy)
	if o.quick {
		return b.String()
	}
	r.oneTable(&b)
	r.busyTable(&b, "100 KiB of JSON, 64 connections", largeBusy)
	r.sizeTable(&b, o)
	r.goals(&b)
	return b.String()
}

func (r *results) busyTable(b *strings.Builder, title, load string) {
	fmt.Fprintf(b, "### %s\n\n", title)
	b.WriteString("| what carries the request | CPU us / request | x nginx | x reference | requests/s | p99 | RSS MiB |\n|---|--:|--:|--:|--:|--:|--:|\n")
	for _, name := range names() {
		key := cellKey{name, load}
		spent, ok := median(r, key, sampleCPU)
		if !ok {
			continue
		}
		rate, _ := median(r, key, func(s sample) float64 { return s.rate })
		p99, _ := median(r, key, func(s sample) time.Duration { return s.p99 })
		resident, _ := median(r, key, func(s sample) int64 { return s.memory })
		if name == direct {
			fmt.Fprintf(b, "| %s | | | | %.0f | %s | |\n", name, rate, micro(p99))
			continue
		}
		note := ""
		if extra, _ := median(r, key, func(s sample) time.Duration { return s.extra }); extra > 0 {
			note = fmt.Sprintf(" (+ %.1f in PostgreSQL)", float64(extra)/1e3)
		}
		fmt.Fprintf(b, "| %s | %.1f%s | %s | %s | %.0f | %s | %.0f |\n", name, float64(spent)/1e3, note,
			r.ratio(name, nginx, load), r.ratio(name, reference, load), rate, micro(p99), float64(resident)/(1<<20))
	}
	b.WriteString("\n")
}

func sampleCPU(s sample) time.Duration { return s.cpu }

func sampleP50(s sample) time.Duration { return s.p50 }

// quotient divides one target's CPU time by another's under the same load.
func (r *results) quotient(name, by, load string) (float64, bool) {
	x, ok := median(r, cellKey{name, load}, sampleCPU)
	y, ok2 := median(r, cellKey{by, load}, sampleCPU)
	return float64(x) / float64(y), ok && ok2 && y > 0
}

func (r *results) ratio(name, by, load string) string {
	q, ok := r.quotient(name, by, load)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.2f", q)
}

// added is what a proxy adds to the median latency of one connection.
func (r *results) added(name, load string) (time.Duration, bool) {
	x, ok := median(r, cellKey{name, load}, sampleP50)
	y, ok2 := median(r, cellKey{direct, load}, sampleP50)
	return x - y, ok && ok2
}

func (r *results) oneTable(b *strings.Builder) {
	b.WriteString("### Latency at one connection, p50\n\n| what carries the request | 1 KiB | added | 100 KiB | added |\n|---|--:|--:|--:|--:|\n")
	for _, name := range names() {
		small, ok := median(r, cellKey{name, smallOne}, sampleP50)
		large, ok2 := median(r, cellKey{name, largeOne}, sampleP50)
		if !ok || !ok2 {
			continue
		}
		addedSmall, _ := r.added(name, smallOne)
		addedLarge, _ := r.added(name, largeOne)
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", name, micro(small), micro(addedSmall), micro(large), micro(addedLarge))
	}
	b.WriteString("\n")
}

func (r *results) sizeTable(b *strings.Builder, o options) {
	s := r.size
	b.WriteString("### At rest\n\n| figure | value |\n|---|--:|\n")
	fmt.Fprintf(b, "| stripped binary | %.1f MB |\n", float64(s.binary)/1e6)
	if s.start > 0 {
		fmt.Fprintf(b, "| start to ready, median of %d | %d ms |\n| first start, on an empty folder | %d ms |\n| memory after the start | %.1f MB |\n",
			o.starts, s.start.Milliseconds(), s.firstStart.Milliseconds(), float64(s.idle)/1e6)
	}
	if s.perStream > 0 {
		fmt.Fprintf(b, "| memory of each of %d idle event streams | %.1f KiB |\n", s.streams, float64(s.perStream)/1024)
	}
	if s.perProxied > 0 {
		fmt.Fprintf(b, "| the same through ReverseProxy | %.1f KiB |\n", float64(s.perProxied)/1024)
	}
	if s.connections > 0 {
		fmt.Fprintf(b, "| memory with %d connections in use | %.0f MB |\n", o.many, float64(s.connections)/1e6)
	}
	b.WriteString("\n")
}

// goal is one line of what is to be reached.
type goal struct {
	text    string
	limit   string
	value   string
	reached bool
}

func (r *results) goals(b *strings.Builder) {
	b.WriteString("### Against the goals\n\n| figure | goal | here | |\n|---|--:|--:|---|\n")
	for _, g := range append(r.ratioGoals(), r.otherGoals()...) {
		verdict := "missed"
		if g.reached {
			verdict = "reached"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", g.text, g.limit, g.value, verdict)
	}
	b.WriteString("\n")
}

func (r *results) ratioGoals() []goal {
	var out []goal
	for _, want := range []struct {
		text, name, by, load string
		limit                float64
	}{
		{"CPU, relaxed / reference", relaxed, reference, smallBusy, 1.1},
		{"CPU, relaxed / nginx", relaxed, nginx, smallBusy, 3.4},
		{"CPU, strict / nginx", strict, nginx, smallBusy, 4.5},
		{"CPU, many connections / 1,000", relaxedMany, relaxed, smallBusy, 1.1},
		{"CPU at 100 KiB, relaxed / nginx", relaxed, nginx, largeBusy, 1.25},
		{"CPU, relaxed on PostgreSQL / SQLite", relaxedPostgres, relaxed, smallBusy, 1.1},
	} {
		if q, ok := r.quotient(want.name, want.by, want.load); ok {
			out = append(out, goal{want.text, fmt.Sprintf("<= %.2f", want.limit), fmt.Sprintf("%.2f", q), q <= want.limit})
		}
	}
	fast, ok := median(r, cellKey{relaxed, smallBusy}, func(s sample) float64 { return s.rate })
	slow, ok2 := median(r, cellKey{strict, smallBusy}, func(s sample) float64 { return s.rate })
	if ok && ok2 {
		out = append(out, goal{"requests/s, strict / relaxed", ">= 0.70", fmt.Sprintf("%.2f", slow/fast), slow/fast >= 0.7})
	}
	return out
}

func (r *results) otherGoals() []goal {
	var out []goal
	atMost := func(text string, value, limit float64, unit string) {
		if value > 0 {
			out = append(out, goal{text, fmt.Sprintf("<= %.0f %s", limit, unit), fmt.Sprintf("%.0f %s", value, unit), value <= limit})
		}
	}
	if base, ok := r.added(reference, smallOne); ok {
		if own, ok := r.added(relaxed, smallOne); ok {
			atMost("added latency of one connection, relaxed (1.4 x the reference's)", us(own), 1.4*us(base), "us")
		}
	}
	if own, ok := r.added(strict, smallOne); ok {
		atMost("added latency of one connection, strict (append and fsync + 150 us)", us(own), us(r.sync)+150, "us")
	}
	atMost("memory of an idle event stream", float64(r.size.perStream)/1024, 24, "KiB")
	atMost("memory after the start", float64(r.size.idle)/1e6, 60, "MB")
	atMost("start to ready", float64(r.size.start.Milliseconds()), 300, "ms")
	atMost("stripped binary", float64(r.size.binary)/1e6, 56, "MB")
	return out
}

func us(d time.Duration) float64 { return float64(d) / 1e3 }

func micro(d time.Duration) string {
	if d >= 10*time.Millisecond {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%d us", d.Microseconds())
}

// The results stand between these lines of the document.
const (
	beginMark = "<!-- results: written by make bench -->\n"
	endMark   = "<!-- end of results -->\n"
)

// writeInto replaces the results in the document.
func writeInto(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(old, []byte(beginMark))
	_, tail, ok2 := bytes.Cut(rest, []byte(endMark))
	if !ok || !ok2 {
		return errors.New(file + " has no place for the results")
	}
	return os.WriteFile(file, fmt.Appendf(nil, "%s%s\n%s%s%s", head, beginMark, text, endMark, tail), 0o644)
}
