package oauth_test

import (
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/oauth"
)

// classCase is an answer and what it means.
type classCase struct {
	name   string
	raw    oauth.Raw
	change func(*claviger.OAuth)
	want   oauth.Verdict
}

func (c classCase) run(t *testing.T) {
	t.Helper()
	t.Run(c.name, func(t *testing.T) {
		cfg := plainConfig(t, c.change)
		got := oauth.Classify(cfg, c.raw)
		if got.Verdict != c.want || got.Status != c.raw.Status {
			t.Errorf("%s, want %s", got.Verdict, c.want)
		}
		if _, err := oauth.Parse(cfg, claviger.OAuthClient{}, c.raw); (err == nil) != (c.want == oauth.Granted) {
			t.Errorf("Parse and Classify differ: %v", err)
		}
		if (got.Err() == nil) != (c.want == oauth.Granted) {
			t.Errorf("Err is %v", got.Err())
		}
	})
}

// TestAbuse_077_DeadGrants: how vendors say that a grant is over. Only these end a
// connection.
func TestAbuse_077_DeadGrants(t *testing.T) {
	const asJSON = "application/json"
	slack := func(o *claviger.OAuth) { o.TokenResponse.OK = "$.ok" }
	for _, c := range []classCase{
		{"400", answer(400, asJSON, `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`), nil, oauth.InvalidGrant},
		{"401", answer(401, asJSON, `{"error":"invalid_grant"}`), nil, oauth.InvalidGrant},
		{"403", answer(403, asJSON, `{"error":"invalid_grant"}`), nil, oauth.InvalidGrant},
		{"200", answer(200, asJSON, `{"error":"invalid_grant"}`), nil, oauth.InvalidGrant},
		{"GitHub", answer(200, "application/x-www-form-urlencoded; charset=utf-8", "error=bad_refresh_token&error_description=x"), nil, oauth.InvalidGrant},
		{"nested code", answer(400, asJSON, `{"error":{"code":"invalid_grant","message":"x"}}`), nil, oauth.InvalidGrant},
		{"nested type", answer(400, asJSON, `{"error":{"type":"invalid_grant","code":190}}`), nil, oauth.InvalidGrant},
		{"declared path", answer(400, asJSON, `{"fault":[{"id":"invalid_grant"}]}`), func(o *claviger.OAuth) { o.TokenResponse.Error = "$.fault[0].id" }, oauth.InvalidGrant},
		{"Slack", answer(200, asJSON, `{"ok":false,"error":"invalid_refresh_token"}`), slack, oauth.InvalidGrant},
		{"Slack undeclared", answer(200, asJSON, `{"ok":false,"error":"token_revoked"}`), nil, oauth.InvalidGrant},
		{"Slack with a planted token", answer(200, asJSON, `{"ok":false,"error":"invalid_code","access_token":"x"}`), slack, oauth.InvalidGrant},
		{"Salesforce text", answer(400, "text/plain", "error=invalid_grant&error_description=expired+access%2Frefresh+token"), nil, oauth.InvalidGrant},
		{"Microsoft", answer(400, asJSON, `{"error":"interaction_required","suberror":"basic_action"}`), nil, oauth.InvalidGrant},
		{"own word", answer(400, asJSON, `{"error":"session_over"}`), func(o *claviger.OAuth) {
			o.TokenResponse.Errors = map[string]string{"session_over": "invalid_grant"}
		}, oauth.InvalidGrant},
		{"own word for a used token", answer(400, asJSON, `{"error":"unauthorized_client"}`), func(o *claviger.OAuth) {
			o.TokenResponse.Errors = map[string]string{"unauthorized_client": "invalid_grant"}
		}, oauth.InvalidGrant},
		{"empty, as declared", answer(403, "", ""), func(o *claviger.OAuth) { o.TokenResponse.Errors = map[string]string{"403": "invalid_grant"} }, oauth.InvalidGrant},
		{"empty, not declared", answer(400, "", ""), nil, oauth.Refused},
		{"JSON without a word", answer(401, asJSON, `{"message":"invalid_grant"}`), nil, oauth.Refused},
		{"a word nobody knows", answer(400, asJSON, `{"error":"nope"}`), nil, oauth.Refused},
		{"a failing server says so", answer(500, asJSON, `{"error":"invalid_grant"}`), nil, oauth.Unavailable},
		{"ok without error", answer(200, asJSON, `{"ok":false}`), slack, oauth.Refused},
		{"a token and an empty error", answer(200, asJSON, `{"access_token":"a","error":"","error_description":null}`), nil, oauth.Granted},
		{"a token and ok", answer(200, asJSON, `{"ok":true,"access_token":"a"}`), slack, oauth.Granted},
	} {
		c.run(t)
	}
}

