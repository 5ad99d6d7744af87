package claviger

import (
	"slices"
	"strings"
)

// Verb names what a caller does to a resource, as "resource:action". It is at the
// same time the permission that allows it and what the ledger records.
type Verb string

// The verbs of the native surface.
const (
	OrganizationsRead   Verb = "organizations:read"
	OrganizationsCreate Verb = "organizations:create"
	OrganizationsUpdate Verb = "organizations:update" // its policy
	WorkspacesRead      Verb = "workspaces:read"
	WorkspacesCreate    Verb = "workspaces:create"
	WorkspacesUpdate    Verb = "workspaces:update"
	WorkspacesDelete    Verb = "workspaces:delete"
	UsersRead           Verb = "users:read"
	UsersCreate         Verb = "users:create"
	UsersUpdate         Verb = "users:update"
	UsersDelete         Verb = "users:delete"
	ApplicationsRead    Verb = "applications:read"
	ApplicationsCreate  Verb = "applications:create"
	ApplicationsDelete  Verb = "applications:delete"
	APIKeysRead         Verb = "api-keys:read"
	APIKeysCreate       Verb = "api-keys:create"
	APIKeysDelete       Verb = "api-keys:delete"
	TokensMint          Verb = "tokens:mint"
	TokensRevoke        Verb = "tokens:revoke"
	ConnectorsRead      Verb = "connectors:read"
	ConnectorsWrite     Verb = "connectors:write"
	ConnectorsDelete    Verb = "connectors:delete"
	ConnectionsRead     Verb = "connections:read"
	ConnectionsCreate   Verb = "connections:create"
	ConnectionsUpdate   Verb = "connections:update"
	ConnectionsDelete   Verb = "connections:delete"
	ConnectionsTest     Verb = "connections:test"
	ConnectionsProxy    Verb = "connections:proxy"
	ConnectionsDisable  Verb = "connections:disable"
	ConnectionsEnable   Verb = "connections:enable"
	ConnectionsRefresh  Verb = "connections:refresh" // new tokens from the vendor; claviger's own act
	ConnectionsRevoke   Verb = "connections:revoke"  // stop many at once; and claviger's own act at the vendor
	ActionsRead         Verb = "actions:read"
	ActionsRun          Verb = "actions:run"
	SecretsRead         Verb = "secrets:read" // metadata only; no verb reads a value
	SecretsWrite        Verb = "secrets:write"
	SecretsDelete       Verb = "secrets:delete"
	AuditRead           Verb = "audit:read"
	UsageRead           Verb = "usage:read"
	KeysRead            Verb = "keys:read"
	KeysRotate          Verb = "keys:rotate"
	EventEndpointsRead  Verb = "event-endpoints:read"
	EventEndpointsWrite Verb = "event-endpoints:write"
	SystemsRead         Verb = "systems:read"
	SystemsWrite        Verb = "systems:write" // upload, roll back
	SystemsDelete       Verb = "systems:delete"
	SystemsTest         Verb = "systems:test" // integration and end-to-end tests, certificates
	EventsRead          Verb = "events:read"  // what vendors sent
	EventsReplay        Verb = "events:replay"
	WebhooksReceive     Verb = "webhooks:receive" // verify a delivery; claviger's own act
	WebhooksProcess     Verb = "webhooks:process" // act on a delivery; claviger's own act
	SessionsCreate      Verb = "sessions:create"  // sign in; the act of a person who has proven who they are
	SessionsDelete      Verb = "sessions:delete"  // sign out, end a session of one's own
	SignInsUpdate       Verb = "sign-ins:update"  // choose how to sign in: password, second factor, passkeys; a link to do so
	SingleSignOnRead    Verb = "sso:read"
	SingleSignOnWrite   Verb = "sso:write" // whoever chooses the provider decides who signs in as whom
	// AuthenticationFail is no permission: the ledger uses it for a token that was refused.
	AuthenticationFail Verb = "authentication:fail"
)

// verbs lists every permission once; its order gives the bit of each.
var verbs = []Verb{
	OrganizationsRead, OrganizationsCreate, WorkspacesRead, WorkspacesCreate, WorkspacesUpdate, WorkspacesDelete,
	UsersRead, UsersCreate, UsersUpdate, UsersDelete, ApplicationsRead, ApplicationsCreate, ApplicationsDelete,
	APIKeysRead, APIKeysCreate, APIKeysDelete, TokensMint, TokensRevoke,
	ConnectorsRead, ConnectorsWrite, ConnectorsDelete,
	ConnectionsRead, ConnectionsCreate, ConnectionsUpdate, ConnectionsDelete, ConnectionsTest, ConnectionsProxy,
	ConnectionsDisable, ConnectionsEnable, ActionsRead, ActionsRun,
	SecretsRead, SecretsWrite, SecretsDelete, AuditRead, UsageRead, KeysRead, KeysRotate,
	EventEndpointsRead, EventEndpointsWrite, ConnectionsRefresh, ConnectionsRevoke,
	SystemsRead, SystemsWrite, SystemsDelete, SystemsTest, EventsRead, EventsReplay, WebhooksReceive, WebhooksProcess, OrganizationsUpdate,
	SessionsCreate, SessionsDelete, SignInsUpdate, SingleSignOnRead, SingleSignOnWrite,
}

