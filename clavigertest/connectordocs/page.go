package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"claviger"
)

// words are what a page needs of a document and a compiled connector does not keep.
type words struct {
	Description string
	Webhooks    struct{ DocsURL string }
	Auth        []struct {
		OAuth2 struct{ Refresh, Revoke any }
	}
}

// page renders the page of one connector.
func page(conn *claviger.Connector) (string, error) {
	var w words
	if err := json.Unmarshal(conn.Document, &w); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", conn.Name, w.Description)
	fmt.Fprintf(&b, "Connector `%s`, %s. Its credentials go to %s.", conn.Key, strings.Join(conn.Categories, ", "), hosts(conn))
	fmt.Fprintf(&b, " [Documentation](%s)", conn.DocsURL)
	if w.Webhooks.DocsURL != "" {
		fmt.Fprintf(&b, ", [webhooks](%s)", w.Webhooks.DocsURL)
	}
	b.WriteString("\n")
	settings(&b, conn)
	for i := range conn.Auth {
		method(&b, conn, &conn.Auth[i], &w, i)
	}
	actions(&b, conn)
	limits(&b, conn)
	return b.String(), nil
}

func code(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return "`" + strings.Join(list, "`, `") + "`"
}

func hosts(conn *claviger.Connector) string {
	if len(conn.AllowedHosts) == 0 {
		return "the host that a connection is made with"
	}
	return code(conn.AllowedHosts)
}

// cell is text that does not end a table's cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func yes(b bool, text string) string {
	if b {
		return text
	}
	return ""
}

func settings(b *strings.Builder, conn *claviger.Connector) {
	if len(conn.Variables) == 0 {
		return
	}
	b.WriteString("\n## Settings\n\n| setting | what | values |\n|---|---|---|\n")
	for _, v := range conn.Variables {
		values := code(v.Values)
		if values == "" {
			values = string(v.Type)
		}
		if v.Default != "" {
			values += "; `" + v.Default + "` unless given"
		}
		fmt.Fprintf(b, "| `%s`%s | %s | %s |\n", v.Key, yes(v.Required && v.Default == "", " (required)"), cell(sentence(v.Label, v.Hint)), cell(values))
	}
}

// sentence joins a label and its hint.
func sentence(label, hint string) string {
	if hint == "" {
		return label
	}
	return strings.TrimSuffix(label, ".") + ". " + strings.TrimSuffix(hint, ".")
}

func method(b *strings.Builder, conn *claviger.Connector, m *claviger.AuthMethod, w *words, i int) {
	fmt.Fprintf(b, "\n## `%s`: %s\n\n", m.Key, m.Label)
	if m.DocsURL != "" {
		fmt.Fprintf(b, "Type `%s`. [Documentation](%s)\n\n", m.Type, m.DocsURL)
	} else {
		fmt.Fprintf(b, "Type `%s`.\n\n", m.Type)
	}
	if len(m.Fields) > 0 {
		b.WriteString("| field | what | |\n|---|---|---|\n")
		for _, f := range m.Fields {
			fmt.Fprintf(b, "| `%s`%s | %s | %s |\n", f.Key, yes(f.Required, " (required)"), cell(sentence(f.Label, f.Hint)), yes(f.Secret, "secret"))
		}
		b.WriteString("\n")
	}
	if m.OAuth != nil {
		grant(b, m, w, i)
	}
	fmt.Fprintf(b, "- Test: %s\n- Granted scopes: %s\n", probe(m.Test), scopes(m.Permissions))
}

func grant(b *strings.Builder, m *claviger.AuthMethod, w *words, i int) {
	o := m.OAuth
	fmt.Fprintf(b, "- Grant: `%s`, client authentication `%s`", o.Grant, o.ClientAuth)
	if o.Grant == claviger.GrantAuthorizationCode {
		fmt.Fprintf(b, ", PKCE `%s`", o.PKCE)
	}
	if _, own := m.Field("clientId"); own {
		b.WriteString("; the client is the connection's own")
	}
	asked := code(o.Scopes)
	if asked == "" {
		asked = "none"
	}
	fmt.Fprintf(b, "\n- Scopes asked for: %s\n", asked)
	if !o.Endpoints.Authorize.Empty() {
		fmt.Fprintf(b, "- People are sent to `%s`\n", o.Endpoints.Authorize)
	}
	fmt.Fprintf(b, "- Tokens come from `%s`\n", o.Endpoints.Token)
	if i < len(w.Auth) {
		fmt.Fprintf(b, "- Refresh: %s\n", refresh(w.Auth[i].OAuth2.Refresh, o.Refresh))
	}
	if o.Endpoints.Revoke.Empty() {
		b.WriteString("- Revocation: none that claviger can call\n")
	} else {
		fmt.Fprintf(b, "- Revocation: `%s`\n", o.Endpoints.Revoke)
	}
}

