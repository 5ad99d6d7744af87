package clavigertest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/client"
)

// climbed is a report's checks in one line each.
func climbed(r api.TrustReport) string {
	lines := []string{r.Status + " " + r.Level}
	for _, x := range r.Checks {
		lines = append(lines, strings.TrimSpace(strings.Join([]string{x.Level, x.Name, x.Subject, x.Status, x.Code}, " ")))
	}
	return strings.Join(lines, "\n")
}

func verifyTrust(t *testing.T, c *client.Client) api.TrustReport {
	t.Helper()
	report, err := c.VerifyTrust(t.Context(), "example-crm")
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestTheLadder(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		source := companiesSource(`{"payloadTemplate":{"name":"Test"}}`, allOperations...)
		_, entity, c := crmWithCompanies(t, engine, source)
		got := climbed(verifyTrust(t, c))
		want := `passed PLATINUM
BRONZE manifest  passed
SILVER slot default passed
SILVER slot webhook passed
SILVER slot sync-worker passed
GOLD integration default passed
GOLD integration webhook passed
GOLD integration sync-worker passed
PLATINUM endToEnd companies passed
PLATINUM webhook webhook passed
PLATINUM sync sync-worker passed`
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if len(entity.records) != 1 {
			t.Errorf("left behind: %v", entity.records)
		}
		entity.refuse = http.MethodPatch
		if got := verifyTrust(t, c); got.Level != "GOLD" || got.Status != "failed" || got.Certificate.Level != "GOLD" {
			t.Errorf("with an operation that fails: %s", climbed(got))
		}
	})
}

func TestTheLadderWithoutValues(t *testing.T) {
	_, _, c := crmServer(t, clavigertest.SQLite)
	setSecrets(t, c, "example-crm/apiKey", crmAPIKey, "example-crm/syncApiKey", crmSyncKey)
	if got := verifyTrust(t, c); got.Level != "BRONZE" || got.Status != "failed" || !strings.Contains(climbed(got), "SILVER slot webhook failed secret_missing") {
		t.Errorf("without the webhook's secret: %s", climbed(got))
	}
	setSecrets(t, c, "example-crm/webhookSecret", crmHookKey)
	if got := verifyTrust(t, c); got.Level != "GOLD" || got.Status != "passed" || !strings.Contains(climbed(got), "PLATINUM endToEnd  skipped no_data_source") {
		t.Errorf("without a data source: %s", climbed(got))
	}
	setSecrets(t, c, "example-crm/syncApiKey", "ak_of_nobody_0001")
	if got := verifyTrust(t, c); got.Level != "BRONZE" || !strings.Contains(climbed(got), "SILVER slot sync-worker failed unhealthy") {
		t.Errorf("with a key that the vendor refuses: %s", climbed(got))
	}
}

