package simulate

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"claviger"
	"claviger/internal/catalog"
)

const document = `key: acme
name: Acme
kind: http
baseUrl: https://api.acme.example/v1
auth:
  - key: oauth
    type: oauth2
    oauth2:
      grant: authorizationCode
      authorizeUrl: https://auth.acme.example/authorize
      tokenUrl: https://auth.acme.example/token
      revokeUrl: https://auth.acme.example/revoke
      scopes: [a, b]
      clientAuth: client_secret_post
      tokenParams: {audience: crm}
      tokenResponse: {format: json}
      refresh: {rotates: true}
    test: {method: GET, path: /me, account: {id: $.id}}
  - key: service
    type: oauth2
    fields: [{key: clientId, required: true}, {key: clientSecret, secret: true, required: true}]
    oauth2: {grant: clientCredentials, tokenUrl: "https://auth.acme.example/token", clientAuth: client_secret_basic, refresh: none, revoke: none}
expiry: [{status: 401}]
`

func vendor(t *testing.T) *Vendor {
	t.Helper()
	conn, faults := catalog.Parse("acme.yaml", []byte(document), catalog.Options{})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	v, err := New(conn, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

const redirectURI = "https://claviger.example/callback"

// consent answers a live code.
func consent(t *testing.T, v *Vendor) string {
	t.Helper()
	q := url.Values{
		"response_type": {"code"}, "client_id": {v.Client("oauth").ID}, "redirect_uri": {redirectURI}, "state": {"s"}, "scope": {"a b"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"}, // RFC 7636, appendix B
	}
	back, err := v.Consent("oauth", "https://auth.acme.example/authorize?"+q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	values, err := url.ParseQuery(back)
	if err != nil || values.Get("state") != "s" {
		t.Fatalf("%q %v", back, err)
	}
	return values.Get("code")
}

func exchange(v *Vendor, code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "client_id": {v.Client("oauth").ID},
		"client_secret": {v.Client("oauth").Secret}, "audience": {"crm"}, "code_verifier": {"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
	}
}

func post(v *Vendor, address string, form url.Values, header http.Header) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, values := range header {
		req.Header[name] = values
	}
	w := httptest.NewRecorder()
	v.ServeHTTP(w, req)
	return w
}

const tokenURL = "https://auth.acme.example/token"

// TestTokenRequestsAreChecked: each thing that a token request must have is missed.
func TestTokenRequestsAreChecked(t *testing.T) {
	v := vendor(t)
	if w := post(v, tokenURL, exchange(v, consent(t, v)), nil); w.Code != http.StatusOK {
		t.Fatalf("%d %s %q", w.Code, w.Body, v.Faults())
	}
	if access, refresh := v.Live("oauth"); access != 1 || refresh != 1 {
		t.Errorf("%d access and %d refresh tokens", access, refresh)
	}
	basic := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(v.Client("oauth").ID+":x"))}}
	for name, change := range map[string]func(url.Values) http.Header{
		"no secret":        func(q url.Values) http.Header { q.Del("client_secret"); return nil },
		"another secret":   func(q url.Values) http.Header { q.Set("client_secret", "x"); return nil },
		"another client":   func(q url.Values) http.Header { q.Set("client_id", "x"); return nil },
		"two proofs":       func(url.Values) http.Header { return basic },
		"another redirect": func(q url.Values) http.Header { q.Set("redirect_uri", "https://evil.example/"); return nil },
		"no verifier":      func(q url.Values) http.Header { q.Del("code_verifier"); return nil },
		"another verifier": func(q url.Values) http.Header { q.Set("code_verifier", "x"); return nil },
		"another code":     func(q url.Values) http.Header { q.Set("code", "x"); return nil },
		"no parameter":     func(q url.Values) http.Header { q.Del("audience"); return nil },
		"another grant":    func(q url.Values) http.Header { q.Set("grant_type", "password"); return nil },
		"a service's":      func(q url.Values) http.Header { q.Set("grant_type", "client_credentials"); return nil },
		"JSON": func(url.Values) http.Header {
			return http.Header{"Content-Type": {"application/json"}}
		},
	} {
		form := exchange(v, consent(t, v))
		if w := post(v, tokenURL, form, change(form)); w.Code < 400 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if faults := v.Faults(); len(faults) == 0 {
			t.Errorf("%s: nobody complains", name)
		}
	}
	code := consent(t, v)
	for i, want := range []int{http.StatusOK, http.StatusBadRequest} {
		if w := post(v, tokenURL, exchange(v, code), nil); w.Code != want {
			t.Errorf("use %d of a code: %d", i+1, w.Code)
		}
	}
}

// TestMethodsThatShareAnAddress: the client tells whose request it is, and a service
// gets no refresh token where the document says none.
func TestMethodsThatShareAnAddress(t *testing.T) {
	v := vendor(t)
	c := v.Client("service")
	if c.ID != v.Values("service")[catalog.ClientID] || c.Secret != v.Values("service")["clientSecret"] {
		t.Fatalf("the client %+v is not the one of the fields", c.ID)
	}
	proof := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.ID) + ":" + url.QueryEscape(c.Secret)))
	w := post(v, tokenURL, url.Values{"grant_type": {"client_credentials"}}, http.Header{"Authorization": {"Basic " + proof}})
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "refresh_token") {
		t.Fatalf("%d %s %q", w.Code, w.Body, v.Faults())
	}
	if access, refresh := v.Live("service"); access != 1 || refresh != 0 {
		t.Errorf("%d access and %d refresh tokens", access, refresh)
	}
	if access, _ := v.Live("oauth"); access != 0 {
		t.Error("the other method has a token")
	}
}

