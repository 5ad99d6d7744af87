package api

import "time"

// Organization is a tenant.
type Organization struct {
	ID        string    `json:"id" example:"org_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Object    string    `json:"object" enum:"organization"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt"`
}

// CreateOrganization is the body of POST /v1/organizations.
type CreateOrganization struct {
	Name string `json:"name" minLength:"1" maxLength:"255"`
}

// NewOrganization is the answer of POST /v1/organizations. Its secrets are shown
// this once.
type NewOrganization struct {
	Organization
	ClientID     string `json:"clientId" doc:"Of its first application"`
	ClientSecret string `json:"clientSecret" doc:"Shown this once"`
	APIKey       string `json:"apiKey" doc:"Of its owner. Shown this once"`
	SetUpURL     string `json:"setUpUrl" doc:"Where its owner chooses how they sign in to the console. Good once, for 24 hours. Shown this once"`
}

// Redacted answers the shape without its secrets.
func (o NewOrganization) Redacted() any {
	o.ClientSecret, o.APIKey, o.SetUpURL = RedactedMark, RedactedMark, RedactedMark
	return o
}

// Workspace is an isolated part of an organization, in one region.
type Workspace struct {
	ID             string    `json:"id" example:"ws_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Object         string    `json:"object" enum:"workspace"`
	OrganizationID string    `json:"organizationId"`
	Name           string    `json:"name"`
	Region         string    `json:"region" doc:"Where its data lives"`
	CreatedAt      time.Time `json:"createdAt"`
	UpdatedAt      time.Time `json:"updatedAt"`
}

// CreateWorkspace is the body of POST /v1/workspaces.
type CreateWorkspace struct {
	Name   string `json:"name" minLength:"1" maxLength:"255" doc:"Unique in the organization"`
	Region string `json:"region,omitempty" maxLength:"64" doc:"Id of a region; default: the instance's first"`
}

// UpdateWorkspace is the body of PATCH /v1/workspaces/{id}.
type UpdateWorkspace struct {
	Name string `json:"name" minLength:"1" maxLength:"255" doc:"A new name"`
}

// Policy is what an organization allows that is refused by default.
type Policy struct {
	SyncFallback bool `json:"syncFallback" doc:"Background work of a system without a syncExecution slot may use its api slot, if no person stands behind that"`
}
