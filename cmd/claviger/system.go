package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
	"claviger/internal/manifest"
)

func (p *program) systemCommand() *cobra.Command {
	c := group("system", "Connected systems: manifests in files, and what the server made of them",
		p.systemCreate(), p.systemList(), p.systemShow(), p.downloadCommand(), p.diffCommand(), p.systemRollback(), p.systemCertificate(),
		p.remove("delete SYSTEM", "End a system's connections at the server and remove it; files and secrets stay", p.completeSystems, (*client.Client).DeleteSystem))
	c.AddCommand(p.systemShortForms()...)
	return c
}

// systemShortForms are the commands that are known without "system" too.
func (p *program) systemShortForms() []*cobra.Command {
	return []*cobra.Command{p.validateCommand(), p.repairCommand(), p.uploadCommand(), p.testIntegrationCommand(), p.verifyTrustCommand()}
}

// systemKey is what a system may be called: its folder has that name.
var systemKey = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// systemCreate writes the files of a new system.
func (p *program) systemCreate() *cobra.Command {
	var name, kind, auth string
	var variables manifest.Variables
	var slots bool
	c := command("create SYSTEM", "Write the files of a new system, without a server", cobra.ExactArgs(1), func(_ context.Context, args []string) error {
		key := args[0]
		if !systemKey.MatchString(key) {
			return usagef("A system's key has small letters, digits and dashes, 40 at most.")
		}
		if err := os.MkdirAll(integrations, 0o755); err != nil {
			return err
		}
		folder := filepath.Join(integrations, key)
		if err := os.Mkdir(folder, 0o755); err != nil {
			return usagef("%s", err)
		}
		files, err := p.newSystem(key, cmp.Or(name, key), kind, variables.Texts(), manifest.RepairOptions{Auth: manifest.Method(auth), Slots: slots})
		if err != nil {
			return errors.Join(err, os.RemoveAll(folder))
		}
		return p.show(map[string]any{"systemKey": key, "files": files}, func() {
			for _, f := range files {
				p.printf("Wrote %s\n", escape(f))
			}
			p.printf("Add a document for each data source, then: claviger validate %s\n", escape(key))
		})
	})
	f := c.Flags()
	f.StringVar(&name, "name", "", "what people call it; default: its key")
	f.StringVar(&kind, "type", "custom", "openapi, mcp or custom")
	f.StringVar(&variables.BaseURL, "base-url", "", "address of its API (required)")
	f.StringVar(&variables.TokenURL, "token-url", "", "address of its token endpoint, for oauth2 and aad")
	f.StringVar(&variables.GrantType, "grant", "", "for oauth2 and aad: authorization_code or client_credentials")
	f.StringVar(&auth, "auth", "apikey", "`method` of its default api slot")
	f.BoolVar(&slots, "slots", false, "with slots for webhooks and background work")
	p.completeFlag(c, "type", oneOf("openapi", "mcp", "custom"))
	p.completeFlag(c, "auth", oneOf(manifest.CallMethods()...))
	p.completeFlag(c, "grant", oneOf("authorization_code", "client_credentials"))
	c.ValidArgsFunction = cobra.NoFileCompletions
	require(c, "base-url")
	return c
}

// newSystem writes a document with one slot, which a repair then gives its method, and
// answers what was written.
func (p *program) newSystem(key, name, kind string, variables map[string]string, opts manifest.RepairOptions) ([]string, error) {
	text, err := indent(map[string]any{
		"key": key, "displayName": name, "type": kind,
		"authentication": map[string]any{"method": "none", "variables": variables},
	})
	if err != nil {
		return nil, err
	}
	if err := replaceDocument(filepath.Join(integrations, key, key+"-system.json"), text); err != nil {
		return nil, err
	}
	b, err := p.loadSystem(key)
	if err != nil {
		return nil, err
	}
	r, err := manifest.Repair(b, opts)
	if err != nil {
		return nil, err
	}
	if err := writeRepaired(r); err != nil {
		return nil, err
	}
	policy := serversPolicy()
	policy.KeyTaken = builtinKey
	if refusal := manifest.Refusal(manifest.Validate(r.After(b), policy)); refusal != nil {
		return nil, usageError{message: refusal.Message}
	}
	var files []string
	for _, f := range r.Files {
		files = append(files, f.Name)
	}
	return files, nil
}

