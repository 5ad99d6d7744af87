package claviger

import "time"

// Usage names the runtime path that may load a connection. One path never borrows
// another's credential.
type Usage string

// The usages.
const (
	UsageAPI             Usage = "api"
	UsageWebhookInbound  Usage = "webhookInbound"
	UsageSyncExecution   Usage = "syncExecution"
	UsageCallback        Usage = "callback"
	UsageMessageInbound  Usage = "messageInbound"
	UsageMessageOutbound Usage = "messageOutbound"
	UsageProvisioning    Usage = "provisioning"
)

// Usages answers every usage.
func Usages() []Usage {
	return []Usage{UsageAPI, UsageWebhookInbound, UsageSyncExecution, UsageCallback, UsageMessageInbound, UsageMessageOutbound, UsageProvisioning}
}

// Status is where a connection stands in its life.
type Status string

// The states. revoked is final.
const (
	StatusPending     Status = "pending"                  // waits for its credentials
	StatusActive      Status = "active"                   // may be used
	StatusReauthorize Status = "reauthorization_required" // its owner must connect again
	StatusDisabled    Status = "disabled"                 // switched off by a person
	StatusRevoked     Status = "revoked"                  // deleted; a tombstone with its verdicts
)

// Refusal answers why a connection in this state cannot be used, or nil if it can.
func (s Status) Refusal() *Error {
	switch s {
	case StatusActive:
		return nil
	case StatusDisabled:
		return Errorf(KindDenied, "connection_disabled", "The connection is disabled. Enable it to use it again.")
	case StatusPending:
		return Errorf(KindConflict, "connection_pending", "The connection has no credentials yet. Finish connecting it first.")
	case StatusReauthorize:
		return Errorf(KindReauthorize, "reauthorization_required", "The vendor no longer accepts this connection. Its owner must connect again.")
	default:
		return Errorf(KindConflict, "connection_revoked", "The connection was deleted. Create a new one.")
	}
}

// Health is what the last check of a connection found.
type Health string

// The healths.
const (
	HealthHealthy   Health = "healthy"
	HealthUnhealthy Health = "unhealthy"
	HealthUnknown   Health = "unknown"
)

// Visibility says who may use a connection.
type Visibility string

// A personal connection is used by its owner alone; admins see that it exists and
// may delete it, never use it.
const (
	VisibilityWorkspace Visibility = "workspace"
	VisibilityPersonal  Visibility = "personal"
)

// Account is the vendor's account behind a connection.
type Account struct{ ID, Name string }

// Fault is why a connection's last check or use failed: a code and a sentence that
// holds nothing of the vendor's own text.
type Fault struct {
	Code    string
	Message string
}

// Revocation is what came of revoking one token at the vendor when its connection
// was deleted.
type Revocation struct {
	Token   string // "credential", "access", "refresh"
	Verdict string // "revoked", "not_supported", "failed: why"
}

// Reference is something that names a connection.
type Reference struct {
	Type       string // "port", "slot", "source", "data_source"
	ID, Name   string
	LastUsedAt time.Time
}

// Connection is the facts of a connection: everything but its secret values, which
// are a [Sealed] beside it.
type Connection struct {
	ID               ConnectionID
	Organization     OrganizationID
	Workspace        WorkspaceID
	Owner            string // usr_..., app_... or a scoped token's subject
	Connector        string
	ConnectorVersion int
	AuthMethod       string
	Name             string // unique in the workspace among the living
	Usage            Usage
	Slot             string // the slot of its system that it realises; empty for a connection of its own
	Visibility       Visibility
	Status           Status
	Health           Health
	LastError        *Fault
	Account          Account
	GrantedScopes    []string
	Settings         map[string]string // values of the connector's variables
	Metadata         map[string]string
	Tags             map[string]string
	SecretKeys       []string // names of the credential fields that hold a value
	SecretPaths      []string // kv:// paths that the credentials refer to
	Revision         int64    // grows with every stored credential; bound into the ciphertext
	Destination      string   // where the credential may go; bound into the ciphertext
	Revocations      []Revocation
	Version          int64     // grows with every change of the row; guards Update
	ExpiresAt        time.Time // of the access token; zero if nothing expires or it is not known
	RefreshAt        time.Time // when the access token is to be refreshed; zero if the credentials are no tokens
	LastUsedAt       time.Time
	LastCheckedAt    time.Time
	CreatedAt        time.Time
	UpdatedAt        time.Time
}

// Binding is the place a ciphertext belongs to. It is authenticated with the
// ciphertext, so that one moved to another row, revision or destination does not
// open.
type Binding struct {
	Purpose      string // "connection", "secret", "keyset", "token-key"
	Organization OrganizationID
	ID           string // of the row: conn_..., or a secret's path
	Revision     int64
	Destination  string
}

// Sealed is a ciphertext and the keyset generation it was made under.
type Sealed []byte

// Binding answers where the connection's ciphertext belongs.
func (c *Connection) Binding() Binding {
	return Binding{Purpose: "connection", Organization: c.Organization, ID: string(c.ID), Revision: c.Revision, Destination: c.Destination}
}
