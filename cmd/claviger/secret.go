package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

func (p *program) secretCommand() *cobra.Command {
	return group("secret", "Values that credentials refer to as kv://path", p.secretSet(), p.secretGet(), p.secretList(), p.secretRemove())
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
	c.Flags().BoolVar(&stdin, "stdin", false, "read the value from standard input")
	return c
}

func (p *program) secretGet() *cobra.Command {
	var exists bool
	c := command("get PATH", "Show what is known of a secret; its value is never shown", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		s, err := c.Secret(ctx, args[0])
		if err != nil {
			return err
		}
		if exists && !p.json {
			return nil
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
	c.Flags().BoolVar(&exists, "exists", false, "print nothing: exit 0 if it exists, 4 if not")
	return c
}

func (p *program) secretList() *cobra.Command {
	var prefix string
	c := command("list", "List secrets by path", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		list, err := client.Collect(c.Secrets(ctx, prefix), 0)
		if err != nil {
			return err
		}
		return p.show(list, func() {
			rows := make([][]string, len(list))
			for i, s := range list {
				rows[i] = []string{s.Path, strconv.FormatInt(s.Version, 10), strconv.Itoa(len(s.UsedBy)), when(&s.UpdatedAt)}
			}
			p.table("No secrets.", []string{"path", "version", "used by", "updated"}, rows)
		})
	})
	c.Flags().StringVar(&prefix, "prefix", "", "beginning of the paths")
	return c
}

func (p *program) secretRemove() *cobra.Command {
	return command("remove PATH", "Destroy a secret", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		gone, err := c.DeleteSecret(ctx, args[0])
		return p.deleted(gone, err)
	})
}
