package main

import (
	"bufio"
	"bytes"
	"context"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger"
	"claviger/api"
	"claviger/client"
	"claviger/connectors"
	"claviger/internal/hookverify"
	"claviger/internal/manifest"
)

func (p *program) webhookCommand() *cobra.Command {
	return group("webhook", "Webhooks that vendors send to connected systems", p.webhookVerify(), p.webhookEvents(), p.webhookReplay(), p.webhookAwait())
}

// captured is where the parts of a delivery that somebody kept are found.
type captured struct {
	scheme, system, slot string
	headers              []string
	headersFile, body    string
	method, address, at  string
	stdin                bool
}

func (p *program) webhookVerify() *cobra.Command {
	var in captured
	c := command("verify", "Explain why a delivery is, or is not, believed; nothing leaves this machine", cobra.NoArgs, func(context.Context, []string) error {
		scheme, err := in.verifier()
		if err != nil {
			return err
		}
		req, err := in.request()
		if err != nil {
			return err
		}
		now := time.Now()
		if in.at != "" {
			if now, err = time.Parse(time.RFC3339, in.at); err != nil {
				return usagef("--at wants a time such as 2026-11-22T10:00:00Z")
			}
		}
		if _, person := p.terminal(); !person {
			in.stdin = true
		}
		secret, err := p.readSecret(in.stdin, "--secret-stdin", "Secret of the webhook")
		if err != nil {
			return err
		}
		e := hookverify.Explain(scheme, secret, req, now)
		if err := p.show(explained(e), func() { p.printDelivery(e) }); err != nil || e.Accepted {
			return err
		}
		return failed(exitFailure)
	})
	f := c.Flags()
	f.StringVar(&in.scheme, "scheme", "", "the vendor's scheme, for example github; docs/webhooks.md lists them")
	f.StringVar(&in.system, "system", "", "a system in integration/, whose slot says how")
	f.StringVar(&in.slot, "slot", "", "key of its webhook slot (default: the default one)")
	f.StringArrayVarP(&in.headers, "header", "H", nil, "a header of the delivery, \"Name: value\"; may be repeated")
	f.StringVar(&in.headersFile, "headers", "", "file of headers, one a line")
	f.StringVar(&in.body, "body", "", "file with the exact bytes of the body")
	f.StringVar(&in.method, "method", http.MethodPost, "the delivery's method")
	f.StringVar(&in.address, "address", "", "the address as the vendor has it, for vendors that sign it")
	f.StringVar(&in.at, "at", "", "when it arrived (default: now)")
	f.BoolVar(&in.stdin, "secret-stdin", false, "read the secret from standard input")
	p.completeFlag(c, "scheme", completeSchemes)
	p.completeFlag(c, "system", completeFolders)
	return c
}

