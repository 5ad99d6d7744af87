package oauth_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/egress"
	"claviger/internal/oauth"
)

// TestAbuse_076_WasItSent: every way to lose an answer, and whether the token may have
// been used up. Nothing is sent twice.
func TestAbuse_076_WasItSent(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault oauthserver.Fault
		want  oauth.Outcome
		class oauth.Verdict // of Answered
	}{
		{"reset before it took effect", oauthserver.Fault{Skip: true, Reset: true}, oauth.Uncertain, ""},
		{"reset after it took effect", oauthserver.Fault{Reset: true}, oauth.Uncertain, ""},
		{"cut in the body", oauthserver.Fault{Cut: 20}, oauth.Uncertain, ""},
		{"compressed without end", oauthserver.Fault{Bomb: true}, oauth.Answered, oauth.Unintelligible},
		{"inflates over the cap", oauthserver.Fault{Body: `{"access_token":"a"}` + strings.Repeat(" ", 2<<20), Gzip: true}, oauth.Answered, oauth.Unintelligible},
		{"wrong checksum", oauthserver.Fault{BadCRC: true}, oauth.Answered, oauth.Unintelligible},
		{"over the cap", oauthserver.Fault{Body: strings.Repeat("x", 1<<20+1)}, oauth.Uncertain, ""},
		{"truncated JSON", oauthserver.Fault{Body: `{"access_token":"a`}, oauth.Answered, oauth.Unintelligible},
		{"no body", oauthserver.Fault{Skip: true, Body: " "}, oauth.Answered, oauth.Unintelligible},
		{"JSON without a token", oauthserver.Fault{Body: `{}`}, oauth.Answered, oauth.Unintelligible},
		{"compressed unasked", oauthserver.Fault{Gzip: true}, oauth.Answered, oauth.Granted},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t, oauthserver.Policy{Rotates: true}, nil)
			token := k.server.Grant("a")
			k.server.Next(c.fault)
			a := k.refreshWith(t, token)
			if a.Outcome != c.want || (a.Err == nil) != (c.want == oauth.Answered) {
				t.Fatalf("%s, %v", a.Outcome, a.Err)
			}
			if c.want == oauth.Answered {
				if class := oauth.Classify(k.cfg, a.Raw); class.Verdict != c.class || class.Dead() {
					t.Errorf("%s", class.Verdict)
				}
			}
			if n := len(k.server.Received("/token")); n != 1 {
				t.Errorf("it was sent %d times", n)
			}
		})
	}
}

// TestAbuse_076_WasItSent_Nothing: what fails before the first byte leaves may be sent
// again, and the same refresh token then works.
func TestAbuse_076_WasItSent_Nothing(t *testing.T) {
	k := newKit(t, oauthserver.Policy{Rotates: true, RevokeFamily: true}, nil)
	token := k.server.Grant("a")
	k.server.RefuseConnections(1)
	if a := k.refreshWith(t, token); a.Outcome != oauth.NotSent || a.Err == nil {
		t.Fatalf("refused connection: %s, %v", a.Outcome, a.Err)
	}
	untrusting := *k.Client
	untrusting.Egress = k.server.Egress(t, func(c *egress.Config) { c.RootCAs = x509.NewCertPool() })
	if a := untrusting.Refresh(t.Context(), k.cfg, k.reg, claviger.NewSecretString(token), nil, nil); a.Outcome != oauth.NotSent || code(t, a.Err) != "upstream_tls" {
		t.Fatalf("untrusted server: %s, %v", a.Outcome, a.Err)
	}
	given, cancel := context.WithCancel(t.Context())
	cancel()
	if a := k.Refresh(given, k.cfg, k.reg, claviger.NewSecretString(token), nil, nil); a.Outcome != oauth.NotSent {
		t.Fatalf("given up before: %s, %v", a.Outcome, a.Err)
	}
	if a := k.Refresh(t.Context(), k.cfg, claviger.OAuthClient{ID: "x"}, claviger.NewSecretString(token), nil, nil); a.Outcome != oauth.NotSent || code(t, a.Err) != "oauth_client_missing" {
		t.Fatalf("without a secret: %s, %v", a.Outcome, a.Err)
	}
	if n := len(k.server.Received("")); n != 0 || !k.server.Alive(token) {
		t.Fatalf("the server saw %d requests", n)
	}
	k.parsed(t, k.refreshWith(t, token))
}

