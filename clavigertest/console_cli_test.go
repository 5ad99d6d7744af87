package clavigertest_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	chromium "claviger/clavigertest/browser"
	"claviger/client"
)

// TestConsole_LetsCommandLinesIn: by a code that a person types, and by the browser on the
// command line's own machine, and neither without the person's word.
func TestConsole_LetsCommandLinesIn(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	p := chromium.Start(t).Open(t, chromium.Desktop())
	settleIn(t, s, p)
	anybody := nobody(t, s)

	t.Run("by code", func(t *testing.T) {
		begun, err := anybody.BeginLogin(t.Context(), "ada-laptop")
		if err != nil {
			t.Fatal(err)
		}
		p.Goto(begun.VerificationURI)
		p.Fill("Code", "ZZZZ-ZZZZ")
		p.Click("button", "Continue")
		p.See("No command line waits for this code")
		looksGood(t, p, "cli")
		p.Fill("Code", begun.UserCode)
		p.Click("button", "Continue")
		p.See("ada-laptop")
		looksGood(t, p, "cli-asked")
		p.Click("button", "Let it in")
		p.See("The command line is in")
		looksGood(t, p, "cli-decided")
		worksAs(t, s, api.RedeemLogin{DeviceCode: begun.DeviceCode})
	})
	t.Run("by browser", func(t *testing.T) {
		if there, err := anybody.HasLoginPage(t.Context()); err != nil || !there {
			t.Fatalf("the page is there: %v, %v", there, err)
		}
		answers := make(chan url.Values, 2)
		listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/callback" {
				answers <- r.URL.Query()
				_, _ = io.WriteString(w, "Back at the command line.")
			}
		}))
		t.Cleanup(listener.Close)
		verifier := rand.Text() + rand.Text()
		sum := sha256.Sum256([]byte(verifier))
		ask := func(back string) {
			p.Goto(s.URL + client.LoginPage + "?" + url.Values{
				"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
				"redirect_uri": {back}, "state": {"st"}, "host": {"ada-laptop"},
			}.Encode())
		}
		ask(listener.URL + "/callback")
		looksGood(t, p, "cli-authorize")
		p.Click("button", "Refuse")
		p.At(listener.URL + "/callback?error=")
		p.See("Back at the command line.") // the next page is asked for when this one is there
		if q := <-answers; q.Get("error") != "access_denied" || q.Get("state") != "st" {
			t.Errorf("refused with %v", q)
		}
		ask(listener.URL + "/callback")
		p.Click("button", "Let it in")
		p.At(listener.URL + "/callback?code=")
		p.See("Back at the command line.")
		q := <-answers
		if q.Get("state") != "st" {
			t.Errorf("let in with %v", q)
		}
		worksAs(t, s, api.RedeemLogin{Code: q.Get("code"), CodeVerifier: verifier})
		ask("https://evil.example/callback")
		p.Click("button", "Let it in")
		p.See("A command line listens on http://127.0.0.1")
	})
	p.Goto(s.URL + "/console/")
	p.SeeRole("heading", "Home")
}

// nobody answers a client that shows no token.
func nobody(t *testing.T, s *clavigertest.Server) *client.Client {
	t.Helper()
	c, err := client.New(s.URL, "", client.Anonymous())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// worksAs redeems what a command line has, and calls with the key that it gets.
func worksAs(t *testing.T, s *clavigertest.Server, in api.RedeemLogin) {
	t.Helper()
	key, err := nobody(t, s).RedeemLogin(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	who, err := s.Client(key.Key).Whoami(t.Context())
	if err != nil || who.Role != "owner" || who.UserID == "" {
		t.Errorf("the command line is %+v, %v", who, err)
	}
}