func (p *program) systemList() *cobra.Command {
	return listing[api.System]{
		use: "list", short: "List the connected systems of the server", args: cobra.NoArgs,
		items: func(ctx context.Context, c *client.Client, _ []string) iter.Seq2[api.System, error] {
			return c.Systems(ctx)
		},
		none: "No systems.", heading: []string{"key", "name", "type", "version", "workspace", "updated"},
		row: func(s api.System) []string {
			return []string{s.Key, s.DisplayName, s.Type, strconv.Itoa(s.Version), s.WorkspaceID, when(&s.UpdatedAt)}
		},
	}.command(p)
}

// systemState is a system with its slots.
type systemState struct {
	api.System
	Slots []api.Slot `json:"slots"`
}

func (p *program) systemShow() *cobra.Command {
	return askOf(p, "show SYSTEM", "Show a system and its slots", p.completeSystems, func(c *client.Client, ctx context.Context, key string) (systemState, error) {
		s, err := c.System(ctx, key, 0)
		if err != nil {
			return systemState{}, err
		}
		slots, err := c.Slots(ctx, key)
		return systemState{s, slots}, err
	}, func(s systemState) {
		p.fields([][2]string{
			{"key", s.Key},
			{"name", s.DisplayName},
			{"type", s.Type},
			{"version", strconv.Itoa(s.Version)},
			{"hash", s.Hash},
			{"workspace", s.WorkspaceID},
			{"data sources", strconv.Itoa(len(s.DataSources))},
			{"webhooks", s.WebhookURL},
			{"updated", when(&s.UpdatedAt)},
		})
		p.printf("\n")
		p.printSlots(s.Slots)
	})
}

func (p *program) printSlots(slots []api.Slot) {
	table(p, "No slots.", []string{"slot", "usage", "method", "health", "connection", "values"}, slots, func(s api.Slot) []string {
		there := 0
		for _, x := range s.Secrets {
			if x.HasValue {
				there++
			}
		}
		return []string{s.Key, s.Usage, s.Method, s.HealthStatus, s.ConnectionID, fmt.Sprintf("%d of %d", there, len(s.Secrets))}
	})
	p.printValuesToSet("\nValues that are missing:", missingValues(slots))
}

// missingValues answers the references of slots that have no value, each once.
func missingValues(slots []api.Slot) []string {
	var out []string
	for _, s := range slots {
		for _, x := range s.Secrets {
			if !x.HasValue && !slices.Contains(out, x.Reference) {
				out = append(out, x.Reference)
			}
		}
	}
	return out
}

func (p *program) testIntegrationCommand() *cobra.Command {
	c := try(p, "test-integration SYSTEM", "Try every slot of a system with its own credential", "Testing the slots of", p.completeSystems,
		(*client.Client).TestIntegration, p.printIntegration, func(report api.IntegrationReport) bool { return report.Status == "passed" })
	c.Long = "Test-integration resolves the values of each slot, authenticates with them and calls the slot's\n" +
		"test endpoint. What it finds is the slot's health. A slot that failed makes the exit code 1."
	return c
}

func (p *program) printIntegration(report api.IntegrationReport) {
	p.printf("%s\n", escape(report.Status))
	var missing []string
	table(p, "No slots.", []string{"slot", "usage", "result", "code", "host", "time", "note"}, report.Slots, func(s api.SlotReport) []string {
		if s.Path != "" && !slices.Contains(missing, s.Path) {
			missing = append(missing, s.Path)
		}
		return []string{s.Key, s.Usage, s.Status, s.Code, s.Host, strconv.FormatInt(s.DurationMs, 10) + " ms", s.Message}
	})
	p.printValuesToSet("Values that are missing:", missing)
}

func (p *program) completeSystems(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return complete(c, p, prefix, func(ctx context.Context, s *client.Client) iter.Seq2[api.System, error] { return s.Systems(ctx) },
		func(x api.System) (string, string) { return x.Key, x.DisplayName })
}
