package main

import (
	"context"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

// command makes a command of a group.
func command(use, short string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(c *cobra.Command, args []string) error { return run(c.Context(), args) }}
}

func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(commands...)
	return c
}

// require makes flags required. They exist: they are named in the code above each call.
func require(c *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := c.MarkFlagRequired(name); err != nil {
			panic("claviger: no such flag to require: " + name)
		}
	}
}

// ask makes a command that asks the server one thing and prints the answer.
func ask[T any](p *program, use, short string, args cobra.PositionalArgs,
	call func(ctx context.Context, c *client.Client, args []string) (T, error), text func(T),
) *cobra.Command {
	c := command(use, short, args, func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		v, err := call(ctx, c, args)
		if err != nil {
			return err
		}
		return p.show(v, func() { text(v) })
	})
	c.ValidArgsFunction = cobra.NoFileCompletions
	return c
}

// call asks the server one thing about what a name stands for: a method of the client.
type call[T any] func(c *client.Client, ctx context.Context, name string) (T, error)

// optional is the call of a method that takes options, with none.
func optional[T any](method func(*client.Client, context.Context, string, ...client.CallOption) (T, error)) call[T] {
	return func(c *client.Client, ctx context.Context, name string) (T, error) { return method(c, ctx, name) }
}

// askOf makes a command of one argument that makes one call about it and prints the answer.
func askOf[T any](p *program, use, short string, complete cobra.CompletionFunc, call call[T], text func(T)) *cobra.Command {
	c := ask(p, use, short, cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) (T, error) {
		return call(c, ctx, args[0])
	}, text)
	c.ValidArgsFunction = complete
	return c
}

// remove makes a command that ends what its argument names.
func (p *program) remove(use, short string, complete cobra.CompletionFunc, call call[api.Deleted]) *cobra.Command {
	return askOf(p, use, short, complete, call, func(gone api.Deleted) { p.printf("Deleted %s.\n", escape(gone.ID)) })
}

// try makes a command that has the server try what its argument names, which may take
// long: it says so first. What did not pass makes the exit code 1.
func try[T any](p *program, use, short, saying string, complete cobra.CompletionFunc, call call[T], text func(T), passed func(T) bool) *cobra.Command {
	c := command(use, short, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		v, err := tried(ctx, p, saying, args[0], call)
		if err != nil {
			return err
		}
		if err := p.show(v, func() { text(v) }); err != nil {
			return err
		}
		if !passed(v) {
			return failed(exitFailure)
		}
		return nil
	})
	c.ValidArgsFunction = complete
	return c
}

// tried makes a call and says meanwhile what is going on; nothing if saying is empty.
func tried[T any](ctx context.Context, p *program, saying, name string, call call[T]) (v T, err error) {
	c, err := p.connect()
	if err != nil {
		return v, err
	}
	tell := p.progress()
	if saying != "" {
		tell.say(saying + " " + name)
	}
	v, err = call(c, ctx, name)
	tell.end()
	return v, err
}

// listing is a command that lists things, one a line.
type listing[T any] struct {
	use, short string
	args       cobra.PositionalArgs
	most       int // how many, unless --limit says otherwise; 0: all
	items      func(ctx context.Context, c *client.Client, args []string) iter.Seq2[T, error]
	none       string // what is printed if there are none
	heading    []string
	row        func(T) []string
}

func (l listing[T]) command(p *program) *cobra.Command {
	limit := l.most
	c := ask(p, l.use, l.short, l.args, func(ctx context.Context, c *client.Client, args []string) ([]T, error) {
		return client.Collect(l.items(ctx, c, args), limit)
	}, func(list []T) { table(p, l.none, l.heading, list, l.row) })
	c.Flags().IntVar(&limit, "limit", l.most, "at most this many; 0: all")
	return c
}

// table prints one row for each item, or the sentence none if there are no items.
func table[T any](p *program, none string, heading []string, items []T, row func(T) []string) {
	rows := make([][]string, len(items))
	for i, item := range items {
		rows[i] = row(item)
	}
	p.table(none, heading, rows)
}

// moment is the value of a flag that takes a time, or an age before now.
type moment struct{ at *time.Time }

// String implements pflag.Value.
func (m moment) String() string { return when(m.at) }

// Type implements pflag.Value.
func (moment) Type() string { return "time" }

// Set implements pflag.Value.
func (m moment) Set(text string) error {
	if age, err := time.ParseDuration(text); err == nil {
		*m.at = time.Now().Add(-age)
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return usagef("it takes a time such as 2026-11-22T01:00:00Z, or an age such as 24h")
	}
	*m.at = at
	return nil
}

// when prints a moment for a person.
func when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
