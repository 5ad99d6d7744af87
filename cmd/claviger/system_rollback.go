package main

import (
	"context"

	"github.com/spf13/cobra"

	"claviger/api"
)

// systemRollback uploads what the server keeps of an older version, with the same questions
// as any other upload: an older manifest may lead a credential elsewhere too.
func (p *program) systemRollback() *cobra.Command {
	var yes, dry bool
	var version int
	c := command("rollback SYSTEM", "Make an older version's manifest the next version, after showing what changes", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		if version < 1 {
			return usagef("--version is 1 or more: claviger system show %s tells the present one.", args[0])
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		old, err := c.System(ctx, args[0], version)
		if err != nil {
			return err
		}
		return p.upload(ctx, c, args[0], api.SystemUpload{System: old.System, DataSources: old.DataSources, DryRun: true}, dry, yes)
	})
	c.Long = "Rollback uploads an older version as the next one; the versions between them stay. As with upload,\n" +
		"changes that matter for security are marked with ! and want your word, or --yes. Files here stay\n" +
		"as they are: claviger system download brings them to what the server has."
	f := c.Flags()
	f.IntVar(&version, "version", 0, "the `version` to go back to (required)")
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.BoolVar(&dry, "dry-run", false, "show what would change, and change nothing")
	require(c, "version")
	c.ValidArgsFunction = p.completeSystems
	return c
}
