package manifest

import (
	"encoding/json"
	"slices"
	"strings"
)

// DataSource is the document of one business entity of a system. Sections that
// claviger keeps and does not act upon are raw.
type DataSource struct {
	Schema          string          `json:"$schema"`
	Key             string          `json:"key"`
	DisplayName     string          `json:"displayName"`
	Description     string          `json:"description"`
	Enabled         *bool           `json:"enabled"` // nil means true
	Version         string          `json:"version"`
	BusinessOrder   int             `json:"businessOrder"`
	AgentExposure   json.RawMessage `json:"agentExposure"`
	SystemKey       string          `json:"systemKey"`
	EntityType      string          `json:"entityType"`
	ResourceType    string          `json:"resourceType"`
	MetadataSchema  json.RawMessage `json:"metadataSchema"`
	PrimaryKey      []string        `json:"primaryKey"`
	ExternalID      *ExternalID     `json:"externalId"`
	LabelKey        []string        `json:"labelKey"`
	ForeignKeys     json.RawMessage `json:"foreignKeys"`
	Dimensions      json.RawMessage `json:"dimensions"`
	FieldMappings   FieldMappings   `json:"fieldMappings"`
	ExternalSpec    json.RawMessage `json:"externalSpec"`
	Exposed         json.RawMessage `json:"exposed"`
	Sync            *Sync           `json:"sync"`
	Webhook         *Webhook        `json:"webhook"`
	SyncBridge      *SyncBridge     `json:"syncBridge"`
	OpenAPI         *OpenAPI        `json:"openapi"`
	Capabilities    Capabilities    `json:"capabilities"`
	Validation      json.RawMessage `json:"validation"`
	Quality         json.RawMessage `json:"quality"`
	Context         json.RawMessage `json:"context"`
	DocumentStorage json.RawMessage `json:"documentStorage"`
	MessageService  json.RawMessage `json:"messageService"`
	TestPayload     *TestPayload    `json:"testPayload"`
	Execution       json.RawMessage `json:"execution"`
	Config          json.RawMessage `json:"config"`
	Contract        json.RawMessage `json:"contract"`
	MCPContract     json.RawMessage `json:"mcpContract"`
}

// ExternalID names the attribute that holds the system's own id of a record. As a
// document it may also be the attribute's name alone, which is then indexed.
type ExternalID struct {
	Attribute  string `json:"attribute"` // externalId if empty
	Expression string `json:"expression"`
	Type       string `json:"type"`
	Indexed    bool   `json:"indexed"`
}

// UnmarshalJSON reads either form.
func (e *ExternalID) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &e.Attribute) == nil {
		e.Indexed = true
		return nil
	}
	type plain ExternalID
	return json.Unmarshal(data, (*plain)(e))
}

// FieldMappings says how a record of the system becomes one of claviger's.
type FieldMappings struct {
	Dimensions json.RawMessage      `json:"dimensions"`
	Attributes map[string]Attribute `json:"attributes"`
}

// Attribute is one field of the result.
type Attribute struct {
	Expression  string          `json:"expression"` // {{raw.path}} | function | function
	Type        string          `json:"type"`
	Indexed     bool            `json:"indexed"`
	Required    bool            `json:"required"`
	Description string          `json:"description"`
	Semantic    json.RawMessage `json:"semantic"`
}

// Sync says when records are fetched.
type Sync struct {
	Enabled    bool            `json:"enabled"`
	Mode       string          `json:"mode"` // full, incremental, pull, push, bidirectional
	Schedule   string          `json:"schedule"`
	TimeZone   string          `json:"timeZone"`
	Cursor     *Cursor         `json:"cursor"`
	BatchSize  int             `json:"batchSize"` // 0 means DefaultBatchSize
	Operations json.RawMessage `json:"operations"`
}

// DefaultBatchSize is how many records one transaction takes.
const DefaultBatchSize = 500

// Cursor is how an incremental sync asks for what is new. As a document it may also
// be the attribute's name alone.
type Cursor struct {
	Attribute string `json:"attribute"` // of a record, for example updatedAt
	Param     string `json:"param"`     // of list, takes the last value
	Path      string `json:"path"`      // into the answer of list; empty for the attribute's greatest
}

// UnmarshalJSON reads either form.
func (c *Cursor) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &c.Attribute) == nil {
		return nil
	}
	type plain Cursor
	return json.Unmarshal(data, (*plain)(c))
}

// Webhook says which events concern the data source.
type Webhook struct {
	Enabled bool     `json:"enabled"`
	Events  []string `json:"events"` // empty for all
	IDPath  string   `json:"idPath"`
}

// SyncBridge says whether changes are written back. As a document it may also be
// the mode alone.
type SyncBridge struct {
	Mode     string `json:"mode"`     // disabled, master, bidirectional
	Target   string `json:"target"`   // a data source, or systemKey/dataSourceKey
	Conflict string `json:"conflict"` // newest, master, manual
}

// UnmarshalJSON reads either form.
func (b *SyncBridge) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &b.Mode) == nil {
		return nil
	}
	type plain SyncBridge
	return json.Unmarshal(data, (*plain)(b))
}

