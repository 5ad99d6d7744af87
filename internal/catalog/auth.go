package catalog

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"claviger"
	"claviger/internal/document"
)

func (c *checker) auth(o object, conn *claviger.Connector) {
	if n := o.need("auth"); n != nil && n.Kind == document.Array && len(n.Items) == 0 {
		c.fault(n, "auth", CodeMissing, "declare {key: none, type: none} for a system without authentication", "needs at least one method")
	}
	seen := map[string]bool{}
	for i, item := range o.list("auth", o.c.opts.most(maxAuth)) {
		path := index("auth", i)
		a, ok := c.object(item, path, "key", "type", "label", "docsUrl", "baseUrl", "fields", "inject", "oauth2", "test", "permissions")
		if !ok {
			continue
		}
		m := claviger.AuthMethod{
			Key: a.key("key"), Label: a.text("label", 100), DocsURL: a.link("docsUrl"),
			Type: claviger.AuthType(a.choice("type", true, "none", "apiKey", "basic", "bearer", "custom", "oauth2", "mtls", "inbound")),
		}
		if seen[m.Key] {
			c.fault(item, a.at("key"), CodeDuplicate, "", "the method %s is there twice", document.Quote(m.Key))
		}
		seen[m.Key] = true
		if n := a.n.Get("baseUrl"); n != nil {
			m.BaseURL = c.address(n, a.at("baseUrl"), conn)
		}
		m.Fields = c.fields(a)
		m.OAuth = c.oauth(a, &m)
		m.Inject = c.inject(a, &m)
		if n := a.n.Get("test"); n != nil && (n.Kind != document.String || n.Text != "none") {
			m.Test = c.probe(n, a.at("test"))
		}
		m.Permissions = c.permissions(a, &m)
		conn.Auth = append(conn.Auth, m)
	}
}

func (c *checker) fields(a object) []claviger.Field {
	var out []claviger.Field
	for i, item := range a.list("fields", maxFields) {
		f, ok := c.object(item, index(a.at("fields"), i), "key", "label", "type", "secret", "required", "pattern", "softPattern", "options", "hint", "docsUrl")
		if !ok {
			continue
		}
		x := claviger.Field{
			Key: f.name("key"), Label: f.text("label", 100), Secret: f.bool("secret"), Required: f.bool("required"), Hint: f.text("hint", 500),
			Pattern: f.pattern("pattern"), SoftPattern: f.pattern("softPattern"), Options: f.texts("options", maxList), DocsURL: f.link("docsUrl"),
			Type: f.choice("type", false, "text", "password", "number", "select", "json", "file"),
		}
		if x.Type == "" {
			x.Type = "text"
			if x.Secret {
				x.Type = "password"
			}
		}
		if (x.Type == "select") != (len(x.Options) > 0) {
			c.fault(item, f.at("options"), CodeValue, "", "a select, and nothing else, has options")
		}
		if slices.ContainsFunc(out, func(y claviger.Field) bool { return y.Key == x.Key }) {
			c.fault(item, f.at("key"), CodeDuplicate, "", "the field %s is there twice", document.Quote(x.Key))
		}
		if _, both := c.variables[x.Key]; both {
			c.fault(item, f.at("key"), CodeDuplicate, "rename one of them", "the field %s has the name of a variable", document.Quote(x.Key))
		}
		out = append(out, x)
	}
	return out
}

// pair checks that a client certificate and its key are asked for.
func (c *checker) pair(a object, m *claviger.AuthMethod) {
	for _, name := range []string{"certificate", "privateKey"} {
		if f, ok := m.Field(name); !ok || !f.Required || name == "privateKey" && !f.Secret {
			c.fault(a.n, a.at("fields"), CodeMissing, `declare {key: certificate, required: true} and {key: privateKey, secret: true, required: true}, both PEM`, "a method of type mtls needs the field %s", name)
		}
	}
}

// inject compiles the places where credentials go. Each injection names at least
// one field: a constant belongs to headers, and a constant credential nowhere.
func (c *checker) inject(a object, m *claviger.AuthMethod) []claviger.Injection {
	items := a.list("inject", 16)
	if m.Type == claviger.AuthOAuth2 && a.n.Get("inject") == nil {
		return []claviger.Injection{bearerInjection(m.OAuth)}
	}
	if m.Type == claviger.AuthMTLS {
		c.pair(a, m)
	}
	silent := m.Type == claviger.AuthNone || m.Type == claviger.AuthInbound
	if m.Type != claviger.AuthMTLS && silent != (len(items) == 0) || m.Type == claviger.AuthNone && len(m.Fields) > 0 {
		c.fault(a.n, a.at("inject"), CodeMissing, `type "none" has no fields and injects nothing, type "inbound" injects nothing; every other type injects, "mtls" if it needs to`, "the type and the injections do not fit")
	}
	field := func(name string) bool {
		if m.Type == claviger.AuthOAuth2 {
			return name == AccessToken || name == ClientID
		}
		_, ok := m.Field(name)
		return ok
	}
	known := func(name string) string {
		if field(name) {
			return ""
		}
		return c.variableName(name)
	}
	taken := map[string]bool{}
	var out []claviger.Injection
	for i, item := range items {
		path := index(a.at("inject"), i)
		in, id, ok := c.injection(item, path, known)
		if !ok {
			continue
		}
		if taken[id] {
			c.fault(item, path, CodeDuplicate, "", "two injections fill the same place")
		}
		taken[id] = true
		names := slices.Concat(in.Value.Names(), in.Username.Names(), in.Password.Names())
		if !slices.ContainsFunc(names, field) {
			c.fault(item, path, CodeLiteralSecret, "name a field, as in ${apiKey}; a constant goes under headers", "the injection names no field")
		}
		out = append(out, in)
	}
	return out
}

