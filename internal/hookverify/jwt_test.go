package hookverify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger"
	"claviger/internal/hookverify"
)

// token signs claims.
func token(t testing.TB, algorithm jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, claims map[string]any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	for name, value := range header {
		options.WithHeader(name, value)
	}
	signer := must[jose.Signer](t)(jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options))
	signed := must[*jose.JSONWebSignature](t)(signer.Sign(must[[]byte](t)(json.Marshal(claims))))
	return must[string](t)(signed.CompactSerialize())
}

func TestAbuse_165_TokensOfVendors(t *testing.T) {
	private := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	stranger := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	jwks := must[[]byte](t)(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &private.PublicKey, KeyID: "k1", Use: "sig", Algorithm: "RS256"}}}))
	pubsub := scheme(t, "google-pubsub", map[string]string{"audience": "https://example.com/hooks/1", "serviceAccount": "push@example.iam.gserviceaccount.com"})
	good := map[string]any{
		"iss": "https://accounts.google.com", "aud": "https://example.com/hooks/1", "email": "push@example.iam.gserviceaccount.com", "email_verified": true,
		"iat": stamped().Unix() - 10, "exp": stamped().Unix() + 3600,
	}
	with := func(name string, value any) map[string]any {
		out := maps.Clone(good)
		if out[name] = value; value == nil {
			delete(out, name)
		}
		return out
	}
	k1 := map[jose.HeaderKey]any{"kid": "k1"}
	const body = `{"message":{"messageId":"1","data":"e30="}}`
	keys := must[[]hookverify.Key](t)(pubsub.FetchedKeys(hookverify.KeyRef{Form: hookverify.FormJWKS}, jwks, stamped()))
	secret := must[[]byte](t)(json.Marshal(keys[0].ID()))
	for what, c := range map[string]struct {
		token string
		code  string
	}{
		"right":                   {token(t, jose.RS256, private, k1, good), ""},
		"another key":             {token(t, jose.RS256, stranger, k1, good), hookverify.CodeSignatureMismatch},
		"another kid":             {token(t, jose.RS256, private, map[jose.HeaderKey]any{"kid": "k2"}, good), hookverify.CodeSignatureMismatch},
		"jku of a stranger":       {token(t, jose.RS256, stranger, map[jose.HeaderKey]any{"kid": "k1", "jku": "https://example.com/jwks"}, good), hookverify.CodeSignatureMismatch},
		"jwk of a stranger":       {token(t, jose.RS256, stranger, map[jose.HeaderKey]any{"kid": "k1", "jwk": jose.JSONWebKey{Key: &stranger.PublicKey}}, good), hookverify.CodeSignatureMismatch},
		"HS256 by the public key": {token(t, jose.HS256, spki(t, &private.PublicKey), k1, good), hookverify.CodeSignatureMalformed},
		"RS512":                   {token(t, jose.RS512, private, k1, good), hookverify.CodeSignatureMalformed},
		"PS256":                   {token(t, jose.PS256, private, k1, good), hookverify.CodeSignatureMalformed},
		"none":                    {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(must[[]byte](t)(json.Marshal(good))) + ".", hookverify.CodeSignatureMalformed},
		"no token":                {string(secret), hookverify.CodeSignatureMalformed},
		"another audience":        {token(t, jose.RS256, private, k1, with("aud", "https://example.com/hooks/2")), hookverify.CodeClaims},
		"one of the audiences":    {token(t, jose.RS256, private, k1, with("aud", []string{"x", "https://example.com/hooks/1"})), ""},
		"no audience":             {token(t, jose.RS256, private, k1, with("aud", nil)), hookverify.CodeClaims},
		"another issuer":          {token(t, jose.RS256, private, k1, with("iss", "https://accounts.example.com")), hookverify.CodeClaims},
		"another account":         {token(t, jose.RS256, private, k1, with("email", "someone@example.com")), hookverify.CodeClaims},
		"an account not verified": {token(t, jose.RS256, private, k1, with("email_verified", false)), hookverify.CodeClaims},
		"expired":                 {token(t, jose.RS256, private, k1, with("exp", stamped().Unix()-61)), hookverify.CodeClaims},
		"just within the skew":    {token(t, jose.RS256, private, k1, with("exp", stamped().Unix()-59)), ""},
		"never expires":           {token(t, jose.RS256, private, k1, with("exp", nil)), hookverify.CodeClaims},
		"expires in text":         {token(t, jose.RS256, private, k1, with("exp", "for ever")), hookverify.CodeClaims},
		"expires after all time":  {token(t, jose.RS256, private, k1, with("exp", 1e18)), hookverify.CodeClaims},
		"not yet valid":           {token(t, jose.RS256, private, k1, with("nbf", stamped().Unix()+61)), hookverify.CodeClaims},
	} {
		t.Run(what, func(t *testing.T) {
			if _, err := hookverify.Verify(pubsub, keys, post(body, "Authorization", "Bearer "+c.token), stamped()); code(err) != c.code {
				t.Errorf("%v, want %q", err, c.code)
			}
		})
	}
	t.Run("two Authorization headers", func(t *testing.T) {
		bearer := "Bearer " + token(t, jose.RS256, private, k1, good)
		if _, err := hookverify.Verify(pubsub, keys, post(body, "Authorization", bearer, "Authorization", bearer), stamped()); code(err) != hookverify.CodeSignatureMalformed {
			t.Errorf("%v", err)
		}
	})
	t.Run("where the keys are", func(t *testing.T) {
		ref, err := pubsub.KeyRef(post(body, "Authorization", "Bearer "+token(t, jose.RS256, stranger, map[jose.HeaderKey]any{"kid": "k1", "jku": "https://example.com/jwks"}, good)))
		if err != nil || ref.URL != "https://www.googleapis.com/oauth2/v3/certs" || ref.KeyID != "k1" {
			t.Errorf("%+v %v", ref, err)
		}
		if _, err := pubsub.FetchedKeys(hookverify.KeyRef{Form: hookverify.FormJWKS, KeyID: "k9"}, jwks, stamped()); code(err) != hookverify.CodeKeyRefused {
			t.Errorf("%v", err)
		}
	})
	t.Run("Graph, of another tenant", func(t *testing.T) { testGraph(t, private, jwks) })
}

