package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger"
	"claviger/connectors"
	"claviger/internal/broker"
	"claviger/internal/hookverify"
	"claviger/internal/jobs"
	"claviger/internal/store"
)

// The account that both vendors know.
const accountID, accountSecret = "account_id_0001", "account_secret_canary_0001"

// keyVendor answers the keys of its deliveries as Plaid and eBay do: to the account alone.
type keyVendor struct {
	*httptest.Server
	t    *testing.T
	keys map[string]*ecdsa.PrivateKey

	mu      sync.Mutex
	asked   map[string]int // by path
	expired map[string]bool
	down    bool
}

func newKeyVendor(t *testing.T, kids ...string) *keyVendor {
	t.Helper()
	v := &keyVendor{t: t, keys: map[string]*ecdsa.PrivateKey{}, asked: map[string]int{}, expired: map[string]bool{}}
	for _, kid := range kids {
		v.keys[kid] = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webhook_verification_key/get", v.plaid)
	mux.HandleFunc("POST /identity/v1/oauth2/token", v.token)
	mux.HandleFunc("GET /commerce/notification/v1/public_key/{kid}", v.ebay)
	v.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		v.asked[r.URL.Path]++
		down := v.down
		v.mu.Unlock()
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(v.Close)
	return v
}

func (v *keyVendor) plaid(w http.ResponseWriter, r *http.Request) {
	var in map[string]string
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in) != 3 || in["client_id"] != accountID || in["secret"] != accountSecret {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	key := v.keys[in["key_id"]]
	if key == nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	jwk := map[string]any{}
	if err := json.Unmarshal(must(jose.JSONWebKey{Key: &key.PublicKey, KeyID: in["key_id"], Algorithm: "ES256", Use: "sig"}.MarshalJSON())(v.t), &jwk); err != nil {
		v.t.Error(err)
	}
	v.mu.Lock()
	jwk["created_at"], jwk["expired_at"] = 1560466143, any(nil)
	if v.expired[in["key_id"]] {
		jwk["expired_at"] = 1560466150
	}
	v.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"key": jwk, "request_id": "RZ6Omi1bzzwDaLo"})
}

func (v *keyVendor) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if id != accountID || secret != accountSecret || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "https://api.ebay.com/oauth/api_scope" {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"access_token":"ebay_token_of_the_app","expires_in":7200,"token_type":"Application Access Token"}`)
}

func (v *keyVendor) ebay(w http.ResponseWriter, r *http.Request) {
	key := v.keys[r.PathValue("kid")]
	switch {
	case r.Header.Get("Authorization") != "Bearer ebay_token_of_the_app":
		w.WriteHeader(http.StatusUnauthorized)
	case key == nil:
		w.WriteHeader(http.StatusNotFound)
	default:
		der := must(x509.MarshalPKIXPublicKey(&key.PublicKey))(v.t)
		_, _ = fmt.Fprintf(w, `{"key":"-----BEGIN PUBLIC KEY-----%s-----END PUBLIC KEY-----","algorithm":"ECDSA","digest":"SHA1"}`, base64.StdEncoding.EncodeToString(der))
	}
}

func (v *keyVendor) count(path string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked[path]
}

// sign answers the header with which a vendor signs a body, with the key of one id under
// the name of another if need be.
func (v *keyVendor) sign(scheme, kid, named, body string, at time.Time) http.Header {
	key := v.keys[kid]
	if scheme == "ebay" {
		sum := sha1.Sum([]byte(body))
		sig := base64.StdEncoding.EncodeToString(must(ecdsa.SignASN1(rand.Reader, key, sum[:]))(v.t))
		return http.Header{"X-Ebay-Signature": {base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"ecdsa","kid":%q,"signature":%q,"digest":"SHA1"}`, named, sig))}}
	}
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", named)
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options))(v.t)
	sum := sha256.Sum256([]byte(body))
	signed := must(signer.Sign(fmt.Appendf(nil, `{"iat":%d,"request_body_sha256":%q}`, at.Unix(), hex.EncodeToString(sum[:]))))(v.t)
	return http.Header{"Plaid-Verification": {must(signed.CompactSerialize())(v.t)}}
}

// accountRoom is a core whose scheme finds its vendor at v, with a slot that knows the account.
func accountRoom(t *testing.T, v *keyVendor, scheme string) *room {
	t.Helper()
	text := string(must(fs.ReadFile(connectors.Webhooks, "webhooks/"+scheme+".yaml"))(t))
	text = strings.NewReplacer("https://production.plaid.com/", v.URL+"/", "https://api.ebay.com/identity/", v.URL+"/identity/",
		"https://api.ebay.com/commerce/", v.URL+"/commerce/").Replace(text)
	r := receivingRoom(t, fstest.MapFS{"webhooks/" + scheme + ".yaml": {Data: []byte(text)}},
		fmt.Sprintf(`{"method":"basic","variables":{"scheme":%q},"security":{"username":"kv://vendor/id","password":"kv://vendor/secret"}}`, scheme))
	r.secret("vendor/id", accountID)
	r.secret("vendor/secret", accountSecret)
	return r
}

