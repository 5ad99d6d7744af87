package manifest

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
)

// hole is {name} in a path, a query value or a body.
var hole = regexp.MustCompile(`\{([A-Za-z][A-Za-z0-9_]*)\}`)

// The inputs of actions that no hole names.
const (
	inputRecord = "record" // of create and update: the whole record
	inputCursor = "cursor" // of list: the position of the next page
	inputSince  = "since"  // of list: the last value of the data source's cursor
)

// holes answers a text with its holes in the words of connector documents, and
// their names.
func holes(text string) (template string, names []string, err error) {
	rest := hole.ReplaceAllString(text, "")
	if strings.ContainsAny(rest, "{}`") || strings.Contains(text, "$") {
		return "", nil, errors.New("manifest: a hole is not {name}")
	}
	for _, m := range hole.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return hole.ReplaceAllString(text, "${input.$1}"), names, nil
}

// ActionKey names the action that an operation of a data source becomes.
func ActionKey(dataSource, operation string) string { return dataSource + "-" + operation }

// actions answers the actions of all data sources.
func (b *Bundle) actions(base string) []any {
	out := []any{}
	for i := range b.DataSources {
		d := &b.DataSources[i]
		for _, name := range Operations() {
			if op, ok := d.Operation(name); ok {
				out = append(out, d.action(name, op, base))
			}
		}
	}
	return out
}

func (d *DataSource) action(name string, op Operation, base string) object {
	read := name == "list" || name == "get"
	properties, required, query := object{}, []string{}, object{}
	declare := func(text string, need bool) string {
		template, names, _ := holes(text) // Validate has accepted them
		for _, n := range names {
			if properties[n] == nil {
				properties[n] = object{"type": []string{"string", "integer", "boolean"}}
				if need {
					required = append(required, n)
				}
			}
		}
		return template
	}
	request := object{"method": op.Method, "path": declare(d.below(base)+op.Path, true)}
	for key, value := range op.Query {
		if text, ok := value.(string); ok {
			value = declare(text, false)
		}
		query[key] = value
	}
	if p := op.Pagination; p != nil && query[p.Param] == nil {
		query[p.Param] = declare("{"+inputCursor+"}", false)
	}
	if name == "list" && d.Sync != nil && d.Sync.Cursor != nil && d.Sync.Cursor.Param != "" && query[d.Sync.Cursor.Param] == nil {
		query[d.Sync.Cursor.Param] = declare("{"+inputSince+"}", false)
	}
	if len(query) > 0 {
		request["query"] = query
	}
	if body, ok := op.body(name, declare, properties); ok {
		request["body"] = body
		if op.BodyFormat != "" {
			request["bodyFormat"] = op.BodyFormat
		}
		if properties[inputRecord] != nil {
			required = append(required, inputRecord)
		}
	}
	slices.Sort(required)
	action := object{
		"key": ActionKey(d.Key, name), "name": short(strings.ToUpper(name[:1])+name[1:]+" "+d.DisplayName, 100), "readOnly": read, "idempotent": read || op.Method == "PUT" || op.Method == "DELETE",
		"input":   object{"type": "object", "additionalProperties": false, "properties": properties, "required": slices.Compact(required)},
		"request": request,
	}
	if op.Pagination != nil {
		action["pagination"] = op.Pagination
	}
	return action
}

// body answers the body of an operation as a template, and declares what it names.
func (op *Operation) body(name string, declare func(string, bool) string, properties object) (any, bool) {
	if op.Body == nil {
		if name != "create" && name != "update" {
			return nil, false
		}
		properties[inputRecord] = object{"type": "object"}
		return "${input." + inputRecord + "}", true
	}
	var tree any
	_ = json.Unmarshal(op.Body, &tree) // it was read once
	return fillBody(tree, declare, properties), true
}

func fillBody(v any, declare func(string, bool) string, properties object) any {
	switch x := v.(type) {
	case map[string]any:
		for k := range x {
			x[k] = fillBody(x[k], declare, properties)
		}
		return x
	case []any:
		for i := range x {
			x[i] = fillBody(x[i], declare, properties)
		}
		return x
	case string:
		if x == "{"+inputRecord+"}" {
			properties[inputRecord] = object{"type": "object"}
		}
		return declare(x, false)
	default:
		return v
	}
}

// below answers the path of the data source's own base address below the
// connector's; "" if it has none.
func (d *DataSource) below(base string) string {
	if d.OpenAPI == nil || d.OpenAPI.BaseURL == "" {
		return ""
	}
	path, ok := strings.CutPrefix(trimBase(d.OpenAPI.BaseURL), base)
	if !ok || path != "" && path[0] != '/' {
		return ""
	}
	return path
}

func short(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && s[limit]&0xC0 == 0x80 { // not in the middle of a character
		limit--
	}
	return s[:limit]
}
