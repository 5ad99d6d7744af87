package clavigertest_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/clavigertest/oauthserver"
	"claviger/client"
)

// crm is a system with the three usual slots, each with a secret of its own.
func crm(base string) json.RawMessage {
	return json.RawMessage(strings.ReplaceAll(`{
  "key": "example-crm", "displayName": "Example CRM", "description": "A CRM.", "type": "openapi",
  "authentications": [
    {"key": "default", "usage": "api", "authType": "credential", "credential": {"method": "apikey",
      "variables": {"baseUrl": "BASE", "headerName": "X-API-Key", "testEndpoint": "/me"}, "security": {"apiKey": "kv://example-crm/apiKey"}}},
    {"key": "webhook", "usage": "webhookInbound", "authType": "credential", "credential": {"method": "apikey",
      "variables": {"headerName": "X-Hub-Signature"}, "security": {"apiKey": "kv://example-crm/webhookSecret"}}},
    {"key": "sync-worker", "usage": "syncExecution", "authType": "credential", "credential": {"method": "apikey",
      "variables": {"baseUrl": "BASE", "headerName": "X-API-Key", "testEndpoint": "/me"}, "security": {"apiKey": "kv://example-crm/syncApiKey"}}}
  ]
}`, "BASE", base))
}

// The secrets of crm's slots.
const (
	crmAPIKey  = "ak_for_callers_0001"
	crmSyncKey = "ak_for_the_worker_01"
	crmHookKey = "hook_secret_of_crm_01"
)

// crmServer is a server with crm uploaded, its secrets not yet set.
func crmServer(t *testing.T, engine clavigertest.Engine) (*clavigertest.Server, *acme.Vendor, *client.Client) {
	t.Helper()
	vendor := acme.Start(t, crmAPIKey, crmSyncKey)
	s := clavigertest.Start(t, clavigertest.Options{Engine: engine, EgressAllow: vendor.Addr()})
	c := s.Client(s.Key)
	if _, err := c.PutSystem(t.Context(), "example-crm", api.SystemUpload{System: crm("http://" + vendor.Addr() + acme.Base)}); err != nil {
		t.Fatalf("uploading: %v", err)
	}
	return s, vendor, c
}

func setSecrets(t *testing.T, c *client.Client, pairs ...string) {
	t.Helper()
	for pair := range slices.Chunk(pairs, 2) {
		if _, err := c.PutSecret(t.Context(), pair[0], pair[1]); err != nil {
			t.Fatalf("setting %s: %v", pair[0], err)
		}
	}
}

func slotsOf(t *testing.T, c *client.Client) []api.Slot {
	t.Helper()
	slots, err := c.Slots(t.Context(), "example-crm")
	if err != nil {
		t.Fatal(err)
	}
	return slots
}

func TestEverySlotUsesItsOwnCredential(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		_, vendor, c := crmServer(t, engine)
		setSecrets(t, c, "example-crm/apiKey", crmAPIKey, "example-crm/syncApiKey", crmSyncKey)
		report, err := c.TestIntegration(t.Context(), "example-crm")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, slot := range report.Slots {
			got[slot.Key] = slot.Status + " " + slot.Code + " " + slot.Path
		}
		if report.Status != "failed" || got["default"] != "passed  " || got["sync-worker"] != "passed  " || got["webhook"] != "failed secret_missing example-crm/webhookSecret" {
			t.Errorf("before its secret was set: %s %v", report.Status, got)
		}
		setSecrets(t, c, "example-crm/webhookSecret", crmHookKey)
		if report, err = c.TestIntegration(t.Context(), "example-crm"); err != nil || report.Status != "passed" {
			t.Errorf("with all secrets: %+v %v", report, err)
		}
		for _, slot := range slotsOf(t, c) {
			if slot.HealthStatus != "healthy" || len(slot.Secrets) != 1 || !slot.Secrets[0].HasValue {
				t.Errorf("slot %+v", slot)
			}
			if (slot.WebhookURL != "") != (slot.Usage == "webhookInbound") {
				t.Errorf("slot %s shows the webhook address %q", slot.Key, slot.WebhookURL)
			}
		}
		var keys []string
		for _, r := range vendor.Received() {
			keys = append(keys, r.Header.Get("X-Api-Key"))
			if strings.Contains(r.Dump(), crmHookKey) {
				t.Error("the webhook's secret was sent to the vendor")
			}
		}
		if slices.Sort(keys); !slices.Equal(slices.Compact(keys), []string{crmAPIKey, crmSyncKey}) {
			t.Errorf("the vendor saw %v", keys)
		}
	})
}

