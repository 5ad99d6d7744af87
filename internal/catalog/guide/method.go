package guide

import (
	"fmt"
	"strings"
	"time"

	"claviger"
)

func method(m *claviger.AuthMethod) Method {
	out := Method{BaseURL: m.BaseURL.String(), Key: m.Key, Label: m.Label, Type: string(m.Type), DocsURL: m.DocsURL, Test: probe(m.Test), Granted: granted(m.Permissions)}
	for _, f := range m.Fields {
		out.Fields = append(out.Fields, Field{Key: f.Key, Text: sentence(f.Label, f.Hint), DocsURL: f.DocsURL, Secret: f.Secret, Required: f.Required})
	}
	if o := m.OAuth; o != nil {
		out.Consents, out.Scopes, out.Grant = o.Grant == claviger.GrantAuthorizationCode, o.Scopes, grant(m)
	}
	return out
}

// alwaysFound reports whether every method that needs a variable discovers it.
func alwaysFound(conn *claviger.Connector, key string) bool {
	for i := range conn.Auth {
		for _, v := range conn.For(conn.Auth[i].Key).Variables {
			if v.Key == key && !v.Discovered {
				return false
			}
		}
	}
	return true
}

// found tells what becomes known once a person has consented.
func found(o *claviger.OAuth) string {
	var parts []string
	for _, d := range o.Discover {
		where := map[string]string{"token": "the token's answer", "callback": "the browser's way back, `" + d.Param + "`", "request": "`" + d.URL.String() + "`"}[d.From]
		parts = append(parts, "`"+d.Variable+"` from "+where)
	}
	return strings.Join(parts, "; ")
}

// grant tells how tokens come.
func grant(m *claviger.AuthMethod) []Fact {
	o := m.OAuth
	text := fmt.Sprintf("`%s`, client authentication `%s`", o.Grant, o.ClientAuth)
	if o.Grant == claviger.GrantAuthorizationCode {
		text += fmt.Sprintf(", PKCE `%s`", o.PKCE)
	}
	if _, own := m.Field("clientId"); own {
		text += "; the client is the connection's own"
	}
	facts := []Fact{{"Grant", text}}
	asked := Code(o.Scopes)
	if asked == "" {
		asked = "none"
	}
	facts = append(facts, Fact{"Scopes asked for", asked})
	for _, e := range []struct {
		name string
		at   claviger.Template
	}{{"People are sent to", o.Endpoints.Authorize}, {"Codes for devices come from", o.Endpoints.Device}, {"Tokens come from", o.Endpoints.Token}} {
		if !e.at.Empty() {
			facts = append(facts, Fact{e.name, "`" + e.at.String() + "`"})
		}
	}
	if len(o.Discover) > 0 {
		facts = append(facts, Fact{"Found out after consent", found(o)})
	}
	return facts
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
		text += "; dies after " + days(r.IdleLimit) + " without use"
	}
	if r.Lifetime > 0 {
		text += "; dies after " + days(r.Lifetime)
	}
	return text
}

func days(d time.Duration) string {
	if n := int(d.Hours() / 24); n != 1 {
		return fmt.Sprintf("%d days", n)
	}
	return "1 day"
}

func revocation(o *claviger.OAuth) string {
	if o.Endpoints.Revoke.Empty() {
		return "none that claviger can call"
	}
	text := "`" + o.Endpoints.Revoke.String() + "`"
	if o.Revoke.Method != "" && o.Revoke.Method != "POST" {
		text = "`" + o.Revoke.Method + "` " + text
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

func granted(p *claviger.PermissionProbe) string {
	if p == nil {
		return "not shown by the vendor"
	}
	text := map[string]string{"header": "the header `" + p.Name + "` of the test's answer", "body": "the body of the test's answer", "token": "the token's answer"}[p.From]
	if p.From == "request" {
		text = "`" + p.Request.Method + " " + p.Request.Path.String() + "`"
	}
	if len(p.Required) > 0 {
		text += "; required are " + Code(p.Required)
	}
	return text
}

func limits(r claviger.RateLimit) string {
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
	if len(parts) == 0 {
		return ""
	}
	text := strings.Join(parts, "; ")
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