// Writes reports whether the bridge writes anything.
func (b *SyncBridge) Writes() bool {
	return b != nil && (b.Mode == "master" || b.Mode == "bidirectional")
}

// OpenAPI says where the entity's operations are in the system's API.
type OpenAPI struct {
	Enabled      bool                 `json:"enabled"`
	DocumentKey  string               `json:"documentKey"`
	BaseURL      string               `json:"baseUrl"`
	ResourcePath string               `json:"resourcePath"`
	Operations   map[string]Operation `json:"operations"`
	OperationRef string               `json:"operationRef"`
	AutoRBAC     bool                 `json:"autoRbac"`
}

// TestPayload is what tests of the data source use.
type TestPayload struct {
	Mode                string          `json:"mode"`
	PrimaryKey          json.RawMessage `json:"primaryKey"`
	UseCopyForMutations bool            `json:"useCopyForMutations"`
	Scenarios           json.RawMessage `json:"scenarios"`
	FK                  json.RawMessage `json:"fk"`
	Actors              json.RawMessage `json:"actors"`
	PayloadTemplate     json.RawMessage `json:"payloadTemplate"`
	ExpectedResult      json.RawMessage `json:"expectedResult"`
}

// Operations are the names of what can be done with a record.
func Operations() []string { return []string{"list", "get", "create", "update", "delete"} }

// Capabilities says which operations a data source allows: a list of their names,
// or an object of booleans and HTTP operations.
type Capabilities map[string]*Operation

// UnmarshalJSON reads every form. An operation that is allowed and not described
// is a nil.
func (c *Capabilities) UnmarshalJSON(data []byte) error {
	*c = Capabilities{}
	var names []string
	if json.Unmarshal(data, &names) == nil {
		for _, name := range names {
			(*c)[name] = nil
		}
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return err
	}
	for name, raw := range object {
		var allowed bool
		if json.Unmarshal(raw, &allowed) == nil {
			if allowed {
				(*c)[name] = nil
			}
			continue
		}
		op := &Operation{}
		if err := json.Unmarshal(raw, op); err != nil {
			return err
		}
		(*c)[name] = op
	}
	return nil
}

// Operation is one HTTP call. In path, query and body, {name} is filled when it is
// called; {record} in a body stands for the whole record.
type Operation struct {
	OperationID string          `json:"operationId,omitempty"`
	Method      string          `json:"method"`
	Path        string          `json:"path"`
	Query       map[string]any  `json:"query,omitempty"`
	Body        json.RawMessage `json:"body,omitempty"` // the record if nil, of create and update
	BodyFormat  string          `json:"bodyFormat,omitempty"`
	Items       string          `json:"items,omitempty"`  // JSONPath to the records of list
	Record      string          `json:"record,omitempty"` // JSONPath to the record
	Pagination  *Pagination     `json:"pagination,omitempty"`
}

// Pagination is how list goes on, in the words of connector documents.
type Pagination struct {
	Type  string `json:"type"`
	Param string `json:"param"`
	Next  string `json:"next,omitempty"`
}

// Operation answers the HTTP call of an operation that the data source allows: what
// capabilities describes, else what openapi.operations does, else the customary
// call on openapi.resourcePath. ok is false if it is not allowed or has no call, and of a
// data source that is switched off.
func (d *DataSource) Operation(name string) (op Operation, ok bool) {
	described, allowed := d.Capabilities[name]
	switch {
	case !allowed || d.Enabled != nil && !*d.Enabled:
		return Operation{}, false
	case described != nil:
		return *described, true
	case d.OpenAPI == nil:
		return Operation{}, false
	}
	op = d.customary(name)
	if found, listed := d.OpenAPI.Operations[name]; listed && found.Path != "" {
		op.OperationID, op.Path = found.OperationID, found.Path
		if found.Method != "" {
			op.Method = found.Method
		}
	}
	return op, op.Path != ""
}

// customary is what most APIs do with a collection and its entries.
func (d *DataSource) customary(name string) Operation {
	op := Operation{Method: map[string]string{"list": "GET", "get": "GET", "create": "POST", "update": "PATCH", "delete": "DELETE"}[name]}
	if base := strings.TrimSuffix(d.OpenAPI.ResourcePath, "/"); base != "" {
		if op.Path = base; !slices.Contains([]string{"list", "create"}, name) {
			op.Path += "/{id}"
		}
	}
	return op
}

// IndexedExternalID answers the attribute that holds the system's own id, if one is
// declared and indexed: externalId, or an attribute of that name in fieldMappings
// or metadataSchema.
func (d *DataSource) IndexedExternalID() (attribute string, ok bool) {
	const name = "externalId"
	if e := d.ExternalID; e != nil {
		attribute = e.Attribute
		if attribute == "" {
			attribute = name
		}
		if e.Indexed {
			return attribute, true
		}
		return attribute, d.FieldMappings.Attributes[attribute].Indexed
	}
	if d.FieldMappings.Attributes[name].Indexed {
		return name, true
	}
	var schema struct {
		Properties map[string]struct{ Index, Indexed bool }
	}
	_ = json.Unmarshal(d.MetadataSchema, &schema) // what is no schema declares nothing
	p := schema.Properties[name]
	return name, p.Index || p.Indexed
}
