package claviger

import "time"

type (
	// EndpointID names an event endpoint: ep_...
	EndpointID string
	// DeliveryID names one event on its way to one endpoint: dlv_...
	DeliveryID string
	// EventID names an event; the same for every endpoint and every attempt: msg_...
	EventID string
	// EventType is what happened: a noun and a verb, for example "connection.created".
	EventType string
)

// The prefixes of what goes out as events. (evt_ is an entry of the ledger.)
const (
	PrefixEndpoint = "ep"
	PrefixDelivery = "dlv"
	PrefixEvent    = "msg"
)

// The types of event.
const (
	EventConnectionCreated       EventType = "connection.created"
	EventConnectionUpdated       EventType = "connection.updated"
	EventConnectionRefreshFailed EventType = "connection.refresh_failed"
	EventConnectionReauthorize   EventType = "connection.reauthorization_required"
	EventConnectionRevoked       EventType = "connection.revoked"
	EventWebhookReceived         EventType = "webhook.received" // a vendor delivered, a slot verified, it was acted upon
)

// EventTypes answers every type of event.
func EventTypes() []EventType {
	return []EventType{
		EventConnectionCreated, EventConnectionUpdated, EventConnectionRefreshFailed,
		EventConnectionReauthorize, EventConnectionRevoked, EventWebhookReceived,
	}
}

// EventEndpoint is where an organization wants its events sent. Its signing secret is a
// [Sealed] beside it; for a day after a rotation there are two.
type EventEndpoint struct {
	ID           EndpointID
	Organization OrganizationID
	URL          string
	Events       []EventType // which it wants; never empty
	Owner        string      // who made it; when that person or application goes, it stops
	Disabled     string      // why nothing is sent: "gone", "owner_removed"; empty while it works
	Version      int64       // of the secret; bound into the ciphertext
	// PreviousUntil is how long the secret before this one signs too; zero for none.
	PreviousUntil time.Time
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// Binding answers where the ciphertext of a version of the endpoint's secret belongs.
func (e *EventEndpoint) Binding(version int64) Binding {
	return Binding{Purpose: "event-endpoint", Organization: e.Organization, ID: string(e.ID), Revision: version}
}

// DeliveryStatus is how far a delivery has come.
type DeliveryStatus string

// The states of a delivery. All but the first are final until somebody replays it.
const (
	DeliveryPending   DeliveryStatus = "pending"
	DeliverySucceeded DeliveryStatus = "succeeded"
	DeliveryFailed    DeliveryStatus = "failed"   // given up after a day, or the endpoint is gone
	DeliveryCanceled  DeliveryStatus = "canceled" // the endpoint was deleted or disabled first
)

// EventDelivery is one event on its way to one endpoint.
type EventDelivery struct {
	ID           DeliveryID
	Organization OrganizationID
	Workspace    WorkspaceID // of what the event is about
	Endpoint     EndpointID
	Event        EventID
	Type         EventType
	Body         []byte // what is sent: {type, timestamp, data}
	Status       DeliveryStatus
	Attempts     int
	StatusCode   int       // that the endpoint answered last, or 0
	Code         string    // why the last attempt failed; empty after a success
	Since        time.Time // the day of attempts begins here
	NextAt       time.Time // zero when nothing follows
	LastAt       time.Time // of the last attempt
	CreatedAt    time.Time
	Region       RegionID // the place it is kept in; set when it is read
}
