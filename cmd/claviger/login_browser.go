package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
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

// arrival is what a browser brought back: the code, or why there is none.
type arrival struct{ code, refusal string }

// loginByBrowser sends the person's browser to the server and listens on the loopback for
// what it brings back (RFC 8252, section 7.3). What it brings is of use only with the proof
// that stays here (RFC 7636), so that another program on this machine gains nothing by
// listening in.
func (p *program) loginByBrowser(ctx context.Context, c *client.Client, quiet bool) (claviger.Secret, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return claviger.Secret{}, err
	}
	back, state, verifier := "http://"+listener.Addr().String()+"/callback", rand.Text(), rand.Text()+rand.Text()
	arrived := make(chan arrival, 1)
	server := &http.Server{
		Handler: callback(listener.Addr().String(), state, arrived), ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	defer func() {
		// The page that the person is looking at is answered before this ends.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
	}()
	go func() { _ = server.Serve(listener) }()
	sum := sha256.Sum256([]byte(verifier))
	address := c.BaseURL() + client.LoginPage + "?" + url.Values{
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
		"redirect_uri": {back}, "state": {state}, "host": {hostName()},
	}.Encode()
	if quiet || p.browse(ctx, address) != nil {
		p.warnf("Open in a browser on this machine:\n%s\n", address)
	} else {
		p.warnf("Your browser was opened at %s. If it was not, use --device.\n", escape(c.BaseURL()))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, browserLife, loginError{"Nobody let this command line in."})
	defer cancel()
	select {
	case <-ctx.Done():
		return claviger.Secret{}, context.Cause(ctx)
	case a := <-arrived:
		if a.code == "" {
			return claviger.Secret{}, loginError{"The login was refused: " + a.refusal + "."}
		}
		key, err := c.RedeemLogin(ctx, api.RedeemLogin{Code: a.code, CodeVerifier: verifier})
		return claviger.NewSecretString(key.Key), err
	}
}

// callback answers the browser that comes back, the first time that it brings the state.
// A page that reached this port by another name is not answered.
func callback(host, state string, arrived chan<- arrival) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-store")
		q := r.URL.Query()
		a := arrival{q.Get("code"), q.Get("error")}
		if r.Host != host || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 || a.code == "" && a.refusal == "" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "This is not what the command line waits for.\n")
			return
		}
		select {
		case arrived <- a:
		default: // the same page again
		}
		_, _ = io.WriteString(w, "Go back to the command line. This page can be closed.\n")
	})
	return mux
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
