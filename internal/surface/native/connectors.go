package native

import (
	"context"
	"net/http"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

type listConnectors struct {
	wire.Paging
	Search   string `query:"search" maxLength:"128" doc:"Part of a key or name"`
	Category string `query:"category" maxLength:"128"`
	Kind     string `query:"kind" maxLength:"32" example:"http"`
}

func (s *surface) listConnectors(ctx context.Context, c claviger.Caller, in *listConnectors) (*out[wire.List[api.Connector]], error) {
	id := func(k *claviger.Connector) string { return k.Key }
	return list(s, c, "connectors", in.Paging, []string{in.Search, in.Category, in.Kind}, connector, id,
		func(p broker.Page) ([]*claviger.Connector, bool, error) {
			all, err := s.core.Connectors(ctx, c, broker.ConnectorFilter{Search: in.Search, Category: in.Category, Kind: in.Kind})
			part, more := window(all, p, id)
			return part, more, err
		})
}

// ByKey is the input of a route about one connector.
type ByKey struct {
	Key string `path:"key" maxLength:"128" doc:"Key of the connector"`
}

type getConnector struct {
	ByKey
	Version int `query:"version" minimum:"1" doc:"Default: the newest"`
}

func (s *surface) getConnector(ctx context.Context, c claviger.Caller, in *getConnector) (*out[api.Connector], error) {
	k, err := s.core.Connector(ctx, c, in.Key, in.Version)
	if err != nil {
		return nil, err
	}
	return body(wholeConnector(k)), nil
}

type putConnector struct {
	ByKey
	RawBody []byte `contentType:"application/json" doc:"The document, as JSON or YAML"`
}

func (s *surface) putConnector(ctx context.Context, c claviger.Caller, in *putConnector) (*out[api.StoredConnector], error) {
	stored, err := s.core.PutConnector(ctx, c, in.Key, in.RawBody)
	if err != nil {
		return nil, err
	}
	return body(storedConnector(stored)), nil
}

func (s *surface) deleteConnector(ctx context.Context, c claviger.Caller, in *ByKey) (*out[api.Deleted], error) {
	return gone("connector", in.Key, s.core.DeleteConnector(ctx, c, in.Key))
}

// schema serves a JSON Schema.
func schema(text []byte) func(http.ResponseWriter, *http.Request, claviger.Caller) {
	return func(w http.ResponseWriter, _ *http.Request, _ claviger.Caller) {
		w.Header().Set("Content-Type", "application/schema+json")
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(text)
	}
}

type listActions struct {
	wire.Paging
	Connector string `query:"connector" maxLength:"128" doc:"Key of a connector"`
	Search    string `query:"search" maxLength:"128" doc:"Part of an identifier or name"`
}

func (s *surface) listActions(ctx context.Context, c claviger.Caller, in *listActions) (*out[wire.List[api.Action]], error) {
	id := func(a broker.ActionInfo) string { return a.Identifier }
	return list(s, c, "actions", in.Paging, []string{in.Connector, in.Search}, actionInfo, id,
		func(p broker.Page) ([]broker.ActionInfo, bool, error) {
			all, err := s.core.Actions(ctx, c, in.Connector, in.Search)
			part, more := window(all, p, id)
			return part, more, err
		})
}

type runAction struct{ Body api.RunAction }

func (s *surface) runAction(ctx context.Context, c claviger.Caller, in *runAction) (*out[api.ActionResult], error) {
	r, err := s.core.RunAction(ctx, c, broker.ActionRun{
		Identifier: in.Body.ActionIdentifier, Connection: claviger.ConnectionID(in.Body.ConnectionID), System: in.Body.SystemKey, Input: in.Body.Input,
	})
	return answer(actionResult(r, c.From.ID), err)
}

type explainCall struct{ Body api.ExplainCall }

func (s *surface) explain(ctx context.Context, c claviger.Caller, in *explainCall) (*out[api.Explanation], error) {
	x, err := s.core.Explain(ctx, c, question(in.Body))
	return answer(explanation(x), err)
}
