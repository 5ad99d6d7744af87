package catalog

import (
	"encoding/json"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/document"
)

func (c *checker) actions(o object, conn *claviger.Connector, fallback *claviger.Pagination) {
	seen := map[string]bool{}
	for i, item := range o.list("actions", o.c.opts.most(maxActions)) {
		path := index("actions", i)
		a, ok := c.object(item, path, "key", "name", "description", "readOnly", "idempotent", "input", "request", "pagination")
		if !ok {
			continue
		}
		act := claviger.Action{
			Key: a.key("key"), Name: a.needText("name", 100), Description: a.text("description", 2000),
			ReadOnly: a.bool("readOnly"), Idempotent: a.bool("idempotent"),
		}
		if seen[act.Key] {
			c.fault(item, a.at("key"), CodeDuplicate, "", "the action %s is there twice", document.Quote(act.Key))
		}
		seen[act.Key] = true
		c.input(a, &act)
		c.request(a, &act)
		act.Pagination = c.pagination(a.n.Get("pagination"), a.at("pagination"))
		if act.Pagination == nil && act.ReadOnly && fallback != nil && slices.ContainsFunc(act.Query, func(q claviger.QueryParam) bool { return q.Name == fallback.Param }) {
			act.Pagination = fallback
		}
		conn.Actions = append(conn.Actions, act)
	}
}

// noInput is the schema of an action that takes nothing.
const noInput = `{"additionalProperties":false,"type":"object"}`

func (c *checker) input(a object, act *claviger.Action) {
	n := a.n.Get("input")
	if n == nil {
		act.InputJSON = []byte(noInput)
	} else {
		if !c.inputSchema(n, a.at("input"), true) {
			return
		}
		act.InputJSON = n.AppendJSON(nil)
	}
	schema, err := CompileInput(act.InputJSON)
	if err != nil {
		c.fault(n, a.at("input"), CodeValue, "JSON Schema, draft 2020-12", "is not a valid schema")
		return
	}
	act.Input = schema
}