// injection reads one injection, and names the place that it fills.
func (c *checker) injection(item *document.Node, path string, known func(string) string) (in claviger.Injection, id string, ok bool) {
	place := "" // which keys are known depends on where it goes
	if n := item.Get("in"); n != nil {
		place = n.Text
	}
	keys := []string{"in", "name", "value"}
	if place == "basic" {
		keys = []string{"in", "username", "password"}
	}
	o, ok := c.object(item, path, keys...)
	if !ok {
		return in, "", false
	}
	in.In = o.choice("in", true, "header", "query", "cookie", "body", "basic")
	if place == "basic" {
		in.Username = c.template(o.need("username"), o.at("username"), known)
		in.Password = c.template(o.n.Get("password"), o.at("password"), known)
		return in, "header authorization", true
	}
	in.Name = o.needText("name", 100)
	in.Value = c.template(o.need("value"), o.at("value"), known)
	c.injectionName(o, in)
	return in, place + " " + document.Fold(in.Name), true
}

// bearerInjection is where an access token goes unless a method says otherwise (RFC
// 6750, section 2.1; RFC 9449, section 7.1).
func bearerInjection(rules *claviger.OAuth) claviger.Injection {
	scheme := "Bearer"
	if rules != nil && rules.DPoP {
		scheme = "DPoP"
	}
	return claviger.Injection{In: "header", Name: "Authorization", Value: claviger.MustTemplate(scheme + " ${" + AccessToken + "}")}
}

func (c *checker) injectionName(o object, in claviger.Injection) {
	n := o.n.Get("name")
	if n == nil || in.Name == "" {
		return
	}
	switch in.In {
	case "header":
		c.headerName(n, o.at("name"), in.Name)
		if v := o.n.Get("value"); v != nil {
			c.headerText(v, o.at("value"))
		}
	case "cookie":
		if !tokenChars.MatchString(in.Name) {
			c.fault(n, o.at("name"), CodeValue, "letters, digits, hyphens and underscores", "is not a cookie name")
		}
	default:
		if strings.ContainsAny(in.Name, "&=;#?%+ \t\r\n\"'<>\\") {
			c.fault(n, o.at("name"), CodeValue, "letters, digits and -_.[]", "is not a parameter name")
		}
	}
}

// probe compiles a cheap call.
func (c *checker) probe(n *document.Node, path string) *claviger.Probe {
	o, ok := c.object(n, path, "method", "path", "query", "headers", "body", "expectStatus", "expectBody", "account")
	if !ok {
		return nil
	}
	p := &claviger.Probe{
		Method:  o.choice("method", true, "GET", "HEAD", "POST"),
		Path:    c.pathTemplate(o, "path", c.variableName),
		Query:   c.query(o, c.variableName),
		Headers: c.headers(o, "headers", c.variableName), ExpectStatus: c.statuses(o, "expectStatus"),
	}
	if len(p.ExpectStatus) == 0 {
		p.ExpectStatus = []int{200}
	}
	if body := o.n.Get("body"); body != nil {
		if c.is(body, o.at("body"), document.Object, document.Array) {
			c.plainTree(body, o.at("body"))
			p.Body = body.AppendJSON(nil)
		}
		if p.Method != "POST" {
			c.fault(body, o.at("body"), CodeValue, "use POST", "only POST has a body here")
		}
	}
	if t, ok := c.object(o.n.Get("expectBody"), o.at("expectBody"), "path", "equals", "notNull"); ok {
		test := &claviger.BodyTest{Path: t.jsonPath("path"), Equals: t.scalar("equals"), NotNull: t.bool("notNull")}
		if test.Path == "" {
			t.need("path")
		}
		if (t.n.Get("equals") != nil) == test.NotNull {
			c.fault(t.n, t.path, CodeValue, "", "has either equals or notNull: true")
		}
		p.ExpectBody = test
	}
	if acc, ok := c.object(o.n.Get("account"), o.at("account"), "id", "name"); ok {
		p.AccountID, p.AccountName = acc.jsonPath("id"), acc.jsonPath("name")
	}
	return p
}

