package oauthserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"claviger"
)

// failure is an error answer of RFC 6749, section 5.2.
type failure struct {
	status    int
	word      string
	challenge string // WWW-Authenticate; none if empty
}

// authorize consents at once, as a person who says yes to everything, and sends the
// browser back. Whatever a careful server insists on, it insists on.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for name, values := range q {
		if len(values) != 1 && name != "resource" {
			http.Error(w, name+" stands twice", http.StatusBadRequest)
			return
		}
	}
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || q.Get("client_id") != s.Client.ID || q.Get("response_type") != "code" || q.Get("state") == "" {
		http.Error(w, "bad authorization request", http.StatusBadRequest)
		return
	}
	if q.Get("code_challenge") != "" && q.Get("code_challenge_method") != "S256" {
		http.Error(w, "only S256", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	f := s.newFamily(strings.Fields(q.Get("scope")))
	f.nonce = q.Get("nonce")
	value := "code_" + random(18)
	s.codes[value] = &code{family: f, redirectURI: q.Get("redirect_uri"), challenge: q.Get("code_challenge")}
	s.mu.Unlock()
	answer := back.Query()
	answer.Set("code", value)
	answer.Set("state", q.Get("state"))
	answer.Set("iss", s.issuer())
	back.RawQuery = answer.Encode()
	w.Header().Set("Location", back.String())
	w.WriteHeader(http.StatusFound)
}

// Approve visits an authorization address as a browser and answers the raw query that
// the browser would take to the callback.
func (s *Server) Approve(t testing.TB, address string) string {
	t.Helper()
	client := s.http.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		t.Fatalf("the server did not redirect: status %d", resp.StatusCode)
	}
	return back.RawQuery
}

func (s *Server) token(r *http.Request) (map[string]any, *failure) {
	form, f := s.authenticated(r)
	if f != nil {
		return nil, f
	}
	if !s.policy.DPoP {
		return s.grant(form)
	}
	thumbprint, f := s.proven(r, "")
	if f != nil {
		return nil, f
	}
	members, f := s.grant(form)
	if f == nil {
		s.bind(members, thumbprint)
	}
	return members, f
}

func (s *Server) grant(form url.Values) (map[string]any, *failure) {
	switch form.Get("grant_type") {
	case "authorization_code":
		return s.redeemCode(form)
	case "refresh_token":
		var narrow []string
		if form.Has("scope") {
			narrow = strings.Fields(form.Get("scope"))
		}
		return s.redeem(form.Get("refresh_token"), narrow)
	case "client_credentials":
		scopes := strings.Fields(form.Get("scope"))
		return s.issue(s.newFamily(scopes), scopes, ""), nil
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		return s.jwtBearer(form)
	case "urn:ietf:params:oauth:grant-type:token-exchange":
		return s.exchange(form)
	case "urn:ietf:params:oauth:grant-type:device_code":
		return s.pollDevice(form.Get("device_code"))
	default:
		return nil, &failure{status: 400, word: "unsupported_grant_type"}
	}
}

// redeemCode answers a code once; a second use ends what the first one gave (RFC 6749,
// section 4.1.2).
func (s *Server) redeemCode(form url.Values) (map[string]any, *failure) {
	c := s.codes[form.Get("code")]
	if c == nil || c.redirectURI != form.Get("redirect_uri") {
		return nil, &failure{status: 400, word: "invalid_grant"}
	}
	if c.used {
		c.family.revoked = true
		return nil, &failure{status: 400, word: "invalid_grant"}
	}
	c.used = true
	hash := sha256.Sum256([]byte(form.Get("code_verifier")))
	if c.challenge != "" && subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(hash[:])), []byte(c.challenge)) != 1 {
		return nil, &failure{status: 400, word: "invalid_grant"}
	}
	members := s.issue(c.family, c.family.scopes, s.newRefresh(c.family))
	if c.family.nonce != "" {
		members["id_token"] = s.makeIDToken(map[string]any{"nonce": c.family.nonce})
	}
	return members, nil
}

func (s *Server) startDevice(r *http.Request) (map[string]any, *failure) {
	form, f := s.authenticated(r)
	if f != nil {
		return nil, f
	}
	value := "dc_" + random(24)
	s.devices[value] = &device{family: s.newFamily(strings.Fields(form.Get("scope")))}
	return map[string]any{
		"device_code": value, "user_code": "WDJB-MJHT", "verification_uri": s.URL + "/activate",
		"verification_uri_complete": s.URL + "/activate?user_code=WDJB-MJHT", "expires_in": 600, "interval": 5,
	}, nil
}

