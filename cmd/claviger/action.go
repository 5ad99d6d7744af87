package main

import (
	"context"
	"encoding/json"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

func (p *program) actionCommand() *cobra.Command {
	return group("action", "Typed operations of connectors", p.actionList(), p.actionRun())
}

func (p *program) actionList() *cobra.Command {
	var connector, search string
	c := listing[api.Action]{
		use: "list", short: "List actions", args: cobra.NoArgs,
		items: func(ctx context.Context, c *client.Client, _ []string) iter.Seq2[api.Action, error] {
			return c.Actions(ctx, connector, search)
		},
		none: "No actions.", heading: []string{"action", "effect", "name"},
		row: func(a api.Action) []string {
			effect := "writes"
			if a.ReadOnly {
				effect = "reads"
			}
			return []string{a.ActionIdentifier, effect, a.Name}
		},
	}.command(p)
	c.Flags().StringVar(&connector, "connector", "", "key of a connector")
	c.Flags().StringVar(&search, "search", "", "part of an identifier or name")
	p.completeFlag(c, "connector", p.completeConnectors)
	return c
}

func (p *program) actionRun() *cobra.Command {
	var connection, system, input string
	var raw bool
	c := command("run CONNECTOR.ACTION", "Run an action through a connection, or a system's api slot, and print its output", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		if (connection == "") == (system == "") {
			return usageError{message: "Give either --connection or --system.", hint: "See what there is with: claviger connection list, claviger system list"}
		}
		in, err := p.readInput(input)
		if err != nil {
			return err
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		result, err := c.RunAction(ctx, api.RunAction{ActionIdentifier: args[0], ConnectionID: connection, SystemKey: system, Input: in})
		if err != nil {
			return err
		}
		return p.printResult(result, raw)
	})
	c.Flags().StringVar(&connection, "connection", "", "id of the connection")
	c.Flags().StringVar(&system, "system", "", "key of a connected system, whose api slot is taken instead of a connection")
	c.Flags().StringVar(&input, "input", "", "input as JSON, `@file`, or - for standard input")
	c.Flags().BoolVar(&raw, "raw", false, "print the vendor's output as it came, control characters included")
	c.ValidArgsFunction = p.completeActions
	p.completeFlag(c, "connection", p.completeConnections)
	p.completeFlag(c, "system", p.completeSystems)
	return c
}

func (p *program) printResult(result api.ActionResult, raw bool) error {
	var err error
	switch {
	case raw:
		_, err = p.stdout.Write(append(result.Output, '\n'))
	default:
		err = p.show(result, func() {
			b, encodeErr := indent(result.Output)
			if encodeErr != nil {
				err = encodeErr
				return
			}
			_, err = p.stdout.Write(b)
		})
	}
	if err != nil {
		return err
	}
	if result.Status == "succeeded" {
		return nil
	}
	if !p.json {
		p.complain("The vendor answered "+strconv.Itoa(result.StatusCode)+".", "")
	}
	return failed(exitFailure)
}

// readInput reads an action's input: a JSON object.
func (p *program) readInput(arg string) (map[string]any, error) {
	text := []byte(arg)
	var err error
	switch {
	case arg == "":
		return nil, nil
	case arg == "-":
		text, err = p.readAll()
	case strings.HasPrefix(arg, "@"):
		text, err = os.ReadFile(arg[1:])
		if err != nil {
			err = usagef("%s", err)
		}
	}
	if err != nil {
		return nil, err
	}
	var in map[string]any
	if err := json.Unmarshal(text, &in); err != nil || in == nil {
		return nil, usageError{message: "The input must be a JSON object.", hint: `For example: --input '{"limit": 5}'`}
	}
	return in, nil
}

func (p *program) explainCommand() *cobra.Command {
	var in api.ExplainCall
	var input string
	c := ask(p, "explain CONNECTION", "Show what a call would do, without making it", cobra.ExactArgs(1),
		func(ctx context.Context, c *client.Client, args []string) (x api.Explanation, err error) {
			in.ConnectionID = args[0]
			if in.Input, err = p.readInput(input); err != nil {
				return x, err
			}
			return c.Explain(ctx, in)
		}, p.printExplanation)
	f := c.Flags()
	f.StringVar(&in.ActionIdentifier, "action", "", "connector.action")
	f.StringVar(&in.Method, "method", "", "method of a proxy call")
	f.StringVar(&in.Path, "path", "", "path of a proxy call, below the base URL")
	f.StringVar(&input, "input", "", "the action's input as JSON, `@file`, or - for standard input")
	c.ValidArgsFunction = p.completeConnections
	p.completeFlag(c, "action", p.completeActions)
	return c
}

func (p *program) printExplanation(x api.Explanation) {
	verdict := "allowed"
	if !x.Allowed {
		verdict = "refused: " + strings.TrimSpace(x.Code+" "+x.Message)
	}
	limit := ""
	if x.RateLimit != nil {
		limit = strconv.FormatFloat(x.RateLimit.RequestsPerSecond, 'g', -1, 64) + "/s, bursts of " + strconv.Itoa(x.RateLimit.Burst)
	}
	p.fields([][2]string{
		{"verdict", verdict},
		{"connection", strings.TrimSpace(x.ConnectionID + " " + x.Connection)},
		{"connector", x.Connector},
		{"permission", x.Verb},
		{"usage", x.Usage},
		{"call", strings.TrimSpace(x.Method + " " + x.URL)},
		{"host", x.Host},
		{"rate limit", limit},
	})
	for _, h := range sortedHeaders(x.Headers) {
		p.printf("  %s\n", escape(h))
	}
	for _, rule := range x.Policy {
		p.printf("- %s\n", escape(rule))
	}
}

func sortedHeaders(h map[string][]string) []string {
	var out []string
	for name, values := range h {
		for _, v := range values {
			out = append(out, name+": "+v)
		}
	}
	slices.Sort(out)
	return out
}