// permissions compiles where granted scopes are read. "none" says that the vendor
// does not show them.
func (c *checker) permissions(a object, m *claviger.AuthMethod) *claviger.PermissionProbe {
	n := a.n.Get("permissions")
	if n == nil || n.Kind == document.String && n.Text == "none" {
		return nil
	}
	o, ok := c.object(n, a.at("permissions"), "from", "name", "path", "separator", "request", "required", "forActions")
	if !ok {
		return nil
	}
	p := &claviger.PermissionProbe{
		From: o.choice("from", true, "header", "body", "request", "token"), Name: o.text("name", 100), Path: o.jsonPath("path"),
		Separator: o.text("separator", 8), Required: o.texts("required", maxList),
	}
	if r := o.n.Get("request"); r != nil {
		p.Request = c.probe(r, o.at("request"))
	}
	switch {
	case p.From == "token":
		if m.Type != claviger.AuthOAuth2 || p.Name != "" || p.Path != "" || p.Separator != "" || p.Request != nil {
			c.fault(n, o.path, CodeValue, "scopes in a token answer are found by oauth2.tokenResponse", `"token" belongs to oauth2 and has only required and forActions`)
		}
	case p.From == "header" && (p.Name == "" || p.Separator == "" || p.Path != "" || p.Request != nil):
		c.fault(n, o.path, CodeMissing, "", `"header" has a name and a separator, and neither path nor request`)
	case p.From == "body" && (p.Path == "" || p.Name != "" || p.Request != nil):
		c.fault(n, o.path, CodeMissing, "", `"body" has a path, and neither name nor request`)
	case p.From == "request" && (p.Path == "") == (p.Name == "") || p.From == "request" && o.n.Get("request") == nil:
		c.fault(n, o.path, CodeMissing, "", `"request" has a request and either path or name`)
	case (p.From == "header" || p.From == "body") && m.Test == nil:
		c.fault(n, o.path, CodeMissing, "declare a test", "scopes are read from the test's answer, and there is no test")
	}
	if p.Name != "" {
		c.headerName(o.n.Get("name"), o.at("name"), p.Name)
	}
	if p.From == "header" && m.Test != nil {
		m.Test.ScopesHeader = p.Name
	}
	if f := o.n.Get("forActions"); f != nil && c.is(f, o.at("forActions"), document.Object) {
		p.ForActions = map[string][]string{}
		inner := object{c: c, n: f, path: o.at("forActions")}
		for _, member := range f.Members {
			p.ForActions[member.Key] = inner.texts(member.Key, maxList)
		}
	}
	return p
}

// permissionsFit checks that forActions names actions of the document.
func (c *checker) permissionsFit(o object, conn *claviger.Connector) {
	for i, item := range o.list("auth", o.c.opts.most(maxAuth)) {
		f := item.Get("permissions").Get("forActions")
		if f == nil {
			continue
		}
		for _, m := range f.Members {
			if _, ok := conn.Action(m.Key); !ok {
				c.fault(&document.Node{Line: m.Line, Column: m.Column}, index("auth", i)+".permissions.forActions."+m.Key, CodeUnknown, "", "there is no action %s", document.Quote(m.Key))
			}
		}
	}
}

// statuses answers a list of HTTP statuses.
func (c *checker) statuses(o object, key string) []int {
	var out []int
	for i, item := range o.list(key, 20) {
		path := index(o.at(key), i)
		if !c.is(item, path, document.Integer) {
			continue
		}
		v, err := strconv.Atoi(item.Text)
		if err != nil || v < 100 || v > 599 {
			c.fault(item, path, CodeValue, "", "is no HTTP status")
		}
		out = append(out, v)
	}
	return out
}

// positive answers a number above zero, 0 if absent.
func (o object) positive(key string) float64 {
	n := o.n.Get(key)
	if n == nil || !o.c.is(n, o.at(key), document.Number, document.Integer) {
		return 0
	}
	v, err := strconv.ParseFloat(n.Text, 64)
	if err != nil || v <= 0 || v > 1e6 || math.IsNaN(v) {
		o.c.fault(n, o.at(key), CodeValue, "", "must be above 0 and at most 1000000")
	}
	return v
}

// jsonPath answers a path into JSON as it is written, once it is known to parse.
func (o object) jsonPath(key string) string {
	n := o.n.Get(key)
	if n == nil || !o.c.is(n, o.at(key), document.String) {
		return ""
	}
	if _, err := ParsePath(n.Text); err != nil {
		o.c.fault(n, o.at(key), CodeValue, "for example $.user.id or $.items[*].name", "%s", err)
		return ""
	}
	return n.Text
}

// scalar answers a string, number, boolean or null.
func (o object) scalar(key string) any {
	n := o.n.Get(key)
	if n == nil || !o.c.is(n, o.at(key), document.String, document.Integer, document.Number, document.Bool, document.Null) {
		return nil
	}
	if n.Kind == document.String {
		o.c.plain(n, o.at(key))
	}
	return n.Tree()
}

// plainTree refuses template syntax in every string below n.
func (c *checker) plainTree(n *document.Node, path string) {
	if n.Kind == document.String {
		c.plain(n, path)
	}
	for _, m := range n.Members {
		c.plain(&document.Node{Line: m.Line, Column: m.Column, Text: m.Key}, path)
		c.plainTree(m.Value, join(path, m.Key))
	}
	for i, item := range n.Items {
		c.plainTree(item, index(path, i))
	}
}
