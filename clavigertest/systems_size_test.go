package clavigertest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/client"
)

// largeSystem has as many slots and data sources as a system may have, each with a schema
// as real ones have it.
func largeSystem(base string) api.SystemUpload {
	slots := make([]string, 32)
	for i := range slots {
		slots[i] = fmt.Sprintf(`{"key": "slot-%d", "usage": "api", "default": %t, "authType": "credential", "credential": {"method": "apikey",
			"variables": {"baseUrl": %q, "headerName": "X-API-Key", "testEndpoint": "/me"}, "security": {"apiKey": "kv://large/k%d"}}}`, i, i == 0, base, i)
	}
	properties := make([]string, 30)
	for i := range properties {
		properties[i] = fmt.Sprintf(`"field%d": {"type": "string", "maxLength": 200}`, i)
	}
	up := api.SystemUpload{System: json.RawMessage(`{"key": "large", "displayName": "Large", "type": "custom", "authentications": [` + strings.Join(slots, ",") + `]}`)}
	for i := range 200 {
		up.DataSources = append(up.DataSources, json.RawMessage(fmt.Sprintf(`{"key": "entity-%d", "displayName": "Entity %d", "systemKey": "large", "entityType": "recordStorage",
			"resourceType": "entity", "primaryKey": ["field0"], "externalId": "field0", "openapi": {"resourcePath": "/entities/%d"},
			"capabilities": ["list", "get", "create", "update", "delete"], "metadataSchema": {"type": "object", "properties": {%s}}}`, i, i, i, strings.Join(properties, ","))))
	}
	return up
}

func TestALargeSystemIsServed(t *testing.T) {
	vendor := acme.Start(t, crmAPIKey)
	s := clavigertest.Start(t, clavigertest.Options{EgressAllow: vendor.Addr()})
	up := largeSystem("http://" + vendor.Addr() + acme.Base)
	c := s.Client(s.Key)
	v, err := c.ValidateSystem(t.Context(), "large", api.SystemDocuments{System: up.System, DataSources: up.DataSources})
	if err != nil || !v.Valid {
		t.Fatalf("checked: %+v %v", v, err)
	}
	if _, err := c.PutSystem(t.Context(), "large", up); err != nil {
		t.Fatal(err)
	}
	setSecrets(t, c, "large/k0", crmAPIKey)
	s.Stop() // what is in memory goes; the stored connector is read
	again := clavigertest.Start(t, s.Options())
	c = again.Client(s.Key)
	run := api.RunAction{ActionIdentifier: "large.entity-199-get", SystemKey: "large", Input: map[string]any{"id": "7"}}
	if _, err := c.RunAction(t.Context(), run); err != nil {
		t.Error(err)
	}
	if target := vendor.Last(t).Target; target != acme.Base+"/entities/199/7" {
		t.Errorf("the vendor was asked for %s", target)
	}
	up.DataSources = append(up.DataSources, up.DataSources[0])
	if _, err := c.PutSystem(t.Context(), "large", up); err == nil {
		t.Error("201 data sources were taken")
	}
	up.DataSources = up.DataSources[:1]
	up.DataSources[0] = json.RawMessage(strings.Replace(string(up.DataSources[0]), `"metadataSchema"`, `"config": {"text": "`+strings.Repeat("word ", 60<<10)+`"}, "metadataSchema"`, 1))
	if _, err := c.PutSystem(t.Context(), "large", up); !client.HasCode(err, "limit") {
		t.Errorf("a document of more than 256 KiB: %v", err)
	}
}

func TestWhatIsSwitchedOffIsNotCalled(t *testing.T) {
	_, entity, c := crmWithCompanies(t, clavigertest.SQLite, companiesSource(`{}`, "list"))
	run := func() error {
		_, err := c.RunAction(t.Context(), api.RunAction{ActionIdentifier: "example-crm.companies-list", SystemKey: "example-crm"})
		return err
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	shown, err := c.System(t.Context(), "example-crm", 0)
	if err != nil {
		t.Fatal(err)
	}
	off := func(document json.RawMessage) json.RawMessage {
		return json.RawMessage(strings.Replace(string(document), "{", `{"enabled": false, `, 1))
	}
	upload := func(system, source json.RawMessage) {
		t.Helper()
		if _, err := c.PutSystem(t.Context(), "example-crm", api.SystemUpload{System: system, DataSources: []json.RawMessage{source}}); err != nil {
			t.Fatal(err)
		}
	}
	upload(shown.System, off(shown.DataSources[0]))
	if err := run(); !client.HasCode(err, "unknown_action") {
		t.Errorf("the data source is off: %v", err)
	}
	if report, err := c.TestEndToEnd(t.Context(), "example-crm", "companies"); err != nil || len(report.Steps) != 0 {
		t.Errorf("the data source is off: %+v %v", report, err)
	}
	upload(off(shown.System), shown.DataSources[0])
	if err := run(); !client.HasCode(err, "system_disabled") {
		t.Errorf("the system is off: %v", err)
	}
	if _, err := c.TestEndToEnd(t.Context(), "example-crm", "companies"); !client.HasCode(err, "system_disabled") {
		t.Errorf("the system is off: %v", err)
	}
	upload(shown.System, shown.DataSources[0])
	if err := run(); err != nil || len(entity.records) != 1 {
		t.Errorf("switched on again: %v", err)
	}
}
