package main

import (
	"context"
	"encoding/json"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
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
	require(c, "app")
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
	c.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var out []string
		if b, err := p.loadSystem(system); err == nil {
			for i := range b.DataSources {
				out = append(out, b.DataSources[i].Key)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
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

// dataSources answers what the server holds of a system.
func dataSources(ctx context.Context, c *client.Client, system string) ([]dataSource, error) {
	b, _, err := storedSystem(ctx, c, system, 0)
	if err != nil {
		return nil, err
	}
	var out []dataSource
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
	return out, nil
}

func (p *program) dataSourceList() *cobra.Command {
	var system string
	c := listing[dataSource]{
		use: "list --app SYSTEM", short: "List the data sources that the server holds of a system", args: cobra.NoArgs,
		items: func(ctx context.Context, c *client.Client, _ []string) iter.Seq2[dataSource, error] {
			return each(dataSources(ctx, c, system))
		},
		none: "No data sources.", heading: []string{"key", "name", "entity", "resource", "operations"},
		row: func(x dataSource) []string {
			return []string{x.Key, x.DisplayName, x.EntityType, x.ResourceType, strings.Join(x.Operations, " ")}
		},
	}.command(p)
	return p.ofSystem(c, &system, p.completeSystems)
}

// each goes through a list, or answers why there is none.
func each[T any](list []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if err != nil {
			yield(none, err)
			return
		}
		for _, x := range list {
			if !yield(x, nil) {
				return
			}
		}
	}
}

func (p *program) dataSourceTest() *cobra.Command {
	var system string
	c := try(p, "test-e2e DATASOURCE --app SYSTEM", "Try a data source's operations at the real system, and clean up", "Trying the operations of", p.completeDataSources(&system),
		func(c *client.Client, ctx context.Context, key string) (api.EndToEndReport, error) {
			return c.TestEndToEnd(ctx, system, key)
		}, p.printEndToEnd, func(report api.EndToEndReport) bool { return report.Status == "passed" })
	c.Long = "Test-e2e lists, creates, gets, updates and deletes as far as the data source allows it, through the\n" +
		"system's api slot. It makes its record from testPayload and removes it, after a failure too. What\n" +
		"failed or was left behind makes the exit code 1."
	return p.ofSystem(c, &system, p.completeSystems)
}

// completeDataSources offers the data sources that the server holds of the system in a flag.
func (p *program) completeDataSources(system *string) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return complete(c, p, prefix, func(ctx context.Context, s *client.Client) iter.Seq2[dataSource, error] {
			return each(dataSources(ctx, s, *system))
		}, func(d dataSource) (string, string) { return d.Key, d.DisplayName })
	}
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
