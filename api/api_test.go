package api

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"claviger"
)

// shapes lists every shape that an answer can be.
func shapes() []any {
	return []any{
		List[Connection]{},
		Deleted{},
		ErrorBody{},
		Connection{},
		ConnectionTest{},
		ConnectionSweep{},
		PutOAuthClient{},
		OAuthClient{},
		CreateConnectSession{},
		ConnectSessionMade{},
		ConnectSession{},
		FinishConnect{},
		ReturnURLs{},
		Connector{},
		StoredConnector{},
		Action{},
		ActionResult{},
		Explanation{},
		Whoami{},
		User{},
		Application{},
		NewApplication{},
		APIKey{},
		NewAPIKey{},
		TokenSweep{},
		Organization{},
		NewOrganization{},
		Workspace{},
		Secret{},
		Encryption{},
		Entry{},
		Usage{},
		CreateConnection{},
		UpdateConnection{},
		DisableConnections{},
		RunAction{},
		ExplainCall{},
		CreateUser{},
		NewUser{},
		UpdateUser{},
		CreateApplication{},
		CreateAPIKey{},
		RevokeTokens{},
		CreateOrganization{},
		CreateWorkspace{},
		UpdateWorkspace{},
		PutSecret{},
		EventEndpoint{},
		NewEventEndpoint{},
		EventDelivery{},
		CreateEventEndpoint{},
	}
}

// walk calls f for t and every type that it holds.
func walk(t reflect.Type, seen map[reflect.Type]bool, f func(reflect.Type)) {
	if seen[t] {
		return
	}
	seen[t] = true
	f(t)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		walk(t.Elem(), seen, f)
	case reflect.Map:
		walk(t.Key(), seen, f)
		walk(t.Elem(), seen, f)
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range t.NumField() {
			walk(t.Field(i).Type, seen, f)
		}
	}
}

func TestAbuse_173_NoShapeCanCarryASecret(t *testing.T) {
	secret := reflect.TypeFor[claviger.Secret]()
	seen := map[reflect.Type]bool{}
	for _, s := range shapes() {
		walk(reflect.TypeOf(s), seen, func(typ reflect.Type) {
			if typ == secret || typ.PkgPath() == secret.PkgPath() {
				t.Errorf("%T holds %s", s, typ)
			}
		})
	}
	if len(seen) < 60 {
		t.Errorf("only %d types were looked at", len(seen))
	}
	// If one ever did, its encoding is an error and not a redacted text.
	if _, err := json.Marshal(struct{ Key any }{claviger.NewSecretString("v")}); err == nil {
		t.Error("a secret was encoded")
	}
}

func TestAbuse_181_ShownOnceShapesHaveAFormWithoutTheirSecrets(t *testing.T) {
	const once = "shown-once"
	for _, shape := range []interface{ Redacted() any }{
		NewAPIKey{APIKey: APIKey{ID: "key_1", Name: "n"}, Key: once},
		NewApplication{Application: Application{ID: "app_1"}, ClientSecret: once},
		NewOrganization{Organization: Organization{ID: "org_1"}, ClientSecret: once, APIKey: once},
		ConnectSessionMade{ID: "cs_1", Token: once, ConnectURL: "https://claviger.example/connect/" + once},
	} {
		shown, err := json.Marshal(shape)
		if err != nil || !strings.Contains(string(shown), once) {
			t.Fatalf("%T: %s %v", shape, shown, err)
		}
		redacted, err := json.Marshal(shape.Redacted())
		if err != nil || strings.Contains(string(redacted), once) || !strings.Contains(string(redacted), RedactedMark) {
			t.Errorf("%T: %s %v", shape, redacted, err)
		}
		if again, _ := json.Marshal(shape); string(again) != string(shown) {
			t.Errorf("%T: the shape itself was changed", shape)
		}
	}
}

func TestNamesAreCamelCaseAndNothingIsUnnamed(t *testing.T) {
	seen := map[reflect.Type]bool{}
	for _, s := range shapes() {
		walk(reflect.TypeOf(s), seen, func(typ reflect.Type) {
			if typ.Kind() != reflect.Struct || typ.PkgPath() != reflect.TypeFor[Connection]().PkgPath() {
				return
			}
			for i := range typ.NumField() {
				f := typ.Field(i)
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if f.Anonymous || f.Name == "_" {
					continue
				}
				if name == "" || strings.ContainsAny(name, "_- ") || name[0] < 'a' || name[0] > 'z' {
					t.Errorf("%s.%s is named %q", typ, f.Name, name)
				}
			}
		})
	}
}

// TestConnectionText pins the text of the most used answer: members, their order
// and what absence looks like.
func TestConnectionText(t *testing.T) {
	at := time.Date(2026, 11, 22, 1, 9, 29, 535_000_000, time.UTC)
	c := Connection{
		ID: "conn_1", Object: "connection", Connector: "acme", ConnectorVersion: 1, AuthMethod: "key", Name: "n", WorkspaceID: "ws_1",
		OwnerID: "usr_1", Usage: "api", Visibility: "workspace", Status: "active", HealthStatus: "healthy", Account: Account{ID: "1", Name: "a"},
		GrantedScopes: []string{}, Credentials: map[string]string{"apiKey": RedactedMark}, Settings: map[string]string{},
		Metadata: map[string]string{}, Tags: map[string]string{}, LastCheckedAt: &at, CreatedAt: at, UpdatedAt: at,
	}
	want := `{"id":"conn_1","object":"connection","connector":"acme","connectorVersion":1,"authMethod":"key","name":"n","workspaceId":"ws_1",` +
		`"ownerId":"usr_1","usage":"api","visibility":"workspace","status":"active","healthStatus":"healthy","lastError":null,` +
		`"account":{"id":"1","name":"a"},"grantedScopes":[],"credentials":{"apiKey":"***REDACTED***"},"settings":{},"metadata":{},"tags":{},` +
		`"expiresAt":null,"lastUsedAt":null,"lastCheckedAt":"2026-11-22T01:09:29.535Z","createdAt":"2026-11-22T01:09:29.535Z","updatedAt":"2026-11-22T01:09:29.535Z"}`
	got, err := json.Marshal(c)
	if err != nil || string(got) != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
	var back Connection
	if err := json.Unmarshal(got, &back); err != nil || !cmp.Equal(back, c) {
		t.Error(err, cmp.Diff(back, c))
	}
}
