package native

import (
	"cmp"
	"context"
	"time"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

type createConnection struct{ Body api.CreateConnection }

func (s *surface) createConnection(ctx context.Context, c claviger.Caller, in *createConnection) (*out[api.Connection], error) {
	made, err := s.core.CreateConnection(ctx, c, newConnection(in.Body))
	return answer(connected(made), err)
}

type listConnections struct {
	wire.Paging
	WorkspaceID  string `query:"workspaceId" maxLength:"64"`
	Workspace    string `query:"workspace" maxLength:"64" doc:"The same as workspaceId"`
	Connector    string `query:"connector" maxLength:"128" doc:"Key of a connector"`
	Status       string `query:"status" enum:"pending,active,reauthorization_required,disabled"`
	HealthStatus string `query:"healthStatus" enum:"healthy,unhealthy,unknown"`
	Owner        string `query:"owner" maxLength:"255" doc:"Id of an owner"`
	Tag          string `query:"tag" maxLength:"512" doc:"key:value" example:"team:sales"`
	Search       string `query:"search" maxLength:"128" doc:"Part of a name"`
}

func (s *surface) listConnections(ctx context.Context, c claviger.Caller, in *listConnections) (*out[wire.List[api.Connection]], error) {
	in.WorkspaceID = cmp.Or(in.WorkspaceID, in.Workspace)
	filter, err := connectionFilter(in)
	if err != nil {
		return nil, err
	}
	same := []string{in.WorkspaceID, in.Connector, in.Status, in.HealthStatus, in.Owner, in.Tag, in.Search}
	return list(s, c, "connections", in.Paging, same, connection, func(x claviger.Connection) string { return string(x.ID) },
		func(p broker.Page) ([]claviger.Connection, bool, error) { return s.core.Connections(ctx, c, filter, p) })
}

func (s *surface) getConnection(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.Connection], error) {
	x, err := s.core.Connection(ctx, c, claviger.ConnectionID(in.ID))
	return answer(connection(x), err)
}

type updateConnection struct {
	ByID
	Body api.UpdateConnection
}

func (s *surface) updateConnection(ctx context.Context, c claviger.Caller, in *updateConnection) (*out[api.Connection], error) {
	changed, err := s.core.UpdateConnection(ctx, c, connectionChange(in.ID, in.Body))
	return answer(connected(changed), err)
}

type deleteConnection struct {
	ByID
	Force bool `query:"force" doc:"Delete it even if something names it"`
}

func (s *surface) deleteConnection(ctx context.Context, c claviger.Caller, in *deleteConnection) (*out[api.Connection], error) {
	x, err := s.core.DeleteConnection(ctx, c, claviger.ConnectionID(in.ID), in.Force)
	return answer(connection(x), err)
}

func (s *surface) testConnection(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.ConnectionTest], error) {
	r, err := s.core.TestConnection(ctx, c, claviger.ConnectionID(in.ID))
	return answer(connectionTest(in.ID, r), err)
}

func (s *surface) disableConnection(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.Connection], error) {
	x, err := s.core.DisableConnection(ctx, c, claviger.ConnectionID(in.ID))
	return answer(connection(x), err)
}

func (s *surface) enableConnection(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.Connection], error) {
	x, err := s.core.EnableConnection(ctx, c, claviger.ConnectionID(in.ID))
	return answer(connection(x), err)
}

type disableConnections struct{ Body api.DisableConnections }

func (s *surface) disableConnections(ctx context.Context, c claviger.Caller, in *disableConnections) (*out[api.ConnectionSweep], error) {
	filter, err := sweepFilter(in.Body)
	if err != nil {
		return nil, err
	}
	n, err := s.core.DisableConnections(ctx, c, filter)
	return answer(api.ConnectionSweep{Object: "connection_sweep", Disabled: n}, err)
}

func (s *surface) references(ctx context.Context, c claviger.Caller, in *ByID) (*out[wire.List[api.Reference]], error) {
	refs, err := s.core.References(ctx, c, claviger.ConnectionID(in.ID))
	return answer(wire.NewList(each(refs, reference), ""), err)
}

// Span is the input of usage.
type Span struct {
	Period string    `query:"period" enum:"hour,day,week,month" default:"hour"`
	From   time.Time `query:"from" doc:"Default: 24 periods ago"`
	To     time.Time `query:"to" doc:"Default: now"`
}

type connectionUsage struct {
	ByID
	Span
}

func (s *surface) connectionUsage(ctx context.Context, c claviger.Caller, in *connectionUsage) (*out[api.Usage], error) {
	q := broker.UsageQuery{Connection: claviger.ConnectionID(in.ID), Period: in.Period, From: in.From, To: in.To}
	u, err := s.core.Usage(ctx, c, q)
	return answer(usage(q, u), err)
}

type connectionEvents struct {
	ByID
	wire.Paging
}

func (s *surface) connectionEvents(ctx context.Context, c claviger.Caller, in *connectionEvents) (*out[wire.List[api.Entry]], error) {
	return list(s, c, "events", in.Paging, []string{in.ID}, Entry, entryID,
		func(p broker.Page) ([]claviger.Entry, bool, error) {
			return s.core.ConnectionEvents(ctx, c, claviger.ConnectionID(in.ID), p)
		})
}
