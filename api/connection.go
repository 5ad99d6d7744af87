package api

import "time"

// CreateConnection is the body of POST /v1/connections.
type CreateConnection struct {
	Connector   string            `json:"connector" minLength:"1" maxLength:"128" doc:"Key of the connector" example:"github"`
	AuthMethod  string            `json:"authMethod" minLength:"1" maxLength:"128" doc:"Key of one of the connector's auth methods" example:"token"`
	Name        string            `json:"name" minLength:"1" maxLength:"255" doc:"Unique in the workspace" example:"production"`
	WorkspaceID string            `json:"workspaceId,omitempty" maxLength:"64" doc:"Default: the token's workspace, else the workspace named default"`
	Usage       string            `json:"usage,omitempty" enum:"api,webhookInbound,syncExecution,callback,messageInbound,messageOutbound,provisioning" default:"api" doc:"The only runtime path that may load this connection"`
	Visibility  string            `json:"visibility,omitempty" enum:"workspace,personal" default:"workspace" doc:"A personal connection is used by its owner alone"`
	Credentials map[string]string `json:"credentials,omitempty" maxProperties:"64" doc:"Values of the auth method's fields; a value may be a kv:// path. Never answered again"`
	Settings    map[string]string `json:"settings,omitempty" maxProperties:"64" doc:"Values of the connector's variables"`
	Metadata    map[string]string `json:"metadata,omitempty" maxProperties:"64" doc:"Your own notes"`
	Tags        map[string]string `json:"tags,omitempty" maxProperties:"64" doc:"Your own labels, for filters"`
	Validate    *bool             `json:"validate,omitempty" doc:"Whether the credentials are checked (format, live, permission) before anything is stored. Default true"`
	ReturnURL   string            `json:"returnUrl,omitempty" maxLength:"2048" doc:"Where the browser of a person who consents comes back to, with connectionId and finishCode: on the organization's list, exactly; or http on the loopback. Default: the page shows the finish code"`
}

// UpdateConnection is the body of PATCH /v1/connections/{id}; what is left out
// stays as it is.
type UpdateConnection struct {
	Name               *string            `json:"name,omitempty" minLength:"1" maxLength:"255" doc:"A new name"`
	Credentials        map[string]*string `json:"credentials,omitempty" maxProperties:"64" doc:"Merged by key; null clears. Checked first: a failed rotation leaves the old values in use"`
	Settings           map[string]string  `json:"settings,omitempty" maxProperties:"64" doc:"Merged by key. A setting that decides the destination needs the credentials again"`
	Metadata           map[string]*string `json:"metadata,omitempty" maxProperties:"64" doc:"Merged by key; null removes"`
	Tags               map[string]*string `json:"tags,omitempty" maxProperties:"64" doc:"Merged by key; null removes"`
	ConnectorVersion   *int               `json:"connectorVersion,omitempty" minimum:"1" doc:"Approves another version of the connector"`
	AllowAccountChange bool               `json:"allowAccountChange,omitempty" doc:"Whether new credentials may belong to another account of the vendor"`
	Validate           *bool              `json:"validate,omitempty" doc:"Whether new credentials are checked before they replace the old. Default true"`
}

