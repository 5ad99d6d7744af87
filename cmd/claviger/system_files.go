package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"claviger"
	"claviger/api"
	"claviger/connectors"
	"claviger/internal/catalog"
	"claviger/internal/manifest"
)

// integrations is the folder, below the present one, that holds a folder per system.
const integrations = "integration"

// loadSystem reads the files of a system.
func (p *program) loadSystem(key string) (*manifest.Bundle, error) {
	if !fs.ValidPath(key) || key == "." || strings.Contains(key, "/") {
		return nil, usagef("%q is no key of a system.", key)
	}
	b, err := manifest.Load(os.DirFS("."), key)
	if claviger.IsKind(err, claviger.KindNotFound) {
		return nil, claviger.Errorf(claviger.KindNotFound, "", "%s Make one with: claviger system create %s; or get it from the server with: claviger system download %s",
			claviger.AsError(err).Message, key, key)
	}
	return b, err
}

// faultsOf checks a system's files as an upload would, but for what only the server
// knows: its policy.
func faultsOf(b *manifest.Bundle, policy manifest.Policy) api.SystemValidation {
	return validation(manifest.Validate(b, policy))
}

// validation answers faults as the server does.
func validation(faults []manifest.Fault) api.SystemValidation {
	out := api.SystemValidation{Object: "system_validation", Valid: manifest.Valid(faults), Faults: []api.SystemFault{}}
	for _, f := range faults {
		out.Faults = append(out.Faults, api.SystemFault{
			File: f.File, Line: f.Line, Column: f.Column, Pointer: f.Pointer, Code: f.Code, Message: f.Message, Hint: f.Hint,
			Severity: string(f.Severity), Repair: f.Repair,
		})
	}
	return out
}

// serversPolicy is for checks before an upload: the server says which hosts it opened for
// plain http, and whether background work may use a service's api slot.
func serversPolicy() manifest.Policy {
	return manifest.Policy{AllowPlain: func(string) bool { return true }, ServiceFallback: true}
}

// builtinKey says why a system cannot have a key: a built-in connector has it.
func builtinKey(key string) error {
	builtin, err := catalog.Load(connectors.Files, catalog.Options{})
	if err != nil {
		return err
	}
	return builtin.CheckKey(key)
}

// faultLine writes "file:line:column: message", which editors can follow.
func faultLine(f api.SystemFault) string {
	return escape(manifest.Fault{
		File: f.File, Line: f.Line, Column: f.Column, Pointer: f.Pointer, Message: f.Message, Hint: f.Hint,
		Severity: manifest.Severity(f.Severity), Repair: f.Repair,
	}.String())
}

// verdict sums up what was found.
func verdict(what string, v api.SystemValidation) string {
	n := map[string]int{}
	for _, f := range v.Faults {
		n[f.Severity]++
	}
	if v.Valid {
		return fmt.Sprintf("%s is valid, warnings: %d.", what, n["warning"])
	}
	return fmt.Sprintf("%s is not valid. Errors: %d, warnings: %d.", what, n["error"], n["warning"])
}

// showFaults prints what was found; a manifest that is not valid makes the exit code 1.
func (p *program) showFaults(what string, v api.SystemValidation) error {
	err := p.show(v, func() {
		for _, f := range v.Faults {
			p.printf("%s\n", faultLine(f))
		}
		p.printf("%s\n", escape(verdict(what, v)))
	})
	if err == nil && !v.Valid {
		return failed(exitFailure)
	}
	return err
}

func (p *program) validateCommand() *cobra.Command {
	var watch, fallback bool
	var plain []string
	c := command("validate SYSTEM", "Check a system's files, without a server", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		check := func() (api.SystemValidation, error) {
			b, err := p.loadSystem(args[0])
			if err != nil {
				return api.SystemValidation{}, err
			}
			return faultsOf(b, manifest.Policy{
				AllowPlain: func(host string) bool { return slices.Contains(plain, host) }, ServiceFallback: fallback, KeyTaken: builtinKey,
			}), nil
		}
		what := integrations + "/" + args[0]
		if watch {
			return p.watchFiles(ctx, what, check)
		}
		v, err := check()
		if err != nil {
			return err
		}
		return p.showFaults(what, v)
	})
	c.Long = "Validate reads integration/SYSTEM/ and explains each fault with its file, line and column, and\n" +
		"with the command that mends it where there is one. It asks no server."
	c.Flags().BoolVar(&watch, "watch", false, "go on, and print what changes whenever a file does")
	c.Flags().StringArrayVar(&plain, "plain-http", nil, "`host` that the server opens with CLAVIGER_EGRESS_ALLOW, and plain http may be spoken to")
	c.Flags().BoolVar(&fallback, "sync-fallback", false, "the organization lets background work use an api slot that needs no person")
	c.ValidArgsFunction = completeFolders
	return c
}

