package broker_test

import (
	"testing"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/store"
)

func TestCreateInThreeSteps(t *testing.T) {
	r := newRoom(t)
	r.publish(nil)
	r.connect(r.owner, "taken", "ak_good", nil)
	for _, c := range []struct {
		name   string
		change func(*broker.NewConnection)
		want   string
	}{
		{"format", func(in *broker.NewConnection) { in.Credentials = secrets("apiKey", "no") }, "invalid_format credentials.apiKey"},
		{"missing", func(in *broker.NewConnection) { in.Credentials = nil }, "invalid_format credentials.apiKey"},
		{"redaction mark", func(in *broker.NewConnection) { in.Credentials = secrets("apiKey", "***REDACTED***") }, "invalid_format credentials.apiKey"},
		{"unknown field", func(in *broker.NewConnection) { in.Credentials = secrets("apiKey", "ak_good", "x", "y") }, "unknown_credential credentials.x"},
		{"refused", func(in *broker.NewConnection) { in.Credentials = secrets("apiKey", "ak_bad") }, "invalid_credentials credentials"},
		{"scope", func(in *broker.NewConnection) { in.Credentials = secrets("apiKey", "ak_narrow") }, "insufficient_scope credentials"},
		{"limited", func(in *broker.NewConnection) { in.Credentials = secrets("apiKey", "ak_slow") }, "upstream_rate_limited"},
		{"down", func(in *broker.NewConnection) { in.Credentials = secrets("apiKey", "ak_down") }, "unreachable"},
		{"setting", func(in *broker.NewConnection) { in.Settings = map[string]string{"host": "evil.example"} }, "invalid_format settings.host"},
		{"foreign secret", func(in *broker.NewConnection) { in.Credentials = secrets("apiKey", "kv://other/key") }, "foreign_secret_path credentials.apiKey"},
		{"no such secret", func(in *broker.NewConnection) { in.Credentials = secrets("apiKey", "kv://acme/key") }, "secret_missing"},
		{"name taken", func(in *broker.NewConnection) { in.Name = "taken" }, "name_taken name"},
		{"usage", func(in *broker.NewConnection) { in.Usage = "x" }, "invalid_format usage"},
		{"connector", func(in *broker.NewConnection) { in.Connector = "none" }, "unknown_connector connector"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := broker.NewConnection{
				Connector: "acme", AuthMethod: "key", Name: "new", Credentials: secrets("apiKey", "ak_good"), Settings: map[string]string{"host": "127.0.0.1"},
			}
			c.change(&in)
			_, err := r.broker.CreateConnection(t.Context(), r.owner, in)
			if code(err) != c.want {
				t.Errorf("%q, want %q", code(err), c.want)
			}
		})
	}
	list, _, err := r.broker.Connections(t.Context(), r.owner, broker.ConnectionFilter{}, broker.Page{})
	if err != nil || len(list) != 1 {
		t.Errorf("something was stored: %d %v", len(list), err)
	}
}

// Whatever goes wrong with new credentials, the old ones go on working.
func TestFailedRotationKeepsTheOld(t *testing.T) {
	r := newRoom(t)
	r.publish(nil)
	id := r.connect(r.owner, "one", "ak_good", func(in *broker.NewConnection) { in.Credentials = secrets("apiKey", "ak_good", "extra", "x1") }).ID
	for value, want := range map[string]string{
		"no": "invalid_format credentials.apiKey", "ak_bad": "invalid_credentials credentials", "ak_narrow": "insufficient_scope credentials",
		"ak_down": "unreachable", "ak_other": "account_mismatch", "***REDACTED***": "invalid_format credentials.apiKey",
	} {
		_, err := r.broker.UpdateConnection(t.Context(), r.owner, broker.ConnectionChange{ID: id, Credentials: secrets("apiKey", value)})
		if code(err) != want {
			t.Errorf("%s: %q, want %q", value, code(err), want)
		}
		if _, err := r.run(id); err != nil {
			t.Fatal(err)
		}
		if key, _ := r.vendor.header("X-Api-Key"); key != "ak_good" {
			t.Fatalf("after %s the vendor got %s", value, key)
		}
	}
	out := must(r.broker.UpdateConnection(t.Context(), r.owner, broker.ConnectionChange{
		ID: id, Credentials: secrets("apiKey", "ak_other"), ClearCredentials: []string{"extra"}, AllowAccountChange: true,
	}))(t).Connection
	if out.Account.ID != "2" || len(out.SecretKeys) != 1 {
		t.Errorf("%+v", out)
	}
	must(r.run(id))(t)
	if key, _ := r.vendor.header("X-Api-Key"); key != "ak_other" {
		t.Errorf("the vendor got %s", key)
	}
	if extra, _ := r.vendor.header("X-Extra"); extra != "" {
		t.Errorf("a cleared value was sent: %s", extra)
	}
}

