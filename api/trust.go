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

// TrustReport is the answer of POST /v1/systems/{systemKey}/verify-trust.
type TrustReport struct {
	Object      string       `json:"object" enum:"trust_report"`
	SystemKey   string       `json:"systemKey"`
	Version     int          `json:"version"`
	Hash        string       `json:"hash" doc:"Of the manifest that was looked at"`
	Status      string       `json:"status" enum:"passed,failed" doc:"Whether no check failed"`
	Level       string       `json:"level" enum:"BRONZE,SILVER,GOLD,PLATINUM," doc:"The highest level whose checks all hold; empty for none"`
	Checks      []TrustCheck `json:"checks"`
	Certificate *Certificate `json:"certificate" doc:"Signed and kept; null without a level"`
}

// TrustCheck is one thing that was looked at.
type TrustCheck struct {
	Level   string `json:"level" enum:"BRONZE,SILVER,GOLD,PLATINUM"`
	Name    string `json:"name" enum:"manifest,slot,integration,endToEnd,capabilities,webhook,sync"`
	Subject string `json:"subject,omitempty" doc:"The slot or the data source"`
	Status  string `json:"status" enum:"passed,failed,skipped,none" doc:"skipped: not proven; none: there is nothing to prove"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

// Certificate is what a system has shown, signed with RS256 over the hash of its manifest.
// Any change of the manifest ends it.
type Certificate struct {
	_                    struct{}     `nullable:"true"`
	Enabled              bool         `json:"enabled"`
	Issuer               string       `json:"issuer" doc:"The address of this claviger"`
	SystemKey            string       `json:"systemKey"`
	Version              string       `json:"version" doc:"Of the manifest"`
	ContractHash         string       `json:"contractHash" doc:"SHA-256 of the manifest in canonical form, without its certification"`
	Algorithm            string       `json:"algorithm" enum:"RS256"`
	PublicKeyFingerprint string       `json:"publicKeyFingerprint" doc:"sha256: and the hexadecimal SHA-256 of the SPKI in DER"`
	Status               string       `json:"status" enum:"passed"`
	Level                string       `json:"level" enum:"BRONZE,SILVER,GOLD,PLATINUM"`
	IssuedAt             time.Time    `json:"issuedAt"`
	Checks               []TrustCheck `json:"checks"`
	PublicKey            string       `json:"publicKey" doc:"SPKI, PEM"`
	Signature            string       `json:"signature" doc:"JWS compact; its payload is the statement that the fields from issuer to checks show"`
}

// CertificateState is the answer of GET /v1/systems/{systemKey}/certificate.
type CertificateState struct {
	Object      string       `json:"object" enum:"certificate_state"`
	Valid       bool         `json:"valid" doc:"Whether it is about the present manifest, and whole"`
	Code        string       `json:"code,omitempty" enum:"manifest_changed,certificate_invalid" doc:"Why not"`
	Message     string       `json:"message,omitempty"`
	Certificate *Certificate `json:"certificate"`
}
