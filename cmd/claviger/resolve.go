package main

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"claviger"
	"claviger/client"
)

// envValue is one line of env.template and whether the server has a value for it.
type envValue struct {
	Name      string `json:"name"`
	Reference string `json:"reference"`
	Exists    bool   `json:"exists"`
}

// resolveCommand tells which references of env.template there are values for. It asks for
// their existence alone: no value leaves the server.
func (p *program) resolveCommand() *cobra.Command {
	c := command("resolve SYSTEM", "Show which references of a system's env.template have a value", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		b, err := p.loadSystem(args[0])
		if err != nil {
			return err
		}
		file := integrations + "/" + args[0] + "/env.template"
		entries, faults := b.Env()
		if len(faults) > 0 {
			return p.showFaults(file, validation(faults))
		}
		if len(entries) == 0 && len(b.References()) > 0 {
			return claviger.Errorf(claviger.KindNotFound, "", "%s does not name the references of the system. Let it do so with: claviger repair %s", file, args[0])
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		out, missing := []envValue{}, []string(nil)
		for _, e := range entries {
			path, secret := strings.CutPrefix(e.Reference, claviger.SecretScheme)
			if !secret {
				continue // the address of a service
			}
			there, err := exists(c, ctx, path)
			if err != nil {
				return err
			}
			if !there {
				missing = append(missing, e.Reference)
			}
			out = append(out, envValue{e.Name, e.Reference, there})
		}
		err = p.show(out, func() {
			table(p, file+" names no reference.", []string{"name", "reference", "value"}, out, func(r envValue) []string {
				return []string{r.Name, r.Reference, map[bool]string{true: "there", false: "missing"}[r.Exists]}
			})
			p.printValuesToSet("Values that are missing:", missing)
		})
		if err == nil && len(missing) > 0 {
			return failed(exitFailure)
		}
		return err
	})
	c.Long = "Resolve reads integration/SYSTEM/env.template and asks the server which of its references have a\n" +
		"value. Values are neither shown nor written. A missing one makes the exit code 1."
	c.ValidArgsFunction = completeFolders
	return c
}

func exists(c *client.Client, ctx context.Context, path string) (bool, error) {
	_, err := c.Secret(ctx, path)
	var e *client.Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}
