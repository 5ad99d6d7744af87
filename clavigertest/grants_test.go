package clavigertest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger"
	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// newGrant is a server with a connector whose one method is method, a JSON object without
// its key and type in which %[1]s is the vendor's address. No OAuth client is set.
func newGrant(t *testing.T, o clavigertest.Options, policy oauthserver.Policy, method string) *consent {
	t.Helper()
	v := oauthserver.Start(t, policy)
	o.RootCAs, o.EgressAllow = v.Roots(), "127.0.0.1"
	s := clavigertest.Start(t, o)
	x := &consent{Server: s, t: t, vendor: v, api: s.Client(s.Key)}
	x.publish(method)
	return x
}

// publish stores the connector with a method.
func (x *consent) publish(method string) {
	x.t.Helper()
	document := fmt.Sprintf(`{"key":"acme","name":"Acme CRM","kind":"http","baseUrl":"%[1]s","allowedHosts":["127.0.0.1"],
		"variables":[{"key":"installation","label":"Installation","type":"pathSegment"}],
		"auth":[{"key":"oauth","type":"oauth2","test":{"method":"GET","path":"/userinfo","expectStatus":[200],"account":{"id":"$.sub"}},`+method+`}],
		"actions":[{"key":"whoami","name":"Who am I","readOnly":true,"input":{"type":"object","properties":{},"additionalProperties":false},
		"request":{"method":"GET","path":"/userinfo"}}]}`, x.vendor.URL)
	if _, err := x.api.PutConnector(x.t.Context(), "acme", []byte(document)); err != nil {
		x.t.Fatal(err)
	}
}

// create makes a connection with credentials.
func (x *consent) create(name string, credentials map[string]string) (api.Connection, error) {
	return x.api.CreateConnection(x.t.Context(), api.CreateConnection{Connector: "acme", AuthMethod: "oauth", Name: name, Credentials: credentials})
}

// works runs an action and fails the test unless the vendor answers it well.
func (x *consent) works(id string) {
	x.t.Helper()
	if run, err := x.whoami(id); err != nil || run.Status != "succeeded" {
		x.t.Fatalf("%+v, %v", run, err)
	}
}

// lives uses a connection before and after its first tokens have ended, and fails the
// test unless the vendor was asked for tokens once each.
func (x *consent) lives(c *clock, id string) {
	x.t.Helper()
	x.works(id)
	asked := len(x.vendor.Received("/token"))
	c.move(2 * time.Hour)
	x.api = x.Client(x.Key)
	x.works(id)
	x.works(id)
	if n := len(x.vendor.Received("/token")); n != asked+1 {
		x.t.Errorf("%d requests for tokens after one expiry", n-asked)
	}
}

// signing is a key of a client, as PEM, and its public half.
func signing(t *testing.T) (private string, public *jose.JSONWebKey, certificate string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), &jose.JSONWebKey{Key: &key.PublicKey, KeyID: "k1", Algorithm: "ES256"},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
}

// minting is the method of client credentials by a way of client authentication.
func minting(auth claviger.ClientAuth, fields string) string {
	return fmt.Sprintf(`"fields":[%s],"oauth2":{"grant":"clientCredentials","clientAuth":%q,"tokenUrl":"%%[1]s/token","scopes":["contacts.read"]}`, fields, auth)
}

const ownClient = `{"key":"clientId","required":true},{"key":"clientSecret","secret":true,"required":true}`

