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

// connectionRevoke stops many connections, or shows what came of that.
func (p *program) connectionRevoke() *cobra.Command {
	var in api.RevokeConnections
	var after, before, report string
	c := command("revoke", "Stop all connections that match at once and revoke them at the vendors", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		if report != "" {
			r, err := c.Revocation(ctx, report, 100, "")
			return p.showRevocation(r, err)
		}
		if in.CreatedAfter, err = timeFlag("created-after", after); err != nil {
			return err
		}
		if in.CreatedBefore, err = timeFlag("created-before", before); err != nil {
			return err
		}
		r, err := c.RevokeConnections(ctx, in)
		return p.showRevocation(r, err)
	})
	f := c.Flags()
	f.StringVar(&in.Connector, "connector", "", "key of a connector")
	f.StringVar(&in.WorkspaceID, "workspace", "", "id of a workspace")
	f.StringVar(&in.Owner, "owner", "", "id of an owner")
	f.StringVar(&in.Tag, "tag", "", "key:value")
	f.StringVar(&after, "created-after", "", "made at this time (RFC 3339) or later")
	f.StringVar(&before, "created-before", "", "made before this time (RFC 3339)")
	f.StringVar(&report, "report", "", "show the report of this id and stop nothing")
	p.completeFlag(c, "connector", p.completeConnectors)
	return c
}

// timeFlag reads a time that may be absent.
func timeFlag(name, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, usagef("--%s is no time: write it like 2026-01-31T15:04:05Z", name)
	}
	return &t, nil
}

func (p *program) showRevocation(r api.RevocationReport, err error) error {
	if err != nil {
		return err
	}
	return p.show(r, func() {
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
		rows := make([][]string, len(r.Connections.Data))
		for i, x := range r.Connections.Data {
			var verdicts []string
			for _, v := range x.Revocations {
				verdicts = append(verdicts, v.Token+": "+v.Verdict)
			}
			rows[i] = []string{x.ConnectionID, x.Name, x.Connector, strconv.Itoa(len(x.UsedBy)), strings.Join(verdicts, ", ")}
		}
		p.table("No connections matched.", []string{"id", "name", "connector", "used by", "verdicts"}, rows)
	})
}

// expirationsCommand shows what comes to an end.
func (p *program) expirationsCommand() *cobra.Command {
	var workspace, connector string
	var limit int
	c := command("expirations", "List what of the connections comes to an end, the first at the front", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		list, err := client.Collect(c.Expirations(ctx, workspace, connector), limit)
		if err != nil {
			return err
		}
		return p.show(list, func() {
			rows := make([][]string, len(list))
			for i, x := range list {
				renews := ""
				if x.Renews {
					renews = "renews"
				}
				rows[i] = []string{when(&x.At), x.Kind, x.ConnectionID, x.Name, x.Connector, x.Certainty, renews}
			}
			p.table("Nothing comes to an end.", []string{"at", "what", "connection", "name", "connector", "certainty", ""}, rows)
		})
	})
	c.Flags().StringVar(&workspace, "workspace", "", "id of a workspace")
	c.Flags().StringVar(&connector, "connector", "", "key of a connector")
	c.Flags().IntVar(&limit, "limit", 50, "at most this many; 0: all")
	p.completeFlag(c, "connector", p.completeConnectors)
	return c
}
