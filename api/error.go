package api

import "time"

// ErrorBody is every answer that is no success.
type ErrorBody struct {
	Error Error `json:"error"`
}

// Error says what went wrong in terms that a caller can act on. It never holds a
// secret or a vendor's own text.
type Error struct {
	Message      string      `json:"message" doc:"One sentence with the way out"`
	Type         string      `json:"type" doc:"The class of the error" example:"validation_error"`
	Code         string      `json:"code" doc:"Stable and fine-grained" example:"invalid_format"`
	Param        string      `json:"param,omitempty" doc:"Dotted path of the offending field" example:"credentials.apiKey"`
	RequestID    string      `json:"requestId,omitempty" doc:"Quote it to your operator"`
	Docs         string      `json:"docs,omitempty" doc:"Where the error is explained"`
	Missing      []string    `json:"missing,omitempty" doc:"Permissions that the credential lacks at the vendor"`
	ReconnectURL string      `json:"reconnectUrl,omitempty" doc:"Where the owner can connect again"`
	References   []Reference `json:"references,omitempty" doc:"What still names the object"`
	Path         string      `json:"path,omitempty" doc:"The kv:// path that has no value"`
}

// Reference is something that names a connection.
type Reference struct {
	Type       string     `json:"type" doc:"port, slot, source or data_source" example:"port"`
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	LastUsedAt *time.Time `json:"lastUsedAt"`
}
