package oauthserver

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// jwtBearer answers a grant that a signed assertion stands for (RFC 7523, section 2.1).
func (s *Server) jwtBearer(form url.Values) (map[string]any, *failure) {
	claims, ok := s.assertion(form.Get("assertion"))
	if !ok || claims["iss"] != s.policy.Issuer || claims["sub"] == "" || claims["aud"] != s.URL+"/token" {
		return nil, &failure{status: 400, word: "invalid_grant"}
	}
	scopes := strings.Fields(form.Get("scope"))
	if inside, ok := claims["scope"].(string); ok {
		scopes = strings.Fields(inside)
	}
	return s.issue(s.newFamily(scopes), scopes, ""), nil
}

// assertion checks a statement that the registered key signed, which was never seen.
func (s *Server) assertion(text string) (map[string]any, bool) {
	if s.policy.ClientKey == nil {
		return nil, false
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA})
	if err != nil {
		return nil, false
	}
	payload, err := signed.Verify(s.policy.ClientKey.Key)
	if err != nil {
		return nil, false
	}
	var claims map[string]any
	if json.Unmarshal(payload, &claims) != nil {
		return nil, false
	}
	jti, _ := claims["jti"].(string)
	issued, _ := claims["iat"].(float64)
	ends, _ := claims["exp"].(float64)
	now := float64(s.policy.Now().Unix())
	if jti == "" || s.jtis[jti] || issued > now || ends <= now || ends > now+3600 {
		return nil, false
	}
	s.jtis[jti] = true
	return claims, true
}

// exchange answers a token for a live access token of the same server (RFC 8693).
func (s *Server) exchange(form url.Values) (map[string]any, *failure) {
	owner := s.access[form.Get("subject_token")]
	if owner == nil || owner.revoked || form.Get("subject_token_type") != "urn:ietf:params:oauth:token-type:access_token" {
		return nil, &failure{status: 400, word: "invalid_request"}
	}
	scopes := strings.Fields(form.Get("scope"))
	members := s.issue(s.newFamily(scopes), scopes, "")
	members["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
	return members, nil
}

// installation answers an app's token for one of its installations, as GitHub does. It
// lives for an hour.
func (s *Server) installation(r *http.Request) (map[string]any, *failure) {
	text, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	claims, ok := s.assertion(text)
	if !ok || claims["iss"] != s.policy.Issuer || claims["exp"].(float64) > float64(s.policy.Now().Add(10*time.Minute).Unix()) {
		return nil, &failure{status: 401, word: "Bad credentials"}
	}
	members := s.issue(s.newFamily(nil), nil, "")
	return map[string]any{"token": members["access_token"], "expires_at": s.policy.Now().Add(time.Hour).UTC().Format(time.RFC3339)}, nil
}
