package events

import (
	"encoding/json"
	"time"

	"claviger"
)

// ConnectionData is the data of every event about a connection: facts that its API shows
// too, and no credential.
type ConnectionData struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	WorkspaceID  string            `json:"workspaceId"`
	OwnerID      string            `json:"ownerId"`
	Connector    string            `json:"connector"`
	AuthMethod   string            `json:"authMethod"`
	Usage        string            `json:"usage"`
	Status       string            `json:"status"`
	HealthStatus string            `json:"healthStatus"`
	Account      *Account          `json:"account,omitempty"`
	Tags         map[string]string `json:"tags"`
	Cause        *Cause            `json:"cause,omitempty"` // why it does not work
	UpdatedAt    time.Time         `json:"updatedAt"`
}

// WebhookData is the data of an event about what a vendor delivered to a system.
type WebhookData struct {
	ID          string          `json:"id"`
	SystemKey   string          `json:"systemKey"`
	WorkspaceID string          `json:"workspaceId"`
	DataSource  string          `json:"dataSource,omitempty"`
	Type        string          `json:"type,omitempty"`       // the vendor's word for it
	DeliveryID  string          `json:"deliveryId,omitempty"` // the vendor's
	ReceivedAt  time.Time       `json:"receivedAt"`
	ContentType string          `json:"contentType,omitempty"`
	Payload     json.RawMessage `json:"payload,omitempty"` // JSON as it came, else a text
	// PayloadOmitted says that the payload is too long or no text: fetch the event.
	PayloadOmitted bool            `json:"payloadOmitted,omitempty"`
	Record         json.RawMessage `json:"record,omitempty"` // of the data source, fetched for the event
}

// Account is the vendor's account behind a connection.
type Account struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Cause is what is wrong with a connection.
type Cause struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// OfConnection answers the data of an event about a connection as it is now.
func OfConnection(c *claviger.Connection) ConnectionData {
	d := ConnectionData{
		ID: string(c.ID), Name: c.Name, WorkspaceID: string(c.Workspace), OwnerID: c.Owner, Connector: c.Connector, AuthMethod: c.AuthMethod,
		Usage: string(c.Usage), Status: string(c.Status), HealthStatus: string(c.Health), Tags: c.Tags, UpdatedAt: c.UpdatedAt.UTC(),
	}
	if c.Tags == nil {
		d.Tags = map[string]string{}
	}
	if c.Account != (claviger.Account{}) {
		d.Account = &Account{ID: c.Account.ID, Name: c.Account.Name}
	}
	if c.LastError != nil {
		d.Cause = &Cause{Code: c.LastError.Code, Message: c.LastError.Message}
	}
	return d
}