func testGraph(t *testing.T, private *rsa.PrivateKey, jwks []byte) {
	graph := scheme(t, "microsoft-graph-tokens", map[string]string{"tenantId": "t-1", "appId": "a-1"})
	keys := must[[]hookverify.Key](t)(graph.FetchedKeys(hookverify.KeyRef{Form: hookverify.FormJWKS}, jwks, stamped()))
	sign := func(tenant, app, from string) string {
		return token(t, jose.RS256, private, map[jose.HeaderKey]any{"kid": "k1"}, map[string]any{
			"iss": "https://login.microsoftonline.com/" + tenant + "/v2.0", "aud": app, "azp": from, "exp": stamped().Unix() + 60,
		})
	}
	const publisher = "0bf30f3b-4a52-48df-9a82-234910c4a086"
	for what, c := range map[string]struct {
		tokens []string
		code   string
	}{
		"right":                 {[]string{sign("t-1", "a-1", publisher)}, ""},
		"two right":             {[]string{sign("t-1", "a-1", publisher), sign("t-1", "a-1", publisher)}, ""},
		"none":                  {nil, hookverify.CodeSignatureMissing},
		"one of another tenant": {[]string{sign("t-1", "a-1", publisher), sign("t-2", "a-1", publisher)}, hookverify.CodeClaims},
		"of another app":        {[]string{sign("t-1", "a-2", publisher)}, hookverify.CodeClaims},
		"by another publisher":  {[]string{sign("t-1", "a-1", "someone")}, hookverify.CodeClaims},
	} {
		list := must[[]byte](t)(json.Marshal(c.tokens))
		if _, err := hookverify.Verify(graph, keys, post(fmt.Sprintf(`{"value":[],"validationTokens":%s}`, list)), stamped()); code(err) != c.code {
			t.Errorf("%s: %v, want %q", what, err, c.code)
		}
	}
}

