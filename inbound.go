package claviger

import "time"

// InboundID names what a vendor delivered once: evt_..., like an entry of the ledger,
// since both are what happened.
type InboundID string

// PrefixInbound begins the ids of what vendors delivered.
const PrefixInbound = "evt"

// InboundStatus is how far a delivery of a vendor has come.
type InboundStatus string

// The states of what a vendor delivered.
const (
	InboundReceived  InboundStatus = "received"  // stored and verified; it is still to be acted upon
	InboundProcessed InboundStatus = "processed" // acted upon
	InboundFailed    InboundStatus = "failed"    // given up; Code says why
	InboundParked    InboundStatus = "parked"    // waits for a slot or its value; Code says for which
)

// InboundStatuses answers every state.
func InboundStatuses() []InboundStatus {
	return []InboundStatus{InboundReceived, InboundProcessed, InboundFailed, InboundParked}
}

// InboundEvent is the facts of a delivery that a webhook slot verified. Its body is a
// [Sealed] beside it.
type InboundEvent struct {
	ID           InboundID
	Organization OrganizationID
	Workspace    WorkspaceID
	System       string       // the system's key
	DataSource   string       // the data source's key; empty if the delivery concerns none
	Connection   ConnectionID // of the slot that verified it
	Slot         string
	// ReplayKey is the same for every copy of a delivery: a SHA-256 over what is signed.
	ReplayKey   []byte
	Delivery    string // the vendor's own id of it; empty if it has none
	Type        string // what the vendor calls it; empty if not known
	ContentType string
	Size        int    // of the body, in bytes
	Batch       string // with which others it was stored; what a job names
	Status      InboundStatus
	Attempts    int    // since it was received or replayed
	Code        string // why it failed or waits
	ReceivedAt  time.Time
	ProcessedAt time.Time // of the last attempt; zero before the first
	Region      RegionID  // the place it is kept in; set when it is read
}

// Binding answers where the ciphertext of the body belongs.
func (e *InboundEvent) Binding() Binding {
	return Binding{Purpose: "inbound-event", Organization: e.Organization, ID: string(e.ID)}
}

// Resource answers the event as the object of a verb.
func (e *InboundEvent) Resource() Resource {
	return Resource{
		Type: "inbound_event", ID: string(e.ID), Organization: e.Organization, Workspace: e.Workspace, Connector: e.System,
		Usage: UsageWebhookInbound, Slot: e.Slot,
	}
}