// TestConsentIsChecked: an authorization address that differs in anything is refused.
func TestConsentIsChecked(t *testing.T) {
	v := vendor(t)
	good := url.Values{
		"response_type": {"code"}, "client_id": {v.Client("oauth").ID}, "redirect_uri": {redirectURI}, "state": {"s"}, "scope": {"a b"},
		"code_challenge": {"x"}, "code_challenge_method": {"S256"},
	}
	for name, value := range map[string]string{"response_type": "token", "client_id": "x", "redirect_uri": "", "state": "", "scope": "a", "code_challenge": "", "code_challenge_method": "plain"} {
		q := url.Values{}
		for k, values := range good {
			q[k] = values
		}
		q.Set(name, value)
		if back, err := v.Consent("oauth", "https://auth.acme.example/authorize?"+q.Encode()); err == nil {
			t.Errorf("%s=%q is accepted: %s", name, value, back)
		}
	}
	if _, err := v.Consent("oauth", "https://evil.example/authorize?"+good.Encode()); err == nil {
		t.Error("another host is accepted")
	}
}

func TestForeignHostsAndCalls(t *testing.T) {
	v := vendor(t)
	w := post(v, "https://evil.example/token", url.Values{}, nil)
	if w.Code != http.StatusMisdirectedRequest || len(v.Faults()) != 1 {
		t.Errorf("%d", w.Code)
	}
	if w := post(v, "https://api.acme.example/v1/me", url.Values{}, nil); w.Code != http.StatusUnauthorized {
		t.Errorf("a call without a credential: %d", w.Code)
	}
	if got := strings.Join(v.Hosts(), " "); got != "api.acme.example auth.acme.example" {
		t.Errorf("hosts %s", got)
	}
}

// TestSamplesMatch: a text that is made up for a pattern matches it.
func TestSamplesMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{"abc", "[a-z]{3,9}", "[0-9A-F]+", "(x|yy|zzz)", "[^@/ ]{2}", `\d{4}`, `\S{8,}`, "[_-]?", "(?:k_)", ".", `\.`, "[A-Z]*"})
		pattern := "^" + strings.Join(rapid.SliceOfN(part, 1, 6).Draw(t, "parts"), "") + "$"
		s := &sampler{next: rapid.IntRange(0, 1000).Draw(t, "next")}
		if text := s.matching(regexp.MustCompile(pattern)); text == "" || !regexp.MustCompile(pattern).MatchString(text) {
			if !regexp.MustCompile(pattern).MatchString("") {
				t.Fatalf("%q for %s", text, pattern)
			}
		}
	})
	if text := (&sampler{}).matching(regexp.MustCompile(`^a$b`)); text != "" {
		t.Errorf("%q for a pattern that nothing matches", text)
	}
}

func TestInputs(t *testing.T) {
	s := &sampler{}
	for schema, want := range map[string]any{"email": "ada@example.com", "date": "2025-01-31", "uri": "https://example.com/"} {
		if got := s.input(map[string]any{"type": "string", "format": schema}); got != want {
			t.Errorf("%s: %v", schema, got)
		}
	}
	for text, schema := range map[string]map[string]any{
		"first": {"enum": []any{"first", "second"}}, "fixed": {"const": "fixed"},
		"sample": {"type": []any{"string", "integer"}}, "sam": {"type": "string", "maxLength": json.Number("3")},
		"samplexx": {"oneOf": []any{map[string]any{"type": "string", "minLength": json.Number("8")}}},
	} {
		if got := s.input(schema); got != text {
			t.Errorf("%v: %v, want %s", schema, got, text)
		}
	}
	if got, _ := s.input(map[string]any{"type": "array"}).([]any); len(got) != 1 {
		t.Errorf("a list: %v", got)
	}
	if got, _ := s.input(map[string]any{"type": "object"}).(map[string]any); len(got) != 1 {
		t.Errorf("an object: %v", got)
	}
}

func TestSettings(t *testing.T) {
	s := &sampler{}
	for _, c := range []struct {
		v    claviger.Variable
		want string
	}{
		{claviger.Variable{Type: claviger.VariableHostname}, "vendor.example.com"},
		{claviger.Variable{Type: claviger.VariableHostLabel}, "acme"},
		{claviger.Variable{Type: claviger.VariableEnum, Values: []string{"eu", "us"}}, "eu"},
		{claviger.Variable{Type: claviger.VariableEnum, Values: []string{"eu", "us"}, Default: "us"}, "us"},
		{claviger.Variable{Type: claviger.VariablePathSegment, Pattern: regexp.MustCompile("^v[2]$")}, "v2"},
	} {
		if got := s.setting(&c.v, nil); got != c.want {
			t.Errorf("%+v: %s", c.v, got)
		}
	}
}
