package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"claviger"
	"claviger/internal/document"
)

// Options are what a document alone cannot decide.
type Options struct {
	// AllowPlain says whether plain http may be spoken to a host name or address
	// (without a port), because the operator opened it. nil allows none.
	AllowPlain func(host string) bool
	// Generated allows what a connected system with many data sources becomes, whose
	// documents were checked one by one: more actions and auth methods in a larger document.
	Generated bool
	// WebhookScheme says whether there is a webhook scheme of that key. nil knows them
	// all; only Lint asks.
	WebhookScheme func(key string) bool
}

// Parse checks a document, in YAML or JSON, and compiles it. It answers either the
// connector or at least one fault, in the order of the text. name is the file's
// name and decides the format by its ending; it may be empty.
//
// The connector's Version is 1 and its Organization empty; both are for the caller
// to set before sharing it. Document is the canonical JSON: parsing it again gives
// the same connector and the same Document.
func Parse(name string, data []byte, opts Options) (*claviger.Connector, []Fault) {
	root, fault := opts.read(name, data)
	if fault != nil {
		return nil, []Fault{*fault}
	}
	c := &checker{opts: opts, variables: map[string]*claviger.Variable{}}
	conn := c.connector(root)
	c.literalSecrets(root, "", false)
	if len(c.faults) > 0 {
		slices.SortStableFunc(c.faults, func(a, b Fault) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return nil, c.faults
	}
	conn.Document = root.AppendJSON(nil)
	return conn, nil
}

// Digest names the content of a connector's document: the SHA-256 of its canonical
// JSON in hexadecimal.
func Digest(conn *claviger.Connector) string {
	sum := sha256.Sum256(conn.Document)
	return hex.EncodeToString(sum[:])
}

// most answers the bound of a list that a generated document fills with what many have.
func (o Options) most(n int) int {
	if o.Generated {
		n *= 2
	}
	return n
}

// The bounds of lists in a document.
const (
	maxAuth      = 16
	maxFields    = 32
	maxActions   = 500
	maxVariables = 16
	maxList      = 64
)

func (c *checker) connector(root *document.Node) *claviger.Connector {
	o, ok := c.object(root, "", "key", "name", "kind", "description", "categories", "docsUrl", "baseUrl", "variables", "allowedHosts",
		"headers", "auth", "actions", "webhooks", "rateLimit", "pagination", "expiry")
	if !ok {
		return nil
	}
	conn := &claviger.Connector{Version: 1, Key: o.key("key"), Name: o.needText("name", 100)}
	if why := reserved(conn.Key); why != "" {
		c.fault(o.n.Get("key"), "key", CodeReserved, "choose another key", "%s %s", document.Quote(conn.Key), why)
	}
	o.text("description", 2000)
	conn.Kind = o.choice("kind", true, "http")
	conn.DocsURL = o.link("docsUrl")
	conn.Categories = o.texts("categories", 10)
	for i, category := range conn.Categories {
		if !keyPattern.MatchString(category) || len(category) > 64 {
			c.fault(o.n.Get("categories").Items[i], index("categories", i), CodeValue, "for example project-management", "%s is not a valid category", document.Quote(category))
		}
	}
	conn.Variables = c.readVariables(o)
	c.base(o, conn)
	conn.Headers = c.headers(o, "headers", c.variableName)
	c.auth(o, conn)
	pagination := c.pagination(o.n.Get("pagination"), "pagination")
	c.actions(o, conn, pagination)
	c.permissionsFit(o, conn)
	c.methodsFit(o, conn)
	c.webhooks(o)
	conn.RateLimit = c.rateLimit(o)
	conn.Expiry = c.expiry(o)
	return conn
}

// variableName allows the document's variables as template names.
func (c *checker) variableName(name string) string {
	if _, ok := c.variables[name]; ok {
		return ""
	}
	return "only the connector's variables may be named here"
}

func (c *checker) readVariables(o object) []claviger.Variable {
	items := o.list("variables", maxVariables)
	out := make([]claviger.Variable, 0, len(items))
	for i, item := range items {
		v, ok := c.object(item, index("variables", i), "key", "label", "type", "required", "default", "values", "pattern", "hint", "methods")
		if !ok {
			continue
		}
		x := claviger.Variable{
			Key: v.name("key"), Label: v.text("label", 100), Hint: v.text("hint", 500), Required: v.bool("required"),
			Pattern: v.pattern("pattern"), Values: v.texts("values", maxList), Methods: v.texts("methods", maxAuth),
			Type: claviger.VariableType(v.choice("type", true, "hostLabel", "pathSegment", "uuid", "enum", "hostname")),
		}
		if _, twice := c.variables[x.Key]; twice {
			c.fault(item, v.at("key"), CodeDuplicate, "", "the variable %s is there twice", document.Quote(x.Key))
			continue
		}
		if (x.Type == claviger.VariableEnum) != (len(x.Values) > 0) {
			c.fault(item, v.at("values"), CodeValue, "", "an enum, and nothing else, has values")
		}
		for j, value := range x.Values {
			if !pathSegment(value) {
				c.fault(v.n.Get("values").Items[j], index(v.at("values"), j), CodeValue, "letters, digits and -._~", "is not a valid value")
			}
		}
		if x.Default = v.text("default", 256); x.Default != "" && !fits(&x, x.Default) {
			c.fault(v.n.Get("default"), v.at("default"), CodeValue, "", "does not fit the variable's own type and pattern")
		}
		out = append(out, x)
		c.variables[x.Key] = &out[len(out)-1]
	}
	return out
}

// headers answers a map of header names to templates, in the order of the names.
func (c *checker) headers(o object, key string, allowed func(string) string) []claviger.Header {
	n := o.n.Get(key)
	if n == nil || !c.is(n, o.at(key), document.Object) {
		return nil
	}
	if len(n.Members) > maxList {
		c.fault(n, o.at(key), CodeLimit, "", "has more than %d entries", maxList)
		return nil
	}
	seen := map[string]bool{}
	var out []claviger.Header
	for _, m := range n.Members {
		path := join(o.at(key), m.Key)
		place := &document.Node{Line: m.Line, Column: m.Column}
		c.headerName(place, path, m.Key)
		if document.Fold(m.Key) == "authorization" {
			c.fault(place, path, CodeLiteralSecret, "inject a field there, under auth", "a fixed Authorization header is a credential in the document")
		}
		if f := document.Fold(m.Key); seen[f] {
			c.fault(place, path, CodeDuplicate, "", "the header is there twice in different spellings")
		} else {
			seen[f] = true
		}
		t := c.template(m.Value, path, allowed)
		c.headerText(m.Value, path)
		out = append(out, claviger.Header{Name: m.Key, Value: t})
	}
	return out
}

// connectionHeaders are decided by the transport or would change who is asked and
// how the message ends (RFC 9110, section 7.6.1; RFC 9112, section 6).
var connectionHeaders = []string{
	"Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate",
	"Proxy-Authorization", "Te", "Trailer", "Upgrade", "Expect", "Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host",
	"X-Forwarded-Proto", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "Cookie", "Set-Cookie",
	"Content-Encoding", "Accept-Encoding",
}

func (c *checker) headerName(n *document.Node, path, name string) {
	if !tokenChars.MatchString(name) || len(name) > 100 {
		c.fault(n, path, CodeValue, "letters, digits and hyphens", "%s is not a header name", document.Quote(name))
		return
	}
	for _, h := range connectionHeaders {
		if document.Fold(h) == document.Fold(name) {
			c.fault(n, path, CodeValue, "remove it", "the header %s is not a connector's to set", document.Quote(name))
		}
	}
}

// headerText refuses what a header line cannot carry.
func (c *checker) headerText(n *document.Node, path string) {
	for i := range len(n.Text) {
		if n.Text[i] < 0x20 || n.Text[i] > 0x7e {
			c.fault(n, path, CodeValue, "printable ASCII on one line", "has a character that a header cannot carry")
			return
		}
	}
}

func (c *checker) webhooks(o object) {
	if w, ok := c.object(o.n.Get("webhooks"), "webhooks", "scheme", "docsUrl"); ok {
		w.key("scheme")
		w.link("docsUrl")
	}
}

func (c *checker) rateLimit(o object) claviger.RateLimit {
	r, ok := c.object(o.n.Get("rateLimit"), "rateLimit", "requestsPerSecond", "burst", "status", "remainingHeader", "resetHeader", "resetFormat")
	if !ok {
		return claviger.RateLimit{}
	}
	out := claviger.RateLimit{
		RequestsPerSecond: r.positive("requestsPerSecond"), Burst: r.integer("burst", 1, 100_000), Status: c.statuses(r, "status"),
		RemainingHeader: r.text("remainingHeader", 100), ResetHeader: r.text("resetHeader", 100),
		ResetFormat: r.choice("resetFormat", false, resetFormats...),
	}
	if (out.ResetHeader == "") != (out.ResetFormat == "") {
		c.fault(r.n, r.at("resetFormat"), CodeMissing, "", "resetHeader and resetFormat belong together")
	}
	for _, key := range []string{"remainingHeader", "resetHeader"} {
		if n := r.n.Get(key); n != nil {
			c.headerName(n, r.at(key), n.Text)
		}
	}
	return out
}

func (c *checker) expiry(o object) []claviger.ExpirySignal {
	var out []claviger.ExpirySignal
	for i, item := range o.list("expiry", maxList) {
		path := index("expiry", i)
		e, ok := c.object(item, path, "status", "header", "path", "equals")
		if !ok {
			continue
		}
		s := claviger.ExpirySignal{Status: e.integer("status", 100, 599), Header: e.text("header", 100), Path: e.jsonPath("path")}
		if s.Header != "" {
			c.headerName(e.n.Get("header"), e.at("header"), s.Header)
		}
		equals := e.n.Get("equals")
		s.Equals = e.scalar("equals")
		switch {
		case s.Status == 0 && s.Path == "" && s.Header == "":
			c.fault(item, path, CodeMissing, "", "needs a status, a header or a path")
		case s.Path != "" && s.Header != "":
			c.fault(item, path, CodeValue, "write two signals", "has a header and a path")
		case (s.Path != "" || s.Header != "") != (equals != nil):
			c.fault(item, path, CodeMissing, "", "equals goes with a header or a path")
		case s.Header != "" && equals.Kind != document.String:
			c.fault(equals, e.at("equals"), CodeType, "", "a header's value is a string")
		}
		out = append(out, s)
	}
	return out
}
