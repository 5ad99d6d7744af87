package clavigertest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// Assertions of keys that connections bring: as Google's service accounts, and as
// Salesforce and DocuSign want them.
func TestGrants_JWTBearer(t *testing.T) {
	private, public, _ := signing(t)
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "svc@acme.example", "private_key": private, "private_key_id": "k1", "token_uri": "https://evil.example/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		for name, way := range map[string]struct{ fields, rules, issuer, subject string }{
			"service account": {
				`{"key":"serviceAccount","type":"json","secret":true,"required":true},{"key":"subject"}`,
				`,"assertion":{"scopeClaim":"scope","lifetime":"1h"}`, "svc@acme.example", "ada@acme.example",
			},
			"key": {
				`{"key":"clientId","required":true},{"key":"privateKey","type":"file","secret":true,"required":true},{"key":"subject","required":true}`,
				`,"assertion":{"lifetime":"3m","backdate":"30s"}`, "consumer-key", "ada",
			},
		} {
			t.Run(name, func(t *testing.T) {
				c := &clock{at: time.Now()}
				x := newGrant(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{ClientAuth: claviger.ClientAuthNone, ClientKey: public, Issuer: way.issuer, Now: c.now},
					`"fields":[`+way.fields+`],"oauth2":{"grant":"jwtBearer","clientAuth":"none","tokenUrl":"%[1]s/token","scopes":["a","b"]`+way.rules+`}`)
				credentials := map[string]string{"serviceAccount": string(file), "subject": way.subject}
				if name == "key" {
					credentials = map[string]string{"clientId": way.issuer, "privateKey": private, "subject": way.subject}
				}
				conn, err := x.create("service", credentials)
				if err != nil || sorted(conn.GrantedScopes) != "a b" {
					t.Fatalf("%+v, %v", conn, err)
				}
				x.lives(c, conn.ID)
				form := x.vendor.Received("/token")[0].Form
				if form.Has("client_id") || form.Has("scope") == (name == "service account") {
					t.Errorf("sent %v", sorted(keysOf(form)))
				}
				for key := range credentials {
					if key == "subject" {
						continue
					}
					broken := map[string]string{}
					for k, v := range credentials {
						broken[k] = v
					}
					broken[key] = "{}"
					_, err := x.create("broken", broken)
					if key == "clientId" {
						refused(t, err, 422, "invalid_credentials") // the vendor's invalid_grant
					} else {
						refused(t, err, 422, "invalid_format")
					}
				}
			})
		}
	})
}

func keysOf(m map[string][]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// An app's installation, as at GitHub: the organization's client is the app, the
// connection says which installation.
func TestGrants_Installation(t *testing.T) {
	private, public, _ := signing(t)
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{at: time.Now()}
		x := newGrant(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{ClientKey: public, Issuer: "12345", Now: c.now},
			`"oauth2":{"grant":"installation","clientAuth":"private_key_jwt","tokenUrl":"%[1]s/app/installations/${installation}/access_tokens","scopes":[],
			"assertion":{"lifetime":"9m","backdate":"60s"},"tokenResponse":{"accessToken":"$.token","expiresAt":"$.expires_at"}}`)
		if _, err := x.api.PutOAuthClient(t.Context(), "acme", api.PutOAuthClient{ClientID: "12345", PrivateKey: private}); err != nil {
			t.Fatal(err)
		}
		conn, err := x.api.CreateConnection(t.Context(), api.CreateConnection{
			Connector: "acme", AuthMethod: "oauth", Name: "app", Settings: map[string]string{"installation": "77"},
		})
		if err != nil || conn.ExpiresAt == nil {
			t.Fatalf("%+v, %v", conn, err)
		}
		const path = "/app/installations/77/access_tokens"
		x.works(conn.ID)
		c.move(2 * time.Hour)
		x.api = x.Client(x.Key)
		x.works(conn.ID)
		if sent := x.vendor.Received(path); len(sent) != 2 || sent[0].Body != "" || sent[0].Header.Get("Authorization") == sent[1].Header.Get("Authorization") {
			t.Errorf("%d requests for tokens", len(sent))
		}
		_, err = x.create("nowhere", nil)
		refused(t, err, 422, "invalid_connector")
	})
}