// receivingRoom is a core that knows these webhook schemes, with a system whose only slot
// has the credential.
func receivingRoom(t *testing.T, schemes fstest.MapFS, credential string) *room {
	t.Helper()
	r := newRoomWith(t, nil, func(_ *room, c *broker.Config) {
		set := must(hookverify.Load(schemes, "webhooks"))(t)
		c.Schemes = func() (*hookverify.Set, error) { return set, nil }
		c.System = func(o claviger.OrganizationID) claviger.Caller {
			rights, _ := claviger.PermissionsOf(claviger.WebhooksReceive, claviger.SystemsWrite, claviger.ConnectionsUpdate)
			return claviger.Caller{Kind: claviger.CallerSystem, ID: "system", Scope: claviger.Authenticated(o, ""), Permissions: rights}
		}
		c.Insert = func(context.Context, *store.Tx, string, any, jobs.Options) error { return nil } // nothing is acted upon here
	})
	document := `{"key":"vendor","displayName":"Vendor","description":"Receives.","type":"custom","authentications":[{"key":"webhook","usage":"webhookInbound",
		"authType":"credential","credential":` + credential + `}]}`
	must(r.broker.PutSystem(t.Context(), r.owner, broker.SystemUpload{Key: "vendor", SystemDocuments: broker.SystemDocuments{System: json.RawMessage(document)}}))(t)
	return r
}

func (r *room) secret(path, value string) {
	r.t.Helper()
	must(r.broker.PutSecret(r.t.Context(), r.owner, path, claviger.NewSecretString(value)))(r.t)
}

// arrives delivers to the system and answers the fine code of a refusal, as it stands in
// the answer.
func (r *room) arrives(body string, header http.Header) string {
	r.t.Helper()
	systems, _, err := r.broker.Systems(r.t.Context(), r.owner, broker.Page{})
	if err != nil || len(systems) != 1 {
		r.t.Fatalf("%d systems: %v", len(systems), err)
	}
	_, err = r.broker.Receive(r.t.Context(), broker.Inbound{
		Hook: systems[0].Hook, System: "vendor", Method: http.MethodPost, Target: "/webhooks/x/vendor", Header: header, Body: []byte(body),
		From: claviger.Request{Address: netip.MustParseAddr("192.0.2.7")},
	})
	if err == nil {
		return ""
	}
	return claviger.AsError(err).FineCode()
}

func TestKeysThatAVendorTellsItsAccount(t *testing.T) {
	for scheme, path := range map[string]string{"plaid": "/webhook_verification_key/get", "ebay": "/commerce/notification/v1/public_key/k1"} {
		t.Run(scheme, func(t *testing.T) {
			v := newKeyVendor(t, "k1", "k2", "stranger")
			stranger := v.keys["stranger"]
			delete(v.keys, "stranger")
			r := accountRoom(t, v, scheme)
			hosts := func() (n int) {
				for _, e := range r.entries(store.LedgerFilter{Verb: claviger.WebhooksReceive}) {
					if e.Host != "" && strings.HasPrefix(v.URL, "https://"+e.Host) {
						n++
					}
				}
				return n
			}
			says := func(kid, named, body string) string {
				return r.arrives(body, v.sign(scheme, kid, named, body, r.now()))
			}
			for i := range 3 {
				if got := says("k1", "k1", fmt.Sprintf(`{"n":%d}`, i)); got != "" {
					t.Fatalf("a delivery: %s", got)
				}
			}
			if n := v.count(path); n != 1 {
				t.Errorf("the key was asked for %d times", n)
			}
			if got := says("k2", "k1", `{"n":4}`); got != "delivery_refused" {
				t.Errorf("signed with another key: %q", got)
			}
			good := v.sign(scheme, "k1", "k1", `{"n":5}`, r.now())
			if got := r.arrives(`{"n":6}`, good); got != "delivery_refused" {
				t.Errorf("another body: %q", got)
			}
			v.keys["stranger"] = stranger
			forged := v.sign(scheme, "stranger", "stranger", `{"n":7}`, r.now())
			delete(v.keys, "stranger")
			if got := r.arrives(`{"n":7}`, forged); got != "delivery_refused" {
				t.Errorf("a key that the vendor does not know: %q", got)
			}
			if got := says("k2", "k2", `{"n":8}`); got != "" {
				t.Errorf("the vendor's next key: %q", got)
			}
			if n := hosts(); n != 3 {
				t.Errorf("%d entries name where the account's credential went, want 3", n)
			}
		})
	}
}

func TestAccountKeysEndWithTheVendorOrTheCredential(t *testing.T) {
	v := newKeyVendor(t, "k1", "k2", "old")
	r := accountRoom(t, v, "plaid")
	says := func(kid, body string) string { return r.arrives(body, v.sign("plaid", kid, kid, body, r.now())) }
	v.expired["old"] = true
	if got := says("old", `{"n":1}`); got != "delivery_refused" {
		t.Errorf("a key that has expired: %q", got)
	}
	v.down = true
	if got := says("k1", `{"n":2}`); got != "keys_unreachable" {
		t.Errorf("while the vendor is down: %q", got) // the vendor sends it again
	}
	v.down = false
	if got := says("k1", `{"n":2}`); got != "" {
		t.Errorf("when it is back: %q", got)
	}
	r.secret("vendor/secret", "account_secret_of_nobody")
	r.wait(t.Context(), 2*time.Minute) //nolint:errcheck // the clock moves on
	if got := says("k2", `{"n":3}`); got != "delivery_refused" {
		t.Errorf("with a credential that the vendor does not take: %q", got)
	}
	r.secret("vendor/secret", accountSecret)
	asked := v.count("/webhook_verification_key/get")
	for i := range 30 { // whoever forges chooses the id
		forged := v.sign("plaid", "k2", fmt.Sprint("guess-", i), `{}`, r.now())
		if got := r.arrives(`{}`, forged); got != "delivery_refused" {
			t.Errorf("a forged delivery: %q", got)
		}
	}
	if n := v.count("/webhook_verification_key/get") - asked; n == 0 || n > 12 {
		t.Errorf("the vendor was asked for %d of 30 keys that nobody has", n)
	}
	if got := says("k1", `{"n":4}`); got != "" {
		t.Errorf("a known key in the meantime: %q", got)
	}
}
