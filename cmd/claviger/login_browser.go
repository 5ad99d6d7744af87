package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/url"
	"os/exec"
	"runtime"
	"time"

	"claviger"
	"claviger/api"
	"claviger/client"
)

// browserLife is how long a person has in the browser.
const browserLife = 5 * time.Minute

// loginByBrowser sends the person's browser to the server and listens on the loopback for
// what it brings back (RFC 8252, section 7.3). What it brings is of use only with the proof
// that stays here (RFC 7636), so that another program on this machine gains nothing by
// listening in.
func (p *program) loginByBrowser(ctx context.Context, c *client.Client, quiet bool) (claviger.Secret, error) {
	state, verifier := rand.Text(), rand.Text()+rand.Text()
	l, err := listen("/callback", func(q url.Values) bool {
		return subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) == 1 && (q.Get("code") != "" || q.Get("error") != "")
	})
	if err != nil {
		return claviger.Secret{}, err
	}
	defer l.close(ctx)
	sum := sha256.Sum256([]byte(verifier))
	address := c.BaseURL() + client.LoginPage + "?" + url.Values{
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
		"redirect_uri": {l.address}, "state": {state}, "host": {hostName()},
	}.Encode()
	if quiet || p.browse(ctx, address) != nil {
		p.warnf("Open in a browser on this machine:\n%s\n", address)
	} else {
		p.warnf("Your browser was opened at %s. If it was not, use --device.\n", escape(c.BaseURL()))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, browserLife, loginError{"Nobody let this command line in."})
	defer cancel()
	brought, err := l.wait(ctx)
	if err != nil {
		return claviger.Secret{}, err
	}
	if brought.Get("code") == "" {
		return claviger.Secret{}, loginError{"The login was refused: " + brought.Get("error") + "."}
	}
	key, err := c.RedeemLogin(ctx, api.RedeemLogin{Code: brought.Get("code"), CodeVerifier: verifier})
	return claviger.NewSecretString(key.Key), err
}

// openBrowser opens an address in the person's browser.
func openBrowser(ctx context.Context, address string) error {
	name, args := "xdg-open", []string{address}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", address}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	c := exec.CommandContext(context.WithoutCancel(ctx), path, args...)
	if err := c.Start(); err != nil {
		return err
	}
	go func() { _ = c.Wait() }()
	return nil
}

// pause waits, or ends early with the context.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), context.Cause(ctx))
	}
}
