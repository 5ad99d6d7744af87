package api

import "time"

// Whoami is the caller as claviger sees it.
type Whoami struct {
	Object         string     `json:"object" enum:"caller"`
	Kind           string     `json:"kind" enum:"operator,scoped,widget,api_key,session"`
	ID             string     `json:"id" doc:"Of the key, application or token" example:"key_01jd5z8k4xe3vbmt0q6y2r9whc"`
	TokenID        string     `json:"tokenId,omitempty" doc:"The jti of a short-lived token"`
	OrganizationID string     `json:"organizationId"`
	WorkspaceID    string     `json:"workspaceId,omitempty" doc:"The only workspace in reach; absent: all of them"`
	UserID         string     `json:"userId,omitempty" doc:"The person behind it"`
	Role           string     `json:"role,omitempty"`
	InstanceAdmin  bool       `json:"instanceAdmin" doc:"Whether it may create organizations"`
	Permissions    []string   `json:"permissions" example:"[\"connections:read\"]"`
	ExpiresAt      *time.Time `json:"expiresAt"`
}

// User is a person of an organization.
type User struct {
	ID        string    `json:"id" example:"usr_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Object    string    `json:"object" enum:"user"`
	Name      string    `json:"name"`
	Email     string    `json:"email" example:"ada@acme.example"`
	Role      string    `json:"role" enum:"owner,admin,developer,operator,viewer,end_user"`
	Disabled  bool      `json:"disabled"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// CreateUser is the body of POST /v1/users.
type CreateUser struct {
	Name  string `json:"name" minLength:"1" maxLength:"255"`
	Email string `json:"email" minLength:"3" maxLength:"254" example:"ada@acme.example"`
	Role  string `json:"role" enum:"owner,admin,developer,operator,viewer,end_user"`
}

// NewUser is the answer of POST /v1/users and of POST /v1/users/{id}/set-up-link: a person,
// and the address at which they choose how they sign in to the console.
type NewUser struct {
	User
	SetUpURL string `json:"setUpUrl" doc:"For the person alone. Good once, for 24 hours. Shown this once" example:"https://claviger.example/console/setup/clv_setup_..."`
}

// Redacted answers the shape without its secret.
func (u NewUser) Redacted() any {
	u.SetUpURL = RedactedMark
	return u
}

// UpdateUser is the body of PATCH /v1/users/{id}; what is left out stays as it is.
type UpdateUser struct {
	Name     *string `json:"name,omitempty" minLength:"1" maxLength:"255"`
	Role     *string `json:"role,omitempty" enum:"owner,admin,developer,operator,viewer,end_user"`
	Disabled *bool   `json:"disabled,omitempty" doc:"A disabled person's keys and sessions stop working at once"`
}

// Application is an OAuth client of an organization.
type Application struct {
	ID        string    `json:"id" example:"app_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Object    string    `json:"object" enum:"application"`
	Name      string    `json:"name"`
	ClientID  string    `json:"clientId"`
	CreatedAt time.Time `json:"createdAt"`
}

// CreateApplication is the body of POST /v1/applications.
type CreateApplication struct {
	Name string `json:"name" minLength:"1" maxLength:"255"`
}

// NewApplication is the answer of POST /v1/applications. The secret is shown this
// once.
type NewApplication struct {
	Application
	ClientSecret string `json:"clientSecret" doc:"Shown this once"`
}

// Redacted answers the shape without its secret.
func (a NewApplication) Redacted() any {
	a.ClientSecret = RedactedMark
	return a
}

// APIKey is a long-lived token, as far as it may be seen.
type APIKey struct {
	ID          string     `json:"id" example:"key_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Object      string     `json:"object" enum:"api_key"`
	Name        string     `json:"name"`
	Hint        string     `json:"hint" doc:"Its last four characters"`
	WorkspaceID string     `json:"workspaceId,omitempty" doc:"The only workspace in reach; absent: all of its user's"`
	UserID      string     `json:"userId,omitempty" doc:"Whose rights it carries"`
	CreatedBy   string     `json:"createdBy"`
	Scopes      []string   `json:"scopes" doc:"What it may do, within its user's rights"`
	AllowedIPs  []string   `json:"allowedIps" doc:"Networks that it may be used from; empty: all"`
	ExpiresAt   *time.Time `json:"expiresAt"`
	LastUsedAt  *time.Time `json:"lastUsedAt"`
	RevokedAt   *time.Time `json:"revokedAt"`
	CreatedAt   time.Time  `json:"createdAt"`
}

// CreateAPIKey is the body of POST /v1/api-keys. A key never gets more than its
// creator's rights.
type CreateAPIKey struct {
	Name        string     `json:"name" minLength:"1" maxLength:"255"`
	WorkspaceID string     `json:"workspaceId,omitempty" maxLength:"64" doc:"Binds the key to one workspace"`
	Scopes      []string   `json:"scopes,omitempty" maxItems:"100" doc:"Permissions; default: all of the creator's" example:"[\"connections:read\",\"actions:run\"]"`
	ExpiresAt   *time.Time `json:"expiresAt,omitempty"`
	AllowedIPs  []string   `json:"allowedIps,omitempty" maxItems:"100" doc:"Addresses and CIDRs" example:"[\"203.0.113.0/24\"]"`
}

// NewAPIKey is the answer of POST /v1/api-keys. The key is shown this once.
type NewAPIKey struct {
	APIKey
	Key string `json:"key" doc:"The key itself. Shown this once"`
}

// Redacted answers the shape without the key.
func (k NewAPIKey) Redacted() any {
	k.Key = RedactedMark
	return k
}

// RevokeTokens is the body of POST /v1/tokens/revoke: one token by its id, or all
// that were minted before a moment.
type RevokeTokens struct {
	TokenID string     `json:"tokenId,omitempty" maxLength:"64" doc:"The jti of one short-lived token" example:"tok_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Before  *time.Time `json:"before,omitempty" doc:"All tokens minted before this moment"`
	Kind    string     `json:"kind,omitempty" enum:"operator,scoped,widget" doc:"With before: of this kind only"`
}

// TokenSweep answers how many tokens were revoked.
type TokenSweep struct {
	Object  string `json:"object" enum:"token_sweep"`
	Revoked int64  `json:"revoked"`
}
