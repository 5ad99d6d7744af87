package manifest

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/document"
)

func (c *validator) checkDataSource(d *DataSource, p place) {
	if d.SystemKey != c.key && p.get("systemKey").node != nil {
		c.fail(p.get("systemKey"), CodeMismatch, "write "+c.key, "", "the data source belongs to another system")
	}
	for i := range c.bundle.DataSources {
		if other := &c.bundle.DataSources[i]; other != d && other.Key == d.Key && d.Key != "" && c.bundle.data[i].name < p.file {
			c.fail(p.get("key"), CodeDuplicate, "", "", "%s declares the data source %s too", c.bundle.data[i].name, document.Quote(d.Key))
			break
		}
	}
	if _, ok := d.IndexedExternalID(); !ok {
		c.fail(p.get("externalId"), CodeMissing, "fieldMappings.attributes.externalId with indexed: true, or externalId with the name of an attribute", "", "an indexed externalId is required")
	}
	at, base := p.get("openapi").get("baseUrl"), c.bundle.base()
	if c.address(at) != nil && origin(base) != "" && !strings.HasPrefix(trimBase(at.text())+"/", base+"/") {
		c.fail(at, CodeMismatch, "", "", "the data source is called through the system's slots and must lie below their baseUrl")
	}
	c.checkAttributes(d, p)
	c.checkOperations(d, p)
	c.checkSync(d, p)
	c.checkSlotsFor(d, p)
}

// checkSlotsFor checks that the system has the slots that the data source's
// features need.
func (c *validator) checkSlotsFor(d *DataSource, p place) {
	system := &c.bundle.System
	mend := c.repair("--slots")
	if _, ok := system.Slot(claviger.UsageAPI); !ok && len(d.Capabilities) > 0 {
		c.warn(p.get("capabilities"), CodeMissingSlot, "", c.repair("--auth "+string(MethodAPIKey)), "capabilities are called through a slot of usage api, and the system has none")
	}
	if _, ok := system.Slot(claviger.UsageWebhookInbound); !ok && d.Webhook != nil && d.Webhook.Enabled {
		c.fail(p.get("webhook").get("enabled"), CodeMissingSlot, "", mend, "webhook.enabled needs a slot of usage webhookInbound in the system's authentications")
	}
	if _, ok := system.Slot(claviger.UsageSyncExecution); ok {
		return
	}
	if d.SyncBridge.Writes() {
		api, found := system.Slot(claviger.UsageAPI)
		switch {
		case !c.policy.ServiceFallback:
			c.fail(p.get("syncBridge"), CodeMissingSlot, "", mend, "syncBridge needs a slot of usage syncExecution in the system's authentications")
		case !found || !api.ServiceCapable():
			c.fail(p.get("syncBridge"), CodeMissingSlot, "the api slot cannot stand in: it needs a person, or has no credential", mend, "syncBridge needs a slot of usage syncExecution in the system's authentications")
		}
	}
	if d.Sync != nil && d.Sync.Enabled {
		c.warn(p.get("sync").get("enabled"), CodeMissingSlot, "", mend, "sync.enabled is served by a slot of usage syncExecution, and the system has none")
	}
}

func (c *validator) checkSync(d *DataSource, p place) {
	if s := d.Sync; s != nil {
		if at := p.get("sync").get("schedule"); at.text() != "" {
			if _, err := ParseSchedule(s.Schedule, s.TimeZone); err != nil {
				c.fail(at, CodeSchedule, "", "", "%s", reason(err))
			}
		}
		if _, ok := d.Operation("list"); !ok && s.Enabled {
			c.warn(p.get("sync").get("enabled"), CodeNoOperation, "describe list under capabilities", "", "nothing can be fetched: list has no HTTP operation")
		}
		if s.Mode == "incremental" && s.Cursor == nil {
			c.warn(p.get("sync").get("mode"), CodeMissing, "name the attribute that tells what is new, such as updatedAt", "", "without a cursor each run fetches everything")
		}
	}
	bridge := p.get("syncBridge")
	if d.SyncBridge.Writes() {
		if _, ok := d.Operation("update"); !ok {
			c.warn(bridge, CodeNoOperation, "describe update under capabilities", "", "changes cannot be written: update has no HTTP operation")
		}
		target := bridge.get("target")
		if t := d.SyncBridge.Target; t != "" && c.complete() && !strings.Contains(t, "/") && !slices.ContainsFunc(c.bundle.DataSources, func(o DataSource) bool { return o.Key == t }) {
			c.fail(target, CodeUnresolved, "the key of a data source, or systemKey/dataSourceKey", "", "there is no data source %s", document.Quote(t))
		}
	}
	if _, ok := d.Operation("get"); !ok && d.Webhook != nil && d.Webhook.Enabled {
		c.warn(p.get("webhook"), CodeNoOperation, "describe get under capabilities", "", "an event's record cannot be fetched: get has no HTTP operation")
	}
}

// complete reports whether every data source could be read, so that one that is
// not found is not there.
func (c *validator) complete() bool {
	return !slices.ContainsFunc(c.bundle.data, func(f file) bool { return f.root == nil })
}

// rawPath takes the first name below raw out of an expression.
var rawPath = regexp.MustCompile(`^\s*\{\{\s*(?:raw|metadata)\.([A-Za-z0-9_]+)`)