// A secret does not move to another origin with a setting, not even an optional one, and
// not behind the approval of another version of the connector.
func TestSecretsDoNotMoveWithSettings(t *testing.T) {
	r := newRoom(t)
	r.publish(nil)
	id := r.connect(r.owner, "one", "ak_good", func(in *broker.NewConnection) { in.Credentials = secrets("apiKey", "ak_good", "extra", "x1") }).ID
	r.publish(map[string]any{"name": "Acme 2"})
	two, elsewhere := 2, map[string]string{"host": "example.com"}
	for _, c := range []struct {
		name string
		in   broker.ConnectionChange
		want string
	}{
		{"alone", broker.ConnectionChange{Settings: elsewhere}, "secret_required credentials.apiKey"},
		{"without validation", broker.ConnectionChange{Settings: elsewhere, SkipValidation: true}, "secret_required credentials.apiKey"},
		{"with a version", broker.ConnectionChange{Settings: elsewhere, ConnectorVersion: &two}, "secret_required credentials.apiKey"},
		{"without the optional one", broker.ConnectionChange{Settings: elsewhere, Credentials: secrets("apiKey", "ak_good")}, "secret_required credentials.extra"},
		{"cleared", broker.ConnectionChange{Settings: elsewhere, Credentials: secrets("apiKey", "ak_good"), ClearCredentials: []string{"extra"}, SkipValidation: true}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.ID = id
			_, before := r.vendor.header("")
			_, err := r.broker.UpdateConnection(t.Context(), r.owner, c.in)
			if code(err) != c.want {
				t.Errorf("%q, want %q", code(err), c.want)
			}
			if _, after := r.vendor.header(""); c.want != "" && after != before {
				t.Error("a refused change called the vendor")
			}
		})
	}
}

func TestVersionIsApprovedByItsOwner(t *testing.T) {
	r := newRoom(t)
	r.publish(nil)
	id := r.connect(r.owner, "one", "ak_good", nil).ID
	elsewhere := "https://example.com:" + r.vendor.port(t)
	r.publish(map[string]any{"baseUrl": elsewhere + "/v2"})
	must(r.run(id))(t)
	two, nine := 2, 9
	if _, err := r.broker.UpdateConnection(t.Context(), r.developer(), broker.ConnectionChange{ID: id, ConnectorVersion: &two}); code(err) != "permission_denied" {
		t.Errorf("somebody else: %v", err)
	}
	if _, err := r.broker.UpdateConnection(t.Context(), r.owner, broker.ConnectionChange{ID: id, ConnectorVersion: &nine}); code(err) != "unknown_version connectorVersion" {
		t.Errorf("no such version: %v", err)
	}
	out := must(r.broker.UpdateConnection(t.Context(), r.owner, broker.ConnectionChange{ID: id, ConnectorVersion: &two, SkipValidation: true}))(t)
	if out.Connection.ConnectorVersion != 2 || out.Connection.Destination != "acme "+elsewhere {
		t.Errorf("%+v", out.Connection)
	}
}

func TestUncheckedCredentialsEndTheWait(t *testing.T) {
	r := newRoom(t)
	r.publish(nil)
	id := r.connect(r.owner, "one", "ak_good", nil).ID
	err := r.db.InTx(t.Context(), "", func(tx *store.Tx) error {
		_, err := tx.UpdateConnection(t.Context(), r.owner.Scope, id, func(c claviger.Connection, s claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
			c.Status = claviger.StatusReauthorize
			return c, s, nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.run(id); !claviger.IsKind(err, claviger.KindReauthorize) || claviger.AsError(err).Reconnect == "" {
		t.Errorf("used: %v", err)
	}
	name := "renamed"
	out := must(r.broker.UpdateConnection(t.Context(), r.owner, broker.ConnectionChange{ID: id, Name: &name, SkipValidation: true}))(t)
	if out.Connection.Status != claviger.StatusReauthorize {
		t.Errorf("a new name made it %s", out.Connection.Status)
	}
	out = must(r.broker.UpdateConnection(t.Context(), r.owner, broker.ConnectionChange{ID: id, Credentials: secrets("apiKey", "ak_new"), SkipValidation: true}))(t)
	if out.Connection.Status != claviger.StatusActive || out.Connection.Health != claviger.HealthUnknown {
		t.Errorf("%s, %s", out.Connection.Status, out.Connection.Health)
	}
}