func TestAbuse_069_118_AMissingSlotBorrowsNothing(t *testing.T) {
	_, vendor, c := crmServer(t, clavigertest.SQLite)
	setSecrets(t, c, "example-crm/apiKey", crmAPIKey) // and no other
	var worker api.Slot
	for _, slot := range slotsOf(t, c) {
		if slot.Usage == "syncExecution" {
			worker = slot
		}
	}
	report, err := c.TestIntegration(t.Context(), "example-crm")
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range report.Slots {
		if slot.Key == "sync-worker" && (slot.Code != "secret_missing" || slot.Path != "example-crm/syncApiKey" || !strings.Contains(slot.Message, "claviger secret set example-crm/syncApiKey")) {
			t.Errorf("the worker's slot: %+v", slot)
		}
	}
	asked := len(vendor.Received())
	if asked != 1 {
		t.Errorf("the vendor was asked %d times, want once, for the api slot", asked)
	}
	setSecrets(t, c, "example-crm/syncApiKey", crmSyncKey)
	_, err = c.RunAction(t.Context(), api.RunAction{ActionIdentifier: "example-crm.none", ConnectionID: worker.ConnectionID})
	if !client.HasCode(err, "missing_slot") {
		t.Errorf("a call through the worker's slot: %v", err)
	}
	if len(vendor.Received()) != asked {
		t.Error("the worker's slot served a call")
	}
}

