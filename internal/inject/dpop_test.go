package inject_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger"
	"claviger/internal/inject"
	"claviger/internal/oauth"
)

func proven(t *testing.T, address string, nonce string) (*http.Request, inject.Proof) {
	t.Helper()
	key, err := (&oauth.Client{Random: rand.Reader}).NewProofKey()
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["DPOP"] = []string{"the caller's own"}
	return req, inject.Proof{
		Key: key, Access: claviger.NewSecretString("at_1"), Nonce: nonce, ID: "id-1", At: time.Unix(1_800_000_000, 0),
	}
}

// A proof is one of the key that the token is bound to, for this very request.
func TestProve(t *testing.T) {
	req, p := proven(t, "https://api.acme.example/a%2Fb/me?x=1&y=2", "n-1")
	first, err := inject.Prove(req, p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := inject.Prove(first, p)
	if err != nil {
		t.Fatal(err)
	}
	text := first.Header.Get("DPoP")
	if len(first.Header) != 1 || again.Header.Get("DPoP") != text || req.Header.Get("DPoP") != "" {
		t.Errorf("proving twice: %d headers", len(again.Header))
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	header := signed.Signatures[0].Protected
	payload, err := signed.Verify(header.JSONWebKey)
	if err != nil {
		t.Fatal(err)
	}
	print, err := header.JSONWebKey.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	want, err := oauth.Thumbprint(p.Key)
	if err != nil || base64.RawURLEncoding.EncodeToString(print) != want || !header.JSONWebKey.IsPublic() || header.ExtraHeaders["typ"] != "dpop+jwt" {
		t.Errorf("another key, or its private part: %v", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte("at_1"))
	for name, value := range map[string]any{
		"jti": "id-1", "htm": "GET", "htu": "https://api.acme.example/a%2Fb/me", "iat": 1.8e9, "nonce": "n-1",
		"ath": base64.RawURLEncoding.EncodeToString(hash[:]),
	} {
		if claims[name] != value {
			t.Errorf("%s is %v, want %v", name, claims[name], value)
		}
	}
}

func TestProve_WithoutANonceOrAKey(t *testing.T) {
	req, p := proven(t, "https://api.acme.example/", "")
	out, err := inject.Prove(req, p)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(out.Header.Get("DPoP"), ".")[1])
	if err != nil || strings.Contains(string(payload), "nonce") {
		t.Errorf("a nonce that nobody gave: %s %v", payload, err)
	}
	for _, text := range []string{"", "{}", "[]", `{"kty":"EC","crv":"P-256","d":"AA"}`, `{"kty":"RSA"}`, `{"kty":"EC","crv":"P-256","d":"?"}`} {
		p.Key = claviger.NewSecretString(text)
		if _, err := inject.Prove(req, p); claviger.AsError(err) == nil || claviger.AsError(err).Code != "credential_unreadable" {
			t.Errorf("%q: %v", text, err)
		}
	}
}
