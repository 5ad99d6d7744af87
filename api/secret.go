package api

import "time"

// PutSecret is the body of PUT /v1/secrets/{path}.
type PutSecret struct {
	Value string `json:"value" minLength:"1" maxLength:"65536" doc:"Never answered again"`
}

// Secret is what may be known of a stored kv:// secret: never its value.
type Secret struct {
	Object    string    `json:"object" enum:"secret"`
	Path      string    `json:"path" doc:"Without kv://" example:"shared/acme/key"`
	Version   int64     `json:"version"`
	UsedBy    []string  `json:"usedBy" doc:"Ids of the connections that refer to it"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// Encryption says how far an organization's key rotation is.
type Encryption struct {
	Object     string     `json:"object" enum:"encryption"`
	Generation uint32     `json:"generation" doc:"Id of the key that seals now"`
	Keys       int        `json:"keys" doc:"Keys in the organization's keyset"`
	Sealed     int        `json:"sealed" doc:"Ciphertexts of the organization"`
	Outdated   int        `json:"outdated" doc:"Of them, still under an older key"`
	RotatedAt  *time.Time `json:"rotatedAt"`
}
