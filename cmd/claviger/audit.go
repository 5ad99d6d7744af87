package main

import (
	"context"
	"iter"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

func (p *program) auditCommand() *cobra.Command {
	return group("audit", "The ledger of every change and every use", p.auditList(), p.auditVerify(), p.auditExport())
}

func (p *program) auditList() *cobra.Command {
	var q client.AuditQuery
	c := p.entries("list", "List ledger entries, newest first", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) iter.Seq2[api.Entry, error] {
		return c.Audit(ctx, q)
	})
	f := c.Flags()
	f.Var(moment{&q.From}, "from", "earliest time (RFC 3339) or age (24h)")
	f.Var(moment{&q.To}, "to", "latest time (RFC 3339) or age (24h)")
	f.StringVar(&q.WorkspaceID, "workspace", "", "id of a workspace")
	f.StringVar(&q.ActorKind, "actor-kind", "", "api_key, operator, scoped, session or system")
	f.StringVar(&q.ActorID, "actor", "", "id of an actor")
	f.StringVar(&q.Verb, "verb", "", "for example connections:create")
	f.StringVar(&q.ResourceType, "resource-type", "", "for example connection")
	f.StringVar(&q.ResourceID, "resource", "", "id of a resource")
	f.StringVar(&q.ConnectionID, "connection", "", "id of a connection")
	f.StringVar(&q.Connector, "connector", "", "key of a connector")
	f.StringVar(&q.Host, "host", "", "host that was called")
	f.StringVar(&q.Outcome, "outcome", "", "allowed, denied, succeeded or failed")
	f.StringVar(&q.Code, "code", "", "why it was denied or failed")
	f.StringVar(&q.Action, "action", "", "connector.action")
	f.IntVar(&q.StatusCode, "status", 0, "status that the vendor answered")
	f.StringVar(&q.RequestID, "request", "", "id of a request")
	f.StringVar(&q.Address, "address", "", "address that the request came from")
	f.StringVar(&q.Usage, "usage", "", "usage of the connection")
	f.StringVar(&q.Slot, "slot", "", "slot of a system")
	p.completeFlag(c, "outcome", oneOf("allowed", "denied", "succeeded", "failed"))
	p.completeFlag(c, "actor-kind", oneOf("api_key", "operator", "scoped", "session", "system"))
	p.completeFlag(c, "connection", p.completeConnections)
	p.completeFlag(c, "connector", p.completeConnectors)
	return c
}

// entries makes a command that lists ledger entries.
func (p *program) entries(use, short string, args cobra.PositionalArgs, items func(context.Context, *client.Client, []string) iter.Seq2[api.Entry, error]) *cobra.Command {
	return listing[api.Entry]{
		use: use, short: short, args: args, most: 50, items: items,
		none: "No entries.", heading: []string{"time", "verb", "outcome", "code", "status", "resource", "actor", "address", "request"},
		row: func(e api.Entry) []string {
			what, who := strings.TrimSpace(e.Resource.Type+" "+e.Resource.ID), strings.TrimSpace(e.Actor.Kind+" "+e.Actor.ID)
			return []string{when(&e.Time), e.Verb, e.Outcome, e.Code, number(e.StatusCode), what, who, e.Address, e.RequestID}
		},
	}.command(p)
}

// number prints n, and nothing for 0.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