func TestABridgeNeedsItsSlotUnlessThePolicySaysOtherwise(t *testing.T) {
	vendor := acme.Start(t)
	s := clavigertest.Start(t, clavigertest.Options{EgressAllow: vendor.Addr()})
	c := s.Client(s.Key)
	var whole struct {
		Key             string            `json:"key"`
		DisplayName     string            `json:"displayName"`
		Description     string            `json:"description"`
		Type            string            `json:"type"`
		Authentications []json.RawMessage `json:"authentications"`
	}
	if err := json.Unmarshal(crm("http://"+vendor.Addr()+acme.Base), &whole); err != nil {
		t.Fatal(err)
	}
	whole.Authentications = whole.Authentications[:1] // api alone
	document, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	source := json.RawMessage(`{"key": "people", "displayName": "People", "systemKey": "example-crm", "entityType": "recordStorage", "resourceType": "person",
		"primaryKey": ["id"], "externalId": "id", "fieldMappings": {"attributes": {"id": {"expression": "{{raw.id}}", "type": "string", "indexed": true}}}, "syncBridge": "master"}`)
	up := api.SystemUpload{System: document, DataSources: []json.RawMessage{source}}
	if _, err := c.PutSystem(t.Context(), "example-crm", up); !client.HasCode(err, "missing_slot") || !strings.Contains(err.Error(), "claviger repair example-crm --slots") {
		t.Errorf("by default: %v", err)
	}
	if _, err := c.PutPolicy(t.Context(), api.Policy{SyncFallback: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutSystem(t.Context(), "example-crm", up); err != nil {
		t.Errorf("with the fallback allowed: %v", err)
	}
}

func TestAMovedDestinationDropsTheSecret(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		s, vendor, c := crmServer(t, engine)
		setSecrets(t, c, "example-crm/apiKey", crmAPIKey, "example-crm/syncApiKey", crmSyncKey, "example-crm/webhookSecret", crmHookKey)
		thief := acme.Start(t, crmAPIKey)
		moved := strings.Replace(string(crm("http://"+vendor.Addr()+acme.Base)), vendor.Addr(), strings.Replace(thief.Addr(), "127.0.0.1", "localhost", 1), 1)
		s.Stop()
		options := s.Options()
		options.EgressAllow += ",localhost,127.0.0.0/8"
		c = clavigertest.Start(t, options).Client(s.Key)
		up, err := c.PutSystem(t.Context(), "example-crm", api.SystemUpload{System: json.RawMessage(moved), DryRun: true})
		if err != nil || up.Version != 1 || len(up.Changes) != 1 || !up.Changes[0].Security || !slices.Equal(up.Dropped, []string{"kv://example-crm/apiKey"}) {
			t.Fatalf("a dry run: %+v %v", up, err)
		}
		if up, err = c.PutSystem(t.Context(), "example-crm", api.SystemUpload{System: json.RawMessage(moved)}); err != nil || up.Version != 2 {
			t.Fatalf("the upload: %+v %v", up, err)
		}
		report, err := c.TestIntegration(t.Context(), "example-crm")
		if err != nil {
			t.Fatal(err)
		}
		if first := report.Slots[0]; first.Code != "secret_missing" || first.Path != "example-crm/apiKey" {
			t.Errorf("the slot that moved: %+v", first)
		}
		if n := len(thief.Received()); n != 0 {
			t.Errorf("the new destination was asked %d times", n)
		}
		if _, err := c.Secret(t.Context(), "example-crm/apiKey"); !client.HasCode(err, "not_found") {
			t.Errorf("the old value: %v", err)
		}
		setSecrets(t, c, "example-crm/apiKey", crmAPIKey)
		if report, err = c.TestIntegration(t.Context(), "example-crm"); err != nil || report.Status != "passed" || len(thief.Received()) != 1 {
			t.Errorf("after the value was given again: %+v %v", report, err)
		}
	})
}

