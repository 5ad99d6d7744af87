package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"claviger/internal/app"
	"claviger/internal/gate"
)

// offline are the flags of the commands that read the database themselves, without a
// server: whoever doubts the ledger doubts the server too.
type offline struct {
	config   string
	from, to time.Time
	values   map[string]*string
}

// flags adds a time, and the settings that say where the ledger is.
func (o *offline) flags(c *cobra.Command) {
	c.Flags().Var(moment{&o.from}, "from", "earliest time (RFC 3339) or age (24h)")
	c.Flags().Var(moment{&o.to}, "to", "latest time (RFC 3339) or age (24h)")
	o.settings(c, []string{"data", "database.url", "ledger.anchor"})
}

// settings adds the flags of settings: those of these keys, all of them if there are
// none. The master key has no flag: it would show in the process list.
func (o *offline) settings(c *cobra.Command, keys []string) {
	o.values = map[string]*string{}
	c.Flags().StringVar(&o.config, "config", "", "YAML file of settings")
	for _, s := range app.AllSettings() {
		if s.Flag != "" && (keys == nil || slices.Contains(keys, s.Key)) {
			o.values[s.Flag] = c.Flags().String(s.Flag, "", s.Meaning+" ("+s.Variable+")")
		}
	}
}

func (o *offline) load() (app.Settings, error) {
	given := map[string]string{}
	for flag, value := range o.values {
		if *value != "" {
			given[flag] = *value
		}
	}
	return app.LoadSettings(given, os.Environ(), o.config)
}

func (p *program) auditVerify() *cobra.Command {
	var o offline
	c := command("verify", "Prove offline that the ledger is whole", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		s, err := o.load()
		if err != nil {
			return err
		}
		report, err := app.VerifyLedger(ctx, s, o.from, o.to)
		if err != nil {
			return err
		}
		if err := p.show(shapeOf(report), func() { p.printReport(report) }); err != nil {
			return err
		}
		if !report.Intact() {
			return failed(exitFailure)
		}
		return nil
	})
	c.Long = "Verify reads the database with the master key, as the server would, and changes nothing.\n" +
		"It walks every stream of the ledger and compares it with its keyed hashes, the signed\n" +
		"checkpoints and the anchor file, and names the first entry that was edited, removed or cut off."
	o.flags(c)
	return c
}

// verification is a report as JSON.
type verification struct {
	Object      string    `json:"object"`
	Intact      bool      `json:"intact"`
	Streams     int       `json:"streams"`
	Entries     int64     `json:"entries"`
	Checkpoints int64     `json:"checkpoints"`
	Findings    []finding `json:"findings"`
}

type finding struct {
	Problem  string `json:"problem"`
	Stream   string `json:"stream,omitempty"`
	Sequence int64  `json:"sequence,omitempty"`
	Entry    string `json:"entry,omitempty"`
	Detail   string `json:"detail"`
}

func shapeOf(r *gate.Report) verification {
	v := verification{
		Object: "audit_verification", Intact: r.Intact(), Streams: r.Streams, Entries: r.Entries, Checkpoints: r.Checkpoints, Findings: []finding{},
	}
	for _, f := range r.Findings {
		v.Findings = append(v.Findings, finding{f.Problem, f.Stream, f.Sequence, string(f.Entry), f.Detail})
	}
	return v
}

func (p *program) printReport(r *gate.Report) {
	if r.Intact() {
		p.printf("The ledger is whole: %d entries in %d streams, %d checkpoints.\n", r.Entries, r.Streams, r.Checkpoints)
		return
	}
	p.printf("The ledger is NOT whole: %d findings in %d entries.\n", len(r.Findings), r.Entries)
	table(p, "", []string{"problem", "stream", "sequence", "entry", "detail"}, r.Findings, func(f gate.Finding) []string {
		return []string{f.Problem, f.Stream, strconv.FormatInt(f.Sequence, 10), string(f.Entry), f.Detail}
	})
}

func (p *program) auditExport() *cobra.Command {
	var o offline
	c := command("export", "Write the ledger as JSON Lines, offline", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		s, err := o.load()
		if err != nil {
			return err
		}
		_, err = app.ExportLedger(ctx, s, o.from, o.to, &escaping{w: p.stdout})
		return err
	})
	o.flags(c)
	return c
}

// escaping passes whole lines of JSON on with [escapeJSON]. It holds back what does
// not end in a line break, so that no character is cut in two.
type escaping struct {
	w    io.Writer
	rest []byte
}

// Write implements io.Writer.
func (e *escaping) Write(b []byte) (int, error) {
	e.rest = append(e.rest, b...)
	end := bytes.LastIndexByte(e.rest, '\n') + 1
	if end == 0 {
		return len(b), nil
	}
	_, err := e.w.Write(escapeJSON(e.rest[:end]))
	e.rest = e.rest[end:]
	return len(b), err
}
