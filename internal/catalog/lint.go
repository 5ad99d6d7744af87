package catalog

import (
	"slices"
	"strings"

	"claviger"
	"claviger/internal/document"
)

// Lint answers everything that [Parse] refuses and, for a document that passes,
// what the built-in catalogue asks for beyond: hosts are exact; every method says how it
// is tested and where its scopes are read, or says that there is no way; every secret has a
// hint and a known format; people find the vendor's documentation; every action is
// described.
func Lint(name string, data []byte, opts Options) []Fault {
	conn, faults := Parse(name, data, opts)
	if conn == nil {
		return faults
	}
	root, fault := opts.read(name, data)
	if fault != nil {
		return []Fault{*fault}
	}
	c := &checker{}
	ask := func(n *document.Node, path, key, hint string) {
		if v := n.Get(key); v == nil || v.Text == "" && v.Kind == document.String {
			c.fault(n, join(path, key), CodePractice, hint, "%s is missing", key)
		}
	}
	ask(root, "", "docsUrl", "the vendor's API documentation")
	ask(root, "", "categories", "for example [developer-tools]")
	ask(root, "", "expiry", "how the vendor says that a credential is no longer valid, for example [{status: 401}]")
	ask(root, "", "rateLimit", "what the vendor allows one credential")
	if strings.HasPrefix(conn.BaseURL.String(), "http:") {
		c.fault(root.Get("baseUrl"), "baseUrl", CodePractice, "use https", "credentials travel in the clear")
	}
	lintHosts(c, root, conn)
	if scheme := root.Get("webhooks").Get("scheme"); scheme != nil && opts.WebhookScheme != nil && !opts.WebhookScheme(scheme.Text) {
		c.fault(scheme, "webhooks.scheme", CodeValue, "docs/webhooks.md lists them", "there is no webhook scheme %s", document.Quote(scheme.Text))
	}
	for i, item := range root.Get("auth").Items {
		if conn.Auth[i].Type == claviger.AuthNone {
			continue
		}
		path := index("auth", i)
		ask(item, path, "label", "what people read when they choose")
		ask(item, path, "test", "a cheap call, or test: none")
		ask(item, path, "permissions", "where scopes are read, or permissions: none")
		lintOAuth(c, &conn.Auth[i], item.Get("oauth2"), join(path, "oauth2"), ask)
		for j := range conn.Auth[i].Fields {
			lintField(c, &conn.Auth[i].Fields[j], item.Get("fields").Items[j], index(join(path, "fields"), j), ask)
		}
	}
	ask(root, "", "actions", "typed actions are what agents use; actions: [] if there is none yet")
	for i := range conn.Actions {
		ask(root.Get("actions").Items[i], index("actions", i), "description", "one sentence for people and agents")
	}
	return c.faults
}

// lintHosts asks for hosts as exact as the addresses allow: each entry is needed by the
// address of some method, and a wildcard stands only where a value fills in what it
// leaves open.
func lintHosts(c *checker, root *document.Node, conn *claviger.Connector) {
	n := root.Get("allowedHosts")
	if n == nil {
		return
	}
	for i, pattern := range conn.AllowedHosts {
		needed := slices.ContainsFunc(conn.Auth, func(m claviger.AuthMethod) bool { return needsHost(conn.For(m.Key), pattern) })
		if !needed {
			c.fault(n.Items[i], index("allowedHosts", i), CodePractice, "remove it, or write the exact host", "no method's address needs %s", document.Quote(pattern))
		}
	}
}

// needsHost reports whether the address of a connector, as it is for one method, is
// covered by an entry of allowedHosts that is no wider than it has to be.
func needsHost(view *claviger.Connector, pattern string) bool {
	host := hostText(view.BaseURL)
	host, _, _ = strings.Cut(host, ":")
	for i := range view.Variables {
		v := &view.Variables[i]
		if hole := "${" + v.Key + "}"; host == hole && v.Type == claviger.VariableEnum {
			return slices.Contains(v.Values, pattern)
		} else if host == hole {
			return true // the vendor, or who connects, says which
		}
		host = strings.ReplaceAll(host, "${"+v.Key+"}", "*")
	}
	if !strings.Contains(host, "*") {
		return pattern == host
	}
	open := host[strings.LastIndex(host, "*"):] // "eu.*.acme.example" needs "*.acme.example"
	return pattern == open
}

// maxDefaultScopes is how many scopes a person is asked for at once before it is no
// longer the least that is needed.
const maxDefaultScopes = 8

// sweeping are words of scopes that grant everything.
var sweeping = []string{"*", "all", "full", "admin", "root", "superuser", "full_access", "fullaccess"}

// lintOAuth asks an oauth2 method to say what it could leave to a default: the class
// of its refresh tokens, how they are ended, PKCE, the form of the answer; and to ask
// people for no more than it needs.
func lintOAuth(c *checker, m *claviger.AuthMethod, n *document.Node, path string, ask func(n *document.Node, path, key, hint string)) {
	if m.OAuth == nil {
		return
	}
	for _, key := range []string{"authorizeUrl", "tokenUrl", "refreshUrl", "deviceUrl", "parUrl", "revokeUrl", "introspectUrl", "userinfoUrl", "issuer"} {
		if e := n.Get(key); e != nil && strings.HasPrefix(e.Text, "http:") {
			c.fault(e, join(path, key), CodePractice, "use https", "secrets travel in the clear")
		}
	}
	if n.Get("scopes") == nil {
		c.fault(n, join(path, "scopes"), CodePractice, "scopes: [] where the vendor has none, or fixes them at registration", "scopes is missing")
	}
	if len(m.OAuth.Scopes) > maxDefaultScopes {
		c.fault(n.Get("scopes"), join(path, "scopes"), CodePractice, "keep those that the test and the read-only actions need", "asks for more than %d scopes by default", maxDefaultScopes)
	}
	for _, scope := range m.OAuth.Scopes {
		if slices.Contains(sweeping, strings.ToLower(scope)) {
			c.fault(n.Get("scopes"), join(path, "scopes"), CodePractice, "name what is needed", "the scope %s grants everything", document.Quote(scope))
		}
	}
	if m.OAuth.Grant == claviger.GrantAuthorizationCode {
		ask(n, path, "pkce", `S256, or "off" if the vendor rejects it`)
	}
	ask(n, path, "refresh", "refresh: none, or rotates: true, false or unknown")
	if r := n.Get("refresh"); r != nil && r.Kind == document.Object {
		ask(r, join(path, "refresh"), "rotates", "true, false or unknown")
	}
	if n.Get("revokeUrl") == nil && n.Get("issuer") == nil {
		ask(n, path, "revoke", "revokeUrl, or revoke: none")
	}
	if r := n.Get("tokenResponse"); r != nil {
		ask(r, join(path, "tokenResponse"), "format", "json or form")
	} else {
		ask(n, path, "tokenResponse", "{format: json}")
	}
}

func lintField(c *checker, f *claviger.Field, n *document.Node, path string, ask func(n *document.Node, path, key, hint string)) {
	ask(n, path, "label", "what people read above the field")
	if !f.Secret {
		return
	}
	ask(n, path, "hint", "where the vendor shows the value")
	if f.Pattern == nil && f.SoftPattern == nil {
		c.fault(n, join(path, "softPattern"), CodePractice, "pattern if the vendor's prefix tells it apart, else softPattern", "no format is declared")
	}
}
