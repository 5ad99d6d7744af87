package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"claviger"
	"claviger/connectors"
	"claviger/internal/catalog"
	"claviger/internal/rehearse"
)

func (p *program) connectorTest() *cobra.Command {
	var simulated, all bool
	c := command("test --simulated KEY|FILE...", "Run connectors against vendors made from their own documents", nil, func(ctx context.Context, args []string) error {
		switch {
		case !simulated:
			return usageError{message: "connector test needs --simulated.", hint: "a connection is tested against its vendor with claviger connection test"}
		case all != (len(args) == 0):
			return usagef("Name connectors or files, or give --all.")
		}
		return p.rehearse(ctx, args)
	})
	c.Long = "Test takes each connector through connect, call, expire, refresh and revoke against a\n" +
		"vendor that is made from its document, over TLS on loopback; no server is needed and no\n" +
		"vendor is reached. KEY is a built-in connector, FILE a document. A step that the document\n" +
		"declares none of is none. A failure makes the exit code 1."
	c.Flags().BoolVar(&simulated, "simulated", false, "against the simulated vendor")
	c.Flags().BoolVar(&all, "all", false, "all built-in connectors")
	return c
}

// rehearsedStep is a step as JSON.
type rehearsedStep struct {
	Connector  string           `json:"connector"`
	AuthMethod string           `json:"authMethod,omitempty"`
	Step       string           `json:"step"`
	Outcome    rehearse.Outcome `json:"outcome"`
	Calls      int              `json:"calls"`
	Why        string           `json:"why,omitempty"`
}

// rehearse runs the named connectors, or all built-in ones, and prints every step.
func (p *program) rehearse(ctx context.Context, names []string) (err error) {
	subjects, err := p.subjects(names)
	if err != nil {
		return err
	}
	world, err := rehearse.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	steps, passed := []rehearsedStep{}, 0
	for _, conn := range subjects {
		if err := ctx.Err(); err != nil {
			return err
		}
		report, err := world.Run(ctx, conn)
		if err != nil {
			steps = append(steps, rehearsedStep{Connector: conn.Key, Step: "simulate", Outcome: rehearse.Failed, Why: err.Error()})
			continue
		}
		if report.Err() == nil {
			passed++
		}
		for _, s := range report.Steps {
			steps = append(steps, rehearsedStep{conn.Key, s.Method, s.Name, s.Outcome, s.Calls, s.Why})
		}
	}
	err = p.show(steps, func() {
		rows := make([][]string, len(steps))
		for i, s := range steps {
			rows[i] = []string{s.Connector, s.AuthMethod, s.Step, string(s.Outcome), s.Why}
		}
		p.table("Nothing was run.", []string{"connector", "auth", "step", "outcome", "why"}, rows)
		p.printf("\n%d of %d connectors passed.\n", passed, len(subjects))
	})
	if err == nil && passed < len(subjects) {
		return failed(exitFailure)
	}
	return err
}

// subjects answers the connectors of the given keys and files, all built-in ones for
// none. A name with a dot or a separator is a file's; no key has either.
func (p *program) subjects(names []string) ([]*claviger.Connector, error) {
	builtin, err := catalog.Load(connectors.Files, catalog.Options{})
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return builtin.List(catalog.Filter{}), nil
	}
	var out []*claviger.Connector
	for _, name := range names {
		if !strings.ContainsAny(name, `./\`) {
			conn, ok := builtin.Get(name)
			if !ok {
				return nil, usageError{message: fmt.Sprintf("There is no built-in connector %s.", name), hint: "a file is named with its path, as in ./acme.yaml"}
			}
			out = append(out, conn)
			continue
		}
		document, err := p.readDocument(name)
		if err != nil {
			return nil, err
		}
		conn, faults := catalog.Parse(name, document, catalog.Options{})
		if len(faults) > 0 {
			p.printFaults(name, faults)
			return nil, failed(exitFailure)
		}
		out = append(out, conn)
	}
	return out, nil
}
