package main

import (
	"context"
	"iter"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

const (
	completionTime = 2 * time.Second // a person is waiting for the tab key
	completionMost = 200
)

// completeFlag gives a flag its values. The flag exists: it is named in the code
// above each call.
func (p *program) completeFlag(c *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic("claviger: no such flag to complete: " + flag)
	}
}

// oneOf offers fixed values.
func oneOf(values ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
}

// completeProfiles offers the names of stored logins. They are read from the folder: no
// file is opened.
func (p *program) completeProfiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	dir, err := p.configDir()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	files, _ := filepath.Glob(filepath.Join(dir, "claviger", "profile-*.yaml")) // the pattern is well-formed
	for i, f := range files {
		files[i] = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "profile-"), ".yaml")
	}
	return files, cobra.ShellCompDirectiveNoFileComp
}

// The completions below ask the server; where none answers they offer nothing and
// say nothing, because their output is the shell's input.

func (p *program) completeConnectors(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return complete(c, p, prefix, func(ctx context.Context, s *client.Client) iter.Seq2[api.Connector, error] {
		return s.Connectors(ctx, client.ConnectorQuery{})
	}, func(k api.Connector) (string, string) { return k.Key, k.Name })
}

func (p *program) completeConnections(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return complete(c, p, prefix, func(ctx context.Context, s *client.Client) iter.Seq2[api.Connection, error] {
		return s.Connections(ctx, client.ConnectionQuery{})
	}, func(x api.Connection) (string, string) { return x.ID, x.Connector + " " + x.Name })
}

func (p *program) completeSecrets(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return complete(c, p, prefix, func(ctx context.Context, s *client.Client) iter.Seq2[api.Secret, error] {
		return s.Secrets(ctx, prefix)
	}, func(x api.Secret) (string, string) { return x.Path, "" })
}

func (p *program) completeKeys(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return complete(c, p, prefix, func(ctx context.Context, s *client.Client) iter.Seq2[api.APIKey, error] {
		return s.APIKeys(ctx)
	}, func(k api.APIKey) (string, string) { return k.ID, k.Name })
}

func (p *program) completeActions(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	connector, _, _ := strings.Cut(prefix, ".")
	if !strings.Contains(prefix, ".") {
		connector = ""
	}
	return complete(c, p, prefix, func(ctx context.Context, s *client.Client) iter.Seq2[api.Action, error] {
		return s.Actions(ctx, connector, "")
	}, func(a api.Action) (string, string) { return a.ActionIdentifier, a.Name })
}

func complete[T any](c *cobra.Command, p *program, prefix string, list func(context.Context, *client.Client) iter.Seq2[T, error], of func(T) (value, note string)) ([]string, cobra.ShellCompDirective) {
	parent := c.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completionTime)
	defer cancel()
	server, err := p.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	items, err := client.Collect(list(ctx, server), completionMost)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, item := range items {
		value, note := of(item)
		if strings.HasPrefix(value, prefix) && value == escape(value) {
			out = append(out, cobra.CompletionWithDesc(value, escape(note)))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