// A token for a token: of a value that is given once, or of another connection's, which
// is fresh each time.
func TestGrants_TokenExchange(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{at: time.Now()}
		x := newGrant(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{Now: c.now}, minting(claviger.ClientSecretBasic, ""))
		put := api.PutOAuthClient{ClientID: x.vendor.Client.ID, ClientSecret: reveal(x.vendor.Client.Secret)}
		if _, err := x.api.PutOAuthClient(t.Context(), "acme", put); err != nil {
			t.Fatal(err)
		}
		subject, err := x.create("subject", nil)
		if err != nil {
			t.Fatal(err)
		}
		x.publish(`"fields":[{"key":"subjectToken","secret":true},{"key":"subjectConnection"}],
			"oauth2":{"grant":"tokenExchange","clientAuth":"client_secret_basic","tokenUrl":"%[1]s/token","scopes":["narrow"]}`)
		conn, err := x.create("exchanged", map[string]string{"subjectConnection": subject.ID})
		if err != nil || sorted(conn.GrantedScopes) != "narrow" {
			t.Fatalf("%+v, %v", conn, err)
		}
		x.works(conn.ID)
		c.move(2 * time.Hour)
		x.api = x.Client(x.Key)
		x.works(conn.ID)
		sent := x.vendor.Received("/token")
		if len(sent) != 4 || sent[3].Form.Get("subject_token") == sent[1].Form.Get("subject_token") || sent[3].Form.Get("grant_type") == sent[2].Form.Get("grant_type") {
			t.Errorf("%d requests for tokens; the subject was not renewed first", len(sent))
		}
		for name, credentials := range map[string]map[string]string{
			"in a circle": {"subjectConnection": conn.ID},
			"unknown":     {"subjectConnection": "conn_01jd5z8k4xe3vbmt0q6y2r9whc"},
			"no id":       {"subjectConnection": "subject"},
		} {
			_, err := x.create(name, credentials)
			refused(t, err, 422, "unknown_connection")
		}
		_, err = x.create("dead", map[string]string{"subjectToken": "at_unknown"})
		refused(t, err, 502, "oauth_request_refused")
		// The one that has to be connected again is the subject, and errors say so.
		c.move(2 * time.Hour)
		x.api = x.Client(x.Key)
		x.vendor.Next(oauthserver.Fault{Skip: true, Status: 400, Body: `{"error":"invalid_grant"}`})
		for range 3 {
			a := x.Do(call{Token: x.Key, Method: "GET", Path: proxy(conn.ID, "/userinfo")})
			if f := a.Fault(); a.Status != 424 || f.Code != "reauthorization_required" || f.ReconnectURL == "" {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		}
		a := x.Do(call{Token: x.Key, Method: "POST", Path: "/v1/connections", Body: map[string]any{
			"connector": "acme", "authMethod": "oauth", "name": "another", "credentials": map[string]string{"subjectConnection": subject.ID},
		}})
		if f := a.Fault(); a.Status != 424 || !strings.HasSuffix(f.ReconnectURL, "/connect/"+subject.ID) || len(f.References) != 1 || f.References[0].ID != subject.ID {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if now, err := x.api.Connection(t.Context(), conn.ID); err != nil || now.Status != "active" {
			t.Errorf("%+v, %v", now, err)
		}
	})
}

