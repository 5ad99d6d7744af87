package oauthserver

import (
	"slices"
	"strings"
	"time"
)

// family is one grant and all tokens that came of it.
type family struct {
	scopes  []string
	revoked bool
	nonce   string
}

type refreshToken struct {
	family    *family
	used      time.Time // zero while it is alive
	successor string
}

type code struct {
	family      *family
	redirectURI string
	challenge   string
	used        bool
}

type device struct {
	family *family
	polls  int
}

// Grant makes a grant as if somebody had consented, and answers its refresh token.
func (s *Server) Grant(scopes ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newRefresh(s.newFamily(scopes))
}

// Live answers how many refresh tokens are alive.
func (s *Server) Live() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.refresh {
		if r.used.IsZero() && !r.family.revoked {
			n++
		}
	}
	return n
}

// Alive reports whether a refresh token would be accepted as unused.
func (s *Server) Alive(refresh string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.refresh[refresh]
	return r != nil && r.used.IsZero() && !r.family.revoked
}

// Refreshed answers how often a refresh took effect, and how often a refresh token
// was used a second time.
func (s *Server) Refreshed() (rotations, reuses int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rotated, s.reuses
}

// RevokeAll ends every grant, as an administrator at the vendor does.
func (s *Server) RevokeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.families {
		f.revoked = true
	}
}

func (s *Server) newFamily(scopes []string) *family {
	f := &family{scopes: slices.Clone(scopes)}
	s.families = append(s.families, f)
	return f
}

func (s *Server) newRefresh(f *family) string {
	token := "rt_" + random(24)
	s.refresh[token] = &refreshToken{family: f}
	return token
}

// issue answers the members of a token answer.
func (s *Server) issue(f *family, scopes []string, refresh string) map[string]any {
	access := "at_" + random(24)
	s.access[access] = f
	members := map[string]any{
		"access_token": access, "token_type": "bearer", "expires_in": int(s.policy.Lifetime.Seconds()), "scope": strings.Join(scopes, " "),
	}
	if refresh != "" && !s.policy.NoRefresh {
		members["refresh_token"] = refresh
	}
	return members
}

// redeem answers a refresh. A used token within its grace answers its successor again;
// after it, it is reuse.
func (s *Server) redeem(token string, narrow []string) (map[string]any, *failure) {
	r := s.refresh[token]
	if r == nil || r.family.revoked {
		return nil, &failure{status: 400, word: "invalid_grant"}
	}
	scopes := r.family.scopes
	if narrow != nil {
		scopes = narrow
	}
	if s.policy.NarrowTo != nil {
		scopes = s.policy.NarrowTo
	}
	now := s.policy.Now()
	if !r.used.IsZero() {
		s.reuses++
		if now.Sub(r.used) < s.policy.Grace {
			return s.issue(r.family, scopes, r.successor), nil
		}
		if s.policy.RevokeFamily {
			r.family.revoked = true
		}
		return nil, &failure{status: 400, word: "invalid_grant"}
	}
	s.rotated++
	if !s.policy.Rotates {
		return s.issue(r.family, scopes, ""), nil
	}
	r.used = now
	r.successor = s.newRefresh(r.family)
	return s.issue(r.family, scopes, r.successor), nil
}

// forget revokes a token: an access token alone, a refresh token with its grant.
func (s *Server) forget(token string) {
	delete(s.access, token)
	if r := s.refresh[token]; r != nil {
		r.family.revoked = true
	}
}
