package manifest

import (
	"encoding/json"

	"claviger"
)

// System is the document of a connected system. Sections that claviger keeps and
// does not act upon are raw.
type System struct {
	Schema                  string          `json:"$schema"`
	Key                     string          `json:"key"`
	DisplayName             string          `json:"displayName"`
	Description             string          `json:"description"`
	Type                    string          `json:"type"` // openapi, mcp or custom
	Version                 string          `json:"version"`
	Enabled                 *bool           `json:"enabled"` // nil means true
	Internal                bool            `json:"internal"`
	CredentialIDOrKey       string          `json:"credentialIdOrKey"`
	Tags                    []string        `json:"tags"`
	DataSources             []string        `json:"dataSources"` // keys or file names; empty for all
	Authentication          *Authentication `json:"authentication"`
	Authentications         []Slot          `json:"authentications"`
	OpenAPI                 json.RawMessage `json:"openapi"`
	MCP                     json.RawMessage `json:"mcp"`
	Configuration           json.RawMessage `json:"configuration"`
	Roles                   json.RawMessage `json:"roles"`
	Permissions             json.RawMessage `json:"permissions"`
	Endpoints               json.RawMessage `json:"endpoints"`
	EndpointsActive         *bool           `json:"endpointsActive"`
	GenerateMCPContract     *bool           `json:"generateMcpContract"`
	GenerateOpenAPIContract *bool           `json:"generateOpenApiContract"`
	TriggerPathsHash        string          `json:"triggerPathsHash"`
	IdentityPropagation     json.RawMessage `json:"identityPropagation"`
	RateLimit               *RateLimit      `json:"rateLimit"`
	Performance             json.RawMessage `json:"performance"`
	Certification           *Certification  `json:"certification"`
}

// Authentication is the older, single block, which counts as one slot of usage api.
type Authentication struct {
	CredentialKey string            `json:"credentialKey"`
	DisplayName   string            `json:"displayName"`
	Method        Method            `json:"method"`
	Variables     Variables         `json:"variables"`
	Security      map[string]string `json:"security"`
	WriteOnce     *bool             `json:"writeOnce"` // nil means true
}

// Slot says which credential a usage may load.
type Slot struct {
	Key            string         `json:"key"`
	Usage          claviger.Usage `json:"usage"`
	DisplayName    string         `json:"displayName"`
	Default        bool           `json:"default"`
	AuthType       AuthType       `json:"authType"`
	Credential     *Credential    `json:"credential"`     // of AuthCredential
	APIProviderKey string         `json:"apiProviderKey"` // of AuthProvider
}

// AuthType says where a slot's credential comes from.
type AuthType string

// The auth types.
const (
	AuthCredential AuthType = "credential"  // references to secrets
	AuthProvider   AuthType = "apiProvider" // a provider that acts for a person
	AuthNone       AuthType = "none"
)

// Credential is a method, its settings and where its secrets are.
type Credential struct {
	Method    Method            `json:"method"`
	Variables Variables         `json:"variables"`
	Security  map[string]string `json:"security"` // name to kv:// reference
}