// Permissions is a set of verbs. Two sets are equal if they hold the same verbs.
type Permissions [2]uint64

func (v Verb) bit() (p Permissions) {
	if i := slices.Index(verbs, v); i >= 0 {
		p[i/64] = 1 << (i % 64)
	}
	return p
}

// Verbs answers every permission there is.
func Verbs() []Verb { return slices.Clone(verbs) }

// PermissionsOf makes a set. Names that are no permission are answered in unknown.
func PermissionsOf(names ...Verb) (set Permissions, unknown []Verb) {
	for _, v := range names {
		b := v.bit()
		if b == (Permissions{}) {
			unknown = append(unknown, v)
		}
		set = Permissions{set[0] | b[0], set[1] | b[1]}
	}
	return set, unknown
}

// Has reports whether v is in the set.
func (p Permissions) Has(v Verb) bool { b := v.bit(); return b != (Permissions{}) && b.Within(p) }

// Within reports whether every verb of p is in other.
func (p Permissions) Within(other Permissions) bool {
	return p[0]&^other[0] == 0 && p[1]&^other[1] == 0
}

// Both answers the verbs that are in p and in other.
func (p Permissions) Both(other Permissions) Permissions {
	return Permissions{p[0] & other[0], p[1] & other[1]}
}

// Verbs answers the set's members in their fixed order.
func (p Permissions) Verbs() []Verb {
	var out []Verb
	for i, v := range verbs {
		if p[i/64]>>(i%64)&1 == 1 {
			out = append(out, v)
		}
	}
	return out
}

// Role is a named set of permissions.
type Role string

// The roles, from the widest to the narrowest.
const (
	RoleOwner     Role = "owner"
	RoleAdmin     Role = "admin"
	RoleDeveloper Role = "developer"
	RoleOperator  Role = "operator"
	RoleViewer    Role = "viewer"
	RoleEndUser   Role = "end_user"
)

// Roles answers every role, from the widest to the narrowest.
func Roles() []Role {
	return []Role{RoleOwner, RoleAdmin, RoleDeveloper, RoleOperator, RoleViewer, RoleEndUser}
}

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return slices.Contains(Roles(), r) }

// Permissions answers what the role may do. No role reads a stored credential
// value: there is no verb for it.
func (r Role) Permissions() Permissions {
	switch r {
	case RoleOwner:
		return without() // everything; instance-wide verbs are checked against the caller as well
	case RoleAdmin:
		return without(OrganizationsCreate, KeysRotate, SingleSignOnWrite)
	case RoleDeveloper:
		return without(OrganizationsCreate, OrganizationsUpdate, KeysRotate, UsersCreate, UsersUpdate, UsersDelete,
			ApplicationsCreate, ApplicationsDelete, WorkspacesDelete, TokensRevoke, AuditRead, SingleSignOnRead, SingleSignOnWrite)
	case RoleOperator:
		return with(OrganizationsRead, WorkspacesRead, ConnectorsRead, ConnectionsRead, ConnectionsTest, ConnectionsProxy,
			ConnectionsDisable, ConnectionsEnable, ActionsRead, ActionsRun, SecretsRead, AuditRead, UsageRead,
			SystemsRead, SystemsTest, EventsRead, EventsReplay)
	case RoleViewer:
		return with(OrganizationsRead, WorkspacesRead, UsersRead, ConnectorsRead, ConnectionsRead, ActionsRead, SecretsRead, AuditRead, UsageRead,
			SystemsRead, EventsRead)
	case RoleEndUser:
		return with(ConnectorsRead, ConnectionsRead, ConnectionsCreate, ConnectionsUpdate, ConnectionsDelete,
			ConnectionsTest, ConnectionsProxy, ActionsRead, ActionsRun)
	}
	return Permissions{}
}

func with(vs ...Verb) Permissions { p, _ := PermissionsOf(vs...); return p }

func without(vs ...Verb) Permissions {
	all, but := with(verbs...), with(vs...)
	return Permissions{all[0] &^ but[0], all[1] &^ but[1]}
}

// ReadOnly reports whether the verb changes nothing.
func (v Verb) ReadOnly() bool { return strings.HasSuffix(string(v), ":read") }
