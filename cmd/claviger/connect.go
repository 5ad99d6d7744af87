package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger"
	"claviger/api"
	"claviger/client"
)

const (
	// codeTries is how often a person may type the code of the page; the server counts too.
	codeTries = 3
	// oauthType is the type of the methods that a person consents to, or that need nobody.
	oauthType = string(claviger.AuthOAuth2)
)

func (p *program) connectCommand() *cobra.Command {
	var in api.CreateConnection
	var settings []string
	var noBrowser bool
	c := command("connect CONNECTOR", "Connect an account of yours at a vendor", cobra.ExactArgs(1), func(ctx context.Context, args []string) (err error) {
		in.Connector, in.Name = args[0], cmp.Or(in.Name, args[0])
		if in.Settings, err = pairs("setting", settings); err != nil {
			return err
		}
		return p.connectAccount(ctx, in, noBrowser)
	})
	c.Long = "Connect opens your browser, where you sign in at the vendor and allow what is asked for, and\n" +
		"waits until you are back. With --no-browser it prints the address, for a browser on any\n" +
		"machine, and asks for the code that the page shows at the end. Where the vendor wants a code\n" +
		"typed, it prints that and waits. Keys and passwords are no matter of a browser: see\n" +
		"claviger connection create."
	f := c.Flags()
	f.StringVar(&in.AuthMethod, "method", "", "key of an auth method; default: the only one that a vendor's page takes part in")
	f.StringVar(&in.WorkspaceID, "workspace", "", "id of the workspace")
	f.StringVar(&in.Name, "name", "", "name, unique in the workspace; default: the connector's key")
	f.StringVar(&in.Visibility, "visibility", "", "workspace or personal")
	f.StringArrayVar(&settings, "setting", nil, "`key=value` of a connector's variable")
	f.BoolVar(&noBrowser, "no-browser", false, "print the address, and ask for the code that the page shows")
	c.ValidArgsFunction = p.completeConnectors
	p.completeFlag(c, "visibility", cobra.FixedCompletions([]string{"workspace", "personal"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (p *program) connectAccount(ctx context.Context, in api.CreateConnection, noBrowser bool) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	k, err := c.Connector(ctx, in.Connector, 0)
	if err != nil {
		return err
	}
	if in.AuthMethod, err = consentMethod(k, in.AuthMethod); err != nil {
		return err
	}
	back := &loopback{}
	if !noBrowser {
		// The path is what another program on this machine, or a page, cannot guess.
		if back, err = listen("/"+rand.Text(), func(url.Values) bool { return true }); err != nil {
			return err
		}
		defer back.close(ctx)
	}
	in.ReturnURL = back.address
	conn, err := c.CreateConnection(ctx, in, client.IdempotencyKey(rand.Text()))
	if client.HasCode(err, "no_return") {
		in.ReturnURL = "" // nobody comes back from where a code is typed
		conn, err = c.CreateConnection(ctx, in, client.IdempotencyKey(rand.Text()))
	}
	if err != nil || conn.Status != "pending" {
		return p.showConnection(conn, err)
	}
	done, err := p.consent(ctx, c, conn, back)
	if err != nil {
		p.forget(ctx, c, conn.ID)
	}
	return p.showConnection(done, err)
}

// consentMethod picks the method that needs no secret from the person.
func consentMethod(k api.Connector, key string) (string, error) {
	var ways []string
	for _, m := range k.Auth {
		if m.Type == oauthType && !slices.ContainsFunc(m.Fields, func(f api.Field) bool { return f.Required }) {
			ways = append(ways, m.Key)
		}
	}
	switch {
	case key == "" && len(ways) == 1:
		return ways[0], nil
	case slices.Contains(ways, key):
		return key, nil
	case len(ways) == 0 || key != "":
		return "", usageError{
			message: "This method asks for a secret, which is no matter of a browser.",
			hint:    "claviger connection create --connector " + k.Key + " --name NAME",
		}
	}
	return "", usagef("Choose a --method of %s: %s.", k.Key, strings.Join(ways, ", "))
}

// consent waits for the person, in the way that the connection was begun.
func (p *program) consent(ctx context.Context, c *client.Client, conn api.Connection, back *loopback) (api.Connection, error) {
	if conn.ExpiresAt != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, *conn.ExpiresAt, errors.New("nobody came back in time"))
		defer cancel()
	}
	switch {
	case conn.UserCode != "":
		return p.consentElsewhere(ctx, c, conn)
	case back.address == "":
		p.warnf("Open in a browser:\n%s\n", escape(conn.AuthorizeURL))
		return p.finishByCode(ctx, c, conn.ID)
	}
	if p.browse(ctx, conn.AuthorizeURL) != nil {
		p.warnf("Open in a browser on this machine:\n%s\n", escape(conn.AuthorizeURL))
	} else {
		p.warnf("Your browser was opened. If it was not, use --no-browser.\n")
	}
	brought, err := back.wait(ctx)
	if err != nil {
		return conn, err
	}
	if code := brought.Get("finishCode"); code != "" {
		return c.FinishConnection(ctx, conn.ID, code)
	}
	return conn, p.notConnected(ctx, c, conn.ID)
}

// consentElsewhere shows a code to be typed at the vendor (RFC 8628). The server asks the
// vendor; this asks the server.
func (p *program) consentElsewhere(ctx context.Context, c *client.Client, conn api.Connection) (api.Connection, error) {
	p.warnf("Open %s\nand type the code %s. Waiting.\n", escape(cmp.Or(conn.VerificationURIComplete, conn.VerificationURI)), escape(conn.UserCode))
	for {
		if err := p.pause(ctx, max(time.Duration(conn.Interval)*time.Second, time.Second)); err != nil {
			return conn, context.Cause(ctx)
		}
		now, err := c.Connection(ctx, conn.ID)
		switch {
		case err != nil || now.Status == "active":
			return now, err
		case now.Status != "pending" || now.LastError != nil:
			return conn, p.notConnected(ctx, c, conn.ID)
		}
	}
}

// finishByCode asks for what the page shows.
func (p *program) finishByCode(ctx context.Context, c *client.Client, id string) (conn api.Connection, err error) {
	for range codeTries {
		var code string
		if code, err = p.line("Code"); err != nil {
			return conn, err
		}
		if conn, err = c.FinishConnection(ctx, id, code); err == nil || !client.HasCode(err, "wrong_code") && !client.HasCode(err, "nothing_to_finish") {
			return conn, err
		}
		p.warnf("%s\n", escape(err.Error()))
	}
	return conn, err
}

// line asks a person for one line, or reads it from standard input.
func (p *program) line(label string) (string, error) {
	if _, person := p.terminal(); person {
		text, err := p.prompt(label, "", false)
		return strings.TrimSpace(string(text)), err
	}
	text, err := bufio.NewReader(io.LimitReader(oneByte{p.stdin}, maxInput)).ReadString('\n')
	if text = strings.TrimSpace(text); text == "" && err != nil {
		return "", usagef("No code was given.")
	}
	return text, nil
}

// notConnected says why nothing came of it.
func (p *program) notConnected(ctx context.Context, c *client.Client, id string) error {
	conn, err := c.Connection(ctx, id)
	if err == nil && conn.LastError != nil {
		return &client.Error{Status: 409, Code: conn.LastError.Code, Message: conn.LastError.Message}
	}
	return errors.Join(errors.New("the browser came back without a connection"), err)
}

// forget removes a connection that nobody consented to, so that its name is free.
func (p *program) forget(ctx context.Context, c *client.Client, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if _, err := c.DeleteConnection(ctx, id, false); err != nil {
		p.warnf("The pending connection %s stays: %s\n", escape(id), escape(err.Error()))
	}
}
