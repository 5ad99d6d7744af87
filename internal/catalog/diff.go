package catalog

import (
	"slices"
	"strings"

	"claviger"
	"claviger/internal/document"
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
		if root, fault := (Options{Generated: true}).read("document.json", conn.Document); fault == nil {
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
func flatten(n *document.Node, path string, out map[string]string) {
	switch n.Kind {
	case document.Object:
		if len(n.Members) == 0 {
			out[path] = "{}"
		}
		for _, m := range n.Members {
			flatten(m.Value, join(path, m.Key), out)
		}
	case document.Array:
		keyed := len(n.Items) > 0 && !slices.ContainsFunc(n.Items, func(item *document.Node) bool { return item.Get("key") == nil })
		if !keyed {
			out[path] = string(sortedSet(n, path).AppendJSON(nil))
			return
		}
		for _, item := range n.Items {
			flatten(item, path+"["+item.Get("key").Text+"]", out)
		}
	default:
		out[path] = string(n.AppendJSON(nil))
	}
}

// sortedSet puts lists whose order has no meaning in order.
func sortedSet(n *document.Node, path string) *document.Node {
	if path != "allowedHosts" && path != "categories" && !strings.HasSuffix(path, ".required") && !strings.HasSuffix(path, ".oauth2.scopes") && !strings.HasSuffix(path, ".discoveryHosts") {
		return n
	}
	sorted := &document.Node{Kind: document.Array, Items: slices.Clone(n.Items)}
	slices.SortFunc(sorted.Items, func(a, b *document.Node) int { return strings.Compare(a.Text, b.Text) })
	return sorted
}
