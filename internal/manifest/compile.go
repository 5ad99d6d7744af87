package manifest

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"claviger"
)

// Compiled is what the core realises a system with.
type Compiled struct {
	// Connector is a connector document in canonical JSON, its key the system's. Each
	// slot with a credential is an auth method of the slot's key; what the data
	// sources can do are actions named dataSource-operation.
	Connector []byte
	Slots     []CompiledSlot
}

// CompiledSlot is what one slot becomes.
type CompiledSlot struct {
	Slot
	// Method and Variables choose the verification of an inbound slot. Every value is
	// in the form that it has as text.
	Method    Method
	Variables map[string]string
	// Secrets maps the fields of the connector's auth method to paths of secrets,
	// without kv://.
	Secrets map[string]string
	// Destination is where the credential may travel; see [Slot.Destination].
	Destination string
}

// Destination answers the origins that the slot's secrets may be sent to, between
// spaces; "inbound" for a slot that only checks. When it changes, a stored value no
// longer belongs to the slot and must be given again.
func (s *Slot) Destination() string {
	if inbound(s.Usage) {
		return "inbound"
	}
	if s.Credential == nil {
		return ""
	}
	v := s.Credential.Variables
	var origins []string
	for _, text := range []string{v.BaseURL, v.TokenURL, v.AuthorizationURL} {
		if o := origin(text); o != "" && !slices.Contains(origins, o) {
			origins = append(origins, o)
		}
	}
	return strings.Join(origins, " ")
}

func origin(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return ""
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}

// Texts answers the variables that are set, each as text; words are joined by
// spaces.
func (v *Variables) Texts() map[string]string {
	data, _ := json.Marshal(v) // plain fields always encode
	var all map[string]any
	_ = json.Unmarshal(data, &all) // what was just encoded
	out := map[string]string{}
	for name, value := range all {
		switch x := value.(type) {
		case string:
			out[name] = x
		case float64:
			out[name] = strconv.Itoa(int(x))
		case bool:
			out[name] = strconv.FormatBool(x)
		case []any:
			words := make([]string, len(x))
			for i := range x {
				words[i], _ = x[i].(string)
			}
			out[name] = strings.Join(words, " ")
		}
		if out[name] == "" || out[name] == "0" {
			delete(out, name)
		}
	}
	return out
}

// object is a part of a connector document.
type object = map[string]any

// Compile answers what the core realises a bundle with that [Validate] has found no
// error in. The connector still goes through the catalogue's own checks.
func Compile(b *Bundle) (*Compiled, error) {
	out := &Compiled{}
	base := b.base()
	var auth []any
	hosts := []string{}
	host := func(text string) {
		if u, err := url.Parse(text); err == nil && u.Hostname() != "" && !slices.Contains(hosts, u.Hostname()) {
			hosts = append(hosts, u.Hostname())
		}
	}
	host(base)
	for _, slot := range b.System.Slots() {
		c := CompiledSlot{Slot: slot, Destination: slot.Destination()}
		if slot.AuthType == AuthCredential {
			c.Method, c.Variables, c.Secrets = slot.Credential.Method, slot.Credential.Variables.Texts(), secretFields(slot.Credential)
		}
		out.Slots = append(out.Slots, c)
		if m := authMethod(&slot, base); m != nil {
			auth = append(auth, m)
			host(c.Variables["baseUrl"])
		}
	}
	if len(auth) == 0 {
		auth = []any{object{"key": "none", "type": "none"}}
	}
	doc := object{
		"key": b.System.Key, "name": b.System.DisplayName, "kind": "http", "baseUrl": base, "allowedHosts": hosts,
		"auth": auth, "actions": b.actions(base), "expiry": []any{object{"status": 401}},
	}
	if d := b.System.Description; d != "" {
		doc["description"] = d
	}
	if r := b.System.RateLimit.compile(); r != nil {
		doc["rateLimit"] = r
	}
	var err error
	if out.Connector, err = json.Marshal(doc); err != nil {
		return nil, claviger.AsError(err)
	}
	return out, nil
}

// base answers the address of the connector: that of the default api slot, else of
// the first slot that has one, else of a data source or the MCP server. A system
// that only receives has none, and calls of it reach nobody (RFC 2606).
func (b *Bundle) base() string {
	if slot, ok := b.System.Slot(claviger.UsageAPI); ok && slot.Credential != nil && slot.Credential.Variables.BaseURL != "" {
		return trimBase(slot.Credential.Variables.BaseURL)
	}
	for _, slot := range b.System.Slots() {
		if slot.Credential != nil && !inbound(slot.Usage) && slot.Credential.Variables.BaseURL != "" {
			return trimBase(slot.Credential.Variables.BaseURL)
		}
	}
	for i := range b.DataSources {
		if o := b.DataSources[i].OpenAPI; o != nil && o.BaseURL != "" {
			return trimBase(o.BaseURL)
		}
	}
	var mcp struct{ ServerURL string }
	if _ = json.Unmarshal(b.System.MCP, &mcp); mcp.ServerURL != "" && !strings.ContainsAny(mcp.ServerURL, "?#") {
		return trimBase(mcp.ServerURL)
	}
	return "https://" + b.System.Key + ".invalid"
}

func trimBase(s string) string { return strings.TrimSuffix(s, "/") }

// secretFields answers the paths of a credential's secrets by the names of fields.
func secretFields(c *Credential) map[string]string {
	out := map[string]string{}
	for name, ref := range c.Security {
		if c.Method == MethodBearer && slices.Contains(bearerNames, name) {
			name = bearerNames[0]
		}
		if path, err := claviger.ParseSecretPath(ref); err == nil && fieldKnown(c.Method, name) {
			out[name] = path
		}
	}
	return out
}

