package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

func (p *program) connectionCommand() *cobra.Command {
	return group("connection", "Credentials for one connector each",
		p.connectionCreate(), p.connectionList(), p.connectionUpdate(), p.connectionDelete(), p.connectionTest(),
		p.onConnection("show", "Show a connection", (*client.Client).Connection),
		p.onConnection("disable", "Switch a connection off", func(c *client.Client, ctx context.Context, id string) (api.Connection, error) {
			return c.DisableConnection(ctx, id)
		}),
		p.onConnection("enable", "Switch a connection on again", func(c *client.Client, ctx context.Context, id string) (api.Connection, error) {
			return c.EnableConnection(ctx, id)
		}),
		p.connectionRevoke(), p.connectionReferences(), p.connectionUsage(), p.connectionEvents())
}

// onConnection makes a command that does one thing to a connection and prints it.
func (p *program) onConnection(use, short string, call func(*client.Client, context.Context, string) (api.Connection, error)) *cobra.Command {
	c := command(use+" ID", short, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		conn, err := call(c, ctx, args[0])
		return p.showConnection(conn, err)
	})
	c.ValidArgsFunction = p.completeConnections
	return c
}

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
	var limit int
	c := command("list", "List connections, newest first", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		list, err := client.Collect(c.Connections(ctx, q), limit)
		if err != nil {
			return err
		}
		return p.show(list, func() {
			rows := make([][]string, len(list))
			for i, x := range list {
				rows[i] = []string{x.ID, x.Name, x.Connector, x.WorkspaceID, x.Status, x.HealthStatus, when(x.LastUsedAt)}
			}
			p.table("No connections.", []string{"id", "name", "connector", "workspace", "status", "health", "last used"}, rows)
		})
	})
	f := c.Flags()
	f.StringVar(&q.WorkspaceID, "workspace", "", "id of a workspace")
	f.StringVar(&q.Connector, "connector", "", "key of a connector")
	f.StringVar(&q.Status, "status", "", "pending, active, reauthorization_required or disabled")
	f.StringVar(&q.HealthStatus, "health", "", "healthy, unhealthy or unknown")
	f.StringVar(&q.Owner, "owner", "", "id of an owner")
	f.StringVar(&q.Tag, "tag", "", "key:value")
	f.StringVar(&q.Search, "search", "", "part of a name")
	f.IntVar(&limit, "limit", 0, "at most this many; 0: all")
	p.completeFlag(c, "connector", p.completeConnectors)
	return c
}

func (p *program) connectionDelete() *cobra.Command {
	var force bool
	c := command("delete ID", "Delete a connection: stop it, revoke it at the vendor, destroy its credentials", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		conn, err := c.DeleteConnection(ctx, args[0], force)
		return p.showConnection(conn, err)
	})
	c.Flags().BoolVar(&force, "force", false, "delete it even if something names it")
	c.ValidArgsFunction = p.completeConnections
	return c
}

func (p *program) connectionTest() *cobra.Command {
	c := command("test ID", "Test a connection: format, live call, permissions", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		report, err := c.TestConnection(ctx, args[0])
		if err != nil {
			return err
		}
		if err := p.show(report, func() { p.printTest(report) }); err != nil {
			return err
		}
		if report.Status != "passed" {
			return failed(exitRefused)
		}
		return nil
	})
	c.ValidArgsFunction = p.completeConnections
	return c
}

func (p *program) printTest(report api.ConnectionTest) {
	rows := make([][]string, len(report.Steps))
	for i, s := range report.Steps {
		status := ""
		if s.StatusCode != 0 {
			status = strconv.Itoa(s.StatusCode)
		}
		note := s.Message
		if len(s.Missing) > 0 {
			note += " Missing: " + strings.Join(s.Missing, ", ")
		}
		rows[i] = []string{s.Name, s.Status, s.Code, status, strconv.FormatInt(s.DurationMs, 10) + " ms", note}
	}
	p.printf("%s\n", escape(report.Status))
	p.table("No steps.", []string{"step", "result", "code", "status", "time", "note"}, rows)
}

func (p *program) connectionReferences() *cobra.Command {
	c := command("references ID", "List what names a connection", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		list, err := c.References(ctx, args[0])
		if err != nil {
			return err
		}
		return p.show(list, func() {
			rows := make([][]string, len(list))
			for i, r := range list {
				rows[i] = []string{r.Type, r.ID, r.Name, when(r.LastUsedAt)}
			}
			p.table("Nothing names it.", []string{"type", "id", "name", "last used"}, rows)
		})
	})
	c.ValidArgsFunction = p.completeConnections
	return c
}

func (p *program) connectionUsage() *cobra.Command {
	var q client.UsageQuery
	c := command("usage ID", "Show calls, failures and latency over time", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		u, err := c.ConnectionUsage(ctx, args[0], q)
		if err != nil {
			return err
		}
		return p.show(u, func() { p.printUsage(u) })
	})
	c.Flags().StringVar(&q.Period, "period", "hour", "hour, day, week or month")
	c.ValidArgsFunction = p.completeConnections
	p.completeFlag(c, "period", cobra.FixedCompletions([]string{"hour", "day", "week", "month"}, cobra.ShellCompDirectiveNoFileComp))
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
	var limit int
	c := command("events ID", "List the ledger entries of a connection, newest first", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		list, err := client.Collect(c.ConnectionEvents(ctx, args[0]), limit)
		if err != nil {
			return err
		}
		return p.show(list, func() { p.printEntries(list) })
	})
	c.Flags().IntVar(&limit, "limit", 50, "at most this many; 0: all")
	c.ValidArgsFunction = p.completeConnections
	return c
}