// TestAbuse_078_TheClientsFaultKillsNoConnection.
func TestAbuse_078_TheClientsFaultKillsNoConnection(t *testing.T) {
	for _, word := range []string{"invalid_client", "unauthorized_client", "unsupported_grant_type", "incorrect_client_credentials", "bad_client_secret", "invalid_request", "invalid_scope"} {
		for _, status := range []int{200, 400, 401} {
			class := oauth.Classify(plainConfig(t, nil), answer(status, "application/json", `{"error":"`+word+`"}`))
			if !class.Registration() || class.Dead() || class.Retry() || claviger.IsKind(class.Err(), claviger.KindReauthorize) {
				t.Errorf("%d %s: %s", status, word, class.Verdict)
			}
		}
	}
	k := newKit(t, oauthserver.Policy{Rotates: true}, nil)
	token := k.server.Grant("a")
	wrong := claviger.OAuthClient{ID: k.reg.ID, Secret: claviger.NewSecretString("old")}
	for range 3 {
		if class := oauth.Classify(k.cfg, k.Refresh(t.Context(), k.cfg, wrong, claviger.NewSecretString(token), nil, nil).Raw); class.Verdict != oauth.InvalidClient {
			t.Fatalf("%s", class.Verdict)
		}
	}
	k.parsed(t, k.refreshWith(t, token)) // the grant is as alive as before
}

// TestAbuse_079_LimitsFailuresAndPages.
func TestAbuse_079_LimitsFailuresAndPages(t *testing.T) {
	const page = `<!doctype html><html><body>{"access_token":"x"} sign in</body></html>`
	for _, c := range []classCase{
		{"429", answer(429, "application/json", `{}`), nil, oauth.RateLimited},
		{"429 that says invalid_grant", answer(429, "application/json", `{"error":"invalid_grant"}`), nil, oauth.RateLimited},
		{"Slack's limit", answer(200, "application/json", `{"ok":false,"error":"ratelimited"}`), nil, oauth.RateLimited},
		{"500", answer(500, "", ""), nil, oauth.Unavailable},
		{"502 page", answer(502, "text/html", page), nil, oauth.Unavailable},
		{"503", answer(503, "application/json", `{"error":"temporarily_unavailable"}`), nil, oauth.Unavailable},
		{"408", answer(408, "", ""), nil, oauth.Unavailable},
		{"200 sign-in page", answer(200, "text/html; charset=utf-8", page), nil, oauth.Unavailable},
		{"page without a type", answer(200, "", page), nil, oauth.Unavailable},
		{"page as JSON", answer(200, "application/json", page), nil, oauth.Unavailable},
		{"page as text", answer(200, "text/plain", "\n\n"+page), nil, oauth.Unavailable},
		{"xhtml", answer(200, "application/xhtml+xml", page), nil, oauth.Unavailable},
		{"403 page of a firewall", answer(403, "text/html", page), nil, oauth.Unavailable},
		{"declared JSON does not help", answer(200, "text/html", `{"access_token":"x"}`), func(o *claviger.OAuth) { o.TokenResponse.Format = "json" }, oauth.Unintelligible},
	} {
		c.run(t)
	}
	for value, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Second, "0": 0, "-5": 0, "1000000000": 15 * time.Minute, "1e400": 15 * time.Minute, "NaN": 0, "Inf": 0, "1.5": 1500 * time.Millisecond, "soon": 0,
		"Sun, 01 Mar 2026 12:01:00 GMT": time.Minute, "Sun, 01 Mar 2026 11:00:00 GMT": 0, "Mon, 01 Mar 2027 12:00:00 GMT": 15 * time.Minute,
	} {
		raw := answer(429, "", "")
		raw.RetryAfter = value
		class := oauth.Classify(plainConfig(t, nil), raw)
		if class.After != want || class.Verdict != oauth.RateLimited || claviger.AsError(class.Err()).RetryAfter != want {
			t.Errorf("Retry-After %q: %v, want %v", value, class.After, want)
		}
	}
}
