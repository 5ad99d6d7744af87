package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/oauth"
)

func TestIDToken(t *testing.T) {
	k := newKit(t, oauthserver.Policy{}, func(o *claviger.OAuth) { o.OIDC = claviger.OAuthOIDC{Nonce: true, IDToken: true} })
	f := k.newFlow(t)
	tokens := k.parsed(t, k.Exchange(t.Context(), k.cfg, k.reg, k.code(t, f), nil))
	keys, err := k.Keys(t.Context(), k.cfg)
	if err != nil || keys.Len() != 1 {
		t.Fatalf("%d keys, %v", keys.Len(), err)
	}
	claims, err := k.VerifyIDToken(k.cfg, k.reg, keys, tokens.ID, f.nonce)
	if err != nil || claims.Subject != "user-1" || claims.Name != "Ada" || claims.Email != "ada@example.com" {
		t.Fatalf("%s, %v", claims.Subject, err)
	}
	account, err := k.Userinfo(t.Context(), k.cfg, tokens.Access, claims.Subject, nil)
	if err != nil || account.ID != "user-1" || account.Name != "Ada" {
		t.Errorf("%s, %v", account.ID, err)
	}
	if _, err := k.Userinfo(t.Context(), k.cfg, tokens.Access, "somebody else", nil); code(t, err) != "bad_token_response" {
		t.Errorf("another subject: %v", err)
	}
	if _, err := k.Userinfo(t.Context(), k.cfg, claviger.NewSecretString("stale"), "", nil); code(t, err) != "invalid_credentials" {
		t.Errorf("a stale token: %v", err)
	}
}

func TestIDToken_Refused(t *testing.T) {
	k := newKit(t, oauthserver.Policy{}, nil)
	keys, err := k.Keys(t.Context(), k.cfg)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	const nonce = "n-0S6_WzA2Mj"
	good := k.server.SignIDToken(map[string]any{"nonce": nonce})
	if _, err := k.VerifyIDToken(k.cfg, k.reg, keys, claviger.NewSecretString(good), nonce); err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{"empty": "", "no JWS": "a.b.c", "truncated": good[:len(good)-5], "huge": strings.Repeat("a", 1<<20)}
	for name, claims := range map[string]map[string]any{
		"other issuer":        {"iss": "https://evil.example"},
		"no issuer":           {"iss": nil},
		"other audience":      {"aud": "other"},
		"no audience":         {"aud": nil},
		"two without azp":     {"aud": []string{k.reg.ID, "other"}},
		"azp of another":      {"azp": "other"},
		"expired":             {"exp": now.Add(-2 * time.Minute).Unix()},
		"no expiry":           {"exp": nil},
		"expiry as text":      {"exp": "9999999999"},
		"from the future":     {"iat": now.Add(time.Hour).Unix()},
		"very old":            {"iat": now.Add(-25 * time.Hour).Unix()},
		"no issue time":       {"iat": nil},
		"other nonce":         {"nonce": "other"},
		"no nonce":            {"nonce": nil},
		"nobody":              {"sub": ""},
		"a number":            {"sub": 7},
		"long name of nobody": {"sub": strings.Repeat("a", 256)},
	} {
		all := map[string]any{"nonce": nonce}
		for n, v := range claims {
			all[n] = v
		}
		bad[name] = k.server.SignIDToken(all)
	}
	parts := strings.Split(good, ".")
	bad["alg none"] = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	bad["other claims"] = parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"root"}`)) + "." + parts[2]
	bad["HS256 with the client's secret"] = signedBy(t, jose.HS256, []byte(strings.Repeat("k", 32)), parts[1])
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bad["a stranger's key"] = signedBy(t, jose.ES256, stranger, parts[1])
	for name, token := range bad {
		if _, err := k.VerifyIDToken(k.cfg, k.reg, keys, claviger.NewSecretString(token), nonce); code(t, err) != "invalid_id_token" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := k.VerifyIDToken(k.cfg, k.reg, oauth.KeySet{}, claviger.NewSecretString(good), nonce); code(t, err) != "invalid_id_token" {
		t.Errorf("without keys: %v", err)
	}
	wrong := newKit(t, oauthserver.Policy{WrongIssuer: true}, func(o *claviger.OAuth) { o.CheckIssuer = true })
	f := wrong.newFlow(t)
	address, err := oauth.AuthorizeURL(wrong.cfg, wrong.reg, wrong.authorization(f))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oauth.ParseCallback(wrong.cfg, f.state, "GET", wrong.server.Approve(t, address)); code(t, err) != "invalid_callback" {
		t.Errorf("the callback of another issuer: %v", err)
	}
}

// signedBy signs the same claims with another key.
func signedBy(t *testing.T, alg jose.SignatureAlgorithm, key any, claims string) string {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(claims)
	if err != nil || !json.Valid(payload) {
		t.Fatal("no claims", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
