package clavigertest_test

import (
	"net/http"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// A request that names its tenant by half, or not at all, gets nothing: no credential of the
// process, of the first organization or of a default stands in.
func TestAbuse_014_HalfATenant(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn := x.connect("mine")
	asked := len(x.vendor.Received(""))
	tokens := "/api/v1/account/applications/token"
	for name, c := range map[string]call{
		"no secret":        {Path: tokens, Body: map[string]string{"client_id": x.ClientID}},
		"no id":            {Path: tokens, Body: map[string]string{"client_secret": x.ClientSecret}},
		"an empty id":      {Path: tokens, Body: map[string]string{"client_id": "", "client_secret": x.ClientSecret}},
		"an empty secret":  {Path: tokens, Body: map[string]string{"client_id": x.ClientID, "client_secret": ""}},
		"two empty halves": {Path: tokens, Body: map[string]string{"client_id": "", "client_secret": ""}},
		"nothing":          {Path: tokens, Body: map[string]string{}},
	} {
		c.Method = "POST"
		if a := x.Do(c); a.Status < 400 || a.Status >= 500 || a.Field("access_token") != "" {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	scoped := x.Do(call{Token: x.operator(), Method: "POST", Path: "/api/v1/embedded/scoped-token", Body: map[string]string{}})
	if scoped.Status < 400 {
		t.Errorf("a scoped token for no workspace: %d", scoped.Status)
	}
	for name, header := range map[string]http.Header{
		"none": {}, "an empty bearer": {"Authorization": {"Bearer "}}, "no bearer": {"Authorization": {""}}, "an empty key": {"Api-Key": {""}},
		"a kind alone": {"Authorization": {"Bearer clv_key_"}}, "half a key": {"Authorization": {"Bearer " + x.Key[:len(x.Key)/2]}},
		"a bearer and an empty key": {"Authorization": {"Bearer " + x.Key[:20]}, "Api-Key": {""}},
		"the organization alone":    {"X-Organization": {"default"}, "Claviger-Organization": {"default"}, "X-Workspace-Id": {conn.WorkspaceID}},
		"a user without a password": {"Authorization": {"Basic " + "ZGVmYXVsdDo="}},
	} {
		for _, c := range []call{
			{Method: "GET", Path: proxy(conn.ID, "/userinfo")},
			{Method: "POST", Path: "/v1/actions/run", Body: map[string]any{"actionIdentifier": "acme.whoami", "connectionId": conn.ID, "input": map[string]any{}}},
			{Method: "POST", Path: "/v1/connections", Body: map[string]string{"connector": "acme", "authMethod": "oauth", "name": name}},
			{Method: "POST", Path: "/v1/connect/sessions", Body: map[string]any{"user": map[string]string{"id": "u"}, "allowedConnectors": []string{"acme"}}},
			{Method: "GET", Path: "/v1/expirations.ics"},
			{Method: "GET", Path: "/v1/connections"},
		} {
			c.Header = header
			if a := x.Do(c); a.Status != 401 && a.Status != 400 {
				t.Errorf("%s, %s %s: %d %s", name, c.Method, c.Path, a.Status, a.Body)
			}
		}
	}
	// A tenant of its own that has set nothing up borrows nothing either.
	other := x.Do(call{Token: x.Key, Method: "POST", Path: "/v1/organizations", Body: map[string]string{"name": "other"}}).Field("apiKey")
	c := x.Client(other)
	if _, err := c.PutConnector(t.Context(), "acme", vendorDocument(x.vendor, "acme")); err != nil {
		t.Fatal(err)
	}
	_, err := c.CreateConnection(t.Context(), api.CreateConnection{Connector: "acme", AuthMethod: "oauth", Name: "x", WorkspaceID: conn.WorkspaceID})
	refused(t, err, 404, "not_found")
	_, err = c.CreateConnection(t.Context(), api.CreateConnection{Connector: "acme", AuthMethod: "oauth", Name: "x"})
	refused(t, err, 409, "oauth_client_missing")
	if n := len(x.vendor.Received("")); n != asked {
		t.Errorf("the vendor was asked %d times", n-asked)
	}
}
