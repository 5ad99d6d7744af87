package oauth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/oauth"
)

// signingKey is a private key in every form that it may be given in.
type signingKey struct {
	name   string
	text   string
	public any
	alg    jose.SignatureAlgorithm
}

func asPEM(t testing.TB, kind string, der []byte, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func signingKeys(t testing.TB) []signingKey {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, rsaErr := x509.MarshalPKCS8PrivateKey(r)
	edDER, edErr := x509.MarshalPKCS8PrivateKey(ed)
	ps, err := jose.JSONWebKey{Key: r, KeyID: "ps", Algorithm: "PS256"}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	keys := []signingKey{
		{"PKCS #8", asPEM(t, "PRIVATE KEY", pkcs8, rsaErr), &r.PublicKey, jose.RS256},
		{"PKCS #1", asPEM(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(r), nil), &r.PublicKey, jose.RS256},
		{"Ed25519", asPEM(t, "PRIVATE KEY", edDER, edErr), ed.Public(), jose.EdDSA},
		{"JWK with an algorithm", string(ps), &r.PublicKey, jose.PS256},
	}
	for alg, curve := range map[jose.SignatureAlgorithm]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalECPrivateKey(key)
		keys = append(keys, signingKey{string(alg), asPEM(t, "EC PRIVATE KEY", der, err), &key.PublicKey, alg})
	}
	return keys
}

// claimsOf checks a JWS with a public key and answers header and claims.
func claimsOf(t testing.TB, text string, public any, alg jose.SignatureAlgorithm) (header jose.Header, claims map[string]any) {
	t.Helper()
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{alg})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signed.Verify(public)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return signed.Signatures[0].Protected, claims
}

func TestSignAssertion(t *testing.T) {
	c := newClient(nil)
	c.Now = arrival
	for _, key := range signingKeys(t) {
		a := oauth.Assertion{
			Issuer: "svc@acme.example", Audience: "https://auth.acme.example/token", Key: claviger.NewSecretString(key.text), KeyID: "k1",
			Claims: map[string]any{"scope": "a b", "iss": "replaced", "sub": "taken away", "exp": 1}, Lifetime: 48 * time.Hour,
		}
		ids := map[any]bool{}
		for range 2 {
			text, err := c.SignAssertion(a)
			if err != nil {
				t.Fatalf("%s: %v", key.name, err)
			}
			header, claims := claimsOf(t, text, key.public, key.alg)
			if claims["iss"] != "svc@acme.example" || claims["sub"] != nil || claims["scope"] != "a b" || claims["aud"] != a.Audience ||
				claims["iat"] != float64(arrival().Unix()) || claims["exp"] != float64(arrival().Add(time.Hour).Unix()) {
				t.Errorf("%s: %v", key.name, claims)
			}
			if want := map[bool]string{true: "ps", false: "k1"}[key.alg == jose.PS256]; header.KeyID != want || header.ExtraHeaders["typ"] != "JWT" {
				t.Errorf("%s: kid %s", key.name, header.KeyID)
			}
			ids[claims["jti"]] = true
		}
		if len(ids) != 2 {
			t.Errorf("%s: an id was used twice", key.name)
		}
	}
}

