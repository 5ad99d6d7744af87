package oauth_test

import (
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/oauth"
)

// The former secret is tried once, after a refusal of the client's proof and of nothing
// else, and never where there is no secret.
func TestAbuse_096_WhenTheFormerSecretIsTried(t *testing.T) {
	for name, c := range map[string]struct {
		status, sent int
		body         string
	}{
		"invalid_client":         {401, 2, `{"error":"invalid_client"}`},
		"with another status":    {400, 2, `{"error":"invalid_client"}`},
		"what the client may do": {400, 1, `{"error":"unauthorized_client"}`},
		"the grant":              {400, 1, `{"error":"invalid_grant"}`},
		"a failing server":       {500, 1, `{"error":"invalid_client"}`},
		"a page":                 {200, 1, `<html></html>`},
	} {
		k := newKit(t, oauthserver.Policy{}, nil)
		k.reg.Former = k.reg.Secret
		k.reg.Secret = claviger.NewSecretString("the next one")
		k.server.Always(&oauthserver.Fault{Skip: true, Status: c.status, Body: c.body})
		a := k.refreshWith(t, "rt_1")
		got := k.server.Received("")
		if len(got) != c.sent || a.Outcome != oauth.Answered {
			t.Errorf("%s: sent %d times, want %d", name, len(got), c.sent)
		}
		for _, r := range got {
			if r.Path != "/token" || r.Form.Get("refresh_token") != "rt_1" {
				t.Errorf("%s: the token went to %s", name, r.Path)
			}
		}
	}
}

// A nonce is remembered between requests; a stale one costs one refusal, together with a
// stale secret two, and a server that wants another one each time is left alone.
func TestNoncesAreRemembered(t *testing.T) {
	k := newKit(t, oauthserver.Policy{DPoP: true, Former: "former"}, func(o *claviger.OAuth) { o.DPoP = true })
	k.Nonces = oauth.NewNonces()
	key, err := k.NewProofKey()
	if err != nil {
		t.Fatal(err)
	}
	proof := &oauth.Proof{Key: key}
	mint := func() (oauth.Attempt, int) {
		before := len(k.server.Received("/token"))
		a := k.ClientCredentials(t.Context(), k.cfg, k.reg, nil, proof)
		return a, len(k.server.Received("/token")) - before
	}
	for i, want := range []int{2, 1} {
		if a, n := mint(); n != want || k.parsed(t, a).Type != "DPoP" {
			t.Errorf("request %d was sent %d times, want %d", i+1, n, want)
		}
	}
	k.server.RotateNonce()
	k.reg.Former, k.reg.Secret = claviger.NewSecretString("former"), claviger.NewSecretString("not active yet")
	if a, n := mint(); n != 3 || k.parsed(t, a).Type != "DPoP" {
		t.Errorf("a stale nonce and a stale secret: sent %d times", n)
	}
	next := 0
	refuse := func() oauthserver.Fault {
		next++
		return oauthserver.Fault{Skip: true, Status: 400, Body: `{"error":"use_dpop_nonce"}`, Header: http.Header{"Dpop-Nonce": {"moving-" + strconv.Itoa(next)}}}
	}
	k.server.Next(refuse(), refuse(), refuse())
	if a, n := mint(); n != 2 || oauth.Classify(k.cfg, a.Raw).Verdict != oauth.UseDPoPNonce {
		t.Errorf("a server that is never content: sent %d times", n)
	}
}

func TestNonces(t *testing.T) {
	at := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	var none *oauth.Nonces
	none.Put("a", at("https://x.example/"), "n")
	if none.Get("a", at("https://x.example/")) != "" {
		t.Error("nothing remembers")
	}
	n := oauth.NewNonces()
	n.Put("a", at("https://x.example/token"), "one")
	n.Put("a", at("https://x.example/token"), "two words")
	for _, c := range []struct{ partition, address, want string }{
		{"a", "https://X.example:443/other?q", "one"}, {"b", "https://x.example/token", ""}, {"a", "https://y.example/token", ""},
	} {
		if got := n.Get(c.partition, at(c.address)); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.partition, c.address, got, c.want)
		}
	}
}

// How long metadata need not be read again goes by Cache-Control, within bounds.
func TestDiscoveryIsFresh(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": time.Hour, "max-age=7200, public": 2 * time.Hour, "public, Max-Age=1": 5 * time.Minute, "max-age=99999999": 24 * time.Hour,
		"no-store": 5 * time.Minute, "no-cache, max-age=7200": 5 * time.Minute, "max-age=soon": time.Hour, `max-age="7200"`: 2 * time.Hour,
	} {
		k := newKit(t, oauthserver.Policy{}, nil)
		k.server.Next(oauthserver.Fault{Header: http.Header{"Cache-Control": {header}}})
		if m, err := k.Discover(t.Context(), k.cfg); err != nil || m.Fresh != want {
			t.Errorf("%q: %v, %v, want %v", header, m.Fresh, err, want)
		}
	}
}

func TestServiceAccount(t *testing.T) {
	key := signingKeys(t)[0].text
	quoted := strconv.Quote(key)
	client, err := oauth.ServiceAccount(claviger.NewSecretString(`{"client_email":"a@b.example","private_key_id":"k","private_key":` + quoted + `,"token_uri":"https://evil.example"}`))
	if err != nil || client.ID != "a@b.example" || client.KeyID != "k" || show(client.PrivateKey) != key {
		t.Errorf("%s %s %v", client.ID, client.KeyID, err)
	}
	for _, text := range []string{
		"", "null", "[]", "{}", `{"client_email":"a@b.example"}`, `{"client_email":"a b","private_key":` + quoted + `}`,
		`{"client_email":"a@b.example","private_key":"-----BEGIN"}`, `{"client_email":7,"private_key":` + quoted + `}`,
	} {
		if _, err := oauth.ServiceAccount(claviger.NewSecretString(text)); code(t, err) != "invalid_format" {
			t.Errorf("%q: %v", text, err)
		}
	}
}
