package clavigertest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger"
	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// hostile is a server whose provider says whatever a test wants.
type hostile struct {
	*clavigertest.Server
	t      *testing.T
	org    string
	vendor *oauthserver.Server
}

func startHostile(t *testing.T, engine clavigertest.Engine) *hostile {
	t.Helper()
	x := &hostile{t: t, vendor: oauthserver.Start(t, oauthserver.Policy{})}
	u, err := url.Parse(x.vendor.URL)
	if err != nil {
		t.Fatal(err)
	}
	x.Server = clavigertest.Start(t, clavigertest.Options{Engine: engine, EgressAllow: u.Host, RootCAs: x.vendor.Roots()})
	x.org = x.Do(call{Token: x.Key, Method: http.MethodGet, Path: "/v1/whoami"}).Field("organizationId")
	x.provide(x.Key, "")
	return x
}

// provide makes the vendor the provider of a key's organization.
func (x *hostile) provide(key, role string) {
	x.t.Helper()
	var secret string
	x.vendor.Client.Secret.Use(func(b []byte) { secret = string(b) })
	if _, err := x.Client(key).PutSingleSignOn(x.t.Context(), api.PutSingleSignOn{
		Issuer: x.vendor.URL, ClientID: x.vendor.Client.ID, ClientSecret: &secret, AllowedDomains: []string{"corp.com"}, DefaultRole: role,
	}); err != nil {
		x.t.Fatal(err)
	}
}

// says has the provider's id tokens say something else; nil takes a claim away.
func (x *hostile) says(other map[string]any) {
	x.vendor.IDTokens(func(claims map[string]any) string {
		maps.Copy(claims, other)
		return x.vendor.SignIDToken(claims)
	})
}

// callback is the path at which an organization's provider answers.
func (x *hostile) callback(org string) string { return "/console/sign-in/sso/" + org + "/callback" }

// leave has a browser begin, and answers what the provider sends it back with.
func (x *hostile) leave(b *browser, org string) (rawQuery string) {
	x.t.Helper()
	away := b.post("/console/sign-in/sso/"+org, url.Values{})
	_, onward, ok := strings.Cut(away.Header.Get("Refresh"), "url=")
	if !ok {
		x.t.Fatalf("beginning answered %d: %s", away.Status, away.Body)
	}
	return x.vendor.Approve(x.t, onward)
}

// come signs a new browser in, and answers the code of the refusal; empty if it is in.
func (x *hostile) come() (*browser, string) {
	x.t.Helper()
	b := visitor(x.t, x.Server)
	back := b.get(x.callback(x.org) + "?" + x.leave(b, x.org))
	if b.in() != (back.Location == "/console/") {
		x.t.Fatalf("answered %d to %q, and in is %t", back.Status, back.Location, b.in())
	}
	return b, back.Header.Get("Claviger-Error")
}

func (x *hostile) invite(name, email string) {
	x.t.Helper()
	if _, err := x.Client(x.Key).CreateUser(x.t.Context(), api.CreateUser{Name: name, Email: email, Role: "viewer"}); err != nil {
		x.t.Fatal(err)
	}
}

// macked answers a token that whoever knows a shared key could make (RFC 7518, section 3.2).
func macked(key string, claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		return ""
	}
	enc := base64.RawURLEncoding
	text := enc.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + enc.EncodeToString(payload)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return text + "." + enc.EncodeToString(mac.Sum(nil))
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signed answers a token that a key of the caller's signs.
func signed(key *ecdsa.PrivateKey, claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		return ""
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		return ""
	}
	token, err := s.Sign(payload)
	if err != nil {
		return ""
	}
	text, _ := token.CompactSerialize()
	return text
}

