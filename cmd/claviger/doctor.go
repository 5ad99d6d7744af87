package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger"
	"claviger/internal/app"
)

// The results of a check, from the best.
const (
	resultOK      = "ok"
	resultSkipped = "skipped"
	resultWarning = "warning"
	resultFailed  = "failed"
)

// check looks for one kind of fault. It answers what it found, nothing if all is well,
// and an error if it could not look.
type check struct {
	id       string
	what     string // what holds if all is well
	fix      string // what to do if it does not
	security bool
	warning  bool // a fault that a person may have reasons for
	look     func(context.Context, *patient) ([]string, error)
}

// errSkipped says that there is nothing to look at.
var errSkipped = errors.New("nothing to look at")

// patient is what the checks look at: the settings that a server would start with, and
// the process that looks, which should be the server's user on the server's machine.
type patient struct {
	app.Inspection
	unset    error // why the settings could not be read; then they are the defaults
	file     string
	flagged  string // the database URL, where it was given as an argument
	environ  []string
	program  *program
	euid     int
	binary   string
	build    []debug.BuildSetting
	statuses string // the folder of the kernel's files about this process
	now      func() time.Time
	system   string
	owner    func(os.FileInfo) (uid int, known bool)
}

// variable answers a variable of the patient's environment.
func (p *patient) variable(name string) string {
	for _, line := range p.environ {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value
		}
	}
	return ""
}

// examined is the result of a check, as JSON too.
type examined struct {
	ID       string   `json:"id"`
	Result   string   `json:"result"`
	Security bool     `json:"security"`
	What     string   `json:"what"`
	Found    []string `json:"found"`
	Fix      string   `json:"fix,omitempty"`
}

// diagnosis is what doctor prints.
type diagnosis struct {
	Object string     `json:"object"`
	Result string     `json:"result"` // the worst
	Checks []examined `json:"checks"`
}

func (p *program) doctorCommand() *cobra.Command {
	var o offline
	var security, strict bool
	c := command("doctor", "Look for faults in the settings, the files and the server", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		x, err := p.patient(ctx, o)
		if err != nil {
			return err
		}
		d := x.examine(ctx, security)
		if err := p.show(d, func() { p.printDiagnosis(d) }); err != nil {
			return err
		}
		if d.Result == resultFailed || strict && d.Result == resultWarning {
			return failed(exitFailure)
		}
		return nil
	})
	c.Long = "Doctor looks at what serve would start with: its settings, from the same flags, variables\n" +
		"and file, and the files that they name; and, where you are logged in, at the server. It\n" +
		"changes nothing. Run it as the user that runs the server. A warning is a fault that there\n" +
		"may be reasons for; --strict takes it for a failure."
	o.settings(c, nil)
	c.Flags().BoolVar(&security, "security", false, "only what concerns security")
	c.Flags().BoolVar(&strict, "strict", false, "take warnings for failures")
	return c
}

func (p *program) patient(ctx context.Context, o offline) (*patient, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	x := &patient{
		file: o.config, environ: os.Environ(), program: p, euid: os.Geteuid(), binary: binary, statuses: "/proc/self",
		now: time.Now, system: runtime.GOOS, owner: ownerOf,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		x.build = info.Settings
	}
	if v := o.values["database-url"]; v != nil {
		x.flagged = *v
	}
	s, err := o.load()
	x.unset = err
	x.Inspection = app.Inspect(ctx, s)
	return x, nil
}

func (p *patient) examine(ctx context.Context, security bool) diagnosis {
	d := diagnosis{Object: "diagnosis", Result: resultOK, Checks: []examined{}}
	for _, c := range allChecks() {
		if security && !c.security {
			continue
		}
		found, err := c.look(ctx, p)
		x := examined{ID: c.id, Result: resultOK, Security: c.security, What: c.what, Found: found}
		switch {
		case errors.Is(err, errSkipped):
			x.Result = resultSkipped
		case err != nil:
			x.Result, x.Found = resultFailed, append(found, said(err))
		case len(found) > 0 && c.warning:
			x.Result = resultWarning
		case len(found) > 0:
			x.Result = resultFailed
		}
		if x.Found == nil {
			x.Found = []string{}
		}
		if x.Result == resultWarning || x.Result == resultFailed {
			x.Fix = c.fix
		}
		if x.Result == resultFailed || x.Result == resultWarning && d.Result == resultOK {
			d.Result = x.Result
		}
		d.Checks = append(d.Checks, x)
	}
	return d
}

func (p *program) printDiagnosis(d diagnosis) {
	counts := map[string]int{}
	for _, c := range d.Checks {
		counts[c.Result]++
		if c.Result == resultOK || c.Result == resultSkipped {
			continue
		}
		p.printf("%s  %s\n", c.Result, c.ID)
		for _, f := range c.Found {
			p.printf("    %s\n", escape(f))
		}
		p.printf("    -> %s\n", escape(c.Fix))
	}
	p.printf("%d checks: %d ok, %d skipped, %d warnings, %d failed.\n",
		len(d.Checks), counts[resultOK], counts[resultSkipped], counts[resultWarning], counts[resultFailed])
}

// said answers the sentence of an error, without its code.
func said(err error) string {
	if e := claviger.AsError(err); e.Kind != claviger.KindInternal {
		return e.Message
	}
	return err.Error()
}

func allChecks() []check {
	return append(append(append(settingsChecks(), fileChecks()...), networkChecks()...), serverChecks()...)
}
