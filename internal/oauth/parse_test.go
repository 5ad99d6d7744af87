package oauth_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/internal/oauth"
)

const good = `{"access_token":"at","token_type":"Bearer","expires_in":3600,"refresh_token":"rt"}`

// TestAbuse_082_MediaTypes: what is read, by what type, and what is not.
func TestAbuse_082_MediaTypes(t *testing.T) {
	const form = "access_token=at&token_type=bearer&expires_in=3600&refresh_token=rt"
	utf16 := "\xfe\xff" + strings.Join(strings.Split(good, ""), "\x00")
	for _, c := range []struct {
		name, contentType, body, declared, want string
	}{
		{"JSON", "application/json", good, "", ""},
		{"JSON with a charset", "application/json; charset=utf-8", good, "", ""},
		{"JSON with a mark", "application/json", "\xef\xbb\xbf" + good, "", ""},
		{"JSON of a kind", "application/vnd.acme+json", good, "", ""},
		{"JSON without a type", "", good, "", ""},
		{"JSON as text", "text/plain", good, "", ""},
		{"JSON as script", "text/javascript;charset=UTF-8", "\n" + good, "", ""},
		{"form", "application/x-www-form-urlencoded", form, "", ""},
		{"form as text", "text/plain; charset=utf-8", form, "", ""},
		{"form without a type", "", form, "", ""},
		{"declared form as text", "text/plain", form, "form", ""},
		{"declared form, honest JSON", "application/json", good, "form", ""},
		{"declared JSON, form as text", "text/plain", form, "json", "bad_token_response"},
		{"UTF-16", "application/json; charset=utf-16", utf16, "", "bad_token_response"},
		{"UTF-16 undeclared", "application/json", utf16, "", "bad_token_response"},
		{"Latin-1", "application/json; charset=iso-8859-1", good, "", "bad_token_response"},
		{"declared form, called JSON", "application/json", form, "form", ""},
		{"declared JSON, called a form", "application/x-www-form-urlencoded", good, "json", ""},
		{"declared JSON, called a page", "text/html; charset=utf-8", good, "json", "bad_token_response"},
		{"declared JSON, and a page", "text/html", "<html>" + good + "</html>", "json", "upstream_unavailable"},
		{"form called JSON", "application/json", form, "", "bad_token_response"},
		{"JSON as a page", "text/html", good, "", "bad_token_response"},
		{"a page", "text/html", "<html><body>Sign in</body></html>", "", "upstream_unavailable"},
		{"JSON as XML", "application/xml", good, "", "bad_token_response"},
		{"malformed type", "application/json;;=", good, "", "bad_token_response"},
		{"image", "image/png", good, "", "bad_token_response"},
		{"words", "text/plain", "access_token: at", "", "bad_token_response"},
		{"two lines of form", "text/plain", form + "\nx=y", "", "bad_token_response"},
		{"list", "application/json", "[" + good + "]", "", "bad_token_response"},
		{"two values", "application/json", good + good, "", "bad_token_response"},
		{"a name twice", "application/json", `{"access_token":"at","access_token":"other"}`, "", "bad_token_response"},
		{"a form name twice", "application/x-www-form-urlencoded", form + "&access_token=other", "", "bad_token_response"},
		{"other case", "application/json", `{"Access_Token":"at"}`, "", "bad_token_response"},
		{"deep", "application/json", `{"access_token":"at","x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, "", "bad_token_response"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := plainConfig(t, func(o *claviger.OAuth) { o.TokenResponse.Format = c.declared })
			tokens, err := oauth.Parse(cfg, claviger.OAuthClient{}, answer(200, c.contentType, c.body))
			if code(t, err) != c.want {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if err == nil && (show(tokens.Access) != "at" || show(tokens.Refresh) != "rt" || !tokens.ExpiresAt.Equal(arrival().Add(time.Hour))) {
				t.Errorf("expires %v, tokens or times are wrong", tokens.ExpiresAt)
			}
		})
	}
}

// TestAbuse_083_Lifetimes.
func TestAbuse_083_Lifetimes(t *testing.T) {
	never := time.Time{}
	at := func(d time.Duration) time.Time { return arrival().Add(d) }
	const decade = 10 * 365 * 24 * time.Hour
	for _, c := range []struct {
		members string
		want    time.Time
	}{
		{``, never},
		{`,"expires_in":null`, never},
		{`,"expires_in":"never"`, never},
		{`,"expires_in":"0x10"`, never},
		{`,"expires_in":"NaN"`, never},
		{`,"expires_in":true`, never},
		{`,"expires_in":3600`, at(time.Hour)},
		{`,"expires_in":"3600"`, at(time.Hour)},
		{`,"expires_in":" 3600 "`, at(time.Hour)},
		{`,"expires_in":3600.7`, at(3600*time.Second + 700*time.Millisecond)},
		{`,"expires_in":0`, at(0)},
		{`,"expires_in":-1`, at(0)},
		{`,"expires_in":-9223372036854775808`, at(0)},
		{`,"expires_in":1e12`, at(decade)},
		{`,"expires_in":1e999`, at(decade)},
		{`,"expires_in":9223372036854775808`, at(decade)},
		{`,"expires_at":1772370000`, at(time.Hour)},
		{`,"expires_at":"1772370000"`, at(time.Hour)},
		{`,"expires_at":1772370000000`, at(time.Hour)},
		{`,"expires_at":"2026-03-01T13:00:00Z"`, at(time.Hour)},
		{`,"expires_at":"2026-03-01T14:00:00+01:00"`, at(time.Hour)},
		{`,"expires_at":"2026-03-01T13:00:00.000"`, at(time.Hour)},
		{`,"expires_at":"2026-03-01T13:00:00+0000"`, at(time.Hour)},
		{`,"expires_at":"2020-01-01T00:00:00Z"`, at(0)},
		{`,"expires_at":3600`, at(0)},
		{`,"expires_at":1e300`, at(decade)},
		{`,"expires_at":"tomorrow"`, never},
		{`,"expires_in":60,"expires_at":"2027-01-01T00:00:00Z"`, at(time.Minute)},
	} {
		tokens, err := oauth.Parse(plainConfig(t, nil), claviger.OAuthClient{}, answer(200, "application/json", `{"access_token":"at"`+c.members+`}`))
		if err != nil || tokens.ExpiresAt.Sub(c.want).Abs() > time.Millisecond {
			t.Errorf("%s: %v %v, want %v", c.members, tokens.ExpiresAt, err, c.want)
		}
	}
	declared := plainConfig(t, func(o *claviger.OAuth) {
		o.TokenResponse.ExpiresIn, o.TokenResponse.ExpiresInUnit, o.TokenResponse.RefreshExpiresIn = "$.data.ttl", "ms", "$.data.rttl"
		o.Refresh.DefaultLifetime = 5 * time.Minute
	})
	tokens, err := oauth.Parse(declared, claviger.OAuthClient{}, answer(200, "", `{"access_token":"at","expires_in":1,"data":{"ttl":60000,"rttl":"86400"}}`))
	if err != nil || !tokens.ExpiresAt.Equal(at(time.Minute)) || !tokens.RefreshExpiresAt.Equal(at(24*time.Hour)) {
		t.Errorf("declared: %v, %v, %v", tokens.ExpiresAt, tokens.RefreshExpiresAt, err)
	}
	tokens, err = oauth.Parse(declared, claviger.OAuthClient{}, answer(200, "", `{"access_token":"at","refresh_expires_in":0}`))
	if err != nil || !tokens.ExpiresAt.Equal(at(5*time.Minute)) || !tokens.RefreshExpiresAt.IsZero() {
		t.Errorf("by default: %v, %v, %v", tokens.ExpiresAt, tokens.RefreshExpiresAt, err)
	}
}

// TestAbuse_084_RefreshTokens: absent and empty keep the old one, another replaces it,
// another type is an error.
func TestAbuse_084_RefreshTokens(t *testing.T) {
	for member, want := range map[string]string{
		``: "", `,"refresh_token":null`: "", `,"refresh_token":""`: "", `,"refresh_token":"same"`: "same", `,"refresh_token":"new"`: "new",
		`,"refresh_token":17`: "!", `,"refresh_token":{"value":"x"}`: "!", `,"refresh_token":["x"]`: "!", `,"refresh_token":false`: "!", `,"refresh_token":" "`: "!",
	} {
		tokens, err := oauth.Parse(plainConfig(t, nil), claviger.OAuthClient{}, answer(200, "", `{"access_token":"at"`+member+`}`))
		if want == "!" {
			if code(t, err) != "bad_token_value" {
				t.Errorf("%s: %v", member, err)
			}
		} else if err != nil || show(tokens.Refresh) != want {
			t.Errorf("%s: %v, empty %v", member, err, tokens.Refresh.Empty())
		}
	}
}

// TestAbuse_085_TokenTypes.
func TestAbuse_085_TokenTypes(t *testing.T) {
	for _, c := range []struct {
		member string
		dpop   bool
		want   string // empty: refused
	}{
		{``, false, "Bearer"},
		{`,"token_type":"bearer"`, false, "Bearer"},
		{`,"token_type":"BEARER"`, false, "Bearer"},
		{`,"token_type":"mac"`, false, ""},
		{`,"token_type":"DPoP"`, false, ""},
		{`,"token_type":""`, false, ""},
		{`,"token_type":1`, false, ""},
		{`,"token_type":"DPoP"`, true, "DPoP"},
		{`,"token_type":"dpop"`, true, "DPoP"},
		{`,"token_type":"Bearer"`, true, ""},
		{``, true, ""},
	} {
		cfg := plainConfig(t, func(o *claviger.OAuth) { o.DPoP = c.dpop })
		tokens, err := oauth.Parse(cfg, claviger.OAuthClient{}, answer(200, "", `{"access_token":"at"`+c.member+`}`))
		if tokens.Type != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s, DPoP %v: %q %v", c.member, c.dpop, tokens.Type, err)
		}
	}
}

// TestAbuse_086_TokenValues: what could end a header, or is somebody else's secret, is
// no token, in any of the places of a token.
func TestAbuse_086_TokenValues(t *testing.T) {
	client := claviger.OAuthClient{Secret: claviger.NewSecretString("the-client-secret")}
	bad := []string{
		`a\r\nX-Admin: 1`, `a\nb`, `a\rb`, `a\u0000b`, `a\tb`, `a b`, ` a`, `ä`, `a\u2028`, `a\u007f`, `\ud800`, strings.Repeat("a", 64<<10+1), "the-client-secret",
	}
	for _, value := range bad {
		for _, place := range []string{"access_token", "refresh_token", "id_token"} {
			body := fmt.Sprintf(`{"access_token":"at","%s":"%s"}`, place, value)
			if place == "access_token" {
				body = fmt.Sprintf(`{"access_token":"%s"}`, value)
			}
			tokens, err := oauth.Parse(plainConfig(t, nil), client, answer(200, "application/json", body))
			if code(t, err) != "bad_token_value" || !tokens.Access.Empty() {
				t.Errorf("%s %.20q: %v", place, value, err)
			}
			if err != nil && len(value) > 8 && strings.Contains(err.Error(), value) {
				t.Errorf("the error repeats the value")
			}
		}
	}
	for size, fine := range map[int]bool{1: true, 16 << 10: true, 16<<10 + 1: false} {
		_, err := oauth.Parse(plainConfig(t, nil), client, answer(200, "", `{"access_token":"`+strings.Repeat("a", size)+`"}`))
		if (err == nil) != fine {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	larger := plainConfig(t, func(o *claviger.OAuth) { o.TokenBytes = 32 << 10 })
	if _, err := oauth.Parse(larger, client, answer(200, "", `{"access_token":"`+strings.Repeat("a", 20<<10)+`"}`)); err != nil {
		t.Errorf("a declared cap: %v", err)
	}
}

func TestParse_Scopes(t *testing.T) {
	for member, want := range map[string][]string{
		``: nil, `,"scope":null`: nil, `,"scope":""`: {}, `,"scope":"a b"`: {"a", "b"}, `,"scope":["a","b c",7]`: {"a"}, `,"scope":"a  b "`: {"a", "b"}, `,"scope":7`: {},
	} {
		tokens, err := oauth.Parse(plainConfig(t, nil), claviger.OAuthClient{}, answer(200, "", `{"access_token":"at"`+member+`}`))
		if err != nil || !slices.Equal(tokens.Scopes, want) || (tokens.Scopes == nil) != (want == nil) {
			t.Errorf("%s: %v %v", member, tokens.Scopes, err)
		}
	}
	cfg := plainConfig(t, func(o *claviger.OAuth) {
		o.TokenResponse.ScopeSeparator, o.TokenResponse.Scope = ",", "$.data[0]['scopes']"
	})
	tokens, err := oauth.Parse(cfg, claviger.OAuthClient{}, answer(200, "", `{"access_token":"at","data":[{"scopes":"repo, user"}]}`))
	if err != nil || !slices.Equal(tokens.Scopes, []string{"repo", "user"}) {
		t.Errorf("%v %v", tokens.Scopes, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{good, "access_token=a&expires_in=1", `{"error":"x"}`, "<html>", "\xef\xbb\xbf{}", `{"access_token":"a","expires_in":1e400}`, `{"a":[{"b":null}]}`} {
		for _, contentType := range []string{"application/json", "text/plain", ""} {
			f.Add(contentType, seed)
		}
	}
	cfg := plainConfig(f, nil)
	f.Fuzz(func(t *testing.T, contentType, body string) {
		raw := answer(200, contentType, body)
		tokens, err := oauth.Parse(cfg, claviger.OAuthClient{}, raw)
		if (err == nil) == tokens.Access.Empty() {
			t.Fatalf("%v, access token empty: %v", err, tokens.Access.Empty())
		}
		for _, c := range []byte(show(tokens.Access) + show(tokens.Refresh) + show(tokens.ID)) {
			if c <= ' ' || c > '~' {
				t.Fatalf("a token has byte %d", c)
			}
		}
		if left := tokens.ExpiresAt.Sub(raw.Received); !tokens.ExpiresAt.IsZero() && (left < 0 || left > 10*365*24*time.Hour) {
			t.Fatalf("it lives for %v", left)
		}
	})
}