// A slot that nobody has signed in for is not complete, and operations that no slot could
// call are not proven.
func TestTheLadderWithoutWhatPeopleOwe(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	c := s.Client(s.Key)
	up := func(slot string) {
		t.Helper()
		document := json.RawMessage(`{"key": "example-crm", "displayName": "CRM", "type": "custom", "authentications": [` + slot + `]}`)
		source := companiesSource(`{"payloadTemplate":{"name":"Test"}}`, allOperations...)
		if _, err := c.PutSystem(t.Context(), "example-crm", api.SystemUpload{System: document, DataSources: []json.RawMessage{source}}); err != nil {
			t.Fatal(err)
		}
	}
	setSecrets(t, c, "shared/hook", crmHookKey)
	up(`{"key": "people", "usage": "api", "authType": "credential", "credential": {"method": "oauth2",
		"variables": {"baseUrl": "https://api.example.com", "tokenUrl": "https://api.example.com/token"}, "security": {"clientId": "kv://shared/id", "clientSecret": "kv://shared/secret"}}},
		{"key": "second", "usage": "api", "authType": "none"}`)
	run := func() error {
		_, err := c.RunAction(t.Context(), api.RunAction{ActionIdentifier: "example-crm.companies-list", SystemKey: "example-crm"})
		return err
	}
	if err := run(); !client.HasCode(err, "secret_missing") || !strings.Contains(err.Error(), "shared/id") {
		t.Errorf("before its client was set: %v", err)
	}
	setSecrets(t, c, "shared/id", "a_client_of_ours", "shared/secret", "its_own_secret_01")
	if err := run(); !client.HasCode(err, "connection_pending") || !strings.Contains(err.Error(), "/console/systems/example-crm?tab=authentication") {
		t.Errorf("before anybody signed in: %v", err)
	}
	if got := verifyTrust(t, c); got.Level != "BRONZE" || !strings.Contains(climbed(got), "SILVER slot people failed connection_pending") {
		t.Errorf("before anybody signed in: %s", climbed(got))
	}
	report, err := c.TestIntegration(t.Context(), "example-crm")
	if err != nil || report.Slots[0].Code != "connection_pending" || !strings.Contains(report.Slots[0].Message, "/console/systems/example-crm?tab=authentication") {
		t.Errorf("before anybody signed in: %+v %v", report, err)
	}
	if slots := slotsOf(t, c); !slots[0].Default || slots[1].Default {
		t.Errorf("the usage is served by: %+v", slots)
	}
	up(`{"key": "hooks", "usage": "webhookInbound", "authType": "credential", "credential": {"method": "hmac",
		"variables": {"signatureHeader": "X-Signature-Of-Ours"}, "security": {"signingSecret": "kv://shared/hook"}}}`)
	if got := verifyTrust(t, c); got.Level != "GOLD" || !strings.Contains(climbed(got), "PLATINUM endToEnd companies failed missing_slot") || !strings.Contains(got.Checks[len(got.Checks)-3].Message, "claviger repair example-crm --auth apikey") {
		t.Errorf("without a slot for calls: %+v", got.Checks)
	}
}

func TestACertificateEndsWithAnyChange(t *testing.T) {
	source := companiesSource(`{"payloadTemplate":{"name":"Test"}}`, allOperations...)
	_, _, c := crmWithCompanies(t, clavigertest.SQLite, source)
	first := verifyTrust(t, c).Certificate
	if state, err := c.Certificate(t.Context(), "example-crm"); err != nil || !state.Valid || state.Certificate.Signature != first.Signature {
		t.Errorf("as signed: %+v %v", state, err)
	}
	shown, err := c.System(t.Context(), "example-crm", 0)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(shown.DataSources[0]), "Companies", "Companiez", 1)
	up, err := c.PutSystem(t.Context(), "example-crm", api.SystemUpload{System: shown.System, DataSources: []json.RawMessage{json.RawMessage(changed)}})
	if err != nil {
		t.Fatal(err)
	}
	state, err := c.Certificate(t.Context(), "example-crm")
	if err != nil || state.Valid || state.Code != "manifest_changed" || !strings.Contains(state.Message, first.ContractHash) || !strings.Contains(state.Message, up.Hash) {
		t.Errorf("one byte changed: %+v %v", state, err)
	}
	second := verifyTrust(t, c).Certificate
	if second.ContractHash != up.Hash || second.PublicKeyFingerprint != first.PublicKeyFingerprint {
		t.Errorf("signed again: %s by %s", second.ContractHash, second.PublicKeyFingerprint)
	}
	if _, err := c.RollbackSystem(t.Context(), "example-crm", up.Version-1); err != nil {
		t.Fatal(err)
	}
	if state, err := c.Certificate(t.Context(), "example-crm"); err != nil || state.Valid {
		t.Errorf("rolled back: %+v %v", state, err)
	}
}

func TestProvingAWebhookKeepsNothing(t *testing.T) {
	_, _, c := crmWithCompanies(t, clavigertest.SQLite, companiesSource(`{"payloadTemplate":{"name":"Test"}}`, allOperations...))
	report := verifyTrust(t, c)
	for e, err := range c.InboundEvents(t.Context(), client.InboundQuery{}) {
		t.Errorf("kept: %+v %v", e, err)
	}
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{crmAPIKey, crmSyncKey, crmHookKey} {
		if strings.Contains(string(text), secret) {
			t.Error("the report shows a secret")
		}
	}
}