func fieldKnown(m Method, name string) bool {
	return slices.Contains(methodRules[m].security, name)
}

// authMethod answers the auth method of a slot; nil for a provider, whose connector
// is its own.
func authMethod(s *Slot, base string) object {
	m := object{"key": s.Key, "label": s.Key}
	if s.DisplayName != "" {
		m["label"] = s.DisplayName
	}
	if s.AuthType == AuthProvider {
		return nil
	}
	m["type"] = "none"
	if s.Credential == nil {
		return m
	}
	v, rule := s.Credential.Variables, methodRules[s.Credential.Method]
	calls := rule.outward && !inbound(s.Usage)
	if own := trimBase(v.BaseURL); calls && own != "" {
		m["test"] = testProbe(v)
		if own != base {
			m["baseUrl"] = own
		}
	}
	if s.AuthType == AuthNone || s.Credential.Method == MethodNone {
		return m
	}
	m["fields"] = rule.fields(s.Credential.Method)
	if !calls {
		m["type"] = "inbound"
		return m
	}
	switch s.Credential.Method {
	case MethodCertificate:
		m["type"] = "mtls"
	case MethodOAuth2, MethodAAD:
		m["type"], m["oauth2"] = "oauth2", oauthSection(v)
	default:
		kind, where := injection(s.Credential.Method, v)
		m["type"], m["inject"] = kind, []any{where}
	}
	return m
}

// injection answers the type of a method whose secret is put on calls as it is, and where.
func injection(method Method, v Variables) (kind string, where object) {
	header := cmp.Or(v.HeaderName, "Authorization")
	switch method {
	case MethodBearer:
		return "bearer", object{"in": "header", "name": header, "value": prefixed(cmp.Or(v.Prefix, "Bearer"), "${token}")}
	case MethodBasic:
		return "basic", object{"in": "basic", "username": "${username}", "password": "${password}"}
	case MethodQueryParam:
		return "apiKey", object{"in": "query", "name": v.ParamName, "value": "${paramValue}"}
	default: // apikey
		if v.HeaderName == "" && v.Prefix == "" {
			header = "X-API-Key"
		}
		return "apiKey", object{"in": "header", "name": header, "value": prefixed(v.Prefix, "${apiKey}")}
	}
}

// fields answers what a method asks for, in the words of connector documents.
func (r methodRule) fields(m Method) []any {
	out := []any{}
	for _, name := range r.security {
		f := object{"key": name, "secret": name != "clientId" && name != "username", "required": true}
		if m == MethodCertificate {
			f["type"] = "file" // PEM has lines
		}
		out = append(out, f)
	}
	return out
}

// prefixed puts a prefix before a value, with a space where the prefix ends with a
// letter or digit: "Bearer" becomes "Bearer ", "Token token=" stays.
func prefixed(prefix, value string) string {
	if prefix == "" {
		return value
	}
	if last := prefix[len(prefix)-1]; last >= '0' && last <= '9' || last|0x20 >= 'a' && last|0x20 <= 'z' {
		prefix += " "
	}
	return prefix + value
}

func testProbe(v Variables) any {
	base, err := url.Parse(v.BaseURL)
	if err != nil {
		return "none"
	}
	below, ok := testPath(base, v.TestEndpoint)
	if !ok {
		return "none"
	}
	path, query, _ := strings.Cut(below, "?")
	probe := object{"method": "GET", "path": path, "expectStatus": []int{200, 204}}
	if values, err := url.ParseQuery(query); err == nil && len(values) > 0 {
		q := object{}
		for name := range values {
			q[name] = values.Get(name)
		}
		probe["query"] = q
	}
	return probe
}

// oauthSection answers the rules of a grant.
func oauthSection(v Variables) object {
	scopes := slices.Clone([]string(v.Scope))
	if scopes == nil {
		scopes = []string{}
	}
	o := object{"tokenUrl": v.TokenURL, "scopes": scopes, "clientAuth": "client_secret_basic"}
	if v.GrantType == "client_credentials" {
		o["grant"] = "clientCredentials"
	} else {
		o["grant"], o["pkce"] = "authorizationCode", "S256"
		o["authorizeUrl"] = v.authorizeURL()
		o["refresh"] = object{"rotates": "unknown"}
		if v.Audience != "" {
			o["authorizeParams"] = object{"audience": v.Audience}
		}
	}
	if v.Audience != "" {
		o["tokenParams"] = object{"audience": v.Audience}
	}
	return o
}

// authorizeURL answers where people are sent: authorizationUrl, else the neighbour
// of the token endpoint that most servers have; "" if there is none.
func (v *Variables) authorizeURL() string {
	if v.AuthorizationURL != "" {
		return v.AuthorizationURL
	}
	if head, ok := strings.CutSuffix(v.TokenURL, "/token"); ok {
		return head + "/authorize"
	}
	return ""
}

func (r *RateLimit) compile() object {
	switch {
	case r == nil:
		return nil
	case r.RequestsPerSecond > 0 && r.BurstSize > 0:
		return object{"requestsPerSecond": r.RequestsPerSecond, "burst": r.BurstSize}
	case r.RequestsPerSecond > 0:
		return object{"requestsPerSecond": r.RequestsPerSecond}
	case r.WindowSeconds > 0:
		return object{"requestsPerSecond": float64(r.RequestsPerWindow) / float64(r.WindowSeconds), "burst": min(r.RequestsPerWindow, 100_000)}
	default:
		return nil
	}
}