func refresh(declared any, r claviger.OAuthRefresh) string {
	members, _ := declared.(map[string]any)
	text := "none"
	switch members["rotates"] {
	case true:
		text = "each answers a new refresh token"
	case false:
		text = "the refresh token stays the same"
	case "unknown":
		text = "whether the refresh token changes is not known, so none is sent twice"
	}
	if r.Grace > 0 {
		text += fmt.Sprintf("; the old one lives %d seconds more", int(r.Grace.Seconds()))
	}
	if r.IdleLimit > 0 {
		text += fmt.Sprintf("; dies after %d days without use", int(r.IdleLimit.Hours()/24))
	}
	if r.Lifetime > 0 {
		text += fmt.Sprintf("; dies after %d days", int(r.Lifetime.Hours()/24))
	}
	return text
}

func probe(p *claviger.Probe) string {
	if p == nil {
		return "none known"
	}
	text := "`" + p.Method + " " + p.Path.String() + "`"
	if p.AccountID != "" || p.AccountName != "" {
		text += ", which tells the account"
	}
	return text
}

func scopes(p *claviger.PermissionProbe) string {
	if p == nil {
		return "not shown by the vendor"
	}
	text := map[string]string{"header": "the header `" + p.Name + "` of the test's answer", "body": "the body of the test's answer", "token": "the token's answer"}[p.From]
	if p.From == "request" {
		text = "`" + p.Request.Method + " " + p.Request.Path.String() + "`"
	}
	if len(p.Required) > 0 {
		text += "; required are " + code(p.Required)
	}
	return text
}

func actions(b *strings.Builder, conn *claviger.Connector) {
	if len(conn.Actions) == 0 {
		b.WriteString("\n## Actions\n\nNone yet; the proxy reaches every call.\n")
		return
	}
	b.WriteString("\n## Actions\n\n| action | what | input |\n|---|---|---|\n")
	for _, a := range conn.Actions {
		fmt.Fprintf(b, "| `%s`%s | %s | %s |\n", a.Key, yes(a.ReadOnly, ", reads only"), cell(a.Description), inputs(a.InputJSON))
	}
}

func inputs(schema []byte) string {
	var s struct {
		Properties map[string]any
		Required   []string
	}
	if json.Unmarshal(schema, &s) != nil {
		return ""
	}
	var names []string
	for name := range s.Properties {
		names = append(names, "`"+name+"`"+yes(slices.Contains(s.Required, name), " (required)"))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func limits(b *strings.Builder, conn *claviger.Connector) {
	r := conn.RateLimit
	var parts []string
	if r.RequestsPerSecond > 0 {
		parts = append(parts, fmt.Sprintf("claviger keeps to %g requests a second", r.RequestsPerSecond))
	}
	if len(r.Status) > 0 {
		parts = append(parts, "too many requests are answered "+strings.Trim(fmt.Sprint(r.Status), "[]"))
	}
	if r.ResetHeader != "" {
		parts = append(parts, "`"+r.ResetHeader+"` tells when to go on")
	}
	if len(parts) > 0 {
		text := strings.Join(parts, "; ")
		fmt.Fprintf(b, "\n## Limits\n\n%s%s.\n", strings.ToUpper(text[:1]), text[1:])
	}
}

// index renders the page that lists all connectors.
func index(all []*claviger.Connector) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Built-in connectors\n\n%d vendors, each a file in `connectors/`. How to write one is told in [connectors.md](../connectors.md).\n\n", len(all))
	b.WriteString("| connector | category | auth methods | actions |\n|---|---|---|---|\n")
	for _, conn := range all {
		var methods []string
		for _, m := range conn.Auth {
			methods = append(methods, m.Key)
		}
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s | %d |\n", conn.Name, conn.Key, strings.Join(conn.Categories, ", "), code(methods), len(conn.Actions))
	}
	return b.String()
}
