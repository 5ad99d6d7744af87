package api

import "encoding/json"

// RunAction is the body of POST /v1/actions/run.
type RunAction struct {
	ActionIdentifier string         `json:"actionIdentifier" minLength:"3" maxLength:"257" doc:"connector.action" example:"github.list-repos"`
	ConnectionID     string         `json:"connectionId,omitempty" maxLength:"64" doc:"The connection to run it through" example:"conn_01jd5z8k4xe3vbmt0q6y2r9whc"`
	SystemKey        string         `json:"systemKey,omitempty" maxLength:"64" doc:"Instead of a connection: a connected system, whose api slot is taken" example:"example-crm"`
	Input            map[string]any `json:"input,omitempty" doc:"Checked against the action's JSON Schema before anything is opened"`
}

// ActionResult is a vendor's answer to an action.
type ActionResult struct {
	Object     string          `json:"object" enum:"action_result"`
	Status     string          `json:"status" enum:"succeeded,failed" doc:"Whether the vendor answered with a success"`
	Output     json.RawMessage `json:"output" doc:"The vendor's answer, scrubbed of the credential"`
	StatusCode int             `json:"statusCode" doc:"The vendor's status"`
	DurationMs int64           `json:"durationMs"`
	RequestID  string          `json:"requestId"`
	Pagination *NextPage       `json:"pagination" doc:"How to ask for the next page; null where the action has no pages"`
}

// NextPage says how to ask for the next page of an action's answer.
type NextPage struct {
	_       struct{} `nullable:"true"`
	HasMore bool     `json:"hasMore"`
	Param   string   `json:"param,omitempty" doc:"The input that takes the position"`
	Next    string   `json:"next,omitempty" doc:"The position of the next page"`
}

// Action describes a named, typed operation of a connector.
type Action struct {
	Object           string          `json:"object" enum:"action"`
	ActionIdentifier string          `json:"actionIdentifier" example:"github.list-repos"`
	Connector        string          `json:"connector" example:"github"`
	Name             string          `json:"name"`
	Description      string          `json:"description,omitempty"`
	ReadOnly         bool            `json:"readOnly"`
	Input            json.RawMessage `json:"input,omitempty" doc:"JSON Schema of the input"`
}

// ExplainCall is the body of POST /v1/explain: an action with its input, or a
// method and a path of the proxy.
type ExplainCall struct {
	ConnectionID     string         `json:"connectionId" minLength:"1" maxLength:"64"`
	ActionIdentifier string         `json:"actionIdentifier,omitempty" maxLength:"257" doc:"connector.action"`
	Method           string         `json:"method,omitempty" maxLength:"32" example:"GET"`
	Path             string         `json:"path,omitempty" maxLength:"8192" doc:"Below the connector's base URL" example:"/user"`
	Input            map[string]any `json:"input,omitempty"`
}

// Explanation is what a call would do, found out without making it.
type Explanation struct {
	Object       string              `json:"object" enum:"explanation"`
	Allowed      bool                `json:"allowed"`
	Code         string              `json:"code,omitempty" doc:"Why it would be refused" example:"connection_disabled"`
	Message      string              `json:"message,omitempty"`
	ConnectionID string              `json:"connectionId"`
	Connection   string              `json:"connection" doc:"Its name"`
	Connector    string              `json:"connector"`
	Verb         string              `json:"verb" doc:"The permission that decides" example:"connections:proxy"`
	Usage        string              `json:"usage" doc:"The slot that the credential comes from"`
	Host         string              `json:"host,omitempty"`
	Method       string              `json:"method,omitempty"`
	URL          string              `json:"url,omitempty" doc:"Values that carry a credential are redacted"`
	Headers      map[string][]string `json:"headers,omitempty" doc:"Values that carry a credential are redacted"`
	RateLimit    *RateLimit          `json:"rateLimit,omitempty"`
	Policy       []string            `json:"policy" doc:"One sentence for each rule that was applied, in order"`
}
