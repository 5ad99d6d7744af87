package main

import (
	"fmt"
	"strings"

	"claviger"
	"claviger/internal/catalog/guide"
)

// page renders the page of one connector.
func page(conn *claviger.Connector) (string, error) {
	p, err := guide.Of(conn)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	hosts := guide.Code(p.Hosts)
	if hosts == "" {
		hosts = "the host that a connection is made with"
	}
	fmt.Fprintf(&b, "# %s\n\n%s\n\nConnector `%s`, %s. Its credentials go to %s. [Documentation](%s)", p.Name, p.Description, p.Key, strings.Join(p.Categories, ", "), hosts, p.DocsURL)
	if p.WebhooksURL != "" {
		fmt.Fprintf(&b, ", [webhooks](%s)", p.WebhooksURL)
	}
	b.WriteString("\n")
	settings(&b, p.Settings)
	for i := range p.Methods {
		method(&b, p.Key, &p.Methods[i])
	}
	actions(&b, p.Actions)
	if len(p.Quirks) > 0 {
		b.WriteString("\n## Good to know\n\n")
		for _, q := range p.Quirks {
			fmt.Fprintf(&b, "- %s\n", q)
		}
	}
	if p.Limits != "" {
		fmt.Fprintf(&b, "\n## Limits\n\n%s\n", p.Limits)
	}
	return b.String(), nil
}

// cell is text that does not end a table's cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func yes(b bool, text string) string {
	if b {
		return text
	}
	return ""
}

func settings(b *strings.Builder, list []guide.Setting) {
	if len(list) == 0 {
		return
	}
	b.WriteString("\n## Settings\n\n| setting | what | values |\n|---|---|---|\n")
	for _, s := range list {
		only := yes(len(s.Methods) > 0, "; of "+guide.Code(s.Methods))
		fmt.Fprintf(b, "| `%s`%s | %s | %s |\n", s.Key, yes(s.Required, " (required)"), cell(s.Text), cell(s.Values+only))
	}
}

func method(b *strings.Builder, key string, m *guide.Method) {
	fmt.Fprintf(b, "\n## `%s`: %s\n\nType `%s`.%s\n\n", m.Key, m.Label, m.Type, yes(m.DocsURL != "", " [Documentation]("+m.DocsURL+")"))
	if len(m.Fields) > 0 {
		b.WriteString("| field | what | |\n|---|---|---|\n")
		for _, f := range m.Fields {
			fmt.Fprintf(b, "| `%s`%s | %s | %s |\n", f.Key, yes(f.Required, " (required)"), cell(f.Text), yes(f.Secret, "secret"))
		}
		b.WriteString("\n")
	}
	if m.BaseURL != "" {
		fmt.Fprintf(b, "- Calls go to: `%s`\n", m.BaseURL)
	}
	for _, f := range m.Grant {
		fmt.Fprintf(b, "- %s: %s\n", f.Name, f.Text)
	}
	if m.Consents {
		fmt.Fprintf(b, "- Redirect URI to register: `<public URL>/oauth/callback/<organization>/%s`, as `GET /v1/connectors/%s/client` answers it\n", key, key)
	}
	fmt.Fprintf(b, "- Test: %s\n- Granted scopes: %s\n", m.Test, m.Granted)
}

func actions(b *strings.Builder, list []guide.Action) {
	if len(list) == 0 {
		b.WriteString("\n## Actions\n\nNone yet; the proxy reaches every call.\n")
		return
	}
	b.WriteString("\n## Actions\n\n| action | what | input |\n|---|---|---|\n")
	for _, a := range list {
		var names []string
		for _, in := range a.Inputs {
			names = append(names, "`"+in.Name+"`"+yes(in.Required, " (required)"))
		}
		fmt.Fprintf(b, "| `%s`%s | %s | %s |\n", a.Key, yes(a.ReadOnly, ", reads only"), cell(a.Description), strings.Join(names, ", "))
	}
}

// index renders the page that lists all connectors.
func index(all []*claviger.Connector) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Built-in connectors\n\n%d vendors, each a file in `connectors/`. A running server shows them at `/docs/connectors`. How to write one is told in [connectors.md](../connectors.md).\n\n", len(all))
	b.WriteString("| connector | category | auth methods | actions |\n|---|---|---|---|\n")
	for _, conn := range all {
		var methods []string
		for _, m := range conn.Auth {
			methods = append(methods, m.Key)
		}
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s | %d |\n", conn.Name, conn.Key, strings.Join(conn.Categories, ", "), guide.Code(methods), len(conn.Actions))
	}
	return b.String()
}
