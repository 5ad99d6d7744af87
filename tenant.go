package claviger

import (
	"net/netip"
	"time"
)

// DefaultRegion is the region used where none is configured or named.
const DefaultRegion RegionID = "645a183f-b12b-4c6e-8ad3-99e165603450"

// Organization is a tenant.
type Organization struct {
	ID        OrganizationID
	Name      string
	Instance  bool // the first one, whose owner and application administer the instance
	CreatedAt time.Time
}

// Workspace is an isolated part of an organization, in one region.
type Workspace struct {
	ID           WorkspaceID
	Organization OrganizationID
	Name         string // unique in the organization by its canonical form
	Canonical    string // NFC, trimmed, case-folded
	Region       RegionID
	Version      int64
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// User is a person of an organization.
type User struct {
	ID           UserID
	Organization OrganizationID
	Name         string
	Email        string // canonical: trimmed, lower case
	Role         Role
	Disabled     bool
	Version      int64
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Application is an OAuth client of an organization. Its id doubles as the client
// id unless the operator fixed another.
type Application struct {
	ID           ApplicationID
	Organization OrganizationID
	Name         string
	ClientID     string
	SecretHash   []byte // SHA-256 of the client secret
	CreatedAt    time.Time
}

// APIKey is a long-lived token; only its hash is kept.
type APIKey struct {
	ID           KeyID
	Organization OrganizationID
	Workspace    WorkspaceID // empty: all of the creator's reach
	User         UserID      // whose rights it carries; empty for an application's
	CreatedBy    string
	Name         string
	Hash         []byte // SHA-256 of the whole token
	Hint         string // last four characters
	Permissions  Permissions
	AllowedIPs   []netip.Prefix
	ExpiresAt    time.Time
	RevokedAt    time.Time
	LastUsedAt   time.Time
	CreatedAt    time.Time
}

// MintedToken is the record of a short-lived signed token, looked up by its id so
// that it can be revoked before it expires.
type MintedToken struct {
	ID           TokenID
	Organization OrganizationID
	Workspace    WorkspaceID
	Kind         CallerKind
	Subject      string
	MintedBy     string
	ExpiresAt    time.Time
	RevokedAt    time.Time
	CreatedAt    time.Time
}

// SecretMeta is what may be known of a stored kv:// secret: never its value.
type SecretMeta struct {
	Organization OrganizationID
	Path         string // "shared/acme/key", without kv://
	Version      int64
	UsedBy       []ConnectionID
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Keyset is a wrapped encryption keyset: of an organization, or of the instance if
// Organization is empty.
type Keyset struct {
	Organization OrganizationID
	Wrapped      []byte
	Version      int64
	UpdatedAt    time.Time
	Master       string // id of the master key that it is wrapped under; empty: not noted
	Seals        int64  // values that its primary has sealed, as the nodes have counted so far
}

// UsageRow counts the calls of one connection and action within one hour.
type UsageRow struct {
	Organization OrganizationID
	Workspace    WorkspaceID
	Connection   ConnectionID
	Connector    string
	Action       string // "connector.action", or "proxy"
	Hour         time.Time
	Calls        int64
	Failures     int64
	Total        time.Duration // sum of durations
	Longest      time.Duration
	LastUsed     time.Time
}

// Change says that a cached row is stale, on all nodes.
type Change struct {
	Sequence int64
	Kind     string // connection, api_key, token, connector, keyset, secret, user, application, workspace
	ID       string // the row's id; for token hashes their hex
	At       time.Time
}

// Policy is what an organization allows that is refused by default.
type Policy struct {
	// SyncFallback lets background work of a system without a syncExecution slot use its
	// api slot, if no person stands behind that. The ledger then names the api slot.
	SyncFallback bool
}
