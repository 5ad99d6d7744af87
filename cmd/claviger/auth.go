package main

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

func (p *program) authCommand() *cobra.Command {
	return group("auth", "Who you are to the server, and who else you let in", p.authStatus(), p.authApprove())
}

func (p *program) whoamiCommand() *cobra.Command {
	return ask(p, "whoami", "Show who your token says you are", cobra.NoArgs,
		func(ctx context.Context, c *client.Client, _ []string) (api.Whoami, error) { return c.Whoami(ctx) }, p.printWhoami)
}

func (p *program) printWhoami(who api.Whoami) {
	p.fields([][2]string{
		{"server", p.server},
		{"kind", who.Kind},
		{"id", who.ID},
		{"organization", who.OrganizationID},
		{"workspace", who.WorkspaceID},
		{"user", who.UserID},
		{"role", who.Role},
		{"expires", when(who.ExpiresAt)},
		{"permissions", strings.Join(who.Permissions, " ")},
	})
}

// status is where the person is logged in, as JSON.
type status struct {
	Server       string     `json:"server"`
	Profile      string     `json:"profile,omitempty"`
	Source       string     `json:"source"` // keychain, file or environment
	Kind         string     `json:"kind"`
	ID           string     `json:"id"`
	Organization string     `json:"organizationId"`
	Workspace    string     `json:"workspaceId,omitempty"`
	User         string     `json:"userId,omitempty"`
	Role         string     `json:"role,omitempty"`
	ExpiresAt    *time.Time `json:"expiresAt"`
}

func (p *program) authStatus() *cobra.Command {
	return ask(p, "status", "Show where you are logged in, as whom, and until when", cobra.NoArgs,
		func(ctx context.Context, c *client.Client, _ []string) (status, error) {
			file, err := p.loadConfig()
			if err != nil {
				return status{}, err
			}
			source := cmp.Or(file.Store, storeFile)
			if p.getenv("CLAVIGER_API_KEY") != "" {
				source = "environment"
			}
			who, err := c.Whoami(ctx)
			return status{p.server, p.profile, source, who.Kind, who.ID, who.OrganizationID, who.WorkspaceID, who.UserID, who.Role, who.ExpiresAt}, err
		}, func(s status) {
			until := when(s.ExpiresAt)
			if until == "" {
				until = "it is revoked"
			}
			p.fields([][2]string{
				{"server", s.Server},
				{"profile", s.Profile},
				{"key from", s.Source},
				{"organization", s.Organization},
				{"workspace", s.Workspace},
				{"logged in as", strings.TrimSpace(s.User + " " + s.Role)},
				{"by", s.Kind + " " + s.ID},
				{"until", until},
			})
		})
}

func (p *program) authApprove() *cobra.Command {
	var deny, yes bool
	c := ask(p, "approve CODE", "Let a command line in that shows you this code", cobra.ExactArgs(1),
		func(ctx context.Context, c *client.Client, args []string) (api.Login, error) {
			if !deny && !yes {
				asked, err := c.LookUpLogin(ctx, args[0])
				if err != nil {
					return asked, err
				}
				if err := p.agree(asked); err != nil {
					return asked, err
				}
			}
			return c.DecideLogin(ctx, args[0], !deny)
		}, func(l api.Login) { p.printf("%s: %s.\n", escape(l.Host), escape(l.Status)) })
	c.Long = "Approve gives the command line that shows this code an API key with your rights, for 90 days.\n" +
		"Do it only if you started that login yourself: see which machine asks, and from where."
	c.Flags().BoolVar(&deny, "deny", false, "send it away instead")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// agree shows a person who asks, and wants their word.
func (p *program) agree(l api.Login) error {
	p.warnf("%s at %s asked %s to act for you.\n", escape(l.Host), escape(l.Address), when(&l.CreatedAt))
	word, err := p.prompt("Did you start this login? Type yes", "--yes", false)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(word)) != "yes" {
		return usageError{message: "Nothing was decided.", hint: "Send it away with --deny."}
	}
	return nil
}
