package guide

import (
	"fmt"
	"slices"
	"strings"

	"claviger"
)

// quirks tells what somebody who knows the usual forms would not expect.
func quirks(conn *claviger.Connector) []string {
	var out []string
	if len(conn.Headers) > 0 {
		var names []string
		for _, h := range conn.Headers {
			names = append(names, h.Name+": "+h.Value.String())
		}
		out = append(out, "Every call carries "+Code(names)+" unless the caller sends its own.")
	}
	for _, s := range conn.Expiry {
		switch {
		case s.Path != "" && s.Status != 0:
			out = append(out, fmt.Sprintf("A credential is also over when a %d answer has `%v` at `%s`.", s.Status, s.Equals, s.Path))
		case s.Path != "":
			out = append(out, fmt.Sprintf("A credential is also over when an answer has `%v` at `%s`.", s.Equals, s.Path))
		case s.Header != "":
			out = append(out, fmt.Sprintf("A credential is also over when the header `%s` says `%v`.", s.Header, s.Equals))
		case s.Status != 401:
			out = append(out, fmt.Sprintf("A credential is also over when the answer is %d.", s.Status))
		}
	}
	if !slices.ContainsFunc(conn.Expiry, func(s claviger.ExpirySignal) bool { return s.Status == 401 && s.Path == "" && s.Header == "" }) && len(conn.Expiry) > 0 {
		out = append(out, "401 alone does not say that a credential is over.")
	}
	for i := range conn.Auth {
		m := &conn.Auth[i]
		if slices.ContainsFunc(m.Inject, func(in claviger.Injection) bool { return in.In == "body" }) {
			out = append(out, "`"+m.Key+"` puts the credential into the body: actions work, the proxy does not.")
		}
		if m.OAuth != nil {
			out = append(out, grantQuirks(m)...)
		}
	}
	return out
}

func grantQuirks(m *claviger.AuthMethod) []string {
	o := m.OAuth
	var parts []string
	say := func(when bool, format string, args ...any) {
		if when {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	say(o.PKCE == claviger.PKCEOff && o.Grant == claviger.GrantAuthorizationCode, "PKCE is off, because the vendor does not take it")
	say(o.ScopeParam != "", "scopes are asked for as `%s`", o.ScopeParam)
	say(o.ScopeSeparator != "" && o.ScopeSeparator != " ", "scopes are divided by `%s`", o.ScopeSeparator)
	say(o.ClientIDParam != "", "the client id is called `%s`", o.ClientIDParam)
	say(o.TokenRequestFormat == "json", "token requests are JSON")
	say(o.TokenResponse.AccessToken != "" && o.TokenResponse.AccessToken != "$.access_token", "the access token stands at `%s`", o.TokenResponse.AccessToken)
	say(o.TokenResponse.Format == "form", "token answers are form-encoded")
	say(o.TokenResponse.OK != "", "failures are told by `%s`, whatever the status", o.TokenResponse.OK)
	say(!o.Endpoints.Refresh.Empty(), "refreshes go to `%s`", o.Endpoints.Refresh)
	if len(parts) == 0 {
		return nil
	}
	return []string{"`" + m.Key + "`: " + strings.Join(parts, "; ") + "."}
}
