package broker

import (
	"encoding/json"
	"maps"
	"regexp"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/manifest"
)

// recordKey is what is known of a record that can name it: its scalars by their names, and
// under "" the first of its primary key.
type recordKey map[string]any

// rawPath is the place in the system's own record that a field mapping begins with.
var rawPath = regexp.MustCompile(`^\s*\{\{\s*raw\.([^{}|\s]+)\s*\}\}`)

// at answers what a JSONPath names; the whole without a path.
func at(path string, doc any) any {
	if path == "" {
		return doc
	}
	p, err := catalog.ParsePath(path)
	if err != nil {
		return nil
	}
	v, _ := p.First(doc)
	return v
}

// merged answers the payload with what the system made of it.
func merged(payload map[string]any, answer any) map[string]any {
	out := maps.Clone(payload)
	if m, ok := answer.(map[string]any); ok {
		maps.Copy(out, m)
	}
	return out
}

// payloadOf answers the record to make; of several the first.
func payloadOf(d *manifest.DataSource) map[string]any {
	if d.TestPayload == nil {
		return nil
	}
	var one map[string]any
	var many []map[string]any
	if json.Unmarshal(d.TestPayload.PayloadTemplate, &one) != nil && json.Unmarshal(d.TestPayload.PayloadTemplate, &many) == nil && len(many) > 0 {
		one = many[0]
	}
	return one
}

// named answers the record that testPayload.primaryKey names: a value, the values of the
// primary key in their order, or an object.
func (e *endToEnd) named() recordKey {
	if e.data.TestPayload == nil || len(e.data.TestPayload.PrimaryKey) == 0 {
		return nil
	}
	var v any
	_ = json.Unmarshal(e.data.TestPayload.PrimaryKey, &v) // it was read once
	out := recordKey{}
	switch x := v.(type) {
	case map[string]any:
		maps.Copy(out, x)
		if len(e.data.PrimaryKey) > 0 {
			out[""] = x[e.data.PrimaryKey[0]]
		}
	case []any:
		for i := range min(len(x), len(e.data.PrimaryKey)) {
			out[e.data.PrimaryKey[i]] = x[i]
		}
		if len(x) > 0 {
			out[""] = x[0]
		}
	default:
		out[""] = x
	}
	return out
}

// keyOf answers what names one of the system's records.
func (e *endToEnd) keyOf(record map[string]any) recordKey {
	out := recordKey{}
	for name, v := range record {
		if scalar(v) {
			out[name] = v
		}
	}
	for i, attribute := range e.data.PrimaryKey {
		v := out[attribute]
		if m := rawPath.FindStringSubmatch(e.data.FieldMappings.Attributes[attribute].Expression); m != nil {
			v = at("$."+m[1], record)
		}
		if !scalar(v) {
			continue
		}
		out[attribute] = v
		if i == 0 {
			out[""] = v
		}
	}
	if out[""] == nil {
		out[""] = out["id"]
	}
	return out
}

func scalar(v any) bool {
	switch v.(type) {
	case string, float64, bool:
		return true
	}
	return false
}

// firstOf answers the first record of a list; nil if there is none.
func (e *endToEnd) firstOf(op manifest.Operation, doc any) recordKey {
	items, _ := at(op.Items, doc).([]any)
	if object, ok := doc.(map[string]any); ok && op.Items == "" {
		for _, v := range object {
			if list, ok := v.([]any); ok {
				items = list
			}
		}
	}
	if len(items) == 0 {
		return nil
	}
	first, ok := items[0].(map[string]any)
	if !ok {
		return nil
	}
	return e.keyOf(first)
}

// input fills an action's inputs: the record itself, what names it, and what the payload
// has of it.
func (k recordKey) input(action *claviger.Action, payload map[string]any) map[string]any {
	var schema struct {
		Properties map[string]any `json:"properties"`
		Required   []string       `json:"required"`
	}
	_ = json.Unmarshal(action.InputJSON, &schema) // it is the broker's own
	out := map[string]any{}
	for name := range schema.Properties {
		if v, ok := payload[name]; ok && scalar(v) {
			out[name] = v
		}
	}
	for _, name := range schema.Required {
		v, ok := k[name]
		if !ok {
			v = k[""]
		}
		if v != nil {
			out[name] = v
		}
	}
	if schema.Properties["record"] != nil && payload != nil {
		out["record"] = payload
	}
	return out
}
