package broker

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"claviger"
	"claviger/internal/store"
)

// Page asks for a part of a list: at most Limit (1 to 100) items that follow the
// item with the id After, newest first.
type Page struct {
	After string
	Limit int
}

// NewConnection is the input of [Broker.CreateConnection].
type NewConnection struct {
	Connector, AuthMethod, Name string
	Workspace                   claviger.WorkspaceID // empty: the caller's, else "default"
	Usage                       claviger.Usage       // empty: api
	Visibility                  claviger.Visibility  // empty: workspace
	Credentials                 claviger.Credentials
	Settings, Metadata, Tags    map[string]string
	SkipValidation              bool
	ReturnURL                   string // where a person who consents comes back to; empty: the code is shown
}

// ConnectionChange is the input of [Broker.UpdateConnection]; nil leaves a part as
// it is.
type ConnectionChange struct {
	ID               claviger.ConnectionID
	Name             *string
	Settings         map[string]string
	Metadata         map[string]*string // merged by key; nil removes
	Tags             map[string]*string // merged by key; nil removes
	Credentials      claviger.Credentials
	ClearCredentials []string
	ConnectorVersion *int
	SkipValidation   bool
	// AllowAccountChange lets new credentials belong to another account of the vendor.
	AllowAccountChange bool
}

// Connected is a connection and what is worth a warning about it.
type Connected struct {
	Connection claviger.Connection
	Warnings   []string
	// AuthorizeURL is where a person consents to a connection that is pending, until
	// AuthorizeBy; empty for any other. Pairing is where and with which code, if the vendor
	// has a page for that; nil if not.
	AuthorizeURL string
	AuthorizeBy  time.Time
	Pairing      *claviger.Pairing
}

// ConnectionFilter narrows [Broker.Connections]; an empty field does not narrow.
type ConnectionFilter struct {
	Workspace        claviger.WorkspaceID
	Connector        string
	Status           claviger.Status
	Health           claviger.Health
	Owner            string
	TagKey, TagValue string
	Search           string
}

// TestReport is what the three steps of a test found.
type TestReport struct {
	Status   string // passed or failed
	Steps    []TestStep
	TestedAt time.Time
}

// TestStep is one of format, live and permission.
type TestStep struct {
	Name       string
	Status     string // passed, failed, skipped
	Code       string
	Message    string
	StatusCode int
	Missing    []string
	Duration   time.Duration
}

// UsagePoint sums calls over one span of time, or of one action.
type UsagePoint struct {
	Start    time.Time // of the span; zero for sums by action
	Action   string    // for sums by action
	Calls    int64
	Failures int64
	Average  time.Duration
	Longest  time.Duration
}

// UsageReport is the use of a connection, or of an organization, over time.
type UsageReport struct {
	Period   string // hour, day, week, month
	From, To time.Time
	Points   []UsagePoint
	ByAction []UsagePoint
}

// UsageQuery is the input of the usage operations. The zero times mean the last 24
// periods.
type UsageQuery struct {
	Connection claviger.ConnectionID // empty: the organization, or the workspace
	Workspace  claviger.WorkspaceID
	Period     string
	From, To   time.Time
}

// ActionRun is the input of [Broker.RunAction].
type ActionRun struct {
	Identifier string // "connector.action"
	Connection claviger.ConnectionID
	System     string // instead of Connection: the key of a system, whose api slot is taken
	Input      map[string]any
}

// ActionResult is a vendor's answer to an action.
type ActionResult struct {
	Succeeded  bool
	Output     json.RawMessage // scrubbed of the credential; a JSON string if the vendor's answer is no JSON
	StatusCode int
	Duration   time.Duration
	Pagination *NextPage
}

// NextPage says how to ask for the next page of an action's answer.
type NextPage struct {
	HasMore bool
	Next    string // value for the parameter Param; empty if there is none
	Param   string
}

// ActionInfo describes an action to a person or an agent.
type ActionInfo struct {
	Identifier  string // "connector.action"
	Connector   string
	Name        string
	Description string
	ReadOnly    bool
	Input       json.RawMessage // JSON Schema
}