// Another's personal connection cannot be exchanged, nor one of another organization.
func TestGrants_TokenExchangeStaysAtHome(t *testing.T) {
	x := newGrant(t, clavigertest.Options{}, oauthserver.Policy{}, minting(claviger.ClientSecretBasic, ""))
	put := api.PutOAuthClient{ClientID: x.vendor.Client.ID, ClientSecret: reveal(x.vendor.Client.Secret)}
	if _, err := x.api.PutOAuthClient(t.Context(), "acme", put); err != nil {
		t.Fatal(err)
	}
	personal, err := x.api.CreateConnection(t.Context(), api.CreateConnection{Connector: "acme", AuthMethod: "oauth", Name: "personal", Visibility: "personal"})
	if err != nil {
		t.Fatal(err)
	}
	x.publish(`"fields":[{"key":"subjectConnection","required":true}],
		"oauth2":{"grant":"tokenExchange","clientAuth":"client_secret_basic","tokenUrl":"%[1]s/token","scopes":[]}`)
	before := len(x.vendor.Received("/token"))
	x.api = x.Client(x.operator()) // the application, which is not the person
	_, err = x.create("theft", map[string]string{"subjectConnection": personal.ID})
	refused(t, err, 422, "unknown_connection")
	if n := len(x.vendor.Received("/token")) - before; n != 0 {
		t.Errorf("%d requests for tokens", n)
	}
}

// What an issuer says later changes nothing for the version of a connector that was
// approved before; a new version takes it.
func TestAbuse_067_DiscoveredEndpointsArePinned(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{at: time.Now()}
		const method = `"oauth2":{"grant":"clientCredentials","clientAuth":"client_secret_basic","issuer":"%[1]s","scopes":[]}`
		x := newGrant(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{Now: c.now}, method)
		put := api.PutOAuthClient{ClientID: x.vendor.Client.ID, ClientSecret: reveal(x.vendor.Client.Secret)}
		if _, err := x.api.PutOAuthClient(t.Context(), "acme", put); err != nil {
			t.Fatal(err)
		}
		const metadata = "/.well-known/openid-configuration"
		hostile := func(change map[string]any) {
			x.vendor.Next(oauthserver.Fault{Change: change})
		}
		for name, change := range map[string]map[string]any{
			"plain http":   {"token_endpoint": "http://127.0.0.1/token"},
			"another host": {"token_endpoint": "https://evil.example/token"},
			"metadata":     {"token_endpoint": "https://169.254.169.254/token"},
			"script":       {"authorization_endpoint": "javascript:alert(1)"},
			"flag":         {"authorization_endpoint": "--flag"},
			"other issuer": {"issuer": "https://evil.example"},
		} {
			hostile(change)
			_, err := x.create(name, nil)
			refused(t, err, 502, "invalid_metadata")
		}
		conn, err := x.create("service", nil)
		if err != nil {
			t.Fatal(err)
		}
		looked := len(x.vendor.Received(metadata))
		x.lives(c, conn.ID) // the metadata are looked at again, and say:
		if n := len(x.vendor.Received(metadata)) - looked; n != 1 {
			t.Errorf("looked %d times after the document's time was over", n)
		}
		c.move(25 * time.Hour)
		x.api = x.Client(x.Key)
		hostile(map[string]any{"token_endpoint": x.vendor.URL + "/elsewhere"})
		x.works(conn.ID)
		if _, err := x.create("after", nil); err != nil {
			t.Errorf("a new connection of the same version: %v", err)
		}
		if n := len(x.vendor.Received("/elsewhere")); n != 0 {
			t.Errorf("the other endpoint got %d requests", n)
		}
		if !strings.Contains(x.Logs.String(), "metadata changed") {
			t.Error("the change is not in the log")
		}
		x.publish(method + `,"label":"approved again"`)
		hostile(map[string]any{"token_endpoint": x.vendor.URL + "/elsewhere"})
		if _, err := x.create("approved", nil); err == nil || len(x.vendor.Received("/elsewhere")) != 1 {
			t.Errorf("the new version: %v", err)
		}
		x.vendor.Next(oauthserver.Fault{Skip: true, Status: http.StatusServiceUnavailable, Body: "{}"})
		c.move(25 * time.Hour)
		x.api = x.Client(x.Key)
		x.works(conn.ID) // a server that says nothing of itself now is no reason to stop
	})
}