// The caller's own hook runs before anything leaves, and can still stop it.
func TestAbuse_076_WasItSent_StoppedAtTheLastMoment(t *testing.T) {
	k := newKit(t, oauthserver.Policy{Rotates: true}, nil)
	token := k.server.Grant("a")
	for _, stop := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		calls, arrived := 0, -1
		marked := oauth.OnSend(ctx, func() {
			calls, arrived = calls+1, len(k.server.Received(""))
			if stop {
				cancel()
			}
		})
		a := k.Refresh(marked, k.cfg, k.reg, claviger.NewSecretString(token), nil, nil)
		cancel()
		if calls != 1 || arrived != 0 || stop != (a.Outcome == oauth.NotSent) || stop != k.server.Alive(token) {
			t.Errorf("stopped %v: %s, %d calls, %d requests had arrived", stop, a.Outcome, calls, arrived)
		}
	}
}

// A caller who leaves while the vendor works makes the outcome uncertain, and so does
// a vendor that takes longer than its connector allows.
func TestAbuse_076_WasItSent_Late(t *testing.T) {
	k := newKit(t, oauthserver.Policy{Rotates: true}, nil)
	reached := make(chan struct{}, 1)
	k.server.Next(oauthserver.Fault{Hold: make(chan struct{}), Reached: reached})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	a := k.Refresh(ctx, k.cfg, k.reg, claviger.NewSecretString(k.server.Grant("a")), nil, nil)
	if a.Outcome != oauth.Uncertain || code(t, a.Err) != "canceled" {
		t.Errorf("left: %s, %v", a.Outcome, a.Err)
	}
	short := newKit(t, oauthserver.Policy{Rotates: true}, func(o *claviger.OAuth) { o.Refresh.Timeout = 2 * time.Second })
	short.server.Next(oauthserver.Fault{Hold: make(chan struct{})})
	if a := short.refreshWith(t, short.server.Grant("a")); a.Outcome != oauth.Uncertain || code(t, a.Err) != "upstream_timeout" {
		t.Errorf("late: %s, %v", a.Outcome, a.Err)
	}
}

// A vendor may take longer than the instance lets other calls wait.
func TestSlowVendor(t *testing.T) {
	k := newKit(t, oauthserver.Policy{Rotates: true}, nil)
	k.Egress = k.server.Egress(t, func(c *egress.Config) { c.Limits.Header = 20 * time.Millisecond })
	reached, hold := make(chan struct{}, 1), make(chan struct{})
	k.server.Next(oauthserver.Fault{Reached: reached, Hold: hold})
	go func() {
		<-reached
		time.AfterFunc(100*time.Millisecond, func() { close(hold) })
	}()
	k.parsed(t, k.refreshWith(t, k.server.Grant("a")))
}

// TestAbuse_075_OneStyleOnce: whatever comes back, client and token are sent once and
// in the connector's way alone.
func TestAbuse_075_OneStyleOnce(t *testing.T) {
	for _, auth := range []claviger.ClientAuth{claviger.ClientSecretBasic, claviger.ClientSecretPost, claviger.ClientAuthNone} {
		for name, fault := range map[string]oauthserver.Fault{
			"401":     {Skip: true, Status: 401, Body: `{"error":"invalid_client"}`},
			"400":     {Skip: true, Status: 400, Body: `{"error":"invalid_request"}`},
			"garbage": {Skip: true, Body: "\x00\x01"},
			"reset":   {Skip: true, Reset: true},
			"503":     {Skip: true, Status: 503},
		} {
			t.Run(string(auth)+" "+name, func(t *testing.T) {
				k := newKit(t, oauthserver.Policy{ClientAuth: auth}, nil)
				k.server.Next(fault)
				k.refreshWith(t, k.server.Grant("a"))
				got := k.server.Received("")
				if len(got) != 1 {
					t.Fatalf("%d requests", len(got))
				}
				inHeader, inBody := got[0].Header.Get("Authorization") != "", got[0].Form.Has("client_secret")
				if inHeader != (auth == claviger.ClientSecretBasic) || inBody != (auth == claviger.ClientSecretPost) {
					t.Errorf("secret in header %v, in body %v", inHeader, inBody)
				}
			})
		}
	}
}