// Client credentials by every way of client authentication, of the organization's client
// and of the connection's own.
func TestGrants_ClientCredentials(t *testing.T) {
	private, public, certificate := signing(t)
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		for _, way := range []struct {
			name string
			auth claviger.ClientAuth
			own  bool
		}{
			{"basic", claviger.ClientSecretBasic, false},
			{"own client", claviger.ClientSecretPost, true},
			{"private_key_jwt", claviger.PrivateKeyJWT, false},
			{"tls_client_auth", claviger.TLSClientAuth, false},
		} {
			t.Run(way.name, func(t *testing.T) {
				c := &clock{at: time.Now()}
				fields := ""
				if way.own {
					fields = ownClient
				}
				x := newGrant(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{ClientAuth: way.auth, ClientKey: public, Now: c.now}, minting(way.auth, fields))
				var credentials map[string]string
				put := api.PutOAuthClient{ClientID: x.vendor.Client.ID}
				switch way.auth {
				case claviger.PrivateKeyJWT:
					put.PrivateKey, put.KeyID = private, "k1"
				case claviger.TLSClientAuth:
					put.PrivateKey, put.Certificate = private, certificate
				default:
					put.ClientSecret = reveal(x.vendor.Client.Secret)
				}
				if way.own {
					credentials = map[string]string{"clientId": put.ClientID, "clientSecret": put.ClientSecret}
				} else if _, err := x.api.PutOAuthClient(t.Context(), "acme", put); err != nil {
					t.Fatal(err)
				}
				conn, err := x.create("service", credentials)
				if err != nil || conn.Status != "active" || conn.HealthStatus != "healthy" || conn.Account.ID != "user-1" {
					t.Fatalf("%+v, %v", conn, err)
				}
				for name, value := range conn.Credentials {
					if value != "***REDACTED***" {
						t.Errorf("%s is shown", name)
					}
				}
				x.lives(c, conn.ID)
				for _, r := range x.vendor.Received("") {
					if api := r.Path == "/userinfo"; api && (r.Certificates > 0 || strings.Contains(r.Body+fmt.Sprint(r.Header), "s/")) || !api && (r.Certificates > 0) != (way.auth == claviger.TLSClientAuth) {
						t.Errorf("%s: %d certificates", r.Path, r.Certificates)
					}
				}
			})
		}
	})
}

// A client secret of the connection's own is replaced only by one that gets tokens.
func TestGrants_OwnClientIsReplaced(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newGrant(t, clavigertest.Options{Engine: engine}, oauthserver.Policy{ClientAuth: claviger.ClientSecretPost}, minting(claviger.ClientSecretPost, ownClient))
		secret := reveal(x.vendor.Client.Secret)
		_, err := x.create("service", nil)
		refused(t, err, 422, "invalid_format")
		_, err = x.create("service", map[string]string{"clientId": x.vendor.Client.ID, "clientSecret": "wrong"})
		refused(t, err, 422, "invalid_credentials")
		for code, fault := range map[string]oauthserver.Fault{
			"unreachable": {Skip: true, Status: 503, Body: `{}`}, "upstream_rate_limited": {Skip: true, Status: 429, Body: `{}`},
			"invalid_credentials": {Skip: true, Status: 400, Body: `{"error":"invalid_grant"}`},
		} {
			x.vendor.Next(fault)
			_, err = x.create("service", map[string]string{"clientId": x.vendor.Client.ID, "clientSecret": secret})
			refused(t, err, 422, code)
		}
		_, err = x.create("service", map[string]string{"clientId": x.vendor.Client.ID, "clientSecret": secret, "accessToken": "planted"})
		refused(t, err, 422, "unknown_credential")
		conn, err := x.create("service", map[string]string{"clientId": x.vendor.Client.ID, "clientSecret": secret})
		if err != nil {
			t.Fatal(err)
		}
		patch := func(key, value string) error {
			_, err := x.api.UpdateConnection(t.Context(), conn.ID, api.UpdateConnection{Credentials: map[string]*string{key: &value}})
			return err
		}
		refused(t, patch("clientSecret", "wrong"), 422, "invalid_credentials")
		refused(t, patch("accessToken", "planted"), 422, "unknown_credential")
		x.works(conn.ID)
		before := len(x.vendor.Received("/token"))
		if err := patch("clientSecret", secret); err != nil {
			t.Fatal(err)
		}
		x.works(conn.ID)
		if n := len(x.vendor.Received("/token")); n != before+1 {
			t.Errorf("%d requests for tokens", n-before)
		}
	})
}

