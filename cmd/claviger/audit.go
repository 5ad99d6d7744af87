package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

func (p *program) auditCommand() *cobra.Command {
	return group("audit", "The ledger of every change and every use", p.auditList(), p.auditVerify(), p.auditExport())
}

func (p *program) auditList() *cobra.Command {
	var q client.AuditQuery
	var from, to string
	var limit int
	c := command("list", "List ledger entries, newest first", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		var err error
		if q.From, err = moment("from", from); err != nil {
			return err
		}
		if q.To, err = moment("to", to); err != nil {
			return err
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		list, err := client.Collect(c.Audit(ctx, q), limit)
		if err != nil {
			return err
		}
		return p.show(list, func() { p.printEntries(list) })
	})
	f := c.Flags()
	f.StringVar(&from, "from", "", "earliest time (RFC 3339) or age (24h)")
	f.StringVar(&to, "to", "", "latest time (RFC 3339) or age (24h)")
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
	f.IntVar(&q.StatusCode, "status", 0, "status that the vendor answered")
	f.StringVar(&q.RequestID, "request", "", "id of a request")
	f.StringVar(&q.Address, "address", "", "address that the request came from")
	f.StringVar(&q.Usage, "usage", "", "usage of the connection")
	f.StringVar(&q.Slot, "slot", "", "slot of a system")
	f.IntVar(&limit, "limit", 50, "at most this many; 0: all")
	p.completeFlag(c, "connection", p.completeConnections)
	p.completeFlag(c, "connector", p.completeConnectors)
	return c
}

// moment reads a time, or an age before now.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-age), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usagef("--%s takes a time such as 2026-11-22T01:00:00Z, or an age such as 24h.", flag)
	}
	return at, nil
}

func (p *program) printEntries(list []api.Entry) {
	rows := make([][]string, len(list))
	for i, e := range list {
		status := ""
		if e.StatusCode != 0 {
			status = strconv.Itoa(e.StatusCode)
		}
		what := strings.TrimSpace(e.Resource.Type + " " + e.Resource.ID)
		rows[i] = []string{when(&e.Time), e.Verb, e.Outcome, e.Code, status, what, strings.TrimSpace(e.Actor.Kind + " " + e.Actor.ID), e.Address, e.RequestID}
	}
	p.table("No entries.", []string{"time", "verb", "outcome", "code", "status", "resource", "actor", "address", "request"}, rows)
}
