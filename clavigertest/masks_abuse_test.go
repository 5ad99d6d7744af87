package clavigertest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
)

// optional is a vendor's connector whose second secret may be missing.
func optional(v *acme.Vendor) []byte {
	secret := `{"key":"partner","label":"partner","secret":true,"required":true}`
	return []byte(strings.Replace(string(v.Document("acme")), secret, strings.Replace(secret, `,"required":true`, "", 1), 1))
}

func TestAbuse_182_AMaskIsNoValueAndNullClears(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		v := acme.Start(t, "ak_behind_the_mask")
		s := clavigertest.Start(t, clavigertest.Options{Engine: engine, EgressAllow: v.Addr()})
		if _, err := s.Client(s.Key).PutConnector(t.Context(), "acme", optional(v)); err != nil {
			t.Fatal(err)
		}
		made, err := s.Client(s.Key).CreateConnection(t.Context(), api.CreateConnection{
			Connector: "acme", AuthMethod: "custom", Name: "masked", Credentials: map[string]string{"apiKey": "ak_behind_the_mask", "partner": "pk_behind_the_mask"},
		})
		if err != nil {
			t.Fatal(err)
		}
		path := "/v1/connections/" + made.ID
		patch := func(body any) *clavigertest.Answer {
			return s.Do(call{Token: s.Key, Method: "PATCH", Path: path, Body: body})
		}
		use := func() (key, partner string) {
			t.Helper()
			if a := s.Do(call{Token: s.Key, Method: "POST", Path: "/v1/actions/run", Body: map[string]any{
				"actionIdentifier": "acme.create-contact", "connectionId": made.ID, "input": map[string]string{"name": "Ada"},
			}}); a.Field("status") != "succeeded" {
				t.Fatalf("it no longer works: %d %s", a.Status, a.Body)
			}
			r := v.Last(t)
			return r.Header.Get("X-Api-Key"), r.Header.Get("X-Partner")
		}
		masks := []string{
			made.Credentials["partner"], "***REDACTED***", "Bearer ***REDACTED***", "••••••••", "••••", "●●●●●●", "∙∙∙∙∙", "········", "********", "***", " **** ", "[redacted]", "[REDACTED]", "<redacted>", "REDACTED",
			"redacted", "(masked)", "MASKED", "********REDACTED", "",
		}
		for _, mask := range masks {
			for _, field := range []string{"apiKey", "partner"} {
				for _, skip := range []bool{false, true} {
					a := patch(map[string]any{"credentials": map[string]string{field: mask}, "validate": !skip})
					if f := a.Fault(); a.Status != 422 || f.Param != "credentials."+field {
						t.Errorf("%s set to %q: %d %s", field, mask, a.Status, a.Body)
					}
				}
			}
			if a := s.Do(call{Token: s.Key, Method: "PUT", Path: "/v1/secrets/shared/masked", Body: map[string]string{"value": mask}}); a.Status != 422 || a.Fault().Param != "value" {
				t.Errorf("a kv:// secret %q: %d %s", mask, a.Status, a.Body)
			}
		}
		// What is left out stays; a value with stars in it is one.
		if a := patch(map[string]any{"name": "renamed", "credentials": map[string]string{"partner": "pk_with_***_stars"}}); a.Status != 200 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if key, partner := use(); key != "ak_behind_the_mask" || partner != "pk_with_***_stars" {
			t.Errorf("in use are %q and %q", key, partner)
		}
		// null clears what may be missing, as an entry of the ledger says, and no more.
		if a := patch(`{"credentials":{"apiKey":null}}`); a.Status != 422 {
			t.Errorf("a required value is gone: %d %s", a.Status, a.Body)
		}
		a := patch(`{"credentials":{"partner":null}}`)
		var shown api.Connection
		if err := json.Unmarshal(a.Body, &shown); err != nil || a.Status != 200 {
			t.Fatalf("%d %s %v", a.Status, a.Body, err)
		}
		if _, there := shown.Credentials["partner"]; there {
			t.Errorf("it is still shown: %v", shown.Credentials)
		}
		if key, partner := use(); key != "ak_behind_the_mask" || partner != "" {
			t.Errorf("in use are %q and %q", key, partner)
		}
		eventually(t, "clearing is in the ledger", func() bool {
			return len(s.Audit(t, s.Key, "verb=connections:update&outcome=succeeded&requestId="+a.Header.Get("Claviger-Request-Id"))) > 0
		})
	})
}
