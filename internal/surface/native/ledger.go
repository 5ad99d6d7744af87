package native

import (
	"context"
	"strconv"
	"time"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

// ByPath is the input of a route about one secret.
type ByPath struct {
	Path string `path:"path" maxLength:"512" doc:"Without kv://" example:"shared/acme/key"`
}

type putSecret struct {
	ByPath
	Body api.PutSecret
}

func (s *surface) putSecret(ctx context.Context, c claviger.Caller, in *putSecret) (*out[api.Secret], error) {
	m, err := s.core.PutSecret(ctx, c, in.Path, claviger.NewSecretString(in.Body.Value))
	return answer(secret(m), err)
}

func (s *surface) getSecret(ctx context.Context, c claviger.Caller, in *ByPath) (*out[api.Secret], error) {
	m, err := s.core.Secret(ctx, c, in.Path)
	return answer(secret(m), err)
}

func (s *surface) deleteSecret(ctx context.Context, c claviger.Caller, in *ByPath) (*out[api.Deleted], error) {
	return gone("secret", in.Path, s.core.DeleteSecret(ctx, c, in.Path))
}

type listSecrets struct {
	wire.Paging
	Prefix string `query:"prefix" maxLength:"512" doc:"Beginning of the paths"`
}

func (s *surface) listSecrets(ctx context.Context, c claviger.Caller, in *listSecrets) (*out[wire.List[api.Secret]], error) {
	return list(s, c, "secrets", in.Paging, []string{in.Prefix}, secret, func(m claviger.SecretMeta) string { return m.Path },
		func(p broker.Page) ([]claviger.SecretMeta, bool, error) { return s.core.Secrets(ctx, c, in.Prefix, p) })
}

type listAudit struct {
	wire.Paging
	From         time.Time `query:"from" doc:"Earliest time"`
	To           time.Time `query:"to" doc:"Latest time"`
	Organization string    `query:"organizationId" maxLength:"64" doc:"Your own; another's finds nothing"`
	WorkspaceID  string    `query:"workspaceId" maxLength:"64"`
	ActorKind    string    `query:"actorKind" enum:"operator,scoped,widget,api_key,session,connect,system,nobody"`
	ActorID      string    `query:"actorId" maxLength:"255"`
	Verb         string    `query:"verb" maxLength:"64" example:"connections:create"`
	ResourceType string    `query:"resourceType" maxLength:"64" example:"connection"`
	ResourceID   string    `query:"resourceId" maxLength:"512"`
	ConnectionID string    `query:"connectionId" maxLength:"64"`
	Connector    string    `query:"connector" maxLength:"128"`
	Host         string    `query:"host" maxLength:"253" doc:"Host that was called"`
	Outcome      string    `query:"outcome" enum:"allowed,denied,succeeded,failed"`
	StatusCode   int       `query:"statusCode" minimum:"100" maximum:"999" doc:"Status that the vendor answered"`
	RequestID    string    `query:"requestId" maxLength:"64"`
	Address      string    `query:"address" maxLength:"64"`
	Usage        string    `query:"usage" maxLength:"64"`
	Slot         string    `query:"slot" maxLength:"255"`
	Code         string    `query:"code" maxLength:"64" doc:"Why it was denied or failed"`
	Action       string    `query:"action" maxLength:"257" doc:"connector.action"`
	MinDuration  int64     `query:"minDurationMs" minimum:"0" maximum:"86400000" doc:"Took at least this long"`
	MaxDuration  int64     `query:"maxDurationMs" minimum:"0" maximum:"86400000" doc:"Took at most this long"`
}

func (s *surface) audit(ctx context.Context, c claviger.Caller, in *listAudit) (*out[wire.List[api.Entry]], error) {
	same := []string{
		in.From.String(), in.To.String(), in.Organization, in.Code, in.Action, strconv.FormatInt(in.MinDuration, 10), strconv.FormatInt(in.MaxDuration, 10), in.WorkspaceID, in.ActorKind, in.ActorID, in.Verb, in.ResourceType, in.ResourceID,
		in.ConnectionID, in.Connector, in.Host, in.Outcome, strconv.Itoa(in.StatusCode), in.RequestID, in.Address, in.Usage, in.Slot,
	}
	return list(s, c, "audit", in.Paging, same, Entry, entryID,
		func(p broker.Page) ([]claviger.Entry, bool, error) { return s.core.Audit(ctx, c, auditFilter(in), p) })
}

type organizationUsage struct {
	Span
	WorkspaceID string `query:"workspaceId" maxLength:"64" doc:"Default: all workspaces in reach"`
}

func (s *surface) usage(ctx context.Context, c claviger.Caller, in *organizationUsage) (*out[api.Usage], error) {
	q := broker.UsageQuery{Workspace: claviger.WorkspaceID(in.WorkspaceID), Period: in.Period, From: in.From, To: in.To}
	u, err := s.core.Usage(ctx, c, q)
	return answer(usage(q, u), err)
}

func (s *surface) encryption(ctx context.Context, c claviger.Caller, _ *none) (*out[api.Encryption], error) {
	e, err := s.core.Encryption(ctx, c)
	return answer(encryption(e), err)
}

func (s *surface) rotateEncryption(ctx context.Context, c claviger.Caller, _ *none) (*out[api.Encryption], error) {
	e, err := s.core.RotateEncryption(ctx, c)
	return answer(encryption(e), err)
}