// Variables are the settings of all methods together; which of them a method has is
// told by [Method].
type Variables struct {
	BaseURL           string   `json:"baseUrl"`
	TestEndpoint      string   `json:"testEndpoint"`
	HeaderName        string   `json:"headerName"`
	Prefix            string   `json:"prefix"`
	ParamName         string   `json:"paramName"`
	TokenURL          string   `json:"tokenUrl"`
	AuthorizationURL  string   `json:"authorizationUrl"`
	GrantType         string   `json:"grantType"` // empty means authorization_code
	Scope             Words    `json:"scope"`
	TenantID          string   `json:"tenantId"`
	OpenIDConfigURL   string   `json:"openIdConfigUrl"`
	ClientID          string   `json:"clientId"`
	Audience          string   `json:"audience"`
	ExpectedIssuer    string   `json:"expectedIssuer"`
	Algorithms        []string `json:"algorithms"`
	ValidateSignature *bool    `json:"validateSignature"` // never false
	ClockSkewSeconds  int      `json:"clockSkewSeconds"`
	Scheme            string   `json:"scheme"`
	Algorithm         string   `json:"algorithm"`
	Encoding          string   `json:"encoding"`
	SignatureHeader   string   `json:"signatureHeader"`
	SignaturePrefix   string   `json:"signaturePrefix"`
	SignedString      string   `json:"signedString"` // empty for the body
	TimestampHeader   string   `json:"timestampHeader"`
	TimestampUnit     string   `json:"timestampUnit"`
	Tolerance         int      `json:"tolerance"`  // in seconds; 0 means the default
	AllowedIPs        []string `json:"allowedIps"` // addresses and ranges that deliveries come from; none: any
	AppID             string   `json:"appId"`      // this and the rest: settings of webhook schemes
	PublicKey         string   `json:"publicKey"`
	ServiceAccount    string   `json:"serviceAccount"`
	VerificationToken string   `json:"verificationToken"`
	VerifyToken       string   `json:"verifyToken"`
	WebhookID         string   `json:"webhookId"`
}

// RateLimit is what the vendor allows one credential.
type RateLimit struct {
	RequestsPerWindow int     `json:"requestsPerWindow"`
	WindowSeconds     int     `json:"windowSeconds"`
	RequestsPerSecond float64 `json:"requestsPerSecond"`
	BurstSize         int     `json:"burstSize"`
}

// Certification is the block that verify-trust writes.
type Certification struct {
	Enabled              bool   `json:"enabled"`
	PublicKey            string `json:"publicKey"`
	PublicKeyFingerprint string `json:"publicKeyFingerprint"` // sha256: and hexadecimal of the SPKI in DER
	ContractHash         string `json:"contractHash"`
	Algorithm            string `json:"algorithm"` // RS256
	Issuer               string `json:"issuer"`
	Version              string `json:"version"`
	Status               string `json:"status"`
	Level                string `json:"level"`
}

// SchemaVersion names the shape of the document: "1.6" with a single authentication
// block, "2.0" with authentications.
func (s *System) SchemaVersion() string {
	if len(s.Authentications) > 0 {
		return "2.0"
	}
	return "1.6"
}

// DefaultSlot is the key of the slot that a single authentication block makes.
const DefaultSlot = "default"

// Slots answers every slot in the order of the document; a single authentication
// block is the first, with the key default and the usage api.
func (s *System) Slots() []Slot {
	var out []Slot
	if a := s.Authentication; a != nil {
		slot := Slot{Key: DefaultSlot, Usage: claviger.UsageAPI, DisplayName: a.DisplayName, AuthType: AuthCredential}
		slot.Credential = &Credential{Method: a.Method, Variables: a.Variables, Security: a.Security}
		if a.Method == MethodNone {
			slot.AuthType = AuthNone
		}
		out = append(out, slot)
	}
	return append(out, s.Authentications...)
}

// Slot answers the slot that serves a usage: the one marked default, else the one
// keyed default, else the first. It never answers a slot of another usage.
func (s *System) Slot(usage claviger.Usage) (Slot, bool) {
	var best Slot
	found := false
	for _, slot := range s.Slots() {
		if slot.Usage == usage && (!found || slot.rank() > best.rank()) {
			best, found = slot, true
		}
	}
	return best, found
}

func (s *Slot) rank() int {
	switch {
	case s.Default:
		return 2
	case s.Key == DefaultSlot:
		return 1
	default:
		return 0
	}
}

// Words is a text of words between spaces, or a list of words.
type Words []string

// UnmarshalJSON reads either form.
func (w *Words) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*w = splitWords(text)
		return nil
	}
	return json.Unmarshal(data, (*[]string)(w))
}
