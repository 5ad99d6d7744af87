package main

import (
	"context"
	"errors"
	"net/url"

	"github.com/spf13/cobra"

	"claviger"
	"claviger/api"
	"claviger/client"
)

// entry is how a person logs in.
type entry struct {
	stdin, device, noBrowser bool
	store                    string // keychain, file, or "" for what there is
}

func (p *program) loginCommand() *cobra.Command {
	var e entry
	c := command("login", "Log in to a server", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return p.login(ctx, e)
	})
	c.Long = "Login opens your browser, where you let this command line in. With --device it shows a code\n" +
		"instead, to type into a browser on any machine, or to approve where you are logged in:\n" +
		"claviger auth approve CODE. Either way it gets an API key of its own with your rights, for\n" +
		"90 days. With --key-stdin it reads a key that you have, from standard input or a prompt\n" +
		"without echo. The key is stored in the operating system's keychain, or where there is none\n" +
		"in a file that only you can read; --store chooses.\n" +
		"CLAVIGER_URL and CLAVIGER_API_KEY, where set, are used instead of what is stored."
	f := c.Flags()
	f.BoolVar(&e.device, "device", false, "show a code to type, instead of opening a browser")
	f.BoolVar(&e.noBrowser, "no-browser", false, "print the address instead of opening it")
	f.BoolVar(&e.stdin, "key-stdin", false, "read an API key from standard input, or ask for it")
	f.StringVar(&e.store, "store", "", "where the key is kept: keychain or file; default: the keychain, where there is one")
	p.completeFlag(c, "store", oneOf(storeKeychain, storeFile))
	c.MarkFlagsMutuallyExclusive("device", "key-stdin")
	return c
}

func (p *program) login(ctx context.Context, e entry) error {
	if e.store != "" && e.store != storeKeychain && e.store != storeFile {
		return usagef("A key is kept in the keychain or in a file: --store keychain, or --store file.")
	}
	file, err := p.loadConfig()
	if err != nil {
		file = stored{} // an unreadable file is what this command replaces
	}
	address := p.address(file.URL)
	err = checkAddress(address)
	if err == nil && e.store == storeKeychain {
		err = p.tryKeychain(address)
	}
	if err != nil {
		return err // before anything is asked for
	}
	key, err := p.obtain(ctx, address, e)
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
	if s, err = p.keep(file, s, e.store); err != nil {
		if !e.stdin { // nobody knows of it
			err = errors.Join(err, p.revokeOwn(ctx, session{address, key}))
		}
		return err
	}
	return p.show(who, func() {
		p.printf("Logged in to %s as %s.\n%s\n", escape(address), escape(name(who)), p.whereKept(s, e.store))
		if p.getenv("CLAVIGER_API_KEY") != "" || p.getenv("CLAVIGER_URL") != "" {
			p.warnf("claviger: CLAVIGER_URL or CLAVIGER_API_KEY is set and wins over what was stored.\n")
		}
	})
}

// whereKept says where the key of a login is, and why if nobody chose.
func (p *program) whereKept(s stored, want string) string {
	if s.Store == storeKeychain {
		return "The key is in your keychain."
	}
	path, _ := p.configPath()
	if want == storeFile {
		return "The key is in " + escape(path) + "."
	}
	return "The key is in " + escape(path) + ": there is no keychain that can be used."
}

// obtain gets a key in the way that was asked for.
func (p *program) obtain(ctx context.Context, address string, e entry) (claviger.Secret, error) {
	if e.stdin {
		_, person := p.terminal()
		return p.readSecret(!person, "--key-stdin", "API key for "+address)
	}
	c, err := client.New(address, "", client.Anonymous(), client.WithUserAgent(userAgent()))
	if err != nil {
		return claviger.Secret{}, usageError{message: err.Error()}
	}
	if !e.device {
		page, err := c.HasLoginPage(ctx)
		if err != nil {
			return claviger.Secret{}, err
		}
		if page {
			return p.loginByBrowser(ctx, c, e.noBrowser)
		}
		p.warnf("claviger: This server has no page to log in by browser.\n")
	}
	return p.loginByCode(ctx, c)
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
		"removes it from this machine: from the keychain and the file. With --keep-key it is removed here only."
	c.Flags().BoolVar(&keep, "keep-key", false, "do not revoke the key at the server")
	return c
}

func (p *program) logout(ctx context.Context, keep bool) error {
	file, err := p.loadConfig()
	if err != nil {
		return err
	}
	if !file.there() {
		return p.show(map[string]bool{"loggedOut": true, "revoked": false}, func() { p.printf("You were not logged in.\n") })
	}
	// Without the keychain neither is possible, and the file says where the key is.
	token, err := p.tokenOf(file)
	if err != nil {
		return err
	}
	var revocation error
	if !keep && token != "" {
		revocation = p.revokeOwn(ctx, session{file.URL, claviger.NewSecretString(token)})
	}
	// What cannot be revoked is removed all the same: the person wants it gone.
	if err := p.dropKey(file); err != nil {
		return err
	}
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
