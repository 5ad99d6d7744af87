package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

// The commands of what an organization sets for itself: how its people sign in, what it
// allows, how it looks.

func (p *program) ssoCommand() *cobra.Command {
	show := ask(p, "show", "Show the OpenID provider by which your people sign in", cobra.NoArgs,
		func(ctx context.Context, c *client.Client, _ []string) (api.SingleSignOn, error) {
			return c.SingleSignOn(ctx)
		}, p.printSingleSignOn)
	remove := ask(p, "remove", "Remove single sign-on, and sign out who came by it", cobra.NoArgs,
		func(ctx context.Context, c *client.Client, _ []string) (api.Deleted, error) {
			return c.DeleteSingleSignOn(ctx)
		}, func(api.Deleted) { p.printf("Single sign-on was removed.\n") })
	return group("sso", "Signing in to the console by your own OpenID provider", show, p.ssoSet(), remove)
}

func (p *program) ssoSet() *cobra.Command {
	var in api.PutSingleSignOn
	var stdin, keep, public bool
	c := command("set", "Set the OpenID provider by which your people sign in", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		if err := p.ssoSecret(&in, stdin, keep, public); err != nil {
			return err
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		s, err := c.PutSingleSignOn(ctx, in)
		if err != nil {
			return err
		}
		return p.show(s, func() { p.printSingleSignOn(s) })
	})
	c.Long = "Set replaces all that there was. The client secret comes from a prompt without echo, or from\n" +
		"standard input; --keep-secret leaves the stored one, --public is for a client that has none.\n" +
		"Another issuer ends the sessions of the one before."
	f := c.Flags()
	f.StringVar(&in.Issuer, "issuer", "", "`address` of the provider, exactly as its metadata name it (required)")
	f.StringVar(&in.ClientID, "client-id", "", "`id` of the client, as the provider shows it (required)")
	f.StringArrayVar(&in.AllowedDomains, "allowed-domain", nil, "`domain` of the addresses that are let in the first time; default: any")
	f.StringVar(&in.DefaultRole, "default-role", "", "`role` of people whom nobody invited; default: they stay outside")
	f.BoolVar(&stdin, "secret-stdin", false, "read the client secret from standard input")
	f.BoolVar(&keep, "keep-secret", false, "leave the client secret as it is stored")
	f.BoolVar(&public, "public", false, "the client has no secret")
	c.MarkFlagsMutuallyExclusive("secret-stdin", "keep-secret", "public")
	require(c, "issuer", "client-id")
	c.ValidArgsFunction = cobra.NoFileCompletions
	return c
}

// ssoSecret reads the client's secret, if one is to be given.
func (p *program) ssoSecret(in *api.PutSingleSignOn, stdin, keep, public bool) error {
	if keep {
		return nil
	}
	in.ClientSecret = new(string)
	if public {
		return nil
	}
	if _, person := p.terminal(); !person {
		stdin = true
	}
	value, err := p.readSecret(stdin, "--secret-stdin", "Client secret")
	if err != nil {
		return err
	}
	value.Use(func(b []byte) { *in.ClientSecret = string(b) })
	return nil
}

func (p *program) printSingleSignOn(s api.SingleSignOn) {
	p.fields([][2]string{
		{"issuer", s.Issuer},
		{"client id", s.ClientID},
		{"secrets", strings.Join(s.Secrets, " ")},
		{"allowed domains", strings.Join(s.AllowedDomains, " ")},
		{"default role", s.DefaultRole},
		{"redirect uri", s.RedirectURI},
		{"sign in at", s.SignInURL},
		{"updated", when(&s.UpdatedAt)},
	})
}

func (p *program) policyCommand() *cobra.Command {
	var in api.Policy
	show := ask(p, "show", "Show what is allowed that is refused by default", cobra.NoArgs,
		func(ctx context.Context, c *client.Client, _ []string) (api.Policy, error) { return c.Policy(ctx) }, p.printPolicy)
	set := ask(p, "set", "Set what is allowed that is refused by default", cobra.NoArgs,
		func(ctx context.Context, c *client.Client, _ []string) (api.Policy, error) {
			return c.PutPolicy(ctx, in)
		}, p.printPolicy)
	set.Flags().BoolVar(&in.SyncFallback, "sync-fallback", false, "background work of a system without a syncExecution slot may use its api slot")
	require(set, "sync-fallback")
	return group("policy", "What your organization allows that is refused by default", show, set)
}

func (p *program) printPolicy(x api.Policy) {
	p.fields([][2]string{{"sync fallback", fmt.Sprint(x.SyncFallback)}})
}

func (p *program) brandingCommand() *cobra.Command {
	show := ask(p, "show", "Show how pages show your organization", cobra.NoArgs,
		func(ctx context.Context, c *client.Client, _ []string) (api.Branding, error) { return c.Branding(ctx) }, p.printBranding)
	remove := ask(p, "remove", "Show claviger's own colours, without a logo, again", cobra.NoArgs,
		func(ctx context.Context, c *client.Client, _ []string) (api.Branding, error) {
			return c.PutBranding(ctx, api.Branding{})
		}, p.printBranding)
	return group("branding", "Name, colour and logo on the pages that people see", show, p.brandingSet(), remove)
}

func (p *program) brandingSet() *cobra.Command {
	var name, color, logo string
	var c *cobra.Command
	c = command("set", "Set name, colour or logo; what is not named stays", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		given := func(flag string) bool { return c.Flags().Changed(flag) }
		if !given("name") && !given("color") && !given("logo") {
			return usagef("Say what to set: --name, --color or --logo.")
		}
		var picture []byte
		if logo != "" {
			var err error
			if picture, err = p.readDocument(logo); err != nil {
				return err
			}
		}
		s, err := p.connect()
		if err != nil {
			return err
		}
		x, err := s.Branding(ctx)
		if err != nil {
			return err
		}
		if given("name") {
			x.Name = name
		}
		if given("color") {
			x.Color = color
		}
		if given("logo") {
			x.Logo = picture
		}
		if x, err = s.PutBranding(ctx, x); err != nil {
			return err
		}
		return p.show(x, func() { p.printBranding(x) })
	})
	f := c.Flags()
	f.StringVar(&name, "name", "", "on connect pages, beside the organization's own; empty: none")
	f.StringVar(&color, "color", "", "of buttons and links, such as #0b57d0; empty: claviger's own")
	f.StringVar(&logo, "logo", "", "`file` with a PNG or JPEG of at most 64 KiB and 512 x 512 pixels, - for standard input; empty: none")
	return c
}

func (p *program) printBranding(x api.Branding) {
	logo := ""
	if len(x.Logo) > 0 {
		logo = fmt.Sprintf("PNG, %d bytes", len(x.Logo))
	}
	if x.Name+x.Color+logo == "" {
		p.printf("Nothing is set: pages show your organization's name in claviger's own colours.\n")
	}
	p.fields([][2]string{{"name", x.Name}, {"color", x.Color}, {"logo", logo}})
}
