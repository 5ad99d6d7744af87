package claviger

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Connector is the compiled definition of an external system. It is data made by
// package catalog from a document, shared by many goroutines and never changed.
type Connector struct {
	Key          string
	Name         string
	Kind         string // "http" in this release
	Categories   []string
	DocsURL      string
	Version      int            // 1 for built-in ones; grows with each PUT of a custom one
	Organization OrganizationID // empty for built-in ones
	BaseURL      Template       // scheme://host[:port][/path], no trailing slash
	Variables    []Variable
	AllowedHosts []string // exact names, or "*.example.com" for any depth of labels below
	Headers      []Header // sent with every call, unless the caller sends its own
	Auth         []AuthMethod
	Actions      []Action
	Expiry       []ExpirySignal
	RateLimit    RateLimit
	Document     []byte // the canonical JSON of the document
}

// Method answers the auth method of the given key.
func (c *Connector) Method(key string) (*AuthMethod, bool) {
	for i := range c.Auth {
		if c.Auth[i].Key == key {
			return &c.Auth[i], true
		}
	}
	return nil, false
}

// Action answers the action of the given key.
func (c *Connector) Action(key string) (*Action, bool) {
	for i := range c.Actions {
		if c.Actions[i].Key == key {
			return &c.Actions[i], true
		}
	}
	return nil, false
}

// For answers the connector as it is for one of its auth methods: with the method's own
// base URL if it has one, and the variables that the method needs, of which those that
// the method discovers are marked. It is the connector itself where nothing differs.
func (c *Connector) For(method string) *Connector {
	m, ok := c.Method(method)
	if !ok {
		return c
	}
	view, differs := *c, !m.BaseURL.Empty()
	if differs {
		view.BaseURL = m.BaseURL
	}
	view.Variables = nil
	for _, v := range c.Variables {
		if len(v.Methods) > 0 && !slices.Contains(v.Methods, method) {
			differs = true
			continue
		}
		if m.OAuth != nil && slices.ContainsFunc(m.OAuth.Discover, func(d Discovery) bool { return d.Variable == v.Key }) {
			v.Discovered, differs = true, true
		}
		view.Variables = append(view.Variables, v)
	}
	if !differs {
		return c
	}
	return &view
}

// Header is a fixed header whose value may name variables and fields that are no
// secrets.
type Header struct {
	Name  string
	Value Template
}

// VariableType is the grammar of a variable's values.
type VariableType string

// The variable types. A hostname variable is pinned to the connection when it is
// made and bound in its ciphertext.
const (
	VariableHostLabel   VariableType = "hostLabel"   // one DNS label, 1 to 63 letters, digits and inner hyphens
	VariablePathSegment VariableType = "pathSegment" // unreserved characters, no dot segment
	VariableUUID        VariableType = "uuid"
	VariableEnum        VariableType = "enum" // one of Values
	VariableHostname    VariableType = "hostname"
)

// Variable is a typed hole in a base URL or a path, filled from a connection's
// settings.
type Variable struct {
	Key, Label string
	Type       VariableType
	Required   bool
	Default    string
	Values     []string       // of an enum
	Pattern    *regexp.Regexp // narrows the type further; nil for none
	Hint       string
	Methods    []string // auth methods that need it; empty for all
	Discovered bool     // by the auth method, so that nobody is asked for it; set by [Connector.For]
}

// AuthType is the family of an auth method.
type AuthType string

// The auth types of this release.
const (
	AuthNone   AuthType = "none"
	AuthAPIKey AuthType = "apiKey"
	AuthBasic  AuthType = "basic"
	AuthBearer AuthType = "bearer"
	AuthCustom AuthType = "custom"
	// AuthMTLS shows a client certificate in the TLS handshake (RFC 8446, section 4.4.2): its
	// fields certificate and privateKey are PEM, the chain's leaf first.
	AuthMTLS AuthType = "mtls"
	// AuthInbound holds what checks who sends; no call can be made with it.
	AuthInbound AuthType = "inbound"
)

// AuthMethod is one way to authenticate to a connector.
type AuthMethod struct {
	Key         string
	Type        AuthType
	Label       string
	DocsURL     string
	BaseURL     Template // where this method's calls go, if not to the connector's
	Fields      []Field
	Inject      []Injection
	Test        *Probe           // nil if the vendor has no cheap call
	Permissions *PermissionProbe // nil where the vendor does not expose scopes
	OAuth       *OAuth           // of AuthOAuth2; nil otherwise
}

