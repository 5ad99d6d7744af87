package clavigertest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oidcprovider"
)

const certifiedSecret = "s/cr+t%3A:&=~!" // every character that some encoding forgets

// certified is a server with connectors of the certified provider, by method.
type certified struct {
	*consent
	provider *oidcprovider.Provider
}

// newCertified starts both. Clients of the provider are named like the connectors.
func newCertified(t *testing.T, o clavigertest.Options, public *jose.JSONWebKey) *certified {
	t.Helper()
	o.EgressAllow = "127.0.0.1"
	s := clavigertest.Start(t, o)
	x := &certified{consent: &consent{Server: s, t: t, api: s.Client(s.Key)}}
	who, err := x.api.Whoami(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := func(id, auth string, grants []string, more oidcprovider.Client) oidcprovider.Client {
		out := oidcprovider.Client{
			"client_id": id, "token_endpoint_auth_method": auth, "grant_types": grants, "application_type": "native",
			"response_types": []string{}, "redirect_uris": []string{},
		}
		if grants[0] == "authorization_code" {
			out["response_types"], out["redirect_uris"] = []string{"code"}, []string{s.URL + "/oauth/callback/" + who.OrganizationID + "/" + id}
		}
		if auth == "client_secret_basic" {
			out["client_secret"] = certifiedSecret
		}
		for name, value := range more {
			out[name] = value
		}
		return out
	}
	people := []string{"authorization_code", "refresh_token"}
	x.provider = oidcprovider.Start(t, []oidcprovider.Client{
		client("people", "client_secret_basic", people, nil),
		client("bound", "client_secret_basic", people, oidcprovider.Client{"dpop_bound_access_tokens": true}),
		client("devices", "client_secret_basic", []string{"urn:ietf:params:oauth:grant-type:device_code", "refresh_token"}, nil),
		client("services", "private_key_jwt", []string{"client_credentials"}, oidcprovider.Client{
			"jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{*public}}, "token_endpoint_auth_signing_alg": "ES256",
		}),
	}, []string{"contacts.read"})
	return x
}

// connector stores a connector whose tokens come from the provider and whose API is at
// base, and its client.
func (x *certified) connector(key, base, oauth, path string, put api.PutOAuthClient) {
	x.t.Helper()
	document := fmt.Sprintf(`{"key":%q,"name":"Certified","kind":"http","baseUrl":%q,"allowedHosts":["127.0.0.1"],"auth":[{"key":"oauth","type":"oauth2",
		"oauth2":{"issuer":%q,"scopes":["openid","offline_access","contacts.read"],%s},
		"test":{"method":"GET","path":%q,"expectStatus":[200],"account":{"id":"$.sub"}},"permissions":{"from":"token"}}]}`, key, base, x.provider.Issuer, oauth, path)
	if _, err := x.api.PutConnector(x.t.Context(), key, []byte(document)); err != nil {
		x.t.Fatal(err)
	}
	if _, err := x.api.PutOAuthClient(x.t.Context(), key, put); err != nil {
		x.t.Fatal(err)
	}
}

func (x *certified) pending(key string) api.Connection {
	x.t.Helper()
	conn, err := x.api.CreateConnection(x.t.Context(), api.CreateConnection{Connector: key, AuthMethod: "oauth", Name: key})
	if err != nil {
		x.t.Fatal(err)
	}
	return conn
}

// me asks whose token the connection has.
func (x *certified) me(id string) {
	x.t.Helper()
	if a := x.Do(call{Token: x.Key, Method: "GET", Path: proxy(id, "/me")}); a.Status != 200 || a.Field("sub") != "ada" {
		x.t.Errorf("%d %s", a.Status, a.Body)
	}
}

// consents goes the whole way with a browser of ours and one at the provider's.
func (x *certified) consents(t *testing.T, key string) {
	t.Helper()
	conn, b := x.pending(key), x.browser()
	address := b.leave(conn.AuthorizeURL)
	back, err := url.Parse(query(t, address).Get("redirect_uri"))
	if err != nil {
		t.Fatal(err)
	}
	page := b.get(back.Path + "?" + x.provider.Consent(t, address, "ada"))
	done, err := x.api.FinishConnection(t.Context(), conn.ID, shownCode(t, page))
	if err != nil || done.Account.ID != "ada" || !strings.Contains(sorted(done.GrantedScopes), "contacts.read") {
		t.Fatalf("%+v, %v", done, err)
	}
	x.me(conn.ID)
	gone, err := x.api.DeleteConnection(t.Context(), conn.ID, false)
	if err != nil || gone.Status != "revoked" {
		t.Fatalf("%+v, %v", gone, err)
	}
	eventually(t, "both tokens are revoked", func() bool {
		now, err := x.api.Connection(t.Context(), conn.ID)
		return err == nil && len(now.Revocations) == 2 && now.Revocations[0].Verdict == "revoked" && now.Revocations[1].Verdict == "revoked"
	})
}

// The whole product before a certified server that we did not write: authorization code
// with discovery, nonce and id token, bound tokens, devices, and services that sign.
func TestGrants_Certified(t *testing.T) {
	private, public, _ := signing(t)
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newCertified(t, clavigertest.Options{Engine: engine}, public)
		secret := func(id string) api.PutOAuthClient {
			return api.PutOAuthClient{ClientID: id, ClientSecret: certifiedSecret}
		}
		const code = `"grant":"authorizationCode","clientAuth":"client_secret_basic","checkIssuer":true,"oidc":{"nonce":true,"idToken":true},"authorizeParams":{"prompt":"consent"}`
		t.Run("authorization code", func(t *testing.T) {
			x.connector("people", x.provider.Issuer, code, "/me", secret("people"))
			x.consents(t, "people")
		})
		t.Run("DPoP", func(t *testing.T) {
			x.connector("bound", x.provider.Issuer, code+`,"dpop":true`, "/me", secret("bound"))
			x.consents(t, "bound")
		})
		t.Run("device", func(t *testing.T) {
			x.connector("devices", x.provider.Issuer, `"grant":"device","clientAuth":"client_secret_basic"`, "/me", secret("devices"))
			conn := x.pending("devices")
			x.provider.Consent(t, conn.VerificationURIComplete, "ada")
			eventually(t, "the connection is active", func() bool {
				now, err := x.api.Connection(t.Context(), conn.ID)
				return err == nil && now.Status == "active" && now.Account.ID == "ada"
			})
			x.me(conn.ID)
		})
		t.Run("client credentials", func(t *testing.T) {
			base := x.resource(t)
			x.connector("services", base, `"grant":"clientCredentials","clientAuth":"private_key_jwt"`, "/", api.PutOAuthClient{ClientID: "services", PrivateKey: private, KeyID: "k1"})
			conn := x.pending("services")
			if conn.Status != "active" || conn.HealthStatus != "healthy" {
				t.Errorf("%+v", conn)
			}
		})
	})
}

// resource starts an API that asks the provider about the tokens that it gets.
func (x *certified) resource(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form := url.Values{"token": {strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}}
		req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, x.provider.Issuer+"/token/introspection", strings.NewReader(form.Encode()))
		if err != nil {
			http.Error(w, "", http.StatusInternalServerError)
			return
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("people", url.QueryEscape(certifiedSecret))
		resp, err := (&http.Client{Timeout: longest}).Do(req)
		if err != nil {
			http.Error(w, "", http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		var said struct {
			Active   bool   `json:"active"`
			ClientID string `json:"client_id"`
		}
		if json.NewDecoder(resp.Body).Decode(&said) != nil || !said.Active {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"sub": said.ClientID})
	}))
	t.Cleanup(s.Close)
	return s.URL
}
