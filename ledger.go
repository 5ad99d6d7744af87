package claviger

import "time"

// Outcome is how a decision or a call ended.
type Outcome string

// allowed opens a call whose end follows as a second entry with the same request
// id; a management change has one entry only.
const (
	OutcomeAllowed   Outcome = "allowed"
	OutcomeDenied    Outcome = "denied"
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeFailed    Outcome = "failed"
)

// Resource is what a verb is done to, with the facts that decide who may.
type Resource struct {
	Type         string // connection, connector, secret, api_key, workspace, ...
	ID           string
	Organization OrganizationID
	Workspace    WorkspaceID // empty for what belongs to the organization
	Connection   ConnectionID
	Connector    string
	Host         string
	Usage        Usage
	Slot         string
	// Owner and Visibility matter for personal connections only.
	Owner      string
	Visibility Visibility
}

// Resource answers the connection as the object of a verb.
func (c *Connection) Resource() Resource {
	return Resource{
		Type: "connection", ID: string(c.ID), Organization: c.Organization, Workspace: c.Workspace,
		Connection: c.ID, Connector: c.Connector, Usage: c.Usage, Slot: c.Slot, Owner: c.Owner, Visibility: c.Visibility,
	}
}

// Entry is one record of the ledger. Every field is chosen by claviger or checked
// by it; none holds a secret or free text of a vendor.
type Entry struct {
	ID           EntryID
	Time         time.Time
	Organization OrganizationID
	Workspace    WorkspaceID
	ActorKind    CallerKind
	ActorID      string
	Verb         Verb
	ResourceType string
	ResourceID   string
	Connection   ConnectionID
	Connector    string
	Host         string
	Outcome      Outcome
	Code         string // why, for denied and failed: an error code
	StatusCode   int    // the vendor's, or 0
	Duration     time.Duration
	RequestID    string
	Address      string
	Usage        Usage
	Slot         string
	Action       string // "connector.action" for runs of actions

	// Where the entry stands: set when it is read back.
	Stream   string
	Sequence int64
	MAC      []byte
}
