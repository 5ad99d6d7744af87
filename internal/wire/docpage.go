package wire

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"claviger"
)

// page turns the OpenAPI document into what the template shows.
func (a *API) page() docPage {
	doc := a.huma.OpenAPI()
	p := docPage{
		Title: a.config.Title, Version: a.config.Version, Description: a.config.Description,
		Style: template.CSS(docsStyle), Errors: errorTable(), Roles: claviger.Roles(), Grants: grantTable(),
	}
	sections := map[string]int{}
	seen := map[string]bool{}
	for _, r := range a.routes { // in the order of mounting, which is the order of reading
		path := strings.ReplaceAll(r.Path, "...}", "}")
		item := doc.Paths[path]
		if r.Hidden || item == nil {
			continue
		}
		for _, op := range operationsOf(item, r.Method) {
			if seen[op.OperationID] {
				continue
			}
			seen[op.OperationID] = true
			tag := "Other"
			if len(r.Tags) > 0 {
				tag = r.Tags[0]
			}
			at, ok := sections[tag]
			if !ok {
				at = len(p.Sections)
				sections[tag] = at
				p.Sections = append(p.Sections, docSection{ID: "tag-" + strings.ReplaceAll(strings.ToLower(tag), " ", "-"), Name: tag})
			}
			p.Sections[at].Operations = append(p.Sections[at].Operations, describe(doc, r, path, op))
		}
	}
	return p
}

func operationsOf(item *huma.PathItem, method string) []*huma.Operation {
	var out []*huma.Operation
	for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
		if op != nil && (method == "" || op.Method == method) {
			out = append(out, op)
		}
	}
	return out
}

func describe(doc *huma.OpenAPI, r Route, path string, op *huma.Operation) docOperation {
	kinds := ""
	if len(r.Kinds) > 0 {
		kinds = kindList(r.Kinds)
	}
	d := docOperation{
		ID: op.OperationID, Method: op.Method, Path: path, Summary: r.Summary, Description: r.Description,
		Public: r.Public, Permission: string(r.Verb), Kinds: kinds,
	}
	for _, p := range op.Parameters {
		f := fieldOf(doc, p.Name, p.Schema, p.Required)
		f.Type = p.In + ", " + f.Type
		f.Text = cmp.Or(p.Description, f.Text)
		d.Parameters = append(d.Parameters, f)
	}
	var body *huma.Schema
	if op.RequestBody != nil {
		if media := op.RequestBody.Content["application/json"]; media != nil {
			body = media.Schema
			d.Body = fieldsOf(doc, body)
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		answer := op.Responses[status]
		da := docAnswer{Status: status, Text: answer.Description}
		if status == "default" && !r.Raw {
			da = docAnswer{Status: "Otherwise", Text: "An error, see Errors below."}
		} else if media := answer.Content["application/json"]; media != nil {
			da.Fields = fieldsOf(doc, media.Schema)
			for i := range da.Fields {
				da.Fields[i].Required = false // of interest to those who send it only
			}
		}
		d.Answers = append(d.Answers, da)
	}
	d.Curl = curl(doc, r, path, op, body)
	return d
}

func resolve(doc *huma.OpenAPI, s *huma.Schema) *huma.Schema {
	for s != nil && s.Ref != "" {
		s = doc.Components.Schemas.SchemaFromRef(s.Ref)
	}
	return s
}

// fieldsOf lists an object's members, and one level of the members of its objects.
func fieldsOf(doc *huma.OpenAPI, s *huma.Schema) []docField {
	s = resolve(doc, s)
	if s == nil {
		return nil
	}
	var out []docField
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		member := s.Properties[name]
		out = append(out, fieldOf(doc, name, member, slices.Contains(s.Required, name)))
		inner, suffix := resolve(doc, member), "."
		if inner.Type == "array" && inner.Items != nil {
			inner, suffix = resolve(doc, inner.Items), "[]."
		}
		for _, below := range slices.Sorted(maps.Keys(inner.Properties)) {
			out = append(out, fieldOf(doc, name+suffix+below, inner.Properties[below], false))
		}
	}
	return out
}

func fieldOf(doc *huma.OpenAPI, name string, s *huma.Schema, required bool) docField {
	f := docField{Name: name, Required: required}
	r := resolve(doc, s)
	if r == nil {
		return f
	}
	f.Text = cmp.Or(s.Description, r.Description)
	f.Type = cmp.Or(r.Type, "any")
	if r.Type == "array" && r.Items != nil {
		if item := resolve(doc, r.Items); item != nil {
			f.Type = "array of " + cmp.Or(item.Type, "any")
		}
	}
	if r.Format != "" {
		f.Type += ", " + r.Format
	}
	if len(r.Enum) > 0 {
		values := make([]string, len(r.Enum))
		for i, v := range r.Enum {
			values[i] = fmt.Sprint(v)
		}
		f.Type += ": " + strings.Join(values, ", ")
	}
	if r.Default != nil {
		if f.Text != "" && !strings.HasSuffix(f.Text, ".") {
			f.Text += "."
		}
		f.Text = strings.TrimSpace(fmt.Sprintf("%s Default %v.", f.Text, r.Default))
	}
	return f
}

// curl writes an example call, with the fields that are required.
func curl(doc *huma.OpenAPI, r Route, path string, op *huma.Operation, body *huma.Schema) string {
	var b strings.Builder
	b.WriteString("curl ")
	if op.Method != "GET" {
		b.WriteString("-X " + op.Method + " ")
	}
	b.WriteString("\"$CLAVIGER_URL" + path + "\"")
	if !r.Public {
		b.WriteString(" \\\n  -H \"Authorization: Bearer $CLAVIGER_API_KEY\"")
	}
	if s := resolve(doc, body); s != nil {
		example, err := json.Marshal(exampleOf(doc, s, 0))
		if err == nil {
			b.WriteString(" \\\n  -H \"Content-Type: application/json\" \\\n  -d '" + strings.ReplaceAll(string(example), "'", `'\''`) + "'")
		}
	}
	return b.String()
}

func exampleOf(doc *huma.OpenAPI, s *huma.Schema, depth int) any {
	s = resolve(doc, s)
	switch {
	case s == nil || depth > 3:
		return map[string]any{}
	case len(s.Examples) > 0:
		return s.Examples[0]
	case s.Default != nil:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	}
	switch s.Type {
	case "object":
		out := map[string]any{}
		for _, name := range s.Required {
			out[name] = exampleOf(doc, s.Properties[name], depth+1)
		}
		return out
	case "array":
		return []any{}
	case "integer", "number":
		return 1
	case "boolean":
		return true
	default:
		return "..."
	}
}
