package native

import (
	"context"
	"strconv"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

// maxDocuments caps a body that holds all documents of a system. They have 4 MiB at most
// as people write them.
const maxDocuments = 8 << 20

func (s *surface) mountSystems(a *wire.API) {
	put, check := wide("PUT", "/v1/systems/{systemKey}", "putSystem", "Upload a connected system's manifest as its next version", claviger.SystemsWrite),
		action(wide("POST", "/v1/systems/{systemKey}/validate", "validateSystem", "Check documents as an upload would, and change nothing", claviger.SystemsRead))
	put.MaxBody, check.MaxBody = maxDocuments, maxDocuments
	wire.Handle(a, put, s.putSystem)
	wire.Handle(a, wide("GET", "/v1/systems", "listSystems", "List connected systems by key", claviger.SystemsRead), s.listSystems)
	wire.Handle(a, wide("GET", "/v1/systems/{systemKey}", "getSystem", "Get a connected system and its documents", claviger.SystemsRead), s.getSystem)
	wire.Handle(a, wide("DELETE", "/v1/systems/{systemKey}", "deleteSystem", "End a system's connections and remove it", claviger.SystemsDelete), s.deleteSystem)
	wire.Handle(a, wide("GET", "/v1/systems/{systemKey}/versions", "listSystemVersions", "List the versions of a manifest, newest first", claviger.SystemsRead), s.listSystemVersions)
	wire.Handle(a, wide("GET", "/v1/systems/{systemKey}/slots", "listSlots", "The slots of a system, their health and which values they lack; never a value", claviger.SystemsRead), s.listSlots)
	wire.Handle(a, check, s.validateSystem)
	wire.Handle(a, action(wide("POST", "/v1/systems/{systemKey}/rollback", "rollbackSystem", "Make an older version's manifest the next version", claviger.SystemsWrite)), s.rollbackSystem)
	wire.Handle(a, action(wide("POST", "/v1/systems/{systemKey}/test-integration", "testIntegration", "Try every slot with its own credential", claviger.SystemsTest)), s.testIntegration)
	wire.Handle(a, wide("GET", "/v1/policy", "getPolicy", "What the organization allows that is refused by default", claviger.OrganizationsRead), s.getPolicy)
	wire.Handle(a, wide("PUT", "/v1/policy", "putPolicy", "Replace what the organization allows that is refused by default", claviger.OrganizationsUpdate), s.putPolicy)
}

// mountSchemas mounts what tells everybody how documents are written.
func (s *surface) mountSchemas(a *wire.API) {
	index := open(broker.SchemaPath, "listSchemas", "List the published JSON Schemas")
	wire.Handle(a, index, s.listSchemas)
	for _, x := range s.core.Schemas() {
		wire.HandleRaw(a, open(broker.SchemaPath+x.Kind+".json", x.Kind+"Schema", "The JSON Schema of "+x.Kind+" documents"), schema(x.Text))
	}
}

func (s *surface) listSchemas(context.Context, claviger.Caller, *struct{}) (*out[wire.List[api.Schema]], error) {
	return body(wire.NewList(each(s.core.Schemas(), func(x broker.Schema) api.Schema { return api.Schema{Name: x.Kind, URL: x.URL} }), "")), nil
}

// BySystem is an address that names a connected system.
type BySystem struct {
	Key string `path:"systemKey" maxLength:"64" doc:"The system's key" example:"example-crm"`
}

type putSystem struct {
	BySystem
	Body api.SystemUpload
}

func (s *surface) putSystem(ctx context.Context, c claviger.Caller, in *putSystem) (*out[api.SystemUploaded], error) {
	up, err := s.core.PutSystem(ctx, c, broker.SystemUpload{
		Key: in.Key, SystemDocuments: broker.SystemDocuments{System: in.Body.System, DataSources: in.Body.DataSources},
		Workspace: claviger.WorkspaceID(in.Body.WorkspaceID), DryRun: in.Body.DryRun, ExpectedVersion: in.Body.ExpectedVersion,
	})
	return answer(systemUploaded(up, in.Body.DryRun), err)
}

type listSystems struct{ wire.Paging }

func (s *surface) listSystems(ctx context.Context, c claviger.Caller, in *listSystems) (*out[wire.List[api.System]], error) {
	return list(s, c, "systems", in.Paging, nil, s.system, func(x claviger.System) string { return x.Key },
		func(p broker.Page) ([]claviger.System, bool, error) { return s.core.Systems(ctx, c, p) })
}

type getSystem struct {
	BySystem
	Version int `query:"version" minimum:"0" doc:"A version of the manifest; default: the present one"`
}

func (s *surface) getSystem(ctx context.Context, c claviger.Caller, in *getSystem) (*out[api.System], error) {
	shown, err := s.core.System(ctx, c, in.Key, in.Version)
	if err != nil {
		return nil, err
	}
	x := s.system(shown.System)
	x.Version, x.Hash = shown.Manifest.Version, shown.Manifest.Hash.String()
	x.System, x.DataSources = shown.SystemDocuments.System, shown.DataSources
	return body(x), nil
}

func (s *surface) deleteSystem(ctx context.Context, c claviger.Caller, in *BySystem) (*out[api.Deleted], error) {
	return gone("system", in.Key, s.core.DeleteSystem(ctx, c, in.Key))
}

type listSystemVersions struct {
	BySystem
	wire.Paging
}

func (s *surface) listSystemVersions(ctx context.Context, c claviger.Caller, in *listSystemVersions) (*out[wire.List[api.SystemVersion]], error) {
	return list(s, c, "system-versions", in.Paging, []string{in.Key}, systemVersion, func(m claviger.Manifest) string { return strconv.Itoa(m.Version) },
		func(p broker.Page) ([]claviger.Manifest, bool, error) {
			before, _ := strconv.Atoi(p.After) // sealed by us, or empty
			return s.core.SystemVersions(ctx, c, in.Key, before, p.Limit)
		})
}

func (s *surface) listSlots(ctx context.Context, c claviger.Caller, in *BySystem) (*out[wire.List[api.Slot]], error) {
	slots, err := s.core.SystemSlots(ctx, c, in.Key)
	if err != nil {
		return nil, err
	}
	return body(wire.NewList(each(slots, slot), "")), nil
}

type validateSystem struct {
	BySystem
	Body api.SystemDocuments
}

func (s *surface) validateSystem(ctx context.Context, c claviger.Caller, in *validateSystem) (*out[api.SystemValidation], error) {
	faults, err := s.core.ValidateSystem(ctx, c, in.Key, broker.SystemDocuments{System: in.Body.System, DataSources: in.Body.DataSources})
	return answer(systemValidation(faults), err)
}

type rollbackSystem struct {
	BySystem
	Body api.SystemRollback
}

func (s *surface) rollbackSystem(ctx context.Context, c claviger.Caller, in *rollbackSystem) (*out[api.SystemUploaded], error) {
	up, err := s.core.RollbackSystem(ctx, c, in.Key, in.Body.Version)
	return answer(systemUploaded(up, false), err)
}

func (s *surface) testIntegration(ctx context.Context, c claviger.Caller, in *BySystem) (*out[api.IntegrationReport], error) {
	report, err := s.core.TestIntegration(ctx, c, in.Key)
	return answer(integrationReport(report), err)
}

func (s *surface) getPolicy(ctx context.Context, c claviger.Caller, _ *struct{}) (*out[api.Policy], error) {
	p, err := s.core.Policy(ctx, c)
	return answer(policy(p), err)
}

type putPolicy struct{ Body api.Policy }

func (s *surface) putPolicy(ctx context.Context, c claviger.Caller, in *putPolicy) (*out[api.Policy], error) {
	p, err := s.core.PutPolicy(ctx, c, claviger.Policy{SyncFallback: in.Body.SyncFallback})
	return answer(policy(p), err)
}

func policy(p claviger.Policy) api.Policy { return api.Policy{SyncFallback: p.SyncFallback} }