// A slot whose fields change places among the same paths uses the right values.
func TestASlotsFieldsChangePlaces(t *testing.T) {
	_, vendor, c := crmServer(t, clavigertest.SQLite)
	document := strings.Replace(string(crm("http://"+vendor.Addr()+acme.Base)), `{"method": "apikey",
      "variables": {"baseUrl": "http://`+vendor.Addr()+acme.Base+`", "headerName": "X-API-Key", "testEndpoint": "/me"}, "security": {"apiKey": "kv://example-crm/apiKey"}}`,
		`{"method": "basic", "variables": {"baseUrl": "http://`+vendor.Addr()+acme.Base+`", "testEndpoint": "/me"}, "security": {"username": "kv://example-crm/syncApiKey", "password": "kv://example-crm/apiKey"}}`, 1)
	setSecrets(t, c, "example-crm/apiKey", crmAPIKey, "example-crm/syncApiKey", crmSyncKey)
	for _, text := range []string{document, strings.NewReplacer(`"username"`, `"password"`, `"password"`, `"username"`).Replace(document)} {
		vendor.Forget()
		if _, err := c.PutSystem(t.Context(), "example-crm", api.SystemUpload{System: json.RawMessage(text)}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.TestIntegration(t.Context(), "example-crm"); err != nil {
			t.Fatal(err)
		}
		var password string
		for _, r := range vendor.Received() {
			if _, found, ok := (&http.Request{Header: r.Header}).BasicAuth(); ok {
				password = found
			}
		}
		if want := map[bool]string{true: crmAPIKey, false: crmSyncKey}[text == document]; password != want {
			t.Errorf("the password was %q, want %q", password, want)
		}
	}
}

// Webhook slots of every kind that both sides can sign are proven; where only the vendor
// can, that is said, and the system stays below platinum.
func TestTheLadderProvesWebhookSlots(t *testing.T) {
	source := companiesSource(`{"payloadTemplate":{"name":"Test"}}`, allOperations...)
	s, _, c := crmWithCompanies(t, clavigertest.SQLite, source)
	setSecrets(t, c, "example-crm/user", "hook-user")
	shown, err := c.System(t.Context(), "example-crm", 0)
	if err != nil {
		t.Fatal(err)
	}
	const signed = `"credential":{"method":"apikey","security":{"apiKey":"kv://example-crm/webhookSecret"},"variables":{"headerName":"X-Hub-Signature"}}`
	if !strings.Contains(string(shown.System), signed) {
		t.Fatalf("the system is not what it was: %s", shown.System)
	}
	for credential, want := range map[string]string{
		`{"method":"bearerToken","security":{"token":"kv://example-crm/webhookSecret"}}`:                                                                                         "passed",
		`{"method":"basic","security":{"username":"kv://example-crm/user","password":"kv://example-crm/webhookSecret"}}`:                                                         "passed",
		`{"method":"apikey","security":{"apiKey":"kv://example-crm/webhookSecret"},"variables":{"headerName":"X-Secret"}}`:                                                       "passed",
		`{"method":"apikey","security":{"apiKey":"kv://example-crm/webhookSecret"},"variables":{"headerName":"X-Hub-Signature-256"}}`:                                            "passed",
		`{"method":"hmac","security":{"signingSecret":"kv://example-crm/webhookSecret"},"variables":{"signatureHeader":"X-Sig","algorithm":"sha512","encoding":"base64"}}`:       "passed",
		`{"method":"hmac","security":{"signingSecret":"kv://example-crm/webhookSecret"},"variables":{"scheme":"stripe"}}`:                                                        "passed",
		`{"method":"oidc","variables":{"openIdConfigUrl":"https://issuer.example/.well-known/openid-configuration","clientId":"crm","expectedIssuer":"https://issuer.example"}}`: "skipped not_verifiable",
	} {
		document := strings.Replace(string(shown.System), signed, `"credential":`+credential, 1)
		up := api.SystemUpload{System: json.RawMessage(document), DataSources: shown.DataSources}
		if _, err := c.PutSystem(t.Context(), "example-crm", up); err != nil {
			t.Errorf("%s: %v", credential, err)
			continue
		}
		got := climbed(verifyTrust(t, s.Client(s.Key)))
		if !strings.Contains(got+"\n", "PLATINUM webhook webhook "+want+"\n") || strings.HasPrefix(got, "passed PLATINUM") != (want == "passed") {
			t.Errorf("%s:\n%s", credential, got)
		}
	}
}