// Forward is the input of [Broker.Forward]: a caller's request to relay.
type Forward struct {
	Connection    claviger.ConnectionID
	Method        string
	Path          string // escaped, below the base URL, with its leading slash or empty
	RawQuery      string
	Header        http.Header // the caller's; the broker takes it over
	Body          io.ReadCloser
	ContentLength int64
	// Prefix is the path of the proxy itself, which a Location inside the base is rewritten to.
	Prefix string
}

// Forwarded is a vendor's answer, to be streamed and closed. The call ends in the
// ledger when Body is closed.
type Forwarded struct {
	StatusCode int
	Header     http.Header
	Body       io.ReadCloser
	// Flush asks that every read be passed on at once: event streams and answers of
	// unknown length.
	Flush bool
}

// Question is the input of [Broker.Explain].
type Question struct {
	Connection claviger.ConnectionID
	Action     string // "connector.action"; or Method and Path for the proxy
	Method     string
	Path       string
	Input      map[string]any
}

// Explanation is what a call would do, found out without making it.
type Explanation struct {
	Allowed    bool
	Code       string // why not
	Message    string
	Connection claviger.Connection
	Verb       claviger.Verb
	Usage      claviger.Usage
	Host       string
	Method     string
	URL        string              // query credentials redacted
	Headers    map[string][]string // values that carry a credential redacted
	RateLimit  claviger.RateLimit
	Policy     []string // one sentence per rule that was applied, in order
}

// ConnectorFilter narrows [Broker.Connectors].
type ConnectorFilter struct{ Search, Category, Kind string }

// ConnectorChange is one difference between two versions of a connector.
type ConnectorChange struct {
	Path, Old, New string
	Security       bool // touches where a credential goes or what it may do
}

// StoredConnector is the answer of [Broker.PutConnector].
type StoredConnector struct {
	Connector *claviger.Connector
	Created   bool // false: it is a new version of an older one
	Changes   []ConnectorChange
}

// NewOrganization is the answer of [Broker.CreateOrganization]; its secrets are
// shown this once.
type NewOrganization struct {
	Organization claviger.Organization
	ClientID     string
	ClientSecret claviger.Secret
	APIKey       claviger.Secret
	SetUp        claviger.Secret // the token of the owner's link; see [Broker.SetUpPage]
}

// Invited is a person with the token of a link by which they choose how they sign in,
// shown this once; see [Broker.SetUpPage].
type Invited struct {
	User  claviger.User
	SetUp claviger.Secret
}

// NewUser is the input of [Broker.CreateUser].
type NewUser struct {
	Name, Email string
	Role        claviger.Role
}

// UserChange is the input of [Broker.UpdateUser]; nil leaves a part as it is.
type UserChange struct {
	ID       claviger.UserID
	Name     *string
	Role     *claviger.Role
	Disabled *bool
}

// NewApplication is the answer of [Broker.CreateApplication]; the secret is shown
// this once.
type NewApplication struct {
	Application  claviger.Application
	ClientSecret claviger.Secret
}

// KeyRequest is the input of [Broker.CreateAPIKey].
type KeyRequest struct {
	Name       string
	Workspace  claviger.WorkspaceID
	Scopes     []claviger.Verb // empty: all the caller's rights
	ExpiresAt  time.Time
	AllowedIPs []string // addresses and CIDRs
}

// NewAPIKey is the answer of [Broker.CreateAPIKey]; the token is shown this once.
type NewAPIKey struct {
	Key   claviger.APIKey
	Token claviger.Secret
}

// TokenSweep is the input of [Broker.RevokeTokens]: one token by id, or all of a
// kind (empty: all kinds) minted before a moment.
type TokenSweep struct {
	ID     claviger.TokenID
	Before time.Time
	Kind   claviger.CallerKind
}

// AuditFilter narrows [Broker.Audit]; an empty field does not narrow.
type AuditFilter = store.LedgerFilter

// EncryptionStatus says how far an organization's key rotation is.
type EncryptionStatus struct {
	Generation uint32 // id of the key that seals now
	Keys       int    // keys in the keyset
	Sealed     int    // ciphertexts of the organization
	Outdated   int    // of them, under an older key
	RotatedAt  time.Time
}
