package api

// Schema is a published JSON Schema, as GET /v1/schemas/ lists it.
type Schema struct {
	Name string `json:"name" doc:"The kind of document that it describes" example:"connector"`
	URL  string `json:"url" doc:"Where it is served, as application/schema+json"`
}
