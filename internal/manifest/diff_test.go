package manifest_test

import (
	"strings"
	"testing"

	"claviger"
	"claviger/internal/manifest"
)

func TestDiffTellsWhatMattersForSecurity(t *testing.T) {
	base := load(t, checkout(t, nil))
	for _, c := range []struct {
		name, file, old, now string
		want                 string // path, "!" before it for security; between spaces
	}{
		{"nothing", "contacts.yaml", "# People at the companies.\n", "", ""},
		{"a name", "example-crm-system.json", "Example CRM", "The CRM", "system.displayName"},
		{"method", "example-crm-system.json", `"method": "apikey"`, `"method": "bearerToken"`, "!system.authentications[default].credential.method"},
		{"host", "example-crm-system.json", "https://api.example.com", "https://api.example.net", "!system.authentications[default].credential.variables.baseUrl"},
		{"header", "example-crm-system.json", "X-API-Key", "X-Other", "!system.authentications[default].credential.variables.headerName"},
		{"path of a secret", "example-crm-system.json", "kv://example-crm/apiKey", "kv://shared/apiKey", "!system.authentications[default].credential.security.apiKey"},
		{"scheme", "example-crm-system.json", `"headerName": "X-Hub-Signature"`, `"scheme": "github", "headerName": "X-Hub-Signature"`, "!system.authentications[webhook].credential.variables.scheme"},
		{"test endpoint", "example-crm-system.json", `"headerName": "X-API-Key"`, `"headerName": "X-API-Key", "testEndpoint": "/me"`, "system.authentications[default].credential.variables.testEndpoint"},
		{"usage", "example-crm-system.json", `"usage": "syncExecution"`, `"usage": "callback"`, "!system.authentications[sync-worker].usage"},
		{"a slot less", "example-crm-system.json", `"key": "webhook"`, `"key": "hook"`, "!system.authentications[hook] !system.authentications[webhook]"},
		{"system off", "example-crm-system.json", `"type": "openapi"`, `"enabled": false, "type": "openapi"`, "!system.enabled"},
		{"webhook off", "companies.json", `"webhook": {"enabled": true`, `"webhook": {"enabled": false`, "!dataSources[companies].webhook.enabled"},
		{"bridge", "companies.json", `"mode": "bidirectional"`, `"mode": "master"`, "!dataSources[companies].syncBridge.mode"},
		{"operation", "companies.json", `"path": "/companies/{id}"}`, `"path": "/people/{id}"}`, "!dataSources[companies].capabilities.get.path"},
		{"shown fields", "companies.json", `"omit": ["updatedAt"]`, `"omit": ["name"]`, "!dataSources[companies].exposed.omit"},
		{"schedule", "companies.json", "*/15 * * * *", "*/20 * * * *", "dataSources[companies].sync.schedule"},
		{"data source renamed", "contacts.yaml", "key: contacts", "key: people", "dataSources[contacts] !dataSources[people]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := load(t, checkout(t, map[string]string{c.file: replaced(t, text(t, checkout(t, nil), c.file), c.old, c.now)}))
			var got []string
			for _, change := range manifest.Diff(base, changed) {
				if change.Security != (change.Reason != "") || change.Old == change.New {
					t.Errorf("%+v", change)
				}
				got = append(got, strings.Repeat("!", map[bool]int{true: 1}[change.Security])+change.Path)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}

func TestDiffTellsWiderScopesAndNotNarrowerOnes(t *testing.T) {
	with := func(scope string) *manifest.Bundle {
		system := `{"key":"acme","displayName":"Acme","type":"custom","authentications":[{"key":"a","usage":"api","authType":"credential","credential":{"method":"oauth2",` +
			`"variables":{"baseUrl":"https://api.acme.example","tokenUrl":"https://login.acme.example/token","scope":` + scope + `}}}]}`
		return manifest.Parse(manifest.Part{Name: "system", Data: []byte(system)}, nil)
	}
	for _, c := range []struct {
		old, now string
		wider    bool
	}{
		{`"read write"`, `"read"`, false},
		{`"read"`, `"read write"`, true},
		{`["read","write"]`, `"write read"`, false},
		{`["read"]`, `["admin"]`, true},
	} {
		changes := manifest.Diff(with(c.old), with(c.now))
		if len(changes) != 1 || changes[0].Security != c.wider {
			t.Errorf("from %s to %s: %+v", c.old, c.now, changes)
		}
	}
}

func TestAnUpgradedBlockIsNoChange(t *testing.T) {
	single := `{"key":"acme","displayName":"Acme","type":"custom","authentication":{"method":"apikey","variables":{"baseUrl":"https://api.acme.example"},"security":{"apiKey":"kv://acme/apiKey"}}}`
	older := manifest.Parse(manifest.Part{Name: "acme-system.json", Data: []byte(single)}, nil)
	fixed, err := manifest.Repair(older, manifest.RepairOptions{})
	if err != nil {
		t.Fatal(err)
	}
	newer := manifest.Parse(manifest.Part{Name: "acme-system.json", Data: fixed.Files[0].New}, nil)
	if changes := manifest.Diff(older, newer); len(changes) != 0 {
		t.Errorf("told %+v", changes)
	}
	if older.System.SchemaVersion() != "1.6" || newer.System.SchemaVersion() != "2.0" {
		t.Errorf("versions %s and %s", older.System.SchemaVersion(), newer.System.SchemaVersion())
	}
}

func TestTheFirstUploadNeedsNoConsent(t *testing.T) {
	changes := manifest.Diff(nil, load(t, checkout(t, nil)))
	if len(changes) < 5 {
		t.Errorf("told %d changes", len(changes))
	}
	for _, c := range changes {
		if c.Security || c.Old != "" || c.New == "" {
			t.Errorf("%+v", c)
		}
	}
}

func TestDestinationsFollowTheHosts(t *testing.T) {
	slot := func(base, token string) manifest.Slot {
		return manifest.Slot{Usage: "api", AuthType: manifest.AuthCredential, Credential: &manifest.Credential{Method: "oauth2", Variables: manifest.Variables{BaseURL: base, TokenURL: token}}}
	}
	for _, c := range []struct {
		base, token, want string
	}{
		{"https://api.acme.example/v2", "", "https://api.acme.example"},
		{"https://api.acme.example/v3", "", "https://api.acme.example"},
		{"https://api.acme.example:8443", "", "https://api.acme.example:8443"},
		{"https://api.acme.example", "https://login.acme.example/token", "https://api.acme.example https://login.acme.example"},
		{"", "", ""},
	} {
		s := slot(c.base, c.token)
		if got := s.Destination(); got != c.want {
			t.Errorf("%s and %s: %q, want %q", c.base, c.token, got, c.want)
		}
	}
	for _, u := range []claviger.Usage{claviger.UsageWebhookInbound, claviger.UsageMessageInbound} {
		s := slot("https://api.acme.example", "")
		if s.Usage = u; s.Destination() != "inbound" {
			t.Errorf("%s: %q", u, s.Destination())
		}
	}
}