// completeSchemes offers the webhook schemes that are built in.
func completeSchemes(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	files, _ := fs.Glob(connectors.Webhooks, "webhooks/*.yaml") // the pattern is well-formed
	var out []string
	for _, f := range files {
		if key := strings.TrimSuffix(path.Base(f), ".yaml"); strings.HasPrefix(key, prefix) {
			out = append(out, key)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (p *program) completeDeliveries(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return complete(c, p, prefix, func(ctx context.Context, s *client.Client) iter.Seq2[api.InboundEvent, error] {
		return s.InboundEvents(ctx, client.InboundQuery{})
	}, func(e api.InboundEvent) (string, string) { return e.ID, e.SystemKey + " " + e.Status })
}

// verifier answers the scheme that the flags name.
func (in *captured) verifier() (*hookverify.Scheme, error) {
	set, err := hookverify.Load(connectors.Webhooks, "webhooks")
	if err != nil {
		return nil, err
	}
	switch {
	case (in.scheme == "") == (in.system == ""):
		return nil, usagef("Say either --scheme or --system")
	case in.scheme != "":
		return set.For("hmac", map[string]string{"scheme": in.scheme})
	}
	b, err := manifest.Load(os.DirFS("."), in.system)
	if err != nil {
		return nil, err
	}
	slot, found := b.System.Slot(claviger.UsageWebhookInbound)
	for _, s := range b.System.Slots() {
		if s.Usage == claviger.UsageWebhookInbound && s.Key == in.slot {
			slot = s
		}
	}
	if !found || slot.Credential == nil || in.slot != "" && in.slot != slot.Key {
		return nil, usagef("The system %s has no such slot of usage webhookInbound", in.system)
	}
	return set.For(string(slot.Credential.Method), slot.Credential.Variables.Texts())
}

// request puts the delivery together again.
func (in *captured) request() (*hookverify.Request, error) {
	req := &hookverify.Request{Method: in.method, URL: in.address, Header: http.Header{}}
	lines := in.headers
	if in.headersFile != "" {
		text, err := os.ReadFile(in.headersFile)
		if err != nil {
			return nil, usagef("The headers cannot be read: %v", err)
		}
		for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
			lines = append(lines, s.Text())
		}
	}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue // the request line of a capture, or the empty one at its end
		}
		req.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if in.body != "" {
		var err error
		if req.Body, err = os.ReadFile(in.body); err != nil {
			return nil, usagef("The body cannot be read: %v", err)
		}
	}
	return req, nil
}

// explained is an explanation in the words of its JSON.
func explained(e hookverify.Explanation) map[string]any {
	causes := []map[string]string{}
	for _, c := range e.Causes {
		causes = append(causes, map[string]string{"code": c.Code, "message": c.Message})
	}
	return map[string]any{
		"scheme": e.Scheme, "accepted": e.Accepted, "code": e.Code, "message": e.Message, "expected": e.Expected, "found": e.Found,
		"differsAt": e.DiffersAt, "signedText": e.SignedText, "signedBytes": e.SignedBytes, "tried": e.Tried, "causes": causes,
	}
}

func (p *program) printDelivery(e hookverify.Explanation) {
	verdict := "accepted"
	if !e.Accepted {
		verdict = "refused: " + e.Code
	}
	rows := [][2]string{{"verdict", verdict}, {"scheme", e.Scheme}, {"why", e.Message}, {"expected", e.Expected}, {"found", strings.Join(e.Found, " ")}}
	if e.DiffersAt >= 0 && !e.Accepted {
		rows = append(rows, [2]string{"differs at", "character " + strconv.Itoa(e.DiffersAt)})
	}
	if e.SignedText != "" {
		rows = append(rows, [2]string{"signed", strconv.Itoa(e.SignedBytes) + " bytes: " + e.SignedText})
	}
	rows = append(rows, [2]string{"tried", strings.Join(e.Tried, " ")})
	for _, c := range e.Causes {
		rows = append(rows, [2]string{"cause", c.Code + ": " + c.Message})
	}
	p.fields(rows)
}

func (p *program) webhookEvents() *cobra.Command {
	var q client.InboundQuery
	c := listing[api.InboundEvent]{
		use: "events", short: "List the newest deliveries", args: cobra.NoArgs, most: 100,
		items: func(ctx context.Context, c *client.Client, _ []string) iter.Seq2[api.InboundEvent, error] {
			return c.InboundEvents(ctx, q)
		},
		none: "No deliveries.", heading: []string{"id", "received", "system", "data source", "slot", "type", "status", "code"},
		row: func(e api.InboundEvent) []string {
			return []string{e.ID, when(&e.ReceivedAt), e.SystemKey, e.DataSource, e.Slot, e.Type, e.Status, e.Code}
		},
	}.command(p)
	c.Flags().StringVar(&q.SystemKey, "system", "", "of this system")
	c.Flags().StringVar(&q.Status, "status", "", "received, processed, failed or parked")
	p.completeFlag(c, "system", p.completeSystems)
	p.completeFlag(c, "status", oneOf("received", "processed", "failed", "parked"))
	return c
}

func (p *program) webhookReplay() *cobra.Command {
	return askOf(p, "replay EVENT", "Act on a delivery once more", p.completeDeliveries, optional((*client.Client).ReplayInboundEvent),
		func(e api.InboundEvent) { p.printf("%s is %s again.\n", e.ID, e.Status) })
}

func (p *program) webhookAwait() *cobra.Command {
	var slot string
	c := askOf(p, "await SYSTEM", "Let a slot take its secret from the vendor's handshake, once, within the hour", p.completeSystems,
		func(c *client.Client, ctx context.Context, system string) (api.HandshakeWait, error) {
			return c.AwaitHandshake(ctx, system, slot)
		},
		func(w api.HandshakeWait) { p.printf("%s waits until %s.\n", w.SystemKey, when(&w.Until)) })
	c.Flags().StringVar(&slot, "slot", "", "key of the webhook slot (default: the default one)")
	return c
}