// An id token that is not exactly the provider's answer to this browser opens nothing.
func TestAbuse_043_HostileIDTokens(t *testing.T) {
	x := startHostile(t, clavigertest.SQLite)
	x.invite("Ada", "ada@corp.com")
	verified := map[string]any{"email": "ada@corp.com", "email_verified": true}
	now := time.Now()
	for name, wrong := range map[string]map[string]any{
		"aud":                    {"aud": "somebody-else"},
		"aud of several":         {"aud": []string{x.vendor.Client.ID, "other"}},
		"no aud":                 {"aud": nil},
		"iss":                    {"iss": "https://elsewhere.example"},
		"iss with a slash":       {"iss": x.vendor.URL + "/"},
		"no iss":                 {"iss": nil},
		"nonce":                  {"nonce": "another flow's"},
		"no nonce":               {"nonce": nil},
		"azp":                    {"azp": "somebody-else"},
		"azp of several":         {"aud": []string{x.vendor.Client.ID, "other"}, "azp": "other"},
		"at_hash":                {"at_hash": base64.RawURLEncoding.EncodeToString(make([]byte, 16))},
		"at_hash of no length":   {"at_hash": ""},
		"at_hash that is a list": {"at_hash": []string{"a"}},
		"expired":                {"exp": now.Add(-5 * time.Minute).Unix()},
		"no exp":                 {"exp": nil},
		"of yesterday":           {"iat": now.Add(-25 * time.Hour).Unix()},
		"of tomorrow":            {"iat": now.Add(time.Hour).Unix()},
		"no sub":                 {"sub": nil},
		"a list for a sub":       {"sub": []string{"user-1"}},
	} {
		claims := maps.Clone(verified)
		maps.Copy(claims, wrong)
		x.says(claims)
		if _, code := x.come(); code != "invalid_id_token" {
			t.Errorf("%s: answered %q", name, code)
		}
	}
	forged := func(claims map[string]any) map[string]any {
		maps.Copy(claims, verified)
		maps.Copy(claims, map[string]any{"iss": x.vendor.URL, "aud": x.vendor.Client.ID, "sub": "user-1", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})
		return claims
	}
	unsigned := func(alg string) func(map[string]any) string {
		return func(claims map[string]any) string {
			payload, err := json.Marshal(forged(claims))
			if err != nil {
				return ""
			}
			enc := base64.RawURLEncoding
			return enc.EncodeToString([]byte(`{"alg":"`+alg+`"}`)) + "." + enc.EncodeToString(payload) + "."
		}
	}
	var secret string
	x.vendor.Client.Secret.Use(func(b []byte) { secret = string(b) })
	stranger := ecKey(t)
	for name, forge := range map[string]func(map[string]any) string{
		"alg none":         unsigned("none"),
		"alg None":         unsigned("None"),
		"no alg":           unsigned(""),
		"the shared key":   func(c map[string]any) string { return macked("secret", forged(c)) },
		"the client's key": func(c map[string]any) string { return macked(secret, forged(c)) },
		"a stranger's key": func(c map[string]any) string { return signed(stranger, forged(c)) },
		"no token":         func(map[string]any) string { return "" },
	} {
		x.vendor.IDTokens(forge)
		if _, code := x.come(); code != "invalid_id_token" {
			t.Errorf("%s: answered %q", name, code)
		}
	}
	x.says(verified)
	if b, code := x.come(); !b.in() {
		t.Fatalf("what is right was refused with %q: the refusals above prove nothing", code)
	}
}

