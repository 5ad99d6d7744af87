package catalog

import (
	"strings"

	"claviger"
)

// Lint answers everything that [Parse] refuses and, for a document that passes,
// what the built-in catalogue asks for beyond: every method says how it is tested
// and where its scopes are read, or says that there is no way; every secret has a
// hint and a known format; people find the vendor's documentation; every action is
// described.
func Lint(name string, data []byte, opts Options) []Fault {
	conn, faults := Parse(name, data, opts)
	if conn == nil {
		return faults
	}
	root, fault := read(name, data)
	if fault != nil {
		return []Fault{*fault}
	}
	c := &checker{}
	ask := func(n *node, path, key, hint string) {
		if v := n.get(key); v == nil || v.text == "" && v.kind == kindString {
			c.fault(n, join(path, key), CodePractice, hint, "%s is missing", key)
		}
	}
	ask(root, "", "docsUrl", "the vendor's API documentation")
	ask(root, "", "categories", "for example [developer-tools]")
	ask(root, "", "expiry", "how the vendor says that a credential is no longer valid, for example [{status: 401}]")
	ask(root, "", "rateLimit", "what the vendor allows one credential")
	if strings.HasPrefix(conn.BaseURL.String(), "http:") {
		c.fault(root.get("baseUrl"), "baseUrl", CodePractice, "use https", "credentials travel in the clear")
	}
	for i, item := range root.get("auth").items {
		if conn.Auth[i].Type == claviger.AuthNone {
			continue
		}
		path := index("auth", i)
		ask(item, path, "label", "what people read when they choose")
		ask(item, path, "test", "a cheap call, or test: none")
		ask(item, path, "permissions", "where scopes are read, or permissions: none")
		for j := range conn.Auth[i].Fields {
			lintField(c, &conn.Auth[i].Fields[j], item.get("fields").items[j], index(join(path, "fields"), j), ask)
		}
	}
	if len(conn.Actions) < 2 {
		c.fault(root, "actions", CodePractice, "typed actions are what agents use", "has fewer than two actions")
	}
	for i := range conn.Actions {
		ask(root.get("actions").items[i], index("actions", i), "description", "one sentence for people and agents")
	}
	return c.faults
}

func lintField(c *checker, f *claviger.Field, n *node, path string, ask func(n *node, path, key, hint string)) {
	ask(n, path, "label", "what people read above the field")
	if !f.Secret {
		return
	}
	ask(n, path, "hint", "where the vendor shows the value")
	if f.Pattern == nil && f.SoftPattern == nil {
		c.fault(n, join(path, "softPattern"), CodePractice, "pattern if the vendor's prefix tells it apart, else softPattern", "no format is declared")
	}
}
