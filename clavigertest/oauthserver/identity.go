package oauthserver

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// issuer is what callbacks and id tokens name.
func (s *Server) issuer() string {
	if s.policy.WrongIssuer {
		return "https://elsewhere.example"
	}
	return s.URL
}

// SignIDToken signs an id token for the registered client and user-1, valid now.
// claims replace its own; a nil value takes one away.
func (s *Server) SignIDToken(claims map[string]any) string {
	now := s.policy.Now()
	all := map[string]any{
		"iss": s.issuer(), "aud": s.Client.ID, "sub": "user-1", "name": "Ada", "email": "ada@example.com",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(all)
	if err != nil {
		return ""
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, nil)
	if err != nil {
		return ""
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return ""
	}
	text, _ := signed.CompactSerialize()
	return text
}

// IDTokens has codes answer what makeToken makes of the claims that their id token would
// hold beside [Server.SignIDToken]'s own.
func (s *Server) IDTokens(makeToken func(claims map[string]any) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idToken = makeToken
}

func (s *Server) makeIDToken(claims map[string]any) string {
	if s.idToken != nil {
		return s.idToken(claims)
	}
	return s.SignIDToken(claims)
}

func (s *Server) keySet(*http.Request) (map[string]any, *failure) {
	return map[string]any{"keys": []any{
		map[string]any{"kty": "unheard-of", "kid": "x"},
		map[string]any{"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
		s.key.Public(),
	}}, nil
}

func (s *Server) metadata(*http.Request) (map[string]any, *failure) {
	return map[string]any{
		"issuer": s.issuer(), "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token",
		"device_authorization_endpoint": s.URL + "/device", "revocation_endpoint": s.URL + "/revoke",
		"introspection_endpoint": s.URL + "/introspect", "userinfo_endpoint": s.URL + "/userinfo", "jwks_uri": s.URL + "/jwks",
		"code_challenge_methods_supported":               []string{"S256"},
		"token_endpoint_auth_methods_supported":          []string{string(s.policy.ClientAuth), "unheard_of"},
		"authorization_response_iss_parameter_supported": true,
	}, nil
}

func (s *Server) userinfo(r *http.Request) (map[string]any, *failure) {
	scheme := "Bearer "
	if s.policy.DPoP {
		scheme = "DPoP "
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), scheme)
	if f := s.access[token]; !ok || f == nil || f.revoked {
		return nil, &failure{status: 401, word: "invalid_token"}
	}
	if s.policy.DPoP {
		if thumbprint, f := s.proven(r, token); f != nil || thumbprint != s.bound[token] {
			if f == nil {
				f = &failure{status: 401, word: "invalid_token"}
			}
			return nil, f
		}
	}
	return map[string]any{"sub": "user-1", "name": "Ada", "email": "ada@example.com"}, nil
}
