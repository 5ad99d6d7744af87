package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Whoever asks a command for help sees a line that works as it stands.
func TestEveryCommandShowsAnExample(t *testing.T) {
	used := map[string]bool{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.RunE == nil || c.HasSubCommands() || !c.HasParent() {
			return
		}
		if c.Example == "" {
			t.Errorf("%s shows no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			used[line] = true
			line, _, _ = strings.Cut(line, " < ")
			line, _, _ = strings.Cut(line, " > ")
			root := newProgram(t).root()
			root.InitDefaultHelpCmd()
			found, args, err := root.Find(words(line)[1:])
			if err != nil || found.Name() != c.Name() {
				t.Errorf("%s: the example is of %s, %v", line, found.CommandPath(), err)
				continue
			}
			if err := found.ParseFlags(args); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			if err := found.ValidateArgs(found.Flags().Args()); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			if err := found.ValidateRequiredFlags(); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	walk(newProgram(t).root())
	for line := range strings.Lines(exampleLines) {
		if !used[strings.TrimSpace(line)] {
			t.Errorf("%s is the example of no command", line)
		}
	}
}

// words splits a line as a shell does, as far as the examples need it.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

func newProgram(t *testing.T) *program {
	t.Helper()
	return &program{stdin: strings.NewReader(""), stdout: t.Output(), stderr: t.Output(), getenv: func(string) string { return "" }, configDir: func() (string, error) { return t.TempDir(), nil }}
}