func (s *Server) pollDevice(value string) (map[string]any, *failure) {
	d := s.devices[value]
	switch {
	case d == nil:
		return nil, &failure{status: 400, word: "expired_token"}
	case d.polls < s.policy.DevicePolls:
		d.polls++
		return nil, &failure{status: 400, word: "authorization_pending"}
	case s.policy.DeviceWord != "":
		return nil, &failure{status: 400, word: s.policy.DeviceWord}
	}
	delete(s.devices, value)
	return s.issue(d.family, d.family.scopes, s.newRefresh(d.family)), nil
}

func (s *Server) revoke(r *http.Request) (map[string]any, *failure) {
	form, f := s.authenticated(r)
	if f != nil {
		return nil, f
	}
	s.forget(form.Get("token"))
	return nil, nil
}

func (s *Server) introspect(r *http.Request) (map[string]any, *failure) {
	form, f := s.authenticated(r)
	if f != nil {
		return nil, f
	}
	token := form.Get("token")
	owner := s.access[token]
	if rt := s.refresh[token]; rt != nil && rt.used.IsZero() {
		owner = rt.family
	}
	if owner == nil || owner.revoked {
		return map[string]any{"active": false}, nil
	}
	return map[string]any{
		"active": true, "scope": strings.Join(owner.scopes, " "), "client_id": s.Client.ID, "sub": "user-1",
		"exp": s.policy.Now().Add(s.policy.Lifetime).Unix(),
	}, nil
}

// authenticated checks the client, in the policy's way and in no other, and answers
// the form.
func (s *Server) authenticated(r *http.Request) (url.Values, *failure) {
	refused := &failure{status: 401, word: "invalid_client"}
	form, err := readForm(r)
	if err != nil {
		return nil, &failure{status: 400, word: "invalid_request"}
	}
	id, secret, basic := r.BasicAuth()
	inBody := form.Has("client_secret")
	assertion := form.Get("client_assertion")
	switch s.policy.ClientAuth {
	case claviger.ClientSecretBasic:
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
		if !basic || inBody || assertion != "" || !s.isClient(id, secret) {
			return nil, refused
		}
	case claviger.ClientSecretPost:
		if basic || assertion != "" || !s.isClient(form.Get("client_id"), form.Get("client_secret")) {
			return nil, refused
		}
	case claviger.PrivateKeyJWT:
		if basic || inBody || !s.validAssertion(assertion) {
			return nil, refused
		}
	case claviger.TLSClientAuth:
		if basic || inBody || form.Get("client_id") != s.Client.ID || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			return nil, refused
		}
	default:
		stands := form.Has("assertion") && !form.Has("client_id") // the grant's assertion is all
		if basic || inBody || assertion != "" || form.Get("client_id") != s.Client.ID && !stands {
			return nil, refused
		}
	}
	return form, nil
}

func (s *Server) isClient(id, secret string) (ok bool) {
	if id == s.Client.ID && s.policy.Former != "" && subtle.ConstantTimeCompare([]byte(secret), []byte(s.policy.Former)) == 1 {
		return true
	}
	s.Client.Secret.Use(func(b []byte) { ok = id == s.Client.ID && subtle.ConstantTimeCompare([]byte(secret), b) == 1 })
	return ok
}

// validAssertion checks private_key_jwt: signature, issuer, audience, lifetime, and
// that the id was never seen.
func (s *Server) validAssertion(text string) bool {
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA})
	if err != nil || s.policy.ClientKey == nil {
		return false
	}
	payload, err := signed.Verify(s.policy.ClientKey.Key)
	if err != nil {
		return false
	}
	var claims struct {
		Iss string `json:"iss"`
		Sub string `json:"sub"`
		Aud string `json:"aud"`
		Jti string `json:"jti"`
		Exp int64  `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || s.jtis[claims.Jti] || claims.Jti == "" {
		return false
	}
	s.jtis[claims.Jti] = true
	return claims.Iss == s.Client.ID && claims.Sub == s.Client.ID && strings.HasPrefix(claims.Aud, s.URL) && claims.Exp > s.policy.Now().Unix()
}

// readForm reads the body as the media type says; a parameter twice is refused.
func readForm(r *http.Request) (url.Values, error) {
	if r.Header.Get("Content-Type") == "application/json" {
		var flat map[string]string
		if err := json.NewDecoder(r.Body).Decode(&flat); err != nil {
			return nil, err
		}
		form := url.Values{}
		for name, value := range flat {
			form.Set(name, value)
		}
		return form, nil
	}
	err := r.ParseForm()
	return r.PostForm, err
}
