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

func (s *surface) mountRevocations(a *wire.API) {
	const verb = claviger.ConnectionsRevoke
	wire.Handle(a, wide("POST", "/v1/connections/revoke", "revokeConnections", "Stop all connections that match at once and revoke their tokens at the vendors", verb), s.revokeConnections)
	wire.Handle(a, wide("GET", "/v1/revocations/{id}", "getRevocation", "What was and what was not confirmed, and who had used each connection", verb), s.getRevocation)
}

type revokeConnections struct{ Body api.RevokeConnections }

func (s *surface) revokeConnections(ctx context.Context, c claviger.Caller, in *revokeConnections) (*out[api.RevocationReport], error) {
	key, value, err := splitTag(in.Body.Tag)
	if err != nil {
		return nil, err
	}
	report, err := s.core.RevokeConnections(ctx, c, broker.RevocationRequest{
		ConnectionFilter: broker.ConnectionFilter{
			Workspace: claviger.WorkspaceID(cmp.Or(in.Body.WorkspaceID, in.Body.Workspace)), Connector: in.Body.Connector, Owner: in.Body.Owner,
			TagKey: key, TagValue: value,
		},
		CreatedAfter: given(in.Body.CreatedAfter), CreatedBefore: given(in.Body.CreatedBefore), Since: given(in.Body.Since),
	})
	return s.revocationReport(c, report, err)
}

type getRevocation struct {
	ByID
	wire.Paging
}

func (s *surface) getRevocation(ctx context.Context, c claviger.Caller, in *getRevocation) (*out[api.RevocationReport], error) {
	after, err := s.cursors.Open(c, revocationsRoute, quoted([]string{in.ID}), in.After)
	if err != nil {
		return nil, err
	}
	report, err := s.core.Revocation(ctx, c, claviger.ReportID(in.ID), broker.Page{After: after, Limit: in.Limit})
	return s.revocationReport(c, report, err)
}

// revocationsRoute names the list in cursors.
const revocationsRoute = "revocations"

func (s *surface) revocationReport(c claviger.Caller, r broker.RevocationReport, err error) (*out[api.RevocationReport], error) {
	if err != nil {
		return nil, err
	}
	page := api.List[api.RevokedConnection]{Object: "list", Data: each(r.Connections, revokedConnection), HasMore: r.More}
	if n := len(r.Connections); r.More && n > 0 {
		page.NextCursor = s.cursors.Seal(c, revocationsRoute, quoted([]string{string(r.ID)}), string(r.Connections[n-1].Connection.ID))
	}
	return body(api.RevocationReport{
		ID: string(r.ID), Object: "revocation", Status: r.Status, CreatedBy: r.CreatedBy, CreatedAt: at(r.CreatedAt), Since: at(r.Since),
		Counts: api.RevocationCounts{
			Connections: r.Counts.Connections, Pending: r.Counts.Pending, Revoked: r.Counts.Revoked,
			NotSupported: r.Counts.NotSupported, Failed: r.Counts.Failed,
		},
		Connections: page,
	}), nil
}

func revokedConnection(x broker.RevokedConnection) api.RevokedConnection {
	out := api.RevokedConnection{
		ConnectionID: string(x.Connection.ID), Name: x.Connection.Name, Connector: x.Connection.Connector,
		WorkspaceID: string(x.Connection.Workspace), OwnerID: x.Connection.Owner,
		Revocations: each(x.Connection.Revocations, func(r claviger.Revocation) api.Revocation {
			return api.Revocation{Token: r.Token, Verdict: r.Verdict}
		}),
	}
	if x.UsedBy != nil {
		out.UsedBy = each(x.UsedBy, func(u broker.ConnectionUser) api.ConnectionUser {
			return api.ConnectionUser{Kind: string(u.Kind), ID: u.ID, Uses: u.Uses, LastUsedAt: at(u.LastUsedAt)}
		})
	}
	return out
}

// given answers a time that may be absent.
func given(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
