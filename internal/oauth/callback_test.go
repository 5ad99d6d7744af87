package oauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"claviger"
	"claviger/internal/oauth"
)

const state = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"

func TestParseCallback(t *testing.T) {
	cfg := plainConfig(t, func(o *claviger.OAuth) { o.Issuer = claviger.MustTemplate("https://auth.acme.example") })
	got, err := oauth.ParseCallback(cfg, state, http.MethodGet, "code=c0de%2F1&state="+state+"&realmId=12&iss=https%3A%2F%2Fauth.acme.example")
	if err != nil || show(got.Code) != "c0de/1" || got.Err() != nil || got.Extra["realmId"] != "12" || len(got.Extra) != 1 {
		t.Fatalf("%v %v", got.Extra, err)
	}
	for word, want := range map[string]string{
		"access_denied": "access_denied", "invalid_scope": "invalid_scope", "server_error": "upstream_unavailable", "temporarily_unavailable": "upstream_unavailable",
		"unauthorized_client": "oauth_client_refused", "login_required": "reauthorization_required", "user_cancelled_login": "access_denied",
		"made_up": "oauth_refused", "<script>": "oauth_refused", "authorization_pending": "oauth_refused",
	} {
		q := url.Values{"state": {state}, "error": {word}, "error_description": {"because\r\n\x1b[31m" + strings.Repeat("ä", 1000)}}
		got, err := oauth.ParseCallback(cfg, state, http.MethodGet, q.Encode())
		if err != nil || code(t, got.Err()) != want || !got.Code.Empty() {
			t.Errorf("%s: %v, %v, want %s", word, got.Err(), err, want)
		}
		if len([]rune(got.Description)) != 500 || strings.ContainsAny(got.Description, "\r\n\x1b") || strings.Contains(got.Err().Error(), word) && word == "<script>" {
			t.Errorf("%s: description %q", word, got.Description[:40])
		}
	}
}

// TestAbuse_046_StateOfTheCallback: whatever is not exactly the flow's state is refused
// before anything is sent, and the answer repeats nothing of it.
func TestAbuse_046_StateOfTheCallback(t *testing.T) {
	cfg := plainConfig(t, nil)
	for name, rawQuery := range map[string]string{
		"none":           "code=SECRETCODE",
		"empty":          "code=SECRETCODE&state=",
		"another flow's": "code=SECRETCODE&state=" + strings.Repeat("B", 43),
		"two":            "code=SECRETCODE&state=" + state + "&state=" + state,
		"two, one other": "code=SECRETCODE&state=" + state + "&state=x",
		"array":          "code=SECRETCODE&state[]=" + state,
		"other case":     "code=SECRETCODE&State=" + state,
		"1 MB":           "code=SECRETCODE&state=" + strings.Repeat("A", 1<<20),
		"with a space":   "code=SECRETCODE&state=" + state + "%20",
		"with NUL":       "code=SECRETCODE&state=" + state[:42] + "%00",
		"semicolon":      "code=SECRETCODE;state=" + state,
		"bad escape":     "code=SECRETCODE&state=" + state + "&x=%zz",
		"two codes":      "code=SECRETCODE&code=b&state=" + state,
		"no code":        "state=" + state,
		"long code":      "code=SECRETCODE" + strings.Repeat("a", 5000) + "&state=" + state,
		"code with CRLF": "code=SECRETCODE%0d%0aX:y&state=" + state,
		"code and error": "code=SECRETCODE&error=access_denied&state=" + state,
		"1 MB elsewhere": "code=SECRETCODE&state=" + state + "&x=" + strings.Repeat("A", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := oauth.ParseCallback(cfg, state, http.MethodGet, rawQuery)
			if !claviger.IsKind(err, claviger.KindUnreadable) || code(t, err) != "invalid_callback" || !got.Code.Empty() {
				t.Fatalf("%v", err)
			}
			if strings.Contains(err.Error(), "SECRETCODE") || strings.Contains(err.Error(), state) {
				t.Errorf("the error repeats the query: %v", err)
			}
		})
	}
	t.Run("StateOf", func(t *testing.T) {
		if got, err := oauth.StateOf(http.MethodGet, "code=x&state="+state); got != state || err != nil {
			t.Errorf("%q %v", got, err)
		}
		if got, err := oauth.StateOf(http.MethodGet, "code=x&state=short"); got != "" || err == nil {
			t.Errorf("%q %v", got, err)
		}
	})
}

// TestAbuse_061_OnlyACodeByTheConfiguredMode: tokens of the implicit and hybrid flows,
// signed responses and posted forms are refused.
func TestAbuse_061_OnlyACodeByTheConfiguredMode(t *testing.T) {
	cfg := plainConfig(t, nil)
	good := "code=c&state=" + state
	if _, err := oauth.ParseCallback(cfg, state, http.MethodGet, good); err != nil {
		t.Fatal(err)
	}
	for _, add := range []string{"access_token=t", "id_token=t", "token_type=bearer", "refresh_token=t", "response=jwt"} {
		if _, err := oauth.ParseCallback(cfg, state, http.MethodGet, good+"&"+add); code(t, err) != "invalid_callback" {
			t.Errorf("%s: %v", add, err)
		}
		if _, err := oauth.ParseCallback(cfg, state, http.MethodGet, "state="+state+"&"+add); code(t, err) != "invalid_callback" {
			t.Errorf("%s alone: %v", add, err)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodHead, http.MethodPut, "get", ""} {
		if _, err := oauth.ParseCallback(cfg, state, method, good); code(t, err) != "invalid_callback" {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestParseCallback_Issuer(t *testing.T) {
	known := func(check bool) oauth.Config {
		return plainConfig(t, func(o *claviger.OAuth) {
			o.Issuer = claviger.MustTemplate("https://auth.acme.example")
			o.CheckIssuer = check
		})
	}
	for _, c := range []struct {
		name string
		cfg  oauth.Config
		iss  string
		fine bool
	}{
		{"must be there", known(true), "", false},
		{"right", known(true), "&iss=https://auth.acme.example", true},
		{"wrong", known(true), "&iss=https://evil.example", false},
		{"slash", known(true), "&iss=https://auth.acme.example/", false},
		{"empty", known(true), "&iss=", false},
		{"not checked, absent", known(false), "", true},
		{"not checked, wrong", known(false), "&iss=https://evil.example", false},
		{"unknown issuer", plainConfig(t, nil), "&iss=https://any.example", true},
	} {
		if _, err := oauth.ParseCallback(c.cfg, state, http.MethodGet, "code=c&state="+state+c.iss); (err == nil) != c.fine {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzParseCallback(f *testing.F) {
	for _, seed := range []string{"code=c&state=" + state, "error=x&error_description=%ff&state=" + state, "&&=", "state=" + state + "&state=", "code=%0a&state=" + state} {
		f.Add(seed)
	}
	cfg := plainConfig(f, nil)
	f.Fuzz(func(t *testing.T, rawQuery string) {
		got, err := oauth.ParseCallback(cfg, state, http.MethodGet, rawQuery)
		if err != nil {
			return
		}
		if got.State != state || got.Code.Empty() == (got.Error == "") || strings.ContainsAny(show(got.Code)+got.Description, "\r\n\x00") {
			t.Errorf("accepted %q", rawQuery)
		}
	})
}
