package api

import "time"

// Expiration is something of a connection that comes to an end.
type Expiration struct {
	Object       string    `json:"object" enum:"expiration"`
	ConnectionID string    `json:"connectionId"`
	Name         string    `json:"name" doc:"The connection's"`
	Connector    string    `json:"connector"`
	WorkspaceID  string    `json:"workspaceId"`
	Kind         string    `json:"kind" enum:"accessToken,refreshToken,idle,certificate,clientSecret"`
	At           time.Time `json:"at"`
	Certainty    string    `json:"certainty" enum:"known,estimated" doc:"known: the vendor, the certificate or who stored the secret named it; estimated: from what the connector says of the vendor's tokens"`
	Renews       bool      `json:"renews" doc:"Claviger puts it off by itself; nobody has to do anything"`
}
