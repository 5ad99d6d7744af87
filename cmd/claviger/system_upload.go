package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
	"claviger/internal/manifest"
)

// uploadReport is an upload as JSON: what the server answered, and what is left to do.
type uploadReport struct {
	api.SystemUploaded
	AuthenticationURL string   `json:"authenticationUrl"` // where a person gives the values
	MissingValues     []string `json:"missingValues"`     // kv:// references
}

func (p *program) uploadCommand() *cobra.Command {
	var yes, dry bool
	var workspace string
	c := command("upload SYSTEM", "Upload a system's files, after showing what changes", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		b, err := p.loadSystem(args[0])
		if err != nil {
			return err
		}
		if v := faultsOf(b, serversPolicy()); !v.Valid {
			return p.showFaults(integrations+"/"+args[0], v)
		}
		body := api.SystemUpload{WorkspaceID: workspace, DryRun: true}
		if err := json.Unmarshal(b.Document(), &body); err != nil {
			return err
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		return p.upload(ctx, c, args[0], body, dry, yes)
	})
	c.Long = "Upload checks integration/SYSTEM/, shows what differs from the server's version and uploads it as\n" +
		"the next one. Changes that matter for security are marked with ! and want your word, or --yes;\n" +
		"without a terminal and without --yes the exit code is 5. Only references to secrets are uploaded."
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&dry, "dry-run", false, "show what would change, and upload nothing")
	c.Flags().StringVar(&workspace, "workspace", "", "id of the workspace of its connections; default: the workspace \"default\"")
	c.ValidArgsFunction = completeFolders
	return c
}

// upload asks what would change, then for consent if that matters, then makes it so,
// provided that nothing else has come between.
func (p *program) upload(ctx context.Context, c *client.Client, key string, body api.SystemUpload, dry, yes bool) error {
	plan, err := c.PutSystem(ctx, key, body)
	if err != nil {
		return err
	}
	if !p.json {
		p.printPlan(plan)
	}
	asked := slices.ContainsFunc(plan.Changes, func(x api.SystemChange) bool { return x.Security })
	if asked && !yes && !dry {
		if err := p.agreeUpload(plan); err != nil {
			return err
		}
	}
	if dry {
		return p.show(plan, func() {})
	}
	body.DryRun, body.ExpectedVersion = false, &plan.Version
	done, err := c.PutSystem(ctx, key, body)
	if err != nil {
		return err
	}
	slots, err := c.Slots(ctx, key)
	if err != nil {
		return err
	}
	out := uploadReport{SystemUploaded: done, AuthenticationURL: p.server + "/console/systems/" + url.PathEscape(key) + "?tab=authentication", MissingValues: []string{}}
	out.MissingValues = append(out.MissingValues, missingValues(slots)...)
	return p.show(out, func() { p.printUploaded(out, plan.Version) })
}

// agreeUpload wants a person's word. Without a person it is a refusal.
func (p *program) agreeUpload(plan api.SystemUploaded) error {
	if _, person := p.terminal(); !person {
		if p.json {
			if err := p.show(plan, func() {}); err != nil {
				return err
			}
		}
		p.complain("Changes that matter for security want a person's word, and there is no terminal to ask on. Nothing was uploaded.", "Look at them and repeat with --yes.")
		return failed(exitRefused)
	}
	word, err := p.prompt("Some of that matters for security. Upload it? Type yes", "--yes", false)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(word)) != "yes" {
		p.complain("Nothing was uploaded.", "")
		return failed(exitRefused)
	}
	return nil
}

func (p *program) printPlan(plan api.SystemUploaded) {
	for _, f := range plan.Warnings {
		p.printf("%s\n", faultLine(f))
	}
	p.printChanges(plan.Changes)
	for _, ref := range plan.Dropped {
		p.printf("! %s: its value was given for another destination and is to be set again\n", escape(ref))
	}
}

// printChanges prints one line for each change: + new, - gone, ~ changed, and ! before
// what matters for security.
func (p *program) printChanges(changes []api.SystemChange) {
	for _, x := range changes {
		mark, text := "~", x.Path+": "+brief(x.Old)+" -> "+brief(x.New)
		switch {
		case x.Old == "":
			mark, text = "+", x.Path+": "+brief(x.New)
		case x.New == "":
			mark, text = "-", x.Path+": "+brief(x.Old)
		}
		if x.Security {
			mark, text = "! "+mark, text+" ("+x.Reason+")"
		} else {
			mark = "  " + mark
		}
		p.printf("%s %s\n", mark, escape(text))
	}
}

// brief cuts a value to what a line has room for.
func brief(s string) string {
	const room = 100
	if len(s) <= room {
		return s
	}
	s = s[:room]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "..."
}

func (p *program) printUploaded(out uploadReport, before int) {
	switch {
	case out.Created:
		p.printf("Uploaded %s, version %d.\n", escape(out.SystemKey), out.Version)
	case out.Version == before:
		p.printf("Nothing has changed: %s is at version %d.\n", escape(out.SystemKey), out.Version)
	case len(out.Changes) == 0:
		p.printf("Uploaded %s, version %d: written in another way, it means what it meant.\n", escape(out.SystemKey), out.Version)
	default:
		p.printf("Uploaded %s, version %d: %d changes.\n", escape(out.SystemKey), out.Version, len(out.Changes))
	}
	p.printf("Authentication: %s\n", escape(out.AuthenticationURL))
	p.printValuesToSet("Values that are missing:", out.MissingValues)
}

// storedSystem answers what the server holds of a system.
func storedSystem(ctx context.Context, c *client.Client, key string, version int) (*manifest.Bundle, api.System, error) {
	s, err := c.System(ctx, key, version)
	if err != nil {
		return nil, s, err
	}
	parts := make([]manifest.Part, len(s.DataSources))
	for i, d := range s.DataSources {
		parts[i] = manifest.Part{Name: fmt.Sprintf("dataSources.%d", i), Data: d}
	}
	return manifest.Parse(manifest.Part{Name: "system", Data: s.System}, parts), s, nil
}

func (p *program) diffCommand() *cobra.Command {
	c := command("diff SYSTEM", "Show how a system's files differ from what the server holds", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		local, err := p.loadSystem(args[0])
		if err != nil {
			return err
		}
		if local.Document() == nil {
			return p.showFaults(integrations+"/"+args[0], faultsOf(local, serversPolicy()))
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		remote, _, err := storedSystem(ctx, c, args[0], 0)
		if err != nil {
			return err
		}
		changes := []api.SystemChange{}
		for _, x := range manifest.Diff(remote, local) {
			changes = append(changes, api.SystemChange{Path: x.Path, Old: x.Old, New: x.New, Security: x.Security, Reason: x.Reason})
		}
		err = p.show(changes, func() {
			if len(changes) == 0 {
				p.printf("There is no difference.\n")
			}
			p.printChanges(changes)
		})
		if err == nil && len(changes) > 0 {
			return failed(exitFailure)
		}
		return err
	})
	c.Long = "Diff compares by meaning: the order of keys does not count. A difference makes the exit code 1."
	c.ValidArgsFunction = completeFolders
	return c
}
