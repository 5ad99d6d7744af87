package clavigertest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
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
