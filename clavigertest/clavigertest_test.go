package clavigertest_test

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/client"
)

func TestMain(m *testing.M) { os.Exit(clavigertest.Run(m)) }

type call = clavigertest.Call

func proxy(connection, path string) string { return "/v1/connections/" + connection + "/proxy" + path }

func TestEveryAuthMethodReachesTheVendor(t *testing.T) {
	v := acme.Start(t, "ak_1234567890")
	s := clavigertest.Start(t, clavigertest.Options{EgressAllow: v.Addr()})
	for method, credentials := range map[string]map[string]string{
		"key": {"apiKey": "ak_1234567890"}, "query": {"apiKey": "ak_1234567890"}, "cookie": {"apiKey": "ak_1234567890"},
		"bearer": {"token": "ak_1234567890"}, "basic": {"username": "ada", "password": "ak_1234567890"},
		"custom": {"apiKey": "ak_1234567890", "partner": "pk_abcdef"},
	} {
		t.Run(method, func(t *testing.T) {
			id := s.Connect(t, v, "acme-"+method, method, credentials)
			for range 2 { // twice on the same connection: nothing may stick to it
				v.Forget()
				if method == "custom" {
					runsWithBody(t, s, v, id)
					continue
				}
				a := s.Do(call{Token: s.Key, Method: http.MethodPost, Path: proxy(id, "/things?b=1"), Body: map[string]any{"a": 1}})
				if a.Status != 200 || v.Last(t).Method != "POST" || string(v.Last(t).Body) != `{"a":1}` {
					t.Fatalf("%d %s", a.Status, a.Body)
				}
			}
		})
	}
}

// runsWithBody uses a connection whose credential travels in two headers and the body.
func runsWithBody(t *testing.T, s *clavigertest.Server, v *acme.Vendor, id string) {
	t.Helper()
	run := api.RunAction{ActionIdentifier: "acme-custom.create-contact", ConnectionID: id, Input: map[string]any{"name": "Ada"}}
	r, err := s.Client(s.Key).RunAction(t.Context(), run)
	if err != nil || r.Status != "succeeded" {
		t.Fatalf("%+v %v", r, err)
	}
	var body map[string]string
	got := v.Last(t)
	if err := json.Unmarshal(got.Body, &body); err != nil || body["name"] != "Ada" || body["partner_key"] != "pk_abcdef" ||
		got.Header.Get("X-Partner") != "pk_abcdef" || got.Header.Get("X-Api-Key") != "ak_1234567890" {
		t.Errorf("arrived: %s", got.Dump())
	}
}

func TestLifeOfAConnection(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		v := acme.Start(t, "ak_first_secret")
		s := clavigertest.Start(t, clavigertest.Options{Engine: engine, EgressAllow: v.Addr()})
		id := s.Connect(t, v, "acme", "key", map[string]string{"apiKey": "ak_first_secret"})
		c := s.Client(s.Key)
		got, err := c.Connection(t.Context(), id)
		if err != nil || got.Status != "active" || got.HealthStatus != "healthy" || got.Account.ID != "acct_7" || got.Credentials["apiKey"] != "***REDACTED***" {
			t.Fatalf("created: %+v %v", got, err)
		}
		test, err := c.TestConnection(t.Context(), id)
		if err != nil || test.Status != "passed" || len(test.Steps) != 3 {
			t.Fatalf("tested: %+v %v", test, err)
		}
		rotate(t, s, v, id)
		run := api.RunAction{ActionIdentifier: "acme.list-contacts", ConnectionID: id, Input: map[string]any{"limit": 3}}
		if r, err := c.RunAction(t.Context(), run); err != nil || r.Status != "succeeded" {
			t.Fatalf("ran: %+v %v", r, err)
		}
		if _, err := c.DisableConnection(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		before := len(v.Received())
		if a := s.Do(call{Token: s.Key, Method: "GET", Path: proxy(id, "/x")}); a.Status != 403 || a.Header.Get("Claviger-Error") != "connection_disabled" {
			t.Errorf("use of a disabled connection: %d %s", a.Status, a.Body)
		}
		if len(v.Received()) != before {
			t.Error("a disabled connection reached the vendor")
		}
		if _, err := c.EnableConnection(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if _, err := c.RunAction(t.Context(), run); err != nil {
			t.Errorf("after enabling: %v", err)
		}
		buried(t, s, id)
	})
}

// rotate tries a wrong key, after which the old one must still be in use, then a right one.
func rotate(t *testing.T, s *clavigertest.Server, v *acme.Vendor, id string) {
	t.Helper()
	patch := func(secret string) *clavigertest.Answer {
		return s.Do(call{Token: s.Key, Method: "PATCH", Path: "/v1/connections/" + id, Body: map[string]any{"credentials": map[string]string{"apiKey": secret}}})
	}
	use := func() string {
		t.Helper()
		if a := s.Do(call{Token: s.Key, Method: "GET", Path: proxy(id, "/x")}); a.Status != 200 {
			t.Fatalf("use: %d %s", a.Status, a.Body)
		}
		return v.Last(t).Header.Get("X-Api-Key")
	}
	for _, bad := range []struct{ secret, code string }{{"ak_wrong_secret", "invalid_credentials"}, {"nonsense", "invalid_format"}} {
		if a := patch(bad.secret); a.Status != 422 || a.Fault().Code != bad.code {
			t.Errorf("rotation to %s: %d %s", bad.secret, a.Status, a.Body)
		}
		if used := use(); used != "ak_first_secret" {
			t.Errorf("after the failed rotation %q was used", used)
		}
	}
	v.Accept("ak_first_secret", "ak_second_secret")
	if a := patch("ak_second_secret"); a.Status != 200 {
		t.Fatalf("rotation: %d %s", a.Status, a.Body)
	}
	v.Accept("ak_second_secret")
	if used := use(); used != "ak_second_secret" {
		t.Errorf("after the rotation %q was used", used)
	}
}

// buried deletes a connection and looks at what is left.
func buried(t *testing.T, s *clavigertest.Server, id string) {
	t.Helper()
	c := s.Client(s.Key)
	gone, err := c.DeleteConnection(t.Context(), id, false)
	if err != nil || gone.Status != "revoked" || len(gone.Revocations) == 0 {
		t.Fatalf("deleted: %+v %v", gone, err)
	}
	if a := s.Do(call{Token: s.Key, Method: "GET", Path: proxy(id, "/x")}); a.Status != 409 || a.Header.Get("Claviger-Error") != "connection_revoked" {
		t.Errorf("use of a deleted connection: %d %s", a.Status, a.Body)
	}
	for conn, err := range c.Connections(t.Context(), client.ConnectionQuery{}) {
		if err != nil || conn.ID == id {
			t.Errorf("a deleted connection is listed: %v %v", conn.ID, err)
		}
	}
}
