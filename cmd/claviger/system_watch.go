package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"claviger"
	"claviger/api"
)

// watchPace is how often files are looked at. What changed is told once it has stayed the
// same for that long: an editor writes in several steps.
const watchPace = 300 * time.Millisecond

// watched is what a check found: the faults, or why there are none.
type watched struct {
	api.SystemValidation
	Error string `json:"error,omitempty"`
}

func (w *watched) lines() []string {
	if w.Error != "" {
		return []string{escape(w.Error)}
	}
	var out []string
	for _, f := range w.Faults {
		out = append(out, faultLine(f))
	}
	return out
}

// watchFiles checks until it is interrupted, and prints what came and what went whenever
// that differs from what was printed before.
func (p *program) watchFiles(ctx context.Context, what string, check func() (api.SystemValidation, error)) error {
	look := func() watched {
		v, err := check()
		if err != nil {
			return watched{SystemValidation: api.SystemValidation{Object: "system_validation", Faults: []api.SystemFault{}}, Error: claviger.AsError(err).Message}
		}
		return watched{SystemValidation: v}
	}
	told, settling := look(), watched{}
	if err := p.tellWatched(what, told, watched{}); err != nil {
		return err
	}
	settling = told
	for {
		if err := p.pause(ctx, watchPace); err != nil {
			if !told.Valid && errors.Is(err, context.Canceled) {
				return failed(exitFailure)
			}
			return nil
		}
		now := look()
		if same(now, settling) && !same(now, told) {
			if err := p.tellWatched(what, now, told); err != nil {
				return err
			}
			told = now
		}
		settling = now
	}
}

func same(a, b watched) bool { return a.Valid == b.Valid && slices.Equal(a.lines(), b.lines()) }

// tellWatched prints the difference of two checks: as JSON one check a line.
func (p *program) tellWatched(what string, now, before watched) error {
	if p.json {
		b, err := json.Marshal(now)
		if err == nil {
			p.printf("%s\n", escapeJSON(b))
		}
		return err
	}
	old, lines := before.lines(), now.lines()
	for _, l := range old {
		if !slices.Contains(lines, l) {
			p.printf("- %s\n", l)
		}
	}
	for _, l := range lines {
		if !slices.Contains(old, l) {
			p.printf("+ %s\n", l)
		}
	}
	if now.Error == "" {
		p.printf("%s\n", escape(verdict(what, now.SystemValidation)))
	}
	return nil
}
