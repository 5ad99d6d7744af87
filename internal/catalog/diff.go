package catalog

import (
	"slices"
	"strings"

	"claviger"
)

// Change is one difference between two versions of a connector.
type Change struct {
	Path     string // dotted; entries of lists by their key, for example "auth[key].inject"
	Old, New string // canonical JSON, cut at 1 KiB; empty for absent
	Security bool   // an owner must see it before a connection moves to the new version
}

// harmless are the keys whose values only people read. Whatever is not listed
// counts as relevant to security: a key that is added to the format later is safe
// until somebody decides otherwise.
var harmless = []string{"name", "label", "description", "hint", "categories", "title", "examples", "rateLimit"}

// Diff answers what changed from old to new, in the order of the paths. It compares
// meaning, not text: the order of keys does not count, entries of auth, actions,
// fields and variables are matched by their keys, allowed hosts as a set.
func Diff(older, newer *claviger.Connector) []Change {
	before, after := map[string]string{}, map[string]string{}
	for conn, out := range map[*claviger.Connector]map[string]string{older: before, newer: after} {
		if conn == nil {
			continue
		}
		if root, fault := read("document.json", conn.Document); fault == nil {
			flatten(root, "", out)
		}
	}
	paths := map[string]bool{}
	for p := range before {
		paths[p] = true
	}
	for p := range after {
		paths[p] = true
	}
	var out []Change
	for p := range paths {
		if before[p] != after[p] {
			out = append(out, Change{Path: p, Old: cut(before[p]), New: cut(after[p]), Security: !isHarmless(p)})
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return out
}

func cut(s string) string {
	const limit = 1 << 10
	if len(s) > limit {
		return s[:limit] + "..."
	}
	return s
}

// isHarmless looks at the parts of a path that the format names. Inside requests,
// injections, probes and schemas a key called "name" is the vendor's and counts.
func isHarmless(path string) bool {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '.' })
	for i, part := range parts {
		word, _, _ := strings.Cut(part, "[")
		switch word {
		case "request", "inject", "oauth2", "test", "permissions", "input", "headers":
			return word == "input" && slices.Contains([]string{"description", "title", "examples"}, parts[len(parts)-1])
		}
		if slices.Contains(harmless, word) && (i == len(parts)-1 || word == "rateLimit" || word == "categories") {
			return true
		}
	}
	return false
}

// flatten writes each scalar under its path. Objects in a list that have a key are
// found by it; other lists count as one value.
func flatten(n *node, path string, out map[string]string) {
	switch n.kind {
	case kindObject:
		if len(n.members) == 0 {
			out[path] = "{}"
		}
		for _, m := range n.members {
			flatten(m.value, join(path, m.key), out)
		}
	case kindArray:
		keyed := len(n.items) > 0 && !slices.ContainsFunc(n.items, func(item *node) bool { return item.get("key") == nil })
		if !keyed {
			out[path] = string(sortedSet(n, path).appendJSON(nil))
			return
		}
		for _, item := range n.items {
			flatten(item, path+"["+item.get("key").text+"]", out)
		}
	default:
		out[path] = string(n.appendJSON(nil))
	}
}

// sortedSet puts lists whose order has no meaning in order.
func sortedSet(n *node, path string) *node {
	if path != "allowedHosts" && path != "categories" && !strings.HasSuffix(path, ".required") && !strings.HasSuffix(path, ".oauth2.scopes") && !strings.HasSuffix(path, ".discoveryHosts") {
		return n
	}
	sorted := &node{kind: kindArray, items: slices.Clone(n.items)}
	slices.SortFunc(sorted.items, func(a, b *node) int { return strings.Compare(a.text, b.text) })
	return sorted
}
