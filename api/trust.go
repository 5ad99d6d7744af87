package api

import "time"

// EndToEndReport is the answer of POST /v1/systems/{systemKey}/datasources/{dataSource}/test-e2e.
type EndToEndReport struct {
	Object     string         `json:"object" enum:"end_to_end_report"`
	SystemKey  string         `json:"systemKey"`
	DataSource string         `json:"dataSource"`
	Status     string         `json:"status" enum:"passed,failed"`
	Steps      []EndToEndStep `json:"steps" doc:"In the order in which they were tried"`
	LeftBehind []LeftBehind   `json:"leftBehind" doc:"Records at the system that the test could not remove or set back"`
	TestedAt   time.Time      `json:"testedAt"`
}

// EndToEndStep is one operation at the real system.
type EndToEndStep struct {
	Operation  string `json:"operation" example:"create"`
	Status     string `json:"status" enum:"passed,failed,skipped"`
	Code       string `json:"code,omitempty"`
	Message    string `json:"message,omitempty"`
	StatusCode int    `json:"statusCode,omitempty" doc:"The system's status"`
	DurationMs int64  `json:"durationMs"`
}

// LeftBehind is a record that a test made or changed at a system and that is still there.
type LeftBehind struct {
	Key    map[string]any `json:"key" doc:"What is known of its key"`
	Reason string         `json:"reason"`
}
