package rehearse

import (
	"strings"
	"testing"
	"time"

	"claviger/internal/catalog/simulate"
)

// after uses what connects and ends a grant in a vendor's own way.
const after = `key: after
name: After
kind: http
baseUrl: https://${host}/v1/${company}
variables: [{key: host, type: hostname}, {key: company, type: pathSegment}, {key: tenant, type: uuid}]
allowedHosts: ["*.after.example"]
headers: {X-Tenant: "${tenant}"}
auth:
  - key: oauth
    type: oauth2
    inject: [{in: header, name: Authorization, value: "Bearer ${accessToken}"}, {in: header, name: X-App, value: "${clientId}"}]
    oauth2:
      grant: authorizationCode
      authorizeUrl: https://auth.after.example/authorize
      tokenUrl: https://auth.after.example/token
      revokeUrl: https://auth.after.example/apps/${clientId}/grant
      clientAuth: client_secret_post
      refresh: {rotates: false}
      revoke: {method: DELETE, token: access, tokenParam: victim, bodyFormat: json, authorization: "Client ${clientSecret}", params: {company: "${company}"}}
      discover:
        - {variable: company, from: callback, param: realm}
        - {variable: host, from: token, path: $.api}
        - {variable: tenant, from: request, url: "https://auth.after.example/tenants/${company}", path: "$[0].id", scheme: Token}
    test: {method: GET, path: /me, expectStatus: [200]}
    permissions: none
expiry: [{status: 401}]
`

// TestWhatComesAfterConsent: a vendor that tells, or ends, anything otherwise than the
// document says fails the run.
func TestWhatComesAfterConsent(t *testing.T) {
	w := open(t)
	run := func(base, changed string) error {
		v, err := simulate.New(parse(t, base), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return w.against(t.Context(), parse(t, changed), v).Err()
	}
	const own = "{method: DELETE, token: access, tokenParam: victim, bodyFormat: json, authorization: \"Client ${clientSecret}\", params: {company: \"${company}\"}}"
	for _, revoke := range []string{
		own,
		"{token: access, tokenIn: header, tokenHeader: X-Grant, clientAuth: none}",
		"{tokenIn: none, authorization: \"Bearer ${clientSecret}\", params: {who: \"${company}\", app: \"${clientId}\"}}",
		"{token: refresh, tokenIn: path, method: DELETE, clientAuth: none}",
		"{token: access, tokenIn: bearer}",
	} {
		text := strings.Replace(after, own, revoke, 1)
		if err := run(text, text); err != nil {
			t.Errorf("%s: %v", revoke, err)
		}
	}
	header := strings.Replace(after, own, "{token: access, tokenIn: header, tokenHeader: X-Grant, clientAuth: none}", 1)
	if err := run(header, strings.Replace(header, "X-Grant", "X-Other", 1)); err == nil {
		t.Error("a token in another header is found")
	}
	for _, c := range []struct{ old, new string }{
		{"param: realm", "param: company"},
		{"path: $.api", "path: $.host"},
		{"/tenants/${company}", "/tenants"},
		{"$[0].id", "$[0].tenantId"},
		{"scheme: Token", "scheme: Bearer"},
		{"name: X-App", "name: X-Client"},
		{"Client ${clientSecret}", "Bearer ${clientSecret}"},
		{"params: {company:", "params: {account:"},
		{"tokenParam: victim", "tokenParam: token"},
		{"bodyFormat: json, ", ""},
		{"method: DELETE, ", ""},
		{"/apps/${clientId}/grant", "/apps/grant"},
		{"token: access, ", "token: refresh, "},
		{`headers: {X-Tenant: "${tenant}"}`, `headers: {X-Company: "${tenant}"}`},
	} {
		if !strings.Contains(after, c.old) {
			t.Fatalf("the document has no %q", c.old)
		}
		if err := run(after, strings.Replace(after, c.old, c.new, 1)); err == nil {
			t.Errorf("not found: %s instead of %s", c.new, c.old)
		}
	}
}

// robot is a service that signs for its tokens.
const robot = `key: robot
name: Robot
kind: http
baseUrl: https://api.robot.example
variables: [{key: zone, type: hostLabel, required: true}]
auth:
  - key: robot
    type: oauth2
    fields: [{key: serviceAccount, type: json, secret: true, required: true}, {key: subject, required: true}]
    oauth2:
      grant: jwtBearer
      tokenUrl: https://auth.robot.example/token
      scopes: [a, b]
      clientAuth: none
      assertion: {scopeClaim: scope}
      assertionAudience: https://${zone}.robot.example/
      refresh: none
      revoke: none
    test: {method: GET, path: /me, expectStatus: [200]}
    permissions: none
expiry: [{status: 401}]
`

// TestServicesThatSign: what an assertion says is what the document says.
func TestServicesThatSign(t *testing.T) {
	w := open(t)
	run := func(changed string) error {
		v, err := simulate.New(parse(t, robot), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return w.against(t.Context(), parse(t, changed), v).Err()
	}
	if err := run(robot); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new string }{
		{"scopeClaim: scope", "scopeClaim: scp"},
		{"scopes: [a, b]", "scopes: [a]"},
		{"https://${zone}.robot.example/", "https://robot.example/"},
		{"https://auth.robot.example/token", "https://auth.robot.example/tokens"},
		{"grant: jwtBearer", "grant: clientCredentials"},
	} {
		text := strings.Replace(robot, c.old, c.new, 1)
		if c.new == "grant: clientCredentials" {
			text = strings.NewReplacer("      assertion: {scopeClaim: scope}\n", "", "    fields: [{key: serviceAccount, type: json, secret: true, required: true}, {key: subject, required: true}]\n", "", "clientAuth: none", "clientAuth: client_secret_post").Replace(text)
		}
		if err := run(text); err == nil {
			t.Errorf("not found: %s instead of %s", c.new, c.old)
		}
	}
}
