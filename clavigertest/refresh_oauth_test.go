package clavigertest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// whoami runs the action that asks the vendor whose tokens these are.
func (x *consent) whoami(id string) (api.ActionResult, error) {
	return x.api.RunAction(x.t.Context(), api.RunAction{ActionIdentifier: "acme.whoami", ConnectionID: id})
}

// refreshes answers how many refresh tokens the vendor was sent.
func (x *consent) refreshes() (n int) {
	for _, r := range x.vendor.Received("/token") {
		if r.Form.Get("grant_type") == "refresh_token" {
			n++
		}
	}
	return n
}

func TestRefresh_FromConsentOverExpiryToCall(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{}
		x := newConsent(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{Rotates: true, RevokeFamily: true, Now: c.now})
		conn := x.connect("mine")
		for round := 1; round <= 3; round++ {
			c.move(2 * time.Hour)
			x.api = x.Client(x.Key)
			if run, err := x.whoami(conn.ID); err != nil || run.Status != "succeeded" || x.refreshes() != round {
				t.Fatalf("round %d: %+v, %v after %d refreshes", round, run, err, x.refreshes())
			}
		}
		now, err := x.api.Connection(t.Context(), conn.ID)
		if err != nil || now.Status != "active" || now.ExpiresAt == nil || now.ExpiresAt.Before(c.now()) {
			t.Errorf("%+v, %v", now, err)
		}
	})
}

// The vendor refuses a token that has not expired: one refresh and one repeat, whether an
// action or a request without a body; with a body the vendor's answer stands.
func TestAbuse_088_RefusedTokensAreRenewedOnce(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{}
		x := newConsent(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{Rotates: true, RevokeFamily: true, Now: c.now})
		conn := x.connect("mine")
		refusal := oauthserver.Fault{Skip: true, Status: http.StatusUnauthorized, Body: `{"error":"invalid_token"}`}
		get := func() int {
			return x.Do(call{Token: x.Key, Method: "GET", Path: proxy(conn.ID, "/userinfo")}).Status
		}
		c.move(10 * time.Minute)
		x.vendor.Next(refusal)
		if run, err := x.whoami(conn.ID); err != nil || run.Status != "succeeded" || x.refreshes() != 1 {
			t.Fatalf("an action: %+v, %v after %d refreshes", run, err, x.refreshes())
		}
		x.vendor.Next(refusal) // the new token is refused too: another would not help
		if run, err := x.whoami(conn.ID); err != nil || run.Status != "failed" || run.StatusCode != 401 || x.refreshes() != 1 {
			t.Errorf("a young token: %+v, %v after %d refreshes", run, err, x.refreshes())
		}
		c.move(10 * time.Minute)
		x.vendor.Next(refusal)
		if status := get(); status != 200 || x.refreshes() != 2 {
			t.Errorf("the proxy: %d after %d refreshes", status, x.refreshes())
		}
		c.move(10 * time.Minute)
		x.vendor.Next(refusal)
		if a := x.Do(call{Token: x.Key, Method: "POST", Path: proxy(conn.ID, "/revoke"), Body: map[string]string{"a": "b"}}); a.Status != 401 || x.refreshes() != 2 {
			t.Errorf("a body: %d after %d refreshes", a.Status, x.refreshes())
		}
		x.vendor.Next(oauthserver.Fault{Skip: true, Status: http.StatusForbidden, Body: `{}`})
		if status := get(); status != 403 || x.refreshes() != 2 {
			t.Errorf("403: %d after %d refreshes", status, x.refreshes())
		}
	})
}

func TestAbuse_077_TheOwnerIsToldWhereToConnectAgain(t *testing.T) {
	c := &clock{}
	x := newConsent(t, clavigertest.Options{Now: c.now}, oauthserver.Policy{Rotates: true, Now: c.now})
	conn := x.connect("mine")
	x.vendor.RevokeAll()
	c.move(2 * time.Hour)
	for range 2 {
		a := x.Do(call{Token: x.Key, Method: "GET", Path: proxy(conn.ID, "/userinfo")})
		f := a.Fault()
		if a.Status != 424 || f.Code != "reauthorization_required" || !strings.Contains(string(a.Body), "/connect/"+conn.ID) {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	now, err := x.api.Connection(t.Context(), conn.ID)
	if err != nil || now.Status != "reauthorization_required" || now.LastError == nil || now.LastError.Code != "invalid_grant" || x.refreshes() != 1 {
		t.Errorf("%+v, %v after %d refreshes", now, err, x.refreshes())
	}
}

// Access tokens of a grant are blotted out of answers like any other credential.
func TestRefresh_EchoesOfTheAccessToken(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{Rotates: true})
	conn := x.connect("mine")
	x.vendor.Next(oauthserver.Fault{Echo: true})
	a := x.Do(call{Token: x.Key, Method: "GET", Path: proxy(conn.ID, "/userinfo")})
	received := x.vendor.Received("/userinfo")
	token := strings.TrimPrefix(received[len(received)-1].Header.Get("Authorization"), "Bearer ")
	if len(token) < 20 || a.Status != 400 || strings.Contains(string(a.Body), token) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
