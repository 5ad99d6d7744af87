package api

import "time"

// Entry is one record of the ledger.
type Entry struct {
	ID             string        `json:"id" example:"evt_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Object         string        `json:"object" enum:"audit_entry"`
	Time           time.Time     `json:"time"`
	OrganizationID string        `json:"organizationId"`
	WorkspaceID    string        `json:"workspaceId,omitempty"`
	Actor          Actor         `json:"actor"`
	Verb           string        `json:"verb" example:"connections:create"`
	Resource       EntryResource `json:"resource"`
	ConnectionID   string        `json:"connectionId,omitempty"`
	Connector      string        `json:"connector,omitempty"`
	Action         string        `json:"action,omitempty" doc:"connector.action"`
	Host           string        `json:"host,omitempty"`
	Outcome        string        `json:"outcome" enum:"allowed,denied,succeeded,failed"`
	Code           string        `json:"code,omitempty" doc:"Why it was denied or failed"`
	StatusCode     int           `json:"statusCode,omitempty" doc:"The vendor's status"`
	DurationMs     int64         `json:"durationMs"`
	RequestID      string        `json:"requestId,omitempty"`
	Address        string        `json:"address,omitempty"`
	Usage          string        `json:"usage,omitempty"`
	Slot           string        `json:"slot,omitempty"`
}

// Actor is who did what an entry records.
type Actor struct {
	Kind string `json:"kind" example:"api_key"`
	ID   string `json:"id" example:"key_01jd5z8k4xe3vbmt0q6y2r9whc"`
}

// EntryResource is what it was done to.
type EntryResource struct {
	Type string `json:"type" example:"connection"`
	ID   string `json:"id"`
}

// Usage is the use of a connection, a workspace or an organization over time.
type Usage struct {
	Object       string       `json:"object" enum:"usage"`
	ConnectionID string       `json:"connectionId,omitempty"`
	WorkspaceID  string       `json:"workspaceId,omitempty"`
	Period       string       `json:"period" enum:"hour,day,week,month"`
	From         time.Time    `json:"from"`
	To           time.Time    `json:"to"`
	Points       []UsagePoint `json:"points" doc:"One for each span of time in which there were calls"`
	ByAction     []UsagePoint `json:"byAction" doc:"One for each action, and one for the proxy"`
}

// UsagePoint sums calls over one span of time, or of one action.
type UsagePoint struct {
	Start     *time.Time `json:"start,omitempty" doc:"Of the span"`
	Action    string     `json:"action,omitempty" doc:"connector.action, or proxy"`
	Calls     int64      `json:"calls"`
	Failures  int64      `json:"failures"`
	AverageMs float64    `json:"averageMs"`
	LongestMs float64    `json:"longestMs"`
}
