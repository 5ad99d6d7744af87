package api

import "time"

// RevokeConnections is the body of POST /v1/connections/revoke; at least one member
// beside since must be given, and a connection must match all that are.
type RevokeConnections struct {
	Connector     string     `json:"connector,omitempty" maxLength:"128" doc:"Key of a connector"`
	WorkspaceID   string     `json:"workspaceId,omitempty" maxLength:"64"`
	Workspace     string     `json:"workspace,omitempty" maxLength:"64" doc:"The same as workspaceId"`
	Tag           string     `json:"tag,omitempty" maxLength:"512" doc:"key:value" example:"team:sales"`
	Owner         string     `json:"owner,omitempty" maxLength:"255" doc:"Id of an owner"`
	CreatedAfter  *time.Time `json:"createdAfter,omitempty" doc:"Made at this time or later"`
	CreatedBefore *time.Time `json:"createdBefore,omitempty" doc:"Made before this time"`
	Since         *time.Time `json:"since,omitempty" doc:"From when on the report says who used each. Default: createdAfter, else 30 days ago"`
}

// RevocationReport is how far the revocation of many connections has come. The
// connections are one page of them, newest first.
type RevocationReport struct {
	ID          string                  `json:"id" example:"rev_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Object      string                  `json:"object" enum:"revocation"`
	Status      string                  `json:"status" enum:"stopping,revoking,done" doc:"stopping: some that match may still be usable; revoking: none is, and vendors are being asked"`
	CreatedBy   string                  `json:"createdBy" doc:"Who asked for it"`
	CreatedAt   time.Time               `json:"createdAt"`
	Since       time.Time               `json:"since" doc:"From when on uses are counted"`
	Counts      RevocationCounts        `json:"counts"`
	Connections List[RevokedConnection] `json:"connections"`
}

// RevocationCounts says how many connections were stopped, and how many tokens have
// which verdict.
type RevocationCounts struct {
	Connections  int64 `json:"connections"`
	Pending      int64 `json:"pending"`
	Revoked      int64 `json:"revoked"`
	NotSupported int64 `json:"notSupported"`
	Failed       int64 `json:"failed"`
}

// RevokedConnection is one connection of a report.
type RevokedConnection struct {
	ConnectionID string           `json:"connectionId"`
	Name         string           `json:"name"`
	Connector    string           `json:"connector"`
	WorkspaceID  string           `json:"workspaceId"`
	OwnerID      string           `json:"ownerId"`
	Revocations  []Revocation     `json:"revocations" doc:"The verdict on each token"`
	UsedBy       []ConnectionUser `json:"usedBy" nullable:"true" doc:"Who used it since, the last first, 20 at most; null without the permission audit:read"`
}

// ConnectionUser is a caller that used a connection.
type ConnectionUser struct {
	Kind       string    `json:"kind" example:"api_key"`
	ID         string    `json:"id"`
	Uses       int       `json:"uses"`
	LastUsedAt time.Time `json:"lastUsedAt"`
}