func (p *program) repairCommand() *cobra.Command {
	var opts manifest.RepairOptions
	var auth string
	var dry bool
	c := command("repair SYSTEM", "Mend a system's files", cobra.ExactArgs(1), func(_ context.Context, args []string) error {
		b, err := p.loadSystem(args[0])
		if err != nil {
			return err
		}
		opts.Auth = manifest.Method(auth)
		repaired, err := manifest.Repair(b, opts)
		if err != nil {
			return err
		}
		if !dry {
			if err := writeRepaired(repaired); err != nil {
				return err
			}
		}
		return p.showRepaired(args[0], b, repaired, dry)
	})
	c.Long = "Repair makes a single authentication block the slot default, puts references in the place of\n" +
		"literal secrets, and lets env.template name every reference. All else stays as it is written."
	c.Flags().StringVar(&auth, "auth", "", "`method` that the default api slot is to have: "+strings.Join(manifest.CallMethods(), ", "))
	c.Flags().BoolVar(&opts.Slots, "slots", false, "add a webhookInbound and a syncExecution slot where there is none")
	c.Flags().BoolVar(&dry, "dry-run", false, "print what would change, and write nothing")
	p.completeFlag(c, "auth", oneOf(manifest.CallMethods()...))
	c.ValidArgsFunction = completeFolders
	return c
}

func writeRepaired(r *manifest.Repaired) error {
	for _, f := range r.Files {
		if err := replaceDocument(filepath.FromSlash(f.Name), f.New); err != nil {
			return fmt.Errorf("write %s: %w", f.Name, err)
		}
	}
	return nil
}

// repairReport is a repair as JSON.
type repairReport struct {
	SystemKey string   `json:"systemKey"`
	DryRun    bool     `json:"dryRun"`
	Files     []string `json:"files"`
	Diff      string   `json:"diff"`
	NewPaths  []string `json:"newReferences"` // kv:// references that were not there before
	Left      int      `json:"errorsLeft"`
}

// showRepaired prints the changes, which values are to be set because of them, and how
// many faults are, or would be, left to people.
func (p *program) showRepaired(key string, before *manifest.Bundle, r *manifest.Repaired, dry bool) error {
	out := repairReport{SystemKey: key, DryRun: dry, Files: []string{}, Diff: r.Diff(), NewPaths: []string{}}
	for _, f := range r.Files {
		out.Files = append(out.Files, f.Name)
	}
	after, had := r.After(before), before.References()
	for _, ref := range after.References() {
		path := claviger.SecretScheme + ref.Path
		known := slices.ContainsFunc(had, func(r manifest.Reference) bool { return r.Path == ref.Path })
		if !known && !slices.Contains(out.NewPaths, path) {
			out.NewPaths = append(out.NewPaths, path)
		}
	}
	for _, f := range faultsOf(after, serversPolicy()).Faults {
		if f.Severity == string(manifest.Error) {
			out.Left++
		}
	}
	return p.show(out, func() {
		if len(r.Files) == 0 {
			p.printf("There is nothing to repair.\n")
		}
		for line := range strings.Lines(out.Diff) {
			p.printf("%s\n", escape(strings.TrimRight(line, "\r\n")))
		}
		p.printValuesToSet("These references are new. After the upload set their values:", out.NewPaths)
		switch {
		case out.Left > 0 && dry:
			p.printf("Errors that would be left to a person: %d.\n", out.Left)
		case out.Left > 0:
			p.printf("Errors that need a person: %d. See them with: claviger validate %s\n", out.Left, escape(key))
		}
	})
}

// printValuesToSet prints the command for each reference that waits for a value.
func (p *program) printValuesToSet(intro string, references []string) {
	if len(references) == 0 {
		return
	}
	p.printf("%s\n", intro)
	for _, r := range references {
		p.printf("  claviger secret set %s\n", escape(strings.TrimPrefix(r, claviger.SecretScheme)))
	}
}

// replaceDocument replaces a file that everybody may read, and keeps the mode that it has.
func replaceDocument(path string, text []byte) error {
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	return replaceFile(path, text, mode)
}

// replaceFile replaces a file in one step: nobody sees a part of it, and nobody reads it
// whom the mode does not let, not even for a moment.
func replaceFile(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// completeFolders offers the systems whose files are here.
func completeFolders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	entries, _ := os.ReadDir(integrations) // none offers none
	var out []string
	for _, e := range entries {
		if e.IsDir() && e.Name() == escape(e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
