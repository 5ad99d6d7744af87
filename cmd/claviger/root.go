package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"claviger/client"
)

// program is one run of the command line.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	configDir      func() (string, error)
	browse         func(ctx context.Context, address string) error
	pause          func(ctx context.Context, d time.Duration) error
	keychain       keychain      // nil: there is none
	patience       time.Duration // how long the keychain may take

	// Flags that all client commands share.
	url     string
	profile string
	json    bool

	server  string // the address of the server that was connected to
	started bool   // a command was found and its flags were read
}

// execute runs one command and answers the exit code.
func (p *program) execute(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !p.started {
		err = usageError{message: err.Error()}
	}
	return p.report(err)
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "claviger",
		Short:         "A self-hosted credential broker",
		Long:          "Claviger holds the credentials of your integrations, keeps them working, puts them on\noutgoing calls and records every use. The caller never holds the secret.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	clients := []*cobra.Command{
		p.loginCommand(), p.logoutCommand(), p.whoamiCommand(), p.authCommand(), p.connectCommand(), p.connectorCommand(), p.connectionCommand(), p.expirationsCommand(),
		p.actionCommand(), p.explainCommand(), p.secretCommand(), p.keyCommand(), p.auditCommand(), p.doctorCommand(), p.versionCommand(),
		p.systemCommand(), p.dataSourceCommand(), p.resolveCommand(), p.webhookCommand(), p.ssoCommand(), p.policyCommand(), p.brandingCommand(),
	}
	clients = append(clients, p.systemShortForms()...)
	for _, c := range clients {
		c.PersistentFlags().StringVar(&p.url, "url", "", "address of the server (CLAVIGER_URL)")
		c.PersistentFlags().StringVar(&p.profile, "profile", "", "name of a login, for several servers (CLAVIGER_PROFILE)")
		p.completeFlag(c, "profile", p.completeProfiles)
		c.PersistentFlags().BoolVar(&p.json, "json", false, "print JSON")
	}
	root.AddCommand(p.serveCommand(), p.quickstartCommand())
	root.AddCommand(clients...)
	p.mark(root)
	return root
}

// mark makes every command note that it has started, so that errors before it are
// known to be errors of usage, gives it its example, and makes groups of commands show
// their help.
func (p *program) mark(c *cobra.Command) {
	for _, sub := range c.Commands() {
		p.mark(sub)
	}
	if complete := c.ValidArgsFunction; complete != nil { // no command has more than one argument to offer
		c.ValidArgsFunction = func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return complete(c, args, prefix)
		}
	}
	runE := c.RunE
	if runE == nil {
		if c.Run == nil && c.HasSubCommands() {
			c.Args = cobra.NoArgs
			c.RunE = func(c *cobra.Command, _ []string) error { p.started = true; return c.Help() }
		}
		return
	}
	c.Example = example(c.CommandPath())
	c.RunE = func(c *cobra.Command, args []string) error { p.started = true; return runE(c, args) }
}

// connect makes a client of the server that the person is logged in to.
func (p *program) connect() (*client.Client, error) {
	s, err := p.session()
	if err != nil {
		return nil, err
	}
	p.server = s.URL
	return p.dial(s)
}

func (p *program) dial(s session) (*client.Client, error) {
	var c *client.Client
	var err error
	s.Token.Use(func(b []byte) {
		c, err = client.New(s.URL, string(b), client.WithUserAgent(userAgent()))
	})
	if err != nil {
		return nil, usageError{message: err.Error(), hint: "Set --url, CLAVIGER_URL, or log in again with: claviger login"}
	}
	return c, nil
}

func userAgent() string { return "claviger-cli/" + buildVersion().Version }

// build says which program this is.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
}

func buildVersion() build {
	b := build{Version: "development"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Go = info.GoVersion
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (p *program) versionCommand() *cobra.Command {
	return command("version", "Print the version of this program", cobra.NoArgs, func(context.Context, []string) error {
		b := buildVersion()
		return p.show(b, func() {
			p.printf("claviger %s\n", b.Version)
			p.fields([][2]string{{"revision", b.Revision}, {"built from", b.Time}, {"go", b.Go}})
		})
	})
}

func (p *program) printf(format string, args ...any) { _, _ = fmt.Fprintf(p.stdout, format, args...) }
