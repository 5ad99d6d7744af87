package main

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"claviger"
	"claviger/api"
	"claviger/client"
)

func (p *program) loginCommand() *cobra.Command {
	var stdin bool
	c := command("login", "Store an API key for a server", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return p.login(ctx, stdin)
	})
	c.Long = "Login reads an API key from a prompt without echo, or with --key-stdin from standard\n" +
		"input, proves it at the server, and stores it in a file that only you can read.\n" +
		"CLAVIGER_URL and CLAVIGER_API_KEY, where set, are used instead of what is stored."
	c.Flags().BoolVar(&stdin, "key-stdin", false, "read the key from standard input")
	return c
}

func (p *program) login(ctx context.Context, stdin bool) error {
	file, err := p.loadConfig()
	if err != nil {
		file = stored{} // an unreadable file is what this command replaces
	}
	address := p.address(file.URL)
	if err := checkAddress(address); err != nil {
		return err // before the key is asked for
	}
	key, err := p.readSecret(stdin, "--key-stdin", "API key for "+address)
	if err != nil {
		return err
	}
	c, err := p.dial(session{address, key})
	if err != nil {
		return err
	}
	who, err := c.Whoami(ctx)
	if err != nil {
		return err
	}
	var s stored
	key.Use(func(b []byte) { s = stored{URL: address, Token: string(b)} })
	if err := p.saveConfig(s); err != nil {
		return err
	}
	return p.show(who, func() {
		p.printf("Logged in to %s as %s.\n", escape(address), escape(name(who)))
		if p.getenv("CLAVIGER_API_KEY") != "" || p.getenv("CLAVIGER_URL") != "" {
			_, _ = p.stderr.Write([]byte("claviger: CLAVIGER_URL or CLAVIGER_API_KEY is set and wins over what was stored.\n"))
		}
	})
}

// checkAddress refuses an address that no token may be sent to.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	if err == nil && u.Scheme == "http" && !client.Loopback(u.Hostname()) {
		return usageError{message: "A key is not sent over plain http to another machine.", hint: "Use an https address."}
	}
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return usageError{message: "The server's address must look like https://claviger.example.", hint: "Set --url or CLAVIGER_URL."}
	}
	return nil
}

func name(who api.Whoami) string {
	s := who.Kind + " " + who.ID
	if who.Role != "" {
		s += " (" + who.Role + ")"
	}
	return s
}

func (p *program) logoutCommand() *cobra.Command {
	var keep bool
	c := command("logout", "Revoke the stored key and remove it", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return p.logout(ctx, keep)
	})
	c.Long = "Logout revokes the stored key at the server, so that a copy of it is worth nothing, and\n" +
		"removes it from this machine. With --keep-key it is removed here only."
	c.Flags().BoolVar(&keep, "keep-key", false, "do not revoke the key at the server")
	return c
}

func (p *program) logout(ctx context.Context, keep bool) error {
	file, err := p.loadConfig()
	if err != nil {
		return err
	}
	if file.Token == "" {
		return p.show(map[string]bool{"loggedOut": true, "revoked": false}, func() { p.printf("You were not logged in.\n") })
	}
	var revocation error
	if !keep {
		revocation = p.revokeOwn(ctx, session{file.URL, claviger.NewSecretString(file.Token)})
	}
	// What cannot be revoked is removed all the same: the person wants it gone.
	if err := p.removeConfig(); err != nil {
		return err
	}
	if revocation != nil {
		_, _ = p.stderr.Write([]byte("claviger: The key was removed from this machine and NOT revoked at the server.\n"))
		return revocation
	}
	return p.show(map[string]bool{"loggedOut": true, "revoked": !keep}, func() { p.printf("Logged out of %s.\n", escape(file.URL)) })
}

// revokeOwn revokes the token of the session. One that is already refused needs no
// revocation.
func (p *program) revokeOwn(ctx context.Context, s session) error {
	c, err := p.dial(s)
	if err != nil {
		return err
	}
	who, err := c.Whoami(ctx)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == 401 {
		return nil
	}
	if err != nil {
		return err
	}
	if who.Kind == string(claviger.CallerAPIKey) {
		_, err = c.RevokeAPIKey(ctx, who.ID)
		return err
	}
	_, err = c.RevokeTokens(ctx, api.RevokeTokens{TokenID: who.TokenID})
	return err
}

func (p *program) whoamiCommand() *cobra.Command {
	return ask(p, "whoami", "Show who your token says you are", cobra.NoArgs,
		func(ctx context.Context, c *client.Client, _ []string) (api.Whoami, error) { return c.Whoami(ctx) },
		func(who api.Whoami) {
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
		})
}
