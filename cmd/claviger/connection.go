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

func (p *program) connectionCommand() *cobra.Command {
	return group("connection", "Credentials for one connector each",
		p.connectionCreate(), p.connectionList(), p.connectionUpdate(), p.connectionDelete(), p.connectionTest(),
		askOf(p, "show ID", "Show a connection", p.completeConnections, (*client.Client).Connection, p.printConnection),
		askOf(p, "disable ID", "Switch a connection off", p.completeConnections, optional((*client.Client).DisableConnection), p.printConnection),
		askOf(p, "enable ID", "Switch a connection on again", p.completeConnections, optional((*client.Client).EnableConnection), p.printConnection),
		p.connectionRevoke(), p.connectionReferences(), p.connectionUsage(), p.connectionEvents())
}

// showConnection prints a connection if there is no error.
func (p *program) showConnection(conn api.Connection, err error) error {
	if err != nil {
		return err
	}
	return p.show(conn, func() { p.printConnection(conn) })
}

func (p *program) printConnection(conn api.Connection) {
	fault := ""
	if conn.LastError != nil {
		fault = conn.LastError.Code + ": " + conn.LastError.Message
	}
	p.fields([][2]string{
		{"id", conn.ID},
		{"name", conn.Name},
		{"connector", conn.Connector + " v" + strconv.Itoa(conn.ConnectorVersion) + " (" + conn.AuthMethod + ")"},
		{"workspace", conn.WorkspaceID},
		{"owner", conn.OwnerID},
		{"usage", conn.Usage},
		{"visibility", conn.Visibility},
		{"status", conn.Status},
		{"health", conn.HealthStatus},
		{"last error", fault},
		{"account", strings.TrimSpace(conn.Account.ID + " " + conn.Account.Name)},
		{"scopes", strings.Join(conn.GrantedScopes, " ")},
		{"credentials", keyList(conn.Credentials)},
		{"settings", pairList(conn.Settings)},
		{"metadata", pairList(conn.Metadata)},
		{"tags", pairList(conn.Tags)},
		{"expires", when(conn.ExpiresAt)},
		{"last used", when(conn.LastUsedAt)},
		{"last checked", when(conn.LastCheckedAt)},
		{"created", when(&conn.CreatedAt)},
		{"updated", when(&conn.UpdatedAt)},
	})
	for _, r := range conn.Revocations {
		p.printf("revocation of the %s: %s\n", escape(r.Token), escape(r.Verdict))
	}
	for _, w := range conn.Warnings {
		p.printf("warning: %s\n", escape(w))
	}
}

func (p *program) connectionList() *cobra.Command {
	var q client.ConnectionQuery
	c := listing[api.Connection]{
		use: "list", short: "List connections, newest first", args: cobra.NoArgs,
		items: func(ctx context.Context, c *client.Client, _ []string) iter.Seq2[api.Connection, error] {
			return c.Connections(ctx, q)
		},
		none: "No connections.", heading: []string{"id", "name", "connector", "workspace", "status", "health", "last used"},
		row: func(x api.Connection) []string {
			return []string{x.ID, x.Name, x.Connector, x.WorkspaceID, x.Status, x.HealthStatus, when(x.LastUsedAt)}
		},
	}.command(p)
	f := c.Flags()
	f.StringVar(&q.WorkspaceID, "workspace", "", "id of a workspace")
	f.StringVar(&q.Connector, "connector", "", "key of a connector")
	f.StringVar(&q.Status, "status", "", "pending, active, reauthorization_required or disabled")
	f.StringVar(&q.HealthStatus, "health", "", "healthy, unhealthy or unknown")
	f.StringVar(&q.Owner, "owner", "", "id of an owner")
	f.StringVar(&q.Tag, "tag", "", "key:value")
	f.StringVar(&q.Search, "search", "", "part of a name")
	p.completeFlag(c, "status", oneOf("pending", "active", "reauthorization_required", "disabled"))
	p.completeFlag(c, "health", oneOf("healthy", "unhealthy", "unknown"))
	p.completeFlag(c, "connector", p.completeConnectors)
	return c
}

func (p *program) connectionDelete() *cobra.Command {
	var force bool
	c := askOf(p, "delete ID", "Delete a connection: stop it, revoke it at the vendor, destroy its credentials", p.completeConnections,
		func(c *client.Client, ctx context.Context, id string) (api.Connection, error) {
			return c.DeleteConnection(ctx, id, force)
		}, p.printConnection)
	c.Flags().BoolVar(&force, "force", false, "delete it even if something names it")
	return c
}

func (p *program) connectionTest() *cobra.Command {
	return try(p, "test ID", "Test a connection: format, live call, permissions", "", p.completeConnections, optional((*client.Client).TestConnection), p.printTest,
		func(report api.ConnectionTest) bool { return report.Status == "passed" })
}

func (p *program) printTest(report api.ConnectionTest) {
	p.printf("%s\n", escape(report.Status))
	table(p, "No steps.", []string{"step", "result", "code", "status", "time", "note"}, report.Steps, func(s api.TestStep) []string {
		note := s.Message
		if len(s.Missing) > 0 {
			note += " Missing: " + strings.Join(s.Missing, ", ")
		}
		return []string{s.Name, s.Status, s.Code, number(s.StatusCode), strconv.FormatInt(s.DurationMs, 10) + " ms", note}
	})
}

func (p *program) connectionReferences() *cobra.Command {
	return askOf(p, "references ID", "List what names a connection", p.completeConnections, (*client.Client).References, func(list []api.Reference) {
		table(p, "Nothing names it.", []string{"type", "id", "name", "last used"}, list, func(r api.Reference) []string {
			return []string{r.Type, r.ID, r.Name, when(r.LastUsedAt)}
		})
	})
}

func (p *program) connectionUsage() *cobra.Command {
	var q client.UsageQuery
	c := askOf(p, "usage ID", "Show calls, failures and latency over time", p.completeConnections, func(c *client.Client, ctx context.Context, id string) (api.Usage, error) {
		return c.ConnectionUsage(ctx, id, q)
	}, p.printUsage)
	c.Flags().StringVar(&q.Period, "period", "hour", "hour, day, week or month")
	p.completeFlag(c, "period", oneOf("hour", "day", "week", "month"))
	return c
}

func (p *program) printUsage(u api.Usage) {
	row := func(label string, x api.UsagePoint) []string {
		return []string{
			label, strconv.FormatInt(x.Calls, 10), strconv.FormatInt(x.Failures, 10),
			strconv.FormatFloat(x.AverageMs, 'f', 1, 64), strconv.FormatFloat(x.LongestMs, 'f', 1, 64),
		}
	}
	var spans, actions [][]string
	for _, x := range u.Points {
		spans = append(spans, row(when(x.Start), x))
	}
	for _, x := range u.ByAction {
		actions = append(actions, row(x.Action, x))
	}
	p.table("No calls from "+when(&u.From)+" to "+when(&u.To)+".", []string{u.Period, "calls", "failures", "average ms", "longest ms"}, spans)
	if len(actions) > 0 {
		p.printf("\n")
		p.table("", []string{"action", "calls", "failures", "average ms", "longest ms"}, actions)
	}
}

func (p *program) connectionEvents() *cobra.Command {
	c := p.entries("events ID", "List the ledger entries of a connection, newest first", cobra.ExactArgs(1),
		func(ctx context.Context, c *client.Client, args []string) iter.Seq2[api.Entry, error] {
			return c.ConnectionEvents(ctx, args[0])
		})
	c.ValidArgsFunction = p.completeConnections
	return c
}