func TestTokensThatBindTheBody(t *testing.T) {
	const body = `{"event":"test"}`
	sum := sha256.Sum256([]byte(body))
	address := sha256.Sum256([]byte("https://example.com/hooks/1"))
	hexSum, b64Sum := hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(sum[:])
	ec := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	now := stamped().Unix()
	hmacKey := []byte(secretA + secretB)
	for key, c := range map[string]struct {
		header string
		claims map[string]any
	}{
		"bird":       {"MessageBird-Signature-JWT", map[string]any{"iss": "MessageBird", "iat": now, "exp": now + 60, "payload_hash": hexSum, "url_hash": hex.EncodeToString(address[:])}},
		"netlify":    {"X-Webhook-Signature", map[string]any{"iss": "netlify", "sha256": hexSum}},
		"vonage":     {"Authorization", map[string]any{"iat": now, "payload_hash": hexSum}},
		"fusionauth": {"X-FusionAuth-Signature-JWT", map[string]any{"request_body_sha256": b64Sum}},
	} {
		s := scheme(t, key, nil)
		text := token(t, jose.HS256, hmacKey, nil, c.claims)
		if c.header == "Authorization" {
			text = "bearer " + text
		}
		accepted(t, s, []hookverify.Key{mustKey(t, s, "k", string(hmacKey))}, post(body, c.header, text))
	}
	// Vendors choose their secrets, and some are shorter than RFC 7518 asks for.
	netlify := scheme(t, "netlify", nil)
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"netlify","sha256":"`+hexSum+`"}`))
	text := unsigned + "." + base64.RawURLEncoding.EncodeToString(hmac256("hunter2-hunter2", unsigned))
	accepted(t, netlify, []hookverify.Key{mustKey(t, netlify, "k", "hunter2-hunter2")}, post(body, "X-Webhook-Signature", text))

	plaid := scheme(t, "plaid", nil)
	req := post(body, "Plaid-Verification", token(t, jose.ES256, ec, map[jose.HeaderKey]any{"kid": "p1"}, map[string]any{"iat": now, "request_body_sha256": hexSum}))
	ref := must[hookverify.KeyRef](t)(plaid.KeyRef(req))
	document := must[[]byte](t)(json.Marshal(map[string]any{"key": jose.JSONWebKey{Key: &ec.PublicKey, KeyID: "p1"}}))
	accepted(t, plaid, must[[]hookverify.Key](t)(plaid.FetchedKeys(ref, document, stamped())), req)
	if _, err := hookverify.Verify(plaid, must[[]hookverify.Key](t)(plaid.FetchedKeys(ref, document, stamped())), req, stamped().Add(6*time.Minute)); code(err) != hookverify.CodeTimestampOutside {
		t.Errorf("%v", err)
	}

	// One vendor signs in four ways; the key says which, and a public key is no secret.
	fusion := scheme(t, "fusionauth", nil)
	public := "-----BEGIN PUBLIC KEY-----" + base64.StdEncoding.EncodeToString(spki(t, &ec.PublicKey)) + "-----END PUBLIC KEY-----"
	keys := []hookverify.Key{mustKey(t, fusion, "k", public)}
	claims := map[string]any{"request_body_sha256": b64Sum}
	accepted(t, fusion, keys, post(body, "X-FusionAuth-Signature-JWT", token(t, jose.ES256, ec, nil, claims)))
	if _, err := hookverify.Verify(fusion, keys, post(body, "X-FusionAuth-Signature-JWT", token(t, jose.HS256, []byte(public), nil, claims)), stamped()); code(err) != hookverify.CodeSignatureMismatch {
		t.Errorf("HS256 with the public key as secret: %v", err)
	}
}

func TestOIDC(t *testing.T) {
	private := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	jwks := must[[]byte](t)(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &private.PublicKey, KeyID: "k1"}}}))
	s := must[*hookverify.Scheme](t)(builtin(t).For("oidc", map[string]string{"openIdConfigUrl": "https://login.example.com/.well-known/openid-configuration", "clientId": "me"}))
	claims := map[string]any{"iss": "https://login.example.com", "aud": "me", "exp": stamped().Unix() + 60}
	req := post("{}", "Authorization", "Bearer "+token(t, jose.RS256, private, map[jose.HeaderKey]any{"kid": "k1"}, claims))
	ref := must[hookverify.KeyRef](t)(s.KeyRef(req))
	if ref.Form != hookverify.FormDiscovery || !s.FetchesKeys() {
		t.Fatalf("%+v", ref)
	}
	for document, want := range map[string]string{
		`{"issuer":"https://login.example.com","jwks_uri":"https://keys.example.com/jwks"}`:                                      "",
		`{"issuer":"https://other.example.com","jwks_uri":"https://keys.example.com/jwks"}`:                                      hookverify.CodeKeyRefused,
		`{"issuer":"https://login.example.com","jwks_uri":"http://keys.example.com/jwks"}`:                                       hookverify.CodeKeyRefused,
		`{"issuer":"https://other.example.com","issuer":"https://login.example.com","jwks_uri":"https://keys.example.com/jwks"}`: hookverify.CodeKeyRefused,
		`{}`: hookverify.CodeKeyRefused, `<html>`: hookverify.CodeKeyRefused,
	} {
		next, err := s.Discovered(ref, []byte(document))
		if code(err) != want {
			t.Errorf("%s: %v", document, err)
		}
		if err == nil {
			keys := must[[]hookverify.Key](t)(s.FetchedKeys(next, jwks, stamped()))
			if v, err := hookverify.Verify(s, keys, req, stamped()); err != nil || v.KeyID != "k1" {
				t.Errorf("%+v %v", v, err)
			}
		}
	}
	for name, variables := range map[string]map[string]string{
		"variables.openIdConfigUrl":   {"openIdConfigUrl": "http://login.example.com/", "clientId": "me"},
		"variables.clientId":          {"openIdConfigUrl": "https://login.example.com/"},
		"variables.validateSignature": {"openIdConfigUrl": "https://login.example.com/", "clientId": "me", "validateSignature": "false"},
		"variables.algorithms":        {"openIdConfigUrl": "https://login.example.com/", "clientId": "me", "algorithms": "RS256,HS256"},
	} {
		if _, err := builtin(t).For("oidc", variables); err == nil || claviger.AsError(err).Param != name || strings.Contains(err.Error(), "login.example") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
