package main

import (
	"context"
	"iter"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

func (p *program) secretCommand() *cobra.Command {
	return group("secret", "Values that credentials refer to as kv://path", p.secretSet(), p.secretGet(), p.secretList(),
		p.remove("remove PATH", "Destroy a secret", p.completeSecrets, (*client.Client).DeleteSecret))
}

func (p *program) secretSet() *cobra.Command {
	var stdin bool
	c := command("set PATH", "Store a value, from a prompt without echo or standard input", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		// A pipe needs no flag: there is nothing else to do with it.
		if _, person := p.terminal(); !person {
			stdin = true
		}
		value, err := p.readSecret(stdin, "--stdin", "Value of "+args[0])
		if err != nil {
			return err
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		var s api.Secret
		value.Use(func(b []byte) { s, err = c.PutSecret(ctx, args[0], string(b)) })
		if err != nil {
			return err
		}
		return p.show(s, func() { p.printf("Stored %s, version %d.\n", escape(s.Path), s.Version) })
	})
	c.ValidArgsFunction = p.completeSecrets
	c.Flags().BoolVar(&stdin, "stdin", false, "read the value from standard input")
	return c
}

// existence is the answer to "get --exists".
type existence struct {
	Path   string `json:"path"`
	Exists bool   `json:"exists"`
}

func (p *program) secretGet() *cobra.Command {
	var only bool
	c := command("get PATH", "Show what is known of a secret; its value is never shown", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		if only {
			there, err := tried(ctx, p, "", args[0], exists)
			if err == nil {
				err = p.show(existence{args[0], there}, func() {})
			}
			if err == nil && !there {
				return failed(exitNotFound)
			}
			return err
		}
		s, err := tried(ctx, p, "", args[0], (*client.Client).Secret)
		if err != nil {
			return err
		}
		return p.show(s, func() {
			p.fields([][2]string{
				{"path", s.Path},
				{"version", strconv.FormatInt(s.Version, 10)},
				{"used by", strings.Join(s.UsedBy, " ")},
				{"created", when(&s.CreatedAt)},
				{"updated", when(&s.UpdatedAt)},
			})
		})
	})
	c.Flags().BoolVar(&only, "exists", false, "print nothing (with --json the answer): exit 0 if it exists, 4 if not")
	c.ValidArgsFunction = p.completeSecrets
	return c
}

func (p *program) secretList() *cobra.Command {
	var prefix string
	c := listing[api.Secret]{
		use: "list", short: "List secrets by path", args: cobra.NoArgs,
		items: func(ctx context.Context, c *client.Client, _ []string) iter.Seq2[api.Secret, error] {
			return c.Secrets(ctx, prefix)
		},
		none: "No secrets.", heading: []string{"path", "version", "used by", "updated"},
		row: func(s api.Secret) []string {
			return []string{s.Path, strconv.FormatInt(s.Version, 10), strconv.Itoa(len(s.UsedBy)), when(&s.UpdatedAt)}
		},
	}.command(p)
	c.Flags().StringVar(&prefix, "prefix", "", "beginning of the paths")
	return c
}
