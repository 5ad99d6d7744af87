package api

import "time"

// EventEndpoint is where an organization wants its events sent.
type EventEndpoint struct {
	ID     string   `json:"id" example:"ep_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Object string   `json:"object" enum:"event_endpoint"`
	URL    string   `json:"url"`
	Events []string `json:"events" doc:"The types of event that it wants"`
	Status string   `json:"status" enum:"active,disabled"`
	Reason string   `json:"disabledReason,omitempty" doc:"gone: it answered 410; owner_removed: whoever made it may do nothing any more"`
	// OwnerID is the person or application that made it.
	OwnerID                 string     `json:"ownerId" doc:"The person or application that made it"`
	PreviousSecretExpiresAt *time.Time `json:"previousSecretExpiresAt" doc:"Until then the secret before the last rotation signs too"`
	CreatedAt               time.Time  `json:"createdAt"`
	UpdatedAt               time.Time  `json:"updatedAt"`
}

// CreateEventEndpoint is the body of POST /v1/event-endpoints.
type CreateEventEndpoint struct {
	URL    string   `json:"url" minLength:"1" maxLength:"2048" example:"https://hooks.example.com/claviger"`
	Events []string `json:"events" minItems:"1" maxItems:"20" doc:"Types of event" example:"[\"connection.created\",\"connection.revoked\"]"`
}

// NewEventEndpoint is the answer of POST /v1/event-endpoints and of a rotation. The
// secret is shown this once.
type NewEventEndpoint struct {
	EventEndpoint
	Secret string `json:"secret" doc:"Signs what is sent, as Standard Webhooks describe. Shown this once"`
}

// Redacted answers the shape without its secret.
func (e NewEventEndpoint) Redacted() any {
	e.Secret = RedactedMark
	return e
}

// EventDelivery is one event on its way to one endpoint.
type EventDelivery struct {
	ID            string     `json:"id" example:"dlv_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Object        string     `json:"object" enum:"event_delivery"`
	EndpointID    string     `json:"endpointId"`
	EventID       string     `json:"eventId" doc:"The header webhook-id: the same in every attempt and replay"`
	Type          string     `json:"type" example:"connection.created"`
	WorkspaceID   string     `json:"workspaceId,omitempty"`
	Status        string     `json:"status" enum:"pending,succeeded,failed,canceled"`
	Attempts      int        `json:"attempts"`
	StatusCode    int        `json:"statusCode,omitempty" doc:"What the endpoint answered last"`
	Code          string     `json:"code,omitempty" doc:"Why the last attempt did not succeed" example:"unexpected_status"`
	NextAttemptAt *time.Time `json:"nextAttemptAt"`
	LastAttemptAt *time.Time `json:"lastAttemptAt"`
	CreatedAt     time.Time  `json:"createdAt"`
}