// Who somebody is, is issuer and subject. An address finds a person who was invited, once.
func TestAbuse_043_IdentityIsIssuerAndSubject(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := startHostile(t, engine)
		boss := visitor(t, x.Server)
		boss.post(ownerLink(t, x.Server), url.Values{"name": {"Boss"}, "email": {"boss@corp.com"}, "password": {ownerPassword}})
		x.invite("Ada", "ada@corp.com")
		for _, c := range []struct {
			name, subject string
			email         any
			verified      any
			code          string
		}{
			{"nobody vouches for the address", "s1", "ada@corp.com", false, "email_not_verified"},
			{"nobody says so", "s1", "ada@corp.com", nil, "email_not_verified"},
			{"a word is no truth", "s1", "ada@corp.com", "true", "email_not_verified"},
			{"two signs", "s1", "ada@corp.com@corp.com", true, "email_not_allowed"},
			{"two signs, the domain last", "s1", "a@b@corp.com", true, "email_not_allowed"},
			{"a name before it", "s1", "Ada <ada@corp.com>", true, "email_not_allowed"},
			{"a list", "s1", []string{"ada@corp.com"}, true, "email_not_verified"},
			{"a longer domain", "s1", "ada@corp.com.evil.example", true, "email_not_allowed"},
			{"a lower domain", "s1", "ada@mail.corp.com", true, "email_not_allowed"},
			{"another domain", "s1", "ada@evil.example", true, "email_not_allowed"},
			{"nobody was invited", "s1", "eve@corp.com", true, "not_invited"},
			{"somebody with a password", "s1", "boss@corp.com", true, "sign_in_to_link"},
			{"the first time", "s1", "Ada@Corp.com", true, ""},
			{"the address went to another person", "s2", "ada@corp.com", true, "sign_in_to_link"},
			{"the person has another address", "s1", "boss@corp.com", true, ""},
			{"userinfo of another person", "s1", nil, nil, "bad_token_response"},
			{"subjects differ by case", "S1", "ada@corp.com", true, "sign_in_to_link"},
		} {
			x.says(map[string]any{"sub": c.subject, "email": c.email, "email_verified": c.verified})
			b, code := x.come()
			if code != c.code {
				t.Errorf("%s: answered %q, want %q", c.name, code, c.code)
			}
			if c.code == "" && !strings.Contains(b.get("/console/account").Body, "ada@corp.com") {
				t.Errorf("%s: it is not Ada who is in", c.name)
			}
		}
	})
}

// The same account of the same provider is nobody in another organization, and a way that
// one browser began ends in that browser, at that organization, once.
func TestAbuse_043_AnswersBelongToOneBrowserAndOrganization(t *testing.T) {
	x := startHostile(t, clavigertest.SQLite)
	x.invite("Ada", "ada@corp.com")
	x.says(map[string]any{"sub": "s1", "email": "ada@corp.com", "email_verified": true})
	if b, code := x.come(); !b.in() {
		t.Fatal(code)
	}
	made, err := x.Client(x.Key).CreateOrganization(t.Context(), api.CreateOrganization{Name: "Beta"})
	if err != nil {
		t.Fatal(err)
	}
	x.provide(made.APIKey, "")
	for name, try := range map[string]func(b *browser) string{
		"in another organization": func(b *browser) string { return x.callback(made.ID) + "?" + x.leave(b, made.ID) },
		"at another's address":    func(b *browser) string { return x.callback(made.ID) + "?" + x.leave(b, x.org) },
		"from another browser":    func(*browser) string { return x.callback(x.org) + "?" + x.leave(visitor(t, x.Server), x.org) },
		"into another flow": func(b *browser) string {
			answer := x.leave(visitor(t, x.Server), x.org)
			x.leave(b, x.org)
			return x.callback(x.org) + "?" + answer
		},
		"of no flow": func(*browser) string { return x.callback(x.org) + "?code=x&state=" + strings.Repeat("A", 43) },
		"of another issuer": func(b *browser) string {
			return x.callback(x.org) + "?" + with(x.leave(b, x.org), "iss", "https://elsewhere.example")
		},
		"of no issuer": func(b *browser) string { return x.callback(x.org) + "?" + with(x.leave(b, x.org), "iss", "") },
		"with another's state": func(b *browser) string {
			return x.callback(x.org) + "?" + with(x.leave(b, x.org), "state", strings.Repeat("A", 43))
		},
		"twice": func(b *browser) string {
			once := x.callback(x.org) + "?" + x.leave(b, x.org)
			if p := b.get(once); p.Location != "/console/" {
				t.Errorf("the first time answered %d: %s", p.Status, p.Body)
			}
			b.http.Jar = visitor(t, x.Server).http.Jar
			return once
		},
	} {
		b := visitor(t, x.Server)
		if p := b.get(try(b)); p.Location == "/console/" || b.in() || p.Header.Get("Claviger-Error") == "" {
			t.Errorf("%s: answered %d to %q", name, p.Status, p.Location)
		}
	}
}

