package main

import (
	"context"
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
	c := ask(p, "revoke", "Stop all connections that match at once and revoke them at the vendors", cobra.NoArgs,
		func(ctx context.Context, c *client.Client, _ []string) (api.RevocationReport, error) {
			if report != "" {
				return c.Revocation(ctx, report, 100, "")
			}
			in.CreatedAfter, in.CreatedBefore = given(after), given(before)
			return c.RevokeConnections(ctx, in)
		}, p.printRevocation)
	f := c.Flags()
	f.StringVar(&in.Connector, "connector", "", "key of a connector")
	f.StringVar(&in.WorkspaceID, "workspace", "", "id of a workspace")
	f.StringVar(&in.Owner, "owner", "", "id of an owner")
	f.StringVar(&in.Tag, "tag", "", "key:value")
	f.Var(moment{&after}, "created-after", "made at this time (RFC 3339) or age (24h) or later")
	f.Var(moment{&before}, "created-before", "made before this time (RFC 3339) or age (24h)")
	f.StringVar(&report, "report", "", "show the report of this id and stop nothing")
	p.completeFlag(c, "connector", p.completeConnectors)
	return c
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
