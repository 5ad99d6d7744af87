package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"claviger"
	"claviger/api"
	"claviger/client"
	"claviger/internal/app"
)

func (p *program) quickstartCommand() *cobra.Command {
	return command("quickstart", "See the main job done, offline and on an empty machine", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return p.quickstart(ctx) })
}

// quickstart does the main job once with nothing prepared: a small vendor that insists
// on an API key, a connection that holds the key, and a call through it. Then it
// serves until it is interrupted, and leaves nothing behind.
func (p *program) quickstart(ctx context.Context) (err error) {
	folder, err := os.MkdirTemp("", "claviger-quickstart-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	vendor, err := startVendor()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vendor.server.Close()) }()
	settings := app.Settings{
		Addr: freeAddr("127.0.0.1:8787"), AdminAddr: freeAddr("127.0.0.1:8788"), Data: folder, EgressAllow: vendor.addr,
	}
	ports, err := app.Bind(settings)
	if err != nil {
		return err
	}
	a, err := app.Open(ctx, app.Config{
		Settings: settings, Log: slog.New(slog.NewJSONHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return errors.Join(err, ports.Close())
	}
	l := a.Serve(ports)
	if err := p.demonstrate(ctx, a, vendor); err != nil {
		return errors.Join(err, l.Shutdown())
	}
	return l.Wait(ctx)
}

// demonstrate goes the way of any user: through the public client.
func (p *program) demonstrate(ctx context.Context, a *app.App, v *vendor) error {
	key := shown(a.FirstStart().APIKey)
	c, err := client.New(a.PublicURL(), key)
	if err != nil {
		return err
	}
	if _, err := c.PutConnector(ctx, "workshop", v.document()); err != nil {
		return fmt.Errorf("storing the connector: %w", err)
	}
	conn, err := c.CreateConnection(ctx, api.CreateConnection{
		Connector: "workshop", AuthMethod: "key", Name: "quickstart", Credentials: map[string]string{"apiKey": shown(v.key)},
	})
	if err != nil {
		return fmt.Errorf("creating the connection: %w", err)
	}
	result, err := c.RunAction(ctx, api.RunAction{ActionIdentifier: "workshop.get-orders", ConnectionID: conn.ID, Input: map[string]any{}})
	if err != nil {
		return fmt.Errorf("running the action: %w", err)
	}
	output, err := json.MarshalIndent(result.Output, "    ", "  ")
	if err != nil {
		return err
	}
	p.printf("Claviger %s is running on %s\n\n", buildVersion().Version, a.PublicURL())
	p.printf("A vendor's API on http://%s insists on an API key. The key was stored as connection %s,\n", v.addr, conn.ID)
	p.printf("and the action workshop.get-orders was called through it. The vendor answered %d:\n\n    %s\n\n", result.StatusCode, output)
	p.printf("Console      %s\n", a.SetupLink(a.FirstStart().OwnerLink))
	p.printf("Reference    %s/docs\n", a.PublicURL())
	p.printf("API key      %s\n", key)
	p.printf("Try it from another terminal:\n\n")
	p.printf("curl -sS -H 'Authorization: Bearer %s' %s/v1/connections/%s/proxy/orders\n\n", key, a.PublicURL(), conn.ID)
	p.printf("Ctrl-C stops it and leaves nothing behind.\n")
	return nil
}

// freeAddr answers the address if it can be listened on, else one with a free port.
func freeAddr(wanted string) string {
	l, err := net.Listen("tcp", wanted)
	if err != nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return wanted
		}
	}
	defer l.Close()
	return l.Addr().String()
}

// vendor is a small API on loopback that answers nobody without its key.
type vendor struct {
	addr   string
	key    claviger.Secret
	server *http.Server
}

func startVendor() (*vendor, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	v := &vendor{addr: l.Addr().String(), key: claviger.NewSecretString("wk_" + rand.Text())}
	mux := http.NewServeMux()
	mux.Handle("GET /me", v.insist(`{"id":"acct_1","name":"Ada's Workshop"}`))
	mux.Handle("GET /orders", v.insist(`{"account":"Ada's Workshop","authenticatedBy":"X-API-Key","orders":[{"id":"ord_1","item":"brass key"},{"id":"ord_2","item":"padlock"}]}`))
	v.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = v.server.Serve(l) }()
	return v, nil
}

// insist answers only to the key.
func (v *vendor) insist(answer string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		right := false
		v.key.Use(func(key []byte) { right = subtle.ConstantTimeCompare(key, []byte(r.Header.Get("X-API-Key"))) == 1 })
		if !right {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintln(w, `{"error":"an API key is needed"}`)
			return
		}
		fmt.Fprintln(w, answer)
	})
}

// document is the vendor's definition, as any user would write one.
func (v *vendor) document() []byte {
	return fmt.Appendf(nil, `{
  "key": "workshop", "name": "Ada's Workshop", "kind": "http",
  "baseUrl": "http://%s", "allowedHosts": ["127.0.0.1"],
  "auth": [{
    "key": "key", "type": "apiKey", "label": "API key",
    "fields": [{"key": "apiKey", "label": "API key", "secret": true, "required": true, "pattern": "^wk_[A-Z0-9]{20,}$"}],
    "inject": [{"in": "header", "name": "X-API-Key", "value": "${apiKey}"}],
    "test": {"method": "GET", "path": "/me", "expectStatus": [200], "account": {"id": "$.id", "name": "$.name"}},
    "permissions": "none"
  }],
  "actions": [{
    "key": "get-orders", "name": "Get orders", "readOnly": true,
    "input": {"type": "object", "properties": {}, "additionalProperties": false},
    "request": {"method": "GET", "path": "/orders"}
  }]
}`, v.addr)
}
