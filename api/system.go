package api

import (
	"encoding/json"
	"time"
)

// SystemUpload is the body of PUT /v1/systems/{systemKey}.
type SystemUpload struct {
	System          json.RawMessage   `json:"system" doc:"The system's document: GET /v1/schemas/system.json"`
	DataSources     []json.RawMessage `json:"dataSources,omitempty" maxItems:"200" doc:"Documents of its data sources: GET /v1/schemas/datasource.json"`
	WorkspaceID     string            `json:"workspaceId,omitempty" doc:"Where its connections live; default: the workspace \"default\". It cannot be changed later"`
	DryRun          bool              `json:"dryRun,omitempty" doc:"Answer what would change, and change nothing"`
	ExpectedVersion *int              `json:"expectedVersion,omitempty" doc:"Refuse if the stored version is another; 0: refuse if there is one"`
}

// SystemUploaded is the answer of PUT /v1/systems/{systemKey}.
type SystemUploaded struct {
	Object    string         `json:"object" enum:"system_upload"`
	SystemKey string         `json:"systemKey"`
	Version   int            `json:"version" doc:"The present version; with dryRun the one before"`
	Created   bool           `json:"created"`
	DryRun    bool           `json:"dryRun"`
	Hash      string         `json:"hash" example:"sha256:9f86d0..."`
	Changes   []SystemChange `json:"changes" doc:"What differs from the version before; none if nothing was uploaded anew"`
	Dropped   []string       `json:"dropped" doc:"kv:// references whose value was given for another destination: set it again"`
	Warnings  []SystemFault  `json:"warnings"`
}

// SystemChange is one difference between two versions of a manifest.
type SystemChange struct {
	Path     string `json:"path" example:"system.authentications[default].credential.variables.baseUrl"`
	Old      string `json:"old,omitempty"`
	New      string `json:"new,omitempty"`
	Security bool   `json:"security" doc:"Touches where a credential goes, which one it is, or what is checked"`
	Reason   string `json:"reason,omitempty" doc:"Why it matters for security"`
}

// SystemFault is one thing wrong with a manifest.
type SystemFault struct {
	File     string `json:"file" doc:"system, or dataSources.N"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Pointer  string `json:"pointer,omitempty" doc:"RFC 6901, into the document"`
	Code     string `json:"code"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
	Severity string `json:"severity" enum:"error,warning"`
	Repair   string `json:"repair,omitempty" doc:"The command that mends it"`
}

// SystemDocuments is the body of POST /v1/systems/{systemKey}/validate.
type SystemDocuments struct {
	System      json.RawMessage   `json:"system,omitempty" doc:"Default: what is stored"`
	DataSources []json.RawMessage `json:"dataSources,omitempty" maxItems:"200"`
}

// SystemValidation is the answer of POST /v1/systems/{systemKey}/validate.
type SystemValidation struct {
	Object string        `json:"object" enum:"system_validation"`
	Valid  bool          `json:"valid"`
	Faults []SystemFault `json:"faults"`
}

// System is a connected system.
type System struct {
	Object      string            `json:"object" enum:"system"`
	ID          string            `json:"id" example:"sys_01k9..."`
	Key         string            `json:"key"`
	DisplayName string            `json:"displayName"`
	Type        string            `json:"type" enum:"openapi,mcp,custom"`
	Enabled     bool              `json:"enabled"`
	WorkspaceID string            `json:"workspaceId"`
	OwnerID     string            `json:"ownerId"`
	Version     int               `json:"version"`
	Hash        string            `json:"hash" doc:"Of the manifest in canonical form; certificates are signed over it"`
	WebhookURL  string            `json:"webhookUrl" doc:"Where the vendor sends events"`
	System      json.RawMessage   `json:"system,omitempty" doc:"The document, when one system is asked for"`
	DataSources []json.RawMessage `json:"dataSources,omitempty"`
	CreatedAt   time.Time         `json:"createdAt"`
	UpdatedAt   time.Time         `json:"updatedAt"`
}

// SystemVersion is one version of a system's manifest.
type SystemVersion struct {
	Object     string    `json:"object" enum:"system_version"`
	Version    int       `json:"version"`
	Hash       string    `json:"hash"`
	UploadedBy string    `json:"uploadedBy"`
	CreatedAt  time.Time `json:"createdAt"`
}

// SystemRollback is the body of POST /v1/systems/{systemKey}/rollback.
type SystemRollback struct {
	Version int `json:"version" minimum:"1" doc:"The version whose manifest becomes the next one"`
}

// Slot is a place of a system for a credential, and what it may be used for.
type Slot struct {
	Object       string       `json:"object" enum:"slot"`
	Key          string       `json:"key"`
	Usage        string       `json:"usage" example:"api"`
	Default      bool         `json:"default" doc:"Whether it is the one of its usage that is used"`
	AuthType     string       `json:"authType" enum:"credential,apiProvider,none"`
	Method       string       `json:"method,omitempty" example:"apikey"`
	ConnectionID string       `json:"connectionId,omitempty"`
	Status       string       `json:"status,omitempty" doc:"Of its connection"`
	HealthStatus string       `json:"healthStatus" enum:"healthy,unhealthy,unknown"`
	LastError    *Fault       `json:"lastError,omitempty"`
	CheckedAt    *time.Time   `json:"lastCheckedAt,omitempty"`
	Secrets      []SlotSecret `json:"secrets"`
	WebhookURL   string       `json:"webhookUrl,omitempty" doc:"Of the usage webhookInbound"`
}

// SlotSecret is one of the values that a slot needs; never the value.
type SlotSecret struct {
	Name      string     `json:"name" example:"apiKey"`
	Reference string     `json:"reference" example:"kv://example-crm/apiKey"`
	HasValue  bool       `json:"hasValue" doc:"Whether there is one that the slot may use"`
	SetAt     *time.Time `json:"setAt,omitempty"`
}

// IntegrationReport is the answer of POST /v1/systems/{systemKey}/test-integration.
type IntegrationReport struct {
	Object   string       `json:"object" enum:"integration_report"`
	Status   string       `json:"status" enum:"passed,failed"`
	Slots    []SlotReport `json:"slots"`
	TestedAt time.Time    `json:"testedAt"`
}

// SlotReport is what one slot showed, with its own credential.
type SlotReport struct {
	Key        string     `json:"key"`
	Usage      string     `json:"usage"`
	Status     string     `json:"status" enum:"passed,failed,skipped"`
	Code       string     `json:"code,omitempty"`
	Message    string     `json:"message,omitempty"`
	Path       string     `json:"path,omitempty" doc:"Of the value that is missing"`
	Host       string     `json:"host,omitempty" doc:"That was asked"`
	Steps      []TestStep `json:"steps"`
	DurationMs int64      `json:"durationMs"`
}
