package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"

	"claviger/api"
)

// Whoami answers who the token says the caller is.
func (c *Client) Whoami(ctx context.Context) (api.Whoami, error) {
	return get[api.Whoami](ctx, c, "/v1/whoami", nil)
}

// CreateOrganization makes a tenant. Its secrets are answered this once. Only the
// instance's administrator may.
func (c *Client) CreateOrganization(ctx context.Context, in api.CreateOrganization, opts ...CallOption) (api.NewOrganization, error) {
	return post[api.NewOrganization](ctx, c, "/v1/organizations", in, opts)
}

// Organizations lists the tenants that the caller may see.
func (c *Client) Organizations(ctx context.Context) iter.Seq2[api.Organization, error] {
	return pages[api.Organization](ctx, c, "/v1/organizations", nil)
}

// Organization answers one tenant.
func (c *Client) Organization(ctx context.Context, id string) (api.Organization, error) {
	return get[api.Organization](ctx, c, "/v1/organizations/"+url.PathEscape(id), nil)
}

// CreateWorkspace makes a workspace.
func (c *Client) CreateWorkspace(ctx context.Context, in api.CreateWorkspace, opts ...CallOption) (api.Workspace, error) {
	return post[api.Workspace](ctx, c, "/v1/workspaces", in, opts)
}

// Workspaces lists the workspaces in reach.
func (c *Client) Workspaces(ctx context.Context) iter.Seq2[api.Workspace, error] {
	return pages[api.Workspace](ctx, c, "/v1/workspaces", nil)
}

// Workspace answers one workspace.
func (c *Client) Workspace(ctx context.Context, id string) (api.Workspace, error) {
	return get[api.Workspace](ctx, c, "/v1/workspaces/"+url.PathEscape(id), nil)
}

// UpdateWorkspace renames a workspace.
func (c *Client) UpdateWorkspace(ctx context.Context, id string, in api.UpdateWorkspace) (api.Workspace, error) {
	return patch[api.Workspace](ctx, c, "/v1/workspaces/"+url.PathEscape(id), in)
}

// DeleteWorkspace removes an empty workspace.
func (c *Client) DeleteWorkspace(ctx context.Context, id string) (api.Deleted, error) {
	return remove[api.Deleted](ctx, c, "/v1/workspaces/"+url.PathEscape(id), nil)
}

// CreateUser makes a person, and a link by which they choose how they sign in.
func (c *Client) CreateUser(ctx context.Context, in api.CreateUser, opts ...CallOption) (api.NewUser, error) {
	return post[api.NewUser](ctx, c, "/v1/users", in, opts)
}

// SetUpLink makes a new link for a person who lost the one before, or the password.
func (c *Client) SetUpLink(ctx context.Context, id string, opts ...CallOption) (api.NewUser, error) {
	return post[api.NewUser](ctx, c, "/v1/users/"+url.PathEscape(id)+"/set-up-link", nil, opts)
}

// Users lists the organization's people.
func (c *Client) Users(ctx context.Context) iter.Seq2[api.User, error] {
	return pages[api.User](ctx, c, "/v1/users", nil)
}

// User answers one person.
func (c *Client) User(ctx context.Context, id string) (api.User, error) {
	return get[api.User](ctx, c, "/v1/users/"+url.PathEscape(id), nil)
}

// UpdateUser changes what is given.
func (c *Client) UpdateUser(ctx context.Context, id string, in api.UpdateUser) (api.User, error) {
	return patch[api.User](ctx, c, "/v1/users/"+url.PathEscape(id), in)
}

// DeleteUser removes a person, whose keys stop working at once.
func (c *Client) DeleteUser(ctx context.Context, id string) (api.Deleted, error) {
	return remove[api.Deleted](ctx, c, "/v1/users/"+url.PathEscape(id), nil)
}

// CreateApplication makes an OAuth client. Its secret is answered this once.
func (c *Client) CreateApplication(ctx context.Context, in api.CreateApplication, opts ...CallOption) (api.NewApplication, error) {
	return post[api.NewApplication](ctx, c, "/v1/applications", in, opts)
}

// Applications lists the organization's OAuth clients.
func (c *Client) Applications(ctx context.Context) iter.Seq2[api.Application, error] {
	return pages[api.Application](ctx, c, "/v1/applications", nil)
}

// DeleteApplication removes an OAuth client.
func (c *Client) DeleteApplication(ctx context.Context, id string) (api.Deleted, error) {
	return remove[api.Deleted](ctx, c, "/v1/applications/"+url.PathEscape(id), nil)
}

