package broker_test

import (
	"errors"
	"testing"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/store"
)

// TestGrantsWithoutConsentAreRefused: a connection by an oauth2 method that nobody can
// consent to, or that wants a client of its own, is refused and not stored: it would
// look active and hold no token.
func TestGrantsWithoutConsentAreRefused(t *testing.T) {
	r := newRoom(t)
	client := []any{
		map[string]any{"key": "clientId", "required": true},
		map[string]any{"key": "clientSecret", "secret": true, "required": true},
	}
	r.publish(map[string]any{"auth": []any{
		map[string]any{"key": "service", "type": "oauth2", "fields": client, "oauth2": map[string]any{
			"grant": "clientCredentials", "tokenUrl": "https://auth.example.com/token", "clientAuth": "client_secret_basic",
		}},
		map[string]any{"key": "own", "type": "oauth2", "fields": client, "oauth2": map[string]any{
			"grant": "authorizationCode", "authorizeUrl": "https://auth.example.com/authorize", "tokenUrl": "https://auth.example.com/token", "clientAuth": "client_secret_basic",
		}},
	}})
	for _, method := range []string{"service", "own"} {
		for name, credentials := range map[string]claviger.Credentials{"none": nil, "a client": secrets("clientId", "c", "clientSecret", "s")} {
			_, err := r.broker.CreateConnection(t.Context(), r.owner, broker.NewConnection{
				Connector: "acme", AuthMethod: method, Name: "x", Credentials: credentials, Settings: map[string]string{"host": "127.0.0.1"}, SkipValidation: true,
			})
			var e *claviger.Error
			if !errors.As(err, &e) || e.Kind != claviger.KindInvalid || e.FineCode() != "unsupported_auth_type" || e.Param != "authMethod" {
				t.Errorf("%s with %s: %v", method, name, err)
			}
		}
	}
	if list, err := r.db.Connections(t.Context(), r.owner.Scope, store.ConnectionFilter{}, store.Page{Limit: 10}); err != nil || len(list) != 0 {
		t.Errorf("%d connections are stored, %v", len(list), err)
	}
}
