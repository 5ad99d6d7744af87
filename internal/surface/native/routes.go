package native

import (
	"errors"
	"net/http"
	"strings"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

// Config is what the surface is made of. All members are required.
type Config struct {
	Broker  *broker.Broker
	Cursors *wire.Cursors
	Tokens  Tokens // for tokens that stand where vendors' SDKs put them
}

// surface holds what the handlers need.
type surface struct {
	core     *broker.Broker
	cursors  *wire.Cursors
	tokens   Tokens
	api      *wire.API
	buffers  buffers
	relayed  wire.Route // the proxy's own
	calendar wire.Route // the feed's own
}

// Mount mounts every route of /v1 on a.
func Mount(a *wire.API, c Config) error {
	if a == nil || c.Broker == nil || c.Cursors == nil || c.Tokens == nil {
		return errors.New("native: an API, a broker, cursors and tokens are required")
	}
	s := &surface{core: c.Broker, cursors: c.Cursors, tokens: c.Tokens, api: a, buffers: newBuffers(), relayed: proxyRoute()}
	s.mountIdentity(a)
	s.mountLogins(a)
	s.mountConnectors(a)
	s.mountConnections(a)
	s.mountSystems(a)
	s.mountTrust(a)
	s.mountSchemas(a)
	s.mountConnect(a)
	s.mountSingleSignOn(a)
	s.mountRest(a)
	s.mountEvents(a)
	s.mountInbound(a)
	s.mountRevocations(a)
	s.mountExpirations(a)
	return nil
}

func (s *surface) mountIdentity(a *wire.API) {
	wire.Handle(a, both("GET", "/v1/whoami", "whoami", "Who the token says you are", ""), s.whoami)
	wire.Handle(a, wide("POST", "/v1/organizations", "createOrganization", "Create an organization with an owner, an application and an API key", claviger.OrganizationsCreate), s.createOrganization)
	wire.Handle(a, wide("GET", "/v1/organizations", "listOrganizations", "List organizations", claviger.OrganizationsRead), s.listOrganizations)
	wire.Handle(a, wide("GET", "/v1/organizations/{id}", "getOrganization", "Get an organization", claviger.OrganizationsRead), s.getOrganization)
	wire.Handle(a, wide("POST", "/v1/workspaces", "createWorkspace", "Create a workspace", claviger.WorkspacesCreate), s.createWorkspace)
	wire.Handle(a, wide("GET", "/v1/workspaces", "listWorkspaces", "List workspaces", claviger.WorkspacesRead), s.listWorkspaces)
	wire.Handle(a, wide("GET", "/v1/workspaces/{id}", "getWorkspace", "Get a workspace", claviger.WorkspacesRead), s.getWorkspace)
	wire.Handle(a, wide("PATCH", "/v1/workspaces/{id}", "updateWorkspace", "Rename a workspace", claviger.WorkspacesUpdate), s.updateWorkspace)
	wire.Handle(a, wide("DELETE", "/v1/workspaces/{id}", "deleteWorkspace", "Delete an empty workspace", claviger.WorkspacesDelete), s.deleteWorkspace)
	wire.Handle(a, wide("POST", "/v1/users", "createUser", "Create a person", claviger.UsersCreate), s.createUser)
	wire.Handle(a, wide("POST", "/v1/users/{id}/set-up-link", "setUpLink", "Make a new link by which a person chooses how they sign in", claviger.UsersUpdate), s.setUpLink)
	wire.Handle(a, wide("GET", "/v1/users", "listUsers", "List people", claviger.UsersRead), s.listUsers)
	wire.Handle(a, wide("GET", "/v1/users/{id}", "getUser", "Get a person", claviger.UsersRead), s.getUser)
	wire.Handle(a, wide("PATCH", "/v1/users/{id}", "updateUser", "Change a person's name or role, or disable them", claviger.UsersUpdate), s.updateUser)
	wire.Handle(a, wide("DELETE", "/v1/users/{id}", "deleteUser", "Delete a person, whose keys stop working at once", claviger.UsersDelete), s.deleteUser)
	wire.Handle(a, wide("POST", "/v1/applications", "createApplication", "Create an OAuth client; its secret is shown once", claviger.ApplicationsCreate), s.createApplication)
	wire.Handle(a, wide("GET", "/v1/applications", "listApplications", "List OAuth clients", claviger.ApplicationsRead), s.listApplications)
	wire.Handle(a, wide("DELETE", "/v1/applications/{id}", "deleteApplication", "Delete an OAuth client", claviger.ApplicationsDelete), s.deleteApplication)
	wire.Handle(a, wide("POST", "/v1/api-keys", "createAPIKey", "Create an API key within your own rights; it is shown once", claviger.APIKeysCreate), s.createAPIKey)
	wire.Handle(a, wide("GET", "/v1/api-keys", "listAPIKeys", "List API keys", claviger.APIKeysRead), s.listAPIKeys)
	wire.Handle(a, wide("DELETE", "/v1/api-keys/{id}", "revokeAPIKey", "Revoke an API key at once", claviger.APIKeysDelete), s.revokeAPIKey)
	wire.Handle(a, action(wide("POST", "/v1/tokens/revoke", "revokeTokens", "Revoke short-lived tokens before they expire", claviger.TokensRevoke)), s.revokeTokens)
}

func (s *surface) mountConnectors(a *wire.API) {
	put := wide("PUT", "/v1/connectors/{key}", "putConnector", "Store a connector document as its next version", claviger.ConnectorsWrite)
	put.BodyTypes = []string{"application/json", "application/yaml"}

	wire.Handle(a, both("GET", "/v1/connectors", "listConnectors", "List connectors by key", claviger.ConnectorsRead), s.listConnectors)
	wire.Handle(a, both("GET", "/v1/connectors/{key}", "getConnector", "Get a connector and its document", claviger.ConnectorsRead), s.getConnector)
	wire.Handle(a, put, s.putConnector)
	wire.Handle(a, wide("DELETE", "/v1/connectors/{key}", "deleteConnector", "Delete a custom connector that nothing uses", claviger.ConnectorsDelete), s.deleteConnector)
}

func (s *surface) mountConnections(a *wire.API) {
	wire.Handle(a, both("POST", "/v1/connections", "createConnection", "Check credentials and store them as a connection", claviger.ConnectionsCreate), s.createConnection)
	wire.Handle(a, both("GET", "/v1/connections", "listConnections", "List connections, newest first", claviger.ConnectionsRead), s.listConnections)
	wire.Handle(a, both("GET", "/v1/connections/{id}", "getConnection", "Get a connection; a deleted one with its verdicts", claviger.ConnectionsRead), s.getConnection)
	wire.Handle(a, both("PATCH", "/v1/connections/{id}", "updateConnection", "Change a connection or rotate its credentials in one step", claviger.ConnectionsUpdate), s.updateConnection)
	wire.Handle(a, both("DELETE", "/v1/connections/{id}", "deleteConnection", "Stop a connection, revoke it at the vendor, destroy its credentials", claviger.ConnectionsDelete), s.deleteConnection)
	wire.Handle(a, action(both("POST", "/v1/connections/{id}/test", "testConnection", "Test a connection: format, live call, permissions", claviger.ConnectionsTest)), s.testConnection)
	wire.Handle(a, action(both("POST", "/v1/connections/{id}/disable", "disableConnection", "Switch a connection off", claviger.ConnectionsDisable)), s.disableConnection)
	wire.Handle(a, action(both("POST", "/v1/connections/{id}/enable", "enableConnection", "Switch a connection on again", claviger.ConnectionsEnable)), s.enableConnection)
	wire.Handle(a, action(both("POST", "/v1/connections/disable", "disableConnections", "Switch off all connections that match", claviger.ConnectionsDisable)), s.disableConnections)
	wire.Handle(a, both("GET", "/v1/connections/{id}/references", "listReferences", "List what names a connection", claviger.ConnectionsRead), s.references)
	wire.Handle(a, wide("GET", "/v1/connections/{id}/usage", "connectionUsage", "Calls, failures and latency of a connection over time", claviger.UsageRead), s.connectionUsage)
	wire.Handle(a, wide("GET", "/v1/connections/{id}/events", "connectionEvents", "List the ledger entries of a connection", claviger.AuditRead), s.connectionEvents)
	wire.HandleRaw(a, s.relayed, s.proxy)
}

func (s *surface) mountRest(a *wire.API) {
	wire.Handle(a, both("GET", "/v1/actions", "listActions", "List actions", claviger.ActionsRead), s.listActions)
	wire.Handle(a, action(both("POST", "/v1/actions/run", "runAction", "Run an action through a connection", claviger.ActionsRun)), s.runAction)
	wire.Handle(a, action(both("POST", "/v1/explain", "explain", "What a call would do, without making it", claviger.ConnectionsRead)), s.explain)
	wire.Handle(a, wide("GET", "/v1/secrets", "listSecrets", "List secrets by path", claviger.SecretsRead), s.listSecrets)
	wire.Handle(a, wide("PUT", "/v1/secrets/{path...}", "putSecret", "Store a value under a path", claviger.SecretsWrite), s.putSecret)
	wire.Handle(a, wide("GET", "/v1/secrets/{path...}", "getSecret", "What is known of a secret; never its value", claviger.SecretsRead), s.getSecret)
	wire.Handle(a, wide("DELETE", "/v1/secrets/{path...}", "deleteSecret", "Destroy a secret", claviger.SecretsDelete), s.deleteSecret)
	wire.Handle(a, wide("GET", "/v1/audit", "listAudit", "List ledger entries, newest first", claviger.AuditRead), s.audit)
	wire.Handle(a, wide("GET", "/v1/usage", "usage", "Calls, failures and latency over time", claviger.UsageRead), s.usage)
	wire.Handle(a, wide("GET", "/v1/encryption", "encryption", "How far the rotation of the encryption key is", claviger.KeysRead), s.encryption)
	wire.Handle(a, action(wide("POST", "/v1/encryption/rotate", "rotateEncryption", "Encrypt with a new key from now on, and re-encrypt what is stored", claviger.KeysRotate)), s.rotateEncryption)
}

// wide is a route of the organization as a whole: a token for one workspace cannot
// reach it. A POST creates, unless [action] says otherwise.
func wide(method, path, name, summary string, verb claviger.Verb) wire.Route {
	r := wire.Route{Method: method, Path: path, Name: name, Summary: summary, Verb: verb, Tags: []string{tag(path)}}
	r.Kinds = []claviger.CallerKind{claviger.CallerOperator, claviger.CallerAPIKey, claviger.CallerSession}
	if method == http.MethodPost {
		r.Status = http.StatusCreated
	}
	return r
}

// both is a route that tokens for one workspace reach too.
func both(method, path, name, summary string, verb claviger.Verb) wire.Route {
	r := wide(method, path, name, summary, verb)
	r.Kinds = append(r.Kinds, claviger.CallerScoped)
	return r
}

// open is a route to read what concerns nobody, which needs no token.
func open(path, name, summary string) wire.Route {
	return wire.Route{Method: "GET", Path: path, Name: name, Summary: summary, Public: true, Tags: []string{tag(path)}}
}

// action is a POST that creates nothing.
func action(r wire.Route) wire.Route {
	r.Status = http.StatusOK
	return r
}

// tag is the noun of a path: the heading that it stands under in the documentation.
func tag(path string) string {
	noun, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
	return noun
}