// Connection is named, encrypted credentials for one connector, as far as they may
// be seen.
type Connection struct {
	ID                      string            `json:"id" example:"conn_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Object                  string            `json:"object" enum:"connection"`
	Connector               string            `json:"connector" example:"github"`
	ConnectorVersion        int               `json:"connectorVersion" doc:"The version of the connector that it was made with or moved to"`
	AuthMethod              string            `json:"authMethod" example:"token"`
	Name                    string            `json:"name" example:"production"`
	WorkspaceID             string            `json:"workspaceId"`
	OwnerID                 string            `json:"ownerId" doc:"The person, application or token subject that made it"`
	Usage                   string            `json:"usage" enum:"api,webhookInbound,syncExecution,callback,messageInbound,messageOutbound,provisioning"`
	Visibility              string            `json:"visibility" enum:"workspace,personal"`
	Status                  string            `json:"status" enum:"pending,active,reauthorization_required,disabled,revoked"`
	HealthStatus            string            `json:"healthStatus" enum:"healthy,unhealthy,unknown" doc:"What the last check found"`
	LastError               *Fault            `json:"lastError" doc:"Why the last check or use failed; null if it did not"`
	Account                 Account           `json:"account" doc:"The vendor's account behind it"`
	GrantedScopes           []string          `json:"grantedScopes" doc:"Permissions that the vendor reported"`
	Credentials             map[string]string `json:"credentials" doc:"Every key that holds a value, every value redacted"`
	Settings                map[string]string `json:"settings"`
	Metadata                map[string]string `json:"metadata"`
	Tags                    map[string]string `json:"tags"`
	Warnings                []string          `json:"warnings,omitempty" doc:"What looked unusual and was accepted"`
	Revocations             []Revocation      `json:"revocations,omitempty" doc:"Of a deleted connection: what came of each token at the vendor"`
	AuthorizeURL            string            `json:"authorizeUrl,omitempty" doc:"Of a new pending connection: where the person who consents opens it, within ten minutes"`
	UserCode                string            `json:"userCode,omitempty" doc:"Of a new pending connection by a device method: show it with verificationUri to the person who consents"`
	VerificationURI         string            `json:"verificationUri,omitempty" doc:"The vendor's page where userCode is typed"`
	VerificationURIComplete string            `json:"verificationUriComplete,omitempty" doc:"The same with the code in it, if the vendor has that"`
	Interval                int               `json:"interval,omitempty" doc:"How often the vendor is asked at first, in seconds"`
	ExpiresAt               *time.Time        `json:"expiresAt" doc:"When the credential ends; of a new pending connection, when authorizeUrl or userCode does"`
	LastUsedAt              *time.Time        `json:"lastUsedAt"`
	LastCheckedAt           *time.Time        `json:"lastCheckedAt"`
	CreatedAt               time.Time         `json:"createdAt"`
	UpdatedAt               time.Time         `json:"updatedAt"`
}

// Account is the vendor's account behind a connection; empty where it is unknown.
type Account struct {
	ID   string `json:"id" example:"583231"`
	Name string `json:"name" example:"octocat"`
}

// Fault is why a check or a use failed.
type Fault struct {
	_       struct{} `nullable:"true"`
	Code    string   `json:"code" example:"invalid_credentials"`
	Message string   `json:"message"`
}

// Revocation is what came of one token when its connection was deleted.
type Revocation struct {
	Token   string `json:"token" doc:"credential, access or refresh" example:"credential"`
	Verdict string `json:"verdict" doc:"revoked, not_supported, or failed and why" example:"not_supported"`
}

// ConnectionTest is what the three steps of a test found.
type ConnectionTest struct {
	Object       string     `json:"object" enum:"connection_test"`
	ConnectionID string     `json:"connectionId"`
	Status       string     `json:"status" enum:"passed,failed"`
	Steps        []TestStep `json:"steps"`
	TestedAt     time.Time  `json:"testedAt"`
}

// TestStep is the evidence of one step.
type TestStep struct {
	Name       string   `json:"name" enum:"format,live,permission"`
	Status     string   `json:"status" enum:"passed,failed,skipped"`
	Code       string   `json:"code,omitempty" example:"insufficient_scope"`
	Message    string   `json:"message,omitempty"`
	StatusCode int      `json:"statusCode,omitempty" doc:"The vendor's status"`
	Missing    []string `json:"missing,omitempty" doc:"Permissions that the credential lacks"`
	DurationMs int64    `json:"durationMs"`
}

// DisableConnections is the body of POST /v1/connections/disable; at least one
// member must be given, and a connection must match all that are.
type DisableConnections struct {
	Connector   string `json:"connector,omitempty" maxLength:"128" doc:"Key of a connector"`
	WorkspaceID string `json:"workspaceId,omitempty" maxLength:"64"`
	Workspace   string `json:"workspace,omitempty" maxLength:"64" doc:"The same as workspaceId"`
	Tag         string `json:"tag,omitempty" maxLength:"512" doc:"key:value" example:"team:sales"`
	Owner       string `json:"owner,omitempty" maxLength:"255" doc:"Id of an owner"`
}

// ConnectionSweep answers how many connections were switched off.
type ConnectionSweep struct {
	Object   string `json:"object" enum:"connection_sweep"`
	Disabled int    `json:"disabled"`
}
