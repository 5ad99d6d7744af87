package main

import (
	"context"
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/internal/manifest"
)

func (p *program) dataSourceCommand() *cobra.Command {
	c := group("datasource", "Data sources of connected systems", p.dataSourceValidate(), p.dataSourceList(), p.dataSourceTest())
	c.Aliases = []string{"ds"}
	return c
}

// ofSystem gives a command the flag that names the system.
func (p *program) ofSystem(c *cobra.Command, system *string, complete cobra.CompletionFunc) *cobra.Command {
	c.Flags().StringVar(system, "app", "", "key of the system (required)")
	if err := c.MarkFlagRequired("app"); err != nil {
		panic("claviger: no such flag to require: app")
	}
	p.completeFlag(c, "app", complete)
	return c
}

func (p *program) dataSourceValidate() *cobra.Command {
	var system string
	c := command("validate DATASOURCE --app SYSTEM", "Check the file of one data source, without a server", cobra.ExactArgs(1), func(_ context.Context, args []string) error {
		b, err := p.loadSystem(system)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(b.DataSources, func(d manifest.DataSource) bool { return d.Key == args[0] })
		v := faultsOf(b, serversPolicy())
		v.Faults = slices.DeleteFunc(v.Faults, func(f api.SystemFault) bool {
			stem := strings.TrimSuffix(path.Base(f.File), path.Ext(f.File))
			return stem != args[0] && (i < 0 || f.File != b.DataSourceFile(i))
		})
		if i < 0 && len(v.Faults) == 0 {
			return usagef("There is no data source %s in %s/%s.", args[0], integrations, system)
		}
		v.Valid = !slices.ContainsFunc(v.Faults, func(f api.SystemFault) bool { return f.Severity == string(manifest.Error) })
		return p.showFaults(args[0], v)
	})
	return p.ofSystem(c, &system, completeFolders)
}

// dataSource is what a list shows of one.
type dataSource struct {
	SystemKey    string   `json:"systemKey"`
	Key          string   `json:"key"`
	DisplayName  string   `json:"displayName"`
	EntityType   string   `json:"entityType"`
	ResourceType string   `json:"resourceType"`
	Operations   []string `json:"operations"`
}

func (p *program) dataSourceList() *cobra.Command {
	var system string
	c := command("list --app SYSTEM", "List the data sources that the server holds of a system", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		b, _, err := storedSystem(ctx, c, system, 0)
		if err != nil {
			return err
		}
		out := []dataSource{}
		for i := range b.DataSources {
			d := &b.DataSources[i]
			x := dataSource{system, d.Key, d.DisplayName, d.EntityType, d.ResourceType, []string{}}
			for _, op := range manifest.Operations() {
				if _, ok := d.Operation(op); ok {
					x.Operations = append(x.Operations, op)
				}
			}
			out = append(out, x)
		}
		return p.show(out, func() {
			table(p, "No data sources.", []string{"key", "name", "entity", "resource", "operations"}, out, func(x dataSource) []string {
				return []string{x.Key, x.DisplayName, x.EntityType, x.ResourceType, strings.Join(x.Operations, " ")}
			})
		})
	})
	return p.ofSystem(c, &system, p.completeSystems)
}

func (p *program) dataSourceTest() *cobra.Command {
	var system string
	c := command("test-e2e DATASOURCE --app SYSTEM", "Try a data source's operations at the real system, and clean up", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		tell := p.progress()
		tell.say("Trying the operations of " + args[0])
		report, err := c.TestEndToEnd(ctx, system, args[0])
		tell.end()
		if err != nil {
			return err
		}
		if err := p.show(report, func() { p.printEndToEnd(report) }); err != nil {
			return err
		}
		if report.Status != "passed" {
			return failed(exitFailure)
		}
		return nil
	})
	c.Long = "Test-e2e lists, creates, gets, updates and deletes as far as the data source allows it, through the\n" +
		"system's api slot. It makes its record from testPayload and removes it, after a failure too. What\n" +
		"failed or was left behind makes the exit code 1."
	return p.ofSystem(c, &system, p.completeSystems)
}

func (p *program) printEndToEnd(report api.EndToEndReport) {
	p.printf("%s\n", escape(report.Status))
	table(p, "The data source allows nothing.", []string{"operation", "result", "status", "code", "time", "note"}, report.Steps, func(s api.EndToEndStep) []string {
		return []string{s.Operation, s.Status, number(s.StatusCode), s.Code, strconv.FormatInt(s.DurationMs, 10) + " ms", s.Message}
	})
	for _, x := range report.LeftBehind {
		key, _ := json.Marshal(x.Key) // it came as JSON
		p.printf("left behind: %s: %s\n", escape(string(key)), escape(x.Reason))
	}
}
