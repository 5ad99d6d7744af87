package manifest

import (
	"slices"
	"strings"

	"claviger"
	"claviger/internal/document"
)

// Change is one difference between two manifests.
type Change struct {
	Path     string // dotted; slots and data sources by key: "system.authentications[default].credential.method"
	Old, New string // canonical JSON, cut at 1 KiB; empty for absent
	Security bool   // it changes who is believed, where a credential travels or what may be done with it
	Reason   string // why it does, in words; empty unless Security
}

// Diff answers what changed from older to newer, in the order of the paths. It
// compares meaning, not text: the order of keys does not count, a single
// authentication block equals the slot that it stands for, and certification is
// left out. older may be nil: then everything is new and nothing needs consent.
func Diff(older, newer *Bundle) []Change {
	before, after := leaves(older), leaves(newer)
	all := map[string]bool{}
	for p := range before {
		all[p] = true
	}
	for p := range after {
		all[p] = true
	}
	var out []Change
	for _, p := range sortedKeys(all) {
		old, now := before[p], after[p]
		w := whole(p)
		if old == now || w != "" && w != p && (before[w] == "") != (after[w] == "") {
			continue // the same, or told with the whole slot or data source that came or went
		}
		if w == p && old != "" && now != "" {
			continue // told part by part
		}
		c := Change{Path: p, Old: cut(old), New: cut(now)}
		if older != nil {
			c.Reason = consequence(p, old, now)
			c.Security = c.Reason != ""
		}
		out = append(out, c)
	}
	return out
}

func cut(s string) string {
	const limit = 1 << 10
	if len(s) > limit {
		return short(s, limit) + "..."
	}
	return s
}

// whole answers the path of the slot or data source that a path is in, or "".
func whole(p string) string {
	for _, prefix := range []string{slotsPath + "[", "dataSources["} {
		if strings.HasPrefix(p, prefix) {
			if i := strings.IndexByte(p, ']'); i >= 0 {
				return p[:i+1]
			}
		}
	}
	return ""
}

const slotsPath = "system.authentications"

// leaves answers every scalar by its path, and each slot and data source as a whole
// beside its parts.
func leaves(b *Bundle) map[string]string {
	out := map[string]string{}
	if b == nil {
		return out
	}
	if b.system.root != nil {
		for _, m := range b.system.root.Members {
			switch m.Key {
			case "authentication":
				leafSlot(asSlot(m.Value), out)
			case "authentications":
				for _, slot := range m.Value.Items {
					leafSlot(slot, out)
				}
			case "certification":
			default:
				leaf(m.Value, "system."+m.Key, out)
			}
		}
	}
	for i := range b.data {
		if root := b.data[i].root; root != nil {
			at := "dataSources[" + b.DataSources[i].Key + "]"
			leaf(root, at, out)
			out[at] = string(root.AppendJSON(nil))
		}
	}
	return out
}

func leafSlot(slot *document.Node, out map[string]string) {
	key := ""
	if k := slot.Get("key"); k != nil {
		key = k.Text
	}
	at := slotsPath + "[" + key + "]"
	leaf(slot, at, out)
	out[at] = string(slot.AppendJSON(nil))
}

// asSlot answers the slot that a single authentication block stands for.
func asSlot(a *document.Node) *document.Node {
	text := func(s string) *document.Node { return &document.Node{Kind: document.String, Text: s} }
	credential := &document.Node{Kind: document.Object}
	slot := &document.Node{Kind: document.Object, Members: []document.Member{
		{Key: "key", Value: text(DefaultSlot)},
		{Key: "usage", Value: text(string(claviger.UsageAPI))},
		{Key: "authType", Value: text(string(AuthCredential))},
		{Key: "credential", Value: credential},
	}}
	for _, m := range a.Members {
		switch m.Key {
		case "method", "variables", "security":
			credential.Members = append(credential.Members, m)
		case "displayName":
			slot.Members = append(slot.Members, m)
		}
	}
	slot.Sort()
	return slot
}

