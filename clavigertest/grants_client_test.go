package clavigertest_test

import (
	"testing"
	"time"

	"claviger"
	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// A connection whose client is its own takes another client secret without another
// consent, and never across a refresh, which would write the old one back.
func TestGrants_ASecretOfOnesOwnIsRotated(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := &clock{at: time.Now()}
		const next = "the-next-secret"
		x := newGrant(t, clavigertest.Options{Engine: engine, Now: c.now}, oauthserver.Policy{ClientAuth: claviger.ClientSecretPost, Rotates: true, Former: next, Now: c.now},
			`"fields":[`+ownClient+`],"oauth2":{`+codeGrant+`,"clientAuth":"client_secret_post"}`)
		conn, err := x.create("mine", map[string]string{"clientId": x.vendor.Client.ID, "clientSecret": reveal(x.vendor.Client.Secret)})
		if err != nil {
			t.Fatal(err)
		}
		patch := func(key, value string) error {
			_, err := x.api.UpdateConnection(t.Context(), conn.ID, api.UpdateConnection{Credentials: map[string]*string{key: &value}})
			return err
		}
		refused(t, patch("clientSecret", next), 422, "reconnect_required") // nobody has consented yet
		b := x.browser()
		if _, err := x.api.FinishConnection(t.Context(), conn.ID, shownCode(t, b.get(x.callback(b.leave(conn.AuthorizeURL))))); err != nil {
			t.Fatal(err)
		}
		refused(t, patch("clientId", "another"), 422, "reconnect_required")
		refused(t, patch("accessToken", "planted"), 422, "unknown_credential")
		refused(t, patch("clientSecret", ""), 422, "invalid_format")

		if err := patch("clientSecret", "wrong"); err != nil {
			t.Fatal(err)
		}
		x.works(conn.ID) // by the token that lives
		x.later(c, 2*time.Hour)
		_, err = x.whoami(conn.ID)
		refused(t, err, 502, "oauth_client_refused")
		reached, hold, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		if err := patch("clientSecret", next); err != nil {
			t.Fatal(err)
		}
		x.vendor.Next(oauthserver.Fault{Reached: reached, Hold: hold})
		go func() { _, err := x.whoami(conn.ID); done <- err }()
		<-reached // at once: what was put off for the wrong secret is not put off for this one
		refused(t, patch("clientSecret", "too late"), 409, "refresh_under_way")
		close(hold)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		x.lives(c, conn.ID)
		if _, reuses := x.vendor.Refreshed(); reuses != 0 {
			t.Errorf("%d refresh tokens were sent twice", reuses)
		}
	})
}