func TestSystemsRollBackAndGo(t *testing.T) {
	_, vendor, c := crmServer(t, clavigertest.SQLite)
	setSecrets(t, c, "example-crm/apiKey", crmAPIKey)
	renamed := strings.Replace(string(crm("http://"+vendor.Addr()+acme.Base)), "Example CRM", "Another CRM", 1)
	stale := 0
	_, err := c.PutSystem(t.Context(), "example-crm", api.SystemUpload{System: json.RawMessage(renamed), ExpectedVersion: &stale})
	if !client.HasCode(err, "version_conflict") {
		t.Errorf("with a stale version: %v", err)
	}
	if _, err := c.PutSystem(t.Context(), "example-crm", api.SystemUpload{System: json.RawMessage(renamed)}); err != nil {
		t.Fatal(err)
	}
	up, err := c.RollbackSystem(t.Context(), "example-crm", 1)
	if err != nil || up.Version != 3 || len(up.Changes) != 1 || up.Changes[0].Security {
		t.Errorf("rolled back: %+v %v", up, err)
	}
	shown, err := c.System(t.Context(), "example-crm", 0)
	if err != nil || shown.DisplayName != "Example CRM" || !strings.Contains(string(shown.System), "kv://example-crm/apiKey") {
		t.Errorf("shown: %+v %v", shown, err)
	}
	again, err := c.PutSystem(t.Context(), "example-crm", api.SystemUpload{System: shown.System})
	if err != nil || again.Version != 3 || len(again.Changes) != 0 {
		t.Errorf("the same again: %+v %v", again, err)
	}
	if _, err := c.DeleteSystem(t.Context(), "example-crm"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.System(t.Context(), "example-crm", 0); !client.HasCode(err, "not_found") {
		t.Errorf("after the end: %v", err)
	}
	for conn, err := range c.Connections(t.Context(), client.ConnectionQuery{}) {
		t.Errorf("left over: %+v %v", conn, err)
	}
}

func TestASlotGetsItsOwnTokens(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		vendor := oauthserver.Start(t, oauthserver.Policy{})
		u, err := url.Parse(vendor.URL)
		if err != nil {
			t.Fatal(err)
		}
		s := clavigertest.Start(t, clavigertest.Options{Engine: engine, EgressAllow: u.Host, RootCAs: vendor.Roots()})
		c := s.Client(s.Key)
		document := strings.ReplaceAll(`{"key": "crm", "displayName": "CRM", "description": "A CRM.", "type": "custom",
			"authentications": [{"key": "default", "usage": "api", "authType": "credential", "credential": {"method": "oauth2",
			"variables": {"baseUrl": "BASE", "tokenUrl": "BASE/token", "grantType": "client_credentials", "scope": "contacts.read", "testEndpoint": "/userinfo"},
			"security": {"clientId": "kv://crm/clientId", "clientSecret": "kv://crm/clientSecret"}}}]}`, "BASE", vendor.URL)
		source := json.RawMessage(`{"key": "people", "displayName": "People", "systemKey": "crm", "entityType": "recordStorage", "resourceType": "person",
			"primaryKey": ["id"], "externalId": "id", "fieldMappings": {"attributes": {"id": {"expression": "{{raw.id}}", "type": "string", "indexed": true}}},
			"capabilities": {"list": {"method": "GET", "path": "/userinfo"}}}`)
		if _, err := c.PutSystem(t.Context(), "crm", api.SystemUpload{System: json.RawMessage(document), DataSources: []json.RawMessage{source}}); err != nil {
			t.Fatal(err)
		}
		run := api.RunAction{ActionIdentifier: "crm.people-list", SystemKey: "crm"}
		if _, err = c.RunAction(t.Context(), run); !client.HasCode(err, "secret_missing") {
			t.Errorf("without a client: %v", err)
		}
		setSecrets(t, c, "crm/clientId", vendor.Client.ID, "crm/clientSecret", reveal(vendor.Client.Secret))
		result, err := c.RunAction(t.Context(), run)
		if err != nil || result.Status != "succeeded" {
			t.Fatalf("with a client: %+v %v", result, err)
		}
		report, err := c.TestIntegration(t.Context(), "crm")
		if err != nil || report.Status != "passed" {
			t.Errorf("tested: %+v %v", report, err)
		}
		if n := len(vendor.Received("/token")); n != 1 {
			t.Errorf("the vendor was asked for tokens %d times, want once", n)
		}
	})
}

func TestASlotShowsItsCertificate(t *testing.T) {
	private, _, certificate := signing(t)
	other, _, _ := signing(t)
	var shown atomic.Int64
	vendor := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 1 {
			shown.Add(1)
		}
		_, _ = w.Write([]byte("{}"))
	}))
	vendor.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	vendor.StartTLS()
	t.Cleanup(vendor.Close)
	roots := x509.NewCertPool()
	roots.AddCert(vendor.Certificate())
	s := clavigertest.Start(t, clavigertest.Options{EgressAllow: vendor.Listener.Addr().String(), RootCAs: roots})
	c := s.Client(s.Key)
	document := strings.ReplaceAll(`{"key": "crm", "displayName": "CRM", "description": "A CRM.", "type": "custom",
		"authentications": [{"key": "default", "usage": "api", "authType": "credential", "credential": {"method": "certificate",
		"variables": {"baseUrl": "BASE", "testEndpoint": "/health"},
		"security": {"certificate": "kv://crm/certificate", "privateKey": "kv://crm/privateKey"}}}]}`, "BASE", vendor.URL)
	if _, err := c.PutSystem(t.Context(), "crm", api.SystemUpload{System: json.RawMessage(document)}); err != nil {
		t.Fatal(err)
	}
	setSecrets(t, c, "crm/certificate", certificate, "crm/privateKey", other)
	report, err := c.TestIntegration(t.Context(), "crm")
	if err != nil || report.Status != "failed" || report.Slots[0].Code != "invalid_format" {
		t.Errorf("with another certificate's key: %+v %v", report, err)
	}
	setSecrets(t, c, "crm/privateKey", private)
	if report, err = c.TestIntegration(t.Context(), "crm"); err != nil || report.Status != "passed" || shown.Load() != 1 {
		t.Errorf("with its own: %+v %v, shown %d times", report, err, shown.Load())
	}
}

