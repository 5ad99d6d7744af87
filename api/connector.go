package api

import "encoding/json"

// Connector is the definition of an external system.
type Connector struct {
	Object       string          `json:"object" enum:"connector"`
	Key          string          `json:"key" example:"github"`
	Name         string          `json:"name" example:"GitHub"`
	Kind         string          `json:"kind" example:"http"`
	Categories   []string        `json:"categories"`
	DocsURL      string          `json:"docsUrl,omitempty"`
	Version      int             `json:"version" doc:"1 for built-in ones; grows with each PUT of a custom one"`
	Custom       bool            `json:"custom" doc:"Whether it belongs to the organization alone"`
	BaseURL      string          `json:"baseUrl" example:"https://api.github.com"`
	AllowedHosts []string        `json:"allowedHosts" doc:"The only hosts that may receive its credentials"`
	Variables    []Variable      `json:"variables" doc:"Typed holes of the base URL, filled by a connection's settings"`
	Auth         []AuthMethod    `json:"auth"`
	Actions      []string        `json:"actions" doc:"Keys of its actions; GET /v1/actions tells more"`
	RateLimit    *RateLimit      `json:"rateLimit,omitempty" doc:"What the vendor allows one connection"`
	Document     json.RawMessage `json:"document,omitempty" doc:"The whole document, when one connector is asked for"`
}

// RateLimit is how many calls a vendor allows one connection.
type RateLimit struct {
	RequestsPerSecond float64 `json:"requestsPerSecond"`
	Burst             int     `json:"burst"`
}

// Variable is a typed hole in a base URL.
type Variable struct {
	Key      string   `json:"key" example:"subdomain"`
	Label    string   `json:"label"`
	Type     string   `json:"type" enum:"hostLabel,pathSegment,uuid,enum,hostname"`
	Required bool     `json:"required"`
	Default  string   `json:"default,omitempty"`
	Values   []string `json:"values,omitempty" doc:"Of the type enum"`
	Hint     string   `json:"hint,omitempty"`
	// AuthMethods need it; all of them if there are none.
	AuthMethods []string `json:"authMethods,omitempty" doc:"The auth methods that need it; all unless given"`
}

// AuthMethod is one way to authenticate to a connector.
type AuthMethod struct {
	Key      string  `json:"key" example:"token"`
	Type     string  `json:"type" example:"bearer"`
	Label    string  `json:"label"`
	DocsURL  string  `json:"docsUrl,omitempty"`
	Fields   []Field `json:"fields" doc:"What a person gives, in the order to ask for it"`
	Testable bool    `json:"testable" doc:"Whether credentials are proven by a call"`
	// BaseURL is where its calls go, if not to the connector's.
	BaseURL string `json:"baseUrl,omitempty" doc:"Where its calls go, if not to the connector's"`
	// Discovers are the variables that nobody has to give: the vendor tells them.
	Discovers []string `json:"discovers,omitempty" doc:"Variables that the vendor tells once a person has consented"`
}

// Field is one credential value that a person gives.
type Field struct {
	Key      string   `json:"key" example:"apiKey"`
	Label    string   `json:"label"`
	Type     string   `json:"type" example:"password"`
	Secret   bool     `json:"secret"`
	Required bool     `json:"required"`
	Pattern  string   `json:"pattern,omitempty" doc:"RE2; a value that does not match is refused"`
	Options  []string `json:"options,omitempty" doc:"Of the type select"`
	Hint     string   `json:"hint,omitempty"`
	DocsURL  string   `json:"docsUrl,omitempty"`
}

// StoredConnector is the answer of PUT /v1/connectors/{key}.
type StoredConnector struct {
	Connector
	Created bool              `json:"created" doc:"False: it is a new version of an older one"`
	Changes []ConnectorChange `json:"changes" doc:"What differs from the version before"`
}

// ConnectorChange is one difference between two versions of a connector.
type ConnectorChange struct {
	Path     string `json:"path" example:"allowedHosts"`
	Old      string `json:"old"`
	New      string `json:"new"`
	Security bool   `json:"security" doc:"Touches where a credential goes or what it may do"`
}
