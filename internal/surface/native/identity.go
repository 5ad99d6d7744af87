package native

import (
	"context"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

// none is the input of a route that takes nothing.
type none struct{}

// ByID is the input of a route about one thing. It and the other shared parts of
// inputs are exported because huma reads the parameters of exported fields only.
type ByID struct {
	ID string `path:"id" maxLength:"64" doc:"Its id"`
}

// paged is the input of a list without filters.
type paged struct{ wire.Paging }

func (s *surface) whoami(_ context.Context, c claviger.Caller, _ *none) (*out[api.Whoami], error) {
	return body(whoami(c)), nil
}

type createOrganization struct{ Body api.CreateOrganization }

func (s *surface) createOrganization(ctx context.Context, c claviger.Caller, in *createOrganization) (*out[api.NewOrganization], error) {
	o, err := s.core.CreateOrganization(ctx, c, in.Body.Name)
	return answer(newOrganization(o, s.core.SetUpPage()), err)
}

func (s *surface) listOrganizations(ctx context.Context, c claviger.Caller, in *paged) (*out[wire.List[api.Organization]], error) {
	return list(s, c, "organizations", in.Paging, nil, organization, func(o claviger.Organization) string { return string(o.ID) },
		func(p broker.Page) ([]claviger.Organization, bool, error) { return s.core.Organizations(ctx, c, p) })
}

func (s *surface) getOrganization(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.Organization], error) {
	o, err := s.core.Organization(ctx, c, claviger.OrganizationID(in.ID))
	return answer(organization(o), err)
}

type createWorkspace struct{ Body api.CreateWorkspace }

func (s *surface) createWorkspace(ctx context.Context, c claviger.Caller, in *createWorkspace) (*out[api.Workspace], error) {
	w, err := s.core.CreateWorkspace(ctx, c, in.Body.Name, claviger.RegionID(in.Body.Region))
	return answer(workspace(w), err)
}

func (s *surface) listWorkspaces(ctx context.Context, c claviger.Caller, in *paged) (*out[wire.List[api.Workspace]], error) {
	return list(s, c, "workspaces", in.Paging, nil, workspace, func(w claviger.Workspace) string { return string(w.ID) },
		func(p broker.Page) ([]claviger.Workspace, bool, error) { return s.core.Workspaces(ctx, c, p) })
}

func (s *surface) getWorkspace(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.Workspace], error) {
	w, err := s.core.Workspace(ctx, c, claviger.WorkspaceID(in.ID))
	return answer(workspace(w), err)
}

type updateWorkspace struct {
	ByID
	Body api.UpdateWorkspace
}

func (s *surface) updateWorkspace(ctx context.Context, c claviger.Caller, in *updateWorkspace) (*out[api.Workspace], error) {
	w, err := s.core.RenameWorkspace(ctx, c, claviger.WorkspaceID(in.ID), in.Body.Name)
	return answer(workspace(w), err)
}

func (s *surface) deleteWorkspace(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.Deleted], error) {
	return gone("workspace", in.ID, s.core.DeleteWorkspace(ctx, c, claviger.WorkspaceID(in.ID)))
}

type createUser struct{ Body api.CreateUser }

func (s *surface) invited(u broker.Invited) api.NewUser {
	return api.NewUser{User: user(u.User), SetUpURL: s.core.SetUpPage() + shown(u.SetUp)}
}

func (s *surface) setUpLink(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.NewUser], error) {
	u, err := s.core.InviteUser(ctx, c, claviger.UserID(in.ID))
	return answer(s.invited(u), err)
}

func (s *surface) createUser(ctx context.Context, c claviger.Caller, in *createUser) (*out[api.NewUser], error) {
	u, err := s.core.CreateUser(ctx, c, broker.NewUser{Name: in.Body.Name, Email: in.Body.Email, Role: claviger.Role(in.Body.Role)})
	return answer(s.invited(u), err)
}

func (s *surface) listUsers(ctx context.Context, c claviger.Caller, in *paged) (*out[wire.List[api.User]], error) {
	return list(s, c, "users", in.Paging, nil, user, func(u claviger.User) string { return string(u.ID) },
		func(p broker.Page) ([]claviger.User, bool, error) { return s.core.Users(ctx, c, p) })
}

func (s *surface) getUser(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.User], error) {
	u, err := s.core.User(ctx, c, claviger.UserID(in.ID))
	return answer(user(u), err)
}

type updateUser struct {
	ByID
	Body api.UpdateUser
}

func (s *surface) updateUser(ctx context.Context, c claviger.Caller, in *updateUser) (*out[api.User], error) {
	u, err := s.core.UpdateUser(ctx, c, userChange(in.ID, in.Body))
	return answer(user(u), err)
}

func (s *surface) deleteUser(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.Deleted], error) {
	return gone("user", in.ID, s.core.DeleteUser(ctx, c, claviger.UserID(in.ID)))
}

type createApplication struct{ Body api.CreateApplication }

func (s *surface) createApplication(ctx context.Context, c claviger.Caller, in *createApplication) (*out[api.NewApplication], error) {
	a, err := s.core.CreateApplication(ctx, c, in.Body.Name)
	return answer(api.NewApplication{Application: application(a.Application), ClientSecret: shown(a.ClientSecret)}, err)
}

func (s *surface) listApplications(ctx context.Context, c claviger.Caller, in *paged) (*out[wire.List[api.Application]], error) {
	return list(s, c, "applications", in.Paging, nil, application, func(a claviger.Application) string { return string(a.ID) },
		func(p broker.Page) ([]claviger.Application, bool, error) { return s.core.Applications(ctx, c, p) })
}

func (s *surface) deleteApplication(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.Deleted], error) {
	return gone("application", in.ID, s.core.DeleteApplication(ctx, c, claviger.ApplicationID(in.ID)))
}

type createAPIKey struct{ Body api.CreateAPIKey }

func (s *surface) createAPIKey(ctx context.Context, c claviger.Caller, in *createAPIKey) (*out[api.NewAPIKey], error) {
	k, err := s.core.CreateAPIKey(ctx, c, keyRequest(in.Body))
	return answer(api.NewAPIKey{APIKey: apiKey(k.Key), Key: shown(k.Token)}, err)
}

func (s *surface) listAPIKeys(ctx context.Context, c claviger.Caller, in *paged) (*out[wire.List[api.APIKey]], error) {
	return list(s, c, "api-keys", in.Paging, nil, apiKey, func(k claviger.APIKey) string { return string(k.ID) },
		func(p broker.Page) ([]claviger.APIKey, bool, error) { return s.core.APIKeys(ctx, c, p) })
}

func (s *surface) revokeAPIKey(ctx context.Context, c claviger.Caller, in *ByID) (*out[api.Deleted], error) {
	_, err := s.core.RevokeAPIKey(ctx, c, claviger.KeyID(in.ID))
	return gone("api_key", in.ID, err)
}

type revokeTokens struct{ Body api.RevokeTokens }

func (s *surface) revokeTokens(ctx context.Context, c claviger.Caller, in *revokeTokens) (*out[api.TokenSweep], error) {
	n, err := s.core.RevokeTokens(ctx, c, tokenSweep(in.Body))
	return answer(api.TokenSweep{Object: "token_sweep", Revoked: n}, err)
}