// TestAbuse_081_RedirectsAreNotFollowed: the token endpoint points to another host, to
// the same host in the clear, to loopback; nobody hears of the secrets.
func TestAbuse_081_RedirectsAreNotFollowed(t *testing.T) {
	var visits atomic.Int64
	visited := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) })
	elsewhere, clear := httptest.NewTLSServer(visited), httptest.NewServer(visited)
	defer elsewhere.Close()
	defer clear.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{elsewhere.URL + "/token", clear.URL + "/token", "/introspect", "//127.0.0.1/token"} {
			k := newKit(t, oauthserver.Policy{ClientAuth: claviger.ClientSecretPost}, nil)
			k.server.Next(oauthserver.Fault{Skip: true, Status: status, Header: http.Header{"Location": {location}}, Body: `{"access_token":"planted","token_type":"bearer"}`})
			a := k.refreshWith(t, k.server.Grant("a"))
			if class := oauth.Classify(k.cfg, a.Raw); class.Verdict != oauth.Unavailable {
				t.Errorf("%d: %s", status, class.Verdict)
			}
			if _, err := oauth.Parse(k.cfg, k.reg, a.Raw); err == nil {
				t.Errorf("%d: tokens of a redirect were taken", status)
			}
			if n := len(k.server.Received("")); n != 1 {
				t.Errorf("%d to %s: %d requests", status, location, n)
			}
		}
	}
	if visits.Load() != 0 {
		t.Errorf("%d requests followed a redirect", visits.Load())
	}
}

// TestAbuse_093_EchoesStayInside: a vendor that repeats every secret in its error does
// not get one of them into anything that is printed or logged.
func TestAbuse_093_EchoesStayInside(t *testing.T) {
	for _, auth := range []claviger.ClientAuth{claviger.ClientSecretBasic, claviger.ClientSecretPost} {
		k := newKit(t, oauthserver.Policy{ClientAuth: auth}, nil)
		token := k.server.Grant("a")
		k.server.Always(&oauthserver.Fault{Skip: true, Echo: true})
		a := k.refreshWith(t, token)
		_, parseErr := oauth.Parse(k.cfg, k.reg, a.Raw)
		exchanged := k.Exchange(t.Context(), k.cfg, k.reg, oauth.Code{Code: claviger.NewSecretString("CODECODE"), Verifier: claviger.NewSecretString("VERIFIER"), RedirectURI: k.redirect}, nil)
		_, codeErr := oauth.Parse(k.cfg, k.reg, exchanged.Raw)
		revoked := k.Revoke(t.Context(), k.cfg, k.reg, claviger.NewSecretString(token), oauth.HintRefresh)
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "attempt", a, "raw", a.Raw, "err", parseErr, "code", codeErr, "revoked", revoked, "client", k.reg)
		text := log.String() + fmt.Sprintf("%v %+v %#v %s %v", a, exchanged, a.Raw, revoked.Reason, oauth.Classify(k.cfg, a.Raw))
		for name, secret := range map[string]string{"refresh token": token, "client secret": show(k.reg.Secret), "code": "CODECODE", "verifier": "VERIFIER", "vendor's text": "grant_type"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: the %s is in what was printed", auth, name)
			}
		}
		if !strings.Contains(show(a.Raw.Body), token) {
			t.Error("the server did not echo, so nothing is proven")
		}
	}
}

// Each request to an authorization server has a connection of its own: a kept one may
// break under a token that can be sent only once.
func TestEveryRequestTravelsAlone(t *testing.T) {
	k := newKit(t, oauthserver.Policy{}, nil)
	token := k.server.Grant("a")
	for range 3 {
		k.parsed(t, k.refreshWith(t, token))
	}
	for i, r := range k.server.Received("/token") {
		if !r.Fresh {
			t.Errorf("request %d came over a used connection", i)
		}
	}
}

func TestJournal(t *testing.T) {
	raw := answer(200, "application/json", `{"access_token":"a"}`)
	raw.Encoding, raw.RetryAfter, raw.Challenge = "identity", "3", "DPoP"
	stored, err := raw.Journal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := oauth.FromJournal(stored)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.Journal()
	if err != nil || show(again) != show(stored) || show(back.Body) != show(raw.Body) || !back.Received.Equal(raw.Received) {
		t.Errorf("%v: the journalled answer is another one", err)
	}
	for _, bad := range []string{"", "{}", "null", `{"format":2}`, "\x00"} {
		if _, err := oauth.FromJournal(claviger.NewSecretString(bad)); !claviger.IsKind(err, claviger.KindInternal) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