// checkAttributes checks that names of attributes lead somewhere, where the data
// source says which there are.
func (c *validator) checkAttributes(d *DataSource, p place) {
	var schema struct {
		Properties           map[string]json.RawMessage
		AdditionalProperties any
	}
	_ = json.Unmarshal(d.MetadataSchema, &schema) // what is no schema declares nothing
	open := schema.AdditionalProperties != nil && schema.AdditionalProperties != false
	attributes := p.get("fieldMappings").get("attributes")
	for _, name := range sortedKeys(d.FieldMappings.Attributes) {
		m := rawPath.FindStringSubmatch(d.FieldMappings.Attributes[name].Expression)
		if m == nil || len(schema.Properties) == 0 || open {
			continue
		}
		if _, ok := schema.Properties[m[1]]; !ok {
			c.fail(attributes.get(name).get("expression"), CodeUnresolved, nearestOr(m[1], sortedKeys(schema.Properties), "declare it under metadataSchema.properties"), "", "metadataSchema has no property %s", document.Quote(m[1]))
		}
	}
	known := append(sortedKeys(d.FieldMappings.Attributes), sortedKeys(schema.Properties)...)
	if len(d.FieldMappings.Attributes) == 0 || open {
		return // the records are taken as they come
	}
	if d.ExternalID != nil {
		known = append(known, "externalId")
	}
	names := append(p.get("primaryKey").items(), p.get("labelKey").items()...)
	for _, list := range []string{"attributes", "omit", "filterable", "required", "readonly"} {
		names = append(names, p.get("exposed").get(list).items()...)
	}
	for _, at := range []place{p.get("externalId"), p.get("externalId").get("attribute"), p.get("sync").get("cursor"), p.get("sync").get("cursor").get("attribute")} {
		if at.text() != "" {
			names = append(names, at)
		}
	}
	for _, at := range names {
		if first, _, _ := strings.Cut(at.text(), "."); first != "" && !slices.Contains(known, first) {
			c.fail(at, CodeUnresolved, nearestOr(first, known, "declare it under fieldMappings.attributes"), "", "there is no attribute %s", document.Quote(first))
		}
	}
}

// methodsOf are the HTTP methods that an operation may use.
var methodsOf = map[string][]string{
	"list": {"GET", "POST"}, "get": {"GET", "POST"}, "create": {"POST", "PUT"}, "update": {"PATCH", "PUT", "POST"}, "delete": {"DELETE", "POST"},
}

// checkOperations checks the calls of the capabilities.
func (c *validator) checkOperations(d *DataSource, p place) {
	if d.Enabled != nil && !*d.Enabled {
		return // nothing is called
	}
	for _, name := range Operations() {
		op, ok := d.Operation(name)
		if _, allowed := d.Capabilities[name]; !allowed {
			continue
		}
		at := p.get("capabilities")
		if !ok {
			c.warn(at, CodeNoOperation, "write method and path here, or openapi.resourcePath", "", "%s is allowed and has no HTTP operation", name)
			continue
		}
		switch {
		case d.Capabilities[name] != nil:
			at = at.get(name)
		case p.get("openapi").get("operations").has(name):
			at = p.get("openapi").get("operations").get(name)
		default:
			at = p.get("openapi").get("resourcePath")
		}
		c.checkOperation(name, op, at)
	}
}

func (c *validator) checkOperation(name string, op Operation, at place) {
	where := func(key string) place {
		if at.has(key) {
			return at.get(key)
		}
		return at
	}
	if !slices.Contains(methodsOf[name], op.Method) {
		c.fail(where("method"), CodeValue, "one of "+strings.Join(methodsOf[name], ", "), "", "%s cannot be done with %s", name, op.Method)
	}
	var body any
	_ = json.Unmarshal(op.Body, &body) // what is no JSON was not read
	for key, part := range map[string]any{"path": op.Path, "query": op.Query, "body": body} {
		for _, text := range appendTexts(nil, part) {
			if _, _, err := holes(text); err != nil {
				c.fail(where(key), CodeValue, "{name} stands for what is filled in; name has letters, digits and _", "", "the operation %s has a hole that is not {name}", name)
				return
			}
		}
	}
	if op.Path != cleanPath(op.Path) {
		c.fail(where("path"), CodeValue, "for example /companies/{id}", "", "the path has empty, dot or escaped segments")
	}
	if _, names, _ := holes(op.Path); len(names) == 0 && op.Method != "POST" && !slices.Contains([]string{"list", "create"}, name) && len(op.Query) == 0 {
		c.warn(where("path"), CodeValue, "for example /companies/{id}", "", "the operation %s does not say which record", name)
	}
	if op.Body != nil && (op.Method == "GET" || op.Method == "DELETE") {
		c.fail(where("body"), CodeValue, "use query", "", "%s has no body", op.Method)
	}
	if p := op.Pagination; p != nil {
		if name != "list" {
			c.fail(where("pagination"), CodeValue, "remove it", "", "only list has pages")
		}
		if p.Type == "cursor" && p.Next == "" {
			c.fail(where("pagination"), CodeMissing, "where the answer holds the next cursor, for example $.paging.next.after", "", "next is required where type is cursor")
		}
	}
}

// appendTexts appends every string of a decoded JSON value.
func appendTexts(out []string, v any) []string {
	switch x := v.(type) {
	case string:
		out = append(out, x)
	case []any:
		for _, item := range x {
			out = appendTexts(out, item)
		}
	case map[string]any:
		for _, key := range sortedKeys(x) {
			out = appendTexts(out, x[key])
		}
	}
	return out
}