// CreateAPIKey makes a key, which is answered this once.
func (c *Client) CreateAPIKey(ctx context.Context, in api.CreateAPIKey, opts ...CallOption) (api.NewAPIKey, error) {
	return post[api.NewAPIKey](ctx, c, "/v1/api-keys", in, opts)
}

// APIKeys lists keys without their values.
func (c *Client) APIKeys(ctx context.Context) iter.Seq2[api.APIKey, error] {
	return pages[api.APIKey](ctx, c, "/v1/api-keys", nil)
}

// RevokeAPIKey makes a key stop working at once.
func (c *Client) RevokeAPIKey(ctx context.Context, id string) (api.Deleted, error) {
	return remove[api.Deleted](ctx, c, "/v1/api-keys/"+url.PathEscape(id), nil)
}

// RevokeTokens revokes short-lived tokens before they expire.
func (c *Client) RevokeTokens(ctx context.Context, in api.RevokeTokens, opts ...CallOption) (api.TokenSweep, error) {
	return post[api.TokenSweep](ctx, c, "/v1/tokens/revoke", in, opts)
}

// PutSecret stores a value under a path such as "shared/acme/key".
func (c *Client) PutSecret(ctx context.Context, path, value string) (api.Secret, error) {
	return put[api.Secret](ctx, c, secretPath(path), api.PutSecret{Value: value}, "")
}

// Secret answers what may be known of a stored secret: never its value.
func (c *Client) Secret(ctx context.Context, path string) (api.Secret, error) {
	return get[api.Secret](ctx, c, secretPath(path), nil)
}

// Secrets lists stored secrets whose path begins with prefix.
func (c *Client) Secrets(ctx context.Context, prefix string) iter.Seq2[api.Secret, error] {
	return pages[api.Secret](ctx, c, "/v1/secrets", values("prefix", prefix))
}

// DeleteSecret destroys a stored secret.
func (c *Client) DeleteSecret(ctx context.Context, path string) (api.Deleted, error) {
	return remove[api.Deleted](ctx, c, secretPath(path), nil)
}

// secretPath escapes each segment, so that a name can never climb out of the route.
func secretPath(path string) string {
	segments := strings.Split(strings.TrimPrefix(path, "kv://"), "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return "/v1/secrets/" + strings.Join(segments, "/")
}

// AuditQuery narrows [Client.Audit]; an empty member does not narrow.
type AuditQuery struct {
	From, To                        time.Time
	WorkspaceID                     string
	ActorKind, ActorID              string
	Verb                            string
	ResourceType, ResourceID        string
	ConnectionID, Connector         string
	Host, Outcome                   string
	StatusCode                      int
	RequestID, Address, Usage, Slot string
	Code, Action                    string // why it was denied or failed; "connector.action"
}

// Audit lists ledger entries, newest first.
func (c *Client) Audit(ctx context.Context, q AuditQuery) iter.Seq2[api.Entry, error] {
	v := values("from", moment(q.From), "to", moment(q.To), "workspaceId", q.WorkspaceID,
		"actorKind", q.ActorKind, "actorId", q.ActorID, "verb", q.Verb, "resourceType", q.ResourceType, "resourceId", q.ResourceID,
		"connectionId", q.ConnectionID, "connector", q.Connector, "host", q.Host, "outcome", q.Outcome,
		"requestId", q.RequestID, "address", q.Address, "usage", q.Usage, "slot", q.Slot, "code", q.Code, "action", q.Action)
	if q.StatusCode != 0 {
		v.Set("statusCode", strconv.Itoa(q.StatusCode))
	}
	return pages[api.Entry](ctx, c, "/v1/audit", v)
}

// Usage answers the organization's, or one workspace's, calls over time.
func (c *Client) Usage(ctx context.Context, q UsageQuery) (api.Usage, error) {
	return get[api.Usage](ctx, c, "/v1/usage", q.values())
}

// Encryption answers how far the organization's key rotation is.
func (c *Client) Encryption(ctx context.Context) (api.Encryption, error) {
	return get[api.Encryption](ctx, c, "/v1/encryption", nil)
}

// RotateEncryption adds a new encryption key, which seals from now on, and starts
// re-sealing what is under older ones.
func (c *Client) RotateEncryption(ctx context.Context, opts ...CallOption) (api.Encryption, error) {
	return post[api.Encryption](ctx, c, "/v1/encryption/rotate", nil, opts)
}
