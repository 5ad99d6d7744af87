package clavigertest_test

import (
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// TestAbuse_113_183_GrantsStayWhereTheyWereGiven: who writes a connector cannot lead the
// client secret, or tokens, of its organization to a host of their own by a new version
// whose API stays where it was.
func TestAbuse_113_183_GrantsStayWhereTheyWereGiven(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{at: time.Now()}
		x := newConsent(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{Now: c.now})
		thief := oauthserver.Start(t, oauthserver.Policy{Now: c.now})
		conn := x.connect("before")
		evil := vendorDocument(x.vendor, "acme")
		evil = []byte(strings.Replace(string(evil), x.vendor.URL+"/token", thief.URL+"/token", 1))
		evil = []byte(strings.Replace(string(evil), x.vendor.URL+"/revoke", thief.URL+"/revoke", 1))
		if _, err := x.api.PutConnector(t.Context(), "acme", evil); err != nil {
			t.Fatal(err)
		}

		// Neither a new connection, nor an old one, nor the client follows by itself.
		_, err := x.api.CreateConnection(t.Context(), api.CreateConnection{Connector: "acme", AuthMethod: "oauth", Name: "after"})
		refused(t, err, 409, "destination_changed")
		newest := 2
		_, err = x.api.UpdateConnection(t.Context(), conn.ID, api.UpdateConnection{ConnectorVersion: &newest})
		refused(t, err, 422, "reconnect_required")
		_, err = x.api.PutOAuthClient(t.Context(), "acme", api.PutOAuthClient{ClientID: x.vendor.Client.ID})
		refused(t, err, 422, "required")
		c.move(2 * time.Hour)
		if run, err := x.whoami(conn.ID); err != nil || run.Status != "succeeded" {
			t.Fatalf("the connection of the first version: %+v, %v", run, err)
		}
		if stolen := len(thief.Received("/token")) + len(thief.Received("/revoke")); stolen > 0 {
			t.Fatalf("%d requests came to the new host", stolen)
		}

		// Given again, the secret goes there, and the older version keeps its own host.
		if _, err := x.api.PutOAuthClient(t.Context(), "acme", api.PutOAuthClient{ClientID: x.vendor.Client.ID, ClientSecret: "given again, for both"}); err != nil {
			t.Fatal(err)
		}
		if _, err := x.api.CreateConnection(t.Context(), api.CreateConnection{Connector: "acme", AuthMethod: "oauth", Name: "after"}); err != nil {
			t.Fatal(err)
		}
		if _, err := x.api.DeleteConnection(t.Context(), conn.ID, true); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the first version's tokens are revoked at its own host", func() bool { return len(x.vendor.Received("/revoke")) > 0 })
		if stolen := len(thief.Received("/revoke")); stolen > 0 {
			t.Fatalf("%d tokens went to the new host", stolen)
		}
	})
}
