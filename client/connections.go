package client

import (
	"bytes"
	"context"
	"iter"
	"net/url"
	"strconv"
	"time"

	"claviger/api"
)

// ConnectionQuery narrows [Client.Connections]; an empty member does not narrow.
type ConnectionQuery struct {
	WorkspaceID  string
	Connector    string
	Status       string
	HealthStatus string
	Owner        string
	Tag          string // "key:value"
	Search       string // part of a name
}

// UsageQuery narrows usage. Zero times mean the last 24 periods.
type UsageQuery struct {
	WorkspaceID string // of the organization's usage only
	Period      string // hour, day, week or month; empty: hour
	From, To    time.Time
}

func (q UsageQuery) values() url.Values {
	return values("workspaceId", q.WorkspaceID, "period", q.Period, "from", moment(q.From), "to", moment(q.To))
}

func connectionPath(id, tail string) string { return "/v1/connections/" + url.PathEscape(id) + tail }

// CreateConnection checks the credentials (unless told not to) and stores them.
func (c *Client) CreateConnection(ctx context.Context, in api.CreateConnection, opts ...CallOption) (api.Connection, error) {
	return post[api.Connection](ctx, c, "/v1/connections", in, opts)
}

// Connections lists connections, newest first, without deleted ones.
func (c *Client) Connections(ctx context.Context, q ConnectionQuery) iter.Seq2[api.Connection, error] {
	return pages[api.Connection](ctx, c, "/v1/connections", values("workspaceId", q.WorkspaceID, "connector", q.Connector,
		"status", q.Status, "healthStatus", q.HealthStatus, "owner", q.Owner, "tag", q.Tag, "search", q.Search))
}

// Connection answers one connection; a deleted one with its verdicts.
func (c *Client) Connection(ctx context.Context, id string) (api.Connection, error) {
	return get[api.Connection](ctx, c, connectionPath(id, ""), nil)
}

// UpdateConnection changes what is given. New credentials are checked before they
// replace the old ones.
func (c *Client) UpdateConnection(ctx context.Context, id string, in api.UpdateConnection) (api.Connection, error) {
	return patch[api.Connection](ctx, c, connectionPath(id, ""), in)
}

// DeleteConnection stops its use, revokes it at the vendor where that is possible
// and destroys its credentials. It fails with conflict and the references of what
// still names it, unless force.
func (c *Client) DeleteConnection(ctx context.Context, id string, force bool) (api.Connection, error) {
	q := url.Values{}
	if force {
		q.Set("force", "true")
	}
	return remove[api.Connection](ctx, c, connectionPath(id, ""), q)
}

// TestConnection runs the three steps of a test. A failed step is no error.
func (c *Client) TestConnection(ctx context.Context, id string, opts ...CallOption) (api.ConnectionTest, error) {
	return post[api.ConnectionTest](ctx, c, connectionPath(id, "/test"), nil, opts)
}

// DisableConnection switches a connection off.
func (c *Client) DisableConnection(ctx context.Context, id string, opts ...CallOption) (api.Connection, error) {
	return post[api.Connection](ctx, c, connectionPath(id, "/disable"), nil, opts)
}

// EnableConnection switches a connection on again.
func (c *Client) EnableConnection(ctx context.Context, id string, opts ...CallOption) (api.Connection, error) {
	return post[api.Connection](ctx, c, connectionPath(id, "/enable"), nil, opts)
}

// DisableConnections switches off all connections that match; at least one member
// of in must be given.
func (c *Client) DisableConnections(ctx context.Context, in api.DisableConnections, opts ...CallOption) (api.ConnectionSweep, error) {
	return post[api.ConnectionSweep](ctx, c, "/v1/connections/disable", in, opts)
}

// References answers what names a connection.
func (c *Client) References(ctx context.Context, id string) ([]api.Reference, error) {
	list, err := get[api.List[api.Reference]](ctx, c, connectionPath(id, "/references"), nil)
	return list.Data, err
}

// ConnectionUsage answers the calls, failures and latencies of a connection.
func (c *Client) ConnectionUsage(ctx context.Context, id string, q UsageQuery) (api.Usage, error) {
	q.WorkspaceID = ""
	return get[api.Usage](ctx, c, connectionPath(id, "/usage"), q.values())
}

// ConnectionEvents lists the ledger entries of a connection, newest first.
func (c *Client) ConnectionEvents(ctx context.Context, id string) iter.Seq2[api.Entry, error] {
	return pages[api.Entry](ctx, c, connectionPath(id, "/events"), nil)
}

// Explain answers what a call would do, without making it.
func (c *Client) Explain(ctx context.Context, in api.ExplainCall, opts ...CallOption) (api.Explanation, error) {
	return post[api.Explanation](ctx, c, "/v1/explain", in, opts)
}

// Actions lists the actions that the caller may see; both filters may be empty.
func (c *Client) Actions(ctx context.Context, connector, search string) iter.Seq2[api.Action, error] {
	return pages[api.Action](ctx, c, "/v1/actions", values("connector", connector, "search", search))
}

// RunAction runs an action through a connection. A vendor that answered a failure
// is no error: see the result's status.
func (c *Client) RunAction(ctx context.Context, in api.RunAction, opts ...CallOption) (api.ActionResult, error) {
	return post[api.ActionResult](ctx, c, "/v1/actions/run", in, opts)
}

// ConnectorQuery narrows [Client.Connectors].
type ConnectorQuery struct{ Search, Category, Kind string }

// Connectors lists the catalogue by key.
func (c *Client) Connectors(ctx context.Context, q ConnectorQuery) iter.Seq2[api.Connector, error] {
	return pages[api.Connector](ctx, c, "/v1/connectors", values("search", q.Search, "category", q.Category, "kind", q.Kind))
}

// Connector answers one connector with its document; version 0 is the newest.
func (c *Client) Connector(ctx context.Context, key string, version int) (api.Connector, error) {
	q := url.Values{}
	if version != 0 {
		q.Set("version", strconv.Itoa(version))
	}
	return get[api.Connector](ctx, c, "/v1/connectors/"+url.PathEscape(key), q)
}

// PutConnector stores a connector's document, JSON or YAML, as its next version.
func (c *Client) PutConnector(ctx context.Context, key string, document []byte) (api.StoredConnector, error) {
	contentType := "application/yaml"
	if bytes.HasPrefix(bytes.TrimSpace(document), []byte("{")) {
		contentType = "application/json" // no YAML document that the server reads begins with a brace
	}
	return put[api.StoredConnector](ctx, c, "/v1/connectors/"+url.PathEscape(key), document, contentType)
}

// DeleteConnector removes a custom connector that nothing uses.
func (c *Client) DeleteConnector(ctx context.Context, key string) (api.Deleted, error) {
	return remove[api.Deleted](ctx, c, "/v1/connectors/"+url.PathEscape(key), nil)
}

// ConnectorSchema answers the JSON Schema of connector documents.
func (c *Client) ConnectorSchema(ctx context.Context) (schema []byte, err error) {
	err = c.do(ctx, request{method: "GET", path: "/v1/schemas/connector.json"}, &schema)
	return schema, err
}