func (c *checker) request(a object, act *claviger.Action) {
	n := a.need("request")
	o, ok := c.object(n, a.at("request"), "method", "path", "query", "headers", "body", "bodyFormat")
	if !ok {
		return
	}
	inputs := a.n.Get("input")
	known := func(name string) string {
		if rest, ok := strings.CutPrefix(name, "input."); ok {
			if declaredInput(inputs, strings.Split(rest, ".")) {
				return ""
			}
			return "declare it under input.properties"
		}
		return c.variableName(name)
	}
	act.Method = o.choice("method", true, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
	act.Path = c.pathTemplate(o, "path", known)
	act.Query = c.query(o, known)
	act.Headers = c.headers(o, "headers", known)
	act.BodyFormat = o.choice("bodyFormat", false, "json", "form")
	if body := o.n.Get("body"); body != nil {
		if act.Method == "GET" || act.Method == "HEAD" {
			c.fault(body, o.at("body"), CodeValue, "use query", "%s has no body", act.Method)
		}
		if act.BodyFormat == "form" && !c.is(body, o.at("body"), document.Object) {
			return
		}
		act.Body = c.bodyTree(body, o.at("body"), known)
		if act.BodyFormat == "" {
			act.BodyFormat = "json"
		}
	} else if act.BodyFormat != "" {
		c.fault(n, o.at("bodyFormat"), CodeMissing, "", "bodyFormat goes with a body")
	}
	if act.ReadOnly && act.Method != "GET" && act.Method != "HEAD" && act.Method != "POST" {
		c.fault(n, o.at("method"), CodeValue, "remove readOnly, or use GET or POST", "a read-only action cannot use %s", act.Method)
	}
}

// pathTemplate compiles the path of a request below the base URL.
func (c *checker) pathTemplate(o object, key string, known func(string) string) claviger.Template {
	n := o.need(key)
	if n == nil {
		return claviger.Template{}
	}
	t := c.template(n, o.at(key), known)
	if n.Kind == document.String {
		c.path(n, o.at(key), n.Text)
		c.positions(n.Text, n, o.at(key))
	}
	return t
}

func (c *checker) query(o object, known func(string) string) []claviger.QueryParam {
	return c.params(o, "query", known)
}

// params answers a map of parameter names to templates, in the order of the names.
func (c *checker) params(o object, key string, known func(string) string) []claviger.QueryParam {
	n := o.n.Get(key)
	if n == nil || !c.is(n, o.at(key), document.Object) {
		return nil
	}
	if len(n.Members) > maxList {
		c.fault(n, o.at(key), CodeLimit, "", "has more than %d entries", maxList)
		return nil
	}
	var out []claviger.QueryParam
	for _, m := range n.Members {
		path := join(o.at(key), m.Key)
		if m.Key == "" || len(m.Key) > 100 || strings.ContainsAny(m.Key, "&=;#?%+ \t\r\n\"'<>\\") || foreign(m.Key, true) != "" {
			c.fault(&document.Node{Line: m.Line, Column: m.Column}, path, CodeValue, "letters, digits and -_.[]", "%s is not a parameter name", document.Quote(m.Key))
		}
		value := m.Value
		if value.Kind == document.Integer || value.Kind == document.Bool { // per_page: 100
			value = &document.Node{Kind: document.String, Text: value.Text, Line: value.Line, Column: value.Column}
		}
		out = append(out, claviger.QueryParam{Name: m.Key, Value: c.template(value, path, known)})
	}
	return out
}

// bodyTree answers the tree of a body: maps and slices, templates for strings,
// json.Number, bool and nil.
func (c *checker) bodyTree(n *document.Node, path string, known func(string) string) any {
	switch n.Kind {
	case document.Object:
		out := make(map[string]any, len(n.Members))
		for _, m := range n.Members {
			c.plain(&document.Node{Line: m.Line, Column: m.Column, Text: m.Key}, path)
			out[m.Key] = c.bodyTree(m.Value, join(path, m.Key), known)
		}
		return out
	case document.Array:
		out := make([]any, len(n.Items))
		for i, item := range n.Items {
			out[i] = c.bodyTree(item, index(path, i), known)
		}
		return out
	case document.String:
		return c.template(n, path, known)
	default:
		return n.Tree()
	}
}

func (c *checker) pagination(n *document.Node, path string) *claviger.Pagination {
	o, ok := c.object(n, path, "type", "param", "next")
	if !ok {
		return nil
	}
	p := &claviger.Pagination{Type: o.choice("type", true, "cursor", "page", "offset", "link"), Param: o.needText("param", 100), Next: o.jsonPath("next")}
	if p.Type == "cursor" && p.Next == "" {
		o.need("next")
	}
	return p
}

// declaredInput reports whether a schema declares the property that a template
// names. Where a schema says nothing of what is below a property, nothing below it
// may be named.
func declaredInput(schema *document.Node, names []string) bool {
	for _, name := range names {
		if schema = schema.Get("properties").Get(name); schema == nil {
			return false
		}
	}
	return true
}

// schemaKeys are the keywords of JSON Schema that an action's input may use. None
// refers to another place: what a schema means is all on its page, and checking an
// input costs no more than their sizes multiplied.
var schemaKeys = []string{
	"type", "properties", "required", "additionalProperties", "items", "enum", "const", "minimum", "maximum", "exclusiveMinimum",
	"exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern", "format", "minItems", "maxItems", "uniqueItems",
	"minProperties", "maxProperties", "title", "description", "default", "examples", "oneOf", "anyOf", "allOf", "not",
}

// inputSchema checks that a schema keeps to the subset. It reports whether it does.
func (c *checker) inputSchema(n *document.Node, path string, root bool) bool {
	before := len(c.faults)
	if n.Kind == document.Bool && !root {
		return true
	}
	o, ok := c.object(n, path, schemaKeys...)
	if !ok {
		return false
	}
	if root && (n.Get("type") == nil || n.Get("type").Text != "object") {
		c.fault(n, o.at("type"), CodeValue, "type: object", "the input is an object")
	}
	for _, m := range n.Members {
		at := o.at(m.Key)
		switch m.Key {
		case "properties":
			if c.is(m.Value, at, document.Object) {
				for _, p := range m.Value.Members {
					if strings.ContainsAny(p.Key, ". ${}") || p.Key == "" || len(p.Key) > 64 {
						c.fault(&document.Node{Line: p.Line, Column: p.Column}, at, CodeValue, "letters, digits, - and _", "%s is not a property name", document.Quote(p.Key))
					}
					c.inputSchema(p.Value, join(at, p.Key), false)
				}
			}
		case "items", "not", "additionalProperties":
			c.inputSchema(m.Value, at, false)
		case "oneOf", "anyOf", "allOf":
			for i, item := range o.list(m.Key, 16) {
				c.inputSchema(item, index(at, i), false)
			}
		case "pattern":
			o.pattern(m.Key)
		case "title", "description":
			o.text(m.Key, 2000)
		default:
			c.plainTree(m.Value, at)
		}
	}
	return len(c.faults) == before
}

// decodeTree decodes canonical JSON that this package wrote.
func decodeTree(data []byte) (any, error) {
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}
