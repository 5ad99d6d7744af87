package manifest

import (
	"slices"
	"strings"

	"claviger"
)

// Method is a way to authenticate, or to check who sends.
type Method string

// The methods.
const (
	MethodAPIKey      Method = "apikey"
	MethodBearer      Method = "bearerToken"
	MethodBasic       Method = "basic"
	MethodOAuth2      Method = "oauth2"
	MethodAAD         Method = "aad"  // oauth2 at Microsoft Entra
	MethodOIDC        Method = "oidc" // checks an inbound JWT
	MethodHMAC        Method = "hmac" // checks an inbound signature
	MethodQueryParam  Method = "queryParam"
	MethodCertificate Method = "certificate"
	MethodNone        Method = "none"
)

// methodRule is what a method needs and knows.
type methodRule struct {
	needs    []string // variables without which it cannot work
	checks   string   // the variable beside them without which it cannot check
	knows    []string // the variables beside them
	security []string // names of its secrets
	outward  bool     // it can be put on a call
	inward   bool     // it can check who sends
}

// outwardOnly are variables that mean nothing to a slot that only checks.
var outwardOnly = []string{"baseUrl", "tokenUrl", "testEndpoint"}

var methodRules = map[Method]methodRule{
	MethodAPIKey: {
		needs: []string{"baseUrl"}, knows: []string{"headerName", "prefix", "testEndpoint", "scheme"},
		security: []string{"apiKey"}, checks: "headerName", outward: true, inward: true,
	},
	MethodBearer: {
		needs: []string{"baseUrl"}, knows: []string{"headerName", "prefix", "testEndpoint", "scheme"},
		security: []string{"token"}, outward: true, inward: true,
	},
	MethodBasic: {
		needs: []string{"baseUrl"}, knows: []string{"testEndpoint", "scheme"},
		security: []string{"username", "password"}, outward: true, inward: true,
	},
	MethodQueryParam: {
		needs: []string{"baseUrl", "paramName"}, knows: []string{"testEndpoint", "scheme"},
		security: []string{"paramValue"}, outward: true, inward: true,
	},
	MethodOAuth2: {
		needs: []string{"baseUrl", "tokenUrl"}, knows: []string{"authorizationUrl", "grantType", "scope", "tenantId", "audience", "testEndpoint"},
		security: []string{"clientId", "clientSecret"}, outward: true,
	},
	MethodAAD: {
		needs: []string{"baseUrl", "tokenUrl"}, knows: []string{"authorizationUrl", "grantType", "scope", "tenantId", "audience", "testEndpoint"},
		security: []string{"clientId", "clientSecret"}, outward: true,
	},
	MethodCertificate: {
		needs: []string{"baseUrl"}, knows: []string{"testEndpoint"},
		security: []string{"certificate", "privateKey"}, outward: true,
	},
	MethodOIDC: {
		needs:  []string{"openIdConfigUrl", "clientId"},
		knows:  []string{"expectedIssuer", "audience", "algorithms", "validateSignature", "clockSkewSeconds", "scheme"},
		inward: true,
	},
	MethodHMAC: {
		knows:    []string{"baseUrl", "algorithm", "encoding", "signatureHeader", "signaturePrefix", "signedString", "timestampHeader", "timestampUnit", "tolerance", "scheme"},
		security: []string{"signingSecret"}, checks: "signatureHeader", inward: true,
	},
	MethodNone: {knows: []string{"baseUrl", "testEndpoint"}, outward: true},
}

// bearerNames are what documents call the one secret of bearerToken.
var bearerNames = []string{"token", "bearerToken", "accessToken"}

// schemeSettings are variables that belong to webhook schemes, which a slot names in
// the variable scheme.
var schemeSettings = []string{"appId", "audience", "headerName", "publicKey", "serviceAccount", "tenantId", "verificationToken", "verifyToken", "webhookId", "clientId"}

// senders is the variable that every slot that only checks knows: where it may be sent
// something from.
const senders = "allowedIps"

// has reports whether the method knows a variable.
func (r methodRule) has(variable string) bool {
	return slices.Contains(r.needs, variable) || slices.Contains(r.knows, variable)
}

// required answers the variables that a slot of the usage cannot do without: what
// only checks needs no address.
func (r methodRule) required(usage claviger.Usage) []string {
	if !inbound(usage) {
		return r.needs
	}
	needs := slices.DeleteFunc(slices.Clone(r.needs), func(v string) bool { return slices.Contains(outwardOnly, v) })
	if r.checks != "" {
		needs = append(needs, r.checks)
	}
	return needs
}

// inbound reports whether a usage checks what comes in.
func inbound(u claviger.Usage) bool {
	return u == claviger.UsageWebhookInbound || u == claviger.UsageMessageInbound
}

// Delegated reports whether the slot acts for a person: a provider's token, or an
// OAuth grant that a person gave. Such a slot serves neither background work nor
// webhooks.
func (s *Slot) Delegated() bool {
	if s.AuthType == AuthProvider {
		return true
	}
	if s.AuthType != AuthCredential || s.Credential == nil {
		return false
	}
	m := s.Credential.Method
	return (m == MethodOAuth2 || m == MethodAAD) && s.Credential.Variables.GrantType != "client_credentials"
}

// ServiceCapable reports whether the slot can act without a person on calls that go
// out, as background work needs it.
func (s *Slot) ServiceCapable() bool {
	return s.AuthType == AuthCredential && s.Credential != nil && !s.Delegated() && methodRules[s.Credential.Method].outward && s.Credential.Method != MethodNone
}

func splitWords(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' })
}
