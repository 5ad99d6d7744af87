package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// load is one run of wrk.
type load struct {
	connections int
	body        string // "small" or "large"
	length      time.Duration
}

// sample is what one run showed.
type sample struct {
	requests int64
	rate     float64       // a second
	cpu      time.Duration // of the proxy's processes, for one request
	extra    time.Duration // of PostgreSQL's, for one request
	p50, p99 time.Duration
	memory   int64
}

// script makes wrk walk through the target's paths, one after the other, and print
// exact figures.
const script = `
local requests, at = {}, 0
for path in io.lines(%q) do
  requests[#requests + 1] = wrk.format("GET", path .. "/%s", {%s})
end
function request()
  at = at %% #requests + 1
  return requests[at]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("\nRESULT %%d %%d %%d %%d %%d %%d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.timeout, e.status))
end
`

// run loads a target and accounts for it.
func (b *bench) run(ctx context.Context, t *target, l load) (sample, error) {
	file, err := b.script(t, l)
	if err != nil {
		return sample{}, err
	}
	stop := b.profiled(ctx, t, l)
	before, extra := cpu(t.pid), cpu(t.extra)
	out, err := exec.CommandContext(ctx, "wrk", "-t1", fmt.Sprintf("-c%d", l.connections),
		fmt.Sprintf("-d%d", wholeSeconds(l.length)), "--timeout", "10s", "-s", file, t.base).CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	settle(ctx) // the last batch of records belongs to this run
	after, extraAfter := cpu(t.pid), cpu(t.extra)
	stop()
	_, line, _ := strings.Cut(string(out), "RESULT ")
	var n, us, p50, p99, broken, refused int64
	if _, err := fmt.Sscan(line, &n, &us, &p50, &p99, &broken, &refused); err != nil {
		return sample{}, fmt.Errorf("wrk said: %s", out)
	}
	if broken+refused > 0 || n == 0 {
		return sample{}, fmt.Errorf("%s: %d requests, %d broken, %d refused\n%s", t.name, n, broken, refused, out)
	}
	return sample{
		requests: n, rate: float64(n) / (float64(us) / 1e6),
		cpu: (after - before) / time.Duration(n), extra: (extraAfter - extra) / time.Duration(n),
		p50: time.Duration(p50) * time.Microsecond, p99: time.Duration(p99) * time.Microsecond, memory: memory(t.pid),
	}, nil
}

// settle waits for two of the ledger's windows.
func settle(ctx context.Context) {
	t := time.NewTimer(100 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (b *bench) script(t *target, l load) (string, error) {
	name := strings.NewReplacer(" ", "-", ",", "").Replace(t.name)
	paths := filepath.Join(b.folder, name+".paths")
	if err := os.WriteFile(paths, []byte(strings.Join(t.paths, "\n")+"\n"), 0o600); err != nil {
		return "", err
	}
	header := fmt.Sprintf("Host = %q", strings.TrimPrefix(t.base, "http://"))
	if t.header != "" {
		header += fmt.Sprintf(", Authorization = %q", t.header)
	}
	file := filepath.Join(b.folder, name+"-"+l.body+".lua")
	return file, os.WriteFile(file, fmt.Appendf(nil, script, paths, l.body, header), 0o600)
}

// profiled takes a CPU profile of a claviger while it is under load, if asked to. The
// answered function waits for it.
func (b *bench) profiled(ctx context.Context, t *target, l load) func() {
	if b.profile == "" || t.admin == "" {
		return func() {}
	}
	done := make(chan error, 1)
	go func() { done <- fetchProfile(ctx, t, l, b.profile) }()
	return func() {
		if err := <-done; err != nil {
			fmt.Fprintln(os.Stderr, "bench: profile:", err)
		}
	}
}

// fetchProfile stores a CPU profile of the load and what was allocated until its end.
func fetchProfile(ctx context.Context, t *target, l load, folder string) error {
	name := fmt.Sprintf("%s-%s-%d", strings.NewReplacer(" ", "-", ",", "").Replace(t.name), l.body, l.connections)
	for _, kind := range []struct{ name, path string }{
		{"cpu", fmt.Sprintf("/debug/pprof/profile?seconds=%d", wholeSeconds(l.length))}, {"allocs", "/debug/pprof/allocs"},
	} {
		res, err := get(ctx, http.DefaultClient, &target{base: t.admin}, kind.path)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name+"."+kind.name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// wholeSeconds is what wrk and pprof take.
func wholeSeconds(d time.Duration) int { return max(1, int(d.Round(time.Second).Seconds())) }