func TestSignAssertion_UnusableKeys(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := x509.MarshalECPrivateKey(p224)
	if err != nil {
		t.Fatal(err)
	}
	good := signingKeys(t)[0]
	public, err := jose.JSONWebKey{Key: good.public}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "words": "hunter2", "half": good.text[:200], "JSON": "{}", "broken JSON": "{", "public": string(public),
		"shared": `{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}`, "shared that claims more": `{"kty":"oct","k":"c2VjcmV0","alg":"RS256"}`,
		"1024 bits": asPEM(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak), nil), "P-224": asPEM(t, "EC PRIVATE KEY", small, nil),
	} {
		_, err := newClient(nil).SignAssertion(oauth.Assertion{Key: claviger.NewSecretString(text)})
		if code(t, err) != "invalid_format" || claviger.AsError(err).Param != "privateKey" || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPrivateKeyJWT(t *testing.T) {
	key := signingKeys(t)[0]
	k := newKit(t, oauthserver.Policy{ClientAuth: claviger.PrivateKeyJWT, ClientKey: &jose.JSONWebKey{Key: key.public}, Rotates: true}, nil)
	k.reg.PrivateKey, k.reg.Secret = claviger.NewSecretString(key.text), claviger.Secret{}
	token := claviger.NewSecretString(k.server.Grant("a"))
	for range 3 { // the server refuses an assertion's id that it has seen
		token = k.parsed(t, k.Refresh(t.Context(), k.cfg, k.reg, token, nil, nil)).Refresh
	}
	for _, r := range k.server.Received("/token") {
		if r.Header.Get("Authorization") != "" || r.Form.Has("client_secret") {
			t.Error("another secret was sent too")
		}
	}
}

func TestTLSClientAuth(t *testing.T) {
	k := newKit(t, oauthserver.Policy{ClientAuth: claviger.TLSClientAuth}, nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: k.reg.ID}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	k.reg.Certificate = []byte(asPEM(t, "CERTIFICATE", der, nil))
	k.reg.PrivateKey = claviger.NewSecretString(asPEM(t, "PRIVATE KEY", private, err))
	k.parsed(t, k.ClientCredentials(t.Context(), k.cfg, k.reg, nil, nil))
	k.reg.PrivateKey = claviger.NewSecretString(signingKeys(t)[0].text)
	if a := k.ClientCredentials(t.Context(), k.cfg, k.reg, nil, nil); a.Outcome != oauth.NotSent || claviger.AsError(a.Err).Param != "certificate" {
		t.Errorf("another key: %s %v", a.Outcome, a.Err)
	}
}

func TestJWTBearerAndTokenExchange(t *testing.T) {
	k := newKit(t, oauthserver.Policy{ClientAuth: claviger.ClientAuthNone}, func(o *claviger.OAuth) {
		o.Exchange.Audience = claviger.MustTemplate("api")
	})
	key := signingKeys(t)[0]
	a := oauth.Assertion{Issuer: "svc", Subject: "user", Key: claviger.NewSecretString(key.text)}
	k.JWTBearer(t.Context(), k.cfg, claviger.OAuthClient{}, a, []string{"x"}, nil)
	k.TradeToken(t.Context(), k.cfg, k.reg, oauth.TokenExchange{Subject: claviger.NewSecretString("sub"), Actor: claviger.NewSecretString("act")}, nil)
	got := k.server.Received("/token")
	bearer, trade := got[0].Form, got[1].Form
	_, claims := claimsOf(t, bearer.Get("assertion"), key.public, key.alg)
	if bearer.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || bearer.Get("scope") != "x" || bearer.Has("client_id") || claims["aud"] != k.server.URL+"/token" || claims["sub"] != "user" {
		t.Errorf("%v %v", bearer.Get("grant_type"), claims)
	}
	if trade.Get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" || trade.Get("subject_token") != "sub" || trade.Get("subject_token_type") != oauth.TokenTypeAccess ||
		trade.Get("actor_token") != "act" || trade.Get("actor_token_type") != oauth.TokenTypeAccess || trade.Get("audience") != "api" || trade.Get("client_id") != k.reg.ID {
		t.Errorf("%v", trade.Get("grant_type"))
	}
}

func TestInstallationToken(t *testing.T) {
	key := signingKeys(t)[0]
	k := newKit(t, oauthserver.Policy{}, func(o *claviger.OAuth) {
		o.Grant, o.TokenResponse.AccessToken = claviger.GrantInstallation, "$.token"
		o.TokenHeaders = []claviger.Header{{Name: "X-GitHub-Api-Version", Value: claviger.MustTemplate("2022-11-28")}}
	})
	k.server.Next(oauthserver.Fault{Skip: true, Status: 201, Body: `{"token":"ghs_x","expires_at":"2126-01-01T00:00:00Z","permissions":{"contents":"read"}}`})
	app := oauth.Assertion{Issuer: "12345", Key: claviger.NewSecretString(key.text), Lifetime: 9 * time.Minute}
	tokens := k.parsed(t, k.InstallationToken(t.Context(), k.cfg, app))
	got := k.server.Received("/token")[0]
	text, ok := strings.CutPrefix(got.Header.Get("Authorization"), "Bearer ")
	if _, claims := claimsOf(t, text, key.public, key.alg); !ok || claims["iss"] != "12345" || got.Body != "" || got.Header.Get("X-Github-Api-Version") != "2022-11-28" {
		t.Errorf("claims %v, body %q", claims, got.Body)
	}
	if show(tokens.Access) != "ghs_x" || tokens.ExpiresAt.IsZero() {
		t.Errorf("expires %v", tokens.ExpiresAt)
	}
}

func TestProve(t *testing.T) {
	c := newClient(nil)
	key, err := c.NewProofKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Prove(oauth.Proof{Key: key, Nonce: "n1"}, "GET", "https://api.acme.example/me?x=1#f", claviger.NewSecretString("at"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	public := signed.Signatures[0].Protected.JSONWebKey
	if public == nil || !public.IsPublic() || public.KeyID != "" {
		t.Fatal("the proof does not carry a public key alone")
	}
	header, claims := claimsOf(t, text, public, jose.ES256)
	hash := sha256.Sum256([]byte("at"))
	if header.ExtraHeaders["typ"] != "dpop+jwt" || claims["htm"] != "GET" || claims["htu"] != "https://api.acme.example/me" || claims["nonce"] != "n1" ||
		claims["ath"] != base64.RawURLEncoding.EncodeToString(hash[:]) || claims["jti"] == "" {
		t.Errorf("%v", claims)
	}
	jkt, err := oauth.Thumbprint(key)
	if err != nil || len(jkt) != 43 {
		t.Errorf("%s %v", jkt, err)
	}
}

// The server asks for a nonce: the same request goes once more, with it, and no third
// time.
func TestDPoPNonce(t *testing.T) {
	for name, always := range map[string]bool{"satisfied": false, "never satisfied": true} {
		t.Run(name, func(t *testing.T) {
			var nonces []any
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				signed, err := jose.ParseSignedCompact(r.Header.Get("DPoP"), []jose.SignatureAlgorithm{jose.ES256})
				if err != nil {
					t.Error(err)
					return
				}
				_, claims := claimsOf(t, r.Header.Get("DPoP"), signed.Signatures[0].Protected.JSONWebKey, jose.ES256)
				nonces = append(nonces, claims["nonce"])
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("DPoP-Nonce", []string{"n1", "n2", "n3"}[len(nonces)-1])
				if len(nonces) == 1 || always {
					w.WriteHeader(http.StatusBadRequest)
					_, _ = io.WriteString(w, `{"error":"use_dpop_nonce"}`)
					return
				}
				_, _ = io.WriteString(w, `{"access_token":"at","token_type":"DPoP"}`)
			}))
			defer server.Close()
			k := newKit(t, oauthserver.Policy{}, func(o *claviger.OAuth) { o.DPoP = true })
			k.cfg.Endpoints.Token = server.URL + "/token"
			key, err := k.NewProofKey()
			if err != nil {
				t.Fatal(err)
			}
			a := k.Refresh(t.Context(), k.cfg, k.reg, claviger.NewSecretString("rt"), nil, &oauth.Proof{Key: key})
			if a.Outcome != oauth.Answered || len(nonces) != 2 || nonces[0] != nil || nonces[1] != "n1" || a.Nonce != "n2" {
				t.Fatalf("%s %v, nonces %v, next %s", a.Outcome, a.Err, nonces, a.Nonce)
			}
			if class := oauth.Classify(k.cfg, a.Raw); (class.Verdict == oauth.Granted) == always {
				t.Errorf("%s", class.Verdict)
			}
			if unproven := k.refreshWith(t, "rt"); unproven.Outcome != oauth.NotSent {
				t.Errorf("without a proof: %s", unproven.Outcome)
			}
		})
	}
}