// Field answers the field of the given key.
func (m *AuthMethod) Field(key string) (*Field, bool) {
	for i := range m.Fields {
		if m.Fields[i].Key == key {
			return &m.Fields[i], true
		}
	}
	return nil, false
}

// BringsClient reports whether each connection by this oauth2 method has an OAuth client
// of its own among its fields, in place of the organization's.
func (m *AuthMethod) BringsClient() bool {
	return slices.ContainsFunc(m.Fields, func(f Field) bool { return f.Key == "clientId" || f.Key == "serviceAccount" })
}

// Field is one credential value that a person gives. All fields of a method are
// sealed, secret or not.
type Field struct {
	Key, Label  string
	Type        string // text, password, number, select, json, file
	Secret      bool
	Required    bool
	Pattern     *regexp.Regexp // refuses
	SoftPattern *regexp.Regexp // only warns
	Options     []string       // of a select
	Hint        string
	DocsURL     string
}

// Injection is one place where a credential goes on a request.
type Injection struct {
	In                 string // header, query, cookie, body, basic
	Name               string
	Value              Template
	Username, Password Template // of "basic"
}

// Probe is a cheap call that proves a credential. Its path is below the base URL.
type Probe struct {
	Method       string
	Path         Template
	Query        []QueryParam
	Headers      []Header
	Body         []byte // JSON, sent as it is
	ExpectStatus []int
	ExpectBody   *BodyTest // nil for none
	AccountID    string    // JSONPath into the answer; empty if unknown
	AccountName  string
	ScopesHeader string // answers' header that lists scopes, for Permissions from "header" (filled by catalog)
}

// BodyTest is a condition on a JSON answer: the value at Path equals Equals, or,
// with NotNull, is present and not null. Equals "null" in JSON means absent or null.
type BodyTest struct {
	Path    string
	Equals  any
	NotNull bool
}

// PermissionProbe says where granted scopes are read and which are required.
type PermissionProbe struct {
	From      string // header (of the test's answer), body (of the test's answer), request (a call of its own), token (of the token answer, AuthOAuth2 only)
	Name      string // the header
	Path      string // JSONPath to a list or to a separated string
	Separator string
	Request   *Probe
	Required  []string
	// ForActions: scopes that single actions need, by action key.
	ForActions map[string][]string
}

// QueryParam is one query parameter of a request.
type QueryParam struct {
	Name  string
	Value Template
}

// InputSchema checks an action's input. A failed check answers an *Error of
// KindInvalid whose Param starts with "input".
type InputSchema interface{ Validate(input any) error }

// Action is a named, typed operation of a connector.
type Action struct {
	Key, Name   string
	Description string
	ReadOnly    bool
	Idempotent  bool // may be repeated although its method alone does not say so
	Input       InputSchema
	InputJSON   []byte // the JSON Schema, for people and for MCP
	Method      string
	Path        Template
	Query       []QueryParam
	Headers     []Header
	Body        any    // a JSON tree whose strings are templates; nil for none
	BodyFormat  string // "json" or "form"
	Pagination  *Pagination
}

// Pagination says how the next page is asked for.
type Pagination struct {
	Type  string // cursor, page, offset, link
	Param string // query parameter that takes the position
	Next  string // JSONPath to the next position
}

// ExpirySignal is how a vendor says "this credential is no longer valid".
type ExpirySignal struct {
	Status int
	Header string // with Equals: a header's value
	Path   string // with Equals: JSONPath in the body
	Equals any
}

// RateLimit is what a vendor allows one connection, and how its answers tell that
// the limit was met; zero means not known.
type RateLimit struct {
	RequestsPerSecond float64
	Burst             int
	Status            []int  // statuses, beside 429, that may mean "too many requests"
	RemainingHeader   string // with 0 in it, such a status means just that
	ResetHeader       string // when the limit opens again, in ResetFormat
	ResetFormat       string // epochSeconds, epochMilliseconds, deltaSeconds, rfc3339, duration (Go's)
}

// Origin answers scheme://host[:port] of a base URL, lower case, the default port
// left out.
func Origin(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") { // an IPv6 address
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" && !(u.Scheme == "https" && port == "443") && !(u.Scheme == "http" && port == "80") {
		host += ":" + port
	}
	return strings.ToLower(u.Scheme) + "://" + host
}
