package main

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

// connectionRevoke stops many connections, or shows what came of that.
func (p *program) connectionRevoke() *cobra.Command {
	var in api.RevokeConnections
	var after, before time.Time
	var report string
	var wait bool
	c := ask(p, "revoke", "Stop all connections that match at once and revoke them at the vendors", cobra.NoArgs,
		func(ctx context.Context, c *client.Client, _ []string) (api.RevocationReport, error) {
			var r api.RevocationReport
			var err error
			if report != "" {
				r, err = c.Revocation(ctx, report, 100, "")
			} else {
				in.CreatedAfter, in.CreatedBefore = given(after), given(before)
				r, err = c.RevokeConnections(ctx, in)
			}
			if err != nil || !wait {
				return r, err
			}
			return p.awaitRevocation(ctx, c, r)
		}, p.printRevocation)
	f := c.Flags()
	f.StringVar(&in.Connector, "connector", "", "key of a connector")
	f.StringVar(&in.WorkspaceID, "workspace", "", "id of a workspace")
	f.StringVar(&in.Owner, "owner", "", "id of an owner")
	f.StringVar(&in.Tag, "tag", "", "key:value")
	f.Var(moment{&after}, "created-after", "made at this time (RFC 3339) or age (24h) or later")
	f.Var(moment{&before}, "created-before", "made before this time (RFC 3339) or age (24h)")
	f.StringVar(&report, "report", "", "show the report of this id and stop nothing")
	f.BoolVar(&wait, "wait", false, "wait until every vendor has answered")
	p.completeFlag(c, "connector", p.completeConnectors)
	return c
}

// revocationPace is how often a revocation is asked about.
const revocationPace = 2 * time.Second

// awaitRevocation asks about a revocation until it is done, and tells how far it is.
func (p *program) awaitRevocation(ctx context.Context, c *client.Client, r api.RevocationReport) (api.RevocationReport, error) {
	tell := p.progress()
	defer tell.end()
	for r.Status != "done" {
		n := r.Counts
		tell.say(fmt.Sprintf("%s: %d connections stopped, %d tokens at their vendors, %d settled", r.Status, n.Connections, n.Pending, n.Revoked+n.NotSupported+n.Failed))
		if err := p.pause(ctx, revocationPace); err != nil {
			return r, err
		}
		next, err := c.Revocation(ctx, r.ID, 100, "")
		if err != nil {
			return r, err
		}
		r = next
	}
	return r, nil
}

// given answers a time that may be absent.
func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (p *program) printRevocation(r api.RevocationReport) {
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	p.fields([][2]string{
		{"id", r.ID},
		{"status", r.Status},
		{"connections", n(r.Counts.Connections)},
		{"tokens revoked", n(r.Counts.Revoked)},
		{"pending", n(r.Counts.Pending)},
		{"not supported", n(r.Counts.NotSupported)},
		{"failed", n(r.Counts.Failed)},
	})
	table(p, "No connections matched.", []string{"id", "name", "connector", "used by", "verdicts"}, r.Connections.Data, func(x api.RevokedConnection) []string {
		var verdicts []string
		for _, v := range x.Revocations {
			verdicts = append(verdicts, v.Token+": "+v.Verdict)
		}
		return []string{x.ConnectionID, x.Name, x.Connector, strconv.Itoa(len(x.UsedBy)), strings.Join(verdicts, ", ")}
	})
}

// expirationsCommand shows what comes to an end.
func (p *program) expirationsCommand() *cobra.Command {
	var workspace, connector string
	c := listing[api.Expiration]{
		use: "expirations", short: "List what of the connections comes to an end, the first at the front", args: cobra.NoArgs, most: 50,
		items: func(ctx context.Context, c *client.Client, _ []string) iter.Seq2[api.Expiration, error] {
			return c.Expirations(ctx, workspace, connector)
		},
		none: "Nothing comes to an end.", heading: []string{"at", "what", "connection", "name", "connector", "certainty", ""},
		row: func(x api.Expiration) []string {
			renews := ""
			if x.Renews {
				renews = "renews"
			}
			return []string{when(&x.At), x.Kind, x.ConnectionID, x.Name, x.Connector, x.Certainty, renews}
		},
	}.command(p)
	c.Flags().StringVar(&workspace, "workspace", "", "id of a workspace")
	c.Flags().StringVar(&connector, "connector", "", "key of a connector")
	p.completeFlag(c, "connector", p.completeConnectors)
	return c
}
