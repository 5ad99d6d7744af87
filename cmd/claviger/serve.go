package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"claviger"
	"claviger/internal/app"
)

func (p *program) serveCommand() *cobra.Command {
	var file string
	var ownerLink bool
	flags := map[string]*string{}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long:  "Run the server until it is told to stop. The first start on an empty data folder makes an\norganization, a workspace, an owner, an application and an API key, and shows their secrets once.\n\n" + settingsTable(),
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			given := map[string]string{}
			for name, value := range flags {
				if c.Flags().Changed(name) {
					given[name] = *value
				}
			}
			settings, err := app.LoadSettings(given, os.Environ(), file)
			if err != nil {
				return err
			}
			return p.serve(c.Context(), settings, ownerLink)
		},
	}
	c.Flags().StringVar(&file, "config", "", "YAML file of settings")
	c.Flags().BoolVar(&ownerLink, "owner-link", false, "print a new link by which the first owner chooses how to sign in to the console; the one before stops working")
	for _, s := range app.AllSettings() {
		if s.Flag != "" {
			flags[s.Flag] = c.Flags().String(s.Flag, "", s.Meaning)
		}
	}
	return c
}

// settingsTable is the table of flag, variable and default in the help.
func settingsTable() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "Flag\tVariable\tDefault")
	for _, s := range app.AllSettings() {
		flag := "(no flag: others could see it)"
		if s.Flag != "" {
			flag = "--" + s.Flag
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", flag, s.Variable, s.Default)
	}
	_ = w.Flush()
	return b.String()
}

func (p *program) serve(ctx context.Context, s app.Settings, ownerLink bool) error {
	log, err := p.logger(s.LogLevel)
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		log.Warn("the server runs as root, which it does not need: give it a user of its own that owns the data folder")
	}
	ports, err := app.Bind(s)
	if err != nil {
		return err
	}
	a, err := app.Open(ctx, app.Config{Settings: s, Log: log})
	if err != nil {
		return errors.Join(err, ports.Close())
	}
	// Shown before anything else can fail: what a first start made is in the database now,
	// and is never shown again.
	if path := a.MadeKey(); path != "" {
		p.warnf("A master key was made at %s. Move it where the database's backups do not go, and name it with CLAVIGER_MASTER_KEY=file:PATH. Without it nothing can be opened again.\n", path)
	}
	p.showFirstStart(a)
	if ownerLink && a.FirstStart() == nil {
		if err := p.showOwnerLink(ctx, a); err != nil {
			return errors.Join(err, ports.Close(), a.Close(context.WithoutCancel(ctx)))
		}
	}
	l := a.Serve(ports)
	log.Info("listening", "address", l.Addr(), "admin", l.AdminAddr(), "version", app.Version)
	return l.Wait(ctx)
}

// showFirstStart prints what can be seen this once. It goes to standard output, which
// is the person's, not to the log, which is kept.
func (p *program) showFirstStart(a *app.App) {
	first := a.FirstStart()
	if first == nil {
		return
	}
	p.printf("First start. These are shown this once:\n\n")
	p.fields([][2]string{
		{"organization", string(first.Organization)},
		{"workspace", string(first.Workspace)},
		{"client id", first.ClientID},
		{"client secret", shown(first.ClientSecret)},
		{"API key", shown(first.APIKey)},
	})
	p.printf("\nConsole:  %s\n", a.SetupLink(first.OwnerLink))
	p.printf("          Open it to choose how the owner signs in. It works once, and for 24 hours; serve --owner-link makes another.\n")
	p.printf("\nTry:  curl -H 'Authorization: Bearer API_KEY' %s/v1/whoami\n\n", a.PublicURL())
}

// showOwnerLink prints a new link for the owner, who lost the one before or the password.
func (p *program) showOwnerLink(ctx context.Context, a *app.App) error {
	link, err := a.OwnerLink(ctx)
	if err == nil {
		p.printf("Console:  %s\n          Open it to choose anew how the owner signs in. It works once, and for 24 hours.\n\n", link)
	}
	return err
}

// shown reveals a value that its owner sees once.
func shown(s claviger.Secret) (text string) {
	s.Use(func(b []byte) { text = string(b) })
	return text
}

func (p *program) logger(level string) (*slog.Logger, error) {
	var l slog.Level
	if level != "" {
		if err := l.UnmarshalText([]byte(level)); err != nil {
			return nil, claviger.Invalid("log.level", "invalid_setting", "log.level: use debug, info, warn or error")
		}
	}
	return slog.New(slog.NewJSONHandler(p.stderr, &slog.HandlerOptions{Level: l})), nil
}

func (p *program) warnf(format string, args ...any) { fmt.Fprintf(p.stderr, format, args...) }
