package oauthserver

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// RotateNonce makes the server demand another nonce in proofs.
func (s *Server) RotateNonce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nonce++
}

func (s *Server) nonceText() string { return fmt.Sprintf("nonce-%d", s.nonce) }

// proven checks the proof of a request, strictly (RFC 9449, section 4.3), and answers the
// thumbprint of its key. access is the token that it must be bound to, empty for none.
func (s *Server) proven(r *http.Request, access string) (thumbprint string, f *failure) {
	bad := &failure{status: 400, word: "invalid_dpop_proof", challenge: `DPoP error="invalid_dpop_proof"`}
	if len(r.Header.Values("DPoP")) != 1 {
		return "", bad
	}
	signed, err := jose.ParseSignedCompact(r.Header.Get("DPoP"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", bad
	}
	header := signed.Signatures[0].Protected
	if header.JSONWebKey == nil || !header.JSONWebKey.IsPublic() || header.ExtraHeaders["typ"] != "dpop+jwt" {
		return "", bad
	}
	payload, err := signed.Verify(header.JSONWebKey)
	if err != nil {
		return "", bad
	}
	var claims struct {
		Jti, Htm, Htu, Nonce, Ath string
		Iat                       int64
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Jti == "" || s.jtis[claims.Jti] || claims.Htm != r.Method || claims.Htu != s.URL+r.URL.Path {
		return "", bad
	}
	s.jtis[claims.Jti] = true
	if age := s.policy.Now().Sub(time.Unix(claims.Iat, 0)); age > time.Minute || age < -time.Minute {
		return "", bad
	}
	hash := sha256.Sum256([]byte(access))
	if want := base64.RawURLEncoding.EncodeToString(hash[:]); access != "" && claims.Ath != want {
		return "", bad
	}
	if claims.Nonce != s.nonceText() {
		return "", &failure{status: map[bool]int{true: 401, false: 400}[access != ""], word: "use_dpop_nonce", challenge: `DPoP error="use_dpop_nonce"`}
	}
	sum, err := header.JSONWebKey.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", bad
	}
	return string(sum), nil
}

// bind makes the tokens of an answer good for the key of the proof alone.
func (s *Server) bind(members map[string]any, thumbprint string) {
	access, _ := members["access_token"].(string)
	members["token_type"] = "DPoP"
	s.bound[access] = thumbprint
}

// Ask answers the status that the server's API gives to an Authorization header alone.
func (s *Server) Ask(t testing.TB, authorization string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", authorization)
	resp, err := s.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