// A slot whose credential is a provider's runs the system's operations, at the provider's
// address and nowhere else.
func TestAProvidersCredentialServesASystem(t *testing.T) {
	vendor := acme.Start(t, crmAPIKey)
	s := clavigertest.Start(t, clavigertest.Options{EgressAllow: vendor.Addr()})
	c := s.Client(s.Key)
	system := func(more string) json.RawMessage {
		return json.RawMessage(`{"key": "borrower", "displayName": "Borrower", "type": "custom", "authentications": [
			{"key": "default", "usage": "api", "authType": "apiProvider", "apiProviderKey": "the-provider"}` + more + `]}`)
	}
	source := json.RawMessage(strings.Replace(string(companiesSource(`{}`, "list")), "example-crm", "borrower", 1))
	upload := func(more string) {
		t.Helper()
		if _, err := c.PutSystem(t.Context(), "borrower", api.SystemUpload{System: system(more), DataSources: []json.RawMessage{source}}); err != nil {
			t.Fatal(err)
		}
	}
	run := func() error {
		_, err := c.RunAction(t.Context(), api.RunAction{ActionIdentifier: "borrower.companies-list", SystemKey: "borrower"})
		return err
	}
	upload("")
	if err := run(); !client.HasCode(err, "provider_missing") || !strings.Contains(err.Error(), `"the-provider"`) {
		t.Errorf("without the provider's connection: %v", err)
	}
	report, err := c.TestIntegration(t.Context(), "borrower")
	if err != nil || report.Slots[0].Code != "provider_missing" {
		t.Errorf("without the provider's connection: %+v %v", report, err)
	}
	if _, err := c.PutConnector(t.Context(), "acme", vendor.Document("acme")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateConnection(t.Context(), api.CreateConnection{Connector: "acme", AuthMethod: "key", Name: "the-provider", Credentials: map[string]string{"apiKey": crmAPIKey}}); err != nil {
		t.Fatal(err)
	}
	entity := &companies{}
	vendor.Behave(entity.ServeHTTP)
	if err := run(); err != nil {
		t.Errorf("with it: %v", err)
	}
	tried, err := c.TestEndToEnd(t.Context(), "borrower", "companies")
	if err != nil || outcome(tried) != "passed: list passed 200;" {
		t.Errorf("end to end: %s %v", outcome(tried), err)
	}
	for _, r := range vendor.Received() {
		if r.Header.Get("X-Api-Key") != crmAPIKey || !strings.HasPrefix(r.Target, acme.Base+"/") {
			t.Errorf("the vendor was asked\n%s", r.Dump())
		}
	}
	// The system has an address of its own, below the provider's or elsewhere.
	worker := `, {"key": "worker", "usage": "syncExecution", "authType": "credential",
		"credential": {"method": "apikey", "variables": {"baseUrl": "BASE"}, "security": {"apiKey": "kv://borrower/apiKey"}}}`
	upload(strings.Replace(worker, "BASE", "http://"+vendor.Addr()+acme.Base+"/eu", 1))
	if err := run(); err != nil {
		t.Errorf("below the provider's address: %v", err)
	}
	if target := vendor.Last(t).Target; target != acme.Base+"/eu/companies" {
		t.Errorf("the vendor was asked for %s", target)
	}
	upload(strings.Replace(worker, "BASE", "https://elsewhere.example", 1))
	asked := len(vendor.Received())
	if err := run(); !client.HasCode(err, "destination_mismatch") || len(vendor.Received()) != asked {
		t.Errorf("at another address: %v", err)
	}
}

func TestValidateSaysWhatAnUploadWouldSay(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	c := s.Client(s.Key)
	for _, x := range []struct{ address, key, code string }{
		{"shop", "shop", ""}, {"shop", "other", "key_mismatch"}, {"github", "github", "reserved_key"},
	} {
		document := json.RawMessage(`{"key": "` + x.key + `", "displayName": "Shop", "type": "custom", "authentication": {"method": "none"}}`)
		v, err := c.ValidateSystem(t.Context(), x.address, api.SystemDocuments{System: document})
		if err != nil || v.Valid != (x.code == "") || !v.Valid && v.Faults[0].Code != x.code {
			t.Errorf("%s under %s: %+v %v", x.key, x.address, v, err)
		}
		if _, err := c.PutSystem(t.Context(), x.address, api.SystemUpload{System: document, DryRun: true}); x.code == "" && err != nil || x.code != "" && !client.HasCode(err, x.code) {
			t.Errorf("an upload of %s under %s: %v", x.key, x.address, err)
		}
	}
}

// A person's grant is no credential for work without a person: not when it is uploaded,
// not when a connection is made, and not when somebody writes it into the database.
func TestAbuse_068_AGrantOfAPersonStaysWithThePerson(t *testing.T) {
	people := `{"key": "people", "usage": "USAGE", "authType": "credential", "credential": {"method": "oauth2", "variables": {"baseUrl": "https://api.example.com",
		"tokenUrl": "https://api.example.com/token"}, "security": {"clientId": "kv://shared/id", "clientSecret": "kv://shared/secret"}}}`
	provider := `{"key": "people", "usage": "USAGE", "authType": "apiProvider", "apiProviderKey": "somebody"}`
	s := clavigertest.Start(t, clavigertest.Options{})
	c := s.Client(s.Key)
	put := func(slot, usage string) error {
		document := `{"key": "crm", "displayName": "CRM", "type": "custom", "authentications": [` + strings.Replace(slot, "USAGE", usage, 1) + `]}`
		_, err := c.PutSystem(t.Context(), "crm", api.SystemUpload{System: json.RawMessage(document)})
		return err
	}
	background := []string{"syncExecution", "webhookInbound"}
	for _, usage := range background {
		for name, slot := range map[string]string{"a grant": people, "a provider": provider} {
			if err := put(slot, usage); !client.HasCode(err, "delegated_slot") {
				t.Errorf("%s for %s is uploaded: %v", name, usage, err)
			}
		}
	}
	setSecrets(t, c, "shared/id", "a_client_of_ours", "shared/secret", "its_own_secret_01")
	if err := put(people, "api"); err != nil {
		t.Fatal(err)
	}
	for _, usage := range background {
		_, err := c.CreateConnection(t.Context(), api.CreateConnection{Connector: "crm", AuthMethod: "people", Name: "by hand", Usage: usage, Credentials: map[string]string{"clientId": "a_client_of_ours", "clientSecret": "its_own_secret_01"}})
		if !client.HasCode(err, "user_delegated") {
			t.Errorf("a connection for %s is made: %v", usage, err)
		}
	}
	for _, usage := range background {
		s.Stop()
		db := database(t, s)
		for _, statement := range []string{"UPDATE connections SET usage = $1, status = 'active' WHERE connector = 'crm'", "UPDATE system_slots SET usage = $1"} {
			if _, err := db.ExecContext(t.Context(), statement, usage); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		again := clavigertest.Start(t, s.Options())
		again.Key, s = s.Key, again
		report, err := s.Client(s.Key).TestIntegration(t.Context(), "crm")
		if err != nil || report.Slots[0].Usage != usage || report.Slots[0].Code != "delegated_slot" {
			t.Errorf("written into the database for %s: %+v %v", usage, report, err)
		}
	}
	if a := s.Do(clavigertest.Call{Method: "POST", Path: "/webhooks/crm", Body: "{}"}); a.Status != http.StatusUnauthorized {
		t.Errorf("a delivery is answered %d", a.Status)
	}
}
