package catalog_test

import (
	"strings"
	"testing"

	"claviger"
	"claviger/internal/catalog"
)

func TestInboundMethodsHoldFieldsAndInjectNothing(t *testing.T) {
	const document = `{"key":"acme-crm","name":"Acme","kind":"http","baseUrl":"https://api.acme.example","auth":[{"key":"webhook","type":"inbound","fields":[{"key":"signingSecret","secret":true,"required":true}]}]}`
	conn, faults := catalog.Parse("acme.json", []byte(document), catalog.Options{})
	if conn == nil {
		t.Fatal(faults)
	}
	if m := conn.Auth[0]; m.Type != claviger.AuthInbound || len(m.Fields) != 1 || len(m.Inject) != 0 {
		t.Errorf("compiled to %+v", m)
	}
	injecting := strings.Replace(document, `"type":"inbound",`, `"type":"inbound","inject":[{"in":"header","name":"X-Key","value":"${signingSecret}"}],`, 1)
	if _, faults := catalog.Parse("acme.json", []byte(injecting), catalog.Options{}); len(faults) != 1 || faults[0].Path != "auth[0].inject" {
		t.Errorf("an inbound method that injects: %v", faults)
	}
}