func leaf(n *document.Node, path string, out map[string]string) {
	if n.Kind != document.Object || len(n.Members) == 0 {
		out[path] = string(n.AppendJSON(nil))
		return
	}
	for _, m := range n.Members {
		leaf(m.Value, path+"."+m.Key, out)
	}
}

// reasons are the consequences of changing a part of a slot's credential. What is
// not listed and not in harmless has a consequence too: a key that is added later
// is told until somebody decides otherwise.
var reasons = map[string]string{
	"usage": "another runtime path may load the credential", "authType": "another kind of credential is used", "apiProviderKey": "another provider's tokens are used",
	"default": "another slot serves the usage", "method": "the credential is used in another way",
	"baseUrl": "the credential travels elsewhere", "tokenUrl": "the client's secret travels elsewhere", "authorizationUrl": "people are sent elsewhere",
	"headerName": "the credential stands in another place", "paramName": "the credential stands in another place", "prefix": "the credential stands in another place",
	"grantType": "another grant is used", "openIdConfigUrl": "another issuer is believed", "expectedIssuer": "another issuer is believed",
	"serverUrl": "the credential travels elsewhere", "webhook": "what the system sends is believed, or no longer", "syncBridge": "changes are written to the system, or no longer",
	"capabilities": "other operations are allowed", "openapi": "other operations are called", "enabled": "it is switched on or off",
	"type": "it is another kind of system", "identityPropagation": "calls act for somebody else", "permissions": "other people may do it", "roles": "other people may do it",
	"exposed": "other fields are shown", "configuration": "other settings or secrets are used",
}

// harmless are parts that only people read, or that change when and how records
// are fetched and not with whose right.
var harmless = []string{
	"$schema", "displayName", "description", "version", "tags", "businessOrder", "labelKey", "primaryKey", "externalId", "foreignKeys", "dimensions",
	"fieldMappings", "metadataSchema", "externalSpec", "sync", "validation", "quality", "context", "testPayload", "rateLimit", "performance", "resourceType",
	"entityType", "triggerPathsHash", "generateMcpContract", "generateOpenApiContract", "contract", "mcpContract", "config", "testEndpoint", "internal", "dataSources",
}

// consequence says what a change of one path means for security; "" for nothing.
func consequence(path, old, now string) string {
	isSlot, within := strings.HasPrefix(path, slotsPath), whole(path)
	if within == path {
		return wholeConsequence(isSlot, old, now)
	}
	name := strings.TrimPrefix(path, "system.")
	if within != "" {
		name = strings.TrimPrefix(path[len(within):], ".")
	}
	parts := strings.Split(name, ".")
	last := parts[len(parts)-1]
	switch {
	case isSlot && slices.Contains(parts, "security"):
		return "another secret is used"
	case isSlot && last == "scope":
		return widened(old, now)
	case isSlot && slices.Contains(harmless, last), !isSlot && slices.Contains(harmless, parts[0]):
		return ""
	case reasons[last] != "":
		return reasons[last]
	case !isSlot && reasons[parts[0]] != "":
		return reasons[parts[0]]
	case isSlot:
		return "who is believed is checked in another way"
	default:
		return "the system works in another way"
	}
}

func wholeConsequence(isSlot bool, old, now string) string {
	switch {
	case isSlot && old == "":
		return "a credential is used for another purpose"
	case isSlot:
		return "its stored values and its connection are no longer used"
	case old == "":
		return "its operations are allowed"
	default:
		return ""
	}
}

// widened tells scopes that were not asked for before.
func widened(old, now string) string {
	had := splitWords(strings.Trim(strings.NewReplacer(`"`, " ", "[", " ", "]", " ").Replace(old), " "))
	for _, word := range splitWords(strings.NewReplacer(`"`, " ", "[", " ", "]", " ").Replace(now)) {
		if !slices.Contains(had, word) {
			return "more is asked for: scopes are wider"
		}
	}
	return ""
}
