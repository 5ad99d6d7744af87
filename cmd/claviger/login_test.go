package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
)

// machines answers a shell that is logged in to a real server as its owner, and one that
// is not logged in anywhere.
func machines(t *testing.T) (s *clavigertest.Server, owner, fresh *shell) {
	t.Helper()
	s = clavigertest.Start(t, clavigertest.Options{})
	owner, fresh = newShell(t), newShell(t)
	owner.env["CLAVIGER_URL"], owner.env["CLAVIGER_API_KEY"] = s.URL, s.Key
	return s, owner, fresh
}

// during runs what another person does while the command line waits for the first time.
func during(act func()) func(context.Context, time.Duration) error {
	done := false
	return func(ctx context.Context, d time.Duration) error {
		if done {
			return pause(ctx, d)
		}
		done = true
		act()
		return ctx.Err()
	}
}

// prompted answers the code that a waiting command line shows.
func prompted(t *testing.T, shown string) string {
	t.Helper()
	m := regexp.MustCompile(`type the code (\S+),`).FindStringSubmatch(shown)
	if m == nil {
		t.Fatalf("no code in %s", shown)
	}
	return m[1]
}

func TestLoginByCodeOnAnotherMachine(t *testing.T) {
	for name, tc := range map[string]struct {
		flag   string
		code   int
		stderr string
	}{
		"approved": {"--yes", exitOK, "type the code"},
		"denied":   {"--deny", exitLogin, "The login was refused."},
	} {
		t.Run(name, func(t *testing.T) {
			s, owner, fresh := machines(t)
			p, out := fresh.program("")
			p.pause = during(func() {
				stdout, _ := owner.want(exitOK, "", "auth", "approve", prompted(t, out.errs.String()), tc.flag)
				if !strings.Contains(stdout, name) {
					t.Error(stdout)
				}
			})
			if code := p.execute(t.Context(), []string{"login", "--device", "--url", s.URL}); code != tc.code || !strings.Contains(out.errs.String(), tc.stderr) {
				t.Fatalf("exit %d: %s%s", code, out.out.String(), out.errs.String())
			}
			if tc.code != exitOK {
				fresh.want(exitLogin, "", "auth", "status")
				return
			}
			keptForItsOwner(t, fresh)
			var who status
			stdout, _ := fresh.want(exitOK, "", "auth", "status", "--json")
			if err := json.Unmarshal([]byte(stdout), &who); err != nil || who.Role != "owner" || who.Source != "file" || who.Server != s.URL || who.User == "" {
				t.Errorf("%v %s", err, stdout)
			}
			if left := time.Until(*who.ExpiresAt); left < 89*24*time.Hour || left > 90*24*time.Hour {
				t.Errorf("it lives for %s", left)
			}
			if stdout, _ := fresh.want(exitOK, "", "auth", "status"); !strings.Contains(stdout, "logged in as:") || !strings.Contains(stdout, "until:") {
				t.Error(stdout)
			}
			// Logging out revokes the key at the server.
			fresh.want(exitOK, "", "logout")
			if stdout, _ := owner.want(exitOK, "", "key", "list"); strings.Contains(stdout, who.ID) {
				t.Error(stdout)
			}
			fresh.want(exitLogin, "", "auth", "status")
		})
	}
}

// keptForItsOwner checks that what was stored is readable by nobody else.
func keptForItsOwner(t *testing.T, s *shell) {
	t.Helper()
	info, err := os.Stat(filepath.Join(s.dir, "claviger", configFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

func TestLoginByBrowser(t *testing.T) {
	s, owner, fresh := machines(t)
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	// The page of a console whose person is the owner, and consents at once.
	refuse := false
	page := func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if len(q) == 0 {
			return // is there such a page?
		}
		if refuse {
			http.Redirect(w, r, q.Get("redirect_uri")+"?error=access_denied&state="+url.QueryEscape(q.Get("state")), http.StatusSeeOther)
			return
		}
		g, err := s.Client(s.Key).GrantLogin(r.Context(), api.GrantLogin{
			Host: q.Get("host"), State: q.Get("state"), RedirectURI: q.Get("redirect_uri"), CodeChallenge: q.Get("code_challenge"),
		})
		if err != nil || q.Get("code_challenge_method") != "S256" {
			t.Error(q, err)
		}
		http.Redirect(w, r, g.Location, http.StatusSeeOther)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /console/cli/authorize", page)
	mux.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = to.Host }})
	front := httptest.NewServer(mux)
	t.Cleanup(front.Close)
	fresh.browse = func(ctx context.Context, address string) error {
		back := address[strings.Index(address, "redirect_uri=")+len("redirect_uri="):]
		back, _, _ = strings.Cut(back, "&")
		back, _ = url.QueryUnescape(back)
		for forged, host := range map[string]string{"?code=x&state=guess": "", "?code=x": "", "": "", "?error=x&state=s": "evil.example"} {
			if status, _ := visit(ctx, back+forged, host); status != http.StatusBadRequest {
				t.Errorf("%s: %d", forged, status)
			}
		}
		status, text := visit(ctx, address, "")
		if status != http.StatusOK || !strings.Contains(text, "can be closed") {
			t.Error(status, text)
		}
		return nil
	}
	stdout, stderr := fresh.want(exitOK, "", "login", "--url", front.URL)
	if !strings.Contains(stdout, "(owner)") || strings.Contains(stdout+stderr, "clv_key_") {
		t.Error(stdout, stderr)
	}
	keptForItsOwner(t, fresh)
	fresh.want(exitOK, "", "connection", "list")
	today := time.Now().UTC() // a midnight ago at most
	if stdout, _ := owner.want(exitOK, "", "key", "list"); !strings.Contains(stdout, today.Format(time.DateOnly)) && !strings.Contains(stdout, today.Add(-time.Hour).Format(time.DateOnly)) {
		t.Error(stdout)
	}
	refuse = true
	fresh.browse = func(ctx context.Context, address string) error { visit(ctx, address, ""); return nil }
	if _, stderr := fresh.want(exitLogin, "", "login", "--url", front.URL); !strings.Contains(stderr, "refused: access_denied") {
		t.Error(stderr)
	}
	fresh.want(exitOK, "", "auth", "status") // what was stored before is still there
}

// visit is a browser that follows redirects; host replaces the name that it asks for.
func visit(ctx context.Context, address, host string) (int, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err.Error()
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

func TestProfiles(t *testing.T) {
	who := `200 {"object":"caller","kind":"api_key","id":"key_1"}`
	one, two := newCanned(t, map[string]string{"GET /v1/whoami": who}), newCanned(t, map[string]string{"GET /v1/whoami": who})
	s := newShell(t)
	s.want(exitOK, testKey, "login", "--url", one.URL, "--key-stdin")
	s.want(exitOK, testKey, "login", "--url", two.URL, "--key-stdin", "--profile", "second")
	for _, tc := range []struct {
		profile string
		server  *canned
	}{{"", one}, {"second", two}} {
		s.env["CLAVIGER_PROFILE"] = tc.profile
		if stdout, _ := s.want(exitOK, "", "auth", "status"); !strings.Contains(stdout, tc.server.URL) {
			t.Error(stdout)
		}
	}
	s.want(exitOK, "", "logout", "--keep-key", "--profile", "second")
	s.want(exitLogin, "", "whoami", "--profile", "second")
	s.env["CLAVIGER_PROFILE"] = ""
	s.want(exitOK, "", "whoami")
	for _, bad := range []string{"../x", "A", "a/b", strings.Repeat("a", 33)} {
		s.want(exitUsage, "", "whoami", "--profile", bad)
	}
}
