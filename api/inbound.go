package api

import "time"

// InboundEvent is what a vendor delivered to a system's webhook address.
type InboundEvent struct {
	Object       string     `json:"object" enum:"event"`
	ID           string     `json:"id" example:"evt_01jd5z8k4xe3vbmt0q6y2r9whc"`
	SystemKey    string     `json:"systemKey"`
	WorkspaceID  string     `json:"workspaceId"`
	DataSource   string     `json:"dataSource,omitempty" doc:"What it is about, where that is known"`
	ConnectionID string     `json:"connectionId" doc:"Of the slot that verified it"`
	Slot         string     `json:"slot"`
	Type         string     `json:"type,omitempty" doc:"The vendor's word for what happened"`
	DeliveryID   string     `json:"deliveryId,omitempty" doc:"The vendor's own id of the delivery"`
	ContentType  string     `json:"contentType,omitempty"`
	Size         int        `json:"size" doc:"Of the body, in bytes"`
	Status       string     `json:"status" enum:"received,processed,failed,parked" doc:"parked: it waits for a slot or a value that is missing"`
	Code         string     `json:"code,omitempty" doc:"Why it failed or waits" example:"missing_slot"`
	Attempts     int        `json:"attempts"`
	ReceivedAt   time.Time  `json:"receivedAt"`
	ProcessedAt  *time.Time `json:"processedAt"`
	Body         *string    `json:"body,omitempty" doc:"As it arrived, when one event is asked for"`
	BodyEncoding string     `json:"bodyEncoding,omitempty" enum:"utf-8,base64"`
}

// AwaitHandshake is the body of POST /v1/systems/{systemKey}/await-handshake.
type AwaitHandshake struct {
	Slot string `json:"slot,omitempty" maxLength:"64" doc:"Key of a webhook slot; default: the default one"`
}

// HandshakeWait is its answer.
type HandshakeWait struct {
	Object    string    `json:"object" enum:"handshake_wait"`
	SystemKey string    `json:"systemKey"`
	Until     time.Time `json:"until" doc:"Until then the vendor's first handshake sets the slot's secret"`
}