// The sign-in page names no organization but the instance's, the one that its address
// names and the one that this browser came by.
func TestConsole_TheButtonOfOnesOrganization(t *testing.T) {
	x := startHostile(t, clavigertest.SQLite)
	made, err := x.Client(x.Key).CreateOrganization(t.Context(), api.CreateOrganization{Name: "Beta"})
	if err != nil {
		t.Fatal(err)
	}
	b := visitor(t, x.Server)
	offers := func(address, org string) {
		t.Helper()
		if page := b.get(address); !strings.Contains(page.Body, `action="/console/sign-in/sso/`+org+`"`) {
			t.Errorf("%s does not offer the provider of %s: %s", address, org, page.Body)
		}
	}
	if page := b.get("/console/sign-in?organization=" + made.ID); strings.Contains(page.Body, "single sign-on") || strings.Contains(page.Body, "Beta") {
		t.Error("an organization without a provider is told of")
	}
	x.provide(made.APIKey, "viewer")
	offers("/console/sign-in", x.org)
	offers("/console/sign-in?organization="+made.ID, made.ID)
	x.says(map[string]any{"sub": "s9", "email": "bea@corp.com", "email_verified": true})
	if back := b.get(x.callback(made.ID) + "?" + x.leave(b, made.ID)); back.Location != "/console/" || !b.in() {
		t.Fatalf("answered %d: %s", back.Status, back.Body)
	}
	b.post("/console/sign-out", b.own(url.Values{}))
	offers("/console/sign-in", made.ID)
	offers("/console/sign-in?organization="+x.org, x.org)
}

// with answers a query with one parameter replaced, or taken away.
func with(rawQuery, name, value string) string {
	q, _ := url.ParseQuery(rawQuery)
	if q.Set(name, value); value == "" {
		q.Del(name)
	}
	return q.Encode()
}

// Whoever chooses the provider decides who signs in as whom, so owners alone do; and
// nobody becomes an owner by what a provider says.
func TestAbuse_043_OwnersAloneChooseTheProvider(t *testing.T) {
	x := startHostile(t, clavigertest.SQLite)
	if claviger.RoleAdmin.Permissions().Has(claviger.SingleSignOnWrite) {
		t.Error("an administrator could make an owner of themselves")
	}
	body := map[string]any{"issuer": x.vendor.URL, "clientId": "c", "allowedDomains": []string{"corp.com"}, "defaultRole": "owner"}
	if a := x.Do(call{Token: x.Key, Method: http.MethodPut, Path: "/v1/sso", Body: body}); a.Status != 422 || a.Fault().Param != "defaultRole" {
		t.Errorf("owners by default: %d %s", a.Status, a.Body)
	}
	body["defaultRole"], body["allowedDomains"] = "viewer", []string{}
	if a := x.Do(call{Token: x.Key, Method: http.MethodPut, Path: "/v1/sso", Body: body}); a.Status != 422 || a.Fault().Param != "allowedDomains" {
		t.Errorf("everybody by default: %d %s", a.Status, a.Body)
	}
	body["allowedDomains"] = []string{"corp.com"}
	if a := x.Do(call{Token: x.Key, Method: http.MethodPut, Path: "/v1/sso", Body: body}); a.Status != 422 || a.Fault().Param != "clientSecret" {
		t.Errorf("the secret of another client: %d %s", a.Status, a.Body)
	}
	key, err := x.Client(x.Key).CreateAPIKey(t.Context(), api.CreateAPIKey{Name: "admin's", Scopes: []string{"sso:read", "organizations:update"}})
	if err != nil {
		t.Fatal(err)
	}
	for method, want := range map[string]int{http.MethodGet: 200, http.MethodPut: 403, http.MethodDelete: 403} {
		a := x.Do(call{Token: key.Key, Method: method, Path: "/v1/sso", Body: map[string]any{"issuer": "https://evil.example", "clientId": "c"}})
		if a.Status != want {
			t.Errorf("%s without the right answered %d: %s", method, a.Status, a.Body)
		}
	}
}
