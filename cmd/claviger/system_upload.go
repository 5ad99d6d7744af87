package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
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
	return p.show(out, func() { p.printUploaded(out) })
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

func (p *program) printUploaded(out uploadReport) {
	switch {
	case out.Created:
		p.printf("Uploaded %s, version %d.\n", escape(out.SystemKey), out.Version)
	case len(out.Changes) == 0:
		p.printf("Nothing has changed: %s is at version %d.\n", escape(out.SystemKey), out.Version)
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

func (p *program) downloadCommand() *cobra.Command {
	var version int
	var force bool
	c := command("download SYSTEM", "Write what the server holds of a system to files", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		b, s, err := storedSystem(ctx, c, args[0], version)
		if err != nil {
			return err
		}
		if !systemKey.MatchString(s.Key) { // it names the folder
			return usagef("The server calls the system %q, which is no name for a folder.", s.Key)
		}
		files, err := downloaded(b, s)
		if err != nil {
			return err
		}
		if err := writeDownloaded(files, force); err != nil {
			return err
		}
		names := make([]string, len(files))
		for i, f := range files {
			names[i] = filepath.ToSlash(f.name)
		}
		return p.show(map[string]any{"systemKey": s.Key, "version": s.Version, "files": names}, func() {
			for _, n := range names {
				p.printf("Wrote %s\n", escape(n))
			}
			p.printf("%s, version %d.\n", escape(s.Key), s.Version)
		})
	})
	c.Flags().IntVar(&version, "version", 0, "a version; default: the present one")
	c.Flags().BoolVar(&force, "force", false, "write over files that say something else")
	c.ValidArgsFunction = p.completeSystems
	return c
}

// textFile is a file to be written.
type textFile struct {
	name string
	text []byte
}

// downloaded answers the files of a system: its documents as readable JSON with sorted
// keys, the same for the same version, and env.template.
func downloaded(b *manifest.Bundle, s api.System) ([]textFile, error) {
	folder := filepath.Join(integrations, s.Key)
	var out []textFile
	add := func(name string, document json.RawMessage) error {
		var text bytes.Buffer
		if err := json.Indent(&text, document, "", "  "); err != nil {
			return fmt.Errorf("the server's document cannot be read: %w", err)
		}
		text.WriteByte('\n')
		out = append(out, textFile{filepath.Join(folder, name+".json"), text.Bytes()})
		return nil
	}
	if err := add(s.Key+"-system", s.System); err != nil {
		return nil, err
	}
	for i := range b.DataSources {
		key := b.DataSources[i].Key
		if !systemKey.MatchString(key) || key == s.Key+"-system" {
			return nil, usagef("The server calls a data source %q, which is no name for a file.", key)
		}
		if err := add(key, b.DataSourceDocument(i)); err != nil {
			return nil, err
		}
	}
	return append(out, textFile{filepath.Join(folder, "env.template"), b.EnvTemplate()}), nil
}

// writeDownloaded writes files; those that are there and differ only if forced. A
// document that is there in another format stays where it is and keeps all others from
// being written: a system with two documents is not valid.
func writeDownloaded(files []textFile, force bool) error {
	for _, f := range files {
		for _, other := range []string{".yaml", ".yml"} {
			twin := strings.TrimSuffix(f.name, ".json") + other
			if _, err := os.Stat(twin); err == nil && strings.HasSuffix(f.name, ".json") {
				return usageError{message: fmt.Sprintf("%s is there already, as YAML. Download writes JSON.", twin), hint: "Move it away first."}
			}
		}
		was, err := os.ReadFile(f.name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && !force && !bytes.Equal(was, f.text) {
			return usageError{message: f.name + " says something else. Nothing was written.", hint: "Compare with claviger system diff, or write over it with --force."}
		}
	}
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f.name), 0o755); err != nil {
			return err
		}
		if err := replaceDocument(f.name, f.text); err != nil {
			return err
		}
	}
	return nil
}
