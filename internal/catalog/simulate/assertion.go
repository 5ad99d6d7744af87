package simulate

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"claviger"
)

// claims answers what a compact JWS says, unverified: the simulation is shown no key.
func claims(assertion string) map[string]any {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	out := map[string]any{}
	if json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}

// assertionWrong checks an assertion that stands for a grant (RFC 7523, section 3).
func (g *grant) assertionWrong(assertion string) string {
	rules, said := g.method.OAuth, claims(assertion)
	if rules.Grant != claviger.GrantJWTBearer {
		return "assertions are not this method's grant"
	}
	want, _ := rules.AssertionAudience.Render(func(name string) (string, bool) { return g.settings[name], true }, nil)
	if want != "" && said["aud"] != want {
		return "the assertion is for another audience"
	}
	if claim := rules.Assertion.ScopeClaim; claim != "" && len(rules.Scopes) > 0 && said[claim] != strings.Join(rules.Scopes, orElse(rules.ScopeSeparator, " ")) {
		return "the assertion does not name the scopes"
	}
	if f, ok := g.method.Field("subject"); ok && f.Required && said["sub"] == nil {
		return "the assertion names no subject"
	}
	return ""
}

// serveInstallation answers an app that asks for an installation's token. Whose word it
// is, knows has read.
func (g *grant) serveInstallation(w http.ResponseWriter, in *request, v *Vendor) string {
	if in.Method != http.MethodPost || len(in.body) > 0 {
		return "an installation's token is asked for by a bare POST"
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.issue(w, v, "")
	return ""
}