// A vendor that knows the former secret alone gets it at the same address, only after it
// refused the new one, and no refresh token goes anywhere else.
func TestAbuse_096_TwoClientSecrets(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{at: time.Now()}
		x := newConsent(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{Rotates: true, RevokeFamily: true, Now: c.now})
		conn := x.connect("mine")
		put := func(secret, keep string) {
			t.Helper()
			out, err := x.api.PutOAuthClient(t.Context(), "acme", api.PutOAuthClient{ClientID: x.vendor.Client.ID, ClientSecret: secret, KeepFormerFor: keep})
			if err != nil {
				t.Fatal(err)
			}
			if kept := sorted(out.Secrets) != "clientSecret"; kept != (keep != "") {
				t.Errorf("secrets %v", out.Secrets)
			}
		}
		put("the next one, not active yet", "24h")
		before := len(x.vendor.Received("/token"))
		c.move(2 * time.Hour)
		x.api = x.Client(x.Key)
		x.works(conn.ID)
		sent := x.vendor.Received("/token")[before:]
		if len(sent) != 2 || sent[0].Header.Get("Authorization") == sent[1].Header.Get("Authorization") || x.refreshes() != 2 {
			t.Fatalf("%d requests", len(sent))
		}
		if rotations, reuses := x.vendor.Refreshed(); rotations != 1 || reuses != 0 {
			t.Errorf("%d rotations, %d reuses", rotations, reuses)
		}
		c.move(25 * time.Hour) // the window is over
		x.api = x.Client(x.Key)
		before = len(x.vendor.Received("/token"))
		if a := x.Do(call{Token: x.Key, Method: "GET", Path: proxy(conn.ID, "/userinfo")}); a.Status != http.StatusBadGateway || a.Fault().Code != "oauth_client_refused" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if n := len(x.vendor.Received("/token")) - before; n != 1 {
			t.Errorf("%d requests after the window", n)
		}
		put(reveal(x.vendor.Client.Secret), "")
		c.move(time.Hour)
		x.api = x.Client(x.Key)
		x.works(conn.ID) // no token was burnt
	})
}

// What the vendor no longer grants is refused before anything is sent.
func TestAbuse_064_MissingScopesRefuseBeforeEgress(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{at: time.Now()}
		x := newGrant(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{NarrowTo: []string{"contacts.read"}, Now: c.now},
			`"oauth2":{"grant":"authorizationCode","clientAuth":"client_secret_basic","authorizeUrl":"%[1]s/authorize","tokenUrl":"%[1]s/token","scopes":["contacts.write","contacts.read"]},
			"permissions":{"from":"token","forActions":{"whoami":["contacts.write"]}}`)
		if _, err := x.api.PutOAuthClient(t.Context(), "acme", api.PutOAuthClient{ClientID: x.vendor.Client.ID, ClientSecret: reveal(x.vendor.Client.Secret)}); err != nil {
			t.Fatal(err)
		}
		conn := x.connect("mine")
		x.works(conn.ID)
		c.move(2 * time.Hour)
		x.api = x.Client(x.Key)
		if a := x.Do(call{Token: x.Key, Method: "GET", Path: proxy(conn.ID, "/userinfo")}); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		before := len(x.vendor.Received(""))
		a := x.Do(call{Token: x.Key, Method: "POST", Path: "/v1/actions/run", Body: api.RunAction{ActionIdentifier: "acme.whoami", ConnectionID: conn.ID}})
		var said struct{ Error struct{ Missing []string } }
		if err := json.Unmarshal(a.Body, &said); err != nil || a.Status != 422 || a.Fault().Code != "insufficient_scope" || strings.Join(said.Error.Missing, " ") != "contacts.write" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if n := len(x.vendor.Received("")) - before; n != 0 {
			t.Errorf("%d requests were sent", n)
		}
	})
}
