package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
	"claviger/connectors"
	"claviger/internal/catalog"
)

const maxDocument = 256 << 10

func (p *program) connectorCommand() *cobra.Command {
	return group("connector", "Definitions of external systems",
		p.connectorList(), p.connectorShow(), p.connectorPut(),
		p.remove("delete KEY", "Delete a custom connector", p.completeConnectors, (*client.Client).DeleteConnector),
		p.connectorLint(), p.connectorTest())
}

func (p *program) connectorList() *cobra.Command {
	var q client.ConnectorQuery
	c := listing[api.Connector]{
		use: "list", short: "List connectors", args: cobra.NoArgs,
		items: func(ctx context.Context, c *client.Client, _ []string) iter.Seq2[api.Connector, error] {
			return c.Connectors(ctx, q)
		},
		none: "No connectors.", heading: []string{"key", "name", "kind", "version", "categories", "auth"},
		row: func(k api.Connector) []string {
			return []string{k.Key, k.Name, k.Kind, strconv.Itoa(k.Version), strings.Join(k.Categories, ","), methods(k)}
		},
	}.command(p)
	c.Flags().StringVar(&q.Search, "search", "", "part of a key or name")
	c.Flags().StringVar(&q.Category, "category", "", "category")
	c.Flags().StringVar(&q.Kind, "kind", "", "kind, for example http")
	return c
}

func methods(k api.Connector) string {
	keys := make([]string, len(k.Auth))
	for i, m := range k.Auth {
		keys[i] = m.Key
	}
	return strings.Join(keys, ",")
}

func (p *program) connectorShow() *cobra.Command {
	var version int
	c := askOf(p, "show KEY", "Show a connector", p.completeConnectors,
		func(c *client.Client, ctx context.Context, key string) (api.Connector, error) {
			return c.Connector(ctx, key, version)
		}, p.printConnector)
	c.Flags().IntVar(&version, "version", 0, "version; default: the newest")
	return c
}

func (p *program) printConnector(k api.Connector) {
	p.fields([][2]string{
		{"key", k.Key},
		{"name", k.Name},
		{"kind", k.Kind},
		{"version", strconv.Itoa(k.Version)},
		{"base URL", k.BaseURL},
		{"hosts", strings.Join(k.AllowedHosts, " ")},
		{"documentation", k.DocsURL},
		{"actions", strings.Join(k.Actions, " ")},
	})
	var rows [][]string
	for _, v := range k.Variables {
		rows = append(rows, []string{"setting", v.Key, v.Type, needed(v.Required), v.Hint})
	}
	for _, m := range k.Auth {
		for _, f := range m.Fields {
			rows = append(rows, []string{"auth " + m.Key, f.Key, f.Type, needed(f.Required), f.Hint})
		}
	}
	p.printf("\n")
	p.table("It asks for no settings and no credentials.", []string{"part", "key", "type", "needed", "hint"}, rows)
}

func needed(required bool) string {
	if required {
		return "yes"
	}
	return "no"
}

func (p *program) connectorPut() *cobra.Command {
	c := command("put FILE", "Store a connector document (YAML or JSON; - for standard input)", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		document, err := p.readDocument(args[0])
		if err != nil {
			return err
		}
		// Whether a host may be spoken to in plain http is the server's setting.
		parsed, faults := catalog.Parse(args[0], document, catalog.Options{AllowPlain: func(string) bool { return true }})
		if len(faults) > 0 {
			p.printFaults(args[0], faults)
			return failed(exitFailure)
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		stored, err := c.PutConnector(ctx, parsed.Key, document)
		if err != nil {
			return err
		}
		return p.show(stored, func() {
			p.printf("Stored %s, version %d.\n", escape(stored.Key), stored.Version)
			for _, change := range stored.Changes {
				mark := ""
				if change.Security {
					mark = " (security)"
				}
				p.printf("  %s: %s -> %s%s\n", escape(change.Path), escape(change.Old), escape(change.New), mark)
			}
		})
	})
	return c
}

func (p *program) connectorLint() *cobra.Command {
	var strict bool
	var plain []string
	c := command("lint FILE...", "Check connector documents, without a server", cobra.MinimumNArgs(1), func(_ context.Context, args []string) error {
		return p.lint(args, strict, func(host string) bool { return slices.Contains(plain, host) })
	})
	c.Long = "Lint explains each fault of a document with its line and column. What is valid but would\n" +
		"not do for the built-in catalogue is a warning, or with --strict a fault."
	c.Flags().BoolVar(&strict, "strict", false, "take warnings for faults")
	c.Flags().StringArrayVar(&plain, "plain-http", nil, "`host` that the server opens with CLAVIGER_EGRESS_ALLOW, and plain http may be spoken to")
	return c
}

// lintFault is a fault as JSON.
type lintFault struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path,omitempty"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Warning bool   `json:"warning"`
}

// knownScheme reports whether a webhook scheme is built in.
func knownScheme(key string) bool {
	_, err := fs.Stat(connectors.Webhooks, "webhooks/"+key+".yaml")
	return err == nil
}

func (p *program) lint(files []string, strict bool, plain func(host string) bool) error {
	all, wrong := []lintFault{}, false
	for _, file := range files {
		document, err := p.readDocument(file)
		if err != nil {
			return err
		}
		faults := catalog.Lint(file, document, catalog.Options{AllowPlain: plain, WebhookScheme: knownScheme})
		for _, f := range faults {
			warning := f.Code == catalog.CodePractice && !strict
			wrong = wrong || !warning
			all = append(all, lintFault{file, f.Line, f.Column, f.Path, f.Code, f.Message, f.Hint, warning})
		}
		if !p.json {
			p.printFaults(file, faults)
		}
	}
	err := p.show(all, func() {})
	if err == nil && wrong {
		return failed(exitFailure)
	}
	return err
}

// printFaults writes "file:line:column: message", which editors can follow.
func (p *program) printFaults(file string, faults []catalog.Fault) {
	for _, f := range faults {
		place := fmt.Sprintf("%d:%d: ", f.Line, f.Column)
		text := strings.TrimPrefix(f.String(), place)
		if f.Code == catalog.CodePractice {
			place += "warning: "
		}
		_, _ = fmt.Fprintf(p.stderr, "%s:%s%s\n", escape(file), place, escape(text))
	}
}

func (p *program) readDocument(file string) ([]byte, error) {
	if file == "-" {
		return p.readAll()
	}
	f, err := os.Open(filepath.Clean(file))
	if err != nil {
		return nil, usagef("%s", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, usagef("%s", err)
	}
	if len(b) > maxDocument {
		return nil, usagef("%s is larger than 256 KiB.", file)
	}
	return b, nil
}
